"""The ways in which a trained network can normalize the images that it reads."""

from typing import NamedTuple

import numpy as np

from batchnorm.claims.networks import PERFECT, testing_part, trained, training_part
from batchnorm.ensemble import evaluate, moments_over


class Way(NamedTuple):
    """How a network normalizes the images that it reads.

    ``statistics`` are "running" (of the momentum), "exact" (those of the training
    part), "anew" (averages over ``count`` mini-batches of it), or "batch": its own, as
    in training mode, of mini-batches of the test part, shuffled or sorted by class.
    """

    statistics: str
    momentum: float = 0.1
    batch: int = 60
    count: int = 10
    order: str = "shuffled"


EXACT = Way("exact")
RUNNING = Way("running")
SLOW = Way("running", momentum=0.01)
SLOWER = Way("running", momentum=0.001)
EIGHTS = Way("batch", batch=8)


def readers(seeds, arm, net, steps, momentum=RUNNING.momentum):
    """The networks; the momentum is that of their statistics, and trains nothing."""
    return trained(seeds, arm, net, steps=steps, momentum=momentum)


def accuracy(seeds, way, arm, net, steps):
    """Test accuracy of networks that normalize in one way, (S,)."""
    if way == PERFECT:
        return np.ones(len(seeds))
    run = readers(seeds, arm, net, steps, way.momentum)
    x, y = testing_part(seeds)
    if way.statistics == "batch":
        x, y = in_order(x, y, way.order)
        return evaluate(run.network, run.theta, x, y, batch=way.batch).accuracy
    if way.statistics == "running":
        statistics = run.running
    elif way.statistics == "exact":
        statistics = moments_over(run.network, run.theta, training_part(seeds)[0])
    else:
        statistics = estimated_anew(seeds, run, way.batch, way.count)
    return evaluate(run.network, run.theta, x, y, statistics).accuracy


def in_order(x, y, order):
    """Images and labels shuffled, or sorted by class."""
    rows = np.argsort(y, axis=1, kind="stable")
    if order == "shuffled":
        rows = np.random.default_rng(0).permuted(rows, axis=1)
    given = np.take_along_axis(x, rows[..., None], axis=1)
    return given, np.take_along_axis(y, rows, axis=1)


def estimated_anew(seeds, run, batch, count):
    """Algorithm 2: statistics averaged over mini-batches of the training part."""
    x, _ = training_part(seeds)
    # It comes shuffled: its rows, in order, are random mini-batches.
    found = [
        moments_over(run.network, run.theta, x[:, i * batch : (i + 1) * batch])
        for i in range(count)
    ]
    mean, var = np.moveaxis(np.mean(found, axis=0), 1, 0)
    return np.stack([mean, batch / (batch - 1) * var], axis=1)
