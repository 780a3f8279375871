"""Files carried over: where fingerprints come to reach less, and nowhere else."""

import pytest

from batchnorm.experiments import __main__ as command
from batchnorm.experiments import dense, recorded
from batchnorm.experiments.recorded import CARRIED, Cell, Recorded
from batchnorm.experiments.runs import RUNS

SHAPES_PIXELS = {
    f"batchnorm.mnist.{name}" for name in ("load", "_pixels", "_read_idx", "SHA256")
}
RUN = Recorded(
    "tiny", "Numbers.", dense.trained, lambda _: {"a": Cell({"factor": 1})}, seeds=7
)
BEFORE = {"p.files": "def files", "p.net": "def net", "p.train": "def train"}
NOW = {name: BEFORE[name] for name in ("p.net", "p.train")}
BEYOND = {"p.files": "def files"}


@pytest.fixture
def reach(monkeypatch):
    """Plants what code is reached, and what was reached before and is no longer."""

    def plant(code, beyond):
        monkeypatch.setattr(recorded, "reached", lambda *_: dict(code))
        monkeypatch.setitem(CARRIED, "sources", beyond)

    return plant


@pytest.fixture
def made_before(reach, tmp_path):
    """A folder with the file of the run, made when all of ``BEFORE`` was reached."""
    reach(BEFORE, {})
    RUN.write([{"cell": "a", "seeds": list(RUN.drawn(tmp_path))}], tmp_path)
    return tmp_path


def test_a_file_whose_code_is_word_for_word_the_same_is_carried(reach, made_before):
    seeds = RUN.drawn(made_before)
    reach(NOW, {})
    assert not RUN.whole(made_before)
    reach(NOW, BEYOND)
    assert RUN.whole(made_before)
    assert RUN.carried(made_before)
    assert RUN.drawn(made_before) == seeds


CHANGED = NOW | {"p.net": "def other"}
CHANGES = {
    "a change": (CHANGED, BEYOND),
    "a change, the old source kept": (CHANGED, BEYOND | {"p.net": "def net"}),
    "more is reached": (NOW | {"p.new": "def new"}, BEYOND),
    "less is reached, and not kept": ({"p.train": "def train"}, BEYOND),
    "another source kept": (NOW, {"p.files": "def other"}),
    "a source too many kept": (NOW, BEYOND | {"p.more": "def more"}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_no_file_is_carried_over_a_change(reach, made_before, change):
    reach(*CHANGES[change])
    assert not RUN.whole(made_before)
    assert not RUN.carried(made_before)


def test_a_run_of_today_is_whole_and_not_carried(reach, tmp_path):
    reach(NOW, BEYOND)
    RUN.write([{"cell": "a", "seeds": list(RUN.drawn(tmp_path))}], tmp_path)
    assert RUN.whole(tmp_path)
    assert not RUN.carried(tmp_path)


def test_the_list_says_what_is_carried_and_why(reach, made_before):
    reach(NOW, BEYOND)
    said = command._list([RUN], made_before).splitlines()
    assert said[0].split()[:3] == ["tiny", "whole", "*"]
    assert said[1] == f"* carried over, with its seeds: {CARRIED['why']}"
    reach(BEFORE, {})
    assert "*" not in command._list([RUN], made_before)


def test_what_is_reached_no_longer_finds_files_and_shapes_no_pixel():
    """When no run is carried any more, carried.json is to be emptied."""
    assert all(name.startswith("batchnorm.mnist.") for name in CARRIED["sources"])
    assert any(run.carried() for run in RUNS.values()) == bool(CARRIED["sources"])
    for run in RUNS.values():
        code = recorded.reached(run.measure.__module__, run.measure.__qualname__)
        assert set(code) >= SHAPES_PIXELS
        assert not set(code) & set(CARRIED["sources"])
