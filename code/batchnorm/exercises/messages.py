"""The words of a verdict: at most eight lines, the same on every machine.

Numbers have four digits, and are rounded to twelve before, so that a last bit that
differs between processors does not show.
"""

import textwrap
from dataclasses import dataclass
from typing import Any

import numpy as np

from batchnorm.exercises.sections import SECTIONS

WIDTH = 72
LINES = 8
LISTED = 9  # mistakes that a test lets pass, by name


@dataclass(frozen=True, eq=False)
class Where:
    """An entry that is wrong, or, without one, a whole result: got and asked."""

    probe: int
    name: str  # of the result
    entry: tuple | None
    got: Any
    asked: Any


# ---------------------------------------------------------------------------
# Verdicts on results


def right(task, single):
    """All probes agree."""
    how = "right in float32, to about four digits" if single else "right, to rounding"
    on = "" if task.answer else f", on {len(task.probes)} inputs"
    return f"{task.name}: {how}{on}."


def named(task, mistakes, where):
    """A planted mistake gives exactly the reader's results."""
    first, *others = mistakes
    section = SECTIONS[first.section]
    return _lines(
        f"{task.name}: not right yet. {first.says}",
        *_example(task, where),
        f"In training: {first.training}",
        *(["Behind it is a second mistake: mend this one first."] if others else []),
        f"Read {section}" + "." * (not section.endswith("?")),
    )


def wrote(task, mistake, name):
    """The results are right, an argument is changed."""
    return _lines(
        f"{task.name}: not right yet. {mistake.says}",
        f"After the call, {name} is not what it was before.",
        f"In training: {mistake.training}",
    )


def spoiled(task, where, how):
    """A result has another shape, or is NaN or infinite where it should not be."""
    return _lines(
        f"{task.name}: not right yet. {where.name} {how}.", *_example(task, where)
    )


def unnamed(task, broken, where):
    """No planted mistake fits: a property, or else an entry."""
    verdict = f"{task.name}: not right yet, in a way that has no name here."
    if not broken:
        return _lines(verdict, *_example(task, where))
    held, at = broken
    return _lines(
        verdict,
        f"The first thing that does not hold: {held.says}",
        f"{_input(task, at.probe)} yours is {_digits(at.got)}, "
        f"right is {_digits(at.asked)}.",
    )


# ---------------------------------------------------------------------------
# What cannot be compared


def not_filled_in(task):
    """The answer is still empty."""
    return _lines(
        f"{task.name}: not filled in yet; asked for is {task.asks or task.signature}."
    )


def still_dots(name):
    """One of the results is still an ellipsis."""
    return f"{name} is not filled in yet: it is still `...`."


def not_callable(task, program):
    """What came is not a function."""
    kind = type(program).__name__
    return _lines(
        f"{task.name}: what came is of type {kind}; "
        f"asked for is {task.asks or 'a function ' + task.signature}."
    )


def returned_none(task):
    """Nothing came back."""
    return (
        f"Your function returns None: is there a return? "
        f"Asked for is {task.signature.split('-> ')[1]}."
    )


def one_is_none(name):
    """One of the results is None."""
    return f"{name} is None; asked for is an array."


def wrong_number(task, count):
    """Too many or too few results."""
    return (
        f"Your function returns {count} result{'s' * (count != 1)}; "
        f"asked for is {task.signature.split('-> ')[1]}."
    )


def no_array(name, result, error):
    """A result that NumPy cannot read."""
    kind = type(result).__name__
    return f"{name} is a {kind} that cannot be read as an array of numbers: {error}"


def wrong_dtype(name, array):
    """A result that does not hold real numbers."""
    return f"{name} has dtype {array.dtype}; asked for are real numbers."


def failed(task, probe, failure):
    """An exception, an endless loop, or something that is no result."""
    shapes = ", ".join(
        f"{name} of shape {np.shape(value)}"
        for name, value in probe.arguments.items()
        if isinstance(value, np.ndarray) and value.ndim > 1
    )
    at = f" for {shapes}" if shapes else ""
    own = [f"It is at your line: {failure.line}"] if failure.line else []
    if failure.kind == "Unusable":
        empty = "is not filled in yet" in failure.text
        how = "" if empty else "not right yet. "
        return _lines(f"{task.name}: {how}{failure.text}")
    if failure.kind == "TooLong":
        return _lines(
            f"{task.name}: {failure.text}{at}, and was stopped. "
            "Is there a loop that does not end?",
            *own,
        )
    error = f"{failure.kind}: {failure.text}".rstrip(": ")
    if failure.kind == "NotImplementedError" or "'ellipsis'" in failure.text:
        return _lines(f"{task.name}: not filled in yet, not everywhere.", *own)
    return _lines(
        f"{task.name}: your function raises an error{at}.",
        error,
        *own,
        f"Asked for is {task.asks}."
        if task.asks
        else f"It is called as {task.signature.split(' ->')[0]}.",
    )


# ---------------------------------------------------------------------------
# The graph, node by node


ALL_NODES = "asked for is a dict from names of nodes, as d_var, to arrays."


