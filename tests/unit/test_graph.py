"""The computational graph: against autograd, node by node, and the closed form."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from batchnorm import graph, reference


def draw(shape):
    """x, gamma, beta and dy."""
    rng = np.random.default_rng(0)
    sizes = (shape, shape[1], shape[1], shape)
    return tuple(3 * rng.standard_normal(size) for size in sizes)


def assert_same(ours, theirs):
    assert_allclose(ours, theirs, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("shape", [(2, 1), (5, 3), (60, 7)])
def test_graph_equals_closed_form(shape):
    x, gamma, beta, dy = draw(shape)
    values = graph.forward(x, gamma, beta)
    gradients = graph.backward(dy, values)
    y, cache = reference.forward(x, gamma, beta)
    assert_same(values.y, y)
    assert_same(values.mean, cache.mean)
    assert_same(values.var, cache.var)
    assert_same(values.x_hat, cache.x_hat)
    dx, dgamma, dbeta = reference.backward(dy, cache)
    assert_same(gradients.d_x, dx)
    assert_same(gradients.d_gamma, dgamma)
    assert_same(gradients.d_beta, dbeta)


def leaf(array):
    return torch.tensor(array, requires_grad=True)


def test_every_node_has_the_gradient_that_autograd_finds():
    x, gamma, beta, dy = draw((9, 4))
    node = {
        "x": leaf(x),
        "gamma": leaf(gamma),
        "beta": leaf(beta),
    }
    node["mean"] = node["x"].mean(0)
    node["centered"] = node["x"] - node["mean"]
    node["squared"] = node["centered"] ** 2
    node["var"] = node["squared"].mean(0)
    node["std"] = torch.sqrt(node["var"] + 1e-5)
    node["inv_std"] = 1 / node["std"]
    node["x_hat"] = node["centered"] * node["inv_std"]
    node["scaled"] = node["gamma"] * node["x_hat"]
    node["y"] = node["scaled"] + node["beta"]
    found = torch.autograd.grad(node["y"], list(node.values()), torch.tensor(dy))
    theirs = {
        name: gradient.numpy() for name, gradient in zip(node, found, strict=True)
    }

    values = graph.forward(x, gamma, beta)
    ours = graph.backward(dy, values)
    contributions = {name for name in ours._fields if "_from_" in name}
    assert set(ours._fields) - contributions == {f"d_{name}" for name in node}
    for name, tensor in node.items():
        assert_same(getattr(values, name), tensor.detach().numpy())
        assert_same(getattr(ours, f"d_{name}"), theirs[name])
    assert_same(
        ours.d_centered_from_x_hat + ours.d_centered_from_squared, ours.d_centered
    )
    assert_same(ours.d_x_from_centered + ours.d_x_from_mean, ours.d_x)
    (through_x_hat,) = torch.autograd.grad(
        (torch.tensor(values.inv_std) * node["centered"]),
        node["centered"],
        torch.tensor(ours.d_x_hat),
    )
    assert_same(ours.d_centered_from_x_hat, through_x_hat.numpy())
