"""The helpers of the claims on shift that chapters call as well."""

import numpy as np
import pytest

from batchnorm import datasets
from batchnorm.claims.drift import freeze, input_moments
from batchnorm.claims.shift import small_change
from batchnorm.ensemble import Network, gradient, init_parameters, unpack

X = datasets.digits(0).x_test[:30]
TANHS = Network((64,), (9, 8, 7), nonlinearity="tanh")


def test_the_upper_part_computes_and_learns_as_it_did_in_the_whole():
    seeds = [3, 4]
    data = {seed: datasets.digits(seed) for seed in seeds}
    theta = init_parameters(TANHS, seeds)
    top, upper, fed = freeze(TANHS, theta, data, 2)
    x = np.stack([split.x_test for split in data.values()])
    x_fed = np.stack([split.x_test for split in fed.values()])
    y = np.stack([split.y_test for split in data.values()])
    loss, whole = gradient(TANHS, theta, x, y)
    loss_fed, part = gradient(top, upper, x_fed, y)
    np.testing.assert_allclose(loss_fed, loss, rtol=1e-12)
    for a, b in zip(unpack(top, part), unpack(TANHS, whole)[2:], strict=True):
        np.testing.assert_allclose(a.weight, b.weight, rtol=0, atol=1e-13)
        np.testing.assert_allclose(a.bias, b.bias, rtol=0, atol=1e-13)


@pytest.mark.parametrize("layers", [0, 3])
def test_what_can_not_be_frozen_is_refused(layers):
    data = {0: datasets.digits(0)}
    with pytest.raises(ValueError, match="layers must lie between 1 and 2"):
        freeze(TANHS, init_parameters(TANHS, [0]), data, layers)
    normalized = Network((64,), (4, 4), norm="batch")
    with pytest.raises(ValueError, match="network must have norm None"):
        freeze(normalized, init_parameters(normalized, [0]), data, 1)


def test_moments_are_taken_before_the_normalization():
    plain = Network((64,), (6, 6))
    normalized = Network((64,), (6, 6), norm="batch")
    weight = 3 * unpack(plain, init_parameters(plain, [0]))[0].weight[0]
    for network in (plain, normalized):
        theta = init_parameters(network, [0], 3)
        mean, deviation = input_moments(network, theta, X)[0, :, 0]
        z = X @ weight.T
        np.testing.assert_allclose(mean, z.mean(axis=0), atol=1e-13)
        np.testing.assert_allclose(deviation, z.std(axis=0), rtol=1e-12)


def test_a_small_change_is_proportional_to_its_size():
    arm = {"nonlinearity": "tanh", "scale": 1.0, "depth": 3, "width": 20, "probe": 30}
    one, two = (small_change([0], norm="batch", size=s, **arm) for s in (1e-6, 2e-6))
    assert one.shape == (1, 3)
    np.testing.assert_allclose(two / one, 2, rtol=1e-4)