def no_dict(answers):
    """What came for the graph is not a dict."""
    return _lines(f"graph: what came is of type {type(answers).__name__}; {ALL_NODES}")


def no_nodes():
    """Nothing came for the graph."""
    return _lines(f"graph: not filled in yet; {ALL_NODES}")


def unknown_node(name, order):
    """A name that no node has."""
    return _lines(
        f"graph: there is no node {name!r}; the nodes are {', '.join(order)}."
    )


def missing_node(node):
    """A node is not in the dict."""
    return f"graph: {node} is missing; what comes before it is right."


def all_nodes(count):
    """All nodes are right."""
    return f"graph: right at all {count} nodes."


# ---------------------------------------------------------------------------
# Numbers and lines


def _example(task, where):
    """The counterexample, as lines."""
    if where is None:
        return []
    yours = f"{_input(task, where.probe)} your {where.name}"
    if where.entry is None:
        return [f"{yours} has the shape {where.got}, right is {where.asked}."]
    index = f"[{', '.join(map(str, where.entry))}]" if where.entry else ""
    # On numbers that the task gives, what is right would be the answer itself.
    right = "which is wrong" if task.answer else f"right is {_digits(where.asked)}"
    return [f"{yours}{index} is {_digits(where.got)}, {right}."]


def _input(task, number):
    """A probe in words: written out if it is small, else its shapes and spreads."""
    arguments = task.probes[number].arguments
    if task.answer:
        return "On the four examples of chapter 5,"
    written = ", ".join(f"{name} = {_written(v)}" for name, v in arguments.items())
    if len(written) <= 2 * WIDTH - 40:
        return f"At {written}:"
    rows = task.name == "layer_norm"
    shown = [_shown(name, value, rows) for name, value in arguments.items()]
    return f"At {', '.join(filter(None, shown))}:"


def _shown(name, value, rows):
    """An argument that is too long to be written: what matters of it, or nothing."""
    if isinstance(value, (list, tuple)):
        return f"{name} in {len(value)} shards" if name != "dy" else ""
    if np.ndim(value) == 0:
        return f"{name} = {value:.4g}"
    if name not in ("x", "weight"):
        return ""
    written = f"{name} = {_written(value)}"
    if len(written) <= 30:
        return written
    shape = f"{name} of shape {value.shape}"
    return f"{shape}, {_spread(value, rows)}" if name == "x" else shape


def _spread(x, rows):
    """Of what is normalized, between which standard deviations it lies."""
    axes = 1 if rows else tuple(axis for axis in range(x.ndim) if axis != 1)
    each = "rows" if rows else "columns" if x.ndim == 2 else "channels"
    least, most = (f"{float(f'{end:.2g}'):g}" for end in np.sort(x.std(axes))[[0, -1]])
    return f"whose {each} have standard deviations from {least} to {most}"


def _written(value):
    if isinstance(value, np.ndarray):
        return str(value.tolist()).replace(".0,", ",").replace(".0]", "]")
    if isinstance(value, (list, tuple)):
        inside = ", ".join(map(_written, value))
        return f"[{inside}]" if isinstance(value, list) else f"({inside})"
    return f"{value:g}"


def _digits(value):
    """Four digits, the same whatever the last bit is."""
    value = float(f"{float(value):.12g}")
    return f"{0.0 if abs(value) < 1e-12 else value:.4g}"


def _lines(*paragraphs):
    lines = []
    for paragraph in paragraphs:
        text = " ".join(paragraph.split())
        lines += textwrap.wrap(
            text, WIDTH, subsequent_indent="  ", break_on_hyphens=False
        )
    if len(lines) > LINES:
        lines = [*lines[: LINES - 1], "  …"]
    return "\n".join(lines)


# ---------------------------------------------------------------------------
# The reverse: verdicts on a test


def caught(task, found, missed, accused, right):
    """How many planted mistakes a test finds, and whom it accuses."""
    text = [
        f"{task.name}: your test finds {len(found)} of {len(found) + len(missed)} "
        "planted mistakes."
    ]
    if accused:
        (name, failure), *_ = accused.items()
        text.append(
            f"It refuses {len(accused)} of {right} right programs, first the one "
            f"{name!r}: {_error(failure)}"
        )
    else:
        text.append(f"It accepts all {right} right programs.")
    if missed:
        more = len(missed) - LISTED
        rest = f", and {more} more" if more > 0 else ""
        text.append(f"It lets pass: {', '.join(missed[:LISTED])}{rest}.")
    return _lines(*text)


def no_test(task):
    """The test is still empty."""
    return _lines(
        f"{task.name}: not filled in yet; asked for is a test(program) that raises an "
        "error, or returns False, if it finds the program wrong."
    )


def test_failed(task, failure):
    """A test that does not end."""
    at = f" It is at your line: {failure.line}" if failure.line else ""
    return _lines(f"{task.name}: your test gave {failure.text}.{at}")


def _error(failure):
    if failure.kind == "False":
        return "it returns False."
    text = failure.text.splitlines()[0][:120] if failure.text else ""
    at = f" at {failure.line}" if failure.line else ""
    return f"{failure.kind}{at}" + (f": {text}" if text else "")
