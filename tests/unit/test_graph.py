"""The computational graph: against autograd, node by node, and the closed form."""

import pytest
import torch
from oracles import assert_all_same, assert_same, draw_pass, leaf, torch_gradients

from batchnorm import graph, reference


@pytest.mark.parametrize("shape", [(2, 1), (5, 3), (60, 7)])
def test_graph_equals_closed_form(shape):
    x, gamma, beta, dy = draw_pass(shape)
    values = graph.forward(x, gamma, beta)
    gradients = graph.backward(dy, values)
    y, cache = reference.forward(x, gamma, beta)
    found = values.y, values.mean, values.var, values.x_hat
    assert_all_same(found, (y, cache.mean, cache.var, cache.x_hat))
    found = gradients.d_x, gradients.d_gamma, gradients.d_beta
    assert_all_same(found, reference.backward(dy, cache))


def test_every_node_has_the_gradient_that_autograd_finds():
    x, gamma, beta, dy = draw_pass((9, 4))
    node = {"x": leaf(x), "gamma": leaf(gamma), "beta": leaf(beta)}
    node["mean"] = node["x"].mean(0)
    node["centered"] = node["x"] - node["mean"]
    node["squared"] = node["centered"] ** 2
    node["var"] = node["squared"].mean(0)
    node["std"] = torch.sqrt(node["var"] + 1e-5)
    node["inv_std"] = 1 / node["std"]
    node["x_hat"] = node["centered"] * node["inv_std"]
    node["scaled"] = node["gamma"] * node["x_hat"]
    node["y"] = node["scaled"] + node["beta"]
    theirs = torch_gradients(node["y"], dy, *node.values())

    values = graph.forward(x, gamma, beta)
    ours = graph.backward(dy, values)
    contributions = {name for name in ours._fields if "_from_" in name}
    assert set(ours._fields) - contributions == {f"d_{name}" for name in node}
    for (name, tensor), gradient in zip(node.items(), theirs, strict=True):
        assert_same(getattr(values, name), tensor.detach().numpy())
        assert_same(getattr(ours, f"d_{name}"), gradient)
    from_x_hat, from_squared = ours.d_centered_from_x_hat, ours.d_centered_from_squared
    assert_same(from_x_hat + from_squared, ours.d_centered)
    assert_same(ours.d_x_from_centered + ours.d_x_from_mean, ours.d_x)
    x_hat = torch.tensor(values.inv_std) * node["centered"]
    (through_x_hat,) = torch_gradients(x_hat, ours.d_x_hat, node["centered"])
    assert_same(from_x_hat, through_x_hat)
