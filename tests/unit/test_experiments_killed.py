"""The command of the recorded runs, killed where it stands, and started again."""

import json
import os
import re
import subprocess
import sys

import planted_runs
import pytest

PLANTED = planted_runs.__file__
TASKS = 6

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is of POSIX")


def line(folder, jobs=2):
    arguments = ["planted", "--folder", str(folder), "--jobs", str(jobs)]
    return [sys.executable, PLANTED, *arguments]


def without_times(text):
    """A result file but for the seconds that its tasks took, and the day."""
    return re.sub(r'"(seconds": [\d.]+|date": "[\d-]+")', "", text)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """What the command leaves if nothing stops it."""
    folder = tmp_path_factory.mktemp("whole")
    subprocess.run(line(folder, jobs=1), check=True, capture_output=True)
    assert [path.name for path in folder.iterdir()] == ["planted.json"]
    return without_times((folder / "planted.json").read_text("utf-8"))


@pytest.mark.parametrize("workers", [True, False], ids=["all", "not its workers"])
def test_killed_in_the_middle_and_started_again_it_writes_the_same(
    workers, uninterrupted, tmp_path
):
    partial = tmp_path / ".planted.partial"
    options = {"env": {**os.environ, "SECONDS": "1"}}  # a task: time to kill it in
    options["kill"] = "killpg" if workers else "kill"
    kept = planted_runs.killed_once_written(line(tmp_path), partial, 2, **options)
    assert list(tmp_path.iterdir()) == [partial]
    assert 2 <= kept < TASKS
    stored = [json.loads(row)["record"] for row in partial.read_text().splitlines()]
    subprocess.run(line(tmp_path, jobs=1), check=True, capture_output=True)
    assert [path.name for path in tmp_path.iterdir()] == ["planted.json"]
    text = (tmp_path / "planted.json").read_text("utf-8")
    assert without_times(text) == uninterrupted
    for record in stored:  # with its seconds: it was not run a second time
        assert json.dumps(record, ensure_ascii=False) in text


def test_killed_after_any_of_its_writes_it_writes_the_same(uninterrupted, tmp_path):
    asked = [sys.executable, PLANTED, "--killed-everywhere", str(tmp_path)]
    done = subprocess.run(asked, check=True, capture_output=True, text=True)
    told = json.loads(done.stdout)
    # A write for each record, the whole file and its new name, the partial one's end.
    assert len(told) == TASKS + 3
    left = [names for names, *_ in told]
    assert left[: TASKS - 1] == [[".planted.partial"]] * (TASKS - 1)
    partial, new, whole = ".planted.partial", ".planted.json.new", "planted.json"
    assert left[TASKS:] == [[new, partial], [partial, whole], [whole]]
    for _, names, text in told:
        assert names == ["planted.json"]
        assert without_times(text) == uninterrupted
