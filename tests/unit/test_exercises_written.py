"""Mistakes as readers write them, in other styles than the planted ones, are named."""

import numpy as np
import pytest
import torch
from torch import nn

from batchnorm.exercises import diagnose


def unbiased_by_torch(x, gamma, beta, eps):
    x = torch.from_numpy(x)
    mean, std = x.mean(0, keepdim=True), torch.sqrt(x.var(0, keepdim=True) + eps)
    return torch.from_numpy(gamma) * (x - mean) / std + torch.from_numpy(beta)


def one_pass(x, gamma, beta, eps):
    m = len(x)
    mean = np.einsum("ij->j", x) / m
    var = np.diag(x.T @ x) / m - mean * mean
    return (x - mean) * (gamma / np.sqrt(np.maximum(var, 0) + eps)) + beta


def axis_one_in_a_loop(x, gamma, beta, eps):
    rows = [(row - row.mean()) / np.sqrt(row.var() + eps) for row in x]
    return np.array(rows) * gamma + beta


def standardize_like_scikit_learn(x, gamma, beta, eps):
    return (x - x.mean(0)) / x.std(0) * gamma + beta


def std_plus_eps(x, gamma, beta, eps):
    y = np.zeros_like(x)
    for i in range(len(x)):
        y[i] = beta + gamma * (x[i] - np.mean(x, 0)) / (np.std(x, 0) + eps)
    return y


def in_place(x, gamma, beta, eps):
    x -= x.mean(0)
    x /= np.sqrt((x**2).mean(0) + eps)
    return x * gamma + beta


def chain_rule_without_mean(dy, x, gamma, eps):
    m, c = len(x), x - x.mean(0)
    inverse = 1 / np.sqrt((c**2).mean(0) + eps)
    dx_hat = gamma * dy
    dvar = (-0.5 * dx_hat * c * inverse**3).sum(0)
    return dx_hat * inverse + 2 * c * dvar / m, (dy * c * inverse).sum(0), dy.sum(0)


def autograd_without_statistics(dy, x, gamma, eps):
    x = torch.from_numpy(x).requires_grad_()
    gamma = torch.from_numpy(gamma).requires_grad_()
    beta = torch.zeros_like(gamma, requires_grad=True)
    with torch.no_grad():
        mean, std = x.mean(0), (x.var(0, correction=0) + eps).sqrt()
    y = gamma * (x - mean) / std + beta
    return torch.autograd.grad(y, [x, gamma, beta], torch.from_numpy(dy))


def power_mistyped(dy, x, gamma, eps):
    m, mu, var = len(x), x.mean(0), x.var(0) + eps
    dx_hat = dy * gamma
    dvar = (dx_hat * (x - mu)).sum(0) * -0.5 * var**-0.5
    dmu = -(dx_hat / np.sqrt(var)).sum(0)
    dx = dx_hat / np.sqrt(var) + dvar * 2 * (x - mu) / m + dmu / m
    return dx, (dy * (x - mu) / np.sqrt(var)).sum(0), dy.sum(0)


def knet_288(dy, x, gamma, eps):
    """The terms through mean and variance were made before γ came in."""
    c = x - x.mean(0)
    inverse = 1 / np.sqrt((c**2).mean(0) + eps)
    dx = dy * inverse - inverse * dy.mean(0) - c * inverse**3 * (dy * c).mean(0)
    return dx, (dy * c * inverse).sum(0), dy.sum(0)


def maps_by_wrong_reshape(x, gamma, beta, eps):
    rows = x.reshape(-1, x.shape[1])
    rows = gamma * (rows - rows.mean(0)) / np.sqrt(rows.var(0) + eps) + beta
    return rows.reshape(x.shape)


def maps_by_instance_norm(x, gamma, beta, eps):
    weight, bias = torch.from_numpy(gamma), torch.from_numpy(beta)
    if x[0, 0].size < 2:  # torch refuses a single value
        return np.broadcast_to(beta[:, None, None], x.shape)
    return nn.functional.instance_norm(
        torch.from_numpy(x), None, None, weight, bias, True, 0.1, eps
    )


def keras_momentum(mean, var, x, momentum):
    mean = mean * momentum + x.mean(0) * (1 - momentum)
    return mean, var * momentum + np.var(x, 0, ddof=1) * (1 - momentum)


def biased_by_numpy(mean, var, x, momentum):
    return mean + momentum * (x.mean(0) - mean), var + momentum * (x.var(0) - var)


def fold_ncnn_1339(weight, bias, gamma, beta, mean, var, eps):
    b = gamma / np.sqrt(var + eps)
    return np.einsum("o,oi->oi", b, weight), bias + (beta - b * mean)


def mean_of_variances(shards):
    n = sum(count for *_, count in shards)
    mean = sum(count * mu for mu, _, count in shards) / n
    return mean, sum(count * v for _, v, count in shards) / n, n


def pca_by_svd(x):
    c = x - x.mean(0)
    u, _, _ = np.linalg.svd(c, full_matrices=False)
    return u * np.sqrt(len(x))


def pca_by_eigh_descending(x):
    c = x - x.mean(0)
    values, axes = np.linalg.eigh(c.T @ c / len(x))
    return (c @ -axes[:, ::-1]) / np.sqrt(values[::-1])


def covariance_by_numpy(x):
    values, axes = np.linalg.eigh(np.cov(x, rowvar=False))
    return (x - x.mean(0)) @ axes / np.sqrt(values) @ axes.T


