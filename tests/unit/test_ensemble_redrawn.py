"""Noise of another distribution at each step, behind a norm and with none."""

import numpy as np
import pytest
import torch

from batchnorm.ensemble import NORMS, Network, gradient, init_parameters, unpack

NET = (64,), (9, 7)
RNG = np.random.default_rng(4)
X, Y = RNG.normal(size=(2, 12, 64)), RNG.integers(10, size=(2, 12))


def network(*options):
    return Network(*NET, nonlinearity="tanh", norm=("noisy", *options))


def test_without_strength_it_is_batch_normalization():
    plain = Network(*NET, nonlinearity="tanh", norm="batch")
    theta = init_parameters(plain, [1, 2])
    both = (gradient(net, theta, X, Y) for net in (network(), plain))
    for found, wanted in zip(*both, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_the_gradient_is_that_of_autograd_through_the_same_noise():
    theta = init_parameters(network(), [1, 2]) + 0.1
    loss, found = gradient(network(1.0, (5, 6)), theta, X, Y)
    for k, seed in enumerate((5, 6)):
        drawn = NORMS["noisy"](1e-5, 1.0, (seed,))
        layers = [
            [
                None if v is None else torch.tensor(v[k], requires_grad=True)
                for v in layer
            ]
            for layer in unpack(network(), theta)
        ]
        h = torch.tensor(X[k])
        for weight, _, gamma, beta in layers[:-1]:
            z = h @ weight.T
            x_hat = (z - z.mean(0)) / (z.var(0, correction=0) + 1e-5).sqrt()
            factor, shift = (v[0].T for v in drawn.draw(1, z.shape[1], 12))
            h = torch.tanh((gamma * x_hat + beta) * factor + shift)
        weight, bias, *_ = layers[-1]
        logits = h @ weight.T + bias
        expected = torch.nn.functional.cross_entropy(logits, torch.tensor(Y[k]))
        expected.backward()
        assert loss[k] == pytest.approx(expected.item(), abs=1e-12)
        for mine, theirs in zip(unpack(network(), found), layers, strict=True):
            for a, b in zip(mine, theirs, strict=True):
                if b is not None:
                    np.testing.assert_allclose(a[k], b.grad, atol=1e-12)


def test_the_noise_has_the_moments_of_the_algorithm():
    factor, shift = NORMS["noisy"](1e-5, 1.0, (3,)).draw(1, 4000, 50)
    assert abs(shift).max() <= 0.6
    assert shift.mean(-1).std().item() == pytest.approx(0.5 / 3**0.5, rel=0.05)
    assert factor.mean().item() == pytest.approx(1.125, rel=0.01)
    assert factor.std(-1).mean().item() == pytest.approx(0.1, rel=0.05)


def test_a_network_has_its_own_noise_and_a_new_one_at_each_step():
    many, alone = NORMS["noisy"](1e-5, 1.0, (3, 8)), NORMS["noisy"](1e-5, 1.0, (8,))
    first, again = ([*many.draw(2, 5, 4)] for _ in range(2))
    np.testing.assert_array_equal(first[0][1], next(iter(alone.draw(1, 5, 4)))[0])
    assert not np.array_equal(first[0], again[0])


def test_inference_takes_the_means_of_the_noise():
    x, one = torch.ones(1, 3, 2).double(), torch.ones(1, 3).double()
    y, _ = NORMS["noisy"](0.0, 1.0).forward(x, (3,), one, 0 * one, [0 * one, one])
    np.testing.assert_allclose(y, 1.125)


def test_refuses_seeds_that_are_not_one_a_network():
    with pytest.raises(ValueError, match="seeds has 3 entries; allowed are 2"):
        NORMS["noisy"](1e-5, 1.0, (1, 2, 3)).draw(2, 5, 4)


# --------------------------------------------------- the noise with nothing under it


def shaken(*options):
    return Network(*NET, nonlinearity="tanh", norm=("shake", *options))


def test_without_strength_the_noise_alone_is_nothing():
    plain = Network(*NET, nonlinearity="tanh")
    theta = init_parameters(plain, [1, 2])
    for found, wanted in zip(
        gradient(shaken(), theta, X, Y), gradient(plain, theta, X, Y), strict=True
    ):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("spreads", [False, True])
def test_the_gradient_through_the_noise_alone_is_that_of_autograd(spreads):
    """The noise is that behind a normalization, its shift in spreads of the batch."""
    network = shaken(1.0, spreads, (5, 6))
    theta = init_parameters(network, [1, 2]) + 0.1
    loss, found = gradient(network, theta, X, Y)
    for k, seed in enumerate((5, 6)):
        drawn = NORMS["noisy"](1e-5, 1.0, (seed,))
        layers = [
            [torch.tensor(v[k], requires_grad=True) for v in layer[:2]]
            for layer in unpack(network, theta)
        ]
        h = torch.tensor(X[k])
        for weight, bias in layers[:-1]:
            z = h @ weight.T + bias
            factor, shift = (v[0].T for v in drawn.draw(1, z.shape[1], 12))
            unit = z.detach().std(0, correction=0) if spreads else 1.0
            h = torch.tanh(factor * z + unit * shift)
        weight, bias = layers[-1]
        expected = torch.nn.functional.cross_entropy(
            h @ weight.T + bias, torch.tensor(Y[k])
        )
        expected.backward()
        assert loss[k] == pytest.approx(expected.item(), abs=1e-12)
        for mine, theirs in zip(unpack(network, found), layers, strict=True):
            for a, b in zip(mine[:2], theirs, strict=True):
                np.testing.assert_allclose(a[k], b.grad, atol=1e-12)


def test_inference_without_a_norm_takes_the_means_of_the_noise():
    given = [torch.zeros(1, 3).double(), torch.ones(1, 3).double()]
    x = torch.arange(6).view(1, 3, 2).double()
    for spreads in (False, True):
        y, _ = NORMS["shake"](0.0, 1.0, spreads).forward(x, (3,), given)
        np.testing.assert_allclose(y, 1.125 * x)
