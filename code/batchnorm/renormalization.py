r"""Batch renormalization in NumPy: a batch's statistics, corrected by running ones.

At small batches the statistics of the batch are noisy, and inference, which uses
others, computes another function than training did. Batch renormalization gives
training the output of inference, as far as two bounds allow, and keeps the gradient
through the statistics of the batch.

The equations are those of Ioffe, *Batch Renormalization: Towards Reducing Minibatch
Dependence in Batch-Normalized Models*, NeurIPS 2017, arXiv 1702.03275.
"""

from dataclasses import dataclass

import numpy as np

from batchnorm import _checks, reference


def forward(x, gamma, beta, mean, var, *, r_max, d_max, eps=1e-5):
    r"""Batch renormalization: a batch's statistics, corrected towards running ones.

    .. math::

       y = \gamma (r\, \hat x + d) + \beta, \qquad
       r = \mathrm{clip}\Big(\frac{\sigma_{\mathcal B}}{\sigma},
             \frac 1{r_{\max}}, r_{\max}\Big), \quad
       d = \mathrm{clip}\Big(\frac{\mu_{\mathcal B} - \mu}{\sigma},
             -d_{\max}, d_{\max}\Big)

    Both standard deviations are roots of a variance plus ε. r and d are constants in
    the backward pass: that *stop-gradient* is part of the method. Without clipping, y
    is what inference computes; with r_max = 1 and d_max = 0 it is batch normalization.

    Parameters
    ----------
    x : array, (m, d) or (N, C, \*spatial)
        Activations, at least two values per channel.
    gamma, beta : array, (d,), or None
        Scale and shift.
    mean, var : array, (d,)
        Running statistics, which this function does not move.
    r_max, d_max : float
        Bounds, at least 1 and at least 0; infinity for none.
    eps : float
        Added to both variances.

    Returns
    -------
    y : array
        Of the shape and dtype of x.
    cache : Cache
        For `backward`, with ``cache.r`` and ``cache.d``.

    Raises
    ------
    ValueError
        As `batchnorm.reference.forward` and `batchnorm.reference.inference` do, and
        if a bound is too low.

    References
    ----------
    Ioffe, *Batch Renormalization*, NeurIPS 2017, arXiv 1702.03275, section 3. It
    averages standard deviations; here they come from the running variance.
    """
    number = _checks.number
    r_max = number("r_max", r_max, "numbers from 1 on", lambda bound: bound >= 1)
    d_max = number("d_max", d_max, "numbers from 0 on", lambda bound: bound >= 0)
    x = _checks.batch("x", x)
    channels = x.shape[1]
    gamma = _checks.parameter("gamma", gamma, channels)
    beta = _checks.parameter("beta", beta, channels)
    mean = _checks.channel_vector("mean", mean, channels).astype(np.float64)
    var = _checks.variance("var", var, channels).astype(np.float64)
    _, batch = reference.forward(x, None, None, eps=eps)

    std = np.sqrt(var + eps)
    r = np.clip(np.sqrt(batch.var + eps) / std, 1 / r_max, r_max)
    d = np.clip((batch.mean - mean) / std, -d_max, d_max)
    scale = r if gamma is None else gamma * r
    shift = (d if gamma is None else gamma * d) + (0 if beta is None else beta)
    y, cache = reference.forward(x, scale, shift, eps=eps)
    return y, Cache(cache, gamma, beta, r, d)


def backward(dy, cache):
    r"""Gradients of the loss through `forward`, r and d held constant.

    .. math:: d\gamma = \sum_i dy_i (r\,\hat x_i + d)

    and dx is that of batch normalization with the scale :math:`r\gamma`.

    Parameters
    ----------
    dy : array
        Gradient of the loss with respect to y, of the shape of x.
    cache : Cache
        From `forward`.

    Returns
    -------
    dx, dgamma, dbeta
        As of `batchnorm.reference.backward`.

    Raises
    ------
    ValueError
        As `batchnorm.reference.backward` does.

    References
    ----------
    Ioffe (2017), section 3.
    """
    cache = _checks.instance("cache", cache, Cache, "forward")
    dx, along, total = reference.backward(dy, cache.batch)
    dgamma = cache.r * along + cache.d * total
    gamma, beta = cache.gamma, cache.beta
    dgamma = None if gamma is None else dgamma.astype(gamma.dtype)
    return dx, dgamma, None if beta is None else total.astype(beta.dtype)


@dataclass(frozen=True, eq=False)
class Cache:
    """What `backward` needs.

    Parameters
    ----------
    batch : reference.Cache
        Of the transform with r and d in its scale and shift.
    gamma, beta
        The arguments.
    r, d : array, (d,)
        The corrections.
    """

    batch: reference.Cache
    gamma: np.ndarray | None
    beta: np.ndarray | None
    r: np.ndarray
    d: np.ndarray
