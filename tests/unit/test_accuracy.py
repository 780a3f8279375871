"""The measure of accuracy: its exact answers, its unit, and what it reports."""

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest

from batchnorm import accuracy


def test_exact_equals_arithmetic_with_many_digits():
    rng = np.random.default_rng(0)
    x, dy = 1e8 + rng.integers(0, 9, 20), 1e3 + rng.standard_normal(20)
    truth = accuracy.exact(x, 0.7, -0.2, dy)
    with mpmath.workdps(120):
        x, dy = [mpmath.mpf(float(v)) for v in x], [mpmath.mpf(float(v)) for v in dy]
        mean = mpmath.fsum(x) / 20
        var = mpmath.fsum((v - mean) ** 2 for v in x) / 20
        inv_std = 1 / mpmath.sqrt(var + mpmath.mpf(accuracy.EPS))
        x_hat = [(v - mean) * inv_std for v in x]
        factor = mpmath.mpf(0.7) * inv_std
        mean_dy = mpmath.fsum(dy) / 20
        mean_product = mpmath.fsum(g * v for g, v in zip(dy, x_hat, strict=True)) / 20
        for g, v, y, dx in zip(dy, x_hat, truth.y, truth.dx, strict=True):
            assert close(y, mpmath.mpf(0.7) * v + mpmath.mpf(-0.2))
            assert close(dx, factor * (g - mean_dy - v * mean_product))
        terms = (
            abs(g) + abs(mean_dy) + abs(v * mean_product)
            for g, v in zip(dy, x_hat, strict=True)
        )
        assert close(truth.dx_scale, factor * max(terms))


def close(fraction, number):
    value = mpmath.mpf(fraction.numerator) / fraction.denominator
    return abs(value - number) <= mpmath.mpf(10) ** -50 * abs(number)


@pytest.mark.parametrize(
    "value",
    [*map(Fraction, (2, 4, 2**2100)), Fraction(1, 3), Fraction(1, 7**900)],
)
def test_square_root(value):
    root = accuracy.square_root(value)
    assert abs(root * root - value) <= value * Fraction(1, 2**198)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_error_is_in_unit_roundoffs(dtype):
    one = np.array([1.0], dtype)
    roundoff = Fraction(float(np.finfo(dtype).eps)) / 2
    assert accuracy.error(one, [Fraction(1)], Fraction(1)) == 0
    assert accuracy.error(one, [1 + 3 * roundoff], Fraction(1)) == 3
    assert accuracy.error(one, [1 + 3 * roundoff], Fraction(2)) == 1.5
    # Half of the smallest number is a roundoff of anything that small.
    smallest = Fraction(float(np.finfo(dtype).smallest_subnormal))
    zero = np.array([0.0], dtype)
    assert accuracy.error(zero, [smallest / 2], smallest / 2) == 1


def test_error_of_what_is_not_finite():
    truth = [Fraction(10) ** 39]
    assert accuracy.error(np.array([np.inf], np.float32), truth, truth[0]) == 0
    assert accuracy.error(np.array([-np.inf], np.float32), truth, truth[0]) == math.inf
    assert accuracy.error(np.array([np.inf]), truth, truth[0]) == math.inf
    assert accuracy.error(np.array([np.nan]), truth, truth[0]) == math.inf


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("make_input", accuracy.INPUTS)
def test_inputs_are_what_they_claim(make_input, dtype):
    x, dy = make_input(np.random.default_rng(3), dtype)
    again, _ = make_input(np.random.default_rng(3), dtype)
    assert x.dtype == dy.dtype == dtype
    assert x.shape == dy.shape
    assert np.isfinite(x).all()
    assert np.isfinite(dy).all()
    assert np.array_equal(x, again)
    assert make_input.__doc__
    distinct, largest = len(np.unique(x[:, 0])), np.abs(x).max()
    assert {
        accuracy.constant: distinct == 1,
        accuracy.almost_constant: distinct == 2,
        accuracy.denormal: largest < np.finfo(dtype).tiny,
        accuracy.near_overflow: largest == np.finfo(dtype).max,
        accuracy.steps_of_an_ulp: distinct <= 9,
    }.get(make_input, True)


def test_table_tells_the_implementations_apart():
    inputs = accuracy.ordinary, accuracy.steps_of_an_ulp
    rows = [accuracy.measure(make_input, np.float32) for make_input in inputs]
    assert [row.input for row in rows] == ["ordinary", "steps of an ulp"]
    for error in (rows[0].y, rows[0].dx):
        assert max(error.values()) < 100
    for error in (rows[1].y, rows[1].dx):
        assert error["ours"] < 8
        assert error["textbook"] > 1e4
        assert error["torch"] > 1e4


def test_main_prints_a_line_for_each_row(monkeypatch, capsys):
    inputs = (accuracy.ordinary, accuracy.two_samples)
    monkeypatch.setattr(accuracy, "INPUTS", inputs)
    accuracy.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 3 * len(inputs)
    for line in lines[2:]:
        assert len([float(cell) for cell in line.split()[-6:]]) == 6
