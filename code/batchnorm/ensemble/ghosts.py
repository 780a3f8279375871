"""Ghosts, the parts of a mini-batch: normalized each by itself, or as noise alone."""

from typing import NamedTuple

from torch import Tensor

from batchnorm import _checks

from .batch_norm import BatchNorm, Normalized
from .layers import Shape


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
        # γ enters by the cache's scale; these two are not read.
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
