"""Exercises that name the mistake: `check`, `diagnose`, and the reverse, `catch`.

>>> from batchnorm.exercises import check
>>> check("forward", my_forward)

`check` runs a program on designed inputs and says *right*, or names what is wrong in
the words of the chapter. `diagnose` says the same as data. `catch` turns the tables:
the reader writes a test, and is told which planted mistakes it lets pass.
"""

from batchnorm import _checks
from batchnorm.exercises import catching, diagnosis, nodes
from batchnorm.exercises.diagnosis import Diagnosis
from batchnorm.exercises.graded import GRADED, KNOWN
from batchnorm.exercises.tasks import TASKS

__all__ = ["GRADED", "MISTAKES", "TASKS", "Diagnosis", "catch", "check", "diagnose"]

MISTAKES = {
    name: {mistake.id: mistake.says for mistake in (*task.mistakes, *task.shown)}
    for name, task in TASKS.items()
}


def check(task, mine):
    """Print the verdict on an answer: right, or what is wrong with it.

    Parameters
    ----------
    task : str
        A name from ``TASKS`` or ``GRADED``, whose entry says how it is called, or
        ``"graph"``.
    mine : function, array, or dict
        The answer: for a node of the graph an array, for the graph a dict of them.

    Raises
    ------
    ValueError
        If there is no such task.
    """
    print(diagnose(task, mine).message)


def diagnose(task, mine):
    """The verdict on an answer as data, for graders.

    Parameters
    ----------
    task : str
        A name from ``TASKS`` or ``GRADED``, or ``"graph"``.
    mine : function, array, or dict
        The answer, as for `check`.

    Returns
    -------
    Diagnosis
        ``right``, ``mistake`` and ``message``.

    Raises
    ------
    ValueError
        If there is no such task.
    """
    if isinstance(task, str) and task.startswith("graph."):
        node = task.removeprefix("graph.")
        task = f"graph.{nodes.SHOWN.get(node, node)}"
    _checks.one_of("task", task, [*KNOWN, "graph"])
    if task == "graph":
        return nodes.examine(TASKS, mine)
    return diagnosis.examine(KNOWN[task], mine)


def catch(task, test):
    """Print which planted mistakes of a task the reader's own test finds.

    Parameters
    ----------
    task : str
        A name from ``TASKS``.
    test : function
        Takes a program, calls it as the task says, and raises an error, or returns
        False, if it finds the program wrong.

    Raises
    ------
    ValueError
        If there is no such task.
    """
    programs = [name for name in TASKS if not TASKS[name].answer]
    task = TASKS[_checks.one_of("task", task, programs)]
    print(catching.judge(task, test).message)
