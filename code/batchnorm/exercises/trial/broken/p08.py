"""Two issues: which terms the backward pass of a library in C has.

https://github.com/pjreddie/darknet/issues/1634
https://github.com/pjreddie/darknet/issues/1723
"""

import math

import numpy as np


def mean_of(x, batch, filters):
    return [
        sum(x[j * filters + i] for j in range(batch)) / batch for i in range(filters)
    ]


def variance_of(x, mean, batch, filters):
    scale = 1.0 / (batch - 1) if batch > 1 else 0.0
    variance = [0.0] * filters
    for i in range(filters):
        for j in range(batch):
            variance[i] += (x[j * filters + i] - mean[i]) ** 2
        variance[i] *= scale
    return variance


def backward(dy, x, gamma, eps):
    batch, filters = x.shape
    delta, x = dy.ravel().tolist(), x.ravel().tolist()
    mean = mean_of(x, batch, filters)
    variance = variance_of(x, mean, batch, filters)
    scale_updates, bias_updates = [0.0] * filters, [0.0] * filters
    mean_delta, variance_delta = [0.0] * filters, [0.0] * filters

    for i in range(filters):
        root = math.sqrt(variance[i] + 0.00001)
        for j in range(batch):
            at = j * filters + i
            bias_updates[i] += delta[at]
            scale_updates[i] += delta[at] * (x[at] - mean[i]) / root
            delta[at] *= gamma[i]
            mean_delta[i] += delta[at]
            variance_delta[i] += delta[at] * (x[at] - mean[i])
        mean_delta[i] *= -1.0 / root
        variance_delta[i] *= -0.5 * (variance[i] + 0.00001) ** (-3.0 / 2.0)
        for j in range(batch):
            at = j * filters + i
            delta[at] = (
                delta[at] / root
                + variance_delta[i] * 2.0 * (x[at] - mean[i]) / batch
                + mean_delta[i] / batch
            )
    dx = np.reshape(delta, (batch, filters))
    return dx, np.array(scale_updates), np.array(bias_updates)
