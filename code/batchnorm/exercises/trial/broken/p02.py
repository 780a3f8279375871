"""A review: the variance of a library's layer, by one contraction.

https://github.com/rsokl/MyGrad/pull/285
"""

import numpy as np


def forward(x, gamma, beta, eps):
    normed_dims = tuple(i for i in range(x.ndim) if i != 1)
    keepdims_shape = tuple(1 if n != 1 else d for n, d in enumerate(x.shape))

    mean = x.mean(axis=normed_dims)
    var = np.einsum(x, range(x.ndim), x, range(x.ndim), [1])
    var /= x.size / x.shape[1]
    var -= mean**2
    std = np.sqrt(var + eps).reshape(keepdims_shape)

    y = x - mean.reshape(keepdims_shape)
    y /= std
    y *= gamma.reshape(keepdims_shape)
    y += beta.reshape(keepdims_shape)
    return y
