"""The reverse exercise: a reader's test, judged by right and by wrong programs."""

from dataclasses import dataclass

from batchnorm.exercises import calls, messages, stubs, styles
from batchnorm.exercises.calls import Failure


@dataclass(frozen=True)
class Caught:
    """What a test finds.

    Parameters
    ----------
    found, missed : tuple of str
        Ids of planted mistakes that it refuses, and that it lets pass.
    accused : tuple of str
        Names of right programs that it refuses.
    message : str
        At most eight lines for the reader.
    """

    found: tuple
    missed: tuple
    accused: tuple
    message: str


def judge(task, test):
    """Let a test judge all planted mistakes of a task, and right programs.

    Parameters
    ----------
    task : Task
        What the programs are to do.
    test : function
        The reader's: takes a program; raises, or returns False, if it finds it wrong.

    Returns
    -------
    Caught
    """
    if stubs.is_empty(test):
        return Caught((), (), (), messages.no_test(task))
    if not callable(test):
        kind = type(test).__name__
        text = (
            f"{task.name}: what came is of type {kind}; asked for is a test(program)."
        )
        return Caught((), (), (), text)
    accused = {}
    for name, program in _right(task):
        refused = _refuses(test, program)
        if refused and refused.kind == "TooLong":
            return Caught((), (), (name,), messages.test_failed(task, refused))
        if refused:
            accused[name] = refused
    verdicts = {m.id: _refuses(test, task.planted(m)) for m in task.mistakes}
    found = tuple(id for id, refused in verdicts.items() if refused)
    missed = tuple(id for id in verdicts if id not in found)
    message = messages.caught(task, found, missed, accused, len(_right(task)))
    return Caught(found, missed, tuple(accused), message)


def _right(task):
    """Right programs with a name each: by lines, and in other styles."""
    return [("line by line", task.planted()), *styles.of(task.name).items()]


def _refuses(test, program):
    """The failure, if the test finds the program wrong, else None."""
    verdict = calls.call(test, [program])
    if isinstance(verdict, Failure):
        return verdict
    if verdict is None or isinstance(verdict, bool):
        return None if verdict is not False else Failure("False")
    return None if verdict else Failure("False")
