r"""Batch normalization folded into the linear or convolutional layer before it.

At inference the statistics are constants, so normalization is an affine map of
each channel, and the layer before it is affine too: the two are one layer.

.. math::

   W'_{c} = \frac{\gamma_c}{\sqrt{\sigma_c^2 + \epsilon}} W_c, \qquad
   b'_c = \beta_c + \frac{\gamma_c}{\sqrt{\sigma_c^2 + \epsilon}} (b_c - \mu_c)

for every output channel c. Normalization *before* a layer folds too, into its input
channels,

.. math::

   W'_{oc} = W_{oc}\, \frac{\gamma_c}{\sqrt{\sigma_c^2 + \epsilon}}, \qquad
   b'_o = b_o + \sum_c W_{oc}
     \Big(\beta_c - \frac{\gamma_c\, \mu_c}{\sqrt{\sigma_c^2 + \epsilon}}\Big)

if the layer is linear, or a convolution that does not pad. What cannot be folded is
normalization before a convolution that pads with zeros: the padding would have to be
with the value that normalization turns into 0, so the result is right inside and wrong
at the border.
"""

import numpy as np

from batchnorm import _checks


def fold_linear(weight, bias, gamma, beta, mean, var, *, eps=1e-5):
    r"""Weight and bias of the linear layer that also normalizes its output.

    .. math::

       W' = \operatorname{diag}\!\Big(\frac{\gamma}{\sqrt{\sigma^2 + \epsilon}}\Big) W,
       \qquad
       b' = \beta + \frac{\gamma}{\sqrt{\sigma^2 + \epsilon}} (b - \mu)

    Parameters
    ----------
    weight : array, (d_out, d_in)
        As torch keeps it.
    bias : array, (d_out,), or None
        None for 0.
    gamma, beta : array, (d_out,), or None
        Scale and shift; None for 1 and 0.
    mean, var : array, (d_out,)
        Statistics of the population.
    eps : float
        Added to the variance.

    Returns
    -------
    weight, bias : array
        Computed in float64 and rounded once to the dtype of the argument; a bias that
        was None comes back as a vector of the dtype of weight.

    Raises
    ------
    ValueError
        If weight is not (d_out, d_in), a vector has another length, var has a negative
        entry, or eps is not positive and finite.

    References
    ----------
    Ioffe and Szegedy (2015), Algorithm 2, step 11.
    """
    weight = _matrix(weight)
    scale, bias = _fold(weight, len(weight), bias, gamma, beta, mean, var, eps)
    return (weight * scale[:, None]).astype(weight.dtype), bias


def fold_conv(
    weight, bias, gamma, beta, mean, var, *, eps=1e-5, transposed=False, groups=1
):
    r"""Weight and bias of the convolution that also normalizes its output.

    .. math::

       W'_{c} = \frac{\gamma_c}{\sqrt{\sigma_c^2 + \epsilon}} W_c, \qquad
       b'_c = \beta_c + \frac{\gamma_c}{\sqrt{\sigma_c^2 + \epsilon}} (b_c - \mu_c)

    Stride, padding and dilation do not matter.

    Parameters
    ----------
    weight : array, (C_out, C_in / groups, \*kernel)
        As torch keeps it: (C_in, C_out / groups, \*kernel) if transposed; one to three
        kernel axes.
    bias, gamma, beta, mean, var : array, (C_out,)
        As in `fold_linear`; each but mean and var may be None.
    eps : float
        Added to the variance.
    transposed : bool
        Whether the convolution is transposed.
    groups : int
        Of the convolution; C_in if it is depthwise.

    Returns
    -------
    weight, bias : array
        As `fold_linear` returns them.

    Raises
    ------
    ValueError
        If weight has another number of axes, groups does not divide its first axis, a
        vector has another length than C_out, var has a negative entry, or eps is not
        positive and finite.

    References
    ----------
    Ioffe and Szegedy (2015), section 3.2 and Algorithm 2, step 11.
    """
    weight, groups = _kernel(weight, groups)
    channels = weight.shape[1] * groups if transposed else weight.shape[0]
    scale, bias = _fold(weight, channels, bias, gamma, beta, mean, var, eps)

    # Output channels are the rows of the weight; in a transposed convolution they
    # are its columns, and the rows of each group have channels of their own.
    if transposed:
        rows_per_group = len(weight) // groups
        scale = np.repeat(scale.reshape(groups, -1), rows_per_group, axis=0)
    else:
        scale = scale[:, None]
    taps = [1] * (weight.ndim - 2)
    return (weight * scale.reshape(*scale.shape, *taps)).astype(weight.dtype), bias


