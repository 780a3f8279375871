"""The data that chapters learn from: digits, used cars, shifted sets.

Every draw comes from ``numpy.random.default_rng(seed)``, so a seed gives the same
data on every machine. Images are rows of pixels in channel, row, column order;
``split.images(x)`` shapes them for a convolution. MNIST is in `batchnorm.mnist`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from batchnorm import _checks

# ---------------------------------------------------------------------------
# Splits


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


@dataclass(frozen=True)
class Shift(Split):
    """A `Split` with a third part, drawn from another distribution: the target.

    Parameters
    ----------
    x_target : array, (n, d)
        From the shifted distribution, where train and test share the first one.
    y_target : array, (n,)
        Its classes.
    """

    x_target: np.ndarray
    y_target: np.ndarray


# The digits stand in the file sheet by sheet: each writer filled in the same form,
# which begins 0123456789 0123456789. A sheet begins at each of these rows but the last.
SHEETS = (
    0,
    130,
    256,
    386,
    516,
    646,
    776,
    906,
    1029,
    1157,
    1287,
    1415,
    1545,
    1667,
    1797,
)
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
    """
    return _by_sheet(seed, TUNING_SHEETS, tested=1, sizes=(639, 123))


def _by_sheet(seed, sheets, tested, sizes):
    """A split whose test part is ``tested`` whole sheets, both cut to their sizes."""
    x, y = _all_digits()
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
        If n is below 3, which leaves no line to fit.
    """
    n = _checks.count("n", n, least=3)
    rng = np.random.default_rng(seed)
    age = rng.uniform(1, 12, n)
    km = 13_000 * age * np.exp(rng.normal(0, 0.5, n))
    price = 28_000 * np.exp(-0.11 * age - 2.5e-6 * km + rng.normal(0, 0.15, n))
    return UsedCars(np.column_stack([age, km]), price)


# ---------------------------------------------------------------------------
# Shifted distributions

COLORS = {
    "red": (1.0, 0.0, 0.0),
    "green": (0.0, 1.0, 0.0),
    "blue": (0.0, 0.0, 1.0),
    "yellow": (1.0, 1.0, 0.0),
    "white": (1.0, 1.0, 1.0),
}


def _colored(
    x: np.ndarray, palette: Sequence[str], rng: np.random.Generator
) -> np.ndarray:
    rgb = np.array([COLORS[_checks.one_of("color", c, COLORS)] for c in palette])
    chosen = rgb[rng.integers(len(rgb), size=len(x))]
    return (chosen[:, :, None] * x[:, None, :]).reshape(len(x), -1)


def colored_digits(
    seed: int,
    source: Sequence[str] = ("red",),
    target: Sequence[str] = ("green", "blue", "yellow"),
) -> Shift:
    """Digits of some colors to learn from, the same kind of digits in others to meet.

    A classifier that has seen one color alone meets the others. ``p(x)`` changes;
    ``P(y | x)``, read off the shape, does not: this is covariate shift.

    Parameters
    ----------
    seed : int
        Of the split and the colors.
    source, target : sequence of str
        Keys of ``COLORS``, from which the color of each example is drawn: source for
        train and test, target for the target.

    Returns
    -------
    Shift
        Of shape (3, 8, 8): red, green and blue channels. The target shows the test
        images once more, recolored.

    Raises
    ------
    ValueError
        If a color is not in ``COLORS``.
    """
    split = digits(seed)
    rng = np.random.default_rng([seed, 1])
    return Shift(
        _colored(split.x_train, source, rng),
        split.y_train,
        _colored(split.x_test, source, rng),
        split.y_test,
        (3, 8, 8),
        _colored(split.x_test, target, rng),
        split.y_test,
    )


def ink(x: np.ndarray) -> np.ndarray:
    """Total ink of each 8×8 image, ``Σ_ij x_ij``.

    Parameters
    ----------
    x : array, (n, 64)
        Images.

    Returns
    -------
    array, (n,)
    """
    return x.sum(axis=1)


def slant(x: np.ndarray) -> np.ndarray:
    """Slant of each 8×8 image, ``−Σ x_ij Δi Δj / Σ x_ij Δi²``.

    ``Δi`` and ``Δj`` are row and column less the center of the ink. Upright strokes
    have 0, strokes that lean to the right are positive.

    Parameters
    ----------
    x : array, (n, 64)
        Images, none of them empty.

    Returns
    -------
    array, (n,)
    """
    pixels = x.reshape(-1, 8, 8)
    total = pixels.sum(axis=(1, 2))
    row, column = np.mgrid[:8, :8]
    di = row - ((pixels * row).sum(axis=(1, 2)) / total)[:, None, None]
    dj = column - ((pixels * column).sum(axis=(1, 2)) / total)[:, None, None]
    return -(pixels * di * dj).sum(axis=(1, 2)) / (pixels * di * di).sum(axis=(1, 2))


STYLES = {"ink": ink, "slant": slant}


def digits_by_style(seed: int, style: str = "ink", share: float = 1 / 3) -> Shift:
    """Real digits of one style to learn from, those of the opposite style to meet.

    The images are ranked by ``style``, a function of ``x`` alone: the lowest
    ``share`` of each part trains and tests, the highest of the test part is the target.
    Selection by ``x`` alone leaves ``P(y | x)`` as it was, so this is covariate shift
    with no pixel touched. "ink" hardly depends on the class; "slant" does (sevens
    lean), so the share of each class moves too.

    Parameters
    ----------
    seed : int
        Of the split into train and test.
    style : str
        A key of ``STYLES``. "ink" hardly depends on the class; "slant" does (sevens
        lean), so the share of each class moves too.
    share : float in (0, 1/2]
        Share of the images, lowest in style, that trains (two thirds) and tests (one
        third), and of those, highest in style, that are the target.

    Returns
    -------
    Shift
        Of shape (1, 8, 8).

    Raises
    ------
    ValueError
        If the style is unknown, or share outside of its interval.
    """
    _checks.one_of("style", style, STYLES)
    allowed = "numbers above 0 and at most 1/2"
    share = _checks.number("share", share, allowed, lambda v: 0 < v <= 0.5)
    split = digits(seed)

    def ends(x):
        """Rows with the lowest values of the style, and those with the highest."""
        ranked = np.argsort(STYLES[style](x), kind="stable")
        count = int(share * len(x))
        return ranked[:count], ranked[-count:]

    train, _ = ends(split.x_train)
    test, target = ends(split.x_test)
    return Shift(
        split.x_train[train],
        split.y_train[train],
        split.x_test[test],
        split.y_test[test],
        split.shape,
        split.x_test[target],
        split.y_test[target],
    )


def relabeled_digits(
    seed: int, pairs: Sequence[tuple[int, int]] = ((1, 7), (3, 5))
) -> Shift:
    """The same images under another rule: concept shift, for contrast.

    ``p(x)`` is the same, ``P(y | x)`` is not. No look at ``x`` alone can tell that
    anything happened.

    Parameters
    ----------
    seed : int
        Of the split.
    pairs : sequence of pairs of int
        Classes whose labels are exchanged in the target, each named once.

    Returns
    -------
    Shift
        Of shape (1, 8, 8); the target shows the very images of the test part.

    Raises
    ------
    ValueError
        If a pair names a class outside 0 to 9, or one twice.
    """
    named = [label for pair in pairs for label in pair]
    if len(set(named)) != len(named) or not set(named) <= set(range(10)):
        raise ValueError(
            f"pairs is {pairs}; allowed are pairs of classes 0 to 9, each named once"
        )
    rule = np.arange(10)
    for a, b in pairs:
        rule[a], rule[b] = b, a
    split = digits(seed)
    return Shift(
        split.x_train,
        split.y_train,
        split.x_test,
        split.y_test,
        split.shape,
        split.x_test,
        rule[split.y_test],
    )


SOURCE = (0.5, 0.5)  # mean and standard deviation of x where we learn
TARGET = (0.0, 0.3)  # and where we predict
NOISE = 0.3  # standard deviation of y given x


@dataclass(frozen=True)
class RegressionShift:
    """Pairs (x, y) from a source and a target density; every array is (n,)."""

    x: np.ndarray
    y: np.ndarray
    x_target: np.ndarray
    y_target: np.ndarray


def cubic(x: np.ndarray) -> np.ndarray:
    """The regression function of `cubic_shift`, ``E[y | x] = −x + x³``.

    Parameters
    ----------
    x : array
        Any shape.

    Returns
    -------
    array
        Of the shape of x.
    """
    return -x + x**3


def density_ratio(x: np.ndarray) -> np.ndarray:
    """Density ratio of `cubic_shift`, ``r(x) = p_target(x) / p_source(x)``.

    These are the weights that make the source sample an unbiased stand-in for the
    target: ``E_target[f(x)] = E_source[r(x) f(x)]``.

    Parameters
    ----------
    x : array
        Any shape.

    Returns
    -------
    array
        Of the shape of x.
    """
    (m0, s0), (m1, s1) = SOURCE, TARGET
    return s0 / s1 * np.exp(((x - m0) / s0) ** 2 / 2 - ((x - m1) / s1) ** 2 / 2)


def cubic_shift(seed: int, n: int = 100) -> RegressionShift:
    """Regression under covariate shift with a known density ratio.

    ``y = −x + x³ + N(0, 0.3²)``; ``x ~ N(0.5, 0.5²)`` in the source and
    ``N(0, 0.3²)`` in the target. A straight line fitted to the source goes wrong on the
    target; the same fit weighted by `density_ratio` does not.

    Parameters
    ----------
    seed : int
        Of the draws.
    n : int
        Pairs from the source, and as many from the target.

    Returns
    -------
    RegressionShift

    Raises
    ------
    ValueError
        If n is below 2.

    References
    ----------
    H. Shimodaira, J. Statist. Plann. Inference 90 (2000) 227–244.
    """
    n = _checks.count("n", n, least=2)
    rng = np.random.default_rng(seed)
    x, x_target = rng.normal(*SOURCE, n), rng.normal(*TARGET, n)
    y = cubic(x) + rng.normal(0, NOISE, n)
    y_target = cubic(x_target) + rng.normal(0, NOISE, n)
    return RegressionShift(x, y, x_target, y_target)


def excess_error(fit):
    r"""Squared error on the target of `cubic_shift`, beyond that of the noise.

    .. math:: \mathbb E\,(p(x) - f(x))^2

    with :math:`f` the true cubic and :math:`x` drawn from the target. The noise of the
    targets, which no fit can avoid, does not enter.

    Parameters
    ----------
    fit : array, shape (..., degree + 1)
        Coefficients of the polynomials :math:`p`, highest power first; degree at most
        4.

    Returns
    -------
    array, shape (...)
        The expectations, exact up to rounding: Gauss and Hermite's rule with 8 nodes
        integrates polynomials up to degree 15.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(8)
    mean, deviation = TARGET
    x = mean + deviation * nodes
    powers = np.vander(x, np.shape(fit)[-1])
    wrong = (np.asarray(fit) @ powers.T - cubic(x)) ** 2
    return wrong @ weights / weights.sum()
