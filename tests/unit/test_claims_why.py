"""The claims of the trial: their helpers, their controls, and what the page says."""

import numpy as np
import pytest
import torch
from claim_helpers import Page

from batchnorm import claims, datasets
from batchnorm.claims import descents, noisy, random_layers, smooth, why
from batchnorm.claims import why_controls as more
from batchnorm.claims.networks import Arm, Mlp, mini_batches
from batchnorm.claims.tuning import SWEEPS, best, tuned
from batchnorm.ensemble import Only, Recorder, init_parameters, train, unpack

NET = Mlp("tanh", 2, 12)


def test_what_is_called_tuned_is_what_was_tuned():
    assert best("noise", None) == why.PLAIN
    assert best("noise", "batch") == why.NORMALIZED
    assert why.NOISY.norm == ("noisy", 1.0)
    assert why.NOISIER.norm == ("noisy", 4.0)
    assert SWEEPS["noise"].net == why.NOISE["net"]
    with pytest.raises(ValueError, match=r"norm is \('noisy', 2\.0\); 'noise' has no"):
        tuned("noise", ("noisy", 2.0))


# ------------------------------------------------------------------------------ noise


def test_noise_of_no_strength_moves_and_costs_nothing():
    norm, still = Arm("batch", 0.5), Arm(("noisy", 0.0), 0.5)
    for measure in (noisy.shift, noisy.early):
        found, wanted = (measure((1, 2), arm, NET, 10) for arm in (still, norm))
        np.testing.assert_array_equal(found, wanted)


def test_arms_of_which_none_learns_leave_no_lead():
    dead = {"first": why.NOISY._replace(rate=0.0), "second": why.SLOW}
    assert claims.get("noisy-still-faster").run(range(8), **dead).verdict != "supported"


def test_the_rate_costs_nothing_where_it_is_the_same():
    claim = claims.get("rate-carries-the-lead")
    np.testing.assert_allclose(claim.run(range(3), second=why.NORMALIZED).effects, 0)


# ------------------------------------------------------------------------- smoothness


@pytest.fixture
def curved(monkeypatch):
    """A function that plants a quadratic loss of that curvature."""

    def plant(curvature):
        for module in (smooth, more):
            monkeypatch.setattr(
                module, "gradient", lambda _, t, *__: (0, curvature * t)
            )

    return plant


def test_the_scale_of_the_weights_does_not_move_the_relative_smoothness(curved):
    """A function of the weights' direction: its gradient goes with 1/a, β with 1/a²."""
    network = Mlp("relu", 2, 12).network(None)
    theta = init_parameters(network, (1, 2), 1.4)
    found = []
    for a in (1.0, 30.0):
        curved(3.0 / a**2)
        for relative in (True, False):
            found.append(smooth._sharpness(network, a * theta, 0.1, (), relative))
    np.testing.assert_allclose(found[2], found[0])
    np.testing.assert_allclose(found[3], found[1] / 900)


def test_the_smoothness_of_a_quadratic_loss_is_its_curvature(curved):
    network = Mlp("relu", 1, 5).network(None)
    theta = init_parameters(network, (1, 2))
    curved(3.0)
    for fraction in (0.01, 0.1):
        found = smooth._sharpness(network, theta, fraction, (), False)
        np.testing.assert_allclose(found, 3.0)


# ---------------------------------------------------------------------- random layers


@pytest.mark.parametrize("skips", [False, True])
def test_backward_squares_are_those_of_autograd(skips):
    depth, width, m = 3, 6, 5
    (found,) = random_layers.backward_squares(7, (m,), depth, width, skips=skips)
    rng = np.random.default_rng(7)
    weights = torch.tensor(rng.normal(size=(depth, width, width)) / np.sqrt(width))
    inputs, signals = map(torch.tensor, rng.normal(size=(2, width, m)))

    def standardized(z):
        std = z.std(1, correction=0, keepdim=True)
        return (z - z.mean(1, keepdim=True)) / std

    h = standardized(inputs).requires_grad_()
    y = h
    for w in weights:
        y = skips * y + standardized(w @ y)
    d = signals - signals.mean(1, keepdim=True)
    (wanted,) = torch.autograd.grad((y * d).sum(), h)
    assert found[0] == pytest.approx(wanted.square().sum().item(), rel=1e-10)
    assert found[-1] == pytest.approx(d.square().sum().item())


def test_the_gap_of_centered_examples_has_its_floor():
    n = 8
    centered = (np.eye(n) - 1 / n) / (n - 1)
    floor = np.linalg.norm(centered - np.eye(n) / n)
    assert random_layers.expected_gap(1e12, n) == pytest.approx(floor)
    same = random_layers.gaps(1, None, 64, 2, n, spread=0.0)
    np.testing.assert_allclose(same, np.sqrt(1 - 1 / n))


# --------------------------------------------------------------------------- descents


def test_the_split_descends_along_the_gradient_that_autograd_finds(monkeypatch):
    """Both arrive after as many steps: w and γ move by the rate times their slopes."""
    monkeypatch.setattr(descents, "RATES", (0.5,))
    target, start = np.random.default_rng(3).normal(size=(2, 10))
    target, scale = torch.tensor(target), torch.tensor(np.geomspace(1, 0.2, 10))
    w = torch.tensor(start, requires_grad=True)
    gamma = torch.ones(1, dtype=w.dtype, requires_grad=True)
    losses = []
    while not losses or losses[-1] > 1e-6 * losses[0]:
        v = gamma * w / torch.sqrt((scale * w**2).sum())
        loss = (scale * (v - target) ** 2).sum() / 2
        losses.append(loss.item())
        slopes = torch.autograd.grad(loss, [w, gamma])
        w, gamma = (
            (p - 0.5 * s).detach().requires_grad_()
            for p, s in zip((w, gamma), slopes, strict=True)
        )
    found = descents.steps_of_descent([3], "one rate", kappa=5, inputs=10, steps=2000)
    assert found.tolist() == [[len(losses) - 1]]


