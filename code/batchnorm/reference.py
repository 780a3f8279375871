r"""Batch normalization in NumPy: the equations of the paper.

Activations have the shape (m, d) or (N, C, \*spatial), the channels on axis 1. Each
channel is normalized over everything else: m rows, or N images times their pixels.

Each function checks its arguments, writes down the equations, and has them carried out
by ``batchnorm._exact``. What looks like an array there is a formula: nothing is
computed for an entry of x before ``rounded`` or ``sums``.

Statistics are in float64, whatever the dtype of the input; results are of that dtype,
within 8 unit roundoffs of the exact ones (32 in float64, where there is no wider type
to compute in), as `batchnorm.accuracy` measures them. Inputs are never written to.

The equations are those of Ioffe and Szegedy, *Batch Normalization*, ICML 2015,
arXiv 1502.03167.
"""

from dataclasses import dataclass

import numpy as np

from batchnorm import _checks
from batchnorm._exact import Mean, Wide, given, mean_and_var, rounded, sqrt, sums

# Results beyond the range of a dtype are infinite, and NaN stays NaN, with no warning.
_QUIET = np.errstate(over="ignore", invalid="ignore")

# ---------------------------------------------------------------------------
# A mini-batch, with its own statistics (Algorithm 1)


@_QUIET
def forward(x, gamma, beta, *, eps=1e-5):
    r"""Batch normalization of a mini-batch with its own statistics.

    .. math::

       y_i = \gamma \hat x_i + \beta, \qquad
       \hat x_i = \frac{x_i - \mu_{\mathcal B}}{\sqrt{\sigma^2_{\mathcal B} + \epsilon}}

    Parameters
    ----------
    x : array, (m, d) or (N, C, \*spatial)
        Activations, at least two values per channel.
    gamma, beta : array, (d,), or None
        Scale and shift; None for 1 and 0.
    eps : float
        Added to the variance.

    Returns
    -------
    y : array
        Of the shape and dtype of x; integers give float64.
    cache : Cache
        For `backward`, with the statistics in ``cache.mean`` and ``cache.var``.

    Raises
    ------
    ValueError
        If x has no channel axis or too few values, gamma or beta has another length
        than x has channels, or eps is not positive and finite.

    References
    ----------
    Ioffe and Szegedy (2015), Algorithm 1.
    """
    x = _checks.batch("x", x)
    gamma, beta = _affine(x, gamma, beta)
    eps = _checks.epsilon(eps)

    mean, var = mean_and_var(x)  # Σ x / m,  Σ (x - mean)² / m
    inv_std = 1 / sqrt(var + eps)
    x_hat = (x - mean) * inv_std
    y = gamma * x_hat + beta
    return rounded(y, x), Cache(x, gamma, beta, eps, (mean, var))


@_QUIET
def backward(dy, cache):
    r"""Gradients of the loss through `forward`, in closed form.

    .. math::

       \frac{\partial\ell}{\partial x_i} =
         \frac{\gamma}{\sqrt{\sigma^2_{\mathcal B} + \epsilon}} \Big(
           \frac{\partial\ell}{\partial y_i}
           - \frac 1m \sum_j \frac{\partial\ell}{\partial y_j}
           - \hat x_i \frac 1m \sum_j \frac{\partial\ell}{\partial y_j} \hat x_j
         \Big)

    .. math::

       \frac{\partial\ell}{\partial\gamma} =
         \sum_i \frac{\partial\ell}{\partial y_i} \hat x_i, \qquad
       \frac{\partial\ell}{\partial\beta} = \sum_i \frac{\partial\ell}{\partial y_i}

    Parameters
    ----------
    dy : array
        Gradient of the loss with respect to y, of the shape of x.
    cache : Cache
        From `forward`.

    Returns
    -------
    dx : array
        Of the shape and dtype of x.
    dgamma, dbeta : array, (d,), or None
        Of the dtype of the parameter; None where the parameter was None.

    Raises
    ------
    ValueError
        If dy does not have the shape of x, or cache is not a `Cache`.

    References
    ----------
    Ioffe and Szegedy (2015), section 3, simplified.
    """
    cache = _checks.instance("cache", cache, Cache, "forward")
    x, gamma, beta, eps = cache.x, cache.gamma, cache.beta, cache.eps
    dy = _checks.gradient("dy", dy, x.shape)
    m = x.size // x.shape[1]

    mean, var = cache.moments
    inv_std = 1 / sqrt(var + eps)
    x_hat = (x - mean) * inv_std
    dbeta, dgamma = sums(dy, dy * x_hat)
    dx = gamma * inv_std * (dy - dbeta / m - x_hat * (dgamma / m))
    return rounded(dx, x), rounded(dgamma, gamma), rounded(dbeta, beta)


