"""Data whose distribution shifts: digits in other colors, styles and labels, a cubic.

Each has a part to learn from and a target, where the model is met. What shifts is the
inputs alone, or in `relabeled_digits` the rule. Every draw comes from
``numpy.random.default_rng``, as in `batchnorm.datasets`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from batchnorm import _checks
from batchnorm.datasets import Split, digits


@dataclass(frozen=True)
class Shift(Split):
    """A `batchnorm.datasets.Split` with a third part, the target, drawn from elsewhere.

    Parameters
    ----------
    x_target : array, (n, d)
        From the shifted distribution, where train and test share the first one.
    y_target : array, (n,)
        Its classes.
    """

    x_target: np.ndarray
    y_target: np.ndarray


# ---------------------------------------------------------------------------
# Digits

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
    train = _colored(split.x_train, source, rng), split.y_train
    test = _colored(split.x_test, source, rng), split.y_test
    return Shift(
        *train, *test, (3, 8, 8), _colored(split.x_test, target, rng), split.y_test
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

    Raises
    ------
    ValueError
        If x has one axis; it is NumPy's, and rows of any length have a sum.
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
        NaN for an image that is empty, of which NumPy warns.

    Raises
    ------
    ValueError
        If images do not have 64 pixels; it is NumPy's.
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
    with no pixel touched.

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
    return Shift(**vars(split), x_target=split.x_test, y_target=rule[split.y_test])


# ---------------------------------------------------------------------------
# A cubic

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
        If the seed is not an integer from 0 on, or n is below 2.

    References
    ----------
    H. Shimodaira, J. Statist. Plann. Inference 90 (2000) 227–244.
    """
    n = _checks.count("n", n, least=2)
    _checks.count("seed", seed, least=0)
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
