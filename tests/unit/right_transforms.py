"""Right programs for the transform and its backward pass, in many styles."""

import statistics as standard

import numpy as np
import torch
from torch.nn import functional

from batchnorm import graph, layer, reference, statistics

# -------------------------------------- Ways to take a mean and a variance along axis 0


def welford(x):
    mean, squares = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for n, row in enumerate(x, 1):
        step = row - mean
        mean = mean + step / n
        squares = squares + step * (row - mean)
    return mean, squares / len(x)


def pairwise(x):
    m = len(x)
    var = ((x[:, None] - x[None]) ** 2).sum((0, 1)) / (2 * m * m)
    return x.sum(0) / m, var


def shifted_one_pass(x):
    shifted = x - x[0]
    mean = shifted.mean(0)
    return x[0] + mean, np.maximum((shifted**2).mean(0) - mean**2, 0)


def by_matrix(x):
    m = len(x)
    centering = np.eye(m) - np.ones((m, m)) / m
    centered = centering @ x
    return np.ones(m) @ x / m, np.diag(centered.T @ centered) / m


def by_einsum(x):
    mean = np.einsum("ij->j", x) / len(x)
    centered = x - mean
    return mean, np.einsum("ij,ij->j", centered, centered) / len(x)


def by_lists(x):
    columns = x.T.tolist()
    means = [standard.fmean(column) for column in columns]
    variances = [standard.pvariance(column) for column in columns]
    return np.array(means), np.array(variances)


def from_unbiased(x):
    m = len(x)
    return np.mean(x, 0), np.var(x, axis=0, ddof=1) * (m - 1) / m


def of_tensors(x):
    var, mean = torch.var_mean(torch.from_numpy(x), 0, correction=0)
    return mean.numpy(), var.numpy()


def by_halves(x):
    return statistics.merge([(row, np.zeros(len(row)), 1) for row in x])[:2]


MOMENTS = [
    welford, pairwise, shifted_one_pass, by_matrix, by_einsum, by_lists,
    from_unbiased, of_tensors, by_halves, lambda x: (x.mean(0), x.var(0)),
]  # fmt: skip


# ----------------------------------------------------- The transform, with each of them


def forwards(moments):
    def forward(x, gamma, beta, eps):
        mean, var = moments(x)
        return gamma * (x - mean) / np.sqrt(var + eps) + beta

    def folded(x, gamma, beta, eps):
        mean, var = moments(x)
        scale = gamma * (var + eps) ** -0.5
        return (x - mean) * scale + beta

    return [forward, folded]


def on_tensors(function):
    """The same for arrays; ε, which comes last, stays a number."""
    return lambda *arrays: function(*map(torch.from_numpy, arrays[:-1]), arrays[-1])


@on_tensors
def torch_forward(x, gamma, beta, eps):
    return functional.batch_norm(x, None, None, gamma, beta, True, 0.1, eps).numpy()


our_layer = on_tensors(layer.batch_norm)


def as_list(x, gamma, beta, eps):
    return reference.forward(x, gamma, beta, eps=eps)[0].tolist()


def through_float(function):
    """The same in float32 throughout."""

    def single(*arguments):
        return function(*(
            a.astype(np.float32) if isinstance(a, np.ndarray) else np.float32(a)
            for a in arguments
        ))  # fmt: skip

    return single


FORWARD = [
    *(program for moments in MOMENTS for program in forwards(moments)),
    torch_forward, our_layer, as_list,
]  # fmt: skip


# -------------------------------------------------------------------- The backward pass


def gradients_of(forward):
    @on_tensors
    def gradients(dy, x, gamma, eps):
        leaves = [x, gamma, torch.zeros_like(gamma)]
        for tensor in leaves:
            tensor.requires_grad_()
        return torch.autograd.grad(forward(*leaves, eps), leaves, dy)

    return gradients


@gradients_of
def by_autograd(x, gamma, beta, eps):
    x_hat = (x - x.mean(0)) / torch.sqrt(x.var(0, correction=0) + eps)
    return gamma * x_hat + beta


def by_layer(dy, x, gamma, eps):
    gradients = gradients_of(layer.batch_norm)(dy, x, gamma, eps)
    return [gradient.numpy() for gradient in gradients]


def chain_rule(dy, x, gamma, eps):
    m = len(x)
    mu, var = x.mean(0), x.var(0)
    dx_hat = dy * gamma
    dvar = (dx_hat * (x - mu)).sum(0) * -0.5 * (var + eps) ** -1.5
    dmu = -dx_hat.sum(0) / np.sqrt(var + eps) + dvar * (-2 * (x - mu)).sum(0) / m
    dx = dx_hat / np.sqrt(var + eps) + dvar * 2 * (x - mu) / m + dmu / m
    x_hat = (x - mu) / np.sqrt(var + eps)
    return dx, (dy * x_hat).sum(axis=0), dy.sum(axis=0)


def sums_first(dy, x, gamma, eps):
    m = len(x)
    inverse = (x.var(0) + eps) ** -0.5
    x_hat = (x - x.mean(0)) * inverse
    dgamma, dbeta = np.sum(dy * x_hat, 0), np.sum(dy, 0)
    return gamma * inverse / m * (m * dy - dbeta - x_hat * dgamma), dgamma, dbeta


def projections(dy, x, gamma, eps):
    m = len(x)
    sigma = np.sqrt(x.var(0) + eps)
    x_hat = (x - x.mean(0)) / sigma
    ones = np.ones((m, 1))
    dx = np.zeros_like(dy)
    for j in range(x.shape[1]):
        u = x_hat[:, [j]]
        dx[:, [j]] = dy[:, [j]] - ones @ (ones.T @ dy[:, [j]]) / m
        dx[:, [j]] -= u @ (u.T @ dy[:, [j]]) / m
        dx[:, j] *= gamma[j] / sigma[j]
    return dx, np.diag(dy.T @ x_hat), (ones.T @ dy)[0]


