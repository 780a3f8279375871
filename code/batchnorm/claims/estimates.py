r"""What an effect was, from one number a seed, and how sure that is.

Every estimate is a number with an interval that covers the true one in 95 % of
repetitions, or in more. No interval rests on resampling: with 20 to 59 seeds exact
ones are at hand.

- `median`: from order statistics, for effects of any distribution and on any scale.
  An effect that is known only to lie in an interval (a run that had not arrived when
  its budget ended) enters with both ends.
- `share`: of the seeds in which something holds, Clopper and Pearson's interval.
- `mean`: Student's interval, widened where seeds share images (Nadeau and Bengio).
"""

from typing import NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.95  # probability with which an interval covers, unless another is given


class Estimate(NamedTuple):
    """A number and its interval."""

    value: float
    low: float  # an end is infinite where the data leave it open
    high: float


def median(effects, level=LEVEL):
    r"""The median, with the exact interval between two order statistics.

    The interval :math:`[x_{(k)}, x_{(n+1-k)}]` misses the true median with probability
    :math:`2 P(B < k)`, :math:`B \sim \mathrm{Bin}(n, 1/2)`; k is the largest that
    keeps this below ``1 - level``. Ties and jumps only make it cover more (David and
    Nagaraja, Order Statistics, 2003, section 7.1).

    Of effects (n,), or of the ends (n, 2) between which each lies -> `Estimate`. If n
    is so small that no pair of order statistics reaches the level, the interval is the
    whole line. The value is the middle of the medians of both ends where these are
    finite, and the finite one where one is not.
    """
    low, high = np.sort(_ends(effects), axis=0).T
    n = len(low)
    k = int(stats.binom.ppf((1 - level) / 2, n, 0.5))
    # ppf is the least k with P(B ≤ k) ≥ α/2, so P(B < k) < α/2.
    ends = (low[k - 1], high[n - k]) if k else (-np.inf, np.inf)
    centers = [float(np.median(side)) for side in (low, high)]
    finite = [c for c in centers if np.isfinite(c)]
    return Estimate(float(np.mean(finite or centers[:1])), *map(float, ends))


def share(held, level=LEVEL):
    """The share of seeds in which something holds -> `Estimate`.

    ``held`` (n,) says where it does. The interval is that of Clopper and Pearson
    (Biometrika 26, 1934).
    """
    held = np.asarray(held, dtype=bool)
    test = stats.binomtest(int(held.sum()), len(held))
    interval = test.proportion_ci(level, method="exact")
    return Estimate(float(held.mean()), float(interval.low), float(interval.high))


def mean(effects, shared=0.0, level=LEVEL):
    r"""The mean, with Student's interval, widened for images that seeds share.

    .. math:: \bar x \pm t_{n-1} \, s \sqrt{\tfrac 1 n + \mathrm{shared}}

    Seeds that draw their training and test images from one pool are not independent:
    the mean of many of them still depends on the pool. The correction ``shared`` is the
    ratio of test to training images, or 0 if seeds share none (Nadeau and Bengio,
    Inference for the Generalization Error, Machine Learning 52, 2003, equation 9).

    Of effects (n,) -> `Estimate`.
    """
    effects = np.asarray(effects, dtype=np.float64)
    n = len(effects)
    center = float(effects.mean())
    if n < 2:
        return Estimate(center, -np.inf, np.inf)
    half = stats.t.ppf((1 + level) / 2, n - 1) * effects.std(ddof=1)
    half *= np.sqrt(1 / n + shared)
    return Estimate(center, center - float(half), center + float(half))


def ratio(numerator, denominator):
    """Quotient of two numbers a seed, each known or known to lie in an interval.

    Of positive numbers (n,), or their ends (n, 2), which may be infinite -> the ends
    (n, 2) between which the quotient lies: 0 and infinity if both are open.
    """
    (a_low, a_high), (b_low, b_high) = _ends(numerator).T, _ends(denominator).T
    with np.errstate(invalid="ignore"):
        low = np.where(np.isinf(b_high), 0.0, a_low / b_high)
        high = np.where(np.isinf(a_high), np.inf, a_high / b_low)
    return np.stack([low, high], axis=1)


def at_least(steps, budget):
    """Steps (n,) that may not have been enough, as intervals -> (n, 2).

    Steps to a target stand twice. Where they are infinite, for the run ended before it,
    stand the budget that was taken and infinity.
    """
    steps = np.asarray(steps, dtype=np.float64)
    arrived = np.isfinite(steps)
    return np.stack([np.where(arrived, steps, budget), steps], axis=1)


def detectable(effects, estimator, threshold, level=LEVEL, power=0.8, draws=400):
    """The least true effect that as many seeds would have found in most repetitions.

    The effects (n,) are moved and drawn again, with their own spread: the answer is the
    threshold, which is the smallest effect of interest, plus the distance beyond it at
    which their center has to lie for the whole interval to lie beyond it in the share
    ``power`` of draws. The distance is the same on both sides for symmetric effects,
    and that of the lower end is taken. The estimator is `median` or `mean`, with its
    options bound.
    """
    effects = _ends(effects).mean(axis=1)
    effects = effects[np.isfinite(effects)]
    if len(effects) < 6:
        return np.inf
    rng = np.random.default_rng(0)
    rows = rng.integers(len(effects), size=(draws, len(effects)))
    center = estimator(effects).value
    below = [center - estimator(effects[row], level=level).low for row in rows]
    return float(threshold + max(0.0, np.quantile(below, power)))


def _ends(effects):
    """Effects (n,) or (n, 2) as ends (n, 2)."""
    effects = np.asarray(effects, dtype=np.float64)
    if effects.ndim == 1:
        effects = np.stack([effects, effects], axis=1)
    if effects.ndim != 2 or effects.shape[1] != 2 or len(effects) == 0:
        raise ValueError(
            f"effects has shape {effects.shape}; allowed is (n,) or (n, 2), n ≥ 1"
        )
    if np.isnan(effects).any():
        raise ValueError(
            "effects has NaN; allowed are numbers and open ends (infinity)"
        )
    return effects
