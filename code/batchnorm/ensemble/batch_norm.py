"""Batch normalization: one mean per unit or per feature map, or one per activation."""

from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from .layers import Operation, Shape


class Normalized(NamedTuple):
    """What `BatchNorm` keeps for its backward pass, each (K, D, 1 or values)."""

    mean: Tensor
    var: Tensor  # biased
    centered: Tensor  # x − μ
    inverse: Tensor  # 1/√(σ² + ε)
    scale: Tensor  # γ/√(σ² + ε)


class BatchNorm(Operation):
    """One mean per unit or per feature map, over the mini-batch.

    ``y = γ (x − μ)/√(σ² + ε) + β``
    """

    cancels_bias = True  # a constant added to a unit is in its mean, too

    def __init__(self, eps: float):
        self.eps = eps

    def channels(self, shape: Shape) -> int:
        """D, in how many parts an example is normalized."""
        return shape[0]

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        return {"gamma": (self.channels(shape),), "beta": (self.channels(shape),)}

    def statistics(self, shape: Shape) -> int:
        return self.channels(shape)

    def forward(self, x: Tensor, shape: Shape, gamma: Tensor, beta: Tensor, given=None):
        """Normalize by the statistics of x itself, or ``given`` mean and variance."""
        maps = x.view(len(x), self.channels(shape), -1)
        if given is None:
            mean = maps.mean(-1, keepdim=True)
            centered = maps - mean
            var = torch.linalg.vector_norm(centered, dim=-1, keepdim=True).square_()
            var /= maps.shape[-1]
        else:
            mean, var = (s.unsqueeze(-1) for s in given)
            centered = maps - mean
        inverse = (var + self.eps).rsqrt_()
        scale = gamma.unsqueeze(-1) * inverse
        y = torch.addcmul(beta.unsqueeze(-1), centered, scale)
        return y.view_as(x), Normalized(mean, var, centered, inverse, scale)

    def backward(
        self, dy: Tensor, shape: Shape, cache: Normalized, gamma: Tensor, beta: Tensor
    ):
        """``dx = γ/√(σ²+ε) (dy − mean(dy) − x̂ mean(dy·x̂))``, the book's closed form.

        ``dγ = Σ dy·x̂`` and ``dβ = Σ dy`` over the values of a channel.
        """
        _, _, centered, inverse, scale = cache
        maps = dy.view_as(centered)
        m = maps.shape[-1]
        dbeta = maps.sum(-1, keepdim=True)
        dgamma = (maps * centered).sum(-1, keepdim=True).mul_(inverse)
        # dx = shift + scale·dy + slope·(x − μ), in two passes over memory
        shift = (dbeta * scale).div_(-m)
        slope = (dgamma * inverse).mul_(scale).div_(-m)
        dx = torch.addcmul(shift, maps, scale, out=maps).addcmul_(centered, slope)
        return dx.view_as(dy), dgamma.squeeze(-1), dbeta.squeeze(-1)


class PerActivation(BatchNorm):
    """One mean per unit, also in feature maps: every pixel has its own."""

    def channels(self, shape: Shape) -> int:
        return prod(shape)
