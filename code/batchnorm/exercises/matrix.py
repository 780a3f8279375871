"""What `diagnose` says of every planted mistake, of pairs, and of right programs.

All of it is computed by running the programs, which takes some ten seconds.
"""

import itertools
from dataclasses import dataclass

from batchnorm.exercises import diagnose, styles
from batchnorm.exercises.lines import combinable
from batchnorm.exercises.tasks import TASKS

PROGRAMS = tuple(name for name in TASKS if not TASKS[name].answer)


@dataclass(frozen=True)
class Counts:
    """How many of what there is."""

    singles: int  # planted mistakes
    caught: int  # of them called wrong
    named: int  # of them named exactly
    pairs: int  # two mistakes in one program
    pairs_caught: int  # of them called wrong
    half: int  # of them, those of which at least one mistake is named
    right: int  # right programs in other styles
    accused: int  # of them called wrong
    sourced: int  # planted mistakes with a public thread


def verdicts():
    """Every planted mistake with its verdict: a list of (Task, Mistake, Diagnosis)."""
    return [
        (task, mistake, diagnose(name, task.planted(mistake)))
        for name, task in TASKS.items()
        for mistake in task.mistakes
    ]


def pairs():
    """Every pair of mistakes that one program can make, with its verdict.

    -> a list of (Task, Mistake, Mistake, Diagnosis).
    """
    return [
        (TASKS[name], *pair, diagnose(name, TASKS[name].planted(*pair)))
        for name in PROGRAMS
        for pair in itertools.combinations(TASKS[name].mistakes, 2)
        if combinable(*pair)
    ]


def count(verdicts, pairs):
    """The counts of the page, of what the functions of these names return."""
    right = [
        diagnose(name, program)
        for name in PROGRAMS
        for program in (TASKS[name].planted(), *styles.of(name).values())
    ]
    return Counts(
        len(verdicts),
        sum(not found.right for *_, found in verdicts),
        sum(found.mistake == mistake.id for _, mistake, found in verdicts),
        len(pairs),
        sum(not found.right for *_, found in pairs),
        sum(_names_one(*pair) for pair in pairs),
        len(right),
        sum(not found.right for found in right),
        sum(bool(mistake.source) for _, mistake, _ in verdicts),
    )


def _names_one(task, first, second, found):
    """Whether a verdict on two mistakes names one of them, itself or as a part."""
    parts = {mistake.id: {mistake.id, *mistake.joins} for mistake in task.mistakes}
    said = set().union(*(parts[id] for id in (found.mistake or "").split("+") if id))
    return bool(said & {first.id, second.id})
