"""A pull request as it was first proposed: the formula of the backward step.

https://github.com/mlpack/mlpack/pull/1327
"""

import numpy as np


def backward(dy, x, gamma, eps):
    # One example a column, as the library keeps them.
    input, gy = x.T, dy.T
    n_cols = input.shape[1]
    mean = input.mean(1, keepdims=True)
    variance = input.var(1, keepdims=True)

    input_mean = input - mean
    std_inv = 1.0 / np.sqrt(variance + eps)
    normalized = input_mean * std_inv

    # Step 1: dl / dxhat
    norm = gy * gamma[:, None]
    # Step 2: sum dl / dxhat * (x - mu) * 0.5 * stdInv^3
    var = (norm * input_mean).sum(1, keepdims=True) * std_inv**3 * 0.5
    # Step 3: dl / dxhat * 1 / stdInv + variance * 2 * (x - mu) / m
    g = norm * std_inv + input_mean * var * 2 / n_cols
    # Step 4: sum (dl / dxhat * -1 / stdInv) + variance * (sum -2 * (x - mu)) / m
    g = g + (
        (norm * -std_inv).sum(1, keepdims=True)
        + var * (-2 * input_mean).mean(1, keepdims=True) / n_cols
    )

    gradient_gamma = (normalized * gy).sum(1)
    gradient_beta = gy.sum(1)
    return g.T, gradient_gamma, gradient_beta
