"""Ghost batches and dropout in an ensemble, against torch and direct computations."""

import numpy as np
import pytest
import torch
from torch import nn

from batchnorm.datasets import digits
from batchnorm.ensemble import (
    Network,
    Recorder,
    evaluate,
    forward,
    gradient,
    init_parameters,
    moments_over,
    train,
)
from batchnorm.ensemble.norms import BatchDropout, Dropout, GhostNoise, GhostNorm

SEEDS = (3, 8)
BATCH = Network((64,), (16, 16), norm="batch")


def drawn(shape, m=12):
    rng = np.random.default_rng(0)
    x = torch.as_tensor(rng.normal(size=(2, int(np.prod(shape)), m)))
    gamma, beta = torch.as_tensor(rng.normal(size=(2, 2, shape[0])))
    return x, gamma, beta


def close(ours, theirs, tolerance=1e-12):
    return torch.allclose(ours, theirs, rtol=0, atol=tolerance)


@pytest.mark.parametrize("shape", [(5,), (3, 2, 2)])
def test_a_ghost_is_a_batch_of_its_own(shape):
    x, gamma, beta = drawn(shape)
    norm = GhostNorm(1e-3, 4)
    y, cache = norm.forward(x, shape, gamma, beta)
    dy = torch.as_tensor(np.random.default_rng(1).normal(size=x.shape))
    dx, dgamma, dbeta = norm.backward(dy.clone(), shape, cache, gamma, beta)
    for k in range(2):
        leaves = [t.clone().requires_grad_() for t in (x[k].T, gamma[k], beta[k])]
        parts = leaves[0].reshape(3, 4, *shape)
        out = [
            nn.functional.batch_norm(p, None, None, *leaves[1:], True, 0, 1e-3)
            for p in parts
        ]
        out = torch.cat(out).reshape(12, -1)
        wanted = torch.autograd.grad((out * dy[k].T).sum(), leaves)
        assert close(y[k].T, out)
        for found, grad in zip((dx[k].T, dgamma[k], dbeta[k]), wanted, strict=True):
            assert close(found, grad, 1e-11)
        values = x[k].view(shape[0], -1, 3, 4).transpose(1, 2).flatten(2)
        mean, var = values.mean((1, 2)), values.var(2).mean(1)
        m = values[0].numel()
        assert close(cache.mean[k, :, 0], mean)
        assert close(cache.var[k, :, 0] * m / (m - 1), var)


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("shape", [(5,), (3, 2, 2)])
def test_noise_of_ghosts_is_put_in_as_given_numbers(shape, own):
    """Against autograd, with the errors of the ghosts detached from the graph."""
    x, gamma, beta = drawn(shape)
    norm = GhostNoise(1e-3, 4, own)
    y, cache = norm.forward(x, shape, gamma, beta)
    dy = torch.as_tensor(np.random.default_rng(1).normal(size=x.shape))
    found = norm.backward(dy.clone(), shape, cache, gamma, beta)
    leaves = [t.clone().requires_grad_() for t in (x, gamma, beta)]
    parts = leaves[0].view(2, shape[0], -1, 3, 4)
    mean = parts.mean((2, 3, 4), keepdim=True)
    std = (parts.var((2, 3, 4), correction=0, keepdim=True) + 1e-3).sqrt()
    means = parts.detach().mean((2, 4), keepdim=True)
    stds = (parts.detach().var((2, 4), correction=0, keepdim=True) + 1e-3).sqrt()
    if not own:
        means, stds = means.roll(-1, 3), stds.roll(-1, 3)
    a, b = ((means - mean) / std).detach(), (stds / std).detach()
    g, shift = (leaf[:, :, None, None, None] for leaf in leaves[1:])
    out = (g * ((parts - mean) / std - a) / b + shift).view_as(x)
    assert close(y, out)
    if own:
        assert close(y, GhostNorm(1e-3, 4).forward(x, shape, gamma, beta)[0])
    wanted = torch.autograd.grad((out * dy).sum(), leaves)
    for one, grad in zip(found, wanted, strict=True):
        assert close(one, grad, 1e-11)


def test_noise_of_ghosts_is_off_at_inference_and_needs_divisors():
    x, gamma, beta = drawn((5,))
    given = torch.zeros(2, 5, dtype=x.dtype), torch.ones(2, 5, dtype=x.dtype)
    y, _ = GhostNoise(1e-3, 4).forward(x, (5,), gamma, beta, given)
    wanted = gamma[..., None] * x / (1 + 1e-3) ** 0.5 + beta[..., None]
    assert close(y, wanted)
    with pytest.raises(ValueError, match="size of a ghost is 5, of the batch 12"):
        GhostNoise(1e-3, 5).forward(x, (5,), gamma, beta)


