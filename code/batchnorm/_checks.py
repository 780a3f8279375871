"""The one way to refuse an argument, for NumPy and for torch.

Every check returns the argument in the form that the caller works with, or raises a
`ValueError` that names the argument, what came and what is allowed.

Checks of arrays take ``real``: how the argument is read, `real_array` unless stated, or
`real_tensor`. Nothing here imports torch; `real_tensor` is called by those who have.
"""

import math
import numbers

import numpy as np

_FLOATS = (np.float16, np.float32, np.float64)

# ---------------------------------------------------------------------------
# Arrays and tensors


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
    except (TypeError, RuntimeError) as error:  # bfloat16, a graph, another device
        kind = getattr(values, "dtype", type(values).__name__)
        raise ValueError(
            f"{name} is a tensor, {kind}, that NumPy does not read; allowed are "
            "arrays, and tensors as tensor.detach().cpu().float().numpy()"
        ) from error
    if array.dtype.kind in "biu":
        return array.astype(np.float64)
    if array.dtype.kind == "f" and array.dtype.newbyteorder("=").type in _FLOATS:
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    raise ValueError(
        f"{name} has dtype {array.dtype}; "
        "allowed are float16, float32, float64 and integers"
    )


def real_tensor(name, values):
    """`values`, which have to be a tensor of one of torch's floating dtypes."""
    import torch

    if not isinstance(values, torch.Tensor):
        raise ValueError(f"{name} is a {type(values).__name__}; allowed is a tensor")
    if not values.is_floating_point() or values.element_size() == 1:  # float8
        raise ValueError(
            f"{name} has dtype {values.dtype}; "
            "allowed are float16, bfloat16, float32 and float64"
        )
    return values


def activations(name, x, real=real_array, *, spatial=None):
    """`x` with a channel axis: (m, d) or (N, C, *spatial), at most so many spatial."""
    x = real(name, x)
    if x.ndim < 2 or (spatial is not None and x.ndim > 2 + spatial):
        lacks = "" if x.ndim > 1 else ", without a channel axis"
        limit = "" if spatial is None else f" with at most {spatial} spatial axes"
        raise ValueError(
            f"{name} has shape {tuple(x.shape)}{lacks}; "
            f"allowed are (m, d) and (N, C, *spatial){limit}"
        )
    return x


def batch(name, x, real=real_array, *, spatial=None):
    """`x` as activations to take statistics of: at least two values per channel."""
    x = activations(name, x, real, spatial=spatial)
    values = math.prod(x.shape)
    if values == 0:
        raise ValueError(
            f"{name} has shape {tuple(x.shape)}, which holds no values; "
            "batch statistics need at least two values per channel"
        )
    if values == x.shape[1]:
        raise ValueError(
            f"{name} has shape {tuple(x.shape)}, one value per channel; "
            "batch statistics need at least two"
        )
    return x


def matrix(name, x):
    """`x` as a batch of rows, (m, d), to take statistics of."""
    x = real_array(name, x)
    if x.ndim != 2:
        raise ValueError(f"{name} has shape {x.shape}; allowed is (m, d)")
    return batch(name, x)


def samples(name, x):
    """`x` as finite samples in float64, (m, d), one a row."""
    x = real_array(name, x)
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(
            f"{name} has shape {x.shape}; allowed is (m, d), one sample a row, "
            "none empty"
        )
    return finite(name, x)


def finite(name, values):
    """`values` as an array in float64 without NaN and infinity."""
    array = real_array(name, values).astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity; allowed are finite numbers")
    return array


def symmetric(name, matrix):
    """`matrix`, (d, d), which has to be symmetric up to rounding."""
    apart = np.abs(matrix - matrix.T)
    if (apart > 1e-8 * np.abs(matrix).max()).any():
        i, j = np.unravel_index(apart.argmax(), apart.shape)
        raise ValueError(
            f"{name} is {matrix[i, j]} at ({i}, {j}) and {matrix[j, i]} at ({j}, {i}); "
            "allowed are symmetric matrices"
        )
    return matrix


def channels(name, x, expected):
    """Refuse activations with another number of channels than expected."""
    if x.shape[1] != expected:
        raise ValueError(
            f"{name} has {x.shape[1]} channels (shape {tuple(x.shape)}); "
            f"allowed is {expected}"
        )