def loops(dy, x, gamma, eps):
    m, d = x.shape
    dx, dgamma, dbeta = np.zeros((m, d)), np.zeros(d), np.zeros(d)
    for j in range(d):
        mean = sum(x[:, j]) / m
        sigma = (sum((v - mean) ** 2 for v in x[:, j]) / m + eps) ** 0.5
        hat = [(v - mean) / sigma for v in x[:, j]]
        for i in range(m):
            dgamma[j] += dy[i, j] * hat[i]
            dbeta[j] += dy[i, j]
        for i in range(m):
            taken = dbeta[j] + hat[i] * dgamma[j]
            dx[i, j] = gamma[j] / sigma * (dy[i, j] - taken / m)
    return dx, dgamma, dbeta


def by_reference(dy, x, gamma, eps):
    _, cache = reference.forward(x, gamma, 0 * gamma, eps=eps)
    return list(reference.backward(dy, cache))


def by_graph(dy, x, gamma, eps):
    nodes = graph.backward(dy, graph.forward(x, gamma, 0 * gamma, eps=eps))
    return nodes.d_x, nodes.d_gamma, nodes.d_beta


def by_whitening_in_one_dimension(dy, x, gamma, eps):
    """Differentiates (x − μ) over σ as a quotient, column by column."""
    dx = np.empty_like(x)
    sigma = np.sqrt(np.var(x, 0) + eps)
    c = x - x.mean(0)
    for j, s in enumerate(sigma):
        m = len(x)
        jacobian = (np.eye(m) - 1 / m) / s - np.outer(c[:, j], c[:, j]) / (m * s**3)
        dx[:, j] = gamma[j] * jacobian.T @ dy[:, j]
    return dx, (dy * c / sigma).sum(0), dy.sum(0)


def centered_first(dy, x, gamma, eps):
    g = gamma * dy
    g = g - g.mean(0)
    c = x - x.mean(0)
    var = (c * c).mean(0) + eps
    return (
        (g - c * (g * c).mean(0) / var) / var**0.5,
        (dy * c).sum(0) / var**0.5,
        sum(dy),
    )


BACKWARD = [
    by_autograd, by_layer, chain_rule, sums_first, projections, loops, by_reference,
    by_graph, by_whitening_in_one_dimension, centered_first,
    lambda *a: tuple(np.array(r) for r in sums_first(*a)),
]  # fmt: skip


# --------------------------------------------------------------------------- The others


def maps_with(program):
    def maps(x, gamma, beta, eps):
        n, c, h, w = x.shape
        rows = x.transpose(0, 2, 3, 1).reshape(-1, c)
        y = np.asarray(program(rows.copy(), gamma, beta, eps))
        return y.reshape(n, h, w, c).transpose(0, 3, 1, 2)

    return maps


def maps_by_axes(x, gamma, beta, eps):
    axes = (0, 2, 3)
    mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    gamma, beta = gamma.reshape(1, -1, 1, 1), beta.reshape(1, -1, 1, 1)
    return gamma * (x - mean) / np.sqrt(var + eps) + beta


def maps_one_by_one(x, gamma, beta, eps):
    y = np.empty(x.shape)
    for c in range(x.shape[1]):
        one = x[:, c]
        y[:, c] = gamma[c] * (one - one.mean()) / np.sqrt(one.var() + eps) + beta[c]
    return y


FEATURE_MAPS = [
    maps_by_axes, maps_one_by_one, torch_forward, our_layer,
    *map(maps_with, FORWARD[:16:2]),
]  # fmt: skip


def examples_with(program):
    def examples(x, gamma, beta, eps):
        one, zero = np.ones(len(x)), np.zeros(len(x))
        return gamma * np.asarray(program(x.T.copy(), one, zero, eps)).T + beta

    return examples


@on_tensors
def torch_layer_norm(x, gamma, beta, eps):
    return functional.layer_norm(x, [x.shape[1]], gamma, beta, eps)


LAYER_NORM = [
    torch_layer_norm,
    lambda x, g, b, e: np.stack(
        [g * (r - r.mean()) / np.sqrt(r.var() + e) + b for r in x]
    ),
    *map(examples_with, FORWARD[:20:2]),
]


def gradients_with(program):
    def gradients(dy, x, gamma, eps):
        one = np.ones(len(x))
        turned = (gamma * dy).T.copy(), x.T.copy(), one, eps
        dx = np.asarray(program(*turned)[0]).T
        centered = x - x.mean(1, keepdims=True)
        x_hat = centered / np.sqrt(x.var(1, keepdims=True) + eps)
        return dx, (dy * x_hat).sum(0), dy.sum(0)

    return gradients


@gradients_of
def by_autograd_of_rows(x, gamma, beta, eps):
    c = x - x.mean(1, keepdim=True)
    return gamma * c / torch.sqrt((c * c).mean(1, keepdim=True) + eps) + beta


def row_by_row(dy, x, gamma, eps):
    dx, dgamma, dbeta = np.empty(x.shape), 0.0, 0.0
    for i, (arrives, row) in enumerate(zip(dy, x, strict=True)):
        std = np.sqrt(row.var() + eps)
        x_hat, g = (row - row.mean()) / std, gamma * arrives
        dx[i] = (g - g.mean() - x_hat * np.mean(g * x_hat)) / std
        dgamma, dbeta = dgamma + arrives * x_hat, dbeta + arrives
    return dx, dgamma, dbeta


LAYER_BACKWARD = [by_autograd_of_rows, row_by_row, *map(gradients_with, BACKWARD)]
