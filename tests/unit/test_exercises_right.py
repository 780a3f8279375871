"""Right programs in other styles are right: nobody is accused falsely."""

import statistics as standard

import numpy as np
import pytest
import torch
from torch.nn import functional

from batchnorm import folding, graph, layer, reference, statistics, whitening
from batchnorm.exercises import TASKS, diagnose
from batchnorm.exercises.styles import STYLES

# ---------------------------------------------------------------------------
# Ways to take a mean and a variance along axis 0


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
    merged = statistics.merge([(row, np.zeros(len(row)), 1) for row in x])
    return merged[0], merged[1]


MOMENTS = [
    welford, pairwise, shifted_one_pass, by_matrix, by_einsum, by_lists,
    from_unbiased, of_tensors, by_halves, lambda x: (x.mean(0), x.var(0)),
]  # fmt: skip


# ---------------------------------------------------------------------------
# The transform, with each of them


def forwards(moments):
    def forward(x, gamma, beta, eps):
        mean, var = moments(x)
        return gamma * (x - mean) / np.sqrt(var + eps) + beta

    def folded(x, gamma, beta, eps):
        mean, var = moments(x)
        scale = gamma * (var + eps) ** -0.5
        return (x - mean) * scale + beta

    return [forward, folded]


def torch_forward(x, gamma, beta, eps):
    x, gamma, beta = map(torch.from_numpy, (x, gamma, beta))
    return functional.batch_norm(x, None, None, gamma, beta, True, 0.1, eps).numpy()


def our_layer(x, gamma, beta, eps):
    x, gamma, beta = map(torch.from_numpy, (x, gamma, beta))
    return layer.batch_norm(x, gamma, beta, eps)


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


# ---------------------------------------------------------------------------
# The backward pass


def by_autograd(dy, x, gamma, eps):
    dy, x, gamma = map(torch.from_numpy, (dy, x, gamma))
    x, gamma = x.requires_grad_(), gamma.requires_grad_()
    beta = torch.zeros_like(gamma, requires_grad=True)
    x_hat = (x - x.mean(0)) / torch.sqrt(x.var(0, correction=0) + eps)
    return torch.autograd.grad(gamma * x_hat + beta, [x, gamma, beta], dy)


def by_layer(dy, x, gamma, eps):
    dy, x, gamma = map(torch.from_numpy, (dy, x, gamma))
    x, gamma = x.requires_grad_(), gamma.requires_grad_()
    beta = torch.zeros_like(gamma, requires_grad=True)
    gradients = torch.autograd.grad(
        layer.batch_norm(x, gamma, beta, eps), [x, gamma, beta], dy
    )
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


# ---------------------------------------------------------------------------
# The others


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
    column = (1, -1, 1, 1)
    return gamma.reshape(column) * (x - mean) / np.sqrt(var + eps) + beta.reshape(
        column
    )


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


def torch_layer_norm(x, gamma, beta, eps):
    x, gamma, beta = map(torch.from_numpy, (x, gamma, beta))
    return functional.layer_norm(x, [x.shape[1]], gamma, beta, eps)


LAYER_NORM = [
    torch_layer_norm,
    lambda x, g, b, e: np.stack(
        [g * (r - r.mean()) / np.sqrt(r.var() + e) + b for r in x]
    ),
    *map(examples_with, FORWARD[:20:2]),
]


def running_with(moments):
    def running(mean, var, x, momentum):
        new, spread = moments(x)
        spread = spread * len(x) / (len(x) - 1)
        return mean + momentum * (new - mean), var + momentum * (spread - var)

    return running


def torch_running(mean, var, x, momentum):
    mean, var, x = map(torch.from_numpy, (mean, var, x))
    functional.batch_norm(x, mean, var, training=True, momentum=momentum)
    return mean, var


def torch_running_on_copies(mean, var, x, momentum):
    return torch_running(mean.copy(), var.copy(), x, momentum)


RUNNING = [
    torch_running_on_copies,
    lambda mean, var, x, w: (
        (1 - w) * mean + w * x.mean(0),
        (1 - w) * var + w * x.var(0, ddof=1),
    ),
    *map(running_with, MOMENTS),
]

INFERENCE = [
    lambda x, g, b, m, v, e: g * (x - m) / np.sqrt(v + e) + b,
    lambda x, g, b, m, v, e: g * (x - m) * (v + e) ** -0.5 + b,
    lambda x, g, b, m, v, e: x * (g / np.sqrt(v + e)) + (b - m * g / np.sqrt(v + e)),
    lambda x, g, b, m, v, e: (x - m) @ np.diag(g / np.sqrt(v + e)) + b,
    lambda x, g, b, m, v, e: np.array(
        [[g[j] * (r[j] - m[j]) / (v[j] + e) ** 0.5 + b[j] for j in range(len(g))]
         for r in x]
    ),
    lambda x, g, b, m, v, e: np.einsum("ij,j->ij", x - m, g / np.sqrt(v + e)) + b,
    lambda x, g, b, m, v, e: functional.batch_norm(
        *map(torch.from_numpy, (x, m, v, g, b)), False, 0.1, e
    ),
    lambda *a: layer.inference(*map(torch.from_numpy, a[:-1]), a[-1]),
    lambda x, g, b, m, v, e: reference.inference(x, g, b, m, v, eps=e).tolist(),
    lambda x, g, b, m, v, e: np.stack(
        [np.divide(x[:, j] - m[j], np.sqrt(v[j] + e)) * g[j] + b[j]
         for j in range(x.shape[1])], 1
    ),
    lambda x, g, b, m, v, e: g * ((x - m) / np.hypot(v**0.5, e**0.5)) + b,
    lambda x, g, b, m, v, e: reference.scale_and_shift(
        reference.normalize(x, m, v, eps=e), g, b
    ),
]  # fmt: skip

