"""Independent tasks side by side: joblib on this machine, or on a Dask cluster.

What runs a task, and where, is joblib's; nothing here sends anything anywhere. A task
is a tuple of arguments, and its result depends on them alone: not on how many workers
there are, nor on the order in which they end.
"""

import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky.process_executor import TerminatedWorkerError


def side_by_side(
    function: Callable,
    tasks: Iterable[tuple],
    *,
    jobs: int | None = None,
    scheduler: str | None = None,
) -> Iterator[tuple]:
    """Run ``function(*task)`` for every task -> (task, result, error), as they end.

    The function is one of a module, so that another process finds it; tasks are
    distinct tuples. They run in so many processes, or one for each core, or on the
    workers of the Dask scheduler at an address, "tcp://host:8786". Without
    ``distributed`` that is a `ModuleNotFoundError`, and an `OSError` if no scheduler
    answers.

    Every task computes with one thread. One that raises does not stop the others: its
    result is None, and error the traceback. One whose worker dies is run again, unless
    no task ends between two such deaths.
    """
    left = list(tasks)
    with _backend(jobs, scheduler) as options:
        while left:
            before = len(left)
            parallel = Parallel(return_as="generator_unordered", **options)
            # A list of its own: joblib takes from it while `left` grows shorter.
            calls = [delayed(_attempt)(function, task) for task in left]
            try:
                for ended in parallel(calls):
                    left.remove(ended[0])
                    yield ended
            except TerminatedWorkerError:
                if len(left) == before:
                    raise


@contextmanager
def _backend(jobs, scheduler):
    """What joblib is told -> options of `joblib.Parallel`."""
    if scheduler is None:
        yield {"n_jobs": jobs or -1}
        return
    from distributed import Client  # the optional extra: cluster

    with Client(scheduler), parallel_config(backend="dask"):
        yield {"n_jobs": -1}


def _attempt(function, task):
    """What a worker does: run a task -> (task, result, error)."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums come out the same however many cores there are
    try:
        return task, function(*task), None
    except Exception:
        return task, None, traceback.format_exc()
    finally:
        torch.set_num_threads(threads)
