"""Checked claims: identities, predictions and experiments of the book.

`show("id", ...)` is the one line of a chapter. It runs the claims on twenty seeds,
draws every one of them, and prints effect, interval and verdict, here and on the seeds
that confirmed them.
"""

from batchnorm.claims.protocol import CHAPTER_SEEDS, TUNING_SEEDS, confirmation_seeds
from batchnorm.claims.registry import claims, get, identities
from batchnorm.claims.show import short, show
from batchnorm.claims.types import OPPOSED, SUPPORTED, UNDECIDED

# In the order of the book; importing a module registers its claims.
from batchnorm.claims import whitening  # isort: skip
from batchnorm.claims import covariate_shift  # isort: skip
from batchnorm.claims import saturation  # isort: skip
from batchnorm.claims import transform  # isort: skip
from batchnorm.claims import invariance  # isort: skip
from batchnorm.claims import training  # isort: skip
from batchnorm.claims import feature_maps  # isort: skip
from batchnorm.claims import inference  # isort: skip
from batchnorm.claims import noise  # isort: skip
from batchnorm.claims import noise_controls  # isort: skip
from batchnorm.claims import why  # isort: skip
from batchnorm.claims import why_controls  # isort: skip
from batchnorm.claims import failures  # isort: skip
from batchnorm.claims import relatives  # isort: skip
from batchnorm.claims import workers  # isort: skip
from batchnorm.claims import machine  # isort: skip

__all__ = [
    "CHAPTER_SEEDS",
    "OPPOSED",
    "SUPPORTED",
    "TUNING_SEEDS",
    "UNDECIDED",
    "claims",
    "confirmation_seeds",
    "covariate_shift",
    "failures",
    "feature_maps",
    "get",
    "identities",
    "inference",
    "invariance",
    "machine",
    "noise",
    "noise_controls",
    "relatives",
    "saturation",
    "short",
    "show",
    "training",
    "transform",
    "whitening",
    "why",
    "why_controls",
    "workers",
]
