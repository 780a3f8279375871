"""An issue: the backward pass on the CPU, and the scales.

https://github.com/denizyuret/Knet.jl/issues/288
"""

import numpy as np


def _cache(x, eps):
    mu = x.mean(axis=0, keepdims=True)
    ivar = 1 / np.sqrt(((x - mu) ** 2).mean(axis=0, keepdims=True) + eps)
    return mu, ivar


def backward(dy, x, gamma, eps):
    mu, ivar = _cache(x, eps)
    g = gamma[None, :]
    x_mu = x - mu
    # equations from the original paper
    dyivar = dy * ivar
    dg = np.sum(x_mu * dyivar, axis=0)
    db = np.sum(dy, axis=0)
    dy = g * dy
    m = x.shape[0]
    dsigma2 = -0.5 * np.sum(dyivar * x_mu * ivar**2, axis=0, keepdims=True)
    dmu = -np.sum(dyivar, axis=0, keepdims=True)
    dmu -= 2 * dsigma2 * np.sum(x_mu, axis=0, keepdims=True) / m
    dx = dyivar + dsigma2 * 2 * x_mu / m + dmu / m
    return dx, dg, db
