"""Right programs in other styles than the book's, for a reader's test to accept.

A test that only accepts one way to write a program is as wrong as one that accepts
all; these differ in how they sum, in what they divide by, and in the route they take.
"""

import numpy as np

from batchnorm import folding, graph, reference, statistics


def _rows_by_reciprocal(x, gamma, beta, eps):
    centered = x - np.mean(x, axis=0)
    inverse = 1.0 / np.sqrt(np.mean(centered * centered, axis=0) + eps)
    return centered * (inverse * gamma) + beta


def _rows_one_by_one(x, gamma, beta, eps):
    y = np.empty_like(x)
    for j in range(x.shape[1]):
        mean = sum(x[:, j]) / len(x)
        var = sum((value - mean) ** 2 for value in x[:, j]) / len(x)
        y[:, j] = gamma[j] * (x[:, j] - mean) / (var + eps) ** 0.5 + beta[j]
    return y


def _backward_by_graph(dy, x, gamma, eps):
    values = graph.forward(x, gamma, np.zeros_like(gamma), eps=eps)
    nodes = graph.backward(dy, values)
    return nodes.d_x, nodes.d_gamma, nodes.d_beta


def _backward_by_jacobian(dy, x, gamma, eps):
    m = len(x)
    inverse = 1 / np.sqrt(x.var(0) + eps)
    x_hat = (x - x.mean(0)) * inverse
    dx = np.empty_like(dy)
    for j in range(x.shape[1]):
        passed = np.eye(m) - np.ones((m, m)) / m
        passed -= np.outer(x_hat[:, j], x_hat[:, j]) / m
        dx[:, j] = gamma[j] * inverse[j] * passed @ dy[:, j]
    return dx, np.einsum("ij,ij->j", dy, x_hat), np.einsum("ij->j", dy)


def _maps_by_rows(x, gamma, beta, eps):
    rows = np.moveaxis(x, 1, -1)
    flat = rows.reshape(-1, x.shape[1])
    y = _rows_by_reciprocal(flat, gamma, beta, eps)
    return np.moveaxis(y.reshape(rows.shape), -1, 1)


def _examples_by_columns(x, gamma, beta, eps):
    return gamma * _rows_by_reciprocal(x.T, 1.0, 0.0, eps).T + beta


def _layer_backward_by_columns(dy, x, gamma, eps):
    one = np.ones(len(x))
    dx, _, _ = _backward_by_jacobian((gamma * dy).T, x.T, one, eps)
    x_hat = _rows_by_reciprocal(x.T, one, 0 * one, eps).T
    return dx.T, (dy * x_hat).sum(0), dy.sum(0)


def _running_by_difference(mean, var, x, momentum):
    mean = mean + momentum * (x.mean(0) - mean)
    return mean, var + momentum * (x.var(0, ddof=1) - var)


def _inference_as_affine(x, gamma, beta, mean, var, eps):
    scale = gamma / np.sqrt(var + eps)
    return x * scale + (beta - mean * scale)


def _fold_by_matrix(weight, bias, gamma, beta, mean, var, eps):
    scale = np.diag(gamma * (var + eps) ** -0.5)
    return scale @ weight, scale @ (bias - mean) + beta


def _merge_two_at_a_time(shards):
    mean, var, count = shards[0]
    for other, spread, more in shards[1:]:
        total = count + more
        apart = other - mean
        squares = var * count + spread * more + apart**2 * count * more / total
        mean, var, count = mean + apart * more / total, squares / total, total
    return mean, var, count


def _whiten_by_svd(x):
    left, _, right = np.linalg.svd(x - x.mean(0), full_matrices=False)
    return left @ right * len(x) ** 0.5


def _sync_by_rows(dy, x, gamma, eps):
    cuts = np.cumsum([len(rows) for rows in x])[:-1]
    results = _backward_by_graph(np.concatenate(dy), np.concatenate(x), gamma, eps)
    return np.split(results[0], cuts), *results[1:]


def _noise_by_random(rng, examples, units):
    import torch

    factor, shift = torch.from_numpy(rng.random((2, 1, units)))
    return 1 + factor / 4, shift - 0.5


def _modules():
    from torch import nn

    from batchnorm.layer import BatchNorm

    return {"the book's": BatchNorm, "torch's": nn.BatchNorm1d}


def _book_forward(x, gamma, beta, eps):
    return reference.forward(x, gamma, beta, eps=eps)[0]


def _book_inference(x, gamma, beta, mean, var, eps):
    return reference.inference(x, gamma, beta, mean, var, eps=eps)


def _book_fold(*arguments):
    return folding.fold_linear(*arguments[:-1], eps=arguments[-1])


_STYLES = {
    "forward": {
        "the book's": _book_forward,
        "by reciprocal": _rows_by_reciprocal,
        "one by one": _rows_one_by_one,
    },
    "backward": {
        "node by node": _backward_by_graph,
        "by the Jacobian": _backward_by_jacobian,
    },
    "feature_maps": {"the book's": _book_forward, "by rows": _maps_by_rows},
    "layer_norm": {"by columns": _examples_by_columns},
    "layer_backward": {"by columns": _layer_backward_by_columns},
    "running": {"by the difference": _running_by_difference},
    "inference": {
        "the book's": _book_inference,
        "as one affine map": _inference_as_affine,
    },
    "fold": {"the book's": _book_fold, "by a diagonal matrix": _fold_by_matrix},
    "merge": {"the book's": statistics.merge, "two at a time": _merge_two_at_a_time},
    "whiten": {"by singular values": _whiten_by_svd},
    "sync_backward": {"all rows at once": _sync_by_rows},
    "redrawn_noise": {"both in one call": _noise_by_random},
}


def of(task):
    """Right programs of a task: from names to what a reader would hand in."""
    return _modules() if task == "module" else _STYLES[task]
