"""Small convolutional networks on MNIST, many at once, on the CPU or a GPU.

K networks are K slices of every parameter. A convolution is a product of matrices, of
the weights with the patches of all images, and autograd does the rest: so a network is
the same one beside others as alone, and one that diverges spoils itself only.
Activations are (K, channels, images, height, width), float32.
"""

from functools import cache
from math import prod
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, cross_entropy, pad

from batchnorm.ensemble import shuffled
from batchnorm.experiments.splits import TESTED, moved, reported, to_tune

EPS, MOMENTUM, CHUNK = 1e-5, 0.1, 500
WEIGHTS, BATCHES = 1, 2  # the streams of a seed, as in `ensemble`


class Shallow(NamedTuple):
    """Two convolutions, each before a pooling, and an output layer."""

    channels: tuple[int, int] = (8, 16)

    def shapes(self):
        """Shapes of the weights; the last is the output layer's."""
        first, second = self.channels
        return (first, 1, 3, 3), (second, first, 3, 3), (10, second * 49)

    def forward(self, unit, x):
        """Features (K, n, d) of images; ``unit(i, h)`` convolves, normalizes, ReLUs."""
        h = pool(unit(1, pool(unit(0, x))))
        return h.transpose(1, 2).flatten(2)


class Residual(NamedTuple):
    """A convolution and three residual blocks of two, with poolings between them.

    Each block is ``relu(h + f(h))``, where f convolves and normalizes twice, with a
    ReLU between; the second doubles the channels, and h passes a 1×1 convolution there
    (He, Zhang, Ren, and Sun 2016, figure 2).
    """

    channels: int = 16

    def shapes(self):
        """Shapes of the weights; the last is the output layer's."""
        c = self.channels
        same, wide = (c, c, 3, 3), (2 * c, 2 * c, 3, 3)
        blocks = same, same, (2 * c, c, 3, 3), wide, (2 * c, c, 1, 1), wide, wide
        return (c, 1, 3, 3), *blocks, (10, 2 * c)

    def forward(self, unit, x):
        """Features (K, n, d) of images."""
        h = pool(unit(0, x))
        h = pool((h + unit(2, unit(1, h), relu=False)).relu())
        h = (unit(5, h, relu=False) + unit(4, unit(3, h), relu=False)).relu()
        h = (h + unit(7, unit(6, h), relu=False)).relu()
        return h.mean((3, 4)).transpose(1, 2)


def pool(h: Tensor) -> Tensor:
    """Means over 2×2 pixels."""
    return avg_pool2d(h.flatten(0, 1), 2).unflatten(0, h.shape[:2])


def convolve(h: Tensor, weight: Tensor) -> Tensor:
    """Convolve (K, C, n, H, W) with (K, O, C, k, k), borders padded with zeros."""
    k, (height, width) = weight.shape[-1], h.shape[3:]
    edge = k // 2
    if edge:
        h = pad(h, (edge,) * 4)
    shifts = [(i, j) for i in range(k) for j in range(k)]
    patches = [h[..., i : i + height, j : j + width] for i, j in shifts]
    columns = torch.stack(patches, 2).flatten(1, 2).flatten(2)  # (K, C k², n H W)
    out = weight.flatten(3).flatten(2) @ columns
    return out.view(*out.shape[:2], h.shape[2], height, width)


def moments(h: Tensor, norm: str, groups: int = 4) -> tuple[Tensor, Tensor]:
    """Mean and biased variance that a norm divides by, to be broadcast against h.

    h is (K, C, n, H, W); norm is "batch", "per-activation", "layer" or "group".
    """
    if norm == "group":
        parts = h.unflatten(1, (groups, -1))
        pair = torch.var_mean(parts, (2, 4, 5), correction=0, keepdim=True)
        var, mean = (p.expand(-1, -1, parts.shape[2], -1, -1, -1) for p in pair)
        return mean.flatten(1, 2), var.flatten(1, 2)
    axes = {"batch": (2, 3, 4), "per-activation": (2,), "layer": (1, 3, 4)}[norm]
    var, mean = torch.var_mean(h, axes, correction=0, keepdim=True)
    return mean, var


