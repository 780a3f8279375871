"""Clients that learn together and share no image: how, and how well they then read."""

from typing import NamedTuple

import numpy as np

from batchnorm import datasets
from batchnorm.claims.networks import PERFECT, testing_part, training_part
from batchnorm.claims.streams import READER
from batchnorm.ensemble import evaluate, gradient, init_parameters, moments_over, unpack


class Shared(NamedTuple):
    """How clients learn together: what normalizes, and at which learning rate.

    ``local`` keeps γ, β and the statistics at each client; all else is averaged.
    """

    norm: str | None
    local: bool
    rate: float


#: Tuned on `TUNING_SEEDS` over rates in steps of √10.
AVERAGED = Shared("batch", False, 3.2)
LOCAL = Shared("batch", True, 1.0)
WITHOUT = Shared(None, False, 0.1)

#: How clients that averaged all, or all but normalizations, then read.
BY_AVERAGE = (AVERAGED, "averaged")
BY_UNION = (AVERAGED, "layer by layer")
BY_OWN = (LOCAL, "own")

SHADES = ("as they are", "left", "top", "inverted")
SAME = SHADES[:1] * 4
CLIENTS = {"kinds": SHADES, "rounds": 20, "local_steps": 5, "batch": 32}


def shaded(x, client):
    """Images as a client has them."""
    row, column = np.divmod(np.arange(64), 8)
    if client == "inverted":
        return 1 - x
    dark = {"as they are": row < 0, "left": column < 4, "top": row < 4}[client]
    return np.where(dark, 0.3, 1.0) * x


def federated(seeds, way, kinds, rounds, local_steps, batch, data=datasets.digits):
    """Accuracy on the clients' own test images after averaging in rounds -> (S,)."""
    if way == PERFECT:
        return np.ones(len(seeds))
    network = READER["net"].network(way.norm)
    x, y = training_part(seeds, data)
    count, size = len(kinds), x.shape[1] // len(kinds)
    shards = np.split(x[:, : count * size], count, axis=1)
    x = np.stack([shaded(*of) for of in zip(shards, kinds, strict=True)], 1)
    x = x.reshape(-1, size, 64)
    y = y[:, : count * size].reshape(-1, size)
    theta = np.repeat(init_parameters(network, seeds, 2**0.5), count, axis=0)
    draws = [np.random.default_rng([s, 21]) for s in seeds]
    average = averaged(network, way)
    each = np.arange(len(x))[:, None]
    for step in range(rounds * local_steps):
        rows = np.concatenate([d.integers(size, size=(count, batch)) for d in draws])
        theta -= way.rate * gradient(network, theta, x[each, rows], y[each, rows])[1]
        if (step + 1) % local_steps == 0:
            mean = theta.reshape(len(seeds), count, -1).mean(1).repeat(count, axis=0)
            theta = np.where(average, mean, theta)
    statistics = moments_over(network, theta, x)
    if not way.local:
        statistics = statistics.reshape(len(seeds), count, *statistics.shape[1:])
        statistics = statistics.mean(1).repeat(count, axis=0)
    x, y = testing_part(seeds, data)
    x = np.stack([shaded(x, c) for c in kinds], 1).reshape(-1, x.shape[1], 64)
    y = y.repeat(count, axis=0)
    found = evaluate(network, theta, x, y, statistics).accuracy
    return found.reshape(len(seeds), count).mean(1)


def averaged(network, way):
    """Which of a network's parameters the clients average -> (P,) of bool."""
    kept = np.ones((1, network.parameters), dtype=bool)
    if way.local:
        for layer in unpack(network, kept):
            if layer.gamma is not None:
                layer.gamma[:], layer.beta[:] = False, False
    return kept[0]


def learned(seeds, way, *, kinds, rounds, local_steps, batch, apart=False, data=None):
    """Clients' networks after averaging in rounds -> network, θ (S C, P), their images.

    The training of `federated`, whose one number leaves no choice of statistics. Where
    the writers are ``apart``, each client has the digits of its own, or of one and a
    half of them; otherwise all draw from one pool.
    """
    network = READER["net"].network(way.norm)
    x, y = training_part(seeds, data or datasets.digits)
    if apart:
        order = np.stack([datasets.writers(v).argsort(kind="stable") for v in x])
        x, y = (np.stack([v[o] for v, o in zip(a, order, strict=True)]) for a in (x, y))
    count, size = len(kinds), x.shape[1] // len(kinds)
    shards = np.split(x[:, : count * size], count, axis=1)
    x = np.stack([shaded(*of) for of in zip(shards, kinds, strict=True)], 1)
    x, y = x.reshape(-1, size, 64), y[:, : count * size].reshape(-1, size)
    theta = np.repeat(init_parameters(network, seeds, 2**0.5), count, axis=0)
    draws = [np.random.default_rng([s, 21]) for s in seeds]
    average, each = averaged(network, way), np.arange(len(x))[:, None]
    for step in range(rounds * local_steps):
        rows = np.concatenate([d.integers(size, size=(count, batch)) for d in draws])
        theta -= way.rate * gradient(network, theta, x[each, rows], y[each, rows])[1]
        if (step + 1) % local_steps == 0:
            mean = theta.reshape(len(seeds), count, -1).mean(1).repeat(count, axis=0)
            theta = np.where(average, mean, theta)
    return network, theta, x


def at_the_server(statistics, count, merged):
    """Statistics (S C, 2, D) of C clients as one, repeated for each -> (S C, 2, D).

    Merged is the law of total variance, for clients with equally many images: the
    clients' variances and that of their means. Otherwise the variances are averaged.
    """
    each = statistics.reshape(-1, count, *statistics.shape[1:])
    common = each.mean(1)
    if merged:
        common[:, 1] += each[:, :, 0].var(1)
    return common.repeat(count, axis=0)


def layer_by_layer(network, theta, x, count):
    """Statistics of all clients' images together, repeated -> (S C, 2, D).

    Each layer is merged before the next is asked for, a message a layer.
    """
    pooled = x.reshape(-1, count * x.shape[1], 64)
    return moments_over(network, theta[::count], pooled).repeat(count, axis=0)


def read_by_clients(seeds, way, reading, kinds, data=None, **given):
    """Accuracy on the clients' own test images with statistics of a kind -> (S,).

    ``reading`` is "own", "averaged", "merged" or "layer by layer".
    """
    if way == PERFECT:
        return np.ones(len(seeds))
    network, theta, x = learned(seeds, way, kinds=kinds, data=data, **given)
    count, own = len(kinds), moments_over(network, theta, x)
    if reading == "layer by layer":
        own = layer_by_layer(network, theta, x, count)
    elif reading != "own":
        own = at_the_server(own, count, reading == "merged")
    x, y = testing_part(seeds, data or datasets.digits)
    x = np.stack([shaded(x, c) for c in kinds], 1).reshape(-1, x.shape[1], 64)
    found = evaluate(network, theta, x, y.repeat(count, axis=0), own).accuracy
    return found.reshape(len(seeds), count).mean(1)
