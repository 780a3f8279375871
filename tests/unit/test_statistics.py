"""Running and population statistics: against rationals and torch's buffers."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from oracles import TORCH

from batchnorm.statistics import (
    RunningStatistics,
    batch_statistics,
    merge,
    population_statistics,
)

ROUNDOFF = 2.0**-53


def exact(values):
    """Mean and biased variance of finite floats, as fractions."""
    values = [Fraction(float(v)) for v in values]
    mean = sum(values) / len(values)
    return mean, sum((v - mean) ** 2 for v in values) / len(values)


def roundoffs(value, truth):
    """Relative error in unit roundoffs; absolute where the truth is 0."""
    difference = abs(Fraction(float(value)) - truth)
    return float(difference / (abs(truth) or 1)) / ROUNDOFF


def assert_roundoffs(mean, var, values, most):
    """The statistics of values (m, 3), the mean within ``most``, the variance in 32."""
    for channel in range(3):
        true_mean, true_var = exact(values[:, channel])
        assert roundoffs(mean[channel], true_mean) <= most
        assert roundoffs(var[channel], true_var) <= 32


def exact_merge(shards):
    """Statistics of the union, from the given statistics taken as exact."""
    shards = [(Fraction(float(m)), Fraction(float(v)), n) for m, v, n in shards if n]
    total = sum(n for _, _, n in shards)
    mean = sum(n * m for m, _, n in shards) / total
    return mean, sum(n * (v + (m - mean) ** 2) for m, v, n in shards) / total


def batches_of(sizes, spread=1.0, offset=0.0, pixels=(), seed=0):
    rng = np.random.default_rng(seed)
    return [offset + spread * rng.standard_normal((size, 3, *pixels)) for size in sizes]


# ------------------------------------------------------------------- Running statistics


@pytest.mark.parametrize("momentum", [0.1, 0.0, 1.0, 0.37, None])
@pytest.mark.parametrize("pixels", [(), (5,), (2, 3)])
def test_running_statistics_equal_torchs_buffers(momentum, pixels):
    module = TORCH[2 + len(pixels)](3, momentum=momentum, dtype=torch.float64)
    ours = RunningStatistics(3, momentum=momentum)
    assert_array_equal(ours.mean, module.running_mean)
    assert_array_equal(ours.var, module.running_var)
    for x in batches_of([4, 7, 2, 11], offset=5.0, pixels=pixels):
        ours.update(x)
        module(torch.tensor(x))
        assert_allclose(ours.mean, module.running_mean, rtol=1e-13)
        assert_allclose(ours.var, module.running_var, rtol=1e-13)
    assert ours.num_batches == module.num_batches_tracked


def test_momentum_is_the_weight_of_the_new_batch():
    batch = np.array([[0.0], [4.0]])  # mean 2, unbiased variance 8
    ours = RunningStatistics(1, momentum=0.25)
    ours.update(batch)
    assert (ours.mean[0], ours.var[0]) == (0.5, 0.75 + 2)


def test_without_momentum_the_average_over_batches():
    batches = batches_of([3, 30, 5])
    ours = RunningStatistics(3, momentum=None)
    for x in batches:
        ours.update(x)
    mean, var = np.mean([(x.mean(0), x.var(0, ddof=1)) for x in batches], 0)
    assert_allclose(ours.mean, mean, rtol=1e-13)
    assert_allclose(ours.var, var, rtol=1e-13)


def test_update_leaves_earlier_results_and_inputs_alone():
    ours = RunningStatistics(3)
    before, kept = ours.mean, ours.mean.copy()
    (x,) = batches_of([5])
    copy = x.copy()
    ours.update(x)
    assert_array_equal(before, kept)
    assert_array_equal(x, copy)
    assert not np.array_equal(ours.mean, before)


# ---------------------------------------------------------------- Population statistics


@pytest.mark.parametrize("offset", [0.0, 1e8, -1e15])
@pytest.mark.parametrize("pixels", [(), (4,), (2, 3)])
def test_population_statistics_are_exact(offset, pixels):
    batches = batches_of([5, 1, 16, 2, 1, 7], 0.5, offset, pixels)
    mean, var = population_statistics(iter(batches))
    for channel in range(3):
        values = np.concatenate([x[:, channel].ravel() for x in batches])
        true_mean, true_var = exact(values)
        scale = abs(true_mean) + Fraction(float(np.std(values)))
        assert roundoffs(mean[channel], true_mean) <= 2 * scale / abs(true_mean)
        assert roundoffs(var[channel], true_var) <= 32


def test_population_statistics_of_drifting_batches():
    """Batches whose means lie a million standard deviations apart."""
    batches = [10.0**k + 1e-3 * x for k, x in enumerate(batches_of([6, 1, 9, 4]))]
    mean, var = population_statistics(batches)
    assert_roundoffs(mean, var, np.concatenate(batches), 8)


def test_population_statistics_of_many_batches():
    values = batches_of([3000], 1e-3, 1e6)[0]
    mean, var = population_statistics(values[i : i + 1] for i in range(3000))
    assert_roundoffs(mean, var, values, 2)


@pytest.mark.parametrize(
    "cuts",
    [[30], [1, 2, 3], [20, 20, 59], list(range(60))],
    ids=["halves", "short first", "an empty one", "single samples"],
)
def test_population_statistics_do_not_hang_on_the_batches(cuts):
    (x,) = batches_of([60], offset=3.0)
    mean, var = population_statistics([x])
    other_mean, other_var = population_statistics(np.split(x, cuts))
    assert_allclose(other_mean, mean, rtol=1e-14)
    assert_allclose(other_var, var, rtol=1e-14)


@pytest.mark.parametrize(
    ("batches", "mean"),
    [
        ([np.array([[0.1, 1e300]])], [0.1, 1e300]),
        ([np.full((7, 2), 0.1), np.full((5, 2), 0.1)], [0.1, 0.1]),
    ],
    ids=["one sample", "constants"],
)
def test_population_statistics_of_what_does_not_vary(batches, mean):
    assert_array_equal(population_statistics(batches), [mean, [0, 0]])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int32])
def test_population_statistics_of_other_dtypes(dtype):
    batches = [x.astype(dtype) for x in batches_of([9, 1, 6], 50.0, 100.0)]
    mean, var = population_statistics(batches)
    values = np.concatenate(batches).astype(np.float64)
    assert mean.dtype == var.dtype == np.float64
    assert_allclose(mean, values.mean(0), rtol=1e-13)
    assert_allclose(var, values.var(0), rtol=1e-13)


@pytest.mark.parametrize("at", [0, 1], ids=["first batch", "second batch"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_channel(bad, at):
    batches = batches_of([4, 4])
    clean = population_statistics(batches)
    poisoned = [x.copy() for x in batches]
    poisoned[at][0, 1] = bad
    for ours, theirs in zip(population_statistics(poisoned), clean, strict=True):
        assert not np.isfinite(ours[1])
        assert_allclose(ours[[0, 2]], theirs[[0, 2]], rtol=1e-13)


# ------------------------------------------------------------------------------ Merging


def test_a_shard_is_what_batch_statistics_returns():
    (x,) = batches_of([8], pixels=(2,))
    mean, var, count = batch_statistics(x)
    assert_allclose(mean, x.mean((0, 2)), rtol=1e-13)
    assert_allclose(var, x.var((0, 2)), rtol=1e-13)
    assert count == 16
    assert_array_equal(merge([(mean, var, count)])[:2], [mean, var])


@given(
    st.lists(
        st.tuples(
            st.floats(-1, 1).map(lambda m: m * 2.0**40),
            st.floats(0, 1).map(lambda v: v * 2.0**20),
            st.integers(0, 10**9),
        ),
        min_size=1,
        max_size=12,
    ).filter(lambda shards: any(n for *_, n in shards)),
    st.sampled_from([0.0, 1e12, -1e20]),
)
def test_merge_is_exact(shards, offset):
    shards = [(mean + offset, var, n) for mean, var, n in shards]
    mean, var, count = merge(
        (np.array([mean]), np.array([var]), n) for mean, var, n in shards
    )
    true_mean, true_var = exact_merge(shards)
    assert count == sum(n for *_, n in shards)
    largest = max(abs(Fraction(m)) for m, _, n in shards if n) or Fraction(1)
    assert abs(Fraction(mean[0]) - true_mean) <= 8 * Fraction(ROUNDOFF) * largest
    allowed = 24 * Fraction(ROUNDOFF) * true_var
    allowed += Fraction(2.0**-1060)  # squares of denormal numbers
    assert abs(Fraction(var[0]) - true_var) <= allowed


def test_merge_of_shards_with_empty_ones_and_ones_of_one():
    (x,) = batches_of([10], offset=1e9)
    shards = [batch_statistics(x[:7])]
    shards += [(row, np.zeros(3), 1) for row in x[7:]]
    empty = np.full(3, np.nan)
    shards = [(empty, empty, 0), *shards[:2], (None, None, 0), *shards[2:]]
    mean, var, count = merge(iter(shards))
    assert count == 10
    for channel in range(3):
        true_mean, _ = exact(x[:, channel])
        assert roundoffs(mean[channel], true_mean) <= 2
    assert_allclose(var, x.var(0), rtol=1e-6)  # the shard's mean is itself rounded


def test_merge_keeps_what_the_difference_of_squares_loses():
    shards = [(np.array([1e9]), np.array([1.0]), 5), (np.array([1e9]), np.zeros(1), 5)]
    mean, var, _ = merge(shards)
    assert (mean[0], var[0]) == (1e9, 0.5)
    naive = sum(v + m**2 for m, v, _ in shards) / 2 - mean**2
    assert naive[0] == 0


REGROUPED = {
    "reversed": lambda shards: shards[::-1],
    "in pairs": lambda shards: [merge(shards[:2]), merge(shards[2:])],
    "nested": lambda shards: [merge([merge(shards[:1]), shards[3]]), *shards[1:3]],
}


@pytest.mark.parametrize("way", REGROUPED)
def test_merge_in_any_order_and_grouping(way):
    shards = [batch_statistics(x) for x in batches_of([4, 9, 2, 30], offset=7.0)]
    regrouped = merge(REGROUPED[way](shards))
    for ours, theirs in zip(regrouped, merge(shards), strict=True):
        assert_allclose(ours, theirs, rtol=1e-14)


# ----------------------------------------------------------------------------- Refusals

X = batches_of([4])[0]
ZERO, ONE = np.zeros(3), np.ones(3)


@pytest.mark.parametrize("bad", [-0.1, 1.1, np.nan, np.inf, "0.1", True, 1j, [0.1]])
def test_refused_momentum(bad):
    with pytest.raises(ValueError, match=r"^momentum .* allowed"):
        RunningStatistics(3, momentum=bad)


@pytest.mark.parametrize("bad", [0, -1, 3.0, None, True, "3", np.nan])
def test_refused_num_features(bad):
    with pytest.raises(ValueError, match=r"^num_features .* allowed"):
        RunningStatistics(bad)


@pytest.mark.parametrize(
    "bad",
    [X[:1], X[:0], X[:, 0], X[:, :2], X + 1j, X.astype(object), 1.0],
    ids=["one value", "empty", "1-d", "2 channels", "complex", "object", "number"],
)
def test_refused_update(bad):
    ours = RunningStatistics(3)
    with pytest.raises(ValueError, match=r"^x "):
        ours.update(bad)
    assert ours.num_batches == 0
    assert_array_equal([ours.mean, ours.var], [ZERO, ONE])


@pytest.mark.parametrize(
    "bad",
    [[], [X[:0]], [X, X[:, :2]], [X[:, 0]], [X + 1j], [X, X.astype(object)], None, 3],
    ids=["none", "empty", "channels", "1-d", "complex", "object", "None", "number"],
)
def test_refused_batches(bad):
    with pytest.raises(ValueError, match=r"^batches "):
        population_statistics(bad)


BAD_SHARDS = {
    "no shard": ([], "shards"),
    "no value": ([(ZERO, ONE, 0)], "shards"),
    "other mean": ([(ZERO, ONE, 2), (ZERO[:2], ONE, 2)], "mean"),
    "other variance": ([(ZERO, ONE, 2), (ZERO, ONE[:2], 2)], "var"),
    "2-d mean": ([(ZERO[:, None], ONE, 2)], "mean"),
    "number as mean": ([(0.0, 1.0, 2)], "mean"),
    "negative variance": ([(ZERO, -ONE, 2)], "var"),
    "complex variance": ([(ZERO, ONE + 1j, 2)], "var"),
    "negative count": ([(ZERO, ONE, -1)], "count"),
    "float count": ([(ZERO, ONE, 2.0)], "count"),
    "bool count": ([(ZERO, ONE, True)], "count"),
    "no count": ([(ZERO, ONE)], "shards"),
    "no tuple": ([None], "shards"),
    "a number": (3, "shards"),
    "None": (None, "shards"),
}


@pytest.mark.parametrize("case", BAD_SHARDS)
def test_refused_shards(case):
    bad, name = BAD_SHARDS[case]
    with pytest.raises(ValueError, match=f"^{name} "):
        merge(bad)
