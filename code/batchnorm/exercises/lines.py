"""A program whose lines can be replaced, one by one, by wrong ones.

A line is a small function whose parameters name the values that it needs:

>>> right = Lines(mean=lambda x: x.mean(0), y=lambda x, mean: x - mean)
>>> wrong = right.replaced(y=lambda x, mean: x + mean)

A mistake is a few such lines with what is to be said about them. Two mistakes that
replace different lines can be made at once.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np


class Lines:
    """Functions by the name of the value that each computes.

    The parameters of each are names of arguments and of other lines.
    """

    def __init__(self, **lines):
        self.lines = lines

    def replaced(self, **lines):
        """The same program with some of its lines replaced, or with more of them."""
        return Lines(**{**self.lines, **lines})

    def run(self, wanted, arguments):
        """Compute the lines that are wanted, and what they need, each once.

        `arguments` are values by name -> a tuple, a value for each name in `wanted`.
        """
        known = dict(arguments)

        def value(name):
            if name not in known:
                line = self.lines[name]
                code = line.__code__
                needs = code.co_varnames[: code.co_argcount]
                known[name] = line(*[value(need) for need in needs])
            return known[name]

        with np.errstate(all="ignore"):
            return tuple(value(name) for name in wanted)


@dataclass(frozen=True, eq=False)
class Mistake:
    """A planted mistake: the lines that are wrong, and what is to be said of them."""

    id: str  # the name in tests and grades
    says: str  # what is wrong, in the words of the chapter
    tempting: str  # why it looks right
    training: str  # what it does to a network that is trained with it
    section: str  # label of the section to read
    source: str = ""  # a public thread about it, owner/name#number, or nothing
    lines: dict = field(default_factory=dict)  # the wrong lines, by name
    joins: tuple = ()  # ids of other mistakes that together are this one
    # Brings outputs into the form in which this mistake's are compared, where it has
    # several: axes of a principal component point either way.
    like: Callable | None = None
    damage: Callable | None = None  # writes to the arguments


def mistake(
    id, says, tempting, training, section, source="", *, joins=(), like=None, **lines
):
    """A mistake to stand beside its program: what is said of it, then its lines."""
    return Mistake(
        id, says, tempting, training, section, source, lines, joins=joins, like=like
    )


def by_id(mistakes):
    """The mistakes of a list by their names, for tasks that share some."""
    return {mistake.id: mistake for mistake in mistakes}


def combinable(first, second):
    """Whether two mistakes of a task can be made in one program, which is a third one.

    They cannot where both replace one line, or one contains the other.
    """
    apart = not (first.lines.keys() & second.lines.keys())
    nested = first.id in second.joins or second.id in first.joins
    return apart and not nested and not (first.like or second.like)