@dataclass(frozen=True, eq=False)
class Cache:
    r"""What the backward pass needs of the forward pass.

    The arguments are kept, not copied, and have to be unchanged when `backward` is
    called.

    Parameters
    ----------
    x : array, (m, d) or (N, C, \*spatial)
        The argument of `forward`, as are the next three.
    gamma, beta : array, (d,), or None
    eps : float
    moments : tuple
        Mean and variance of each channel as they were computed, with more than the
        digits of float64.
    """

    x: np.ndarray
    gamma: np.ndarray | None
    beta: np.ndarray | None
    eps: float
    moments: tuple[Mean, Wide]

    @property
    def mean(self):
        """Mean of the batch, (d,), float64."""
        return self.moments[0].array()

    @property
    def var(self):
        """Biased variance of the batch, (d,), float64."""
        return self.moments[1].array()

    @property
    @_QUIET
    def x_hat(self):
        """The normalized activations, computed again from x."""
        mean, var = self.moments
        return rounded((self.x - mean) * (1 / sqrt(var + self.eps)), self.x)


# ---------------------------------------------------------------------------
# Inference: the statistics are constants (Algorithm 2)


@_QUIET
def inference(x, gamma, beta, mean, var, *, eps=1e-5):
    r"""Batch normalization with given statistics, those of the population.

    .. math:: y_i = \gamma \frac{x_i - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

    Parameters
    ----------
    x : array, (m, d) or (N, C, \*spatial)
        Activations, any number of values.
    gamma, beta : array, (d,), or None
        Scale and shift; None for 1 and 0.
    mean, var : array, (d,)
        Statistics of the population.
    eps : float
        Added to the variance.

    Returns
    -------
    array
        y, of the shape and dtype of x; integers give float64.

    Raises
    ------
    ValueError
        If x has no channel axis, a vector has another length than x has channels, var
        has a negative entry, or eps is not positive and finite.

    References
    ----------
    Ioffe and Szegedy (2015), Algorithm 2, step 11.
    """
    x = _checks.activations("x", x)
    gamma, beta = _affine(x, gamma, beta)
    eps = _checks.epsilon(eps)
    mean, var = _population(mean, var, x)

    inv_std = 1 / sqrt(var + eps)
    x_hat = (x - mean) * inv_std
    y = gamma * x_hat + beta
    return rounded(y, x)


@_QUIET
def inference_backward(dy, x, gamma, mean, var, *, eps=1e-5):
    r"""Gradients of the loss through `inference`.

    Nothing passes through the mean and the variance, which do not depend on x.

    .. math::

       \frac{\partial\ell}{\partial x_i} =
         \frac{\gamma}{\sqrt{\sigma^2 + \epsilon}} \frac{\partial\ell}{\partial y_i},
       \qquad
       \frac{\partial\ell}{\partial\gamma} =
         \sum_i \frac{\partial\ell}{\partial y_i} \hat x_i, \qquad
       \frac{\partial\ell}{\partial\beta} = \sum_i \frac{\partial\ell}{\partial y_i}

    Parameters
    ----------
    dy : array
        Gradient of the loss with respect to y, of the shape of x.
    x, gamma, mean, var, eps
        As in `inference`.

    Returns
    -------
    dx : array
        Of the shape and dtype of x.
    dgamma : array, (d,), or None
        Of the dtype of gamma; None if gamma is None.
    dbeta : array, (d,)
        Of the dtype of gamma, or of x if gamma is None. It does not depend on beta,
        which is no argument.

    Raises
    ------
    ValueError
        As `inference` does, and if dy does not have the shape of x.
    """
    x = _checks.activations("x", x)
    dy = _checks.gradient("dy", dy, x.shape)
    gamma = _checks.parameter("gamma", gamma, x.shape[1])
    eps = _checks.epsilon(eps)
    mean, var = _population(mean, var, x)

    inv_std = 1 / sqrt(var + eps)
    x_hat = (x - mean) * inv_std
    dbeta, dgamma = sums(dy, dy * x_hat)
    dx = gamma * inv_std * dy
    of_shift = rounded(dbeta, x if gamma is None else gamma)
    return rounded(dx, x), rounded(dgamma, gamma), of_shift


