"""What is wrong with a program: named if its planted twin gives the same everywhere.

1. Does it run, end, and return what is asked for? If not, that is said first.
2. Does it give the right results on all probes, to float64's rounding, or float32's?
3. Does a planted mistake of the task, alone or with one other, give exactly its results
   on all probes? Then that is its mistake.
4. Otherwise: the first property of the right results that its own do not have.
"""

from dataclasses import dataclass

import numpy as np

from batchnorm.exercises import calls, compare, messages, stubs
from batchnorm.exercises.calls import Failure
from batchnorm.exercises.mistakes.normalize import WRITES


@dataclass(frozen=True)
class Diagnosis:
    """The verdict on a program, as data.

    Parameters
    ----------
    right : bool
        Whether the results are right, to float64's or float32's rounding.
    mistake : str or None
        The id of a planted mistake, two of them joined by a plus, or None.
    message : str
        At most eight lines for the reader.
    """

    right: bool
    mistake: str | None
    message: str


@dataclass(frozen=True, eq=False)
class Trial:
    """What the reader's program did on one probe."""

    results: tuple | Failure
    wrote: str = ""  # the first argument that it wrote to


def examine(task, program):
    """Diagnose a reader's program, or an array where the task asks for one."""
    if stubs.is_empty(program):
        return Diagnosis(False, None, messages.not_filled_in(task))
    if not (callable(program) or task.answer):
        return Diagnosis(False, None, messages.not_callable(task, program))
    program = task.adapt(program)
    task.truths  # noqa: B018  now, for what it imports takes no time of the reader's
    trials = []
    for probe in task.probes:
        trials.append(_trial(task, program, probe))
        if getattr(trials[-1].results, "kind", "") in ("TooLong", "Unusable"):
            return _failed(task, probe, trials[-1].results)
    return (
        _right(task, trials)
        or _named(task, trials)
        or _raised(task, trials)
        or _unnamed(task, program, trials)
    )


# ---------------------------------------------------------------------------
# One call


def _trial(task, program, probe, **changed):
    given = probe.fresh(**changed)
    results = calls.call(program, given)
    if not isinstance(results, Failure):
        results = _usable(task, results)
    kept = probe.fresh(**changed)
    written = [
        name
        for name, before, after in zip(task.takes, kept, given, strict=True)
        if not _same(before, after)
    ]
    return Trial(results, written[0] if written else "")


def _same(before, after):
    if isinstance(before, (list, tuple)):
        return len(before) == len(after) and all(map(_same, before, after))
    return np.array_equal(before, after)


def _usable(task, results):
    """The results as arrays, or a sentence about what they are instead."""
    asked = task.gives
    if results is None:
        return Failure("Unusable", messages.returned_none(task))
    # A list may be an array, where one is asked for; a tuple is several results.
    several = isinstance(results, tuple if len(asked) == 1 else (tuple, list))
    results = tuple(results) if several else (results,)
    if len(results) != len(asked):
        return Failure("Unusable", messages.wrong_number(task, len(results)))
    arrays = []
    for name, result in zip(asked, results, strict=True):
        if result is ...:
            return Failure("Unusable", messages.still_dots(name))
        if result is None:
            return Failure("Unusable", messages.one_is_none(name))
        try:
            array = np.asarray(result)
        except Exception as error:  # a tensor that asks for a gradient, a ragged list
            return Failure("Unusable", messages.no_array(name, result, error))
        if array.dtype.kind not in "fiu":
            return Failure("Unusable", messages.wrong_dtype(name, array))
        arrays.append(array.astype(np.float64))
    return tuple(arrays)


# ---------------------------------------------------------------------------
# The verdicts, in order


def _outcome(trial):
    results = trial.results
    return results.kind if isinstance(results, Failure) else results


def _matches(task, trials, outputs, tolerance, like=None):
    """Whether the reader's results are these, on all probes that tolerance is for."""
    like = like or (lambda results: results)
    for probe, trial, asked in zip(task.probes, trials, outputs, strict=True):
        if probe.far and tolerance > compare.DOUBLE:
            continue
        got = _outcome(trial)
        if not _alike(got, asked):
            return False
        if isinstance(got, str):
            continue
        if not compare.all_agree(like(got), like(asked), tolerance):
            return False
    return True


def _alike(got, asked):
    """Whether both are results of the same shapes, or the same exception."""
    if isinstance(got, str) or isinstance(asked, str):
        return isinstance(got, str) and got == asked
    return all(a.shape == b.shape for a, b in zip(got, asked, strict=True))


