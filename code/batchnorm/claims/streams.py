"""Streams of test images of another kind, read with so much of their own statistics."""

import numpy as np

from batchnorm.claims.networks import PERFECT, Arm, Mlp, testing_part, trained
from batchnorm.ensemble import evaluate, forward, unpack, unpack_statistics

READER = {"arm": Arm("batch", 0.1), "net": Mlp("relu", 3, 64), "steps": 150}


def changed(x, kind):
    """Images (..., 64) of another kind."""
    if kind == "blur":  # each pixel the mean of itself and its eight neighbors
        edges = [(0, 0)] * (x.ndim - 1) + [(1, 1)] * 2
        maps = np.pad(x.reshape(*x.shape[:-1], 8, 8), edges)
        rows = maps[..., :-2, :] + maps[..., 1:-1, :] + maps[..., 2:, :]
        return ((rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]) / 9).reshape(x.shape)
    if kind == "noise":
        return x + np.random.default_rng(13).normal(0, 0.3, x.shape)
    return {"as they are": x, "inverted": 1 - x, "faint": 0.3 * x}[kind]


def mixed_statistics(network, theta, x, stored, weight):
    """Each layer's statistics: ``weight`` of those of x, the rest stored ones.

    Layer by layer, for what a layer is given depends on how those before normalize.
    """
    mixed = stored.copy()
    each = unpack_statistics(network, mixed)
    for depth, (mean, var) in enumerate(each):
        given = forward(network, theta, x, mixed)[depth].input
        z = given @ unpack(network, theta)[depth].weight.mT
        mean += weight * (z.mean(1) - mean)
        var += weight * (z.var(1) - var)
    return mixed


def streams(seeds, kind, classes):
    """Test images of a kind, apart by classes: streams (S, n, 64), (S, n).

    Each seed draws which classes make a stream, and each class is in one. Within a
    stream all seeds have as many images, those of the seed that has fewest.
    """
    x, y = testing_part(seeds)
    x = changed(x, kind)
    orders = [np.random.default_rng([seed, 5]).permutation(10) for seed in seeds]
    for first in range(0, 10, classes):
        kept = [order[first : first + classes] for order in orders]
        rows = [np.flatnonzero(np.isin(*of)) for of in zip(y, kept, strict=True)]
        n = min(map(len, rows))
        rows = np.stack([r[:n] for r in rows])
        each = np.arange(len(x))[:, None]
        yield x[each, rows], y[each, rows]


def read(seeds, weight, kind, classes, arm, net, steps):
    """Accuracy on the streams, each with so much of its own statistics -> (S,)."""
    if weight == PERFECT:
        return np.ones(len(seeds))
    run = trained(seeds, arm, net, steps=steps)
    given, found = (run.network, run.theta), []
    for x, y in streams(seeds, kind, classes):
        mixed = mixed_statistics(*given, x, run.running, weight)
        found.append(evaluate(*given, x, y, mixed).accuracy)
    return np.mean(found, axis=0)


def read_halves(seeds, of, kind, classes, arm, net, steps):
    """Accuracy on one half of each stream, by statistics ``of`` some images -> (S,).

    ``of`` is "own", the half that is read, "other", the other half, or "stored".
    """
    if of == PERFECT:
        return np.ones(len(seeds))
    run = trained(seeds, arm, net, steps=steps)
    given, found = (run.network, run.theta), []
    for x, y in streams(seeds, kind, classes):
        half = x.shape[1] // 2
        halves = {"own": x[:, :half], "other": x[:, half : 2 * half]}
        weight = 0.0 if of == "stored" else 1.0
        source = halves["own" if of == "stored" else of]
        statistics = mixed_statistics(*given, source, run.running, weight)
        found.append(evaluate(*given, halves["own"], y[:, :half], statistics).accuracy)
    return np.mean(found, axis=0)
