"""Right programs for what belongs to inference, for modules and for workers."""

import numpy as np
import torch
from right_transforms import BACKWARD, MOMENTS, loops, on_tensors
from torch import nn
from torch.nn import functional

from batchnorm import folding, layer, reference, statistics, whitening


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
    on_tensors(layer.inference),
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

# ---------------------------------------------------------------------------
# Modules: three ways to normalize, and three to keep the running statistics


class Kept(nn.Module):
    def __init__(self, d, eps=1e-5, momentum=0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(d))
        self.bias = nn.Parameter(torch.zeros(d))
        self.register_buffer("running_mean", torch.zeros(d))
        self.register_buffer("running_var", torch.ones(d))

    def forward(self, x):
        mean, var = self.running_mean, self.running_var
        if self.training:
            var, mean = torch.var_mean(x, 0, correction=0)
            self.update(x.detach())
        return self.normalize(x, mean, var)


class ByDivision:
    def normalize(self, x, mean, var):
        return self.weight * (x - mean) / torch.sqrt(var + self.eps) + self.bias


class ByReciprocal:
    def normalize(self, x, mean, var):
        scale = self.weight * torch.rsqrt(var + self.eps)
        return torch.addcmul(self.bias, x - mean, scale)


class ByColumns:
    def normalize(self, x, mean, var):
        columns = [
            (x[:, j] - mean[j]) / (var[j] + self.eps) ** 0.5 for j in range(x.shape[1])
        ]
        return torch.stack(columns, 1) * self.weight + self.bias


class InPlace:
    def update(self, x):
        self.running_mean.lerp_(x.mean(0), self.momentum)
        self.running_var.lerp_(x.var(0), self.momentum)


class Assigned:
    def update(self, x):
        w = self.momentum
        self.running_mean = (1 - w) * self.running_mean + w * x.mean(0)
        self.running_var = (1 - w) * self.running_var + w * x.var(0)


class ByTorch:
    def update(self, x):
        functional.batch_norm(
            x, self.running_mean, self.running_var, None, None, True, self.momentum
        )


class Fewer(layer.BatchNorm):
    def forward(self, x):
        return super().forward(x) * 1


class Whole(nn.BatchNorm1d):
    def forward(self, x):
        return super().forward(x[..., None])[..., 0]


MODULES = [
    Fewer, Whole,
    *(
        type(f"{how.__name__}{keeps.__name__}", (how, keeps, Kept), {})
        for how in (ByDivision, ByReciprocal, ByColumns)
        for keeps in (InPlace, Assigned, ByTorch)
    ),
]  # fmt: skip


# ----------------------------------------------------------------------- Across workers


def sync_with(program, as_array=False):
    def sync(dy, x, gamma, eps):
        dx, dgamma, dbeta = program(np.concatenate(dy), np.concatenate(x), gamma, eps)
        cuts = np.cumsum([len(rows) for rows in x])[:-1]
        dx = np.asarray(dx)
        return (dx if as_array else np.split(dx, cuts)), dgamma, dbeta

    return sync


def by_exchange(dy, x, gamma, eps):
    """What each worker does, with the sums that are exchanged."""
    n = sum(map(len, x))
    mean = sum(rows.sum(0) for rows in x) / n
    var = sum(((rows - mean) ** 2).sum(0) for rows in x) / n
    inverse = (var + eps) ** -0.5
    dbeta = sum(rows.sum(0) for rows in dy)
    pairs = list(zip(dy, x, strict=True))
    dgamma = sum((d * (rows - mean) * inverse).sum(0) for d, rows in pairs)
    dx = [
        gamma * inverse * (d - (dbeta + (rows - mean) * inverse * dgamma) / n)
        for d, rows in pairs
    ]
    return dx, dgamma, dbeta


SYNC = [by_exchange, sync_with(loops, True), *map(sync_with, BACKWARD[:10])]
