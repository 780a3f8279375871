"""Group, layer and RMS normalization, which take each example by itself."""

from math import prod

from torch import Tensor

from batchnorm import _checks

from .layers import Operation, Shape


class GroupNorm(Operation):
    """One mean per example and group of units or of feature maps.

    ``y = γ (x − μ)/√(σ² + ε) + β`` with γ and β as `BatchNorm` has them. There are so
    many ``groups``, or if None as many as can be, up to 8, with two units or maps in
    each. An example is normalized by itself: without running statistics, and at
    inference alike.
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
