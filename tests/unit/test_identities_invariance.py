"""What normalization leaves invariant: random networks, autograd, unit by unit."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import batch_norm, cross_entropy

from batchnorm import claims
from batchnorm.claims import invariance
from batchnorm.claims.networks import Mlp

few = settings(max_examples=20)
seeds = st.integers(0, 2**32 - 1)
UNITS = 5


class Net:
    """Two normalized layers of ReLUs, with γ and β, and a linear one."""

    def __init__(self, seed, eps=1e-300):  # PyTorch refuses 0
        self.eps, rng = eps, np.random.default_rng(seed)
        self.x = torch.tensor(rng.normal(size=(24, UNITS)))
        self.labels = torch.tensor(rng.integers(3, size=24))
        self.weights = [torch.tensor(rng.normal(size=(UNITS, n))) for n in (5, 5)]
        self.last = torch.tensor(rng.normal(size=(UNITS, 3)))
        self.affine = [torch.tensor(rng.normal(1, 0.3, UNITS)) for _ in range(4)]
        self.factors = [torch.tensor(10 ** rng.uniform(-2, 2, UNITS)) for _ in range(2)]

    def step(self, weights):
        """Loss, gradients of the weights (columns are units), of γ, and the σ²."""
        leaves = [w.detach().requires_grad_() for w in weights]
        gammas = [g.detach().requires_grad_() for g in self.affine[:2]]
        h, variances = self.x, []
        for w, gamma, beta in zip(leaves, gammas, self.affine[2:], strict=True):
            x = h @ w
            variances.append(x.var(0, correction=0).detach())
            normalized = batch_norm(x, None, None, training=True, eps=self.eps)
            h = torch.relu(gamma * normalized + beta)
        loss = cross_entropy(h @ self.last, self.labels)
        grads = torch.autograd.grad(loss, (*leaves, *gammas))
        return loss.item(), grads[:2], grads[2:], variances

    def descend(self, rate, steps=4, factors=(1.0, 1.0)):
        """Losses and weights of steps whose rate is the rate times factor²."""
        weights = [a * w for a, w in zip(factors, self.weights, strict=True)]
        losses, path = [], [weights]
        for _ in range(steps):
            loss, grads, *_ = self.step(weights)
            moved = zip(factors, weights, grads, strict=True)
            weights = [w - a**2 * rate * g for a, w, g in moved]
            losses.append(loss)
            path.append(weights)
        return losses, path


def squares(units):
    return (units**2).sum(dim=0)


def close(found, expected, rtol):
    torch.testing.assert_close(found, expected, rtol=rtol, atol=0)


@few
@given(seeds)
def test_the_scale_of_weights_divides_their_gradient(seed):
    """By another factor for each unit of each layer."""
    net = Net(seed)
    loss, grads, *_ = net.step(net.weights)
    scaled = [a * w for a, w in zip(net.factors, net.weights, strict=True)]
    loss_scaled, found, *_ = net.step(scaled)
    assert loss_scaled == pytest.approx(loss, rel=1e-10)
    for a, g, g_scaled in zip(net.factors, grads, found, strict=True):
        off = torch.linalg.norm(a * g_scaled - g, dim=0)
        assert torch.all(off <= 1e-8 * (1e-6 + torch.linalg.norm(g, dim=0)))


@few
@given(seeds)
def test_a_gradient_is_orthogonal_to_its_weights(seed):
    net = Net(seed)
    _, grads, *_ = net.step(net.weights)
    for w, g in zip(net.weights, grads, strict=True):
        assert torch.all((w * g).sum(0).abs() <= 1e-12 * (1 + squares(w) + squares(g)))


@few
@given(seeds, st.floats(1e-4, 10))
def test_epsilon_lets_its_share_through(seed, eps):
    net = Net(seed, eps)
    _, grads, d_gammas, variances = net.step(net.weights)
    layers = net.weights, grads, net.affine[:2], d_gammas, variances
    for w, g, gamma, d_gamma, var in zip(*layers, strict=True):
        law = eps / (var + eps) * gamma * d_gamma
        torch.testing.assert_close((w * g).sum(0), law, rtol=1e-9, atol=1e-12)


@few
@given(seeds, st.floats(1e-3, 10))
def test_a_step_adds_the_square_of_its_length(seed, rate):
    net = Net(seed)
    _, grads, *_ = net.step(net.weights)
    for w, g in zip(net.weights, grads, strict=True):
        close(squares(w - rate * g), squares(w) + rate**2 * squares(g), 1e-11)


@few
@given(seeds, st.floats(1e-3, 10))
def test_no_step_shortens_weights(seed, rate):
    _, path = Net(seed).descend(rate)
    for before, after in pairwise(path):
        for w, moved in zip(before, after, strict=True):
            assert torch.all(squares(moved) >= (1 - 1e-12) * squares(w))


@few
@given(seeds, st.floats(1e-3, 1))
def test_a_scale_is_a_learning_rate(seed, rate):
    net = Net(seed)
    expected, path = net.descend(rate)
    found, scaled = net.descend(rate, factors=net.factors)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    close(scaled[-1][0] / net.factors[0], path[-1][0], 1e-4)


# --------------------------------------------- the tests and the claim can fail


def test_a_slant_that_cancels_over_the_layer_is_seen():
    """The law is of each unit: sums over a layer hide slants of both signs."""
    net = Net(0, eps=0.3)
    _, grads, *_ = net.step(net.weights)
    slants = (net.weights[0] * grads[0]).sum(0)
    assert slants.max() > 1e-3
    assert slants.min() < -1e-3


def shortened(seeds, **changed):
    entry = claims.get("epsilon-shortens-weights")
    return entry.measure(seeds, **{**entry.setting, **changed})


def test_units_that_shrink_are_counted_one_by_one(monkeypatch):
    drawn = iter([[[1.0, 1.0]], [[0.9, 2.0]], [[0.9, 2.0]], [[0.8, 1.0]]])
    monkeypatch.setattr(invariance, "_norms", lambda *_: np.array(next(drawn)))
    np.testing.assert_allclose(shortened([0], steps=2), [0.75])


def test_epsilon_shortens_weights_and_only_epsilon_does():
    """Fails for "never shorter" with ε = 1e-5, which the sum over a layer hid."""
    small = {"net": Mlp("relu", 2, 16), "steps": 10}
    assert np.all(shortened([0, 1], **small, eps=0.0) == 0)
    assert np.all(shortened([0, 1], **small) > 0.1)
    # The growth is of second order in the rate, the loss of length of first.
    assert np.all(shortened([0, 1], **small, rate=1.0) < 0.01)


# ------------------------------------------------------ the balance of decay


def test_the_pull_on_a_neuron_is_that_of_autograd():
    rng = np.random.default_rng(1)
    w, u = rng.normal(size=(1, 2, 4)), rng.normal(size=(1, 9, 4))
    targets = rng.normal(size=(1, 9, 1))
    leaf = torch.tensor(w[0], requires_grad=True)
    x = torch.tensor(u[0]) @ leaf.T
    y = (x - x.mean(0)) / x.std(0, correction=0)
    (((y - torch.tensor(targets[0])) ** 2).sum() / 18).backward()
    np.testing.assert_allclose(invariance._pull(w, u, targets)[0], leaf.grad)


@pytest.mark.parametrize("id", ["decay-sets-the-angle", "momentum-narrows-the-angle"])
def test_another_law_of_the_angle_is_not_supported(id):
    entry = claims.get(id)
    changed = {"steps": 2000, "decay": (0.04,) * len(entry.setting["decay"])}
    predicted, measured = entry.measure((0, 1, 2), **entry.setting | changed)
    assert np.all(np.abs(measured / predicted - 1) < 0.05)
    # Neither √(2ηλ) without the momentum would do, nor an angle in proportion to ηλ.
    other = predicted[0] ** (1 if id.startswith("momentum") else 2)
    assert entry.judge(measured / other)[1] == "opposed"
