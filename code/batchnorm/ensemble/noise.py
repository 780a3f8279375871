"""Noise redrawn at each step, behind batch normalization and in place of a norm."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from batchnorm import _checks

from .batch_norm import BatchNorm, Normalized
from .layers import Operation, Shape

_NOISE = 3  # the stream of a seed behind those of its weights and its mini-batches


class Noisy(NamedTuple):
    """What `NoisyBatchNorm` keeps for its backward pass."""

    mean: Tensor
    var: Tensor
    clean: Normalized  # of the normalization under the noise
    factor: Tensor | float  # s, (K, D, values)


class NoisyBatchNorm(BatchNorm):
    """Batch normalization with noise behind it, of another distribution at each step.

    ``y = s (γ x̂ + β) + m``, where each unit draws ``μ ~ U(−n, n)`` and ``σ ~ U(1, r)``
    anew in every forward pass, and each of its values ``m ~ U(μ − w, μ + w)`` and ``s ~
    N(σ, w²)``: algorithm 1 of Santurkar et al. (2018). At ``strength`` 1 n is 0.5, r is
    1.25 and w is 0.1; the strength multiplies n, r − 1 and w. With given statistics, at
    inference, m and s are replaced by their means, 0 and (1 + r)/2.

    The noise of network k is drawn from ``seeds[k]``, or from k if there are none, and
    goes on from one forward pass to the next.
    """

    def __init__(self, eps: float, strength: float = 0.0, seeds: tuple | None = None):
        super().__init__(eps)
        self.strength = _checks.not_negative("strength", strength)
        self.seeds = None if seeds is None else _checks.seeds("seeds", seeds)
        self.generators = []

    def draw(self, networks: int, channels: int, values: int):
        """Factor s and shift m, each (K, D, values)."""
        if self.seeds is not None and len(self.seeds) != networks:
            raise ValueError(
                f"seeds has {len(self.seeds)} entries; allowed are {networks}, one a "
                "network"
            )
        for k in range(len(self.generators), networks):
            seed = k if self.seeds is None else int(self.seeds[k])
            self.generators.append(np.random.default_rng([seed, _NOISE]))
        n, r, w = 0.5 * self.strength, 1 + 0.25 * self.strength, 0.1 * self.strength
        pairs = []
        for rng in self.generators[:networks]:
            mu, sigma = rng.uniform(-n, n, channels), rng.uniform(1, r, channels)
            m = mu[:, None] + rng.uniform(-w, w, (channels, values))
            pairs.append((sigma[:, None] + w * rng.normal(size=m.shape), m))
        return (torch.tensor(np.stack(each)) for each in zip(*pairs, strict=True))

    def forward(self, x: Tensor, shape: Shape, gamma: Tensor, beta: Tensor, given=None):
        y, clean = super().forward(x, shape, gamma, beta, given)
        if not self.strength:
            return y, Noisy(clean.mean, clean.var, clean, 1.0)
        if given is not None:
            factor = 1 + 0.125 * self.strength
            return y * factor, Noisy(clean.mean, clean.var, clean, factor)
        factor, shift = (v.to(x.dtype) for v in self.draw(*clean.centered.shape))
        y = torch.addcmul(shift, y.view_as(factor), factor).view_as(x)
        return y, Noisy(clean.mean, clean.var, clean, factor)

    def backward(self, dy: Tensor, shape: Shape, cache: Noisy, gamma, beta):
        """That of batch normalization, of ``s dy``."""
        inner = (dy.view_as(cache.clean.centered) * cache.factor).view_as(dy)
        return super().backward(inner, shape, cache.clean, gamma, beta)


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
