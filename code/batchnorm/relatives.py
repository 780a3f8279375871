r"""The relatives of batch normalization in NumPy: one formula, over other axes.

.. math::

   y = \gamma \hat x + \beta, \qquad \hat x = \frac{P x}{\sqrt{\|P x\|^2/n + \epsilon}}

Here x is one *group* of n values of an array, and P either takes the group's mean off
or does nothing. Which axes make a group, and which P, is all that tells the methods
apart: `forward` and `backward` are written once, and `layer_norm`, `group_norm`,
`instance_norm`, `rms_norm` and `weight_standardization` say axes and P. Batch
renormalization, which mixes the statistics of a batch with running ones, is in
`batchnorm.renormalization`.

As in `batchnorm.reference`, statistics are in float64, results in the dtype of the
input, within 8 unit roundoffs (32 in float64), and inputs are never written to. NaN and
infinity stay in their group.

The line of the backward pass is that of the book's chapter 6: of P its derivation needs
only that it is a symmetric projection.
"""

from dataclasses import dataclass

import numpy as np

from batchnorm import _checks
from batchnorm._exact import Mean, Wide, mean_and_var, mean_square, rounded, sqrt, sums
from batchnorm._groups import View, products, summed

_QUIET = np.errstate(over="ignore", invalid="ignore", under="ignore")

# ---------------------------------------------------------------------------
# One formula, other axes


def forward(x, gamma, beta, axes, *, center=True, eps=1e-5):
    r"""Normalize x over some of its axes, then scale and shift.

    .. math::

       y = \gamma \hat x + \beta, \qquad
       \hat x = \frac{P x}{\sqrt{\|P x\|^2/n + \epsilon}}

    Parameters
    ----------
    x : array
        Activations of any shape.
    gamma, beta : array, or None
        Scale and shift, of a shape that broadcasts to that of x; None for 1 and 0.
    axes : int or tuple of int
        A group is what differs in these axes alone; it has n values.
    center : bool
        Whether P subtracts the group's mean, or is the identity.
    eps : float
        Added to the mean of the squares.

    Returns
    -------
    y : array
        Of the shape and dtype of x; integers give float64.
    cache : Cache
        For `backward`, with the statistics in ``cache.mean`` and ``cache.var``.

    Raises
    ------
    ValueError
        If x has no such axis, a group has no value, or only one and is centered, gamma
        or beta does not broadcast to x, or eps is not positive and finite.
    """
    x = _checks.real_array("x", x)
    view = View(x.shape, _axes(axes, x.shape))
    gamma, beta = _affine("gamma", gamma, x), _affine("beta", beta, x)
    return _forward(x, gamma, beta, view, center, eps)


@_QUIET
def _forward(x, gamma, beta, view, center, eps, name="x"):
    eps = _checks.epsilon(eps)
    groups = view.grouped(x)
    _several(name, x, groups.shape[2], center)

    mean, square = mean_and_var(groups) if center else mean_square(groups)
    inv_std = 1 / sqrt(square + eps)
    x_hat = view.ungrouped(rounded((groups - mean) * inv_std, groups))
    y = x_hat if gamma is None else view.placed(gamma) * x_hat
    y = y if beta is None else y + view.placed(beta)
    cache = Cache(x, gamma, beta, view, center, eps, (mean, square))
    return y.astype(x.dtype, copy=False).reshape(x.shape), cache


@_QUIET
def backward(dy, cache):
    r"""Gradients of the loss through `forward`, the same line for all relatives.

    .. math::

       dx = \frac{1}{\sqrt{\|P x\|^2/n + \epsilon}} \Big(
              P g - \hat x\, \frac 1n \sum_j g_j \hat x_j \Big),
       \qquad g = \gamma\, dy

    and :math:`d\gamma`, :math:`d\beta` are the sums of :math:`dy\,\hat x` and of dy
    over what shares an entry of the parameter.

    Parameters
    ----------
    dy : array
        Gradient of the loss with respect to y, of the shape of x.
    cache : Cache
        From `forward`, or from any function of this module that returns one.

    Returns
    -------
    dx : array
        Of the shape and dtype of x.
    dgamma, dbeta : array, or None
        Of the shape and dtype of the parameter; None where the parameter was None.

    Raises
    ------
    ValueError
        If dy does not have the shape of x, or cache is not a `Cache`.
    """
    cache = _checks.instance("cache", cache, Cache, "forward")
    x, gamma, beta, view = cache.x, cache.gamma, cache.beta, cache.view
    dy = _checks.gradient("dy", dy, x.shape)
    groups = view.grouped(x)
    n = groups.shape[2]

    mean, square = cache.moments
    inv_std = 1 / sqrt(square + cache.eps)
    x_hat = (groups - mean) * inv_std
    g, unit = products(gamma, dy, view)  # γ dy = g · unit, which does not overflow
    total, along = sums(g, g * x_hat)
    total = total if cache.center else Wide(np.zeros(len(total.digits)))
    dx = (unit * inv_std) * (g - total / n - x_hat * (along / n))

    dx = view.ungrouped(rounded(dx, groups)).astype(x.dtype, copy=False)
    dy = dy.reshape(view.shape)
    dgamma = summed(dy * view.ungrouped(rounded(x_hat, groups)), gamma, view)
    return dx.reshape(x.shape), dgamma, summed(dy, beta, view)


