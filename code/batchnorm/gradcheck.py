r"""Numerical gradients: central differences, in float64.

.. math::

   \frac{\partial\ell}{\partial x_i} \approx
     \frac{\ell(x + h e_i) - \ell(x - h e_i)}{2h}

The formula leaves out a term of size ``h²|ℓ‴|/6``, and rounding each ℓ to a relative u
adds up to ``u|ℓ|/h``, with u the unit roundoff, 2⁻⁵³ in float64 and 2⁻²⁴ in float32.
Their sum is smallest at ``h = (3u|ℓ|/|ℓ‴|)^(1/3)``, that is

.. math:: h = (2u)^{1/3} L, \qquad \text{error} \sim (2u)^{2/3}

with L the length over which ℓ bends, ``(|ℓ|/|ℓ‴|)^(1/3)`` up to a factor near 1. It is
6e-6 L in float64 and 5e-3 L in float32. L is taken to be the standard deviation of
the argument's entries, which is the right one for batch normalization: it is the
length over which the normalized activations change by 1.

Source: Press, Teukolsky, Vetterling and Flannery, Numerical Recipes, section 5.7.
"""

from typing import NamedTuple

import numpy as np

from batchnorm import _checks


class GradientError(NamedTuple):
    """How far a gradient is from the numerical one.

    Parameters
    ----------
    absolute : float
        The largest difference.
    relative : float
        That, over the largest entry of either gradient; 0 where both are zero.
    """

    absolute: float
    relative: float


def best_step(x, dtype=np.float64):
    r"""Step of the central difference: :math:`h = (2u)^{1/3} L`.

    L is the standard deviation of the entries of x; where they are all equal, their
    magnitude, or 1 at zero.

    Parameters
    ----------
    x : array, any shape
        The argument of the loss.
    dtype : dtype
        Of the arithmetic of the loss, with unit roundoff u, so that numbers at 1 are
        spaced by 2u.

    Returns
    -------
    float
        The step, which is at least some spacings of numbers at x.

    Raises
    ------
    ValueError
        If x is not a real array, or dtype is not a floating one.
    """
    x = _checks.real_array("x", x).astype(np.float64)
    eps = float(np.finfo(_floating(dtype)).eps)
    largest = float(np.max(np.abs(x), initial=0.0))
    length = float(np.std(x)) if x.size else 0.0
    if length <= 4 * np.finfo(np.float64).eps * largest:
        length = largest or 1.0
    return max(eps ** (1 / 3) * length, 8 * eps * largest)


def numerical_gradient(loss, x, *, step=None, dtype=np.float64):
    """Gradient of a loss by central differences, one entry at a time.

    Parameters
    ----------
    loss : function of an array to a number
        It is given arrays of the shape of x, in the dtype.
    x : array, any shape
        Where the gradient is taken; it is copied.
    step : float, or None
        h; None for `best_step`.
    dtype : dtype
        Of the arithmetic of the loss. The differences are in float64.

    Returns
    -------
    array
        The gradient, in float64, of the shape of x.

    Raises
    ------
    ValueError
        If x is not a real array, the step is not positive and finite or too small to
        change x, the loss is not one number, or dtype is not a floating one.
    """
    dtype = _floating(dtype)
    point = _checks.real_array("x", x).astype(dtype)
    step = best_step(point, dtype) if step is None else _checks.positive("step", step)
    gradient = np.empty(point.shape)
    for index in np.ndindex(point.shape):
        center = point[index]
        ends, losses = [], []
        for end in (float(center) + step, float(center) - step):
            point[index] = end
            ends.append(float(point[index]))  # x ± h as it was stored
            losses.append(_number(loss(point.copy())))
        point[index] = center
        if ends[0] == ends[1]:
            raise ValueError(
                f"step is {step}, which does not change the entry {center} of x "
                f"in {dtype}; allowed are larger steps"
            )
        gradient[index] = (losses[0] - losses[1]) / (ends[0] - ends[1])
    return gradient


def gradient_error(gradient, numerical):
    """How far two gradients of the same shape are from each other.

    Parameters
    ----------
    gradient, numerical : array
        The gradient, and what it is compared with.

    Returns
    -------
    GradientError
        Both numbers are NaN where a gradient holds NaN, or both hold the same infinity
        (of which NumPy warns).

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    gradient = _checks.real_array("gradient", gradient).astype(np.float64)
    numerical = _checks.gradient("numerical", numerical, gradient.shape)
    difference = float(np.max(np.abs(gradient - numerical), initial=0.0))
    if difference == 0:
        return GradientError(0.0, 0.0)
    largest = np.max([np.max(np.abs(gradient)), np.max(np.abs(numerical))])
    return GradientError(difference, difference / float(largest))


def gradcheck(function, arguments, dy, gradients, *, step=None):
    r"""Errors of the gradients of ℓ = Σ dy·f(x₁, x₂, …) with respect to each xₖ.

    All is computed in float64.

    Parameters
    ----------
    function : function of the arguments to an array
        The function f.
    arguments : sequence of arrays, or None
        x₁, x₂, …
    dy : array
        Weights of the values of f, of their shape.
    gradients : sequence of arrays, or None
        ``gradients[k]`` of the shape of ``arguments[k]``; an argument whose gradient is
        None is not checked.
    step : float, or None
        As in `numerical_gradient`.

    Returns
    -------
    list of GradientError, or None
        One for each argument.

    Raises
    ------
    ValueError
        If shapes do not fit, or the function does not return a real array.
    """
    arguments = list(_checks.iterable("arguments", arguments, "arrays and None"))
    gradients = list(_checks.iterable("gradients", gradients, "arrays and None"))
    if len(arguments) != len(gradients):
        raise ValueError(
            f"gradients holds {len(gradients)} entries; allowed is one for each of "
            f"the {len(arguments)} arguments"
        )
    dy = _checks.real_array("dy", dy).astype(np.float64)
    exact = [
        None if argument is None else _checks.real_array("arguments", argument)
        for argument in arguments
    ]
    exact = [None if a is None else a.astype(np.float64) for a in exact]

    def loss_of(k):
        def loss(value):
            y = function(*exact[:k], value, *exact[k + 1 :])
            y = _checks.real_array("what function returns", y)
            return np.sum(_checks.gradient("dy", dy, y.shape) * y)

        return loss

    return [
        None
        if gradient is None
        else gradient_error(
            gradient, numerical_gradient(loss_of(k), exact[k], step=step)
        )
        for k, gradient in enumerate(gradients)
    ]


def _number(value):
    shape = getattr(value, "shape", ())  # of an array, NumPy's or torch's
    if len(shape):
        raise ValueError(
            f"loss returned an array of shape {tuple(shape)}; allowed is one number"
        )
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        came = type(value).__name__
        raise ValueError(f"loss returned a {came}; allowed is one number") from error


def _floating(dtype):
    """dtype as NumPy has it, which has to be one of floating numbers."""
    try:
        found = np.dtype(dtype)
    except TypeError:  # not a dtype at all
        found = None
    if found is None or found.kind != "f":
        raise ValueError(f"dtype is {dtype!r}; allowed are NumPy's floating ones")
    return found
