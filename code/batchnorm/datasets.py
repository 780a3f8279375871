"""The data that chapters learn from: digits and used cars.

Every draw comes from ``numpy.random.default_rng(seed)``, so a seed gives the same
data on every machine. Images are rows of pixels in channel, row, column order;
``split.images(x)`` shapes them for a convolution. Data that shift are in
`batchnorm.shifts`, MNIST in `batchnorm.mnist`.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from batchnorm import _checks

# ---------------------------------------------------------------------------
# Digits


@dataclass(frozen=True)
class Split:
    """A classification set, divided into a part to train on and a part to test on.

    Parameters
    ----------
    x_train, x_test : array, (n, d)
        Pixels in [0, 1], one example a row.
    y_train, y_test : array, (n,)
        Classes, integers.
    shape : tuple of int
        The shape of one example; d is its product.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    shape: tuple[int, ...]

    def images(self, x: np.ndarray) -> np.ndarray:
        """Rows of pixels as images.

        Parameters
        ----------
        x : array, (n, d)
            Such as ``x_train``.

        Returns
        -------
        array, (n, C, H, W)
            A view, not a copy.
        """
        return x.reshape(-1, *self.shape)


# The digits stand in the file sheet by sheet: each writer filled in the same form,
# which begins 0123456789 0123456789. A sheet begins at each of these rows but the last.
SHEETS = (
    0, 130, 256, 386, 516, 646, 776, 906, 1029, 1157, 1287, 1415, 1545, 1667, 1797,
)  # fmt: skip
TUNING_SHEETS = (1, 3, 5, 7, 9, 11)  # settings are chosen on these
REPORTED_SHEETS = (0, 2, 4, 6, 8, 10, 12, 13)  # and everything else is seen on these


@cache
def _all_digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits  # slow to import, so only when asked

    digits = load_digits()
    # Gray levels are 0..16, so the division is exact.
    x, y = digits.data / 16.0, digits.target.astype(np.int64)
    x.flags.writeable = y.flags.writeable = False
    return x, y


def digits(seed: int) -> Split:
    """8×8 handwritten digits of writers apart: 768 to train, 250 to test.

    A writer's digits look alike, so a split by image tests on hands that were learned
    from: here ``seed`` draws two of eight sheets to test on and trains on the other
    six. No image of them is one that a setting was chosen on (`digits_to_tune`).

    Parameters
    ----------
    seed : int
        Draws the two sheets.

    Returns
    -------
    Split
        Pixels in float64, ten classes, shape (1, 8, 8).

    Raises
    ------
    ValueError
        If the seed is not an integer from 0 on.

    References
    ----------
    E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998; the
    1797 images that scikit-learn ships.
    """
    return _by_sheet(seed, REPORTED_SHEETS, tested=2, sizes=(768, 250))


def digits_to_tune(seed: int) -> Split:
    """Digits of six other sheets, to choose settings on: 639 to train, 123 to test.

    Parameters
    ----------
    seed : int

    Returns
    -------
    Split
        As `digits`; one sheet is tested on and five train.

    Raises
    ------
    ValueError
        If the seed is not an integer from 0 on.
    """
    return _by_sheet(seed, TUNING_SHEETS, tested=1, sizes=(639, 123))


def writers(x: np.ndarray) -> np.ndarray:
    """The sheet that each digit stands on, by its place in ``SHEETS``.

    Parameters
    ----------
    x : array, (n, 64)
        Images of `digits` or `digits_to_tune`, unchanged.

    Returns
    -------
    array of int, (n,)

    Raises
    ------
    ValueError
        If one is none of the digits.
    """
    rows = {image.tobytes(): row for row, image in enumerate(_all_digits()[0])}
    found = [rows.get(image.tobytes()) for image in np.asarray(x, np.float64)]
    if None in found:
        raise ValueError(
            f"x has an image in row {found.index(None)} that is none of the digits; "
            "allowed are those of digits and digits_to_tune"
        )
    return np.searchsorted(SHEETS, found, side="right") - 1


def _by_sheet(seed, sheets, tested, sizes):
    """A split whose test part is ``tested`` whole sheets, both cut to their sizes."""
    x, y = _all_digits()
    _checks.count("seed", seed, least=0)
    rng = np.random.default_rng(seed)
    rows = [np.arange(SHEETS[i], SHEETS[i + 1]) for i in rng.permutation(sheets)]
    # Sheets differ by some images, and all seeds are to have parts of one size.
    test = rng.permutation(np.concatenate(rows[:tested]))[: sizes[1]]
    train = rng.permutation(np.concatenate(rows[tested:]))[: sizes[0]]
    return Split(x[train], y[train], x[test], y[test], (1, 8, 8))


# ---------------------------------------------------------------------------
# Used cars


@dataclass(frozen=True)
class UsedCars:
    """Made-up offers of used cars.

    Parameters
    ----------
    x : array, (n, 2)
        Age in years, and distance driven in km.
    y : array, (n,)
        Price in euros.
    names : tuple of str
        Labels of the two columns of x.
    """

    x: np.ndarray
    y: np.ndarray
    names: tuple[str, str] = ("age in years", "km driven")


def used_cars(seed: int, n: int = 500) -> UsedCars:
    """Draw used cars whose two features differ in scale by four orders.

    ``age ~ U(1, 12)``, ``km = 13000 · age · exp(N(0, 0.5²))`` and
    ``price = 28000 · exp(−0.11 · age − 2.5e-6 · km + N(0, 0.15²))``, so that age and
    km are correlated (about 0.64) as they are on a real market.

    Parameters
    ----------
    seed : int
        Of the draws.
    n : int
        How many cars.

    Returns
    -------
    UsedCars

    Raises
    ------
    ValueError
        If the seed is not an integer from 0 on, or n is below 3, which leaves no line
        to fit.
    """
    n = _checks.count("n", n, least=3)
    _checks.count("seed", seed, least=0)
    rng = np.random.default_rng(seed)
    age = rng.uniform(1, 12, n)
    km = 13_000 * age * np.exp(rng.normal(0, 0.5, n))
    price = 28_000 * np.exp(-0.11 * age - 2.5e-6 * km + rng.normal(0, 0.15, n))
    return UsedCars(np.column_stack([age, km]), price)
