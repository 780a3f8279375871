"""Batch renormalization: against autograd, training and inference."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from oracles import assert_all_same, assert_same, draw, leaf, torch_gradients, unwritten

from batchnorm import reference, renormalization


def renorm_by_torch(x, gamma, beta, mean, var, r_max, d_max, eps):
    """The formulas with autograd, and `detach` for the stop-gradient."""
    batch_std = torch.sqrt(x.var(0, correction=0) + eps)
    std = torch.sqrt(var + eps)
    r = (batch_std.detach() / std).clip(1 / r_max, r_max)
    d = ((x.mean(0).detach() - mean) / std).clip(-d_max, d_max)
    return gamma * ((x - x.mean(0)) / batch_std * r + d) + beta


@pytest.mark.parametrize("bounds", [(1, 0), (1.5, 0.3), (np.inf, np.inf)], ids=str)
def test_batch_renorm_equals_its_formulas(bounds):
    x, gamma, beta, mean, var, dy = draw((8, 3), 3, 3, 3, 3, (8, 3))
    var = var**2
    bound = dict(zip(("r_max", "d_max"), bounds, strict=True))
    y, cache = renormalization.forward(x, gamma, beta, mean, var, **bound, eps=0.01)
    leaves = [leaf(v) for v in (x, gamma, beta)]
    statistics = map(torch.tensor, (mean, var))
    theirs = renorm_by_torch(*leaves, *statistics, *bounds, 0.01)
    assert_same(y, theirs.detach().numpy(), rtol=1e-12, atol=1e-12)
    expected = torch_gradients(theirs, dy, *leaves)
    assert_all_same(renormalization.backward(dy, cache), expected)


def test_batch_renorm_lies_between_training_and_inference():
    x, gamma, beta, mean, var = draw((8, 3, 2), 3, 3, 3, 3)
    given = (x, gamma, beta, mean, var**2)
    closed, _ = renormalization.forward(*given, r_max=1, d_max=0)
    assert_allclose(closed, reference.forward(x, gamma, beta)[0], rtol=1e-13)
    opened, _ = renormalization.forward(*given, r_max=np.inf, d_max=np.inf)
    assert_allclose(opened, reference.inference(*given), rtol=1e-11, atol=1e-12)


def test_batch_renorm_without_parameters():
    x, mean, var, dy = draw((8, 3), 3, 3, (8, 3))
    bounds = {"r_max": 2, "d_max": 1}
    y, cache = renormalization.forward(x, None, None, mean, var**2, **bounds)
    ones = renormalization.forward(x, np.ones(3), np.zeros(3), mean, var**2, **bounds)
    assert_allclose(y, ones[0])
    dx, *none = renormalization.backward(dy, cache)
    assert_allclose(dx, renormalization.backward(dy, ones[1])[0])
    assert none == [None, None]


def test_inputs_are_never_written_to():
    x, gamma, beta, mean, var, dy = draw((8, 3), 3, 3, 3, 3, (8, 3))
    given = x, gamma, beta, mean, var**2
    with unwritten(*given, dy) as results:
        y, cache = renormalization.forward(*given, r_max=2, d_max=1)
        results += [y, *renormalization.backward(dy, cache)]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_dtypes_are_kept(dtype):
    x, gamma, beta, mean, var, dy = draw((8, 3), 3, 3, 3, 3, (8, 3))
    x, dy, gamma = x.astype(dtype), dy.astype(dtype), gamma.astype(np.float32)
    y, cache = renormalization.forward(x, gamma, beta, mean, var**2, r_max=2, d_max=1)
    found = [a.dtype for a in (y, *renormalization.backward(dy, cache))]
    assert found == [dtype, dtype, np.float32, np.float64]
