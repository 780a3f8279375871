"""Mistakes at inference, where the statistics are given: `y`."""

from dataclasses import replace

import numpy as np

from batchnorm.exercises.lines import mistake
from batchnorm.exercises.mistakes.normalize import (
    AFFINE,
    CENTERING,
    EPSILON,
    TRANSFORM,
    WRITES,
)

# The given statistics have names of their own here, so that they can be replaced.
INFER = TRANSFORM.replaced(
    center=lambda mean: mean,
    spread=lambda var: var,
    shifted=lambda spread, eps: spread + eps,
    centered=lambda data, center: data - center,
)

OF_SPREAD = {
    "eps-missing": {"shifted": lambda spread: spread},
    "eps-default": {"shifted": lambda spread: spread + 1e-5},
    "eps-outside-root": {"std": lambda spread, eps: np.sqrt(spread) + eps},
}

INFERENCE = [
    mistake(
        "batch-statistics-used",
        "The batch's own statistics are used in place of the given ones.",
        "The code of training was copied; on a large batch they nearly agree.",
        "An answer depends on what else is in the batch; a batch of one gives β.",
        "ch-inference-constants",
        "apache/systemds#390",
        center=lambda x: x.mean(0),
        spread=lambda x: x.var(0),
        joins=("batch-mean-used", "batch-variance-used"),
    ),
    mistake(
        "batch-mean-used",
        "The batch's own mean is used in place of the given one.",
        "The variance is the given one, which is what one thinks of.",
        "An answer depends on what else is in the batch.",
        "ch-inference-constants",
        center=lambda x: x.mean(0),
    ),
    mistake(
        "batch-variance-used",
        "The batch's own variance is used in place of the given one.",
        "The mean is the given one, which is what one thinks of.",
        "An answer depends on what else is in the batch.",
        "ch-inference-constants",
        spread=lambda x: x.var(0),
    ),
    mistake(
        "mean-var-swapped",
        "The given mean and variance have changed places.",
        "Both are vectors of one length.",
        "What is no variance is rooted: NaN wherever a mean is negative.",
        "ch-inference-constants",
        center=lambda var: var,
        spread=lambda mean: mean,
    ),
    mistake(
        "corrected-again",
        "The given variance is corrected by m/(m − 1) once more.",
        "The factor stands in Algorithm 2; there it makes the stored variance.",
        "The output depends on the size of the batch.",
        "ch-inference-algorithm",
        spread=lambda var, x: var * len(x) / (len(x) - 1),
    ),
    mistake(
        "mean-added",
        "The given mean is added, not subtracted.",
        "A sign.",
        "Every activation is off by twice its mean.",
        "ch-inference-constants",
        centered=lambda data, center: data + center,
    ),
    *[replace(m, lines=OF_SPREAD.get(m.id, m.lines)) for m in EPSILON],
    *AFFINE,
    *CENTERING,
    WRITES,
]
