"""The table of norms: to add one, write a class here and name it in ``NORMS``.

A norm is an operation like those of `layers`. It says the shapes of its parameters and,
apart from these, how many running statistics it has, and whether it cancels a bias. One
that has statistics takes them as ``given`` in ``forward`` at inference; those it used
are ``mean`` and ``var`` in its cache, each (K, statistics, 1).

`BatchNorm` is the example of a norm with statistics, `GroupNorm` of one without. What
has a family stands in a module of its own, which imports nothing from here.
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
