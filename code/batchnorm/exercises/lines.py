"""A program whose lines can be replaced, one by one, by wrong ones.

A line is a small function whose parameters name the values that it needs:

>>> right = Lines(mean=lambda x: x.mean(0), y=lambda x, mean: x - mean)
>>> wrong = right.replaced({"y": lambda x, mean: x + mean})

A mistake is a few such lines with what is to be said about them. Two mistakes that
replace different lines can be made at once.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np


class Lines:
    """Functions by the name of the value that each computes.

    Parameters
    ----------
    **lines : functions
        The parameters of each are names of arguments and of other lines.
    """

    def __init__(self, **lines):
        self.lines = lines

    def replaced(self, lines):
        """The same program with some of its lines replaced, or with more of them.

        Parameters
        ----------
        lines : dict
            From names to functions.

        Returns
        -------
        Lines
        """
        return Lines(**{**self.lines, **lines})

    def run(self, wanted, arguments):
        """Compute the wanted values, and what they need, each once.

        Parameters
        ----------
        wanted : sequence of names
            Which lines.
        arguments : dict
            Values that are given.

        Returns
        -------
        tuple
            One value for each name.
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
    """A planted mistake: the lines that are wrong, and what is to be said of them.

    Parameters
    ----------
    id : str
        The name in tests and grades.
    says : str
        What is wrong, in the words of the chapter.
    tempting : str
        Why it looks right.
    training : str
        What it does to a network that is trained with it.
    section : str
        Label of the section to read.
    source : str
        A public thread about it, ``owner/name#number``, or nothing.
    lines : dict
        The wrong lines, by name.
    joins : tuple of str
        Other mistakes that together are this one.
    like : function, or None
        Brings outputs into the form in which this mistake's are compared, where it
        has several (axes of a principal component point either way).
    damage : function, or None
        Writes to the arguments.
    """

    id: str
    says: str
    tempting: str
    training: str
    section: str
    source: str = ""
    lines: dict = field(default_factory=dict)
    joins: tuple = ()
    like: Callable | None = None
    damage: Callable | None = None


def mistake(id, says, tempting, training, section, source="", **lines):
    """Register a mistake beside its program: what is said of it, then its wrong lines.

    Parameters
    ----------
    id, says, tempting, training, section, source : str
        As `Mistake` describes them.
    **lines : functions
        The wrong lines.

    Returns
    -------
    Mistake
    """
    return Mistake(id, says, tempting, training, section, source, lines)


def combinable(first, second):
    """Whether two mistakes can be made in one program, which is then a third one.

    Parameters
    ----------
    first, second : Mistake
        Of one task.

    Returns
    -------
    bool
        False where both replace one line, or one contains the other.
    """
    apart = not (first.lines.keys() & second.lines.keys())
    nested = first.id in second.joins or second.id in first.joins
    return apart and not nested and not (first.like or second.like)