@dataclass(frozen=True, eq=False)
class Cache:
    """What the backward pass needs of the forward pass.

    The arguments are kept, not copied, and have to be unchanged when `backward` is
    called.

    Parameters
    ----------
    x, gamma, beta, center, eps
        The arguments of `forward`.
    view : View
        Where its groups are.
    moments : tuple
        Mean (zero if it is not taken off) and mean square of the rest, as computed.
    """

    x: np.ndarray
    gamma: np.ndarray | None
    beta: np.ndarray | None
    view: View
    center: bool
    eps: float
    moments: tuple[Mean, Wide]

    @property
    def mean(self):
        """What P takes off, one number a group, float64; axes of length 1 remain."""
        return self._kept(self.moments[0].array())

    @property
    def var(self):
        """Mean square of what P leaves, like ``mean``."""
        return self._kept(self.moments[1].array())

    @property
    @_QUIET
    def x_hat(self):
        """The normalized activations, computed again from x."""
        (mean, square), groups = self.moments, self.view.grouped(self.x)
        x_hat = rounded((groups - mean) * (1 / sqrt(square + self.eps)), groups)
        return self.view.ungrouped(x_hat).astype(self.x.dtype).reshape(self.x.shape)

    def _kept(self, statistics):
        shape, axes = self.view.shape, self.view.axes
        kept = [1 if axis in axes else size for axis, size in enumerate(shape)]
        return statistics.reshape(kept)


# ---------------------------------------------------------------------------
# The relatives: which axes, which projection


def layer_norm(x, gamma, beta, *, trailing=1, eps=1e-5):
    r"""Layer normalization: every example over its own features.

    Parameters
    ----------
    x : array
        Activations whose last axes are the features: (m, d), (N, L, d), ...
    gamma, beta : array, the shape of the features, or None
        Scale and shift.
    trailing : int
        How many of the last axes are features.
    eps : float
        Added to the variance.

    Returns
    -------
    y, cache
        As `forward` returns them.

    Raises
    ------
    ValueError
        As `forward` does, also if an example has one feature: y would be β whatever x
        is. (torch computes it without a word.)

    References
    ----------
    Ba, Kiros and Hinton, *Layer Normalization*, 2016, arXiv 1607.06450, equation 3.
    """
    x, axes = _trailing(x, trailing)
    gamma = _features("gamma", gamma, x, axes)
    beta = _features("beta", beta, x, axes)
    return forward(x, gamma, beta, axes, eps=eps)


def rms_norm(x, gamma, *, trailing=1, eps=1e-5):
    r"""RMS normalization: layer normalization that takes no mean off, P = I.

    .. math:: y_i = \gamma_i \frac{x_i}{\sqrt{\frac 1n \sum_j x_j^2 + \epsilon}}

    Parameters
    ----------
    x : array
        Activations whose last axes are the features.
    gamma : array, the shape of the features, or None
        Scale.
    trailing : int
        How many of the last axes are features.
    eps : float
        Added to the mean square.

    Returns
    -------
    y, cache
        As `forward` returns them; `backward` gives None for the shift.

    Raises
    ------
    ValueError
        As `forward` does. One feature is allowed: its sign remains.

    References
    ----------
    Zhang and Sennrich, *Root Mean Square Layer Normalization*, NeurIPS 2019,
    arXiv 1910.07467, equation 4.
    """
    x, axes = _trailing(x, trailing)
    gamma = _features("gamma", gamma, x, axes)
    return forward(x, gamma, None, axes, center=False, eps=eps)


