"""Estimates and their intervals: published values, and coverage by simulation."""

import numpy as np
import pytest
from scipy import stats

from batchnorm.claims import estimates

REPEATS = 3000


@pytest.mark.parametrize(
    ("n", "first", "last"),
    # Ranks of the 95 % interval of a median, as tabled in Conover, Practical
    # Nonparametric Statistics (1999), from the binomial distribution.
    [(6, 1, 6), (8, 1, 8), (9, 2, 8), (20, 6, 15), (59, 22, 38), (100, 40, 61)],
)
def test_median_takes_the_tabled_ranks(n, first, last):
    effects = np.random.default_rng(n).permutation(np.arange(1.0, n + 1))
    assert estimates.median(effects)[1:] == (first, last)


def test_median_of_too_few_says_nothing():
    assert estimates.median([1.0, 2.0, 3.0, 4.0, 5.0])[1:] == (-np.inf, np.inf)


EFFECTS = {  # a draw of n effects, and their true median
    "normal": (lambda rng, shape: rng.normal(1, 2, shape), 1.0),
    "lognormal": (lambda rng, shape: rng.lognormal(0, 1.5, shape), 1.0),
    "zero-inflated": (
        lambda rng, shape: rng.normal(2, 1, shape) * (rng.random(shape) < 0.4),
        0.0,
    ),
}


@pytest.mark.parametrize("n", [20, 59])
@pytest.mark.parametrize("name", EFFECTS)
def test_median_covers_at_its_level(name, n):
    draw, truth = EFFECTS[name]
    effects = draw(np.random.default_rng(n), (REPEATS, n))
    intervals = np.array([estimates.median(row)[1:] for row in effects])
    covered = np.mean((intervals[:, 0] <= truth) & (truth <= intervals[:, 1]))
    assert covered >= 0.94


@pytest.mark.parametrize("n", [20, 59])
def test_no_effect_is_seldom_found(n):
    """At most 5 % of experiments with a true null have an interval beyond it."""
    effects = np.random.default_rng(n).standard_t(3, (REPEATS, n))
    assert np.mean([estimates.median(row).low > 0 for row in effects]) <= 0.05
    assert np.mean([estimates.mean(row).low > 0 for row in effects]) <= 0.05


def test_median_admits_runs_that_did_not_arrive():
    steps = np.array([10.0, 20, 30, 40, 50, 60, 70, np.inf, np.inf])
    low, high = estimates.median(estimates.at_least(steps, 100))[1:]
    assert (low, high) == (20, np.inf)
    never = estimates.at_least(np.full(9, np.inf), 100)
    assert estimates.median(never) == (100, 100, np.inf)


def test_ratio_of_runs_is_open_where_either_is():
    budget = 100
    slow = estimates.at_least([50.0, np.inf, 50.0, np.inf], budget)
    fast = estimates.at_least([10.0, 10.0, np.inf, np.inf], budget)
    expected = [[5, 5], [10, np.inf], [0, 0.5], [0, np.inf]]
    np.testing.assert_array_equal(estimates.ratio(slow, fast), expected)


@pytest.mark.parametrize(
    ("held", "n", "low", "high"),
    # Clopper and Pearson in closed form at the ends, and from R's binom.test.
    [
        (0, 20, 0, 1 - 0.025 ** (1 / 20)),
        (59, 59, 0.025 ** (1 / 59), 1),
        (7, 20, 0.1539, 0.5922),
    ],
)
def test_share_is_clopper_and_pearsons(held, n, low, high):
    estimate = estimates.share([True] * held + [False] * (n - held))
    assert estimate[1:] == pytest.approx((low, high), abs=5e-5)
    assert estimate.value == held / n


def test_mean_is_students_where_seeds_share_nothing():
    effects = np.random.default_rng(0).normal(size=20)
    low, high = stats.t.interval(0.95, 19, effects.mean(), stats.sem(effects))
    assert estimates.mean(effects) == pytest.approx((effects.mean(), low, high))


def test_mean_covers_where_seeds_draw_from_one_pool():
    """Of a pool of noisy images, each seed tests on a part and trains on the rest.

    What is estimated is the mean over all pools, so the naive interval of many seeds
    on one pool misses it, and the widened one does not.
    """
    rng, pool, tested, seeds = np.random.default_rng(0), 100, 25, 30
    naive, wide = [], []
    for _ in range(400):
        images = rng.normal(size=pool)
        parts = [images[rng.permutation(pool)[:tested]] for _ in range(seeds)]
        effects = np.mean(parts, axis=1)
        naive.append(estimates.mean(effects))
        wide.append(estimates.mean(effects, tested / (pool - tested)))
    assert np.mean([one.low <= 0 <= one.high for one in naive]) < 0.85
    assert np.mean([one.low <= 0 <= one.high for one in wide]) >= 0.94


def test_what_could_have_been_found_is_found():
    """An effect of the detectable size is found in about four of five repetitions."""
    rng = np.random.default_rng(1)
    drawn = rng.normal(size=(20, 59))
    sizes = [estimates.detectable(row, estimates.median, 0.5) for row in drawn]
    draws = rng.normal(np.median(sizes), 1, (500, 59))
    found = np.mean([estimates.median(row).low > 0.5 for row in draws])
    assert 0.65 < found < 0.95


@pytest.mark.parametrize(
    ("effects", "message"),
    [([], "shape"), ([[1, 2, 3]], "shape"), ([1.0, np.nan], "NaN")],
    ids=["none", "three ends", "nan"],
)
def test_median_refuses(effects, message):
    with pytest.raises(ValueError, match=message):
        estimates.median(effects)
