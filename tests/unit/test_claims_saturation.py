"""The claims of chapter 3: their helpers, their controls, and what the pages say."""

import re

import numpy as np
import pytest
import torch
from claim_helpers import Page, each

from batchnorm import claims, datasets
from batchnorm.claims import mean_field, saturation
from batchnorm.claims.networks import PERFECT, Arm, one_batch
from batchnorm.ensemble import Network, forward, init_parameters, unpack
from booktools.notebooks import ROOT

PAGE = Page("03_saturation")
MINE = [c for c in claims.claims() if c.measure.__module__ == saturation.__name__]
SEEDS = range(300, 310)  # none of those that are shown, tuned on or confirm
X = datasets.digits(0).x_test[:30]
TANHS = Network((64,), (9, 8, 7), nonlinearity="tanh")


def back(name):
    return (ROOT / "back" / name).read_text(encoding="utf-8")


def erratum(words):
    """The entry of the page of errata that has these words in its title."""
    return " ".join(back("errata.md").partition(words)[2].split("\n\n")[0].split())


# -------------------------------------------------------------------------- controls


@pytest.mark.parametrize("tanh", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("relu", [1.0, 2**0.5, 2.0])
def test_a_gradient_that_vanishes_or_explodes_in_one_arm_does_not_survive(tanh, relu):
    """δ shows it; the gradients of ReLU's weights are even at any scale."""
    entry = claims.get("gradients-survive-without-normalization")
    networks = ("tanh", tanh, None), ("relu", relu, None)
    verdict = entry.run(range(300, 340), networks=networks).verdict
    assert (verdict == claims.SUPPORTED) == ((tanh, relu) == (1.0, 2**0.5))


def test_of_several_networks_the_most_uneven_counts():
    found = saturation.most_uneven([[0.9, 0.5, 1.0], [8.0, 1.9, 1.0]])
    np.testing.assert_allclose(found, [8, 2, 1])


def test_the_best_of_the_arms_without_is_what_normalization_is_held_against():
    net = {"depth": 2, "width": 64, "batch": 20}
    plain = saturation.plain_tanh(0.1, 1.0)
    shares = [saturation.near_one([5], arm, **net) for arm in (*plain, PERFECT)]
    assert shares[0] < shares[1] < shares[2] == 1
    normalized = Arm("batch", 0.0, 1.0)
    found = saturation.more_near_one([5], without=plain, normalized=normalized, **net)
    expected = saturation.near_one([5], normalized, **net) - shares[1]
    np.testing.assert_allclose(found, expected)


# --------------------------------------------------- measures against another oracle


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_the_delta_of_one_example_is_the_one_that_autograd_finds(nonlinearity):
    """It once was a sum over the examples of all seeds."""
    seeds, net = (5, 6, 7), (nonlinearity, 1.4, None)
    found = saturation.gradients_survive(seeds, networks=(net,), depth=3, width=8)
    network = Network((64,), (8, 8, 8), nonlinearity=nonlinearity)
    x, labels = one_batch(seeds, 1)
    expected = []
    for k, layers in enumerate(zip(*per_network(network, seeds, 1.4), strict=True)):
        u, z = torch.tensor(x[k]), []
        for weight, bias in layers:
            z.append(u @ torch.tensor(weight).T + torch.tensor(bias).requires_grad_())
            u = getattr(torch, nonlinearity)(z[-1])
        loss = torch.nn.functional.cross_entropy(z[-1], torch.tensor(labels[k]))
        first, last = (d.norm() for d in torch.autograd.grad(loss, (z[0], z[2])))
        expected.append(max(first / last, last / first).item())
    np.testing.assert_allclose(found, expected)


def per_network(network, seeds, scale):
    """Weight and bias of each layer, for each of the networks."""
    layers = unpack(network, init_parameters(network, seeds, scale))
    return [list(zip(layer.weight, layer.bias, strict=True)) for layer in layers]


@pytest.mark.parametrize("norm", [None, "batch"])
def test_singular_values_are_those_of_the_jacobian_that_autograd_finds(norm):
    net = {"depth": 1, "width": 6, "batch": 20}
    (ours,) = saturation.singular_values([5], Arm(norm, 0.0, 1.0), **net)[0]
    network = Network((64,), (6, 6), nonlinearity="tanh", norm=norm)
    theta = init_parameters(network, [5])
    trace = forward(network, theta, one_batch([5], 20)[0])
    weight = torch.tensor(unpack(network, theta)[1].weight[0])
    mean, std = torch.zeros(6), torch.ones(6)
    if norm:
        z = torch.tensor(trace[1].input[0]) @ weight.T
        mean, std = z.mean(0), torch.sqrt(z.var(0, correction=0) + 1e-5)
    first = torch.tensor(trace[1].input[0, 0])
    jacobian = torch.autograd.functional.jacobian(
        lambda v: torch.tanh((weight @ v - mean) / std), first
    )
    expected = torch.linalg.svdvals(jacobian).numpy()
    np.testing.assert_allclose(ours, expected, rtol=1e-9)


def test_sigmoids_in_the_coordinates_of_tanh_compute_the_same():
    theta = init_parameters(TANHS, [0, 1])
    unpack(TANHS, theta)[1].bias[...] = 0.3
    before = theta.copy()
    network, twins = saturation.as_sigmoid(TANHS, theta)
    assert network.nonlinearity == "sigmoid"
    found, expected = (
        forward(*of, X)[-1].output for of in ((network, twins), (TANHS, theta))
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)
    np.testing.assert_array_equal(theta, before)


@pytest.mark.parametrize(("g", "norm"), [("relu", None), ("tanh", "batch")])
def test_only_plain_tanh_networks_have_sigmoid_twins(g, norm):
    network = Network((64,), (5,), nonlinearity=g, norm=norm)
    with pytest.raises(ValueError, match="network must have nonlinearity 'tanh'"):
        saturation.as_sigmoid(network, init_parameters(network, [0]))


# ---------------------------------------------------------------------------- theory


@pytest.mark.parametrize("scale", [0.3, 1.0, 5.0])
def test_the_spread_of_sigmoid_inputs_is_that_of_a_wide_layer_fed_by_itself(scale):
    rng = np.random.default_rng(0)
    tau = mean_field.input_spread(scale)
    units = 4000
    h = 1 / (1 + np.exp(-tau * rng.normal(size=units)))
    z = scale / units**0.5 * rng.normal(size=(units, units)) @ h
    assert np.std(z) == pytest.approx(tau, rel=0.03)
    slopes = scale * np.sqrt(np.mean((h * (1 - h)) ** 2))
    assert mean_field.gradient_factor(scale) == pytest.approx(slopes, rel=0.03)


def test_no_sigmoid_layer_passes_on_more_than_a_quarter_of_the_scale_on_average():
    for scale in (0.01, 0.1, 1.0, 10.0, 100.0):
        assert mean_field.gradient_factor(scale) < scale / 4


def normalized(z):
    """Columns of mean 0 and variance 1; ε is 0."""
    return (z - z.mean(0)) / z.std(0, correction=0)


@pytest.mark.parametrize("m", [6, 16])
def test_the_growth_through_a_normalized_layer_is_that_of_drawn_batches(m):
    """One layer, drawn: the mean squared gradient behind it over that before it."""
    rng = np.random.default_rng(m)
    z, above = torch.tensor(rng.normal(size=(2, m, 200_000)))
    above -= above.mean(0)  # what comes back through the normalization above
    # The spread of the layer below is that of ReLU's outputs within a batch.
    spread = torch.relu(normalized(z)).var(0, correction=1).mean().sqrt()
    z = (z * spread).requires_grad_()
    h = torch.relu(normalized(z))
    (back,) = torch.autograd.grad((h * above).sum(), z)
    growth = float((back**2).sum() / (above**2).sum()) ** 0.5
    assert mean_field.normalized_growth(m) == pytest.approx(growth, rel=0.02)


def test_the_growth_of_large_batches_has_its_limit():
    limit = (np.pi / (np.pi - 1)) ** 0.5
    assert mean_field.normalized_growth(10**7) == pytest.approx(limit, rel=1e-5)
    several = [mean_field.normalized_growth(m) for m in (4, 5, 8, 64, 1000)]
    assert several == sorted(several, reverse=True)
    assert several[-1] > limit


# ---------------------------------------------------------------- what the pages say


@each(MINE)
def test_the_chapter_shows_every_claim_once(claim):
    assert PAGE.cell(f'"{claim.id}"').source.count(f'"{claim.id}"') == 1


def test_nothing_is_said_of_each_layer_that_holds_of_their_mean():
    """Single sigmoid layers exceed the quarter."""
    given = {"norm": None, **saturation.DEEP}
    norms, _ = saturation.weight_gradients(SEEDS, "sigmoid", 1.0, **given)
    assert (norms[:, :-1] / norms[:, 1:] > 0.25).mean() > 0.05
    said = [entry.statement for entry in MINE] + [back("errata.md"), PAGE.prose]
    for cell in PAGE.code:
        figure = cell.metadata.get("mystnb", {}).get("figure", {})
        said.append(figure.get("caption", ""))
    # An exercise may suppose it.
    each = re.compile(
        r"(?<!Suppose )\beach\s+(?:normalized\s+)?layer\s+(?:still\s+)?"
        r"(?:shrinks|grows)|through each\s+normalized layer"
    )
    assert [text for text in said if each.search(text)] == []
    for id in ("sigmoid-gradients-vanish", "normalized-relu-gradients-grow"):
        assert "geometric mean" in claims.get(id).effect


def statement(id):
    return claims.get(id).statement


def test_the_growth_is_said_with_its_conditions():
    title = "gradients from exploding?"
    for said in (statement("normalized-relu-gradients-grow"), erratum(title)):
        assert "skip connections" in said
        assert "initialization" in said
        assert re.search(r"batch is( large)?|large one", said)


def test_saturating_networks_are_called_slow_and_not_impossible():
    assert "slow" in statement("saturating-nonlinearities-train")
    assert "slow" in erratum("tanh be used in deep networks")
    assert "slow" in PAGE.prose


def test_the_conjecture_is_held_against_a_named_scale():
    assert "Xavier's scale" in statement("jacobian-spectrum")
    assert "scale more" in erratum("singular values close to 1")


def test_all_singular_values_are_drawn():
    assert PAGE.printed("spectra = {").count("64 values") == 4
    assert "[:-1]" not in PAGE.cell("spectra = {").source
