r"""Batch normalization in NumPy: one function for each equation of the paper.

Activations have the shape (m, d) or (N, C, \*spatial), the channels on axis 1.
Each channel is normalized over everything else: m rows, or N images times their
pixels. Statistics are computed in float64, whatever the dtype of the input, and
results are rounded once, to that dtype. Inputs are never written to.

Source: Ioffe and Szegedy, Batch Normalization, ICML 2015, arXiv 1502.03167.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from batchnorm import _checks

# ---------------------------------------------------------------------------
# The transform, equation by equation (Algorithm 1)


def batch_mean(x):
    r"""Mean of each channel over the mini-batch.

    $$\mu_{\mathcal B} = \frac 1m \sum_{i=1}^m x_i$$

    x: activations, (m, d) or (N, C, \*spatial), at least two values per channel.
    Returns the mean, (d,), float64.
    Raises ValueError if x has no channel axis, or too few values.
    Source: the paper, Algorithm 1, first line.
    """
    maps = _maps(_checks.batch("x", x))
    # Deviations from one of the samples are small where the values are large
    # and close together; a constant channel has its mean exactly.
    first = maps[0, :, 0]
    first = np.where(np.isfinite(first), first, 0.0)
    return first + np.mean(maps - _column(first), axis=(0, 2))


def batch_variance(x, mean):
    r"""Biased variance of each channel over the mini-batch.

    $$\sigma^2_{\mathcal B} = \frac 1m \sum_{i=1}^m (x_i - \mu_{\mathcal B})^2$$

    x: activations, (m, d) or (N, C, \*spatial), at least two values per channel;
    mean: from `batch_mean`, (d,).
    Returns the variance, (d,), float64.
    Raises ValueError if x has no channel axis or too few values, or mean another
    length.
    Source: the paper, Algorithm 1, second line.
    """
    x = _checks.batch("x", x)
    mean = _checks.channel_vector("mean", mean, x.shape[1])
    return np.mean(_centered(_maps(x), mean) ** 2, axis=(0, 2))


def normalize(x, mean, var, *, eps=1e-5):
    r"""Activations shifted and scaled by the given statistics.

    $$\hat x_i = \frac{x_i - \mu}{\sqrt{\sigma^2 + \epsilon}}$$

    x: activations, (m, d) or (N, C, \*spatial); mean, var: (d,).
    Returns x_hat, of the shape and dtype of x.
    Raises ValueError if mean or var has another length, var a negative entry, or
    eps is not positive and finite.
    Source: the paper, Algorithm 1, third line.
    """
    return inference(x, None, None, mean, var, eps=eps)


def scale_and_shift(x_hat, gamma, beta):
    r"""Normalized activations, scaled and shifted by the learned parameters.

    $$y_i = \gamma \hat x_i + \beta$$

    x_hat: (m, d) or (N, C, \*spatial); gamma, beta: (d,), or None for 1 and 0.
    Returns y, of the shape and dtype of x_hat.
    Raises ValueError if gamma or beta has another length.
    Source: the paper, Algorithm 1, fourth line.
    """
    x_hat = _checks.activations("x_hat", x_hat)
    channels = x_hat.shape[1]
    gamma = _checks.parameter("gamma", gamma, channels)
    beta = _checks.parameter("beta", beta, channels)
    y = _maps(x_hat) * _column(_float64(gamma, 1.0)) + _column(_float64(beta, 0.0))
    return _rounded(y, x_hat)


@dataclass(frozen=True, eq=False)
class Cache:
    """What the backward pass needs of the forward pass.

    mean, var: the batch statistics, (d,), float64, var biased.
    x, gamma, beta, eps: the arguments of `forward`. x is kept, not copied: it has
    to be unchanged when `backward` is called.
    """

    x: np.ndarray
    mean: np.ndarray
    var: np.ndarray
    gamma: np.ndarray | None
    beta: np.ndarray | None
    eps: float


def forward(x, gamma, beta, *, eps=1e-5):
    r"""Batch normalization of a mini-batch with its own statistics.

    $$y_i = \gamma \frac{x_i - \mu_{\mathcal B}}
                        {\sqrt{\sigma^2_{\mathcal B} + \epsilon}} + \beta$$

    x: activations, (m, d) or (N, C, \*spatial), at least two values per channel;
    gamma, beta: (d,), or None for 1 and 0; eps: added to the variance.
    Returns (y, cache): y of the shape and dtype of x (integers give float64), and
    the `Cache` for `backward`, with the statistics in cache.mean and cache.var.
    Raises ValueError if x has no channel axis or too few values, if gamma or beta
    has another length than x has channels, or eps is not positive and finite.
    Source: the paper, Algorithm 1.
    """
    x = _checks.batch("x", x)
    channels = x.shape[1]
    gamma = _checks.parameter("gamma", gamma, channels)
    beta = _checks.parameter("beta", beta, channels)
    eps = _checks.epsilon(eps)
    mean = batch_mean(x)
    var = batch_variance(x, mean)
    x_hat = _centered(_maps(x), mean) / _column(np.sqrt(var + eps))
    y = x_hat * _column(_float64(gamma, 1.0)) + _column(_float64(beta, 0.0))
    return _rounded(y, x), Cache(x, mean, var, gamma, beta, eps)


def backward(dy, cache):
    r"""Gradients of the loss through `forward`, in closed form.

    $$\frac{\partial\ell}{\partial x_i} =
      \frac{\gamma}{\sqrt{\sigma^2_{\mathcal B} + \epsilon}} \Big(
        \frac{\partial\ell}{\partial y_i}
        - \frac 1m \sum_j \frac{\partial\ell}{\partial y_j}
        - \hat x_i \frac 1m \sum_j \frac{\partial\ell}{\partial y_j} \hat x_j
      \Big)$$

    $$\frac{\partial\ell}{\partial\gamma} =
        \sum_i \frac{\partial\ell}{\partial y_i} \hat x_i, \qquad
      \frac{\partial\ell}{\partial\beta} = \sum_i \frac{\partial\ell}{\partial y_i}$$

    dy: gradient with respect to y, of the shape of x; cache: from `forward`.
    Returns (dx, dgamma, dbeta): dx of the shape and dtype of x, dgamma and dbeta
    (d,) of the dtype of the parameter, or None where the parameter was None.
    Raises ValueError if dy does not have the shape of x, or cache is not a `Cache`.
    Source: the paper, section 3, simplified.
    """
    if not isinstance(cache, Cache):
        raise ValueError(
            f"cache is a {type(cache).__name__}; allowed is the Cache from forward"
        )
    x, gamma, beta = cache.x, cache.gamma, cache.beta
    dy = _maps(_checks.gradient("dy", dy, x.shape))
    std = np.sqrt(cache.var + cache.eps)
    x_hat = _centered(_maps(x), cache.mean) / _column(std)
    m = x.size // x.shape[1]
    dbeta = np.sum(dy, axis=(0, 2))
    dgamma = np.sum(dy * x_hat, axis=(0, 2))
    dx = _column(_float64(gamma, 1.0) / std) * (
        dy - _column(dbeta / m) - x_hat * _column(dgamma / m)
    )
    return _rounded(dx, x), _like(dgamma, gamma), _like(dbeta, beta)


# ---------------------------------------------------------------------------
# Inference: the statistics are constants (Algorithm 2)


def inference(x, gamma, beta, mean, var, *, eps=1e-5):
    r"""Batch normalization with given statistics, those of the population.

    $$y_i = \gamma \frac{x_i - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta$$

    x: activations, (m, d) or (N, C, \*spatial), any number of values;
    gamma, beta: (d,), or None for 1 and 0; mean, var: (d,).
    Returns y, of the shape and dtype of x (integers give float64).
    Raises ValueError if x has no channel axis, if a vector has another length than
    x has channels, var a negative entry, or eps is not positive and finite.
    Source: the paper, Algorithm 2, step 11.
    """
    x = _checks.activations("x", x)
    channels = x.shape[1]
    gamma = _checks.parameter("gamma", gamma, channels)
    beta = _checks.parameter("beta", beta, channels)
    mean = _float64(_checks.channel_vector("mean", mean, channels))
    var = _float64(_checks.variance("var", var, channels))
    eps = _checks.epsilon(eps)
    x_hat = (_maps(x) - _column(mean)) / _column(np.sqrt(var + eps))
    y = x_hat * _column(_float64(gamma, 1.0)) + _column(_float64(beta, 0.0))
    return _rounded(y, x)


def inference_backward(dy, x, gamma, mean, var, *, eps=1e-5):
    r"""Gradients of the loss through `inference`.

    $$\frac{\partial\ell}{\partial x_i} =
        \frac{\gamma}{\sqrt{\sigma^2 + \epsilon}} \frac{\partial\ell}{\partial y_i},
      \qquad
      \frac{\partial\ell}{\partial\gamma} =
        \sum_i \frac{\partial\ell}{\partial y_i} \hat x_i, \qquad
      \frac{\partial\ell}{\partial\beta} = \sum_i \frac{\partial\ell}{\partial y_i}$$

    Nothing passes through the mean and the variance, which do not depend on x.

    dy: gradient with respect to y, of the shape of x; the rest as in `inference`.
    Returns (dx, dgamma, dbeta): dx of the shape and dtype of x, dgamma and dbeta
    (d,) of the dtype of gamma, or None if gamma is None.
    Raises ValueError as `inference` does, and if dy does not have the shape of x.
    """
    x = _checks.activations("x", x)
    channels = x.shape[1]
    dy = _maps(_checks.gradient("dy", dy, x.shape))
    gamma = _checks.parameter("gamma", gamma, channels)
    mean = _float64(_checks.channel_vector("mean", mean, channels))
    var = _float64(_checks.variance("var", var, channels))
    std = np.sqrt(var + _checks.epsilon(eps))
    dx = dy * _column(_float64(gamma, 1.0) / std)
    x_hat = (_maps(x) - _column(mean)) / _column(std)
    dgamma = np.sum(dy * x_hat, axis=(0, 2))
    dbeta = np.sum(dy, axis=(0, 2))
    return _rounded(dx, x), _like(dgamma, gamma), _like(dbeta, gamma)


# ---------------------------------------------------------------------------
# The computational graph, node by node: the second route to the gradients


class GraphValues(NamedTuple):
    """Values of the graph's nodes in the forward pass, in the order of computation.

    x, centered, squared, x_hat, scaled, y: (m, d); the others: (d,).
    """

    x: np.ndarray
    gamma: np.ndarray
    beta: np.ndarray
    eps: float
    mean: np.ndarray
    centered: np.ndarray
    squared: np.ndarray
    var: np.ndarray
    std: np.ndarray
    inv_std: np.ndarray
    x_hat: np.ndarray
    scaled: np.ndarray
    y: np.ndarray


class GraphGradients(NamedTuple):
    """Gradients of the loss at the graph's nodes, in the order of computation.

    Each field has the shape of its node. A node with two outgoing edges has a
    field for each contribution; its gradient is their sum.
    """

    y: np.ndarray
    beta: np.ndarray
    scaled: np.ndarray
    gamma: np.ndarray
    x_hat: np.ndarray
    inv_std: np.ndarray
    std: np.ndarray
    var: np.ndarray
    squared: np.ndarray
    centered_from_x_hat: np.ndarray
    centered_from_squared: np.ndarray
    centered: np.ndarray
    mean: np.ndarray
    x_from_centered: np.ndarray
    x_from_mean: np.ndarray
    x: np.ndarray


def graph_forward(x, gamma, beta, *, eps=1e-5):
    r"""Batch normalization as a computational graph, one elementary step a node.

    $$\mu = \tfrac 1m \textstyle\sum_i x_i, \quad
      c_i = x_i - \mu, \quad s_i = c_i^2, \quad
      \sigma^2 = \tfrac 1m \sum_i s_i, \quad
      \sigma = \sqrt{\sigma^2 + \epsilon}, \quad
      v = 1 / \sigma, \quad \hat x_i = c_i v, \quad
      z_i = \gamma \hat x_i, \quad y_i = z_i + \beta$$

    x: (m, d); gamma, beta: (d,). All arithmetic is in float64.
    Returns the `GraphValues`.
    Raises ValueError if x is not (m, d) with at least two rows, if gamma or beta
    has another length, or eps is not positive and finite.
    """
    x = _checks.matrix("x", x).astype(np.float64)
    gamma = _checks.channel_vector("gamma", gamma, x.shape[1]).astype(np.float64)
    beta = _checks.channel_vector("beta", beta, x.shape[1]).astype(np.float64)
    eps = _checks.epsilon(eps)

    mean = np.mean(x, axis=0)
    centered = x - mean
    squared = centered**2
    var = np.mean(squared, axis=0)
    std = np.sqrt(var + eps)
    inv_std = 1 / std
    x_hat = centered * inv_std
    scaled = gamma * x_hat
    y = scaled + beta
    return GraphValues(
        x=x,
        gamma=gamma,
        beta=beta,
        eps=eps,
        mean=mean,
        centered=centered,
        squared=squared,
        var=var,
        std=std,
        inv_std=inv_std,
        x_hat=x_hat,
        scaled=scaled,
        y=y,
    )


def graph_backward(dy, values):
    """Gradients at every node of the graph, from y back to x, by the chain rule.

    Each line undoes one line of `graph_forward`. What a forward step summed over
    the rows (a mean), its backward step spreads over them; what a forward step
    spread over the rows (gamma, beta, mean, inv_std), its backward step sums.

    dy: gradient with respect to y, (m, d); values: from `graph_forward`.
    Returns the `GraphGradients`.
    Raises ValueError if dy does not have the shape of x.
    """
    g = values
    m = len(g.x)
    y = _checks.gradient("dy", dy, g.x.shape).astype(np.float64)

    beta = np.sum(y, axis=0)
    scaled = y
    gamma = np.sum(scaled * g.x_hat, axis=0)
    x_hat = scaled * g.gamma
    inv_std = np.sum(x_hat * g.centered, axis=0)
    std = -inv_std / g.std**2
    var = std / (2 * g.std)
    squared = np.broadcast_to(var / m, g.x.shape)
    centered_from_x_hat = x_hat * g.inv_std
    centered_from_squared = squared * 2 * g.centered
    centered = centered_from_x_hat + centered_from_squared
    mean = -np.sum(centered, axis=0)
    x_from_centered = centered
    x_from_mean = np.broadcast_to(mean / m, g.x.shape)
    x = x_from_centered + x_from_mean
    return GraphGradients(
        y=y,
        beta=beta,
        scaled=scaled,
        gamma=gamma,
        x_hat=x_hat,
        inv_std=inv_std,
        std=std,
        var=var,
        squared=squared,
        centered_from_x_hat=centered_from_x_hat,
        centered_from_squared=centered_from_squared,
        centered=centered,
        mean=mean,
        x_from_centered=x_from_centered,
        x_from_mean=x_from_mean,
        x=x,
    )


# ---------------------------------------------------------------------------
# Shapes and precision


def _maps(x):
    """x in float64 with the spatial axes joined: (N, C, pixels)."""
    return x.astype(np.float64).reshape(*x.shape[:2], -1)


def _column(vector):
    """One value per channel, to be broadcast against (N, C, pixels)."""
    return np.reshape(vector, (-1, 1))


def _centered(maps, mean):
    """maps - mean, with the rounding error of the mean taken off as well."""
    centered = maps - _column(mean)
    return centered - np.mean(centered, axis=(0, 2), keepdims=True)


def _float64(vector, default=None):
    """The vector in float64, or the default in place of None."""
    return default if vector is None else vector.astype(np.float64)


def _rounded(values, x):
    """The float64 values in the shape and dtype of x."""
    return values.reshape(x.shape).astype(x.dtype)


def _like(values, parameter):
    """The values in the parameter's dtype, or None in place of None."""
    return None if parameter is None else values.astype(parameter.dtype)
