"""How far the inputs of units move: the helpers behind chapter 2 and its claims."""

from types import SimpleNamespace

import numpy as np
import pytest

from batchnorm import datasets
from batchnorm.ensemble import Network, forward, gradient, init_parameters, unpack
from batchnorm.experiments import drift
from batchnorm.experiments.drift import freeze, small_change

X = datasets.digits(0).x_test[:30]
TANHS = Network((64,), (9, 8, 7), nonlinearity="tanh")


def test_movement_has_both_units():
    mean = np.arange(4.0)[None, :, None, None] * 0.6 * np.ones((3, 4, 2, 5))
    moments = np.stack([mean, np.full(mean.shape, 3.0)], axis=2)
    raw, in_spreads = drift.movement(SimpleNamespace(records={"moments": moments}))
    np.testing.assert_allclose(raw, np.full((3, 2), 0.6))
    np.testing.assert_allclose(in_spreads, np.full((3, 2), 0.2))


def test_the_upper_part_computes_and_learns_as_it_did_in_the_whole():
    seeds = [3, 4]
    data = {seed: datasets.digits(seed) for seed in seeds}
    theta = init_parameters(TANHS, seeds)
    top, upper, fed = freeze(TANHS, theta, data, 2)
    x, y = zip(*((split.x_test, split.y_test) for split in data.values()), strict=True)
    x_fed = [split.x_test for split in fed.values()]
    loss, whole = gradient(TANHS, theta, np.stack(x), np.stack(y))
    loss_fed, part = gradient(top, upper, np.stack(x_fed), np.stack(y))
    np.testing.assert_allclose(loss_fed, loss, rtol=1e-12)
    for a, b in zip(unpack(top, part), unpack(TANHS, whole)[2:], strict=True):
        np.testing.assert_allclose(a.weight, b.weight, rtol=0, atol=1e-13)
        np.testing.assert_allclose(a.bias, b.bias, rtol=0, atol=1e-13)


@pytest.mark.parametrize("layers", [0, 3])
def test_what_can_not_be_frozen_is_refused(layers):
    data = {0: datasets.digits(0)}
    with pytest.raises(ValueError, match=rf"layers is {layers}; allowed is 1 to 2"):
        freeze(TANHS, init_parameters(TANHS, [0]), data, layers)
    normalized = Network((64,), (4, 4), norm="batch")
    with pytest.raises(ValueError, match="network has norm 'batch'; allowed is None"):
        freeze(normalized, init_parameters(normalized, [0]), data, 1)


def test_moments_are_taken_before_the_normalization():
    plain = Network((64,), (6, 6))
    normalized = Network((64,), (6, 6), norm="batch")
    weight = 3 * unpack(plain, init_parameters(plain, [0]))[0].weight[0]
    for network in (plain, normalized):
        theta = init_parameters(network, [0], 3)
        mean, deviation = drift.input_moments(network, theta, X)[0, :, 0]
        z = X @ weight.T
        np.testing.assert_allclose(mean, z.mean(axis=0), atol=1e-13)
        np.testing.assert_allclose(deviation, z.std(axis=0), rtol=1e-12)


def test_the_first_record_is_that_of_the_network_as_drawn():
    network = Network((64,), (6, 6))
    theta = init_parameters(network, [0, 1])
    free, frozen = (
        drift.record_moments(network, theta, [0, 1], lr=0.1, steps=10, frozen=layers)
        for layers in (0, 1)
    )
    free, frozen = free.records["moments"], frozen.records["moments"]
    assert free.shape == (2, 2, 2, 2, 6)
    assert frozen.shape == (2, 2, 2, 1, 6)
    before = free[:, 0, :, 1:]
    np.testing.assert_allclose(frozen[:, 0], before, rtol=1e-12)
    z = forward(network, theta[1:], datasets.digits(1).x_test[:100])[1].preactivation
    np.testing.assert_allclose(before[1, 0, 0], z[0].mean(axis=0), rtol=1e-12)


def test_a_small_change_is_proportional_to_its_size():
    network = Network((64,), (20,) * 3, nonlinearity="tanh", norm="batch")
    arm = {"scale": 1.0, "images": 30}
    one, two = (small_change(network, [0], size=s, **arm) for s in (1e-6, 2e-6))
    assert one[0].shape == (1, 3)
    np.testing.assert_allclose(two[0] / one[0], 2, rtol=1e-4)
    np.testing.assert_array_equal(one[1], two[1])


def test_a_linear_network_passes_a_small_change_on_as_it_is():
    """In the first layer change and spread are those of the two draws of weights."""
    network = Network((64,), (30,), nonlinearity="linear")
    change, spread = small_change(network, [5], scale=2.0, images=250)
    w, v = (
        unpack(network, init_parameters(network, [seed], 2.0))[0].weight[0]
        for seed in (5, 5 + 2**40)
    )
    x = datasets.digits(5).x_test
    expected = 0.01 * np.sqrt(np.square(x @ v.T).mean())
    np.testing.assert_allclose(change, [[expected]], rtol=1e-10)
    expected = np.sqrt((x @ w.T).var(axis=0).mean())
    np.testing.assert_allclose(spread, [[expected]], rtol=1e-12)
