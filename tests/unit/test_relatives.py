"""The relatives: against torch, finite differences, rationals, and each other."""

import math

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
    draw,
    leaf,
    torch_gradients,
    unwritten,
)

from batchnorm import accuracy, accuracy_relatives, reference, relatives
from batchnorm.exercises import tasks
from batchnorm.gradcheck import gradcheck

F = torch.nn.functional
each_dtype = pytest.mark.parametrize("dtype", LIMITS, ids=lambda d: d.__name__)


class Case:
    """A relative: ours, torch's, and the shape of its parameters for one of x."""

    def __init__(self, ours, theirs, features, shift=True):
        self.ours, self.theirs, self.features = ours, theirs, features
        self.shift = shift

    def __call__(self, x, gamma, beta, eps=0.01):
        return self.ours(x, gamma, *([beta] if self.shift else []), eps=eps)

    def torch(self, x, gamma, beta, eps=0.01):
        return self.theirs(x, gamma, *([beta] if self.shift else []), eps)


def channel(shape):
    return shape[1:2]


def group(groups):
    def by_torch(x, gamma, beta, eps):
        if gamma is None:  # with a shift alone, torch's backward pass fails
            gamma = torch.ones(x.shape[1], dtype=x.dtype)
        return F.group_norm(x, groups, gamma, beta, eps)

    return Case(
        lambda x, *affine, eps: relatives.group_norm(x, groups, *affine, eps=eps),
        by_torch,
        channel,
    )


def layer(trailing):
    return Case(
        lambda x, *affine, eps: relatives.layer_norm(
            x, *affine, trailing=trailing, eps=eps
        ),
        lambda x, *affine_eps: F.layer_norm(x, x.shape[-trailing:], *affine_eps),
        lambda shape: shape[-trailing:],
    )


def rms(trailing):
    return Case(
        lambda x, gamma, eps: relatives.rms_norm(x, gamma, trailing=trailing, eps=eps),
        lambda x, gamma, eps: F.rms_norm(x, x.shape[-trailing:], gamma, eps),
        lambda shape: shape[-trailing:],
        shift=False,
    )


INSTANCE = Case(
    relatives.instance_norm,
    lambda x, gamma, beta, eps: F.instance_norm(x, weight=gamma, bias=beta, eps=eps),
    channel,
)
CASES = [
    pytest.param(layer(1), (60, 7), id="layer-rows"),
    pytest.param(layer(1), (3, 5, 6), id="layer-sequences"),
    pytest.param(layer(3), (4, 2, 3, 5), id="layer-maps"),
    pytest.param(layer(1), (0, 4), id="layer-no-rows"),
    pytest.param(layer(1), (5,), id="layer-one-vector"),
    pytest.param(group(1), (4, 6), id="one-group-rows"),
    pytest.param(group(2), (4, 6), id="two-groups-rows"),
    pytest.param(group(3), (2, 6, 4), id="three-groups-sequences"),
    pytest.param(group(2), (3, 4, 2, 5), id="two-groups-maps"),
    pytest.param(group(4), (2, 4, 2, 2, 3), id="a-group-a-channel"),
    pytest.param(INSTANCE, (3, 4, 6), id="instance-sequences"),
    pytest.param(INSTANCE, (2, 3, 4, 5), id="instance-maps"),
    pytest.param(rms(1), (60, 7), id="rms-rows"),
    pytest.param(rms(2), (3, 5, 6), id="rms-sequences"),
    pytest.param(rms(1), (4, 1), id="rms-one-feature"),
]


def assert_as_torch(case, x, gamma, beta, dy, eps=0.01, **tolerance):
    """Output and gradients of both, and None only where torch has none to give."""
    beta = beta if case.shift else None
    y, cache = case(x, gamma, beta, eps)
    leaves = [leaf(v) for v in (x, gamma, beta)]
    theirs = case.torch(*leaves, eps)
    assert_same(y, theirs.detach().numpy(), **tolerance)
    expected = torch_gradients(theirs, dy, *leaves)
    assert_all_same(relatives.backward(dy, cache), expected, **tolerance)


# ---------------------------------- Against torch, the reference and finite differences


