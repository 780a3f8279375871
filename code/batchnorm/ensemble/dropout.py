"""Dropout, in the place of a norm and behind batch normalization."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .batch_norm import BatchNorm, Normalized
from .layers import Operation, Shape

_MASKS = 3  # the stream of a seed; `batches` has the first two


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


class Dropout(Operation):
    """Dropout in place of a norm: each value is set to zero with probability p.

    The others are divided by 1 − p. A ReLU passes such a mask on, so that dropout
    before it is as good as behind it. At inference a network without a norm, whose θ is
    the same, takes its place.

    It has no inference mode: recording such a network draws masks, so that the next
    steps see others.
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