class Ensemble:
    """K networks, their parameters and running averages, on a device.

    The norm stands before the ReLU or behind it, by ``order``, "before" or "after".
    Each network has a seed in ``draws`` and a ``scale``, (K,): ``W ~ N(0,
    scale²/fan_in)``.
    """

    def __init__(self, net, norm, order, draws, scale, device):
        self.net, self.norm, self.order, self.running = net, norm, order, {}
        shapes, draw = net.shapes(), [[] for _ in net.shapes()]
        for seed, size in zip(draws, scale, strict=True):
            rng = np.random.default_rng([int(seed), WEIGHTS])
            for kept, shape in zip(draw, shapes, strict=True):
                std = size / np.sqrt(prod(shape[1:]))
                kept.append(std * rng.standard_normal(shape))
        weights = [torch.tensor(np.stack(w), dtype=torch.float32) for w in draw]
        offsets = [w.new_zeros(w.shape[:2]) for w in weights]
        scales = [torch.ones_like(b) for b in offsets[:-1]] if norm else []
        count = len(weights)
        every = [p.to(device).requires_grad_() for p in weights + offsets + scales]
        self.parameters = every
        self.weight, self.beta = every[:count], every[count : 2 * count]
        self.gamma = every[2 * count :]

    def logits(self, x: Tensor, training: bool) -> Tensor:
        """(K, n, 10) of images (K, 1, n, 28, 28)."""

        def unit(i, h, relu=True):
            h = convolve(h, self.weight[i])
            if self.norm is None:
                h = h + _per_map(self.beta[i])
            elif self.order == "after":
                return self._normalize(i, h.relu(), training)
            else:
                h = self._normalize(i, h, training)
            return h.relu() if relu else h

        features = self.net.forward(unit, x)
        out = features @ self.weight[-1].mT
        return out + self.beta[-1][:, None]

    def _normalize(self, i, h, training):
        if self.norm in ("layer", "group") or training:
            mean, var = moments(h, self.norm)
        else:
            mean, var = self.running[i]
        if training and self.norm in ("batch", "per-activation"):
            m = h[0, 0].numel() // mean[0, 0].numel()
            new = mean.detach(), var.detach() * (m / (m - 1))
            start = torch.zeros_like(mean), torch.ones_like(var)
            old = self.running.get(i, start)
            pairs = zip(old, new, strict=True)
            self.running[i] = tuple(torch.lerp(a, b, MOMENTUM) for a, b in pairs)
        scale = _per_map(self.gamma[i]) * (var + EPS).rsqrt()
        return (h - mean) * scale + _per_map(self.beta[i])

    def step(self, x: Tensor, y: Tensor, lr: Tensor) -> None:
        """One step of gradient descent on a mini-batch, at a rate each (K,)."""
        out = self.logits(x, training=True)
        # Summed over networks: each has the gradient of its own mean loss.
        loss = cross_entropy(out.flatten(0, 1), y.flatten(), reduction="sum")
        found = torch.autograd.grad(loss / y.shape[1], self.parameters)
        with torch.no_grad():
            for p, gradient in zip(self.parameters, found, strict=True):
                p -= lr.view(-1, *[1] * (p.ndim - 1)) * gradient

    @torch.no_grad()
    def right(self, x: Tensor, y: Tensor) -> np.ndarray:
        """How many of n images each network reads, in inference mode, (K,)."""
        found = 0
        for begin in range(0, x.shape[2], CHUNK):
            out = self.logits(x[:, :, begin : begin + CHUNK], training=False)
            finite = out.isfinite().all(-1)
            hit = (out.argmax(-1) == y[:, begin : begin + CHUNK]) & finite
            found = found + hit.sum(1)
        return found.cpu().numpy()


