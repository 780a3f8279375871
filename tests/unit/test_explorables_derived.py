"""What explorables compute by themselves, against theory and against networks."""

import numpy as np
import pytest
import torch
from scipy.special import ndtr

from batchnorm.claims import mean_field
from batchnorm.datasets import used_cars
from batchnorm.explorables import EXPLORABLES, descent, effective_rate, saturation
from batchnorm.explorables.kinds import beyond
from batchnorm.whitening import covariance


def of(name, **changes):
    figure = EXPLORABLES[name]
    return figure.values(figure.default | changes)


@pytest.mark.parametrize("name", saturation.NAMES)
def test_slopes_are_those_of_autograd(name):
    z = torch.linspace(-40, 40, 322, dtype=torch.float64, requires_grad=True)
    h = getattr(torch, name)(z)
    h.sum().backward()
    found = saturation.function(name, z.detach().numpy())
    np.testing.assert_allclose(found[0], h.detach().numpy(), rtol=1e-13)
    np.testing.assert_allclose(found[1], z.grad.numpy(), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("scale", [0.1, 1, 3, 10])
def test_deep_sigmoids_come_to_the_fixed_point(scale):
    found = of("saturation", s=scale, layers=20)
    assert found["spread"] == pytest.approx(mean_field.input_spread(scale), rel=1e-3)
    assert found["factor"] == pytest.approx(mean_field.gradient_factor(scale), rel=1e-3)


def test_normalized_layers_grow_as_derived_whatever_their_scale_and_bias():
    for scale, bias in ((0.1, 0), (1, -6), (10, 6)):
        found = of("saturation", f="relu", norm="on", s=scale, b=bias)
        growth = np.sqrt(np.pi / (np.pi - 1))
        assert found["factor"] == pytest.approx(growth, rel=1e-4)
        assert found["arrives"] == pytest.approx(growth**9, rel=1e-3)


def test_the_share_of_flat_inputs_is_that_of_the_normal_distribution():
    for scale in (3, 5, 10):
        found = of("saturation", s=scale)
        assert found["flat"] == pytest.approx(2 * ndtr(-4 / found["spread"]), abs=1e-4)
    assert of("saturation", f="relu", norm="on")["flat"] == pytest.approx(0.5)


def test_the_ceiling_of_a_normalized_layer_is_its_peak_over_the_spread_shown():
    found = of("saturation", norm="on")
    assert found["ceiling"] == pytest.approx(0.25 / found["std"], rel=1e-12)
    assert found["std"] == pytest.approx(0.208, abs=5e-4)


def test_what_lies_beyond_a_box_is_pointed_at_from_its_edge():
    box = (0, 0, 8, 6)
    assert beyond((8, 3), box) is None
    np.testing.assert_allclose(beyond((99, 3), box, 2), [(8, 3), (6, 2), (6, 4)])
    np.testing.assert_allclose(beyond((4, -7), box, 2), [(4, 0), (3, 2), (5, 2)])


def test_a_layer_of_dead_units_passes_nothing_on():
    found = of("saturation", f="relu", s=0.1, b=-6)
    assert (found["flat"], found["arrives"]) == (pytest.approx(1), 0)
    assert found["powers"] == [None] * 9 + [0]


def test_the_bowl_is_that_of_the_cars():
    x = used_cars(seed=0).x / [1, 50_000]
    state = {"unit": 50, "rho": np.corrcoef(x.T)[0, 1]}
    np.testing.assert_allclose(descent.hessian(state), covariance(x), rtol=1e-12)


@pytest.mark.parametrize(
    ("unit", "rho", "eta"), [(50, 0.65, 0.165), (20, -0.5, 0.05), (100, 0.9, 0.1)]
)
def test_steps_are_those_of_a_descent_on_the_weights(unit, rho, eta):
    state = {"unit": unit, "rho": rho, "eta": eta, "e1": 0.3, "e2": 1}
    found, h = of("descent", **state), descent.hessian(state)
    error, count = np.array([0.3, 1.0]), 0
    goal = 1e-6 * (error @ h @ error)
    while error @ h @ error > goal:
        error, count = error - eta * h @ error, count + 1
    assert found["counted"] == count <= found["predicted"]


def test_at_the_limit_the_descent_begins_to_grow():
    limit = of("descent")["limit"]
    below, above = of("descent", eta=limit - 1e-3), of("descent", eta=limit + 1e-3)
    assert below["counted"] > 0
    assert above["counted"] is None
    assert abs(below["across"]) < 1 < abs(above["across"])


@pytest.mark.parametrize(("rate", "decay"), [(0.1, 0.0), (0.1, 0.02), (1.0, 0.1)])
@pytest.mark.parametrize("start", [0.15, 10.0])
def test_course_is_that_of_a_vector(rate, decay, start):
    lengths, angles = effective_rate.course(start, rate, decay)
    w = start * np.array([0.6, 0.8])
    for length, angle in zip(lengths[:200], angles, strict=False):
        norm = np.linalg.norm(w)
        # At a right angle to w, of the length 1/‖w‖.
        gradient = np.array([-w[1], w[0]]) / norm**2
        after = (1 - rate * decay) * w - rate * gradient
        cosine = after @ w / norm / np.linalg.norm(after)
        assert length == pytest.approx(norm, rel=1e-12)
        assert np.cos(angle) == pytest.approx(cosine, rel=1e-12)
        w = after


def test_course_comes_to_the_balance_and_to_its_angle():
    lengths, angles = effective_rate.course(0.15, 0.1, 0.02)
    assert lengths[-1] == pytest.approx((0.1 / (2 * 0.02)) ** 0.25, rel=1e-3)
    assert angles[-1] == pytest.approx(np.sqrt(2 * 0.1 * 0.02), rel=1e-3)
