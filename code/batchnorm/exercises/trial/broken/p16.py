"""A review: which statistics a kernel uses when it does not train.

https://github.com/ooples/AiDotNet.Tensors/pull/27
"""

import numpy as np


def kernel(source, out, gamma, beta, running, channel, batch, epsilon, training):
    """One block of threads: one channel."""
    running_mean, running_var, momentum = running

    # parallel mean reduction
    local_sum = 0.0
    for b in range(batch):
        local_sum += source[b, channel]
    mean = local_sum / batch

    # parallel variance reduction
    local_sum = 0.0
    for b in range(batch):
        gap = source[b, channel] - mean
        local_sum += gap * gap
    var = local_sum / batch

    if training:
        keep = 1.0 - momentum
        running_mean[channel] = keep * running_mean[channel] + momentum * mean
        running_var[channel] = keep * running_var[channel] + momentum * var

    inv_var = 1.0 / np.sqrt(var + epsilon)
    for b in range(batch):
        normalized = (source[b, channel] - mean) * inv_var
        out[b, channel] = gamma[channel] * normalized + beta[channel]


def inference(x, gamma, beta, mean, var, eps):
    batch, channels = x.shape
    out = np.empty_like(x)
    running = (mean.copy(), var.copy(), 0.1)
    for channel in range(channels):
        kernel(x, out, gamma, beta, running, channel, batch, eps, training=0)
    return out
