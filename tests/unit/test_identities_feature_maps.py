"""What chapter 8 derives, on random input, with torch as the oracle."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.nn import functional as F

from batchnorm import reference
from batchnorm.ensemble import Conv, Network, forward, init_parameters
from batchnorm.layer import batch_norm

seeds = st.integers(0, 2**32 - 1)
shifts = st.tuples(st.integers(-5, 5), st.integers(-5, 5))


class Fixed(NamedTuple):
    """Statistics and parameters of a normalization, of any shape."""

    mean: np.ndarray
    var: np.ndarray
    gamma: np.ndarray
    beta: np.ndarray
    eps: float = 1e-3

    @property
    def scale(self):
        return self.gamma / np.sqrt(self.var + self.eps)

    @property
    def offset(self):
        return self.beta - self.scale * self.mean

    def normalize(self, maps):
        """The package's, on one row an example if there is a mean per activation."""
        rows, mean, var, gamma, beta = self.as_rows(maps)
        y = reference.inference(rows, gamma, beta, mean, var, eps=self.eps)
        return y.reshape(maps.shape)

    def by_torch(self, maps):
        given = map(torch.tensor, self.as_rows(maps))
        return F.batch_norm(*given, eps=self.eps).numpy().reshape(maps.shape)

    def as_rows(self, maps):
        rows = maps if self.mean.ndim == 1 else maps.reshape(len(maps), -1)
        return rows, *(part.ravel() for part in self[:4])


def fixed(rng, shape):
    mean, var = rng.normal(size=shape), rng.gamma(2, size=shape)
    return Fixed(mean, var, *rng.normal(size=(2, *shape)))


def shifted(maps, by):
    return np.roll(maps, by, axis=(-2, -1))


def convolved(images, kernels):
    around = F.pad(torch.tensor(images), (1, 1, 1, 1), mode="circular")
    return F.conv2d(around, torch.tensor(kernels)).numpy()


@given(seeds, shifts)
def test_one_mean_per_map_commutes_with_a_shift(seed, by):
    rng = np.random.default_rng(seed)
    images, kernels = rng.normal(size=(3, 2, 5, 6)), rng.normal(size=(4, 2, 3, 3))
    norm = fixed(rng, (4,))
    for layer in (norm.normalize, norm.by_torch):
        first = layer(convolved(shifted(images, by), kernels))
        last = shifted(layer(convolved(images, kernels)), by)
        np.testing.assert_allclose(first, last, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("seed", range(3))
def test_the_layers_that_claims_train_do(seed):
    """Of the fast implementation, with statistics of other images."""
    rng = np.random.default_rng(seed)
    layer = Conv(4, padding="circular")
    x, statistics = rng.normal(size=(9, 1, 8, 8)), rng.gamma(2, size=(1, 2, 4))

    def both(norm, statistics):
        """Shifted first, and shifted last."""
        network = Network((1, 8, 8), (layer,), norm=norm)
        theta = init_parameters(network, [seed])

        def maps(images):
            z = forward(network, theta, images, statistics)[0].preactivation
            return z.reshape(9, 4, 8, 8)

        return maps(shifted(x, (1, 2))), shifted(maps(x), (1, 2))

    np.testing.assert_allclose(*both("batch", statistics), rtol=1e-10, atol=1e-11)
    # One mean per activation does not, unless each map has the same one everywhere.
    rough, even = rng.gamma(2, size=(1, 2, 256)), np.repeat(statistics, 64, axis=-1)
    for statistics, commutes in ((rough, False), (even, True)):
        first, last = both("per-activation", statistics)
        assert np.allclose(first, last, rtol=1e-9, atol=1e-10) == commutes


@given(seeds, shifts)
def test_what_one_mean_per_activation_adds_to_a_shift(seed, by):
    """N(Su) − SN(u) = (a − Sa) Su + (b − Sb), and so it vanishes for all u or not."""
    rng = np.random.default_rng(seed)
    maps, norm = rng.normal(size=(3, 4, 5, 6)), fixed(rng, (4, 5, 6))
    assume(by[0] % 5 or by[1] % 6)
    a, b = norm.scale, norm.offset
    law = (a - shifted(a, by)) * shifted(maps, by) + (b - shifted(b, by))
    for layer in (norm.normalize, norm.by_torch):
        difference = layer(shifted(maps, by)) - shifted(layer(maps), by)
        np.testing.assert_allclose(difference, law, rtol=1e-8, atol=1e-9)
        assert np.abs(difference).max() > 1e-3
    # The same along the rows: shifts along the rows do nothing, others do.
    level = Fixed(*(np.broadcast_to(t[..., :1], t.shape) for t in norm[:4]))
    for along in ((0, by[1]), by):
        first = level.by_torch(shifted(maps, along))
        last = shifted(level.by_torch(maps), along)
        same = np.allclose(first, last, rtol=1e-9, atol=1e-10)
        assert same == (along[0] % 5 == 0)


@given(seeds, shifts)
def test_in_training_mode_the_statistics_shift_along(seed, by):
    """So a test in training mode passes for the layer that fails in inference."""
    maps = np.random.default_rng(seed).normal(size=(4, 2, 5, 6))

    def normalized(maps):
        rows = reference.forward(maps.reshape(4, -1), None, None)[0]
        return rows.reshape(maps.shape)

    first, last = normalized(shifted(maps, by)), shifted(normalized(maps), by)
    np.testing.assert_allclose(first, last, rtol=1e-12, atol=1e-13)


def by_torch(z, gamma, beta, eps):
    return F.batch_norm(z, None, None, gamma, beta, training=True, eps=eps)


@given(seeds, st.sampled_from([1e-12, 1e-5, 0.1, 10.0]))
def test_a_bias_before_normalization_does_nothing(seed, eps):
    """For every ε. The oracle is torch's layer, and the loss at another bias."""
    rng = np.random.default_rng(seed)
    u, weight = (torch.tensor(rng.normal(size=s)) for s in ((6, 2, 5, 5), (3, 2, 3, 3)))
    gamma, beta = torch.tensor(rng.normal(size=(2, 3)))
    target = torch.tensor(rng.normal(size=(6, 3, 5, 5)))
    weight.requires_grad_()

    def loss(layer, bias):
        z = layer(F.conv2d(u, weight, bias, padding=1), gamma, beta, eps)
        return ((torch.relu(z) - target) ** 2).mean()

    for layer in (batch_norm, by_torch):
        bias = torch.tensor(rng.normal(size=3), requires_grad=True)
        here = loss(layer, bias)
        dweight, dbias = torch.autograd.grad(here, (weight, bias))
        assert dbias.norm() <= 1e-10 * dweight.norm()
        expected = pytest.approx(here.item(), rel=1e-8)
        for other in (torch.zeros(3), torch.tensor([5.0, -3.0, 9.0])):
            assert loss(layer, other.double()).item() == expected
