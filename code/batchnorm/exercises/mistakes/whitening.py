"""Mistakes in whitening: x minus its mean, times a root of the inverse covariance."""

import numpy as np

from batchnorm.exercises.lines import Lines, mistake
from batchnorm.exercises.mistakes.normalize import WRITES

ZCA = Lines(
    mean=lambda x: x.mean(0),
    origin=lambda mean: mean,
    deviation=lambda x, origin: x - origin,
    divisor=lambda x: len(x),
    covariance=lambda deviation, divisor: deviation.T @ deviation / divisor,
    spectrum=lambda covariance: np.linalg.eigh(covariance),
    values=lambda spectrum: spectrum[0],
    axes=lambda spectrum: spectrum[1],
    stretch=lambda values: values**-0.5,
    matrix=lambda axes, stretch: (axes * stretch) @ axes.T,
    centered=lambda x, mean: x - mean,
    white=lambda centered, matrix: centered @ matrix,
)


def _columns(results):
    """Columns in a fixed order and with a fixed sign: axes may come in any."""
    (white,) = results
    largest = np.abs(white).argmax(0)
    white = white * np.where(white[largest, np.arange(white.shape[1])] < 0, -1, 1)
    return (white[:, np.argsort(np.round(white.max(0), 6), kind="stable")],)


def _but_for_a_rotation(results):
    """The products of all pairs of examples, which no rotation changes."""
    (white,) = results
    return (white @ white.T,)


WHITEN = [
    mistake(
        "pca-for-zca",
        "The result is not rotated back: this is PCA whitening, asked for is ZCA.",
        "It is white as well; the axes are the principal ones.",
        "Features change places, and signs may flip from one batch to the next.",
        "ch-whitening-together",
        matrix=lambda axes, stretch: axes * stretch,
        like=_columns,
    ),
    mistake(
        "pca-not-rescaled",
        "The data is only rotated to its principal axes; their spreads stay.",
        "It is decorrelated, which is half of whitening.",
        "The bowl is as elongated as before, only along the axes now.",
        "ch-whitening-together",
        matrix=lambda axes: axes,
        like=_columns,
    ),
    mistake(
        "not-centred",
        "The mean is not subtracted from what is multiplied.",
        "The covariance is right, and so is the matrix.",
        "The mean is whitened too, and stays: the data is not around zero.",
        "ch-whitening-together",
        "cytomining/pycytominer#747",
        centered=lambda x: x,
    ),
    mistake(
        "covariance-not-centred",
        "The covariance is made of data that was not centered.",
        "x.T @ x / m is the covariance of data around zero.",
        "The direction of the mean is taken for a wide one, and squeezed.",
        "ch-whitening-together",
        "keras-team/keras#7792",
        origin=lambda: 0.0,
    ),
    mistake(
        "variance-in-place-of-std",
        "Directions are divided by their variance: the root is missing.",
        "It is the inverse of the covariance, which is often asked for.",
        "A direction of spread σ comes out at 1/σ.",
        "ch-whitening-together",
        "Salma-El-Alaoui/Blind-Source-Separation#2",
        stretch=lambda values: 1 / values,
    ),
    mistake(
        "multiplied-by-std",
        "Directions are multiplied by their spread, not divided.",
        "A sign in the exponent.",
        "The bowl is more elongated than before.",
        "ch-whitening-together",
        stretch=lambda values: values**0.5,
    ),
    mistake(
        "covariance-unbiased",
        "The covariance is divided by m − 1; here, as in batch normalization, by m.",
        "np.cov divides by m − 1 unless told otherwise.",
        "Everything is too small by the root of (m − 1)/m.",
        "ch-whitening-together",
        divisor=lambda x: len(x) - 1,
    ),
    mistake(
        "covariance-by-features",
        "The covariance is divided by the number of features, not of examples.",
        "The data was thought to stand in columns.",
        "Everything is scaled by the root of d/m.",
        "ch-whitening-together",
        "keras-team/keras#4181",
        divisor=lambda x: x.shape[1],
    ),
    mistake(
        "standardized-only",
        "Each column is standardized by itself: the columns are still correlated.",
        "Means are 0 and variances 1, which is often called whitening.",
        "Directions in which features go together stay steep.",
        "ch-whitening-columns",
        matrix=lambda covariance: np.diag(np.diag(covariance) ** -0.5),
    ),
    mistake(
        "cholesky-for-zca",
        "The matrix is a triangular root: white, but ZCA moves the data less.",
        "Any root of the inverse covariance whitens.",
        "The first feature is only rescaled, the last bears all of the change.",
        "ch-whitening-together",
        matrix=lambda covariance: np.linalg.inv(np.linalg.cholesky(covariance)).T,
    ),
    mistake(
        "rotated",
        "The result is white, but rotated: of all that is white, ZCA moves data least.",
        "Whatever is white stays white when it is rotated.",
        "The bowl is round, but features are mixed without need.",
        "ch-whitening-together",
        matrix=lambda axes, stretch: (axes * stretch)[:, ::-1] @ axes.T,
        like=_but_for_a_rotation,
    ),
    WRITES,
]
