"""The reverse exercise: a reader's test, judged by right and by wrong programs."""

from dataclasses import dataclass

from batchnorm.exercises import calls, messages, stubs, styles
from batchnorm.exercises.calls import Failure


@dataclass(frozen=True)
class Caught:
    """What a test finds."""

    found: tuple  # ids of planted mistakes that it refuses
    missed: tuple  # and of those that it lets pass
    accused: tuple  # names of right programs that it refuses
    message: str  # at most eight lines for the reader


def judge(task, test):
    """Let a reader's test judge all planted mistakes of a task, and right programs.

    It takes a program, and raises, or returns False, if it finds it wrong -> `Caught`.
    """
    if stubs.is_empty(test):
        return Caught((), (), (), messages.no_test(task))
    if not callable(test):
        kind = type(test).__name__
        said = f"what came is of type {kind}; asked for is a test(program)."
        return Caught((), (), (), f"{task.name}: {said}")
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
    return None if verdict is None or verdict else Failure("False")