def fold_before_linear(weight, bias, gamma, beta, mean, var, *, eps=1e-5):
    r"""Weight and bias of the linear layer that also normalizes its input.

    .. math::

       W' = W \operatorname{diag}\!\Big(\frac{\gamma}{\sqrt{\sigma^2 + \epsilon}}\Big),
       \qquad
       b' = b + W \Big(\beta - \frac{\gamma\,\mu}{\sqrt{\sigma^2 + \epsilon}}\Big)

    Parameters
    ----------
    weight, bias
        As in `fold_linear`, which returns and refuses the same.
    gamma, beta, mean, var : array, (d_in,)
        Scale, shift and statistics of the input; gamma and beta may be None.
    eps : float
        Added to the variance.

    Returns
    -------
    weight, bias : array
    """
    weight = _matrix(weight)
    return _fold_before(weight, bias, gamma, beta, mean, var, eps, groups=1)


def fold_before_conv(
    weight, bias, gamma, beta, mean, var, *, eps=1e-5, groups=1, padding=0
):
    r"""Weight and bias of the convolution that also normalizes its input.

    .. math::

       W'_{oc} = W_{oc}\, \frac{\gamma_c}{\sqrt{\sigma_c^2 + \epsilon}}, \qquad
       b'_o = b_o + \sum_{c,\,\text{taps}} W_{oc}
         \Big(\beta_c - \frac{\gamma_c\, \mu_c}{\sqrt{\sigma_c^2 + \epsilon}}\Big)

    Stride and dilation do not matter, padding does. A transposed convolution pads in
    effect: its border sums fewer taps.

    Parameters
    ----------
    weight : array, (C_out, C_in / groups, \*kernel)
        As torch keeps it; one to three kernel axes.
    bias : array, (C_out,), or None
        None for 0.
    gamma, beta, mean, var : array, (C_in,)
        Scale, shift and statistics of the input; gamma and beta may be None.
    eps, groups
        As in `fold_conv`.
    padding : int or tuple of int
        Of the convolution, to refuse all but 0.

    Returns
    -------
    weight, bias : array
        As `fold_conv` returns them.

    Raises
    ------
    ValueError
        As `fold_conv` does, and if the convolution pads.
    """
    weight, groups = _kernel(weight, groups)
    if np.any(np.asarray(padding) != 0):
        raise ValueError(
            f"padding is {padding!r}; allowed is 0: zeros that are padded after the "
            "normalization are no zeros before it"
        )
    return _fold_before(weight, bias, gamma, beta, mean, var, eps, groups)


def _matrix(weight):
    """The weight of a linear layer, or a refusal."""
    weight = _checks.real_array("weight", weight)
    if weight.ndim != 2:
        raise ValueError(f"weight has shape {weight.shape}; allowed is (d_out, d_in)")
    return weight


def _kernel(weight, groups):
    """The weight of a convolution and its number of groups, or a refusal."""
    weight = _checks.real_array("weight", weight)
    groups = _checks.count("groups", groups)
    if weight.ndim not in (3, 4, 5):
        raise ValueError(
            f"weight has shape {weight.shape}; "
            "allowed are two channel axes and one to three kernel axes"
        )
    if weight.shape[0] % groups:
        raise ValueError(
            f"groups is {groups}; allowed are divisors of the first axis of weight, "
            f"which has shape {weight.shape}"
        )
    return weight, groups


def _fold_before(weight, bias, gamma, beta, mean, var, eps, groups):
    """Weight and bias, with the map of each input channel taken into them."""
    inputs = weight.shape[1] * groups
    bias = _checks.parameter("bias", bias, len(weight))
    zeros = np.zeros(inputs)  # float64, so that the shift is
    scale, shift = _fold(zeros, inputs, None, gamma, beta, mean, var, eps)

    # The rows of a group see its own input channels.
    taps, rows = [1] * (weight.ndim - 2), len(weight) // groups
    scale, shift = (
        np.repeat(v.reshape(groups, -1), rows, axis=0).reshape(*weight.shape[:2], *taps)
        for v in (scale, shift)
    )
    added = (weight * shift).sum(axis=tuple(range(1, weight.ndim)))
    dtype = weight.dtype if bias is None else bias.dtype
    bias = added if bias is None else bias + added
    return (weight * scale).astype(weight.dtype), bias.astype(dtype)


def _fold(weight, channels, bias, gamma, beta, mean, var, eps):
    """The factor of each output channel, in float64, and the folded bias."""
    bias = _checks.parameter("bias", bias, channels)
    gamma = _checks.parameter("gamma", gamma, channels)
    beta = _checks.parameter("beta", beta, channels)
    mean = _checks.channel_vector("mean", mean, channels).astype(np.float64)
    var = _checks.variance("var", var, channels).astype(np.float64)

    scale = 1 / np.sqrt(var + _checks.epsilon(eps))
    if gamma is not None:
        scale = scale * gamma
    shift = scale * ((0.0 if bias is None else bias.astype(np.float64)) - mean)
    if beta is not None:
        shift = shift + beta
    return scale, shift.astype(weight.dtype if bias is None else bias.dtype)
