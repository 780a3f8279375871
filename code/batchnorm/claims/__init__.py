"""Checked claims: identities, predictions and experiments of the book.

`show("id", ...)` is the one line of a chapter. It runs the claims on twenty seeds,
draws every one of them, and prints effect, interval and verdict, here and on the seeds
that confirmed them.
"""

from batchnorm.claims.protocol import CHAPTER_SEEDS, TUNING_SEEDS, confirmation_seeds
from batchnorm.claims.registry import claims, get, identities
from batchnorm.claims.show import short, show
from batchnorm.claims.types import OPPOSED, SUPPORTED, UNDECIDED

# isort: split
# In the order of the book; importing a module registers its claims.
from batchnorm.claims import (  # noqa: F401, I001
    whitening,
    covariate_shift,
    saturation,
    transform,
    invariance,
    training,
    feature_maps,
    inference,
    noise,
    noise_controls,
    why,
    why_controls,
    failures,
    relatives,
    workers,
    machine,
)

__all__ = [
    "CHAPTER_SEEDS",
    "OPPOSED",
    "SUPPORTED",
    "TUNING_SEEDS",
    "UNDECIDED",
    "claims",
    "confirmation_seeds",
    "get",
    "identities",
    "short",
    "show",
]
