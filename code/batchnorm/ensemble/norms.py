"""The norms, each an operation like those of `layers`: to add one, add it to ``NORMS``.

A norm says the shapes of its parameters and, apart from these, how many running
statistics it has, and whether it cancels a bias. One that has statistics takes them as
``given`` in ``forward`` at inference; those it used are ``mean`` and ``var`` in its
cache, each (K, statistics, 1).
"""

from math import prod
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from batchnorm import _checks

from .layers import Operation, Shape
from .shake import Shake

_NOISE = 3  # the stream of a seed behind those of its weights and its mini-batches


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


class Ghosts(NamedTuple):
    """What `GhostNorm` keeps: statistics of a whole batch, and each ghost's."""

    mean: Tensor
    var: Tensor
    each: Normalized


class GhostNorm(BatchNorm):
    """Batch normalization of parts: each ghost of ``size`` examples has its own mean.

    A ghost is so many examples that follow each other in the mini-batch; without a size
    all of it is one. At inference this is `BatchNorm`. Exact population statistics are
    those that the network has with ``"batch"`` in place of this norm, whose θ is the
    same; the running ones are averages over the ghosts.
    """

    def __init__(self, eps: float, size: int | None = None):
        super().__init__(eps)
        self.size = None if size is None else _checks.count("size", size, least=2)

    def forward(self, x: Tensor, shape: Shape, gamma: Tensor, beta: Tensor, given=None):
        if given is not None:
            return super().forward(x, shape, gamma, beta, given)
        each = self.split(x)
        ghosts = len(each) // len(x)
        given = [p.repeat_interleave(ghosts, 0) for p in (gamma, beta)]
        y, cache = super().forward(each, shape, *given)
        mean, var = (
            s.view(len(x), ghosts, -1, 1).mean(1) for s in (cache.mean, cache.var)
        )
        m = cache.centered.shape[-1]
        # As if of the whole batch, whose own factor then makes it unbiased.
        var *= m / (m - 1) * (ghosts * m - 1) / (ghosts * m)
        return self.join(y, x), Ghosts(mean, var, cache)

    def backward(self, dy: Tensor, shape: Shape, cache, gamma: Tensor, beta: Tensor):
        dx, *found = super().backward(self.split(dy), shape, cache.each, gamma, beta)
        dgamma, dbeta = (f.view(len(dy), -1, f.shape[1]).sum(1) for f in found)
        return self.join(dx, dy), dgamma, dbeta

    def split(self, u: Tensor) -> Tensor:
        """(K, features, m) as (K · ghosts, features, size)."""
        size = self.size or u.shape[-1]
        if u.shape[-1] % size:
            raise ValueError(
                f"size of a ghost is {size}, of the batch {u.shape[-1]}; allowed are "
                "divisors of the batch"
            )
        return u.unflatten(-1, (-1, size)).transpose(1, 2).flatten(0, 1).contiguous()

    def join(self, each: Tensor, u: Tensor) -> Tensor:
        """The opposite of `split`."""
        return each.view(len(u), -1, *each.shape[1:]).transpose(1, 2).reshape(u.shape)


class Injected(NamedTuple):
    """What `GhostNoise` keeps: `Normalized` of the whole batch, and the noise."""

    mean: Tensor
    var: Tensor
    whole: Normalized
    shift: Tensor  # a, (K, D, values)
    factor: Tensor  # 1/(1 + b)


