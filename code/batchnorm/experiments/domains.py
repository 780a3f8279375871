"""Digits of four domains, and mini-batches that hold one of them, or all.

A network with batch normalization that is trained on mini-batches of one domain each
learns to read an image beside others of its domain.
"""

from functools import lru_cache

import numpy as np

from batchnorm import datasets

#: Four kinds of images, x → a x + b: as they are, faint, inverted, lifted.
DOMAINS = ((1.0, 0.0), (0.3, 0.0), (-1.0, 1.0), (0.5, 0.5))


@lru_cache(maxsize=60)
def four_domains(seed):
    """The digits in each of the four domains, one domain after the other -> Split.

    seed is that of `datasets.digits`; there are 4 · 768 training and 4 · 250 test
    images.
    """
    data = datasets.digits(seed)

    def all_of(x):
        return np.concatenate([a * x + b for a, b in DOMAINS])

    y_train, y_test = (np.tile(y, len(DOMAINS)) for y in (data.y_train, data.y_test))
    x_train, x_test = all_of(data.x_train), all_of(data.x_test)
    return datasets.Split(x_train, y_train, x_test, y_test, data.shape)


def one_domain(labels, batch, steps, rng):
    """Rows of mini-batches that hold one domain each, in turn -> (steps, batch).

    labels are those of a part of `four_domains`.
    """
    count, domains = len(labels) // len(DOMAINS), len(DOMAINS)
    draw = [rng.choice(count, batch, replace=False) for _ in range(steps)]
    return np.array(draw) + count * (np.arange(steps) % domains)[:, None]


def mixed_domains(labels, batch, steps, rng):
    """Rows of mini-batches that hold as many images of each domain -> (steps, batch).

    As in `one_domain`; batch is a multiple of four.
    """
    quarter = batch // len(DOMAINS)
    parts = [
        one_domain(labels, quarter, len(DOMAINS), rng).ravel() for _ in range(steps)
    ]
    return np.array(parts)