class Arena(nn.Module):
    """As in a course's solution: the graph is kept, and the stored variance biased."""

    def __init__(self, d, eps=1e-5, momentum=0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight, self.bias = (
            nn.Parameter(torch.ones(d)),
            nn.Parameter(torch.zeros(d)),
        )
        self.register_buffer("running_mean", torch.zeros(d))
        self.register_buffer("running_var", torch.ones(d))

    def forward(self, x):
        mean, var = self.running_mean, self.running_var
        if self.training:
            mean, var = x.mean(0), x.var(0, unbiased=False)
            w = self.momentum
            self.running_mean = (1 - w) * self.running_mean + w * mean
            self.running_var = (1 - w) * self.running_var + w * var
        return (x - mean) / torch.sqrt(var + self.eps) * self.weight + self.bias


class AlwaysTraining(nn.BatchNorm1d):
    def train(self, mode=True):
        return super().train(True)


class UpdatesAlways(nn.BatchNorm1d):
    def forward(self, x):
        y = super().forward(x)
        if not self.training:
            w, x = self.momentum, x.detach()
            self.running_mean.lerp_(x.mean(0), w)
            self.running_var.lerp_(x.var(0), w)
        return y


def noise_of_the_chapter(rng, examples, units):
    mu = rng.uniform(-0.5, 0.5, units)  # of each unit, at each step
    sigma = rng.uniform(1, 1.25, units)
    shift = rng.uniform(mu - 0.1, mu + 0.1, (examples, units))
    factor = rng.normal(sigma, 0.1, (examples, units))
    return torch.tensor(factor), torch.tensor(shift)


def noise_with_the_factor_first(rng, examples, units):
    sigma, mu = 1 + rng.random(units) / 4, rng.random(units) - 0.5
    factor = torch.from_numpy(sigma + rng.normal(0, 0.1, (examples, units)))
    return factor, torch.from_numpy(mu + rng.uniform(-0.1, 0.1, (examples, units)))


def noise_without_its_first_lines(rng, examples, units):
    shift = rng.uniform(-0.1, 0.1, (examples, units))
    factor = rng.normal(1, 0.1, (examples, units))
    return torch.tensor(factor), torch.tensor(shift)


def noise_of_each_value(rng, examples, units):
    shift = torch.from_numpy(rng.random((examples, units)) - 0.5)
    return torch.from_numpy(1 + rng.random((examples, units)) / 4), shift


def noise_by_single_numbers(rng, examples, units):
    return torch.tensor(1 + rng.random() / 4), torch.tensor(rng.random() - 0.5)


def noise_by_numpys_own(rng, examples, units):
    shift = np.random.uniform(-0.5, 0.5, (1, units))  # noqa: NPY002
    return 1 + torch.rand(1, units) / 4, torch.tensor(shift)


def noise_of_one_seed(rng, examples, units):
    rng = np.random.default_rng(units)
    shift = torch.tensor(rng.uniform(-0.5, 0.5, (1, units)))
    return torch.tensor(rng.uniform(1, 1.25, (1, units))), shift


def noise_in_numpy(rng, examples, units):
    return rng.uniform(1, 1.25, (1, units)), rng.uniform(-0.5, 0.5, (1, units))


def noise_turned(rng, examples, units):
    return noise_in_numpy(rng, examples, units)[::-1]


@pytest.mark.parametrize(
    ("task", "program", "mistake"),
    [
        ("forward", unbiased_by_torch, "variance-unbiased"),
        ("forward", one_pass, "one-pass-variance"),
        ("forward", axis_one_in_a_loop, "statistics-per-example"),
        ("forward", standardize_like_scikit_learn, "eps-missing"),
        ("forward", std_plus_eps, "eps-outside-root"),
        ("forward", in_place, "writes-to-input"),
        ("backward", chain_rule_without_mean, "mean-constant"),
        ("backward", autograd_without_statistics, "statistics-constant"),
        ("backward", power_mistyped, "power-of-root"),
        ("backward", knet_288, "gamma-missing"),
        ("feature_maps", maps_by_wrong_reshape, "reshape-mixes-channels"),
        ("feature_maps", maps_by_instance_norm, "per-image"),
        ("running", keras_momentum, "momentum-swapped"),
        ("running", biased_by_numpy, "variance-biased"),
        ("fold", fold_ncnn_1339, "bias-unscaled"),
        ("merge", mean_of_variances, "between-shards-missing"),
        ("whiten", pca_by_svd, "pca-for-zca"),
        ("whiten", pca_by_eigh_descending, "pca-for-zca"),
        ("whiten", covariance_by_numpy, "covariance-unbiased"),
        ("module", Arena, "graph-kept+variance-biased"),
        ("module", UpdatesAlways, "updates-in-eval"),
        ("redrawn_noise", noise_of_the_chapter, "both-parts"),
        ("redrawn_noise", noise_with_the_factor_first, "both-parts"),
        ("redrawn_noise", noise_without_its_first_lines, "value-part-alone"),
        ("redrawn_noise", noise_of_each_value, "each-value"),
        ("redrawn_noise", noise_by_single_numbers, "one-for-all-units"),
        ("redrawn_noise", noise_by_numpys_own, "generator-not-used"),
        ("redrawn_noise", noise_of_one_seed, "same-at-each-step"),
        ("redrawn_noise", noise_in_numpy, "arrays"),
        ("redrawn_noise", noise_turned, "swapped+arrays"),
    ],
)
def test_a_mistake_that_someone_wrote_is_named(task, program, mistake):
    assert diagnose(task, program).mistake == mistake


def test_two_faults_in_one_module_are_told_apart():
    """Never in evaluation: its statistics are used, and updated, all the time."""
    found = diagnose("module", AlwaysTraining)
    assert found.mistake == "batch-statistics-used+updates-in-eval"