class GhostNoise(BatchNorm):
    """Batch normalization of the whole mini-batch, with the noise of ghosts put in.

    ``y = γ (x̂ − a)/(1 + b) + β``, where a and b are the errors of a ghost's mean and
    standard deviation, in standard deviations of the mini-batch. Ghost k gets those of
    ghost k + 1, whose examples are others, or its ``own``: then the forward pass is
    that of `GhostNorm`. The backward pass takes a and b as constants, and goes through
    the statistics of the whole mini-batch alone. At inference this is `BatchNorm`.
    """

    def __init__(self, eps: float, size: int = 2, own: bool = False):
        super().__init__(eps)
        self.size, self.own = _checks.count("size", size, least=2), own

    def forward(self, x: Tensor, shape: Shape, gamma: Tensor, beta: Tensor, given=None):
        y, whole = super().forward(x, shape, gamma, beta, given)
        if given is not None:
            return y, whole
        channels = self.channels(shape)
        c = self.ghosts(whole.centered, x, channels)
        shift = c.mean((2, 4), keepdim=True)
        var = (c - shift).square_().mean((2, 4), keepdim=True)
        inverse = whole.inverse[..., None, None]
        shift, factor = shift * inverse, (var + self.eps).rsqrt() / inverse
        if not self.own:
            shift, factor = shift.roll(-1, 3), factor.roll(-1, 3)
        b, g = (p[..., None, None, None] for p in (beta, gamma))
        y = b + factor * (self.ghosts(y, x, channels) - b - g * shift)
        return y.view_as(x), Injected(whole.mean, whole.var, whole, shift, factor)

    def ghosts(self, u: Tensor, x: Tensor, channels: int) -> Tensor:
        """(K, features, m) as (K, channels, pixels, ghosts, size)."""
        if x.shape[-1] % self.size:
            raise ValueError(
                f"size of a ghost is {self.size}, of the batch {x.shape[-1]}; allowed "
                "are divisors of the batch"
            )
        return u.reshape(len(x), channels, -1, x.shape[-1] // self.size, self.size)

    def backward(self, dy: Tensor, shape: Shape, cache, gamma: Tensor, beta: Tensor):
        maps = self.ghosts(dy, dy, self.channels(shape))
        dbeta, d = maps.sum((2, 3, 4)), maps * cache.factor
        of_shift = (d * cache.shift).sum((2, 3, 4))
        d = d.view_as(dy)
        dx, dgamma, _ = super().backward(d, shape, cache.whole, gamma, beta)
        return dx, dgamma - of_shift, dbeta


class Masks:
    """Dropout's masks: 0 with probability p, and otherwise 1/(1 − p).

    Network k draws from ``seeds[k]``, and is the same network as when it is trained
    alone. The generators move on with every draw: a `Network` with dropout is for one
    run.
    """

    def __init__(self, p: float, seeds):
        if not 0 <= p < 1:
            raise ValueError(f"p is {p!r}; allowed are numbers from 0 to below 1")
        self.p = p
        self.rngs = [np.random.default_rng([seed, _MASKS]) for seed in seeds]

    def draw(self, u: Tensor) -> Tensor:
        """A mask for u (K, features, m)."""
        if self.p == 0:
            return u.new_ones(())
        if len(self.rngs) != len(u):
            raise ValueError(
                f"seeds of dropout are {len(self.rngs)}; allowed is one for each of "
                f"{len(u)} networks"
            )
        drawn = [rng.random(u.shape[1:], np.float32) >= self.p for rng in self.rngs]
        return torch.from_numpy(np.stack(drawn)).to(u.dtype).div_(1 - self.p)


_MASKS = 3  # the stream of a seed; `batches` has the first two


class Dropout(Operation):
    """Dropout in place of a norm: each value is set to zero with probability p.

    The others are divided by 1 − p. A ReLU passes such a mask on, so that dropout
    before it is as good as behind it. At inference a network without a norm, whose θ is
    the same, takes its place.
    """

    def __init__(self, eps: float, p: float = 0.0, seeds=()):
        self.masks = Masks(p, seeds)

    def forward(self, x: Tensor, shape: Shape):
        mask = self.masks.draw(x)
        return x * mask, mask

    def backward(self, dy: Tensor, shape: Shape, mask: Tensor):
        """``dx = mask · dy``."""
        return (dy * mask,)


class Dropped(NamedTuple):
    """What `BatchDropout` keeps: statistics as of `Normalized`, all of it, the mask."""

    mean: Tensor
    var: Tensor
    norm: Normalized
    mask: Tensor


class BatchDropout(BatchNorm):
    """`BatchNorm` and `Dropout` behind it, which is off at inference.

    The next layer is normalized by what dropout left. Population statistics without
    dropout are those that the network has with ``"batch"``, whose θ is the same.
    """

    def __init__(self, eps: float, p: float = 0.0, seeds=()):
        super().__init__(eps)
        self.masks = Masks(p, seeds)

    def forward(self, x: Tensor, shape: Shape, gamma: Tensor, beta: Tensor, given=None):
        y, cache = super().forward(x, shape, gamma, beta, given)
        mask = self.masks.draw(x) if given is None else x.new_ones(())
        return y * mask, Dropped(cache.mean, cache.var, cache, mask)

    def backward(self, dy: Tensor, shape: Shape, cache, gamma: Tensor, beta: Tensor):
        return super().backward(dy * cache.mask, shape, cache.norm, gamma, beta)


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
