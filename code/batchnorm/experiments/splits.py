"""MNIST, drawn anew for every seed: images to learn from, images to be tested on.

The first 50,000 training images and the 10,000 test images, of other writers, are what
is reported; a seed draws a fifth of each. The last 10,000 training images are for the
choice of settings, and nothing else ever reads them.
"""

from functools import cache

import numpy as np

from batchnorm import mnist
from batchnorm.datasets import Split

TUNED_ON = 10_000  # the last training images
LEARNED, TESTED = 10_000, 2_000  # images of a seed, of 50,000 and of 10,000
# Two seeds share a fifth of their images, so that of the spread of an effect at most a
# fifth is common to all: ρ/(1 − ρ) in `estimates.mean`.
SHARED = 0.2 / (1 - 0.2)


@cache
def _mnist():
    return mnist.load()


def reported(seed, images=LEARNED, wrong=0.0):
    """What results are of: so many images to learn from, of 50,000, and 2,000 to test.

    The seed draws both, and of the labels to learn from the share ``wrong`` at random,
    whatever the image. Pixels are in float32, of the shape (1, 28, 28).
    `DataUnavailableError` if there is no MNIST.
    """
    data, rng = _mnist(), np.random.default_rng([seed, 21])
    learned = rng.permutation(len(data.y_train) - TUNED_ON)[:images]
    tested = rng.permutation(len(data.y_test))[:TESTED]
    test = data.x_test[tested], data.y_test[tested]
    return _split(learned, test, wrong, rng)


def to_tune(seed, images=LEARNED, wrong=0.0):
    """What settings are chosen on: parts of the last 10,000 training images.

    As `reported`, of at most 8,000 images to learn from; the 2,000 "test" images are
    training images of MNIST.
    """
    data, rng = _mnist(), np.random.default_rng([seed, 22])
    rows = len(data.y_train) - TUNED_ON + rng.permutation(TUNED_ON)
    test = data.x_train[rows[:TESTED]], data.y_train[rows[:TESTED]]
    return _split(rows[TESTED:][:images], test, wrong, rng)


def _split(rows, test, wrong, rng):
    data = _mnist()
    y = data.y_train[rows]
    drawn = rng.permutation(len(y))[: round(wrong * len(y))]
    y[drawn] = rng.integers(10, size=len(drawn))
    return Split(data.x_train[rows], y, *test, data.shape)


def moved(x, pixels):
    """Images (..., 784) moved to the right, or left if negative, before blank paper."""
    columns = np.arange(28) - pixels
    kept = (columns >= 0) & (columns < 28)
    images = x.reshape(*x.shape[:-1], 28, 28)[..., columns.clip(0, 27)]
    return (images * kept).reshape(x.shape)