def shaped(name, values, shape, meaning, real=real_array):
    """`values` in exactly the given shape; meaning: why it is this one."""
    values = real(name, values)
    if values.shape != shape:
        raise ValueError(
            f"{name} has shape {tuple(values.shape)}; allowed is {shape}, {meaning}"
        )
    return values


def gradient(name, dy, shape):
    """`dy` as a real array of exactly the given shape."""
    return shaped(name, dy, shape, "that of the input")


def channel_vector(name, values, channels, real=real_array):
    """`values` in the shape (channels,)."""
    return shaped(name, values, (channels,), "one value per channel", real)


def parameter(name, values, channels, real=real_array):
    """`values` as a channel vector, or None as it is."""
    return None if values is None else channel_vector(name, values, channels, real)


def variance(name, values, channels, real=real_array):
    """`values` as a channel vector without negative entries; NaN passes.

    A tensor without values (traced, faked, batched, on the meta device) passes too.
    """
    vector = channel_vector(name, values, channels, real)
    try:
        negative = bool((vector < 0).any())
    except (RuntimeError, NotImplementedError):
        return vector
    if negative:
        channel, value = next((c, v) for c, v in enumerate(vector) if v < 0)
        raise ValueError(
            f"{name} is {float(value)} in channel {channel}; "
            "allowed are variances, zero or positive"
        )
    return vector


# ---------------------------------------------------------------------------
# What an ensemble of K networks is given


def examples(name, x, shape):
    """`x` as an array with one example or more that torch reads where it lies.

    One example for each of K networks, (K, 1, d), is refused: as K examples of the
    shape (1, d) it could be meant for all of them.
    """
    x, features = real_array(name, x), math.prod(shape)
    each_has_one = x.shape[1:2] == (1,) and math.prod(x.shape[2:]) == features
    if each_has_one and x.shape[1:] != tuple(shape):
        raise ValueError(
            f"{name} has shape {x.shape}; allowed are n or K × n examples of shape "
            f"{tuple(shape)}, flattened or not, with two or more for each network: "
            "give a single one twice"
        )
    if 0 in x.shape:
        raise ValueError(f"{name} has shape {x.shape}; allowed is one example or more")
    if min(x.strides, default=0) < 0:
        raise ValueError(
            f"{name} is reversed, with strides {x.strides}, which torch does not read; "
            "allowed is a copy, np.ascontiguousarray"
        )
    return x


def labels(name, y, networks, examples=None, classes=None):
    """`y` as classes, (n,) or (K, n): integers below `classes`, one for each example.

    What is None is not looked at.
    """
    real_array(name, y)
    array = np.asarray(y)
    if array.shape[:-1] not in ((), (networks,)) or array.ndim == 0:
        raise ValueError(
            f"{name} has shape {array.shape}; allowed are (n,) and ({networks}, n)"
        )
    if examples not in (None, array.shape[-1]):
        raise ValueError(
            f"{name} has shape {array.shape}; allowed is one label for each of "
            f"{examples} examples"
        )
    if array.dtype.kind not in "iu":
        raise ValueError(f"{name} has dtype {array.dtype}; allowed are integers")
    if classes is not None and (array.min() < 0 or array.max() >= classes):
        wrong = array.min() if array.min() < 0 else array.max()
        raise ValueError(
            f"{name} has the label {wrong}; allowed are 0 to {classes - 1}"
        )
    return array


def each_network(name, values, networks):
    """`values` as an array whose first axis is that of the K networks."""
    array = np.asarray(values)
    if array.shape[:1] != (networks,):
        raise ValueError(
            f"{name} has shape {array.shape}; allowed is ({networks}, ...), "
            "a value or more for each network"
        )
    return array


# ---------------------------------------------------------------------------
# Numbers and words


def is_real(value):
    """Whether `value` is one real number; NumPy scalars are, booleans are not."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return False
    try:
        float(value)
    except OverflowError:  # an integer beyond the floats
        return False
    return True


def is_integer(value):
    """Whether `value` is one integer; NumPy's are, booleans are not."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def number(name, value, allowed, holds):
    """`value` as a float for which `holds`; allowed: which those are, in words."""
    if not is_real(value) or not holds(float(value)):
        raise ValueError(f"{name} is {value!r}; allowed are {allowed}")
    return float(value)


def positive(name, value):
    """`value` as a positive, finite float."""
    return number(name, value, "positive, finite numbers", lambda v: 0 < v < math.inf)


def not_negative(name, value):
    """`value` as a finite float that is zero or positive."""
    allowed = "finite numbers from 0 on"
    return number(name, value, allowed, lambda v: 0 <= v < math.inf)


