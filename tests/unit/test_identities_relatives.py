"""What the chapter on the relatives derives, on random input."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

seeds = st.integers(0, 2**32 - 1)

#: Axes of (N, C, pixels) over which a method normalizes, and whether it centers.
METHODS = {
    "batch": ((0, 2), True),
    "layer": ((1, 2), True),
    "instance": ((2,), True),
    "group": (None, True),
    "rms": ((1, 2), False),
}


def normalized(x, name):
    """For ε = 0, with NumPy alone."""
    axes, center = METHODS[name]
    if axes is None:  # two groups of channels
        split = x.reshape(len(x), 2, -1)
        c = split - split.mean(2, keepdims=True)
        return (c / np.sqrt(np.mean(c**2, 2, keepdims=True))).reshape(x.shape)
    c = x - center * x.mean(axes, keepdims=True)
    return c / np.sqrt(np.mean(c**2, axes, keepdims=True))


@given(seeds, st.integers(2, 9), st.integers(0, 8), st.floats(1e-6, 10))
def test_one_line_serves_every_projection(seed, n, rank, eps):
    """A random projection; x̂ = Px/√(|Px|²/n + ε) is left as it is by P."""
    rng = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(rng.standard_normal((n, n)))
    basis = basis[:, : 1 + rank % n]
    projection = torch.tensor(basis @ basis.T)
    x = torch.tensor(rng.standard_normal(n), requires_grad=True)
    gamma, dy = torch.tensor(rng.standard_normal((2, n)))
    c = projection @ x
    v = 1 / torch.sqrt(c @ c / n + eps)
    (expected,) = torch.autograd.grad(gamma * c * v, x, dy)
    x_hat, g = (c * v).detach(), gamma * dy
    found = v.detach() * (projection @ g - x_hat * torch.mean(g * x_hat))
    assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * v.item())


CHANGES = {
    "weights": {"batch", "layer", "instance", "group", "rms"},
    "one unit's weights": {"batch", "instance"},
    "inputs": {"batch", "layer", "instance", "group", "rms"},
    "one example": {"layer", "instance", "group", "rms"},
    "one unit's bias": {"batch", "instance"},
    "one example's constant": {"layer", "instance", "group"},
}


def changed(x, name, a):
    """The outputs of a layer without bias after such a change of its arguments."""
    x = x.copy()
    if name in ("weights", "inputs"):  # both multiply every output
        return a * x
    where = (slice(None), 1) if "unit" in name else 1
    if name.endswith(("weights", "example")):
        x[where] *= a
    else:
        x[where] += a
    return x


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("change", CHANGES)
@given(seed=seeds, a=st.floats(2, 100))
def test_invariances(method, change, seed, a):
    x = np.random.default_rng(seed).standard_normal((3, 4, 5))
    before, after = (normalized(v, method) for v in (x, changed(x, change, a)))
    same = np.abs(after - before).max() < 1e-9
    assert same == (method in CHANGES[change])


@given(seeds, st.integers(1, 3), st.integers(3, 6))
def test_causality(seed, examples, length):
    """Derivatives of an output by inputs at later positions."""
    rng = np.random.default_rng(seed)
    x = torch.tensor(rng.standard_normal((examples, length, 4)), requires_grad=True)
    leaks = {}
    for name, axes in {"batch": (0, 1), "layer": (2,)}.items():
        c = x - x.mean(axes, keepdim=True)
        y = c / torch.sqrt((c**2).mean(axes, keepdim=True) + 1e-5)
        (dx,) = torch.autograd.grad(y[0, 1, 0], x)
        leaks[name] = dx[0, 2:].abs().max().item()
    assert leaks["layer"] == 0
    assert leaks["batch"] > 1e-6