FOLD = [
    lambda w, c, g, b, m, v, e: (
        w * (g / np.sqrt(v + e))[:, None],
        b + g / np.sqrt(v + e) * (c - m),
    ),
    lambda w, c, g, b, m, v, e: (
        (w.T * (g / np.sqrt(v + e))).T,
        (c - m) * g / np.sqrt(v + e) + b,
    ),
    lambda w, c, g, b, m, v, e: (
        np.einsum("i,ij->ij", g * (v + e) ** -0.5, w),
        np.einsum("i,i->i", g * (v + e) ** -0.5, c - m) + b,
    ),
    lambda w, c, g, b, m, v, e: (
        np.diag(g / np.sqrt(v + e)) @ w,
        reference.inference(c[None], g, b, m, v, eps=e)[0],
    ),
    lambda w, c, g, b, m, v, e: (
        [[s * x for x in row] for s, row in zip(g / (v + e) ** 0.5, w, strict=True)],
        list(b + (c - m) * g / (v + e) ** 0.5),
    ),
    lambda w, c, g, b, m, v, e: (
        np.array([g[i] / np.sqrt(v[i] + e) * w[i] for i in range(len(w))]),
        np.array(
            [b[i] + g[i] / np.sqrt(v[i] + e) * (c[i] - m[i]) for i in range(len(w))]
        ),
    ),
    lambda w, c, g, b, m, v, e: [
        torch.from_numpy(w) * torch.from_numpy(g / np.sqrt(v + e))[:, None],
        torch.from_numpy(b + g / np.sqrt(v + e) * (c - m)),
    ],
    lambda w, c, g, b, m, v, e: (
        (w / np.sqrt(v + e).reshape(-1, 1)) * g.reshape(-1, 1),
        g * c / np.sqrt(v + e) - g * m / np.sqrt(v + e) + b,
    ),
    lambda w, c, g, b, m, v, e: (
        np.multiply(w, np.outer(g / np.sqrt(v + e), np.ones(w.shape[1]))),
        g * (c - m) / np.hypot(np.sqrt(v), np.sqrt(e)) + b,
    ),
    lambda *a: folding.fold_linear(*a[:-1], eps=a[-1]),
    lambda w, c, g, b, m, v, e: tuple(
        part.squeeze() if part.ndim > 2 else part
        for part in (
            w * (g / np.sqrt(v + e))[:, np.newaxis],
            b - g * m / np.sqrt(v + e) + g * c / np.sqrt(v + e),
        )
    ),
    lambda w, c, g, b, m, v, e: (
        np.exp(-0.5 * np.log(v + e))[:, None] * g[:, None] * w,
        np.exp(-0.5 * np.log(v + e)) * g * (c - m) + b,
    ),
]


def fold_by_probing(w, c, g, b, m, v, e):
    """Reads the folded layer off what the two layers do to 0 and to unit vectors."""

    def both(x):
        return reference.inference(x @ w.T + c, g, b, m, v, eps=e)

    bias = both(np.zeros((1, w.shape[1])))[0]
    return (both(np.eye(w.shape[1])) - bias).T, bias


FOLD.append(fold_by_probing)


def from_moments(shards):
    n = sum(count for *_, count in shards)
    mean = sum(count * mu for mu, _, count in shards) / n
    second = sum(count * (v + mu**2) for mu, v, count in shards) / n
    return mean, second - mean**2, n


def by_distance(shards):
    means, variances, counts = map(np.array, zip(*shards, strict=True))
    n = counts.sum()
    mean = np.average(means, axis=0, weights=counts)
    var = np.average(variances + (means - mean) ** 2, axis=0, weights=counts)
    return mean, var, n


def recursive(shards):
    if len(shards) == 1:
        return shards[0]
    mean, var, n = recursive(shards[1:])
    mu, v, k = shards[0]
    total = n + k
    between = n * k / total**2 * (mean - mu) ** 2
    return (n * mean + k * mu) / total, (n * var + k * v) / total + between, total


def with_values(shards):
    """Builds values that have these statistics, and takes theirs."""
    values = []
    for mu, v, n in shards:
        pattern = np.zeros((n, len(mu)))
        if n > 1:
            pattern[0], pattern[1] = 1, -1
            pattern *= np.sqrt(v * n / 2)
        values.append(mu + pattern)
    rows = np.concatenate(values)
    return rows.mean(0), rows.var(0), len(rows)


