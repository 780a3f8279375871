"""Refusals: the checks of arguments that the modules of this package share.

Every check returns the argument in the form that the caller works with, or
raises ValueError naming the argument, what was given and what is allowed.
"""

import math
import numbers

import numpy as np

_FLOATS = (np.float16, np.float32, np.float64)


def real_array(name, values):
    """`values` as an array of float16, float32 or float64; integers as float64."""
    if isinstance(values, np.ma.MaskedArray):
        raise ValueError(
            f"{name} is a masked array, whose mask would be ignored; "
            "allowed are arrays without a mask"
        )
    try:
        array = np.asarray(values)
    except ValueError as error:  # rows of different lengths
        raise ValueError(
            f"{name} is ragged ({error}); allowed are arrays of numbers"
        ) from error
    if array.dtype.kind in "biu":
        return array.astype(np.float64)
    if array.dtype.kind == "f" and array.dtype.newbyteorder("=").type in _FLOATS:
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    raise ValueError(
        f"{name} has dtype {array.dtype}; "
        "allowed are float16, float32, float64 and integers"
    )


def activations(name, x):
    """`x` as a real array with a channel axis: (m, d) or (N, C, *spatial)."""
    x = real_array(name, x)
    if x.ndim < 2:
        raise ValueError(
            f"{name} has shape {x.shape}, without a channel axis; "
            "allowed are (m, d) and (N, C, *spatial)"
        )
    return x


def batch(name, x):
    """`x` as a batch to take statistics of: at least two values per channel."""
    x = activations(name, x)
    if x.size == 0:
        raise ValueError(
            f"{name} has shape {x.shape}, which holds no values; "
            "batch statistics need at least two values per channel"
        )
    if x.size == x.shape[1]:
        raise ValueError(
            f"{name} has shape {x.shape}, one value per channel; "
            "batch statistics need at least two"
        )
    return x


def matrix(name, x):
    """`x` as a batch of rows, (m, d), to take statistics of."""
    x = real_array(name, x)
    if x.ndim != 2:
        raise ValueError(f"{name} has shape {x.shape}; allowed is (m, d)")
    return batch(name, x)


def channels(name, x, expected):
    """Refuse activations with another number of channels than expected."""
    if x.shape[1] != expected:
        raise ValueError(
            f"{name} has {x.shape[1]} channels (shape {x.shape}); allowed is {expected}"
        )


def channel_vector(name, values, channels):
    """`values` as a real array of shape (channels,)."""
    vector = real_array(name, values)
    if vector.shape != (channels,):
        raise ValueError(
            f"{name} has shape {vector.shape}; "
            f"allowed is ({channels},), one value per channel"
        )
    return vector


def parameter(name, values, channels):
    """`values` as a channel vector, or None as it is."""
    return None if values is None else channel_vector(name, values, channels)


def variance(name, values, channels):
    """`values` as a channel vector without negative entries; NaN passes."""
    vector = channel_vector(name, values, channels)
    negative = np.flatnonzero(vector < 0)
    if negative.size:
        channel = negative[0]
        raise ValueError(
            f"{name} is {vector[channel]} in channel {channel}; "
            "a variance is zero or positive"
        )
    return vector


def gradient(name, dy, shape):
    """`dy` as a real array of exactly the given shape."""
    dy = real_array(name, dy)
    if dy.shape != shape:
        raise ValueError(
            f"{name} has shape {dy.shape}; allowed is {shape}, that of the input"
        )
    return dy


def epsilon(eps):
    """`eps` as a positive, finite float."""
    if not is_real(eps) or not (0 < float(eps) < math.inf):
        raise ValueError(f"eps is {eps!r}; allowed are positive, finite numbers")
    return float(eps)


def momentum(value):
    """`value` as a float in [0, 1], or None, which asks for the cumulative mean."""
    if value is None:
        return None
    if not is_real(value) or not (0 <= float(value) <= 1):
        raise ValueError(
            f"momentum is {value!r}; allowed are numbers from 0 to 1 and None"
        )
    return float(value)


def count(name, value, *, least=1):
    """`value` as an int that is at least `least`."""
    if (
        isinstance(value, (bool, np.bool_))
        or not isinstance(value, numbers.Integral)
        or value < least
    ):
        raise ValueError(f"{name} is {value!r}; allowed are integers from {least} on")
    return int(value)


def is_real(value):
    """Whether `value` is one real number; NumPy scalars are, booleans are not."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return False
    try:
        float(value)
    except OverflowError:  # an integer beyond the floats
        return False
    return True