def group_norm(x, groups, gamma, beta, *, eps=1e-5):
    r"""Group normalization: every example over the channels of a group.

    One group is layer normalization over channels and pixels, a group for each channel
    instance normalization.

    Parameters
    ----------
    x : array, (N, C) or (N, C, \*spatial)
        Activations.
    groups : int
        How many groups; it divides C.
    gamma, beta : array, (C,), or None
        Scale and shift.
    eps : float
        Added to the variance.

    Returns
    -------
    y, cache
        As `forward` returns them.

    Raises
    ------
    ValueError
        As `forward` does, if groups does not divide C, and if a group has one value: y
        would be β whatever x is. (torch refuses that for a batch of one example alone.)

    References
    ----------
    Wu and He, *Group Normalization*, ECCV 2018, arXiv 1803.08494, equation 7.
    """
    x = _checks.activations("x", x)
    channels = x.shape[1]
    groups = _checks.count("groups", groups)
    if channels % groups:
        raise ValueError(
            f"groups is {groups}, and x has {channels} channels (shape {x.shape}); "
            "allowed are divisors of the number of channels"
        )
    gamma = _checks.parameter("gamma", gamma, channels)
    beta = _checks.parameter("beta", beta, channels)
    spatial, parts = x.shape[2:], (groups, channels // groups)
    shape = (len(x), *parts, *spatial)
    columns = (1, *parts, *[1] * len(spatial))
    view = View(shape, tuple(range(2, len(shape))), columns)
    return _forward(x, gamma, beta, view, True, eps)


def instance_norm(x, gamma, beta, *, eps=1e-5):
    r"""Instance normalization: every feature map of every example by itself.

    Parameters
    ----------
    x : array, (N, C, \*spatial)
        Feature maps of at least two pixels.
    gamma, beta : array, (C,), or None
        Scale and shift.
    eps : float
        Added to the variance.

    Returns
    -------
    y, cache
        As `forward` returns them.

    Raises
    ------
    ValueError
        As `forward` does, also if a map has one pixel, as torch refuses it.

    References
    ----------
    Ulyanov, Vedaldi and Lempitsky, *Instance Normalization*, 2016, arXiv 1607.08022,
    equation 4.
    """
    x = _checks.activations("x", x)
    return group_norm(x, max(1, x.shape[1]), gamma, beta, eps=eps)


def weight_standardization(weight, *, eps=1e-5):
    r"""Weight standardization: the same on the weights of each unit.

    Parameters
    ----------
    weight : array, (out, in) or (out, in, \*kernel)
        Weights of a layer, those of a unit in ``weight[i]``.
    eps : float
        Added to the variance.

    Returns
    -------
    weight : array
        Of the shape and dtype of the argument; the layer multiplies by it.
    cache : Cache
        For `backward`.

    Raises
    ------
    ValueError
        As `forward` does, also if a unit has one weight.

    References
    ----------
    Qiao, Wang, Liu, Shen and Yuille, *Micro-Batch Training with Batch-Channel
    Normalization and Weight Standardization*, 2019, arXiv 1903.10520, equation 6.
    """
    weight = _checks.real_array("weight", weight)
    if weight.ndim < 2:
        raise ValueError(
            f"weight has shape {weight.shape}; "
            "allowed are (out, in) and (out, in, *kernel)"
        )
    view = View(weight.shape, tuple(range(1, weight.ndim)))
    return _forward(weight, None, None, view, True, eps, name="weight")


# ---------------------------------------------------------------------------
# Arguments


def _axes(axes, shape):
    """Axes as a sorted tuple of distinct axes of an array of this shape."""
    given = axes if np.iterable(axes) else (axes,)
    for axis in given:
        if not _checks.is_integer(axis) or not -len(shape) <= axis < len(shape):
            raise ValueError(
                f"axes is {axes!r}; allowed are axes of x, whose shape is {shape}"
            )
    found = sorted({int(axis) % len(shape) for axis in given})
    if not found or len(found) < len(tuple(given)):
        raise ValueError(f"axes is {axes!r}; allowed are one axis or several, distinct")
    return tuple(found)


def _trailing(x, trailing):
    """x as an array, and its last axes."""
    x = _checks.real_array("x", x)
    if x.ndim == 0:
        raise ValueError("x has shape (); allowed are arrays with an axis of features")
    trailing = _checks.count("trailing", trailing, most=x.ndim)
    return x, tuple(range(x.ndim - trailing, x.ndim))


def _features(name, values, x, axes):
    """gamma or beta with one value for each feature, or None as it is."""
    if values is None:
        return None
    shape = tuple(x.shape[axis] for axis in axes)
    return _checks.shaped(name, values, shape, "one value per feature")


def _affine(name, values, x):
    """gamma or beta as an array that broadcasts to x, or None as it is."""
    if values is None:
        return None
    values = _checks.real_array(name, values)
    try:
        fits = np.broadcast_shapes(values.shape, x.shape) == x.shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{name} has shape {values.shape}; allowed are shapes that broadcast to "
            f"{x.shape}, that of x"
        )
    return values


def _several(name, x, n, center):
    """Refuse groups without values, and centered ones of one value."""
    if n < 1 + center:
        least = "two values a group" if center else "one"
        raise ValueError(
            f"{name} has shape {x.shape}, and n = {n} values a group; allowed is at "
            f"least {least}: one value less its mean is 0, whatever it is"
        )
