"""Files carried over: where fingerprints come to cover less, and nowhere else."""

import pytest

from batchnorm.claims.fingerprint import digest
from batchnorm.claims.protocol import confirmation_seeds
from batchnorm.experiments import __main__ as command
from batchnorm.experiments import dense, recorded
from batchnorm.experiments.recorded import CARRIED, Cell, Drawing, Recorded
from batchnorm.experiments.runs import RUNS

SHAPES_PIXELS = {
    f"batchnorm.mnist.{name}" for name in ("load", "_pixels", "_read_idx", "SHA256")
}
RUN = Recorded(
    "tiny", "Numbers.", dense.trained, lambda _: {"a": Cell({"factor": 1})}, seeds=7
)
# In the order of their names, which is not that of the texts.
BEFORE = {"p.files": "def files", "p.net": "class Net", "p.train": "def train"}
NOW = {name: BEFORE[name] for name in ("p.net", "p.train")}
BEYOND = {"p.files": "def files"}
MOVED = {"p.a.net": "class Net", "p.train": "def train"}
NAMES = {"p.a.net": "p.net"}


@pytest.fixture
def reach(monkeypatch):
    """Plants what code is reached, what was and is no longer, and former names."""

    def plant(code, beyond, names=()):
        monkeypatch.setattr(recorded, "reached", lambda *_: dict(code))
        monkeypatch.setitem(CARRIED, "sources", beyond)
        monkeypatch.setitem(CARRIED, "names", dict(names))

    return plant


@pytest.fixture
def made_before(reach, tmp_path):
    """A folder with the file of the run, made when all of ``BEFORE`` was reached.

    Its fingerprint is that of then, with the texts in the order of their names.
    """
    reach(BEFORE, {})
    cells = sorted(RUN.cells(tmp_path).items())
    definition = [RUN.name, repr(cells), repr(RUN.findings), repr(RUN.seeds)]
    mark = digest(*definition, *BEFORE.values())
    seeds = confirmation_seeds(Drawing(mark, RUN.seeds))
    RUN.write([{"cell": "a", "seeds": list(seeds)}], tmp_path)
    file = RUN.file(tmp_path)
    file.write_text(file.read_text().replace(RUN.fingerprint(tmp_path), mark))
    return tmp_path


CARRIED_OVER = {
    "less is reached": (NOW, BEYOND),
    "the order no longer counts": (BEFORE, {}),
    "a class moved": (MOVED, BEYOND, NAMES),
    "two moved": ({"p.a.net": "class Net", "q": "def train"}, BEYOND, NAMES),
}


@pytest.mark.parametrize("reason", CARRIED_OVER)
def test_a_file_whose_code_is_word_for_word_the_same_is_carried(
    reach, made_before, reason
):
    seeds = tuple(RUN.load(made_before)["records"][0]["seeds"])
    reach(*CARRIED_OVER[reason])
    assert RUN.whole(made_before)
    assert RUN.carried(made_before)
    assert RUN.drawn(made_before) == seeds


CHANGED = NOW | {"p.net": "class Other"}
CHANGES = {
    "a change": (CHANGED, BEYOND),
    "a change, the old source kept": (CHANGED, BEYOND | {"p.net": "class Net"}),
    "more is reached": (NOW | {"p.new": "def new"}, BEYOND),
    "less is reached, and not kept": ({"p.train": "def train"}, BEYOND),
    "less is reached, nothing is kept": (NOW, {}),
    "another source kept": (NOW, {"p.files": "def other"}),
    "a source too many kept": (NOW, BEYOND | {"p.more": "def more"}),
    "a class moved and changed": (MOVED | {"p.a.net": "class Other"}, BEYOND, NAMES),
    "a class moved, no former name": (MOVED, BEYOND),
    "a class moved, another's former name": (MOVED, BEYOND, {"p.a.net": "p.z"}),
    "a class that did not move": (NOW, BEYOND, {"p.net": "p.z"}),
    "a new one under the name of one": (
        NOW | {"p.new": "def new"},
        BEYOND,
        {"p.new": "p.net"},
    ),
    "a new one under the name of what is kept": (
        NOW | {"p.new": "def new"},
        BEYOND,
        {"p.new": "p.files"},
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_no_file_is_carried_over_a_change(reach, made_before, change):
    reach(*CHANGES[change])
    assert not RUN.whole(made_before)
    assert not RUN.carried(made_before)


def test_a_run_of_today_is_whole_and_not_carried_and_classes_may_move(reach, tmp_path):
    reach(NOW, BEYOND)
    RUN.write([{"cell": "a", "seeds": list(RUN.drawn(tmp_path))}], tmp_path)
    for code in (NOW, MOVED):
        reach(code, BEYOND)
        assert RUN.whole(tmp_path)
        assert not RUN.carried(tmp_path)
    reach(CHANGED, BEYOND)
    assert not RUN.whole(tmp_path)


def test_the_list_says_what_is_carried_and_why(reach, made_before):
    reach(NOW, BEYOND)
    said = command._list([RUN], made_before).splitlines()
    assert said[0].split()[:3] == ["tiny", "whole", "*"]
    assert said[1] == f"* carried over, with its seeds: {CARRIED['why']}"
    reach(CHANGED, BEYOND)
    RUN.write([{"cell": "a", "seeds": list(RUN.drawn(made_before))}], made_before)
    (said,) = command._list([RUN], made_before).splitlines()
    assert said.split()[:2] == ["tiny", "whole"]
    assert "*" not in said


def test_what_is_reached_no_longer_finds_files_and_shapes_no_pixel():
    """When no run is carried any more, carried.json is to be emptied."""
    assert all(name.startswith("batchnorm.mnist.") for name in CARRIED["sources"])
    assert any(run.carried() for run in RUNS.values()) == bool(CARRIED["sources"])
    for run in RUNS.values():
        code = recorded.reached(run.measure.__module__, run.measure.__qualname__)
        assert set(code) >= SHAPES_PIXELS
        assert not set(code) & set(CARRIED["sources"])


def test_runs_that_reach_what_moved_are_whole_by_its_former_names(monkeypatch):
    names, code, reached = CARRIED["names"], {}, recorded.reached

    def noted(*asked):
        code[run.name] |= set(found := reached(*asked))
        return found

    monkeypatch.setattr(recorded, "reached", noted)
    for run in RUNS.values():
        code[run.name] = set()
        assert run.whole()
    found = set().union(*code.values())
    assert found >= set(names)
    assert not found & set(names.values())
    monkeypatch.setitem(CARRIED, "names", {})
    stale = {run.name for run in RUNS.values() if not run.whole()}
    assert stale == {name for name in RUNS if code[name] & set(names)}
