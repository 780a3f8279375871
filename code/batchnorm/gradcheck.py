r"""Numerical gradients: central differences, in float64.

$$\frac{\partial\ell}{\partial x_i} \approx
    \frac{\ell(x + h e_i) - \ell(x - h e_i)}{2h}$$

The formula leaves out a term of size h²|ℓ‴|/6, and rounding each ℓ to a relative u
adds up to u|ℓ|/h, with u the unit roundoff, 2⁻⁵³ in float64 and 2⁻²⁴ in float32.
Their sum is smallest at h = (3u|ℓ|/|ℓ‴|)^(1/3), that is

$$h = (2u)^{1/3} L, \qquad \text{error} \sim (2u)^{2/3}$$

with L the length over which ℓ bends, (|ℓ|/|ℓ‴|)^(1/3) up to a factor near 1. It is
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

    absolute: the largest difference; relative: that, over the largest entry of
    either gradient (0 where both are zero).
    """

    absolute: float
    relative: float


def best_step(x, dtype=np.float64):
    r"""Step of the central difference: $h = (2u)^{1/3} L$.

    x: the argument, any shape; dtype: of the arithmetic of the loss, with unit
    roundoff u, so that numbers at 1 are spaced by 2u. L is the standard deviation of
    the entries of x; where they are all equal, their magnitude, or 1 at zero. The step
    is at least some spacings of numbers at x.
    Returns the step, a float.
    Raises ValueError if x is not a real array.
    """
    x = _checks.real_array("x", x).astype(np.float64)
    eps = float(np.finfo(dtype).eps)
    largest = float(np.max(np.abs(x), initial=0.0))
    length = float(np.std(x)) if x.size else 0.0
    if length <= 4 * np.finfo(np.float64).eps * largest:
        length = largest or 1.0
    return max(eps ** (1 / 3) * length, 8 * eps * largest)


def numerical_gradient(loss, x, *, step=None, dtype=np.float64):
    """Gradient of a loss by central differences, one entry at a time.

    loss: function of an array of the shape of x, in the dtype, to a number;
    x: array of any shape; it is copied; step: h, or None for `best_step`;
    dtype: of the arithmetic of the loss. The differences are in float64.
    Returns the gradient, in float64, of the shape of x.
    Raises ValueError if x is not a real array, the step is not positive and finite
    or too small to change x, or the loss is not one number.
    """
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
                f"in {np.dtype(dtype)}; allowed are larger steps"
            )
        gradient[index] = (losses[0] - losses[1]) / (ends[0] - ends[1])
    return gradient


def gradient_error(gradient, numerical):
    """`GradientError` between two gradients of the same shape.

    Raises ValueError if the shapes differ.
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

    function: of the arguments, to an array of the shape of dy; arguments, gradients:
    sequences of arrays, gradients[k] of the shape of arguments[k]; an argument whose
    gradient is None is not checked. All is computed in float64.
    Returns a list of `GradientError`, or None, one for each argument.
    Raises ValueError if shapes do not fit.
    """
    arguments, gradients = list(arguments), list(gradients)
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
            y = np.asarray(function(*exact[:k], value, *exact[k + 1 :]))
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
    if np.ndim(value) != 0:
        raise ValueError(
            f"loss returned an array of shape {np.shape(value)}; allowed is one number"
        )
    return float(value)
