"""What every right program has in common: asked, in order, where no mistake fits.

A property is a measurement of a program at an input. The reader's program and the
right one are measured alike, and the numbers have to agree: a sum over the batch, the
change of one channel when another is changed.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Property:
    """One property."""

    name: str  # short, for grades
    says: str  # what holds, as a sentence
    # Of `run` and `probe`: calls `run(**changed)`, which returns the results with some
    # arguments changed -> an array, or None where it says nothing about this input.
    measure: Callable


def _over_batch(array):
    """The sum over all axes but that of the channels."""
    return array.sum(tuple(axis for axis in range(array.ndim) if axis != 1))


def _x_hat(x):
    centered = x - x.mean(0)
    return centered / np.sqrt((centered**2).mean(0) + 1e-3)


def _others(run, probe, argument="x"):
    """What the other channels give, before and after one channel is changed."""
    x = probe.arguments[argument]
    if x.shape[1] < 2:
        return None
    changed = x.copy()
    changed[:, 0] = changed[:, 0] * 2 + 1
    before, after = run(), run(**{argument: changed})
    return after[0][:, 1:] - before[0][:, 1:]


def _companions(run, probe):
    """How the first example's result moves when the last example does."""
    x = probe.arguments["x"]
    if len(x) < 3:
        return None
    changed = x.copy()
    changed[-1] += 1
    return run(x=changed)[0][0] - run()[0][0]


def _linear(run, probe):
    """The results at twice dy less twice the results at dy."""
    doubled = run(dy=2 * probe.arguments["dy"])
    return np.concatenate(
        [np.ravel(b - 2 * a) for a, b in zip(run(), doubled, strict=True)]
    )


def _shifted(run, probe):
    """How the results move when a constant is added to x."""
    return run(x=probe.arguments["x"] + 1)[0] - run()[0]


def _result(k):
    """The k-th result as it is."""
    return lambda run, probe: run()[k]


BATCH_MEAN = Property(
    "sum-over-batch",
    "Over the batch, the sum of each channel of y is m times its β.",
    lambda run, probe: _over_batch(run()[0]),
)
OTHER_CHANNELS = Property(
    "independence-of-channels",
    "When one channel of x is changed, the results of the others do not move.",
    _others,
)
COMPANIONS = Property(
    "companions",
    "When one example is changed, the results of the others move by a certain amount.",
    _companions,
)
NO_COMPANIONS = Property(
    "companions",
    "When one example is changed, the results of the others do not move.",
    _companions,
)
SHIFT = Property(
    "constant-drops-out",
    "When a constant is added to x, y does not move.",
    _shifted,
)

LINEAR = Property(
    "linear-in-dy", "When dy is doubled, all three gradients double.", _linear
)

FORWARD = [BATCH_MEAN, SHIFT, OTHER_CHANNELS, COMPANIONS]

BACKWARD = [
    Property(
        "sum-over-batch",
        "Over the batch, dx sums to 0 in each channel.",
        lambda run, probe: run()[0].sum(0),
    ),
    Property(
        "along-x-hat",
        "The part of dx along x̂ is what ε leaves of it, almost nothing.",
        lambda run, probe: (run()[0] * _x_hat(probe.arguments["x"])).sum(0),
    ),
    LINEAR,
    Property(
        "independence-of-channels",
        "When one channel of x is changed, dx of the others does not move.",
        _others,
    ),
    Property("dgamma", "dγ is a sum over the batch.", _result(1)),
    Property("dbeta", "dβ is a sum over the batch.", _result(2)),
]

LAYER_NORM = [
    Property(
        "sum-over-features",
        "Of each example, (y − β)/γ sums to 0 over the features.",
        lambda run, probe: (
            (run()[0] - probe.arguments["beta"]) / probe.arguments["gamma"]
        ).sum(1),
    ),
    SHIFT,
    NO_COMPANIONS,
]

LAYER_BACKWARD = [
    Property(
        "sum-over-features",
        "Over the features, dx of each example sums to 0.",
        lambda run, probe: run()[0].sum(1),
    ),
    LINEAR,
    NO_COMPANIONS,
    Property("dgamma", "dγ is a sum over the examples.", _result(1)),
    Property("dbeta", "dβ is a sum over the examples.", _result(2)),
]

INFERENCE = [
    NO_COMPANIONS,
    OTHER_CHANNELS,
    Property(
        "at-the-mean",
        "An input that equals the given mean gives β.",
        lambda run, probe: run(x=probe.arguments["mean"][None] + 0.0)[0],
    ),
    Property("slope", "A step of one σ in x is a step of γ in y, ε aside.", _shifted),
]

RUNNING = [
    Property("mean", "The mean moves toward the batch's.", _result(0)),
    Property(
        "var-at-constant",
        "A batch whose examples are all alike has the variance 0.",
        lambda run, probe: run(x=np.ones_like(probe.arguments["x"]))[1],
    ),
    Property("var", "The variance moves toward the batch's.", _result(1)),
]

FOLD = [
    Property("weight", "The weight is scaled, row by row.", _result(0)),
    Property("bias", "The bias takes up the constants.", _result(1)),
]

MERGE = [
    Property("count", "The counts add up.", _result(2)),
    Property("mean", "The mean is that of all values.", _result(0)),
    Property("var", "The variance is that of all values.", _result(1)),
]

WHITEN = [
    Property(
        "sum-over-batch",
        "The white data has the mean 0.",
        lambda run, probe: run()[0].mean(0),
    ),
    Property(
        "covariance",
        "The white data has the identity as its covariance, divided by m.",
        lambda run, probe: run()[0].T @ run()[0] / len(run()[0]),
    ),
    SHIFT,
]
