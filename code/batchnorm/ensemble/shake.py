"""Noise in the place of a norm: what batch normalization with noise is without it."""

from typing import NamedTuple

import torch
from torch import Tensor

from .layers import Operation, Shape


class Shaken(NamedTuple):
    """What `Shake` keeps: moments of what came in, and the factor s."""

    mean: Tensor
    var: Tensor  # biased
    factor: Tensor | float


class Shake(Operation):
    """The noise of `NoisyBatchNorm` with no normalization under it: ``y = s x + m``.

    With ``spreads``, m is in standard deviations of the unit over the mini-batch, which
    the backward pass takes as given. It has running statistics as that norm has, so
    that at inference, where it is given them, s and m are their means.
    """

    def __init__(self, eps, strength=0.0, spreads=False, seeds=None):
        # Here and not above, for `norms` lists this operation.
        from batchnorm.ensemble.norms import NoisyBatchNorm

        self.noise = NoisyBatchNorm(eps, strength, seeds)
        self.spreads = spreads

    def statistics(self, shape: Shape) -> int:
        return self.noise.statistics(shape)

    def forward(self, x: Tensor, shape: Shape, given=None):
        maps = x.view(len(x), self.statistics(shape), -1)
        var, mean = torch.var_mean(maps, -1, correction=0, keepdim=True)
        strength = self.noise.strength
        if given is not None or not strength:
            factor = 1 + 0.125 * strength
            return x * factor, Shaken(mean, var, factor)
        factor, shift = (v.to(x.dtype) for v in self.noise.draw(*maps.shape))
        unit = var.sqrt() if self.spreads else 1.0
        return (factor * maps + unit * shift).view_as(x), Shaken(mean, var, factor)

    def backward(self, dy: Tensor, shape: Shape, cache: Shaken):
        """``dx = s dy``."""
        maps = dy.view(*cache.mean.shape[:2], -1)
        return ((maps * cache.factor).view_as(dy),)
