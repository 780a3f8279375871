"""The table of norms.

To add one, write its class in a module beside this one and name it in ``NORMS``. What a
norm has to have, `Operation` says. `BatchNorm` is the example of one with statistics,
`GroupNorm` of one without. No module of a norm imports anything from here.
"""

from .batch_norm import BatchNorm, PerActivation
from .dropout import BatchDropout, Dropout
from .ghosts import GhostNoise, GhostNorm
from .group_norm import GroupNorm, LayerNorm, RMSNorm
from .layers import Operation
from .noise import NoisyBatchNorm, Shake

NORMS: dict[str, type[Operation]] = {
    "batch": BatchNorm,
    "per-activation": PerActivation,
    "layer": LayerNorm,
    "group": GroupNorm,
    "rms": RMSNorm,
    "ghost": GhostNorm,
    "ghost-noise": GhostNoise,
    "dropout": Dropout,
    "batch-dropout": BatchDropout,
    "noisy": NoisyBatchNorm,
    "shake": Shake,
}
