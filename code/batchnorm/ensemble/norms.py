"""The norms, each an operation like those of `layers`: to add one, add it to ``NORMS``.

A norm says the shapes of its parameters and, apart from these, how many running
statistics it has, and whether it cancels a bias. One that has statistics takes them as
``given`` in ``forward`` at inference; those it used are ``mean`` and ``var`` in its
cache, each (K, statistics, 1).
"""

from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from batchnorm import _checks

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


class GroupNorm(Operation):
    """One mean per example and group of units or of feature maps.

    ``y = γ (x − μ)/√(σ² + ε) + β`` with γ and β per unit or per feature map, as many as
    `BatchNorm` has. There are so many ``groups``, or if None as many as can be up to 8
    with two units or maps in each. An example is normalized by itself: there are no
    running statistics, and inference is no other function.
    """

    center = True  # whether the mean is taken off

    def __init__(self, eps: float, groups: int | None = None):
        self.eps = eps
        self.asked = None if groups is None else _checks.count("groups", groups)

    def groups(self, shape: Shape) -> int:
        """How many groups an example of this shape has."""
        channels, values = shape[0], prod(shape)
        fitting = [g for g in range(1, 9) if channels % g == 0 and channels >= 2 * g]
        groups = self.asked or max(fitting, default=1)
        if channels % groups or values == groups:
            raise ValueError(
                f"groups is {groups}, and a layer has shape {shape}; allowed are "
                "divisors of its channels that leave two values in a group"
            )
        return groups

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        self.groups(shape)  # refuses what does not fit
        return {"gamma": shape[:1], "beta": shape[:1]}

    def forward(self, x: Tensor, shape: Shape, gamma: Tensor, beta: Tensor | None):
        parts = x.view(len(x), self.groups(shape), -1, x.shape[-1])
        c = parts - parts.mean(2, keepdim=True) if self.center else parts
        inverse = (c.square().mean(2, keepdim=True) + self.eps).rsqrt_()
        x_hat = c * inverse
        y = x_hat.view(*gamma.shape, -1, x.shape[-1]) * gamma[:, :, None, None]
        if beta is not None:
            y += beta[:, :, None, None]
        return y.view_as(x), (x_hat, inverse)

    def backward(self, dy: Tensor, shape: Shape, cache, gamma: Tensor, beta):
        """``dx = 1/√(σ²+ε) (g − mean(g) − x̂ mean(g·x̂))`` with ``g = γ dy``.

        The means are over a group, and ``dγ = Σ dy·x̂`` and ``dβ = Σ dy`` over the
        examples, and the pixels of a map.
        """
        x_hat, inverse = cache
        maps = dy.view(*gamma.shape, -1, dy.shape[-1])
        dgamma = (maps * x_hat.view_as(maps)).sum((2, 3))
        dbeta = () if beta is None else (maps.sum((2, 3)),)
        g = (maps * gamma[:, :, None, None]).view_as(x_hat)
        rest = g - g.mean(2, keepdim=True) if self.center else g
        dx = inverse * (rest - x_hat * (g * x_hat).mean(2, keepdim=True))
        return dx.view_as(dy), dgamma, *dbeta


class LayerNorm(GroupNorm):
    """One mean per example, over all units of a layer or all feature maps."""

    def __init__(self, eps: float):
        super().__init__(eps, 1)


class RMSNorm(LayerNorm):
    """Layer normalization that takes no mean off and adds no β: ``y = γ x/rms(x)``."""

    center = False

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        return {"gamma": super().parameters(shape)["gamma"]}

    def forward(self, x: Tensor, shape: Shape, gamma: Tensor):
        return super().forward(x, shape, gamma, None)

    def backward(self, dy: Tensor, shape: Shape, cache, gamma: Tensor):
        return super().backward(dy, shape, cache, gamma, None)


NORMS: dict[str, type[Operation]] = {
    "batch": BatchNorm,
    "per-activation": PerActivation,
    "layer": LayerNorm,
    "group": GroupNorm,
    "rms": RMSNorm,
}
