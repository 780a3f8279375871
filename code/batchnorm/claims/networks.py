"""The networks and the data that claims share.

A measure names what it compares: an `Arm` is one side of a comparison, and
`trained(seeds, arm, net)` its networks, trained once however many claims look at them.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from batchnorm import datasets
from batchnorm.claims.estimates import at_least
from batchnorm.claims.registry import experiment
from batchnorm.claims.types import above
from batchnorm.ensemble import (
    Conv,
    Network,
    Pool,
    Recorder,
    init_parameters,
    shuffled,
    train,
)

# Test over training images: seeds draw both from one pool (`estimates.mean`).
SHARED = 250 / 768
ACCURACY = {"estimator": "mean", "shared": SHARED}
POINTS = 0.02  # of accuracy: the smallest difference of interest in this book
FACTOR = 1.25  # the smallest ratio of interest
DRAWS = 2**32  # between the seeds of one draw of weights and the next


class Arm(NamedTuple):
    """One side of a comparison: a norm with its learning rate and initial scale.

    ``draw`` other than 0 draws other initial weights, for controls in which two arms
    are to differ by chance alone.
    """

    norm: str | tuple | None
    rate: float
    scale: float = 2**0.5
    order: str = "before"
    draw: int = 0

    def draws(self, seeds):
        """The seeds of its initial weights -> (S,)."""
        return np.asarray(seeds) + DRAWS * self.draw


#: Stands for a network that is right from the first step: a competitor that no claim
#: in favor of another can be made against.
PERFECT = Arm("perfect", 0.0)


def points_ahead(effect, *, oracle=None, **fields):
    """Register an experiment on a share of the test images, of which one arm has more.

    It asks for a lead of `POINTS` in the mean of the seeds; a perfect second arm, or
    another oracle, has to turn it.
    """
    oracle = oracle or {"second": PERFECT}
    return experiment(effect, above(POINTS), oracle=oracle, **ACCURACY, **fields)


class Mlp(NamedTuple):
    """Fully connected layers on the digits."""

    nonlinearity: str
    depth: int
    width: int

    def network(self, norm, order="before", **options):
        """The `Network` with this norm."""
        hidden = (self.width,) * self.depth
        return Network(
            (64,),
            hidden,
            nonlinearity=self.nonlinearity,
            norm=norm,
            order=order,
            **options,
        )


class Cnn(NamedTuple):
    """Two convolutions with a pooling between them, on the digits."""

    channels: tuple[int, int] = (8, 16)

    def network(self, norm, order="before", **options):
        """The `Network` with this norm."""
        first, second = self.channels
        hidden = (Conv(first), Pool(), Conv(second))
        return Network((1, 8, 8), hidden, norm=norm, order=order, **options)


def trained(seeds, arm, net, *, data=datasets.digits, **options):
    """Networks of one arm, one a seed, trained on the digits -> `Run`.

    ``data`` goes from seed to `Split`; options are those of `ensemble.train`: steps,
    batch, optimizer, recorder, ... The run is shared by all who ask for the same: it is
    not to be written to.
    """
    return _trained(tuple(seeds), arm, net, data, tuple(sorted(options.items())))


@lru_cache(maxsize=6)
def _trained(seeds, arm, net, data, options):
    network = net.network(arm.norm, arm.order)
    theta = init_parameters(network, arm.draws(seeds), arm.scale)
    return train(network, data, seeds, lr=arm.rate, theta=theta, **dict(options))


def accuracies(seeds, arm, net, **options):
    """Test accuracy of an arm at every recorded step -> (S, T), steps (T,).

    Of a `PERFECT` arm it is 1 throughout.
    """
    if arm == PERFECT:
        return np.ones((len(seeds), 1)), np.zeros(1)
    run = trained(seeds, arm, net, **options)
    return run.accuracy, run.at


def final_accuracy(seeds, arm, net, **options):
    """Test accuracy of an arm after its last step -> (S,)."""
    return accuracies(seeds, arm, net, **options)[0][:, -1]


def steps_to(target, seeds, arm, net, *, steps, **options):
    """Steps of an arm to a test accuracy, read at every one -> (S, 2).

    The two ends are equal, or the budget and infinity where a run did not arrive.
    Reading costs more than training, and most runs arrive early: only those that have
    not after a quarter of the budget are run again, from the start, for all of it.
    """
    first = np.full(len(seeds), np.inf)
    for budget in (steps // 4, steps):
        left = np.flatnonzero(np.isinf(first))
        if budget and len(left):
            options |= {"steps": budget, "recorder": Recorder(every=1)}
            accuracy, at = accuracies([seeds[i] for i in left], arm, net, **options)
            reached = accuracy >= target
            when = np.where(reached.any(axis=1), at[reached.argmax(axis=1)], np.inf)
            first[left] = np.maximum(when, 1)
    return at_least(first, steps)


def testing_part(seeds, data=datasets.digits):  # noqa: PT028
    """Test images and labels of each seed -> (S, n, d), (S, n)."""
    splits = [data(seed) for seed in seeds]
    return np.stack([s.x_test for s in splits]), np.stack([s.y_test for s in splits])


def training_part(seeds, data=datasets.digits):
    """Training images and labels of each seed -> (S, n, d), (S, n)."""
    splits = [data(seed) for seed in seeds]
    return np.stack([s.x_train for s in splits]), np.stack([s.y_train for s in splits])


def mini_batches(seeds, size, steps):
    """Mini-batches of training digits for many seeds: (S, size, 64), (S, size) each."""
    x, y = training_part(seeds)
    rows = np.stack(
        [
            shuffled(labels, size, steps, np.random.default_rng([seed, 1]))
            for seed, labels in zip(seeds, y, strict=True)
        ]
    )
    each = np.arange(len(x))[:, None]
    for step in range(steps):
        yield x[each, rows[:, step]], y[each, rows[:, step]]


def one_batch(seeds, size):
    """One mini-batch a seed -> (S, size, 64), (S, size)."""
    return next(mini_batches(seeds, size, 1))
