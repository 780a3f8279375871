"""Networks that learned from mini-batches of some kind, and how well they read."""

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
from batchnorm.experiments.domains import (
    DOMAINS,
    four_domains,
    mixed_domains,
    one_domain,
)

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
    momentum: float = 0.1
    dtype: type = np.float64

    def run(self, seeds):
        """The networks, one a seed; of kinds that have domains, trained on those."""
        data = four_domains if "domain" in self.kind else datasets.digits
        batches, options = BATCHES[self.kind], self._asdict()
        del options["kind"]
        return trained(seeds, data=data, batches=batches, **options)

    def redrawn(self):
        """The same from other initial weights."""
        return self._replace(arm=self.arm._replace(draw=1))

    def untrained(self):
        """The same after one step, with next to nothing learned."""
        return self._replace(steps=1)


def in_inference(seeds, training):
    """Test accuracy in inference mode after a `Training` or a `PERFECT` one -> (S,)."""
    if training == PERFECT:
        return np.ones(len(seeds))
    return training.run(seeds).accuracy[:, -1]


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
