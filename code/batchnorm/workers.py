"""Processes that compute together, from a notebook or from a test.

    with Workers(2) as two:
        first, second = two.run(function, 64)  # function(rank, 64) in each process

The processes are fresh interpreters with one thread each and one process group of
``torch.distributed``, on the CPU. A function may be defined in a notebook. What it
returns comes back with tensors as NumPy arrays; an error is raised here, with the rank.
"""

import contextlib
import multiprocessing
import os
import pickle
import sys
import tempfile
import time
from datetime import timedelta
from multiprocessing import connection
from pathlib import Path

import cloudpickle

from batchnorm import _checks

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class WorkerError(RuntimeError):
    """What went wrong in the workers, rank by rank.

    Parameters
    ----------
    failures : dict
        Rank to what that worker said, or to how it ended.
    """

    def __init__(self, failures):
        self.failures = failures
        super().__init__(
            "\n".join(f"rank {rank}: {said}" for rank, said in sorted(failures.items()))
        )


class Workers:
    """K processes that wait for work.

    Parameters
    ----------
    size : int
        How many; each has a rank from 0 on.
    timeout : float
        Seconds after which a run is given up.
    patience : float
        Seconds for which a worker waits for another, once both compute.

    Raises
    ------
    ValueError
        If size is no integer from 1 on, or a time is not positive.
    """

    def __init__(self, size, timeout=120, patience=60):
        self.size = _checks.count("size", size)
        self.timeout = _checks.positive("timeout", timeout)
        self.patience = _checks.positive("patience", patience)
        self._processes, self._pipes, self._folder = [], [], None

    def run(self, function, *arguments):
        """Run ``function(rank, *arguments)`` in each worker.

        Parameters
        ----------
        function : function
            Of the package, of a notebook, or of a module that can be imported.
        *arguments
            The same for all workers.

        Returns
        -------
        list
            What each returned, by rank.

        Raises
        ------
        WorkerError
            If a worker raised an error, died, or was not done in time. The processes
            are then ended; the next run starts new ones.
        """
        if not self._processes:
            self._start()
        try:
            # The path first: what is sent may have to be imported from there.
            work = cloudpickle.dumps((function, arguments))
            work = pickle.dumps((sys.path, work))
            for pipe in self._pipes:
                with contextlib.suppress(OSError):  # of one that died: seen below
                    pipe.send_bytes(work)
            answers = self._answers()
        except BaseException:
            self.close()
            raise
        failures = {rank: said for rank, (well, said) in answers.items() if not well}
        if failures:
            self.close()
            raise WorkerError(failures)
        return [pickle.loads(answers[rank][1]) for rank in range(self.size)]

    def close(self):
        """End the processes and remove what they wrote."""
        for pipe in self._pipes:
            pipe.close()  # a worker that waits for work ends then
        for process in self._processes:
            process.join(1)
            if process.is_alive():
                process.kill()
                process.join()
            process.close()
        self._processes, self._pipes = [], []
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _start(self):
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        context = multiprocessing.get_context("spawn")
        before = {name: os.environ.get(name) for name in THREADS}
        os.environ |= dict.fromkeys(THREADS, "1")
        try:
            for rank in range(self.size):
                ours, theirs = context.Pipe()
                process = context.Process(
                    target=_serve,
                    args=(rank, self.size, self._folder.name, self.patience, theirs),
                    daemon=True,
                )
                process.start()
                theirs.close()
                self._processes.append(process)
                self._pipes.append(ours)
        finally:
            for name, value in before.items():
                os.environ.pop(name)
                if value is not None:
                    os.environ[name] = value

    def _answers(self):
        """Rank to (whether all went well, result or what went wrong)."""
        until, answers = time.monotonic() + self.timeout, {}
        while len(answers) < self.size:
            waiting = [
                pipe for rank, pipe in enumerate(self._pipes) if rank not in answers
            ]
            left = until - time.monotonic()
            for pipe in connection.wait(waiting, max(left, 0)):
                rank = self._pipes.index(pipe)
                try:
                    answers[rank] = pickle.loads(pipe.recv_bytes())
                except (EOFError, OSError):
                    answers[rank] = False, self._how_it_ended(rank)
            if left <= 0:
                late = f"not done after {self.timeout:g} s"
                return dict.fromkeys(range(self.size), (False, late)) | answers
        return answers

    def _how_it_ended(self, rank):
        process = self._processes[rank]
        process.join(5)
        log = Path(self._folder.name, f"log{rank}").read_text("utf-8", "replace")
        words = " ".join(log.strip().splitlines()[-3:])
        last = f"; its last words: {words}" if words else ""
        return f"died with exit code {process.exitcode}{last}"


def run(function, size, *arguments, timeout=120, patience=60):
    """Run ``function(rank, *arguments)`` in so many new processes, once.

    Parameters
    ----------
    function : function
        As for `Workers.run`.
    size : int
        Number of processes.
    *arguments
        The same for all.
    timeout, patience : float
        As for `Workers`, in seconds.

    Returns
    -------
    list
        What each returned, by rank.

    Raises
    ------
    WorkerError
        If a worker raised an error, died, or was not done in time.
    ValueError
        As `Workers` does.
    """
    with Workers(size, timeout, patience) as workers:
        return workers.run(function, *arguments)


# ---------------------------------------------------------------------------
# In the worker


def _serve(rank, size, folder, patience, pipe):
    """Join the others, then do what comes through the pipe, until it is closed."""
    # What libraries print would otherwise stand between the outputs of a notebook.
    log = os.open(Path(folder, f"log{rank}"), os.O_WRONLY | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(log, stream)
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        store=dist.FileStore(str(Path(folder, "store")), size),
        rank=rank,
        world_size=size,
        timeout=timedelta(seconds=patience),
    )
    while True:
        try:
            work = pipe.recv_bytes()
        except EOFError:
            os._exit(0)  # nothing to tidy: the others are told to end as well
        try:
            sys.path[:], work = pickle.loads(work)
            function, arguments = pickle.loads(work)
            answer = True, pickle.dumps(_as_arrays(function(rank, *arguments)))
        except Exception as error:
            answer = False, f"{type(error).__name__}: {error}"
        pipe.send_bytes(pickle.dumps(answer))


def _as_arrays(value):
    """The value with each tensor in it, in lists and dicts too, as an array."""
    if hasattr(value, "detach"):
        return value.detach().cpu().numpy()
    if isinstance(value, dict):
        return {key: _as_arrays(entry) for key, entry in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(_as_arrays, value))
    return value