def test_gradient_descent_takes_the_steps_that_the_condition_number_says():
    found = descents.steps_of_descent([1], "plain", kappa=4, inputs=2, steps=50)[0]
    rates = np.array(descents.RATES)
    assert np.isinf(found[rates > 2]).all()
    assert np.isfinite(found[rates == 1]).all()


@pytest.mark.parametrize("way", ["plain", "one rate", "solved", "conditioned"])
def test_from_the_drawn_length_both_functions_take_as_many_steps(way):
    found = descents.arrivals((3, 4), way, **why.SQUARES)
    wanted = descents.steps_of_descent((3, 4), way, **why.SQUARES)
    assert found.shape == (2, 1, len(descents.RATES))
    np.testing.assert_array_equal(found[:, 0], wanted)


def test_a_line_search_lowers_the_loss_most(monkeypatch):
    """With two eigenvalues, against the best of a fine grid of rates at each step."""
    monkeypatch.setattr(descents, "RATES", (1.0,))
    problem = {"kappa": 10.0, "inputs": 2, "steps": 200}
    ((found,),) = descents.arrivals([5], "line search", **problem)[0].tolist()
    target, w = np.random.default_rng(5).normal(size=(2, 2))
    scale, rates = np.geomspace(1, 0.1, 2), np.linspace(0.5, 10, 20001)[:, None]

    def loss(v):
        return np.sum(scale * (v - target) ** 2, axis=-1)

    start, steps = loss(w), 0
    while loss(w) > 1e-6 * start:
        tried = w - rates * scale * (w - target)
        w, steps = tried[loss(tried).argmin()], steps + 1
    assert found == steps


def test_the_starting_length_sets_the_rate_of_the_direction_alone():
    """A thousand times as long, the direction stands still, and γ learns alone."""
    long = descents.arrivals((3,), "one rate", (1000.0,), **why.SQUARES)
    assert np.isinf(long).all()


# -------------------------------------------------------------------- turn, smoothness


def test_the_turn_is_the_step_over_the_length():
    arm = Arm(None, 0.1)
    (found,) = more.turn((7,), arm, NET, 5)
    network = NET.network(None)
    theta = init_parameters(network, (7,), arm.scale)
    before, after = (
        train(network, datasets.digits, (7,), lr=0.1, steps=n, theta=theta).theta
        for n in (4, 5)
    )
    layers = [unpack(network, u)[:-1] for u in (before, after)]
    wanted = [
        np.linalg.norm(b.weight - a.weight) / np.linalg.norm(a.weight)
        for a, b in zip(*layers, strict=True)
    ]
    assert found == pytest.approx(np.exp(np.mean(np.log(wanted))))


def test_the_change_of_a_linear_gradient_is_the_same_over_every_distance(curved):
    network = Mlp("relu", 2, 12).network(None)
    theta = init_parameters(network, (1, 2), 1.4)
    found = []
    for a in (1.0, 30.0):
        curved(3.0 / a**2)
        found += [more.change_at(network, a * theta, d, ()) for d in (0.01, 0.1)]
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0])


def test_places_of_equal_loss_have_that_loss():
    arm = Arm("batch", 0.5)
    at_loss = more.change((1, 2), arm, NET, (0.1,), 1.5)
    keep = Recorder(every=5, quantities={"theta": lambda state: state.theta})
    network = NET.network("batch")
    theta = init_parameters(network, (1, 2), arm.scale)
    given = {"theta": theta, "lr": 0.5, "steps": 100, "recorder": keep}
    run = train(network, datasets.digits, (1, 2), **given)
    first = (run.loss <= 1.5).argmax(axis=1)
    assert (first > 0).all()
    theta = run.records["theta"][[0, 1], first]
    batch = next(mini_batches((1, 2), 60, 1))
    wanted = more.change_at(network, theta, 0.1, batch)
    np.testing.assert_allclose(at_loss[0], wanted)


# ------------------------------------------------------------------- a part that learns


@pytest.mark.parametrize("part", ["norms", "output"])
def test_only_the_part_that_is_asked_for_learns(part):
    network = NET.network("batch")
    theta = init_parameters(network, [1, 2])
    optimizer = Only(part, network)
    given = {"theta": theta, "lr": 0.01, "steps": 3, "optimizer": optimizer}
    run = train(network, datasets.digits, [1, 2], **given)
    moved = (run.theta != theta).any(axis=0)
    assert not moved[optimizer.mask()[0].numpy() == 0].any()
    learns = {"norms": 2 * 2 * 12, "output": 12 * 10 + 10}[part]
    assert optimizer.mask().sum() == learns
    assert moved.sum() > 0.9 * learns


def test_a_part_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="part is 'weights'; allowed are"):
        Only("weights", NET.network("batch"))


# ----------------------------------------------------------------------------- the page


def test_the_page_and_the_package_have_one_noise():
    source = "\n".join(cell.source for cell in Page("12_why").code)
    assert "rng.uniform(-0.5, 0.5, units)" in source
    assert "rng.uniform(1, 1.25, units)" in source
    assert "rng.normal(sigma, 0.1, (examples, units))" in source