def test_one_ghost_is_batch_normalization_and_so_is_inference():
    runs = [
        train(Network((64,), (16, 16), norm=norm), digits, SEEDS, lr=0.1, steps=20)
        for norm in ("batch", "ghost", ("ghost", 60))
    ]
    for run in runs[1:]:
        np.testing.assert_allclose(run.theta, runs[0].theta, rtol=0, atol=1e-12)
        np.testing.assert_allclose(run.running, runs[0].running, rtol=0, atol=1e-12)
    smaller = Network((64,), (16, 16), norm=("ghost", 10))
    run = train(smaller, digits, SEEDS, lr=0.1, steps=20)
    assert np.abs(run.theta - runs[0].theta).max() > 1e-3
    x, y = digits(0).x_test, digits(0).y_test
    known = moments_over(BATCH, run.theta, digits(0).x_train)
    one, other = (evaluate(n, run.theta, x, y, known) for n in (BATCH, smaller))
    np.testing.assert_allclose(one.loss, other.loss, rtol=0, atol=1e-12)


def test_a_batch_is_divided_without_a_rest():
    network = Network((64,), (16,), norm=("ghost", 7))
    with pytest.raises(ValueError, match="size of a ghost is 7, of the batch 60"):
        train(network, digits, [0], lr=0.1, steps=1)
    with pytest.raises(ValueError, match="size is 1; allowed"):
        Network((64,), (16,), norm=("ghost", 1))


@pytest.mark.parametrize("kind", [Dropout, BatchDropout])
def test_masks_are_zero_or_what_keeps_the_mean(kind):
    shape, p = (200,), 0.3
    x, gamma, beta = drawn(shape, m=100)
    given = (gamma, beta) if kind is BatchDropout else ()
    clean, _ = kind(0.0).forward(x, shape, *given)
    y, cache = kind(0.0, p, SEEDS).forward(x, shape, *given)
    mask = (y / clean).round(decimals=12)
    assert set(mask.unique().tolist()) == {0.0, round(1 / 0.7, 12)}
    assert abs((mask == 0).double().mean() - p) < 0.01
    assert not torch.equal(mask[0], mask[1])
    dx, *rest = kind(0.0, p, SEEDS).backward(torch.ones_like(x), shape, cache, *given)
    if kind is Dropout:
        assert close(dx, y / x)
    else:
        again = BatchDropout(0.0).forward(x, shape, *given)[1]
        wanted = BatchDropout(0.0).backward(mask, shape, again, *given)
        for found, one in zip((dx, *rest), wanted, strict=True):
            assert close(found, one, 1e-10)


@pytest.mark.parametrize("name", ["dropout", "batch-dropout"])
def test_a_network_has_the_masks_that_it_has_alone(name):
    def run(seeds, p):
        network = Network((64,), (16, 16), norm=(name, p, seeds))
        return train(network, digits, seeds, lr=0.1, steps=10).theta

    both = run(SEEDS, 0.5)
    for k, seed in enumerate(SEEDS):
        np.testing.assert_allclose(both[k], run((seed,), 0.5)[0], rtol=0, atol=1e-10)
    assert np.abs(both - run(SEEDS, 0.0)).max() > 1e-3


def test_dropout_before_relu_is_dropout_behind_it():
    z, _, _ = drawn((5,))
    mask = Dropout(0.0, 0.5, SEEDS).masks.draw(z)
    assert torch.equal(torch.relu(z * mask), torch.relu(z) * mask)


def test_batch_dropout_is_off_at_inference():
    network = Network((64,), (16, 16), norm=("batch-dropout", 0.5, SEEDS))
    run = train(network, digits, SEEDS, lr=0.1, steps=10, recorder=Recorder(None))
    for k, seed in enumerate(SEEDS):
        split, (theta, running) = digits(seed), (run.theta[[k]], run.running[[k]])
        score = evaluate(BATCH, theta, split.x_test, split.y_test, running)
        assert abs(score.loss[0] - run.loss[k, -1]) < 1e-12


def test_dropout_refuses_what_it_cannot_draw():
    with pytest.raises(ValueError, match=r"p is 1\.0; allowed"):
        Network((64,), (16,), norm=("dropout", 1.0, (0,)))
    network = Network((64,), (16,), norm=("dropout", 0.5, (0,)))
    theta = init_parameters(network, [0, 1])
    with pytest.raises(ValueError, match="seeds of dropout are 1"):
        gradient(network, theta, digits(0).x_test, digits(0).y_test)
    trace = forward(Network((64,), (16,), norm="dropout"), theta, digits(0).x_test)
    assert len(trace) == 2
