"""The helpers of the claims on saturation that chapters call as well."""

import numpy as np
import pytest

from batchnorm import datasets
from batchnorm.claims.depth import as_sigmoid
from batchnorm.ensemble import Network, forward, init_parameters, unpack

X = datasets.digits(0).x_test[:30]
TANHS = Network((64,), (9, 8, 7), nonlinearity="tanh")


def test_sigmoids_in_the_coordinates_of_tanh_compute_the_same():
    theta = init_parameters(TANHS, [0, 1])
    unpack(TANHS, theta)[1].bias[...] = 0.3
    before = theta.copy()
    network, twins = as_sigmoid(TANHS, theta)
    assert network.nonlinearity == "sigmoid"
    expected = forward(TANHS, theta, X)[-1].output
    np.testing.assert_allclose(
        forward(network, twins, X)[-1].output, expected, rtol=0, atol=1e-13
    )
    np.testing.assert_array_equal(theta, before)


@pytest.mark.parametrize(
    "network",
    [
        Network((64,), (5,), nonlinearity="relu"),
        Network((64,), (5,), nonlinearity="tanh", norm="batch"),
    ],
)
def test_only_plain_tanh_networks_have_sigmoid_twins(network):
    with pytest.raises(ValueError, match="network must have nonlinearity 'tanh'"):
        as_sigmoid(network, init_parameters(network, [0]))