@pytest.mark.parametrize(("case", "shape"), CASES)
@pytest.mark.parametrize("with_gamma", [True, False])
@pytest.mark.parametrize("with_beta", [True, False])
def test_equals_torch(case, shape, with_gamma, with_beta):
    features = case.features(shape)
    x, gamma, beta, dy = draw(shape, features, features, shape)
    gamma, beta = gamma if with_gamma else None, beta if with_beta else None
    assert_as_torch(case, x, gamma, beta, dy)


@given(st.data(), st.integers(0, 2**32 - 1))
def test_equals_torch_in_random_shapes(data, seed):
    sizes = st.lists(st.integers(1, 5), min_size=2, max_size=4)
    shape = tuple(data.draw(sizes))
    axes = range(1, len(shape) + 1)
    cases = [(layer(k), math.prod(shape[-k:])) for k in axes]
    cases += [(rms(k), math.inf) for k in axes]  # which no number of values spoils
    divisors = [g for g in range(1, shape[1] + 1) if shape[1] % g == 0]
    cases += [(group(g), math.prod(shape[1:]) // g) for g in divisors]
    case, values = data.draw(st.sampled_from(cases))
    features = case.features(shape)
    x, gamma, beta, dy = draw(shape, features, features, shape, seed=seed)
    if values == 1:
        with pytest.raises(ValueError, match="one value less its mean is 0"):
            case(x, gamma, beta)
    else:
        assert_as_torch(case, x, gamma, beta, dy, atol=1e-9)


@pytest.mark.parametrize("shape", [(60, 7), (4, 3, 5, 2), (1, 2, 3)])
def test_over_the_batch_it_is_batch_normalization(shape):
    d, columns = shape[1], (shape[1], *[1] * (len(shape) - 2))
    x, gamma, beta, dy = draw(shape, d, d, shape)
    axes = (0, *range(2, len(shape)))
    y, cache = relatives.forward(
        x, gamma.reshape(columns), beta.reshape(columns), axes, eps=0.01
    )
    expected, batch = reference.forward(x, gamma, beta, eps=0.01)
    assert_allclose(y, expected, rtol=1e-13, atol=1e-13)
    found = [v.ravel() for v in relatives.backward(dy, cache)]
    expected = [v.ravel() for v in reference.backward(dy, batch)]
    assert_all_same(found, expected, rtol=1e-12, atol=1e-12)
    assert_allclose(cache.mean.ravel(), batch.mean, rtol=1e-14)
    assert_allclose(cache.var.ravel(), batch.var, rtol=1e-14)
    assert_allclose(cache.x_hat, batch.x_hat, rtol=1e-13, atol=1e-13)


def test_layer_norm_is_the_right_answer_of_the_exercise():
    x, gamma, beta = draw((5, 4), 4, 4)
    (expected,) = tasks.TASKS["layer_norm"].right(x, gamma, beta, 0.1)
    assert_allclose(relatives.layer_norm(x, gamma, beta, eps=0.1)[0], expected)


def test_weight_standardization_equals_its_formula():
    (weight, d_weight) = draw((4, 3, 2, 2), (4, 3, 2, 2))
    ours, cache = relatives.weight_standardization(weight, eps=0.01)
    w = leaf(weight)
    flat = w.reshape(4, -1)
    c = flat - flat.mean(1, keepdim=True)
    theirs = (c / torch.sqrt(flat.var(1, correction=0, keepdim=True) + 0.01)).view_as(w)
    assert_allclose(ours, theirs.detach().numpy(), rtol=1e-12)
    (expected,) = torch_gradients(theirs, d_weight, w)
    dw, *none = relatives.backward(d_weight, cache)
    assert_allclose(dw, expected, rtol=1e-11, atol=1e-12)
    assert none == [None, None]
    assert_allclose(ours.reshape(4, -1).mean(1), 0, atol=1e-15)


@pytest.mark.parametrize(("case", "shape"), [c for c in CASES if 0 not in c.values[1]])
def test_gradients_equal_finite_differences(case, shape):
    features = case.features(shape)
    x, gamma, beta, dy = draw(shape, features, features, shape)
    arguments = (x, gamma, beta) if case.shift else (x, gamma)
    _, cache = case(x, gamma, beta)
    gradients = relatives.backward(dy, cache)[: len(arguments)]

    def y(x, gamma, beta=None):
        return case(x, gamma, beta)[0]

    errors = gradcheck(y, arguments, dy, gradients)
    assert max(error.relative for error in errors) < 1e-8


# ------------------------------------- Accuracy: within 8 unit roundoffs, 32 in float64


@each_dtype
@pytest.mark.parametrize("make_input", accuracy.INPUTS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("center", [True, False], ids=["layer", "rms"])
def test_accuracy(make_input, dtype, center):
    options = {"center": center, "seed": 1, "draws": 1}
    ours = {"ours": accuracy_relatives.ours}
    row = accuracy_relatives.measure(make_input, dtype, **options, implementations=ours)
    assert_accurate(row, dtype)


def rows_of(make_input, seed, dtype):
    """x and dy, a feature in each row."""
    made = make_input(np.random.default_rng(seed), dtype)
    return (np.ascontiguousarray(v.T) for v in made)


def assert_near(y, dx, truth, dtype):
    """Those of one feature, to the exact answer."""
    assert accuracy.error(y, truth.y, truth.y_scale) <= LIMITS[dtype]
    assert accuracy.error(dx, truth.dx, truth.dx_scale) <= LIMITS[dtype]


@each_dtype
@pytest.mark.parametrize(
    "make_input", [accuracy.near_overflow, accuracy.steps_of_an_ulp, accuracy.denormal]
)
def test_accuracy_of_groups_of_maps(make_input, dtype):
    def as_maps(x, dy):
        """Rows of features as the groups of one image of 2 channels and 32 pixels."""
        maps = [v.reshape(1, 2 * len(v), -1) for v in (x, dy)]
        ones, zeros = np.ones(2 * len(x), x.dtype), np.zeros(2 * len(x), x.dtype)
        y, cache = relatives.group_norm(maps[0], len(x), ones, zeros, eps=accuracy.EPS)
        dx, *_ = relatives.backward(maps[1], cache)
        return [v.reshape(x.shape) for v in (y, dx)]

    x, dy = rows_of(make_input, 3, dtype)
    y, dx = as_maps(x, dy)
    for i in range(len(x)):
        assert_near(y[i], dx[i], accuracy.exact(x[i], 1, 0, dy[i]), dtype)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(2, 40),
    st.sampled_from(list(LIMITS)),
    st.booleans(),
    st.floats(-1, 1),
    st.floats(-8, 1),
)
def test_accuracy_of_any_mean_and_spread(seed, m, dtype, center, mean, log_spread):
    """Means of any size the dtype holds, spreads from 1e-8 to 10 of the mean."""

    def make_input(rng, dtype):
        size = 10.0 ** (np.log10(0.5 * float(np.finfo(dtype).max)) * mean)
        x = size * (1 + 10.0**log_spread * rng.uniform(-0.1, 0.1, (m, 2)))
        return x.astype(dtype), rng.standard_normal((m, 2)).astype(dtype)

    x, dy = rows_of(make_input, seed, dtype)
    gamma = np.random.default_rng(seed).uniform(0.5, 2, m).astype(dtype)
    # Without a shift, which could cancel what it is added to.
    y, dx = accuracy_relatives.ours(x, gamma, gamma * 0 if center else None, dy)
    for i in range(2):
        truth = accuracy.exact(x[i], gamma, 0, dy[i], center=center)
        assert_near(y[i], dx[i], truth, dtype)


def test_the_exact_answer_with_one_scale_is_that_with_equal_scales():
    x, dy = draw(6, 6)
    assert accuracy.exact(x, 2, 1, dy) == accuracy.exact(x, [2] * 6, [1] * 6, dy)


def test_main_prints_both_tables(monkeypatch, capsys):
    inputs = (accuracy.ordinary, accuracy.two_samples)
    monkeypatch.setattr(accuracy_relatives, "INPUTS", inputs)
    accuracy_relatives.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 * (2 + 3 * len(inputs))
    errors = accuracy_relatives.table([np.float32])[1].y
    assert set(errors) == set(accuracy_relatives.IMPLEMENTATIONS)
    assert errors["ours"] < 8 < errors["textbook"]


# ------------------------------------------------------------ Groups keep to themselves


@each_dtype
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf], ids=str)
def test_nan_and_infinity_stay_in_their_group(dtype, poison):
    x, gamma, beta, dy = draw((3, 4, 5), 4, 4, (3, 4, 5), dtype=dtype)
    bad = x.copy()
    bad[1, 2, 3] = poison
    (y, cache), (bad_y, bad_cache) = (
        relatives.group_norm(v, 2, gamma, beta) for v in (x, bad)
    )
    dx, *_ = relatives.backward(dy, cache)
    bad_dx, bad_dgamma, bad_dbeta = relatives.backward(dy, bad_cache)
    hit = np.zeros(x.shape, bool)
    hit[1, 2:] = True
    assert np.isnan(bad_y[hit]).all()
    assert np.isnan(bad_dx[hit]).all()
    assert_array_equal(bad_y[~hit], y[~hit])
    assert_array_equal(bad_dx[~hit], dx[~hit])
    assert_array_equal(np.isnan(bad_dgamma), [False, False, True, True])
    assert np.isfinite(bad_dbeta).all()
    assert np.isnan(bad_cache.var).sum() == 1


