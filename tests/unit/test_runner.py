"""The runner: independent tasks, whatever runs them, and whatever stops it."""

import json
import os
import time

import pytest

from batchnorm._records import Partial
from batchnorm._runner import side_by_side


def square(number, folder):
    """A task: its square, and a mark that it was run."""
    with open(os.path.join(folder, f"{number}"), "a") as mark:
        mark.write("x")
    return number**2


def raises_at_three(number):
    if number == 3:
        raise ValueError("number is 3")
    return number


def dies_once(number, folder):
    """Kills its worker the first time that it is asked for 2."""
    mark = os.path.join(folder, "died")
    if number == 2 and not os.path.exists(mark):
        open(mark, "w").close()
        time.sleep(0.5)  # so that others end before
        os._exit(1)
    return number**2


def always_dies(number):
    os._exit(1)


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_task_is_run_once_and_returns_its_result(jobs, tmp_path):
    tasks = [(n, str(tmp_path)) for n in range(6)]
    ended = list(side_by_side(square, tasks, jobs=jobs))
    assert {task: result for task, result, _ in ended} == {t: t[0] ** 2 for t in tasks}
    assert all(error is None for *_, error in ended)
    assert {path.read_text() for path in tmp_path.iterdir()} == {"x"}


def test_tasks_are_run_in_their_order(tmp_path):
    tasks = [(n, str(tmp_path)) for n in range(12)]
    assert [task for task, *_ in side_by_side(square, tasks, jobs=1)] == tasks


def test_a_task_that_raises_is_told_and_stops_no_other():
    ended = {
        t[0]: e for t, _, e in side_by_side(raises_at_three, [(2,), (3,), (4,)], jobs=1)
    }
    assert ended[2] is None
    assert ended[4] is None
    assert "ValueError: number is 3" in ended[3]


def test_a_dead_worker_costs_its_task_one_more_run(tmp_path):
    tasks = [(n, str(tmp_path)) for n in range(4)]
    ended = list(side_by_side(dies_once, tasks, jobs=2))
    assert sorted(result for _, result, _ in ended) == [0, 1, 4, 9]
    assert (tmp_path / "died").exists()


def test_a_task_that_always_kills_its_worker_ends_the_run():
    with pytest.raises(Exception, match="worker"):
        list(side_by_side(always_dies, [(1,)], jobs=2))


def test_a_partial_file_keeps_all_records_but_a_torn_one(tmp_path):
    file = tmp_path / ".x.partial"
    partial = Partial(file)
    partial.add(["a", 1], {"value": 1.5})
    partial.add(["b", 2], {"value": [1, 2], "said": "half a µ"})
    whole = file.read_bytes()
    for cut in range(len(whole)):
        file.write_bytes(whole[:cut])
        again = Partial(file)
        complete = whole[:cut].count(b"\n")
        assert len(again.done) == complete
        again.add(["b", 2], {"value": [1, 2], "said": "half a µ"})
        assert len(file.read_text("utf-8").splitlines()) == complete + 1
        for line in file.read_text("utf-8").splitlines():
            json.loads(line)
    file.write_bytes(whole)
    assert Partial(file).get(["a", 1]) == {"value": 1.5}
    assert Partial(file).get(["a", 2]) is None
