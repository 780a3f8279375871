"""Processes that compute together: what comes back, and what is left behind."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from batchnorm.workers import THREADS, WorkerError, Workers, run


def echo(rank, value):
    print("noise")  # goes to a file, not between the outputs of a notebook
    where = os.getpid(), torch.get_num_threads(), [os.environ[n] for n in THREADS]
    return rank, where, {"x": [torch.ones(2), (value, None)]}


def fail(rank):
    if rank == 0:
        raise ValueError("rank 0 did not like it")
    return rank


def sleep(rank):
    time.sleep(60 * rank)


def test_results_come_back_as_arrays_in_the_order_of_the_ranks(capfd, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with Workers(2) as workers:
        first = workers.run(echo, np.arange(3))
        second = workers.run(echo, "again")
        folder = workers._folder.name
        assert Path(folder).exists()
    assert os.environ["OMP_NUM_THREADS"] == "2"
    assert capfd.readouterr() == ("", "")
    assert not Path(folder).exists()
    for k, (rank, (_, threads, limits), values) in enumerate(first):
        assert (rank, threads, limits) == (k, 1, ["1", "1", "1"])
        assert type(values["x"][0]) is np.ndarray
        np.testing.assert_array_equal(values["x"][1][0], np.arange(3))
    processes = {where[0] for _, where, _ in first}
    assert processes == {where[0] for _, where, _ in second}  # they waited
    assert len(processes) == 2
    assert os.getpid() not in processes
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def test_a_function_of_a_notebook_can_be_sent():
    """One that no module holds, with what it uses."""
    space = {"__name__": "__main__"}
    exec("import math\ndef half(x): return x / 2", space)
    exec("def f(rank, x): return math.sqrt(half(x)) + rank", space)
    assert run(space["f"], 1, 8.0) == [2.0]


def test_errors_and_lateness_are_raised_here_with_the_rank():
    workers = Workers(2, timeout=60)
    with pytest.raises(
        WorkerError, match="rank 0: ValueError: rank 0 did not like it"
    ) as caught:
        workers.run(fail)
    assert caught.value.failures == {0: "ValueError: rank 0 did not like it"}
    workers.timeout = 1
    with pytest.raises(WorkerError, match="not done after 1 s"):
        workers.run(sleep)
    assert workers._processes == []
    workers.close()  # twice does no harm


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "size is 0"),
        ({"size": 2, "timeout": 0}, "timeout is 0"),
        ({"size": 2, "patience": -1}, "patience is -1"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(ValueError, match=message):
        Workers(**arguments)
