"""A pull request: the axes over which a compiler's front end normalizes.

https://github.com/apache/tvm/pull/18609
"""

import numpy as np


class Translator:
    """Lowers one node to simpler ones."""

    def __init__(self, training):
        self.training = training

    def emit_norm(self, data, gamma, beta, axes, epsilon):
        count = np.prod([data.shape[axis] for axis in axes])
        mean = np.add.reduce(data, axis=tuple(axes), keepdims=True) / count
        gap = np.subtract(data, mean)
        power = np.add.reduce(np.square(gap), axis=tuple(axes), keepdims=True)
        root = np.sqrt(np.add(np.divide(power, count), epsilon))
        return np.add(np.multiply(np.divide(gap, root), gamma), beta)

    def batch_norm(self, data, gamma, beta, epsilon):
        # no statistics are kept: those of the data at hand are used
        dim = data.ndim
        axes = list(range(2, dim))
        shape = [-1 if axis == 1 else 1 for axis in range(dim)]
        return self.emit_norm(
            data, gamma.reshape(shape), beta.reshape(shape), axes, epsilon
        )


def feature_maps(x, gamma, beta, eps):
    return Translator(training=True).batch_norm(x, gamma, beta, eps)
