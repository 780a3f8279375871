"""Claims about the arithmetic: what a variance loses in single precision."""

import math

import numpy as np
from scipy import stats

from batchnorm.claims.registry import identity, prediction

TESTS = "tests/unit/test_identities_transform.py::"

# ---------------------------------------------------------------------------
# Summed from the first value to the last

identity(
    "variance-error-bounds",
    "To leading order, the relative error of a variance of m values is at most m u κ² "
    "in one pass, m u κ by Welford and m u + m² u² κ² in two passes, where "
    "κ² = 1 + μ²/σ² and u is the unit roundoff.",
    source="chan1983algorithms, pages 242-247",
    test=TESTS + "test_errors_of_a_variance_stay_within_their_bounds",
)


@prediction(
    "rms error of the one-pass variance",
    over="mean",
    tolerance=0.1,
    source="chan1983algorithms, pages 242-247",
    setting={"mean": (10.0, 100.0, 1e3, 1e4), "samples": 1000, "draws": 200},
)
def one_pass_variance(seeds, *, mean, samples, draws):
    """In single precision, summed one value after the other, E[x²] − E[x]² of values
    with variance 1 is off by the sum of its roundings, as if they were random: by all
    of the variance for 1000 values with mean 1000."""
    predicted = [_spread(mu, samples) for mu in mean]
    measured = [
        [np.sqrt(np.mean(_errors(seed, mu, samples, draws) ** 2)) for mu in mean]
        for seed in seeds
    ]
    return np.array(predicted), np.array(measured)


@prediction(
    "share of negative variances",
    over="mean",
    tolerance=0.05,
    source="chan1983algorithms, pages 242-247",
    setting={"mean": (1.5e3, 2e3, 4e3, 1e4), "samples": 1000, "draws": 500},
)
def one_pass_variance_negative(seeds, *, mean, samples, draws):
    """In single precision E[x²] − E[x]² is negative where its roundings sum to less
    than minus the variance and half the distance of neighbors at the squared mean, of
    which it is a multiple: with variance 1 and mean 10 000 in nearly half of all
    samples of 1000 values; the square root is then NaN."""
    predicted = [_negative_share(mu, samples) for mu in mean]
    measured = [
        [np.mean(_errors(seed, mu, samples, draws) < -1) for mu in mean]
        for seed in seeds
    ]
    return np.array(predicted), np.array(measured)


def _negative_share(mean, samples):
    """Share of samples of variance 1 whose one-pass variance is at most one ulp below
    zero: it was rounded to a multiple of the ulp, so half of one is enough."""
    ulp = float(np.spacing(np.float32(mean**2)))
    return stats.norm.cdf(-(1 + ulp / 2) / _spread(mean, samples))


def _spread(mean, samples):
    """Standard deviation of the error of a one-pass variance, of roundings at random.

    Each rounding at a number with spacing δ has variance δ² / 12. The sums of x² and of
    x pass the multiples of the squared mean and of the mean; the error of the second
    counts 2 μ times.
    """

    def of_sum(step):
        at = (step * np.arange(1, samples + 1)).astype(np.float32)
        return np.sqrt(np.sum(np.spacing(at).astype(np.float64) ** 2) / 12)

    return np.hypot(of_sum(mean**2), 2 * mean * of_sum(mean)) / samples


def _errors(seed, mean, samples, draws):
    """Error of the one-pass variance of float32 samples, over the true one: (draws,).

    The sums run in float32 from the first value to the last: np.sum's order, and
    so its rounding, depends on the processor.
    """
    x = np.random.default_rng(seed).normal(mean, 1, (draws, samples))
    x = x.astype(np.float32)

    def average(values):
        return np.add.accumulate(values, axis=-1)[..., -1] / np.float32(samples)

    one_pass = average(x * x) - average(x) ** 2
    return one_pass / x.astype(np.float64).var(axis=-1) - 1


# ---------------------------------------------------------------------------
# Summed in pairs


@prediction(
    "rms error of the one-pass variance, summed in pairs",
    over="mean",
    tolerance=0.1,
    question="Do better sums save the one-pass variance?",
    source="chan1983algorithms, pages 242-247",
    setting={"mean": (10.0, 100.0, 1e3, 1e4), "samples": 1024, "draws": 200},
)
def one_pass_variance_in_pairs(seeds, *, mean, samples, draws):
    """They save a factor and not the method: summed in pairs in single precision,
    E[x²] − E[x]² is off by about the distance of neighboring numbers at the squared
    mean, however many values there are."""
    predicted = [_spread_in_pairs(mu) for mu in mean]
    measured = [
        [np.sqrt(np.mean(_errors_in_pairs(s, mu, samples, draws) ** 2)) for mu in mean]
        for s in seeds
    ]
    return np.array(predicted), np.array(measured)


def _spread_in_pairs(mean):
    """Standard deviation of that error, of roundings at random.

    Two numbers of one size add up to one of the next, which is rounded if it is odd,
    and then to an even one. So a share p of the sums is rounded, by half the distance
    of neighbors, where p = (1 − p²) / 2. Over all levels their variances add up to
    twice that of the last sum.
    """
    rounded = math.sqrt(2) - 1
    of_square, of_mean = (float(np.spacing(np.float32(a))) for a in (mean**2, mean))
    sums = rounded / 2 * (of_square**2 + (2 * mean * of_mean) ** 2)
    return math.sqrt(sums + of_square**2 / 12)  # and the square of the mean is rounded


def _errors_in_pairs(seed, mean, samples, draws):
    """As `_errors`, with sums of halves, of quarters, and so on."""
    x = np.random.default_rng(seed).normal(mean, 1, (draws, samples))
    x = x.astype(np.float32)

    def average(values):
        while values.shape[-1] > 1:
            half = values.shape[-1] // 2
            values = values[..., :half] + values[..., half:]
        return values[..., 0] / np.float32(samples)

    one_pass = average(x * x) - average(x) ** 2
    return one_pass / x.astype(np.float64).var(axis=-1) - 1
