"""Mini-batches that are no random draws, and networks that learned from them.

Mini-batches of one class each, or of one domain of four: the digits as they are, faint,
inverted and lifted.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from batchnorm import datasets
from batchnorm.claims.networks import (
    PERFECT,
    Arm,
    Cnn,
    Mlp,
    testing_part,
    trained,
    training_part,
)
from batchnorm.ensemble import evaluate, shuffled, single_class

#: Four kinds of images, x → a x + b: as they are, faint, inverted, lifted.
DOMAINS = ((1.0, 0.0), (0.3, 0.0), (-1.0, 1.0), (0.5, 0.5))


@lru_cache(maxsize=60)
def four_domains(seed):
    """The digits in each of the four domains, one after the other -> `Split`."""
    data = datasets.digits(seed)

    def all_of(x):
        return np.concatenate([a * x + b for a, b in DOMAINS])

    y_train, y_test = (np.tile(y, len(DOMAINS)) for y in (data.y_train, data.y_test))
    x_train, x_test = all_of(data.x_train), all_of(data.x_test)
    return datasets.Split(x_train, y_train, x_test, y_test, data.shape)


def one_domain(labels, batch, steps, rng):
    """Rows of mini-batches that hold one domain each, in turn: (steps, batch)."""
    count, domains = len(labels) // len(DOMAINS), len(DOMAINS)
    draw = [rng.choice(count, batch, replace=False) for _ in range(steps)]
    return np.array(draw) + count * (np.arange(steps) % domains)[:, None]


def mixed_domains(labels, batch, steps, rng):
    """Rows of mini-batches that hold as many of each domain: (steps, batch)."""
    quarter = batch // len(DOMAINS)
    parts = [
        one_domain(labels, quarter, len(DOMAINS), rng).ravel() for _ in range(steps)
    ]
    return np.array(parts)


BATCHES = {
    "shuffled": shuffled,
    "one class": single_class,
    "one domain": one_domain,
    "mixed domains": mixed_domains,
}


class Training(NamedTuple):
    """How a network was trained: on which kind of mini-batches, and which network."""

    kind: str
    arm: Arm = Arm("batch", 0.1)
    net: Mlp | Cnn = Mlp("relu", 3, 64)
    steps: int = 300
    batch: int = 32
    dtype: type = np.float64

    def run(self, seeds, **options):
        """The networks, one a seed; of kinds that have domains, trained on those."""
        data = four_domains if "domain" in self.kind else datasets.digits
        options |= {"steps": self.steps, "batch": self.batch, "dtype": self.dtype}
        options |= {"data": data, "batches": BATCHES[self.kind]}
        return trained(seeds, self.arm, self.net, **options)

    def redrawn(self):
        """The same from other initial weights."""
        return self._replace(arm=self.arm._replace(draw=1))

    def untrained(self):
        """The same at a rate at which nothing is learned."""
        return self._replace(arm=self.arm._replace(rate=1e-6))


def in_inference(seeds, training, **options):
    """Test accuracy in inference mode after a `Training` or a `PERFECT` one -> (S,)."""
    if training == PERFECT:
        return np.ones(len(seeds))
    return training.run(seeds, **options).accuracy[:, -1]


def domain_by_domain(seeds, run, batch):
    """Test accuracy in training mode, mini-batches of one domain each -> (S,)."""
    x, y = testing_part(seeds, four_domains)
    parts = np.split(np.arange(x.shape[1]), len(DOMAINS))
    scores = [
        evaluate(run.network, run.theta, x[:, rows], y[:, rows], batch=batch).accuracy
        for rows in parts
    ]
    return np.mean(scores, axis=0)


def best_of_modes(seeds, run, batch):
    """Accuracy on the training images in the mode in which it is highest -> (S,).

    In inference mode, in training mode with shuffled mini-batches, and in training mode
    with mini-batches of one class each.
    """
    x, y = training_part(seeds)
    given = run.network, run.theta, x, y
    modes = (
        evaluate(*given, run.running).accuracy,
        evaluate(*given, batch=batch).accuracy,
        class_by_class(run, x, y, batch),
    )
    return np.max(modes, axis=0)


def class_by_class(run, x, y, batch):
    """Accuracy in training mode, whole mini-batches of one class each -> (S,)."""
    found = []
    for theta, images, labels in zip(run.theta, x, y, strict=True):
        rows = [np.flatnonzero(labels == c) for c in np.unique(labels)]
        rows = np.concatenate([r[: len(r) // batch * batch] for r in rows])
        given = theta[None], images[rows], labels[rows]
        found.append(evaluate(run.network, *given, batch=batch).accuracy[0])
    return np.array(found)
