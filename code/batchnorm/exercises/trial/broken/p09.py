"""A pull request: where a library in C adds its constant.

https://github.com/pjreddie/darknet/pull/17
"""

import math

import numpy as np


def mean_cpu(x, batch, filters, spatial, mean):
    scale = 1.0 / (batch * spatial)
    for i in range(filters):
        mean[i] = 0.0
        for j in range(batch):
            for k in range(spatial):
                mean[i] += x[j * filters * spatial + i * spatial + k]
        mean[i] *= scale


def variance_cpu(x, mean, batch, filters, spatial, variance):
    scale = 1.0 / (batch * spatial - 1)
    for i in range(filters):
        variance[i] = 0.0
        for j in range(batch):
            for k in range(spatial):
                variance[i] += (
                    x[j * filters * spatial + i * spatial + k] - mean[i]
                ) ** 2
        variance[i] *= scale


def normalize_cpu(x, mean, variance, batch, filters, spatial):
    for b in range(batch):
        for f in range(filters):
            for i in range(spatial):
                index = b * filters * spatial + f * spatial + i
                x[index] = (x[index] - mean[f]) / (math.sqrt(variance[f]) + 0.000001)


def scale_and_add(output, scales, biases, batch, n, size):
    for b in range(batch):
        for i in range(n):
            for j in range(size):
                output[(b * n + i) * size + j] *= scales[i]
                output[(b * n + i) * size + j] += biases[i]


def feature_maps(x, gamma, beta, eps):
    batch, filters, height, width = x.shape
    spatial = height * width
    output = x.ravel().tolist()
    mean, variance = [0.0] * filters, [0.0] * filters
    mean_cpu(output, batch, filters, spatial, mean)
    variance_cpu(output, mean, batch, filters, spatial, variance)
    normalize_cpu(output, mean, variance, batch, filters, spatial)
    scale_and_add(output, gamma, beta, batch, filters, spatial)
    return np.reshape(output, x.shape)
