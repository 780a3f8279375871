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
    """How many of what there is.

    Parameters
    ----------
    singles, caught, named : int
        Planted mistakes; those called wrong; those named exactly.
    pairs, pairs_caught, half : int
        Two mistakes in one program; those called wrong; those of which at least one
        is named.
    right, accused : int
        Right programs in other styles; those called wrong.
    sourced : int
        Planted mistakes with a public thread.
    """

    singles: int
    caught: int
    named: int
    pairs: int
    pairs_caught: int
    half: int
    right: int
    accused: int
    sourced: int


def verdicts():
    """Every planted mistake with its verdict.

    Returns
    -------
    list of (Task, Mistake, Diagnosis)
    """
    return [
        (task, mistake, diagnose(name, task.planted(mistake)))
        for name, task in TASKS.items()
        for mistake in task.mistakes
    ]


def pairs():
    """Every pair of mistakes that one program can make, with its verdict.

    Returns
    -------
    list of (Task, Mistake, Mistake, Diagnosis)
    """
    found = []
    for name in PROGRAMS:
        task = TASKS[name]
        for first, second in itertools.combinations(task.mistakes, 2):
            if combinable(first, second):
                verdict = diagnose(name, task.planted(first, second))
                found.append((task, first, second, verdict))
    return found


def count(verdicts, pairs):
    """The counts of the page.

    Parameters
    ----------
    verdicts, pairs : list
        As the functions of that name return them.

    Returns
    -------
    Counts
    """
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
