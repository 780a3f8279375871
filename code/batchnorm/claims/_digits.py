"""Mini-batches of digits for many seeds at once, in the shape `ensemble` takes."""

import numpy as np

from batchnorm import datasets
from batchnorm.ensemble import shuffled


def one_batch(seeds, size):
    """One mini-batch a seed -> pixels (S, size, 64), labels (S, size)."""
    return next(mini_batches(seeds, size, 1))


def mini_batches(seeds, size, steps):
    """Mini-batches for `steps` steps, each as `one_batch` gives it."""
    splits = [datasets.digits(seed) for seed in seeds]
    rows = [
        shuffled(split.y_train, size, steps, np.random.default_rng([seed, 1]))
        for seed, split in zip(seeds, splits, strict=True)
    ]
    for step in zip(*rows, strict=True):
        pairs = list(zip(splits, step, strict=True))
        yield (
            np.stack([split.x_train[row] for split, row in pairs]),
            np.stack([split.y_train[row] for split, row in pairs]),
        )
