"""The command of the recorded runs with a small run, for tests that kill it.

    python planted_runs.py planted --folder FOLDER --jobs 2
    python planted_runs.py --killed-everywhere FOLDER

The second is killed at each of its writes, one after the other, and tells what it left.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from batchnorm.experiments import __main__ as command
from batchnorm.experiments.recorded import Cell, Recorded


class Planted(Recorded):
    """A run whose code is not the package's, so that there is none to hash."""

    def _fingerprints(self, folder):
        """The same for all, now and before."""
        return ["0" * 16] * 2


def squares(seeds, device, *, power):
    """Powers of the seeds, after the seconds that the environment asks for."""
    time.sleep(float(os.environ.get("SECONDS", "0")))
    return {"power": [seed**power for seed in seeds]}


def cells(folder):
    """Two."""
    return {"squares": Cell({"power": 2}), "cubes": Cell({"power": 3})}


RUN = Planted("planted", "Half a µ.", squares, cells, seeds=(1, 2, 3), block=1)


def killed_everywhere(folder):
    """For each write of the command: kill it just after, run it again, and tell.

    Prints a JSON list with, for each, what was in the folder then and in the end, and
    the file that the second command left.
    """
    told = []
    for count in range(1, 100):
        here = Path(folder) / f"{count}"
        here.mkdir()
        line = ["planted", "--folder", str(here), "--jobs", "1"]
        if _in_a_child(lambda line=line, count=count: _killed_after(count, line)) == 0:
            break  # it has fewer writes
        left = sorted(path.name for path in here.iterdir())
        assert _in_a_child(lambda line=line: command.main(line)) == 0
        kept = sorted(path.name for path in here.iterdir())
        told.append([left, kept, RUN.file(here).read_text("utf-8")])
    print(json.dumps(told))


def killed_once_written(line, partial, records=1, kill="killpg", **options):
    """Kill a command when its partial file has so many records -> how many it has."""
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    started = subprocess.Popen(line, start_new_session=True, **silent, **options)
    while not (partial.exists() and partial.read_bytes().count(b"\n") >= records):
        assert started.poll() is None
        time.sleep(0.01)
    getattr(os, kill)(started.pid, signal.SIGKILL)
    started.wait()
    return partial.read_bytes().count(b"\n")


def _in_a_child(function):
    """Call in a process of its own -> exit status, negative if it was killed."""
    child = os.fork()
    if child == 0:
        os._exit(function())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _killed_after(count, line):
    left = [count]

    def counted(function):
        def write(*arguments, **options):
            function(*arguments, **options)
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        return write

    os.fsync, os.replace = counted(os.fsync), counted(os.replace)
    Path.unlink = counted(Path.unlink)
    return command.main(line)


def main(arguments):
    """The command, of which the planted run is the only one."""
    command.RUNS.clear()
    command.RUNS["planted"] = RUN
    if arguments[0] == "--killed-everywhere":
        return killed_everywhere(arguments[1])
    return command.main(arguments)


if __name__ == "__main__":
    import planted_runs  # by its name, so that workers find its functions

    sys.exit(planted_runs.main(sys.argv[1:]))