@pytest.mark.parametrize("poison", [np.nan, np.inf], ids=str)
def test_a_bad_gradient_stays_in_its_group(poison):
    x, gamma, dy = draw((3, 6), 6, (3, 6))
    bad = dy.copy()
    bad[1, 2] = poison
    _, cache = relatives.rms_norm(x, gamma)
    dx, dgamma, _ = relatives.backward(dy, cache)
    bad_dx, bad_dgamma, _ = relatives.backward(bad, cache)
    assert np.isnan(bad_dx[1]).any()
    assert_array_equal(bad_dx[[0, 2]], dx[[0, 2]])
    others = np.arange(6) != 2
    assert_array_equal(bad_dgamma[others], dgamma[others])


def test_an_example_is_normalized_as_if_it_were_alone():
    """What batch normalization cannot say of itself, to the last bit."""
    x, gamma, beta, dy = draw((5, 6, 3), 6, 6, (5, 6, 3))
    y, cache = relatives.group_norm(x, 3, gamma, beta)
    dx, *_ = relatives.backward(dy, cache)
    for i in range(5):
        one, alone = relatives.group_norm(x[i : i + 1], 3, gamma, beta)
        assert_array_equal(one[0], y[i])
        assert_array_equal(relatives.backward(dy[i : i + 1], alone)[0][0], dx[i])


