"""Numerical gradients: against derivatives known in closed form."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from batchnorm.gradcheck import (
    best_step,
    gradcheck,
    gradient_error,
    numerical_gradient,
)

X = np.random.default_rng(0).standard_normal((4, 3))


def sum_of_sines(x):
    return np.sum(np.sin(x))


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_equals_the_derivative(scale):
    gradient = numerical_gradient(lambda x: np.sum(np.sin(x / scale)), scale * X)
    assert gradient.dtype == np.float64
    assert_allclose(gradient, np.cos(X) / scale, rtol=0, atol=1e-9 / scale)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 2, 2), (0,)])
def test_any_shape(shape):
    x = np.full(shape, 0.5)
    assert_allclose(numerical_gradient(sum_of_sines, x), np.cos(x), atol=1e-9)


def test_quadratics_are_exact_whatever_the_step():
    x = np.array([1.0, -2.0])
    for step in (1.0, 0.125):
        found = numerical_gradient(lambda x: np.sum(x**2), x, step=step)
        assert_array_equal(found, [2, -4])


def test_the_best_step_is_near_the_best():
    """The error is within a factor of ten of the least over all steps."""

    def error(step):
        found = numerical_gradient(sum_of_sines, X, step=step)
        return np.max(np.abs(found - np.cos(X)))

    least = min(error(10.0**k) for k in np.arange(-12, 0, 0.5))
    assert error(best_step(X)) < 10 * least
    assert error(1e-12) > 1e3 * least
    assert error(1e-1) > 1e3 * least


def test_step_follows_dtype_and_scale():
    assert_allclose(best_step(100 * X), 100 * best_step(X))
    assert_allclose(best_step(X, np.float32) / best_step(X), 2 ** (29 / 3))
    assert_allclose(best_step(X), 2 ** (-52 / 3) * X.std())
    assert_allclose(best_step(np.full(3, -8.0)), 2 ** (-52 / 3) * 8)
    assert_allclose(best_step(np.zeros(3)), 2 ** (-52 / 3))


def test_arithmetic_in_single_precision():
    def loss(x):
        assert x.dtype == np.float32
        return np.sum(np.sin(x))

    gradient = numerical_gradient(loss, X, dtype=np.float32)
    assert_allclose(gradient, np.cos(X), atol=1e-3)
    tiny = numerical_gradient(loss, X, dtype=np.float32, step=1e-6)
    assert np.max(np.abs(tiny - np.cos(X))) > 1e-2


def test_far_from_zero():
    """The step that was stored counts, not the one that was asked for."""
    gradient = numerical_gradient(lambda x: np.sum(np.sin(x - 1e9)), 1e9 + X)
    assert_allclose(gradient, np.cos((1e9 + X) - 1e9), atol=1e-6)


def test_x_is_not_written_to():
    x = X.copy()
    x.flags.writeable = False

    def greedy(x):
        x *= 2  # a loss may do with its copy what it likes
        return np.sum(x)

    assert_allclose(numerical_gradient(greedy, x), np.full(x.shape, 2.0))
    assert_array_equal(x, X)


def test_gradient_error_measures():
    error = gradient_error([1.0, 2.0], [1.5, -4.0])
    assert error == (6.0, 1.5)
    assert gradient_error(np.zeros(3), np.zeros(3)) == (0.0, 0.0)
    assert np.isnan(gradient_error([np.nan], [1.0]).absolute)
    assert np.isnan(gradient_error([np.nan], [1.0]).relative)


def test_gradcheck_tells_right_from_wrong():
    dy = np.random.default_rng(1).standard_normal(X.shape)
    w = np.array([0.5, -1.0, 2.0])
    arguments = (X, w)
    gradients = [dy * np.cos(X) * w, np.sum(dy * np.sin(X), axis=0)]

    def function(x, w):
        return np.sin(x) * w

    errors = gradcheck(function, arguments, dy, gradients)
    assert max(error.relative for error in errors) < 1e-9

    wrong = gradients[0].copy()
    wrong[2, 1] += 1e-3
    errors = gradcheck(function, arguments, dy, [wrong, gradients[1]])
    assert_allclose(errors[0].absolute, 1e-3, rtol=1e-5)
    assert errors[1].relative < 1e-9


def test_gradcheck_passes_over_none():
    def function(x, w):
        return x if w is None else x * w

    errors = gradcheck(function, (X, None), np.ones_like(X), [X**0, None])
    assert errors[0].relative < 1e-9
    assert errors[1] is None


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: numerical_gradient(sum_of_sines, X + 1j), "x"),
        (lambda: numerical_gradient(sum_of_sines, X, step=0), "step"),
        (lambda: numerical_gradient(sum_of_sines, X, step=-1e-5), "step"),
        (lambda: numerical_gradient(sum_of_sines, X, step=np.nan), "step"),
        (lambda: numerical_gradient(sum_of_sines, X, step=np.inf), "step"),
        (lambda: numerical_gradient(sum_of_sines, X, step="1"), "step"),
        (lambda: numerical_gradient(sum_of_sines, X, step=1e-30), "step"),
        (lambda: numerical_gradient(np.sin, X), "loss"),
        (lambda: numerical_gradient(lambda x: None, X), "loss"),
        (lambda: numerical_gradient(lambda x: (x, 1.0), X), "loss"),
        (lambda: numerical_gradient(lambda x: [1.0], X), "loss"),
        (lambda: numerical_gradient(sum_of_sines, X, dtype=int), "dtype"),
        (lambda: best_step(X, dtype="number"), "dtype"),
        (lambda: gradient_error(X, X[:2]), "numerical"),
        (lambda: gradient_error(X * 1j, X), "gradient"),
        (lambda: gradcheck(np.sin, (X,), X, []), "gradients"),
        (lambda: gradcheck(np.sin, (X,), X, None), "gradients"),
        (lambda: gradcheck(np.sin, 3, X, [X]), "arguments"),
        (lambda: gradcheck(lambda x: (x, "kept"), (X,), X, [X]), "what function"),
        (lambda: gradcheck(lambda x: None, (X,), X, [X]), "what function"),
        (lambda: gradcheck(np.sin, (X,), X[:2], [X]), "dy"),
        (lambda: gradcheck(np.sin, (X,), X, [X[:2]]), "numerical"),
        (lambda: gradcheck(np.sin, (X + 1j,), X, [X]), "arguments"),
    ],
)
def test_refusals(call, name):
    with pytest.raises(ValueError, match=f"^{name} .*allowed"):
        call()
