"""What chapter 3 derives: a scale of normalized weights drops out, if ε is 0."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from batchnorm.ensemble import Network, evaluate, gradient, init_parameters, unpack

SEEDS = st.integers(0, 2**20)
SCALES = st.floats(1e-3, 1e3)


def normalized_loss(weights, x, labels):
    """Loss of a plain torch network, normalized before each tanh; ε is 0."""
    *hidden, last = weights
    for w in hidden:
        z = x @ w.T
        x = torch.tanh((z - z.mean(0)) / z.std(0, correction=0))
    return functional.cross_entropy(x @ last.T, labels)


@given(seed=SEEDS, factors=st.tuples(SCALES, SCALES, SCALES))
def test_gradients_go_as_one_over_the_scale(seed, factors):
    """Each layer by a factor of its own, which is more than one for all layers."""
    rng = np.random.default_rng(seed)
    shapes = (7, 6), (8, 7), (5, 8), (4, 5)
    weights = [rng.normal(size=shape) for shape in shapes]
    scaled = [w * a for w, a in zip(weights, (*factors, 1.0), strict=True)]
    x, labels = rng.normal(size=(30, 6)), rng.integers(4, size=30)

    def run(weights):
        tensors = [torch.tensor(w, requires_grad=True) for w in weights]
        value = normalized_loss(tensors, torch.tensor(x), torch.tensor(labels))
        return value.item(), torch.autograd.grad(value, tensors)

    (loss, before), (after_scaling, after) = run(weights), run(scaled)
    assert after_scaling == pytest.approx(loss, rel=1e-9)
    for g, h, a in zip(before, after, (*factors, 1.0), strict=True):
        torch.testing.assert_close(h * a, g, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("nonlinearity", ["sigmoid", "tanh", "relu"])
def test_it_is_so_of_the_networks_that_the_chapter_measures(nonlinearity):
    network = Network((9,), (8,) * 4, nonlinearity=nonlinearity, norm="batch", eps=0)
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(40, 9)), rng.integers(10, size=40)
    theta = init_parameters(network, [0, 1])
    scaled = theta.copy()
    for layer in unpack(network, scaled)[:-1]:
        layer.weight[...] *= 1000
    ours, other = (evaluate(network, t, x, labels) for t in (theta, scaled))
    np.testing.assert_allclose(other.loss, ours.loss, rtol=1e-9)
    before, after = (
        unpack(network, gradient(network, t, x, labels)[1]) for t in (theta, scaled)
    )
    for one, two in zip(before[:-1], after[:-1], strict=True):
        np.testing.assert_allclose(1000 * two.weight, one.weight, rtol=1e-6, atol=1e-12)


@given(seed=SEEDS, factor=SCALES)
def test_jacobians_do_not_depend_on_the_scale(seed, factor):
    rng = np.random.default_rng(seed)
    weight, u = (torch.tensor(rng.normal(size=(n, 4))) for n in (5, 20))

    def jacobian(w):
        z = u @ w.T
        mean, std = z.mean(0), z.std(0, correction=0)  # of the batch, held fixed
        return torch.autograd.functional.jacobian(
            lambda one: torch.tanh((w @ one - mean) / std), u[0]
        )

    found, expected = jacobian(factor * weight), jacobian(weight)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)
