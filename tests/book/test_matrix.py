"""The matrix: what counts as a failure, and what the table says of it."""

from collections import Counter

import pytest

from booktools import matrix

REPORT = """<?xml version="1.0"?><testsuites><testsuite name="pytest">
<testcase classname="chapters.01_whitening.ipynb" name="Cell 0" time="1"/>
<testcase classname="chapters.01_whitening.ipynb" name="Cell 1" time="1">
<failure message="differs">1.0 != 1.1</failure></testcase>
<testcase classname="chapters.09_inference.ipynb" name="Cell 4" time="1">
<error message="timeout"/></testcase></testsuite></testsuites>"""


def test_failed_cells_are_counted_by_chapter():
    assert matrix.failures(REPORT) == {"01_whitening": 1, "09_inference": 1}


def test_a_run_without_a_report_fails_every_chapter(tmp_path, monkeypatch):
    died = matrix.subprocess.CompletedProcess([], 1)
    monkeypatch.setattr(matrix.subprocess, "run", lambda *_, **__: died)
    failed = matrix.run_notebooks("python", {}, tmp_path / "x.log", "1")
    assert set(failed) == {path.stem for path in matrix.notebooks()}
    assert min(failed.values()) == 1


def test_the_table_has_a_dot_for_green_and_the_number_of_failed_cells():
    results = {"plain": Counter(), "avx2": Counter({"02_shift": 3})}
    head, plain, avx2 = matrix.table(results, ["01_white", "02_shift", "claims"]).split(
        "\n"
    )
    assert head.split() == ["01", "02", "claims"]
    assert plain.split() == ["plain", ".", ".", "."]
    assert avx2.split() == ["avx2", ".", "3", "."]


def test_only_features_that_numpy_dispatches_on_are_switched_off():
    assert matrix.dispatched("NEON_OF_ANOTHER_MACHINE SSE2") == ""


def test_every_red_cell_and_nothing_else_makes_the_command_fail(monkeypatch, tmp_path):
    calls = []

    def run(python, variables, log, workers):
        calls.append(variables["OMP_NUM_THREADS"])
        return Counter(red)

    monkeypatch.setattr(matrix, "run_notebooks", run)
    monkeypatch.setattr(matrix, "run_claims", lambda *_: 0)
    command = ["plain", "threads", "--folder", str(tmp_path)]
    red = {}
    assert matrix.main(command) == 0
    red = {"04_transform": 1}
    assert matrix.main(command) == 1
    assert calls == ["1", "2", "1", "2"]


def test_packages_that_can_not_be_installed_are_red(monkeypatch, tmp_path, capsys):
    def broken(*_):
        raise matrix.subprocess.CalledProcessError(1, "uv")

    monkeypatch.setattr(matrix, "interpreter", broken)
    assert matrix.main(["oldest", "--folder", str(tmp_path)]) == 1
    assert "could not be set up" in capsys.readouterr().out


def test_an_unknown_environment_is_refused(capsys):
    with pytest.raises(SystemExit):
        matrix.main(["mainframe"])
    assert "there are: plain, threads" in capsys.readouterr().err


def test_a_run_that_fails_without_a_failed_cell_fails_every_chapter(
    tmp_path, monkeypatch
):
    def run(command, **_):
        (tmp_path / "x.xml").write_text("<testsuites/>")
        return matrix.subprocess.CompletedProcess(command, 1)

    monkeypatch.setattr(matrix.subprocess, "run", run)
    failed = matrix.run_notebooks("python", {}, tmp_path / "x.log", "1")
    assert set(failed) == {path.stem for path in matrix.notebooks()}


def test_a_chapter_that_cannot_be_read_is_counted():
    report = (
        '<testsuites><testcase classname="" name="chapters.05_graph.ipynb">'
        "<error/></testcase></testsuites>"
    )
    assert matrix.failures(report) == {"05_graph": 1}


def test_verdicts_of_an_earlier_run_do_not_stand_for_one_that_died(
    tmp_path, monkeypatch
):
    record = (matrix.ROOT / matrix.DATA_FILE).read_text("utf-8")

    def run(command, **_):
        if done:
            (tmp_path / "x.json").write_text(record, "utf-8")
        return matrix.subprocess.CompletedProcess(command, int(not done))

    monkeypatch.setattr(matrix.subprocess, "run", run)
    done = True
    assert matrix.run_claims("python", {}, tmp_path / "x.log") == 0
    done = False
    assert matrix.run_claims("python", {}, tmp_path / "x.log") == 1
