r"""Batch normalization in NumPy: one function for each equation of the paper.

Activations have the shape (m, d) or (N, C, \*spatial), the channels on axis 1.
Each channel is normalized over everything else: m rows, or N images times their
pixels. Statistics are in float64, whatever the dtype of the input; results are of
that dtype, within 8 unit roundoffs of the exact ones (32 in float64: there is no
wider type to compute in), as `batchnorm.accuracy` measures them. Inputs are never
written to.

Source: Ioffe and Szegedy, Batch Normalization, ICML 2015, arXiv 1502.03167.
"""

from dataclasses import dataclass

import numpy as np

from batchnorm import _checks
from batchnorm._exact import (
    Moments,
    affine,
    as_maps,
    given_moments,
    gradient_scale,
    gradient_totals,
    moments,
    residual,
    scaled,
)

# Results beyond the range of a dtype are infinite, and NaN stays NaN, without a word.
_QUIET = np.errstate(over="ignore", invalid="ignore")

# ---------------------------------------------------------------------------
# The transform, equation by equation (Algorithm 1)


@_QUIET
def batch_mean(x):
    r"""Mean of each channel over the mini-batch.

    $$\mu_{\mathcal B} = \frac 1m \sum_{i=1}^m x_i$$

    x: activations, (m, d) or (N, C, \*spatial), at least two values per channel.
    Returns the mean, (d,), float64.
    Raises ValueError if x has no channel axis, or too few values.
    Source: the paper, Algorithm 1, first line.
    """
    mean, _ = moments(as_maps(_checks.batch("x", x))).mean_and_var()
    return mean


@_QUIET
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
    _, var = moments(as_maps(x), near=mean).mean_and_var()
    return var


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


@_QUIET
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
    identity = given_moments(np.zeros(channels), np.ones(channels), x_hat.dtype)
    return _scaled_and_shifted(x_hat, identity, 0.0, gamma, beta)


@dataclass(frozen=True, eq=False)
class Cache:
    """What the backward pass needs of the forward pass.

    mean, var: the batch statistics, (d,), float64, var biased.
    x, gamma, beta, eps: the arguments of `forward`. They are kept, not copied, and
    have to be unchanged when `backward` is called.
    """

    x: np.ndarray
    gamma: np.ndarray | None
    beta: np.ndarray | None
    eps: float
    moments: Moments

    @property
    def mean(self):
        return self.moments.mean_and_var()[0]

    @property
    def var(self):
        return self.moments.mean_and_var()[1]

    @property
    def x_hat(self):
        """The normalized activations, computed again from x."""
        return _scaled_and_shifted(self.x, self.moments, self.eps, None, None)


@_QUIET
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
    cache = Cache(x, gamma, beta, eps, moments(as_maps(x)))
    return _scaled_and_shifted(x, cache.moments, eps, gamma, beta), cache


@_QUIET
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
    dy = as_maps(_checks.gradient("dy", dy, x.shape))
    stats = cache.moments
    inv_std = stats.inv_std(cache.eps)
    dy, scale, dgamma, dbeta = _parameter_gradients(dy, x, stats, inv_std)

    # mean(dy) + x_hat·mean(dy·x_hat) = intercept + slope·(x − origin)
    m = x.size // x.shape[1]
    slope = inv_std * (dgamma / m)
    intercept = dbeta / m - slope * stats.offset
    dx = residual(dy, as_maps(x), stats, intercept, slope, _or(gamma, 1.0) * inv_std)
    dx = scaled(dx, stats.scale / scale)
    return (
        dx.reshape(x.shape),
        _like(dgamma / scale, gamma),
        _like(dbeta / scale, beta),
    )


# ---------------------------------------------------------------------------
# Inference: the statistics are constants (Algorithm 2)


@_QUIET
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
    mean = _checks.channel_vector("mean", mean, channels)
    var = _checks.variance("var", var, channels)
    eps = _checks.epsilon(eps)
    return _scaled_and_shifted(x, given_moments(mean, var, x.dtype), eps, gamma, beta)


@_QUIET
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
    dy = as_maps(_checks.gradient("dy", dy, x.shape))
    gamma = _checks.parameter("gamma", gamma, channels)
    mean = _checks.channel_vector("mean", mean, channels)
    var = _checks.variance("var", var, channels)
    stats = given_moments(mean, var, x.dtype)
    inv_std = stats.inv_std(_checks.epsilon(eps))
    factor = _or(gamma, 1.0) * inv_std * stats.scale
    dx = scaled(dy, factor).astype(x.dtype)
    _, scale, dgamma, dbeta = _parameter_gradients(dy, x, stats, inv_std)
    return (
        dx.reshape(x.shape),
        _like(dgamma / scale, gamma),
        _like(dbeta / scale, gamma),
    )


# ---------------------------------------------------------------------------
# What the above have in common


def _scaled_and_shifted(x, stats, eps, gamma, beta):
    """gamma·x_hat + beta for x_hat with the given moments."""
    slope = _or(gamma, 1.0) * stats.inv_std(eps)
    shift = _or(beta, 0.0) - slope * stats.offset
    return affine(as_maps(x), stats, slope, shift).reshape(x.shape)


def _parameter_gradients(dy, x, stats, inv_std):
    """(scale·dy, scale, scale·dgamma, scale·dbeta).

    The scale is a power of two, other than 1 only where sums leave the range of
    float64.
    """
    maps = as_maps(x)
    sums = gradient_totals(dy, maps, stats)
    scale = gradient_scale(dy, sums)
    if not (scale == 1).all():
        dy = scaled(dy, scale)
        sums = gradient_totals(dy, maps, stats)
    return dy, scale, sums[1] * inv_std, sums[0]


def _or(parameter, default):
    """The parameter in float64, or the default in place of None."""
    return default if parameter is None else parameter.astype(np.float64)


def _like(values, parameter):
    """The values in the parameter's dtype, or None in place of None."""
    return None if parameter is None else values.astype(parameter.dtype)