def bounded(low, high):
    """Refuse bounds that are no numbers, or both infinite: they ask for nothing."""
    for name, bound in (("low", low), ("high", high)):
        number(name, bound, "numbers", lambda v: not math.isnan(v))
    if math.isinf(low) and math.isinf(high):
        raise ValueError(f"low is {low}, high {high}; allowed is one finite at least")


def epsilon(eps):
    """`eps` as a positive, finite float."""
    return positive("eps", eps)


def momentum(value):
    """`value` as a float in [0, 1], or None, which asks for the cumulative mean."""
    if value is None:
        return None
    allowed = "numbers from 0 to 1 and None"
    return number("momentum", value, allowed, lambda v: 0 <= v <= 1)


def count(name, value, *, least=1, most=None):
    """`value` as an int that is at least `least` and at most `most`."""
    if not is_integer(value) or value < least or (most is not None and value > most):
        end = "on" if most is None else f"to {most}"
        raise ValueError(
            f"{name} is {value!r}; allowed are integers from {least} {end}"
        )
    return int(value)


def instance(name, value, kind, source):
    """`value`, which has to be what `source` returns, a `kind`."""
    if not isinstance(value, kind):
        came, allowed = _full_name(type(value)), _full_name(kind)
        raise ValueError(f"{name} is a {came}; allowed is the {allowed} from {source}")
    return value


def _full_name(kind):
    """The name of a class with its module: two modules have a class of one name."""
    if kind.__module__ == "builtins":
        return kind.__name__
    return f"{kind.__module__}.{kind.__qualname__}"


def function(name, value, allowed, *kinds):
    """`value`, which has to be called, or one of `kinds`; allowed: what, in words."""
    if not callable(value) and not isinstance(value, kinds):
        raise ValueError(f"{name} is {value!r}; allowed is {allowed}")
    return value


def functions(name, values, of):
    """`values` as a dict of str to functions; of: of what, in words."""
    allowed = f"a dict of str to functions of {of}"
    if not isinstance(values, dict):
        raise ValueError(f"{name} is {values!r}; allowed is {allowed}")
    for key, value in values.items():
        if not isinstance(key, str) or not callable(value):
            raise ValueError(f"{name} has {key!r}: {value!r}; allowed is {allowed}")
    return values


def no_class(name, value):
    """`value`, which must not be a class where one of its objects is meant."""
    if isinstance(value, type):
        raise ValueError(
            f"{name} is the class {value.__name__}; allowed is an object, such as "
            f"{value.__name__}()"
        )
    return value


def iterable(name, values, of):
    """`values`, which have to be an iterable; of: of what, in words."""
    if not np.iterable(values):
        raise ValueError(f"{name} is {values!r}; allowed are iterables of {of}")
    return values


def one_of(name, value, allowed):
    """`value`, which has to be among the allowed ones."""
    if value not in list(allowed):
        words = ", ".join(map(repr, allowed))
        raise ValueError(f"{name} is {value!r}; allowed are {words}")
    return value


def seeds(name, values):
    """`values` as an array of seeds, (K,): at least one, integers from 0 on.

    Where no type of NumPy's holds all of them, they stay integers of Python.
    """
    seeds = list(values) if np.iterable(values) else []
    if not seeds or not all(is_integer(seed) and seed >= 0 for seed in seeds):
        raise ValueError(
            f"{name} is {values!r}; allowed are sequences of integers from 0 on"
        )
    found = np.array(seeds)
    if found.dtype.kind not in "iu":  # floats, for which neighbors are one number
        found = np.array([int(seed) for seed in seeds], dtype=object)
    return found


def per_network(name, value, networks, *, most=math.inf):
    """`value` as one float for each network, (K,): finite, from 0 to `most`."""
    array = real_array(name, value).astype(np.float64)
    if np.asarray(value).dtype == bool:
        raise ValueError(f"{name} is {value!r}; allowed are numbers, not booleans")
    if array.ndim > 1 or array.size not in (1, networks):
        raise ValueError(
            f"{name} has shape {array.shape}; "
            f"allowed are a number and one for each of the {networks} networks"
        )
    if not (np.isfinite(array).all() and (array >= 0).all()):
        raise ValueError(f"{name} is {value}; allowed are finite numbers from 0 on")
    if (array > most).any():
        raise ValueError(f"{name} is {value}; allowed are numbers from 0 to {most}")
    return np.broadcast_to(array, (networks,)).copy()
