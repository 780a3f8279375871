"""The identities of the chapter on inference, on random input."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from batchnorm import reference
from batchnorm.folding import fold_conv, fold_linear
from batchnorm.statistics import RunningStatistics

few = settings(max_examples=20, deadline=None)
seeds = st.integers(0, 2**32 - 1)


@few
@given(seeds, st.floats(1e-3, 1), st.integers(1, 200))
def test_a_running_average_holds_a_power_of_its_start(seed, w, k):
    """Two averages of the same mini-batches differ by what is left of their starts."""
    rng = np.random.default_rng(seed)
    start = rng.normal(size=3)
    ours, theirs = RunningStatistics(3, momentum=w), nn.BatchNorm1d(3, momentum=w)
    theirs = theirs.double()
    theirs.running_mean += torch.tensor(start)
    theirs.running_var += torch.tensor(start**2)
    for _ in range(k):
        batch = rng.normal(2, 3, size=(5, 3))
        ours.update(batch)
        theirs(torch.tensor(batch))
    left = (1 - w) ** k
    kept = theirs.running_mean.numpy() - ours.mean
    np.testing.assert_allclose(kept, left * start, atol=1e-12)
    kept = theirs.running_var.numpy() - ours.var
    np.testing.assert_allclose(kept, left * start**2, atol=1e-10)


@few
@given(seeds, st.integers(2, 30), st.floats(1e-2, 1e2))
def test_normalized_examples_stand_apart(seed, m, scale):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=1) + scale * rng.normal(size=(m, 1))
    x_hat = reference.forward(x, None, None, eps=1e-30)[0][:, 0]
    products = [x_hat[i] * x_hat[j] for i in range(m) for j in range(m) if i != j]
    assert np.mean(products) == pytest.approx(-1 / (m - 1), rel=1e-9)


@few
@given(seeds, st.floats(0.05, 20), st.floats(-3, 3))
def test_contrast_is_undone(seed, a, b):
    """Through a linear layer, as images meet the first normalization."""
    rng = np.random.default_rng(seed)
    weight, x = rng.normal(size=(4, 6)), rng.uniform(size=(8, 6))
    gamma, beta = rng.normal(size=(2, 4))
    there, _ = reference.forward((a * x + b) @ weight.T, gamma, beta, eps=1e-20)
    given = map(torch.tensor, (x @ weight.T, np.zeros(4), np.ones(4), gamma, beta))
    here = functional.batch_norm(*given, training=True, eps=1e-20)
    np.testing.assert_allclose(there, here.numpy(), atol=1e-9)
    inverted, _ = reference.forward((-a * x + b) @ weight.T, gamma, beta, eps=1e-20)
    assert not np.allclose(inverted, here.numpy(), atol=1e-3)


def statistics(norm, rng, dtype=torch.float64):
    """A layer of batch normalization in inference mode with drawn vectors."""
    for of in (norm.weight.data, norm.bias.data, norm.running_mean):
        of.copy_(torch.tensor(rng.normal(size=len(of))))
    norm.running_var.copy_(torch.tensor(10 ** rng.uniform(-3, 1, norm.num_features)))
    return norm.to(dtype).eval()


def vectors(norm):
    parts = norm.weight, norm.bias, norm.running_mean, norm.running_var
    return [part.detach().numpy() for part in parts]


@few
@given(seeds, st.sampled_from(["linear", "conv"]), st.booleans())
def test_folded_layers_are_those_of_torch(seed, kind, biased):
    """The same outputs as the two layers, and the weights that torch's fusion gives."""
    rng = np.random.default_rng(seed)
    if kind == "linear":
        layer, norm = nn.Linear(6, 5, bias=biased), nn.BatchNorm1d(5, eps=1e-3)
        fold, fuse, shape = fold_linear, fuse_linear_bn_eval, (7, 6)
    else:
        layer, norm = nn.Conv2d(3, 5, 3, bias=biased), nn.BatchNorm2d(5, eps=1e-3)
        fold, fuse, shape = fold_conv, fuse_conv_bn_eval, (4, 3, 6, 6)
    layer, norm = layer.double().eval(), statistics(norm, rng)
    for part in layer.parameters():
        part.data.copy_(torch.tensor(rng.normal(size=part.shape)))
    bias = layer.bias.detach().numpy() if biased else None
    folded = fold(layer.weight.detach().numpy(), bias, *vectors(norm), eps=norm.eps)
    fused = fuse(layer, norm)
    for ours, theirs in zip(folded, (fused.weight, fused.bias), strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-9, atol=1e-12)
    apply = functional.linear if kind == "linear" else functional.conv2d
    x = torch.tensor(rng.normal(size=shape))
    apart, one = norm(layer(x)), apply(x, *map(torch.tensor, folded))
    scale = apart.detach().abs().max().item()
    np.testing.assert_allclose(one, apart.detach().numpy(), atol=1e-12 * (1 + scale))


def error_over_bound(seed, n, decades, eps_folded=1e-5):
    """Largest difference in single precision, over the bound of its own output."""
    rng = np.random.default_rng(seed)
    weight, x = rng.normal(size=(4, n)), 10**decades * rng.normal(1, 1, size=(9, n))
    bias = rng.normal(size=4)
    weight, x, bias = (array.astype(np.float32) for array in (weight, x, bias))
    norm = statistics(nn.BatchNorm1d(4), rng, torch.float32)
    folded = fold_linear(weight, bias, *vectors(norm), eps=eps_folded)
    with torch.no_grad():
        apart = norm(functional.linear(*map(torch.tensor, (x, weight, bias))))
    one = functional.linear(*map(torch.tensor, (x, *folded)))
    gamma, beta, mean, var = (v.astype(np.float64) for v in vectors(norm))
    slope = abs(gamma) / np.sqrt(var + norm.eps)
    terms = abs(x.astype(np.float64)) @ abs(weight.T) + abs(bias) + abs(mean)
    bound = 2 * (n + 8) * 2.0**-24 * (slope * terms + abs(beta))
    return np.max(abs(one.numpy() - apart.numpy()) / bound)


@few
@given(seeds, st.integers(1, 300), st.floats(-3, 4))
def test_folding_in_single_precision_stays_within_its_bound(seed, n, decades):
    assert error_over_bound(seed, n, decades) <= 1


def test_another_epsilon_does_not():
    """Folded with 1e-3 where the layer has 1e-5, it is no longer rounding."""
    assert max(error_over_bound(seed, 20, 0.0, 1e-3) for seed in range(5)) > 10
