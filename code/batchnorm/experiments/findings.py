"""What is asked of a recorded run, and the verdict, by the protocol of the claims.

A `Finding` compares two cells of a run, seed by seed, as a claim does: the smallest
effect of interest is fixed before the run, and the verdict comes from the interval.
"""

from dataclasses import dataclass

import numpy as np

from batchnorm.claims import estimates
from batchnorm.claims.types import SUPPORTED, UNDECIDED, Region
from batchnorm.experiments.splits import SHARED, TESTED


@dataclass(frozen=True)
class Finding:
    """A claim on recorded cells, as a claim on the small digits asks the same.

    The effect is that of the first cell less, or over, that of the second. Controls say
    which fields change to cells between which it is absent, or planted.
    """

    id: str
    beside: str  # the claim on the small digits that asks the same, or ""
    statement: str
    effect: str
    region: Region  # what is asked
    of: str  # what of a cell is compared: a key of `effects_of`
    first: str
    second: str = ""
    negative: dict | None = None
    positive: dict | None = None
    target: float = 0.9  # accuracy that "steps" are counted to
    keys: tuple[str, str] = ("right", "right")  # what is read of each of the two cells


def effects_of(finding):
    """The function of a finding and its cells' records to an effect a seed."""
    return {
        "steps": ratio_of_steps,
        "final": difference_at_the_end,
        "early": difference_of_means,
        "trained": difference_of_settings,
        "errors": difference_in_errors,
        "share": share_of_the_lead,
        "over-law": over_law,
    }[finding.of]


def judge(finding, effects):
    """Estimate and verdict -> (Estimate, str)."""
    level = finding.region.level
    if finding.of in ("steps", "trained"):
        estimate = estimates.median(effects, level)
    elif finding.of == "over-law":
        return _at_every_point(finding.region, effects)
    else:
        estimate = estimates.mean(effects, SHARED, level)
    return estimate, finding.region.verdict(estimate)


def _at_every_point(region, effects):
    """As a prediction: the point furthest from 1, a level that holds for all points."""
    level = 1 - (1 - region.level) / effects.shape[1]
    points = [estimates.mean(column, SHARED, level) for column in effects.T]
    verdicts = {region.verdict(point) for point in points}
    worst = max(points, key=lambda point: abs(point.value - 1))
    if verdicts == {SUPPORTED}:
        return worst, SUPPORTED
    return worst, min(verdicts - {SUPPORTED}, key=lambda v: v == UNDECIDED)


# ---------------------------------------------------------------------------
# Effects, one a seed; records of a cell are dictionaries of arrays (S, ...)


def ratio_of_steps(finding, first, second):
    """Steps to the target, first over second: the ends between which they lie, (S, 2).

    A curve is read at some steps, so that it arrived after the step before and at this
    one at the latest.
    """
    return estimates.ratio(steps(finding, first), steps(finding, second))


def steps(finding, cell):
    """Ends between which the number of steps to the target lies, (S, 2)."""
    reached = cell["right"] >= finding.target * TESTED
    at = np.asarray(cell["at"], dtype=float)
    before = np.concatenate([[1.0], at[:-1] + 1])
    index, arrived = reached.argmax(axis=1), reached.any(axis=1)
    low = np.where(arrived, before[index], at[-1])
    return np.stack([low, np.where(arrived, at[index], np.inf)], axis=1)


def difference_at_the_end(finding, first, second):
    """Accuracy after the last step, first less second, (S,)."""
    a, b = first[finding.keys[0]][:, -1], second[finding.keys[1]][:, -1]
    return (a - b) / TESTED


def difference_of_means(finding, first, second):
    """Mean accuracy over the steps that were read, first less second, (S,)."""
    return (first["right"].mean(axis=1) - second["right"].mean(axis=1)) / TESTED


def difference_of_settings(finding, first, second):
    """How many more settings train, (S,)."""
    return first["trained"] - second["trained"]


def difference_in_errors(finding, first, second):
    """Accuracy, first less second, over the errors of the first, (S,)."""
    a, b = first[finding.keys[0]][:, -1], second[finding.keys[1]][:, -1]
    return (a - b) / np.maximum(TESTED - a, 1)


def share_of_the_lead(finding, first, second):
    """Share of the lead by the second key that is gone by the first key, (S,)."""
    left, whole = (first[key][:, -1] - second[key][:, -1] for key in finding.keys)
    return 1 - left / whole


def over_law(finding, first, second):
    """Measured over predicted, (S, P)."""
    return first["over-law"]
