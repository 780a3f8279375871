"""The page of planted mistakes: its counts, its tables, the trial's outcome."""

import re

import pytest

from batchnorm.exercises import TASKS, public, trial
from booktools import mistakes
from booktools.notebooks import ROOT

PAGE = (ROOT / "back" / "mistakes.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def counted():
    return mistakes.results()[1]


def test_all_are_caught_singles_named_and_no_right_program_accused(counted):
    assert counted.caught == counted.singles >= 60
    assert counted.named >= 0.95 * counted.singles
    assert counted.pairs_caught == counted.half == counted.pairs
    assert counted.accused == 0
    assert counted.right >= 20
    assert (
        f"| one mistake | {counted.singles} | {counted.caught} |" in mistakes.counts()
    )


def test_every_mistake_is_a_row_with_what_is_said_of_it():
    table = mistakes.table()
    rows = re.findall(
        r"^\| (?:`\w+`: )?`[\w-]+` \| (.+?) \| \{ref\}`chapter \d+ <", table, re.M
    )
    planted = [m for task in TASKS.values() for m in task.mistakes]
    assert rows == [mistake.says for mistake in planted]
    programs = [task for task in TASKS.values() if not task.answer]
    assert table.count("\n### ") == len(programs) + 1  # the nodes share one
    assert table.count("https://github.com/") == sum(bool(m.source) for m in planted)


def test_threads_have_a_repository_and_a_number():
    for task in TASKS.values():
        for mistake in task.mistakes:
            assert re.fullmatch(r"|[\w.-]+/[\w.-]+#\d+", mistake.source), mistake.id


def test_public_checks_accept_right_programs_and_let_mistakes_pass():
    for check, caught in mistakes.results()[2]:
        assert not caught.accused, check.course
        assert caught.found
        assert caught.missed
        assert check.source.startswith("https://")
    table = mistakes.compared()
    assert table.count("\n| [") == len(public.CHECKS)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("forward: not right yet. A: b.\nAt x = [[1]]: yours is 1.\nRead c.", "A: b."),
        ("graph.d_x: not right yet. A.\nOn the four examples of chapter 5, b.", "A."),
        ("fold: not right yet. A.\nAfter the call, x is not what it was.", "A."),
        ('f: not right yet. A.\nAt TASKS["f"].probes[3].arguments: b.', "A."),
    ],
)
def test_what_is_said_ends_before_the_counterexample(message, said):
    assert mistakes.said(message) == said


def test_the_page_has_a_place_for_each_part_and_counts_the_trials_names():
    for mark in ("counts", "public", "trial", "plan", "programs", "matrix"):
        assert PAGE.count(f"\n% {mark}\n") == 1
    named = sum(bool(program.found.mistake) for program in trial.programs())
    assert {13: "with thirteen"}[named] in PAGE
    assert (ROOT / "back" / "evidence.md").read_text().count("\n% trial\n") == 1


def test_the_trial_is_told_before_and_after_it_was_run(monkeypatch):
    monkeypatch.setattr(trial, "record", lambda: None)
    assert "not run yet" in mistakes.outcome()
    assert mistakes.details().count("| named |") == 10
    rows = [
        {"id": id, "arm": arm, "repaired": arm == "named"}
        for id, arm in trial.arms().items()
    ]
    record = {**trial.outcome(rows), "rows": rows}
    said = mistakes.outcome(record)
    assert said.startswith("**Supported.**")
    assert "repaired 10 of 10" in said
    assert "counterexample, 0 of 10" in said
    assert "made by language models" in said
    assert mistakes.details(record).count("| yes |") == 10


def test_the_plan_is_on_the_page():
    assert mistakes.plan().startswith("**Hypothesis.**")
    assert "Newcombe" in mistakes.plan()