# -------------------------------------------------------------- Dtypes, layouts, inputs


@each_dtype
@pytest.mark.parametrize("parameter", [np.float16, np.float64, np.int64])
def test_dtypes_are_kept(dtype, parameter):
    x, gamma, beta, dy = draw((6, 4), 4, 4, (6, 4), dtype=dtype)
    gamma, beta = gamma.astype(parameter), beta.astype(parameter)
    kept = np.float64 if parameter == np.int64 else parameter
    y, cache = relatives.layer_norm(x, gamma, beta)
    gradients = relatives.backward(dy, cache)
    assert [a.dtype for a in (y, *gradients)] == [dtype, dtype, kept, kept]
    assert cache.mean.dtype == cache.var.dtype == np.float64
    assert cache.mean.shape == cache.var.shape == (6, 1)
    assert cache.x_hat.dtype == dtype


def test_lists_of_integers_are_promoted():
    y, _ = relatives.layer_norm([[1, 2, 3]], [1, 1, 1], None)
    assert y.dtype == np.float64
    assert_allclose(y, np.array([[-1, 0, 1]]) / np.sqrt(2 / 3 + 1e-5))


@pytest.mark.parametrize(
    "turn", [np.asfortranarray, lambda x: np.flip(np.flip(x).copy())]
)
def test_any_strides(turn):
    x, gamma, beta, dy = draw((4, 6, 3), 6, 6, (4, 6, 3))
    y, cache = relatives.group_norm(x, 2, gamma, beta)
    dx, *_ = relatives.backward(dy, cache)
    other_y, other = relatives.group_norm(turn(x), 2, gamma, beta)
    assert_array_equal(other_y, y)
    assert_array_equal(relatives.backward(turn(dy), other)[0], dx)


def test_inputs_are_never_written_to():
    x, gamma, beta, dy = arguments = draw((4, 6, 3), 6, 6, (4, 6, 3))
    with unwritten(*arguments) as results:
        y, cache = relatives.group_norm(x, 2, gamma, beta)
        results += [y, *relatives.backward(dy, cache)]
