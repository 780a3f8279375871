"""The NumPy reference: against torch, finite differences, rationals, and itself."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from oracles import (
    LIMITS,
    assert_accurate,
    assert_all_same,
    assert_same,
    draw_pass,
    leaf,
    torch_gradients,
    unwritten,
)

from batchnorm import _exact, accuracy, reference
from batchnorm.gradcheck import gradcheck

SHAPES = [(60, 7), (2, 1), (5, 3, 4), (1, 2, 3), (4, 3, 5, 2), (2, 3, 2, 3, 2)]
F = torch.nn.functional


def statistics_for(shape):
    """A mean and a variance of each channel."""
    return draw_pass(shape, 1)[1], draw_pass(shape, 2)[1] ** 2


@pytest.mark.parametrize(
    "module",
    [
        *("reference", "graph", "statistics", "gradcheck", "folding", "whitening"),
        *("relatives", "renormalization"),
    ],
)
def test_imports_numpy_alone(module):
    """In a fresh process, for what this one has imported hides what the module does."""
    program = (
        "import sys; before = set(sys.modules)\n"
        f"import batchnorm.{module}\n"
        "roots = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "print(*sorted(roots - set(sys.stdlib_module_names)))"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == ["batchnorm", "numpy"]


# ------------------------------------------------------------- Against torch in float64


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("with_gamma", [True, False])
@pytest.mark.parametrize("with_beta", [True, False])
def test_training_equals_torch(shape, with_gamma, with_beta):
    x, gamma, beta, dy = draw_pass(shape)
    gamma, beta = gamma if with_gamma else None, beta if with_beta else None
    y, cache = reference.forward(x, gamma, beta, eps=0.01)
    leaves = [leaf(v) for v in (x, gamma, beta)]
    theirs = F.batch_norm(leaves[0], None, None, *leaves[1:], training=True, eps=0.01)
    assert_same(y, theirs.detach().numpy())
    gradients = torch_gradients(theirs, dy, *leaves)
    assert_all_same(reference.backward(dy, cache), gradients)
    axes = (0, *range(2, x.ndim))
    assert_same(cache.mean, x.mean(axes))
    assert_same(cache.var, x.var(axes))
    columns = (slice(None), *[None] * (x.ndim - 2))
    std = np.sqrt(cache.var[columns] + 0.01)
    assert_same(cache.x_hat, (x - cache.mean[columns]) / std)


@pytest.mark.parametrize("shape", [*SHAPES, (1, 3), (0, 3), (2, 3, 0)])
@pytest.mark.parametrize("with_gamma", [True, False])
@pytest.mark.parametrize("with_beta", [True, False])
def test_inference_equals_torch(shape, with_gamma, with_beta):
    x, gamma, beta, dy = draw_pass(shape)
    gamma, beta = gamma if with_gamma else None, beta if with_beta else None
    mean, var = statistics_for(shape)
    y = reference.inference(x, gamma, beta, mean, var, eps=0.01)
    leaves = [leaf(v) for v in (x, gamma, beta)]
    statistics = torch.tensor(mean), torch.tensor(var)
    theirs = F.batch_norm(leaves[0], *statistics, *leaves[1:], eps=0.01)
    assert_same(y, theirs.detach().numpy())
    *ours, dbeta = reference.inference_backward(dy, x, gamma, mean, var, eps=0.01)
    *gradients, theirs = torch_gradients(theirs, dy, *leaves)
    assert_all_same(ours, gradients)
    assert_same(dbeta, theirs if with_beta else dy.sum((0, *range(2, x.ndim))))


@pytest.mark.parametrize("shape", [(6, 3), (3, 2, 2, 2)])
def test_gradients_equal_finite_differences(shape):
    x, gamma, beta, dy = draw_pass(shape)
    statistics = statistics_for(shape)
    _, cache = reference.forward(x, gamma, beta)
    training = reference.backward(dy, cache)
    inference = reference.inference_backward(dy, x, gamma, *statistics)
    for function, gradients in (
        (lambda *given: reference.forward(*given)[0], training),
        (lambda *given: reference.inference(*given, *statistics), inference),
    ):
        errors = gradcheck(function, (x, gamma, beta), dy, gradients)
        assert max(error.relative for error in errors) < 1e-8


# ----------------------------------------------------------------- The steps one by one


@pytest.mark.parametrize("shape", SHAPES)
def test_equations_compose_to_forward(shape):
    x, gamma, beta, _ = draw_pass(shape)
    mean = reference.batch_mean(x)
    var = reference.batch_variance(x, mean)
    x_hat = reference.normalize(x, mean, var)
    y, cache = reference.forward(x, gamma, beta)
    assert_array_equal(mean, cache.mean)
    assert_same(var, cache.var, rtol=1e-14, atol=0)
    assert_same(reference.scale_and_shift(x_hat, gamma, beta), y)
    assert_same(reference.scale_and_shift(x_hat, None, None), cache.x_hat)


def test_variance_does_not_hang_on_the_rounding_of_the_mean():
    x = 1e8 + 1e-3 * np.random.default_rng(0).standard_normal((50, 3))
    mean = reference.batch_mean(x)
    var = reference.batch_variance(x, mean)
    assert_same(reference.batch_variance(x, mean + 1e-7), var, rtol=1e-14, atol=0)
    assert_same(reference.batch_variance(x, mean + 1e3), var, rtol=1e-14, atol=0)
    for elsewhere in (0 * mean, mean * np.inf, mean * np.nan):
        assert_same(reference.batch_variance(x, elsewhere), var, rtol=1e-14, atol=0)


# ------------------------------------- Accuracy: within 8 unit roundoffs, 32 in float64

OURS = {"ours": accuracy.ours}


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("make_input", accuracy.INPUTS)
def test_accuracy(make_input, dtype):
    for seed in (1, 2):
        row = accuracy.measure(make_input, dtype, seed=seed, implementations=OURS)
        assert_accurate(row, dtype)


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize(
    "make_input", [accuracy.steps_of_an_ulp, accuracy.near_overflow, accuracy.constant]
)
def test_accuracy_of_feature_maps(make_input, dtype):
    def feature_maps(x, gamma, beta, dy):
        maps = [v.reshape(4, -1, 5, v.shape[1]).transpose(0, 3, 1, 2) for v in (x, dy)]
        results = accuracy.ours(maps[0], gamma, beta, maps[1])
        return [v.transpose(0, 2, 3, 1).reshape(x.shape) for v in results]

    def make_maps(rng, dtype):
        return [v[:60] for v in make_input(rng, dtype)]

    ours = {"ours": feature_maps}
    row = accuracy.measure(make_maps, dtype, draws=1, implementations=ours)
    assert_accurate(row, dtype)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(2, 40),
    st.sampled_from(list(LIMITS)),
    st.floats(-1, 1),
    st.floats(-8, 1),
)
def test_accuracy_of_any_mean_and_spread(seed, m, dtype, mean, log_spread):
    """Means of any size the dtype holds, spreads from 1e-8 to 10 of the mean."""

    def make_input(rng, dtype):
        largest = 0.5 * float(np.finfo(dtype).max)
        size = 10.0 ** (np.log10(largest) * mean)
        x = size * (1 + 10.0**log_spread * rng.uniform(-0.1, 0.1, (m, 2)))
        return x.astype(dtype), rng.standard_normal((m, 2)).astype(dtype)

    row = accuracy.measure(make_input, dtype, seed=seed, draws=1, implementations=OURS)
    assert_accurate(row, dtype)


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 3])
def test_nan_and_infinity_stay_in_their_channel(dtype, poison, row):
    x, gamma, beta, dy = draw_pass((40, 3), dtype=dtype)
    y, cache = reference.forward(x, gamma, beta)
    dx, dgamma, dbeta = reference.backward(dy, cache)
    bad = x.copy()
    bad[row, 1] = poison
    bad_y, bad_cache = reference.forward(bad, gamma, beta)
    bad_dx, bad_dgamma, bad_dbeta = reference.backward(dy, bad_cache)
    others = [0, 2]
    roundoffs = 16 * np.finfo(dtype).eps
    assert np.isnan(bad_y[:, 1]).all()
    assert np.isnan(bad_dx[:, 1]).all()
    assert np.isnan(bad_dgamma[1])
    assert_allclose(bad_y[:, others], y[:, others], rtol=0, atol=10 * roundoffs)
    assert_allclose(bad_dx[:, others], dx[:, others], rtol=0, atol=30 * roundoffs)
    assert_allclose(bad_dgamma[others], dgamma[others], rtol=roundoffs)
    assert_allclose(bad_dbeta, dbeta, rtol=roundoffs)
    assert_array_equal(np.isfinite(bad_cache.var), [True, False, True])

    bad_y = reference.inference(bad, gamma, beta, cache.mean, cache.var)
    assert_array_equal(np.isfinite(bad_y), np.isfinite(bad))


def test_statistics_near_the_ends_of_the_range():
    x = np.array([[1.5e308, 1e308, 1e-323], [1.7e308, -1e308, 2e-323]])
    y, cache = reference.forward(x, None, None)
    assert_allclose(cache.mean, [1.6e308, 0, 1.5e-323])
    assert_array_equal(cache.var, [np.inf, np.inf, 0])
    assert_allclose(y[:, :2], [[-1, 1], [1, -1]])
    assert_allclose(y[:, 2], np.array([-1, 1]) / np.sqrt(1e-5) * 5e-324)


def test_inference_near_the_ends_of_the_range():
    x = np.array([[1.7e308, 3e-320], [-1.7e308, -3e-320]])
    mean, var = np.array([-1.7e308, 0.0]), np.array([1e308, 0.0])
    y = reference.inference(x, None, None, mean, var)
    tiny = 3e-320 / np.sqrt(1e-5)
    assert_allclose(y, [[3.4e154, tiny], [0, -tiny]])


def test_inference_keeps_a_mean_finer_than_the_input():
    x = np.full((2, 2), 1e8, np.float32)
    mean, var = np.array([1e8 + 0.25, 1e39]), np.array([1.0, 1e78])
    y = reference.inference(x, None, None, mean, var)
    assert_allclose(y, [[-0.25, -1], [-0.25, -1]], rtol=1e-5)


def test_a_nan_variance_is_no_refusal():
    x, gamma, beta, _ = draw_pass((4, 3))
    var = np.array([1.0, np.nan, 1.0])
    y = reference.inference(x, gamma, beta, beta, var)
    assert_array_equal(np.isnan(y).any(axis=0), [False, True, False])


# -------------------------------------------------------- Dtypes, memory layouts, sizes


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("parameter", [np.float16, np.float32, np.float64, np.int64])
def test_dtypes_are_kept(dtype, parameter):
    x, gamma, beta, dy = draw_pass((6, 3, 2), dtype=dtype)
    gamma, beta = gamma.astype(parameter), beta.astype(parameter)
    kept = np.float64 if parameter == np.int64 else parameter
    y, cache = reference.forward(x, gamma, beta)
    gradients = reference.backward(dy, cache)
    assert [a.dtype for a in (y, *gradients)] == [dtype, dtype, kept, kept]
    assert cache.mean.dtype == cache.var.dtype == np.float64
    y = reference.inference(x, gamma, beta, gamma, gamma**2)
    gradients = reference.inference_backward(dy, x, gamma, gamma, gamma**2)
    assert [a.dtype for a in (y, *gradients)] == [dtype, dtype, kept, kept]
    assert reference.normalize(x, gamma, gamma**2).dtype == dtype
    assert reference.scale_and_shift(x, gamma, beta).dtype == dtype


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.bool_, ">f4", list])
def test_other_numbers_are_promoted(dtype):
    x = np.arange(12).reshape(6, 2) % 5
    expected, _ = reference.forward(x.astype(np.float64), None, None)
    given = x.tolist() if dtype is list else x.astype(dtype)
    if dtype == np.bool_:
        expected, _ = reference.forward((x != 0).astype(np.float64), None, None)
    y, _ = reference.forward(given, None, None)
    assert y.dtype == (np.float32 if dtype == ">f4" else np.float64)
    assert_allclose(y, expected, rtol=1e-6)


def layouts(x):
    """The same values in other memory layouts."""
    yield np.asfortranarray(x)
    yield x[::-1][::-1]
    yield np.repeat(x, 2, axis=0)[::2]
    yield np.repeat(x, 3, axis=-1)[..., ::3]
    yield np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    yield np.flip(np.ascontiguousarray(np.flip(x)))


@pytest.mark.parametrize("shape", [(12, 3), (4, 3, 5), (3, 4, 2, 5)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_strides(shape, dtype):
    x, gamma, beta, dy = draw_pass(shape, dtype=dtype)
    y, cache = reference.forward(x, gamma, beta)
    dx, *_ = reference.backward(dy, cache)
    for other_x, other_dy in zip(layouts(x), layouts(dy), strict=True):
        assert_array_equal(other_x, x)
        other_y, other_cache = reference.forward(other_x, gamma, beta)
        assert_array_equal(other_y, y)
        assert_array_equal(reference.backward(other_dy, other_cache)[0], dx)


def test_overlapping_strides():
    x = np.broadcast_to(np.arange(6.0)[:, None, None], (6, 2, 3))
    y, cache = reference.forward(x, None, None)
    assert_array_equal(y, reference.forward(x.copy(), None, None)[0])
    dx, *_ = reference.backward(np.broadcast_to(1.0, x.shape), cache)
    assert_allclose(dx, 0, atol=1e-15)


@pytest.mark.parametrize("shape", [(6, 3), (2, 3, 4)])
def test_inputs_are_never_written_to(shape):
    x, gamma, beta, dy = draw_pass(shape)
    mean, var = statistics_for(shape)
    with unwritten(x, gamma, beta, dy, mean, var) as results:
        y, cache = reference.forward(x, gamma, beta)
        results += [y, *reference.backward(dy, cache), cache.mean, cache.var]
        results += [reference.inference(x, gamma, beta, mean, var)]
        results += reference.inference_backward(dy, x, gamma, mean, var)
        results += [reference.normalize(x, mean, var)]
        results += [reference.scale_and_shift(x, gamma, beta)]


@pytest.mark.parametrize("shape", [(700, 5), (3, 40, 6), (70, 3, 7), (2, 3, 1000)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tiles_do_not_show(shape, dtype, monkeypatch):
    x, gamma, beta, dy = draw_pass(shape, dtype=dtype)

    def results():
        y, cache = reference.forward(x, gamma, beta)
        return [y, *reference.backward(dy, cache), cache.mean, cache.var]

    whole = results()
    for row, tile in ((1, 1), (8, 64), (100, 1000), (10**9, 10**9)):
        monkeypatch.setattr(_exact, "ROW", row)
        monkeypatch.setattr(_exact, "TILE", tile)
        for a, b in zip(results(), whole, strict=True):
            assert_allclose(a, b, rtol=0, atol=1e3 * np.finfo(a.dtype).eps)


def test_long_sums_keep_their_accuracy():
    """A million values, where rounding all one way could add up."""
    x = np.where(np.arange(2**20) % 2, 0.1, -0.1)[:, None] + np.array([[0.0, 1e6]])
    _, cache = reference.forward(x, None, None)
    for channel in range(2):
        low, high = np.unique(x[:, channel])
        assert_allclose(cache.var[channel], ((high - low) / 2) ** 2, rtol=16 * 2**-53)