def pairs_of_shards(shards):
    n = sum(k for *_, k in shards)
    mean = sum(k / n * mu for mu, _, k in shards)
    within = sum(k / n * v for _, v, k in shards)
    between = sum(
        a[2] * b[2] / n**2 * (a[0] - b[0]) ** 2 / 2 for a in shards for b in shards
    )
    return mean, within + between, n


MERGE = [
    from_moments, by_distance, recursive, with_values, pairs_of_shards,
    statistics.merge,
    lambda shards: by_distance(list(reversed(shards))),
    lambda shards: recursive(shards[::-1]),
    lambda shards: [np.array(part) for part in recursive(shards)],
    lambda shards: (*by_distance(shards)[:2], float(by_distance(shards)[2])),
    lambda shards: tuple(torch.as_tensor(part) for part in by_distance(shards)),
    lambda shards: statistics.merge([statistics.merge(shards[:1]), *shards[1:]]),
]  # fmt: skip


def roots(x):
    c = x - x.mean(0)
    return c, c.T @ c / len(x)


def by_eigh(x):
    c, covariance = roots(x)
    values, axes = np.linalg.eigh(covariance)
    return c @ axes @ np.diag(1 / np.sqrt(values)) @ axes.T


def by_svd(x):
    c = x - x.mean(0)
    u, _, vt = np.linalg.svd(c, full_matrices=False)
    return np.sqrt(len(x)) * u @ vt


def by_svd_of_covariance(x):
    c, covariance = roots(x)
    u, s, _ = np.linalg.svd(covariance)
    return c @ (u / np.sqrt(s)) @ u.T


def by_eig(x):
    c, covariance = roots(x)
    values, axes = np.linalg.eig(covariance)
    return c @ (axes @ np.diag(values**-0.5) @ np.linalg.inv(axes))


def by_newton(x):
    """Iterates to the inverse root of the covariance, scaled to a trace of 1."""
    c, covariance = roots(x)
    scale = np.trace(covariance)
    root, inverse = covariance / scale, np.eye(len(covariance))
    for _ in range(60):
        step = (3 * np.eye(len(covariance)) - inverse @ root) / 2
        root, inverse = root @ step, step @ inverse
    return c @ inverse / np.sqrt(scale)


def by_torch(x):
    t = torch.from_numpy(x)
    c = t - t.mean(0)
    values, axes = torch.linalg.eigh(
        torch.cov(t.T, correction=0).reshape(x.shape[1], -1)
    )
    return c @ axes @ torch.diag(values**-0.5) @ axes.T


def by_polar(x):
    from scipy.linalg import polar

    return polar(x - x.mean(0))[0] * len(x) ** 0.5


def by_scipy(x):
    from scipy.linalg import inv, sqrtm

    c, covariance = roots(x)
    return c @ inv(sqrtm(covariance).real)


WHITEN = [
    by_eigh, by_svd, by_svd_of_covariance, by_eig, by_newton, by_torch, by_polar,
    by_scipy,
    lambda x: whitening.fit_zca(x)(x),
    lambda x: (x - x.mean(0)) @ whitening.fit_zca(x).matrix,
    lambda x: by_eigh(x - 7),
    lambda x: by_svd(x).tolist(),
]  # fmt: skip

RIGHT = {
    "forward": FORWARD,
    "backward": BACKWARD,
    "feature_maps": FEATURE_MAPS,
    "layer_norm": LAYER_NORM,
    "running": RUNNING,
    "inference": INFERENCE,
    "fold": FOLD,
    "merge": MERGE,
    "whiten": WHITEN,
}


def programs():
    for task, right in RIGHT.items():
        for k, program in enumerate([*right, *STYLES[task].values()]):
            yield pytest.param(task, program, id=f"{task}-{k}-{program.__name__}")


@pytest.mark.parametrize(("task", "program"), list(programs()))
def test_a_right_program_is_right(task, program):
    found = diagnose(task, program)
    assert found.right, found.message
    assert "to rounding" in found.message


SINGLE = {
    "forward": FORWARD[18:20] + FORWARD[8:10],
    "backward": [chain_rule, sums_first, centered_first],
    "feature_maps": [maps_by_axes, maps_one_by_one],
    "layer_norm": [LAYER_NORM[1]],
    "running": [RUNNING[1], running_with(by_einsum)],
    "inference": INFERENCE[:3],
    "fold": FOLD[:3],
    "whiten": [by_eigh, by_svd],
}


@pytest.mark.parametrize(
    ("task", "program"), [(task, p) for task, some in SINGLE.items() for p in some]
)
def test_a_right_program_in_float32_is_right_in_float32(task, program):
    found = diagnose(task, through_float(program))
    assert found.right, found.message
    assert "right in float32" in found.message


def test_a_dozen_right_programs_for_each_task():
    assert RIGHT.keys() == {name for name, task in TASKS.items() if not task.answer}
    assert all(len(right) + len(STYLES[task]) >= 12 for task, right in RIGHT.items())


def test_what_writes_to_its_arguments_is_told_so():
    found = diagnose("running", torch_running)
    assert found.mistake == "writes-to-input"
    assert "After the call, mean is not what it was before." in found.message