# ---------------------------------------------------------------------------
# Algorithm 1 line by line


@_QUIET
def batch_mean(x):
    r"""Mean of each channel over the mini-batch.

    .. math:: \mu_{\mathcal B} = \frac 1m \sum_{i=1}^m x_i

    Parameters
    ----------
    x : array, (m, d) or (N, C, \*spatial)
        Activations, at least two values per channel.

    Returns
    -------
    array, (d,)
        The mean, in float64.

    Raises
    ------
    ValueError
        If x has no channel axis, or too few values.

    References
    ----------
    Ioffe and Szegedy (2015), Algorithm 1, first line.
    """
    mean, _ = mean_and_var(_checks.batch("x", x))
    return mean.array()


@_QUIET
def batch_variance(x, mean):
    r"""Biased variance of each channel over the mini-batch.

    .. math::

       \sigma^2_{\mathcal B} = \frac 1m \sum_{i=1}^m (x_i - \mu_{\mathcal B})^2

    Parameters
    ----------
    x : array, (m, d) or (N, C, \*spatial)
        Activations, at least two values per channel.
    mean : array, (d,)
        From `batch_mean`. It is where the sum starts, to lose no digits, and does not
        change the result: the variance is always about the mean of x itself.

    Returns
    -------
    array, (d,)
        The variance, in float64.

    Raises
    ------
    ValueError
        If x has no channel axis or too few values, or mean has another length.

    References
    ----------
    Ioffe and Szegedy (2015), Algorithm 1, second line.
    """
    x = _checks.batch("x", x)
    _, var = mean_and_var(x, near=_checks.channel_vector("mean", mean, x.shape[1]))
    return var.array()


def normalize(x, mean, var, *, eps=1e-5):
    r"""Activations shifted and scaled by the given statistics.

    .. math:: \hat x_i = \frac{x_i - \mu}{\sqrt{\sigma^2 + \epsilon}}

    Parameters
    ----------
    x : array, (m, d) or (N, C, \*spatial)
        Activations.
    mean, var : array, (d,)
        The statistics.
    eps : float
        Added to the variance.

    Returns
    -------
    array
        x_hat, of the shape and dtype of x.

    Raises
    ------
    ValueError
        If x has no channel axis, mean or var has another length, var has a negative
        entry, or eps is not positive and finite.

    References
    ----------
    Ioffe and Szegedy (2015), Algorithm 1, third line.
    """
    return inference(x, None, None, mean, var, eps=eps)


@_QUIET
def scale_and_shift(x_hat, gamma, beta):
    r"""Normalized activations, scaled and shifted by the learned parameters.

    .. math:: y_i = \gamma \hat x_i + \beta

    Parameters
    ----------
    x_hat : array, (m, d) or (N, C, \*spatial)
        Normalized activations.
    gamma, beta : array, (d,), or None
        Scale and shift; None for 1 and 0.

    Returns
    -------
    array
        y, of the shape and dtype of x_hat.

    Raises
    ------
    ValueError
        If x_hat has no channel axis, or gamma or beta has another length.

    References
    ----------
    Ioffe and Szegedy (2015), Algorithm 1, fourth line.
    """
    x_hat = _checks.activations("x_hat", x_hat)
    gamma, beta = _affine(x_hat, gamma, beta)
    channels = x_hat.shape[1]
    # The engine normalizes: here by the mean 0 and the factor 1, which change nothing.
    zero, one = given(np.zeros(channels), np.ones(channels), x_hat.dtype)
    return rounded(gamma * ((x_hat - zero) * one) + beta, x_hat)


# ---------------------------------------------------------------------------
# Arguments


def _affine(x, gamma, beta):
    """gamma and beta, which may be None, as they go into the equations."""
    channels = x.shape[1]
    gamma = _checks.parameter("gamma", gamma, channels)
    return gamma, _checks.parameter("beta", beta, channels)


def _population(mean, var, x):
    """The given mean and variance of each channel of x."""
    mean = _checks.channel_vector("mean", mean, x.shape[1])
    var = _checks.variance("var", var, x.shape[1])
    return given(mean, var, x.dtype)
