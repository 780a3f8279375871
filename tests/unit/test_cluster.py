"""Claims on a cluster, on one that loses a worker, or killed halfway."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from planted_runs import killed_once_written

from batchnorm.claims import __main__ as command

CLAIMS = [
    "noise-of-the-mean",
    "noise-of-the-deviation",
    "dropout-shifts-the-variance",
    "accumulated-gradient",
]
ASKED = [*CLAIMS, "--seeds", "0:3"]


def records(file):
    """A result file but for the seconds that its runs took."""
    kept = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    return [{k: v for k, v in record.items() if k != "seconds"} for record in kept]


@pytest.fixture(scope="module")
def by_one_process(tmp_path_factory):
    """What one process makes of the claims."""
    file = tmp_path_factory.mktemp("one") / "claims"
    assert command.main([*ASKED, "--output", str(file), "--jobs", "1"]) == 0
    return records(file)


@pytest.fixture
def cluster():
    """A scheduler and two worker processes on this machine."""
    distributed = pytest.importorskip(
        "distributed", reason="no cluster was tried: the extra cluster is not installed"
    )
    options = {"dashboard_address": None, "silence_logs": 50}
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, **options
    ) as found:
        yield found


@pytest.mark.filterwarnings("default")
def test_a_cluster_of_two_writes_what_one_process_does(
    cluster, by_one_process, tmp_path
):
    file = tmp_path / "claims"
    where = ["--scheduler", cluster.scheduler_address]
    assert command.main([*ASKED, "--output", str(file), *where]) == 0
    assert records(file) == by_one_process
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.filterwarnings("default")
def test_a_cluster_that_loses_a_worker_goes_on(cluster, by_one_process, tmp_path):
    file, partial = tmp_path / "claims", tmp_path / ".claims.partial"
    pids = [worker.pid for worker in cluster.workers.values()]

    def kill():
        while not (partial.exists() and partial.read_bytes()):
            time.sleep(0.01)
        os.kill(pids[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    where = ["--scheduler", cluster.scheduler_address]
    assert command.main([*ASKED, "--output", str(file), *where]) == 0
    killer.join()
    assert records(file) == by_one_process


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is of POSIX")
def test_killed_and_started_again_it_writes_the_same(by_one_process, tmp_path):
    file, partial = tmp_path / "claims", tmp_path / ".claims.partial"
    line = [sys.executable, "-m", "batchnorm.claims", *ASKED, "--output", str(file)]
    line += ["--jobs", "2"]
    kept = killed_once_written(line, partial)
    assert not file.exists()
    assert 1 <= kept < len(CLAIMS)
    again = subprocess.run(line, check=True, capture_output=True, text=True)
    assert f"/{len(CLAIMS) - kept}" not in again.stdout
    assert records(file) == by_one_process
