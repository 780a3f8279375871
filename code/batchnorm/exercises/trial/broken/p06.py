"""A layer of a library in NumPy, at an early commit.

https://github.com/Nico-Curti/NumPyNet/blob/006a19a39db5666d81c59e6c5993e7cbcd2ff2a9/NumPyNet/layers/batchnorm_layer.py
"""

import numpy as np


class BatchNormLayer:
    def __init__(self, scales, epsil):
        self.scales, self.epsil = scales, epsil
        self.delta = None

    def forward(self, inpt):
        self.x = inpt
        self.mean = self.x.mean(axis=0)
        # from here on the inverse of the root, whatever its name
        self.var = 1.0 / np.sqrt(self.x.var(axis=0) + self.epsil)
        self.x_norm = (self.x - self.mean) * self.var
        return self.x_norm * self.scales

    def backward(self, delta):
        inv_n = 1.0 / np.prod(self.mean.shape)
        self.delta = delta.copy()

        self.bias_updates = self.delta.sum(axis=0)
        self.scales_updates = (self.delta * self.x_norm).sum(axis=0)

        # the derivative by x_norm from now on
        self.delta *= self.scales

        self.mean_delta = (self.delta * -self.var).mean(axis=0)
        self.var_delta = (self.delta * (self.x - self.mean)).sum(axis=0)
        self.var_delta = self.var_delta * (-0.5 * self.var * self.var * self.var)

        # the derivative by the input from now on
        self.delta = (
            self.delta * self.var
            + self.var_delta * 2 * (self.x - self.mean) * inv_n
            + self.mean_delta * inv_n
        )


def backward(dy, x, gamma, eps):
    layer = BatchNormLayer(gamma, eps)
    layer.forward(x)
    layer.backward(dy)
    return layer.delta, layer.scales_updates, layer.bias_updates