def _right(task, trials):
    wrote = _wrote(trials)
    for tolerance in (compare.DOUBLE, compare.SINGLE):
        if not _matches(task, trials, task.truths, tolerance):
            # A mistake that only float64 can show is looked for before float32 is said.
            if tolerance == compare.DOUBLE and _candidate(task, trials, tolerance):
                return None
            continue
        if wrote:
            return Diagnosis(False, WRITES.id, messages.wrote(task, WRITES, wrote))
        single = tolerance == compare.SINGLE
        return Diagnosis(True, None, messages.right(task, single))
    return None


def _wrote(trials):
    """The first argument that the program wrote to, or nothing."""
    return next((trial.wrote for trial in trials if trial.wrote), "")


def _candidate(task, trials, tolerance):
    for candidate in task.candidates:
        if _matches(task, trials, candidate.outputs, tolerance, candidate.like):
            return candidate
    return None


def _named(task, trials):
    for tolerance in (compare.DOUBLE, compare.SINGLE):
        if candidate := _candidate(task, trials, tolerance):
            where = _first_difference(task, trials, tolerance)
            mistakes = [*candidate.mistakes, *([WRITES] if _wrote(trials) else [])]
            message = messages.named(task, mistakes, where)
            return Diagnosis(False, "+".join(m.id for m in mistakes), message)
    return None


def _first(task, trials, wrong=lambda mine, right: np.False_):
    """The smallest input, result and entry of another shape, or else that is wrong.

    `wrong` takes an array of the reader and the right one -> where the first is wrong.
    """
    for k, (trial, asked) in enumerate(zip(trials, task.truths, strict=True)):
        if isinstance(trial.results, Failure):
            continue
        for name, mine, right in zip(task.gives, trial.results, asked, strict=True):
            if mine.shape != right.shape:
                return messages.Where(k, name, None, mine.shape, right.shape)
            if (found := wrong(mine, right)).any():
                return _at(k, name, found, mine, right)
    return None


def _at(k, name, wrong, mine, right):
    """The first entry at which it is wrong, of what is measured at probe k."""
    entry = tuple(map(int, np.argwhere(wrong)[0]))
    return messages.Where(k, name, entry, mine[entry], right[entry])


def _first_difference(task, trials, tolerance):
    """The smallest input, result and entry at which the reader's results are wrong."""
    return _first(task, trials, lambda a, b: compare.differs(a, b, tolerance))


def _raised(task, trials):
    for probe, trial in zip(task.probes, trials, strict=True):
        if isinstance(trial.results, Failure):
            return _failed(task, probe, trial.results)
    return None


def _failed(task, probe, failure):
    return Diagnosis(False, None, messages.failed(task, probe, failure))


def _unnamed(task, program, trials):
    """The first that is wrong: a shape, what is not finite, a property, an entry."""
    if where := _first(task, trials):
        said = messages.spoiled(task, where, "has another shape")
        return Diagnosis(False, None, said)
    if where := _first(task, trials, lambda a, b: np.isfinite(b) & ~np.isfinite(a)):
        said = messages.spoiled(task, where, "is not finite everywhere")
        return Diagnosis(False, None, said)
    broken = _broken_property(task, program)
    where = _first_difference(task, trials, compare.SINGLE)
    where = where or _first_difference(task, trials, compare.DOUBLE)
    return Diagnosis(False, None, messages.unnamed(task, broken, where))


def _broken_property(task, program):
    """The first property that fails, with the smallest input that shows it."""
    for held in task.properties:
        for k, probe in enumerate(task.probes):
            if probe.far:
                continue

            def mine(probe=probe, **changed):
                results = _trial(task, program, probe, **changed).results
                if isinstance(results, Failure):
                    raise _Unmeasured
                return results

            def truth(probe=probe, **changed):
                results = task.right(*probe.fresh(**changed))
                return tuple(np.asarray(result, dtype=float) for result in results)

            try:
                asked = held.measure(truth, probe)
                got = None if asked is None else held.measure(mine, probe)
            except (_Unmeasured, ValueError):
                continue
            if got is None:
                continue
            size = max(np.abs(np.asarray(r)).max() for r in truth())
            wrong = ~(np.abs(got - asked) <= compare.SINGLE * max(size, 1e-3))
            if wrong.any():
                got, asked = np.asarray(got), np.asarray(asked)
                return held, _at(k, held.name, wrong, got, asked)
    return None


class _Unmeasured(Exception):
    """The program gave no results on a changed input."""