def _per_map(values):
    return values[:, :, None, None, None]


# ---------------------------------------------------------------------------
# Training


class Data:
    """Images of each seed on the device, once, and the mini-batches of K networks.

    ``data`` is a function from a seed to a `Split`; ``seeds`` is an array of int, (K,).
    """

    def __init__(self, data, seeds, batch, steps, device):
        distinct, which = np.unique(seeds, return_inverse=True)
        splits = [cache(data)(int(seed)) for seed in distinct]
        rngs = [np.random.default_rng([int(seed), BATCHES]) for seed in distinct]
        pairs = zip(splits, rngs, strict=True)
        drawn = [shuffled(s.y_train, batch, steps, rng) for s, rng in pairs]
        self.device, self.which = device, torch.as_tensor(which, device=device)
        self.rows = self._stack(drawn)
        self.x, self.y = self._stack(s.x_train for s in splits), self._labels(splits)
        self.test = [s.x_test for s in splits]
        self.y_test = self._stack(s.y_test for s in splits)[self.which]

    def _stack(self, arrays):
        return torch.as_tensor(np.stack(list(arrays)), device=self.device)

    def _labels(self, splits):
        return self._stack(s.y_train for s in splits)

    def mini_batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Images (K, 1, m, 28, 28) and labels (K, m)."""
        rows, which = self.rows[self.which, step], self.which[:, None]
        return self.x[which, rows].view(len(rows), 1, -1, 28, 28), self.y[which, rows]

    def tested(self, pixels: int = 0) -> Tensor:
        """Test images (K, 1, n, 28, 28), moved by so many pixels."""
        images = self._stack(moved(x, pixels) for x in self.test)
        return images.float().view(len(images), 1, -1, 28, 28)[self.which]


def descend(ensemble, data, lr, steps, at):
    """Train, and read the test images at these steps -> counts (K, T)."""
    lr = torch.as_tensor(lr, dtype=torch.float32, device=data.device)
    x, read = data.tested(), []
    for step in range(steps):
        ensemble.step(*data.mini_batch(step), lr)
        if step + 1 in at:
            read.append(ensemble.right(x, data.y_test))
    return np.stack(read, 1)


def curves(seeds, device, *, net, arm, steps, batch, at, by=3):
    """Train, read the test images at these steps, and moved ones after the last.

    Returns "right" (S, T), whose last step is ``steps``, and "moved" (S, 1), the mean
    of both sides, on images moved ``by`` so many pixels.
    """
    data = Data(reported, seeds, batch, steps, device)
    scale = np.full(len(seeds), arm.scale)
    nets = Ensemble(net, arm.norm, arm.order, arm.draws(seeds), scale, device)
    right = descend(nets, data, np.full(len(seeds), arm.rate), steps, at)
    sides = [nets.right(data.tested(p), data.y_test) for p in (-by, by)]
    return {"right": right, "moved": np.mean(sides, axis=0)[:, None]}


def tuning(seeds, device, *, net, norm, order, rates, scales, steps, batch):
    """Train at each pair of rate and scale, on the images that are for this.

    Returns "early" (S, rates × scales), the mean accuracy at ten steps of the run, and
    "final", that after the last.
    """
    shape = len(seeds), len(rates), len(scales)
    each, rate, scale = (
        a.ravel() for a in np.meshgrid(seeds, rates, scales, indexing="ij")
    )
    data = Data(to_tune, each, batch, steps, device)
    nets = Ensemble(net, norm, order, each, scale, device)
    at = tuple(range(steps // 10, steps + 1, steps // 10))
    accuracy = descend(nets, data, rate, steps, at) / TESTED
    scores = {"early": accuracy.mean(axis=1), "final": accuracy[:, -1]}
    return {k: v.reshape(shape[0], -1).round(5) for k, v in scores.items()}
