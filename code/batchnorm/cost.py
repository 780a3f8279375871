r"""What batch normalization costs: exact counts of bytes and operations.

Each function counts one pass of the program that its docstring writes down, for
activations of a shape and dtype. n is the number of activations, C that of the
channels, s the bytes of an activation and v those of a number per channel, which is
kept in float32 beside half precision.

A *read* or a *write* is one between the arithmetic unit and the main memory. A tensor
counts as read anew each time that the program passes over it; ``passes=1`` is the
case in which it stays in a cache after the first time. A sum, difference, product,
quotient, root or comparison counts as one operation.

`seconds` turns a count into time on a machine of which two numbers are known, by the
roofline model of Williams, Waterman and Patterson (2009).
"""

import math
from dataclasses import dataclass

from batchnorm import _checks

BYTES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}


@dataclass(frozen=True)
class Cost:
    """Bytes that are read and written, and operations.

    Parameters
    ----------
    reads, writes : int
        Bytes between the arithmetic unit and the main memory.
    operations : int
        Sums, differences, products, quotients, roots and comparisons.
    """

    reads: int = 0
    writes: int = 0
    operations: int = 0

    def __add__(self, other):
        return Cost(
            self.reads + other.reads,
            self.writes + other.writes,
            self.operations + other.operations,
        )

    @property
    def bytes(self):
        """Bytes read and written together."""
        return self.reads + self.writes

    @property
    def intensity(self):
        """Operations per byte, the arithmetic intensity."""
        return self.operations / self.bytes


# ---------------------------------------------------------------------------
# Passes of the layer


def forward(shape, dtype, *, passes=2, relu=False):
    r"""Cost of the forward pass in training, running statistics included.

    For each channel, with the first value a as a shift, the running statistics
    :math:`r_\mu, r_\sigma` and their momentum w,

    .. math::

       \begin{aligned}
       d_i &= x_i - a, \qquad S = \sum_i d_i, \qquad Q = \sum_i d_i^2
           &&\text{first reading: } 4 n \\
       \mu &= a + S/m, \quad \sigma^2 = Q/m - (S/m)^2, \\
       v &= 1/\sqrt{\sigma^2 + \epsilon}, \quad \gamma v &&9 C \\
       y_i &= (x_i - \mu)\,(\gamma v) + \beta &&\text{second reading: } 3 n \\
       r_\mu &\leftarrow r_\mu + w (\mu - r_\mu), \\
       r_\sigma &\leftarrow r_\sigma + w (\tfrac{m}{m-1} \sigma^2 - r_\sigma) &&7 C
       \end{aligned}

    Reads passes·n activations and 4 C numbers per channel (gamma, beta, two running
    statistics), writes n and 4 C (mean and v for `backward`, two running statistics);
    7 n + 16 C operations. With three passes the sum of :math:`(x_i-\mu)^2` has a
    reading of its own, and 7 n + 13 C operations are left.

    Parameters
    ----------
    shape : tuple of int
        (m, d) or (N, C, \*spatial).
    dtype : str, NumPy or torch dtype
        Of the activations: float16, bfloat16, float32 or float64.
    passes : int
        How often x is read: 3, 2, or 1 if it stays in a cache.
    relu : bool
        Whether a ReLU is applied before y is written: n operations more.

    Returns
    -------
    Cost

    Raises
    ------
    ValueError
        If shape has no channel axis or an extent below 1, dtype is none of the four,
        or passes is not 1, 2 or 3.
    """
    n, channels, s, v = _sizes(shape, dtype)
    _checks.one_of("passes", passes, (1, 2, 3))
    per_channel = 13 if passes == 3 else 16
    return Cost(
        passes * n * s + 4 * channels * v,
        n * s + 4 * channels * v,
        (8 if relu else 7) * n + per_channel * channels,
    )


def inference(shape, dtype, *, relu=False):
    r"""Cost of the forward pass with given statistics.

    .. math::

       g = \gamma/\sqrt{\sigma^2 + \epsilon}, \quad h = \beta - \mu g \quad(6 C),
       \qquad y_i = g x_i + h \quad(2 n)

    Reads n activations and 4 C numbers per channel, writes n; 2 n + 6 C operations.

    Parameters
    ----------
    shape, dtype, relu
        As in `forward`.

    Returns
    -------
    Cost

    Raises
    ------
    ValueError
        As in `forward`.
    """
    n, channels, s, v = _sizes(shape, dtype)
    operations = (3 if relu else 2) * n + 6 * channels
    return Cost(n * s + 4 * channels * v, n * s, operations)


def backward(shape, dtype, *, passes=2, relu=False):
    r"""Cost of the backward pass in closed form.

    .. math::

       \begin{aligned}
       c_i &= x_i - \mu, \; B = \sum_i dy_i, \; P = \sum_i dy_i\,c_i
           &&\text{first reading: } 4 n \\
       d\gamma &= P v, \; g = \gamma v, \; k_1 = B/m, \;
       k_2 = d\gamma\,v/m &&5 C \\
       dx_i &= g\,(dy_i - k_1 - k_2\,c_i) &&\text{second reading: } 5 n
       \end{aligned}

    Reads x and dy, passes·2n activations, and 3 C numbers per channel (gamma, mean and
    v); writes n and 2 C; 9 n + 5 C operations.

    With the backward pass of a ReLU behind the layer in the same loop, the sign of
    :math:`y_i = g c_i + \beta` is computed again in both readings: 8 n operations and
    C reads (beta) more, and no activation.

    Parameters
    ----------
    shape, dtype
        As in `forward`.
    passes : int
        How often x and dy are read: 2, or 1 if they stay in a cache.
    relu : bool
        Whether dy is the gradient behind a ReLU.

    Returns
    -------
    Cost

    Raises
    ------
    ValueError
        As in `forward`.
    """
    n, channels, s, v = _sizes(shape, dtype)
    _checks.one_of("passes", passes, (1, 2))
    return Cost(
        2 * passes * n * s + (4 if relu else 3) * channels * v,
        n * s + 2 * channels * v,
        (17 if relu else 9) * n + 5 * channels,
    )


def relu(shape, dtype):
    """Cost of a ReLU by itself: reads n, writes n, n operations.

    Parameters
    ----------
    shape, dtype
        As in `forward`.

    Returns
    -------
    Cost

    Raises
    ------
    ValueError
        As in `forward`.
    """
    n, _, s, _ = _sizes(shape, dtype)
    return Cost(n * s, n * s, n)


def relu_backward(shape, dtype):
    """Cost of the backward pass of a ReLU by itself: dy = dz·(z > 0).

    Reads 2 n (dz and z), writes n, 2 n operations.

    Parameters
    ----------
    shape, dtype
        As in `forward`.

    Returns
    -------
    Cost

    Raises
    ------
    ValueError
        As in `forward`.
    """
    n, _, s, _ = _sizes(shape, dtype)
    return Cost(2 * n * s, n * s, 2 * n)


# ---------------------------------------------------------------------------
# Less memory, less time


def recompute(shape, dtype):
    r"""Cost of making the output of layer and ReLU again, from x and its statistics.

    .. math:: z_i = \max(0,\ (x_i - \mu)\,(\gamma v) + \beta)

    Reads n activations and 4 C numbers per channel, writes n; 4 n + C operations.

    Parameters
    ----------
    shape, dtype
        As in `forward`.

    Returns
    -------
    Cost

    Raises
    ------
    ValueError
        As in `forward`.

    References
    ----------
    Rota Bulò, Porzi and Kontschieder (2018), section 3, on checkpointing.
    """
    n, channels, s, v = _sizes(shape, dtype)
    return Cost(n * s + 4 * channels * v, n * s, 4 * n + channels)


def in_place_backward(shape, dtype):
    r"""Cost of the backward pass from the output z of a leaky ReLU, without x.

    A leaky ReLU can be undone, and so can the affine map where gamma is not zero:

    .. math::

       y_i = z_i \text{ or } z_i/a, \quad dy_i = dz_i \text{ or } a\,dz_i, \quad
       \hat x_i = (y_i - \beta)/\gamma

    5 n operations in each of two readings; sums 3 n, dx 4 n, and 4 C per channel.
    Reads 4 n activations and 3 C numbers per channel (gamma, beta and v), writes n and
    2 C; 17 n + 4 C operations.

    Parameters
    ----------
    shape, dtype
        As in `forward`.

    Returns
    -------
    Cost

    Raises
    ------
    ValueError
        As in `forward`.

    References
    ----------
    Rota Bulò, Porzi and Kontschieder (2018), section 3.
    """
    n, channels, s, v = _sizes(shape, dtype)
    return Cost(
        4 * n * s + 3 * channels * v,
        n * s + 2 * channels * v,
        17 * n + 4 * channels,
    )


def stored(shape, dtype, *, scheme="kept"):
    """Bytes that wait from the forward to the backward pass, of layer and ReLU.

    =============  ===========================================  ===============
    scheme         what waits                                   bytes
    =============  ===========================================  ===============
    ``kept``       x, the output z for the next layer, mean, v  2 n s + 2 C v
    ``recompute``  x, mean, v; z is made again                  n s + 2 C v
    ``in place``   z, v; x is never needed                      n s + C v
    =============  ===========================================  ===============

    Parameters
    ----------
    shape, dtype
        As in `forward`.
    scheme : {"kept", "recompute", "in place"}
        What is kept.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        As in `forward`, and if there is no such scheme.
    """
    n, channels, s, v = _sizes(shape, dtype)
    tensors = {"kept": (2, 2), "recompute": (1, 2), "in place": (1, 1)}
    maps, vectors = tensors[_checks.one_of("scheme", scheme, tuple(tensors))]
    return maps * n * s + vectors * channels * v


def fold(shape, dtype):
    r"""Cost of folding the layer into the weight before it, once and for all.

    .. math::

       g_c = \gamma_c/\sqrt{\sigma_c^2 + \epsilon}, \quad W'_c = g_c W_c, \quad
       b'_c = (b_c - \mu_c)\,g_c + \beta_c

    Reads and writes W and b, and reads 4 C numbers per channel; one operation for each
    weight and 7 C. A call of the network then has no normalization, and no cost for it.

    Parameters
    ----------
    shape : tuple of int
        Of the weight, the output channels first.
    dtype
        Of the weight.

    Returns
    -------
    Cost

    Raises
    ------
    ValueError
        As in `forward`.
    """
    s, v = _widths(dtype)
    size, channels = _extents(shape)
    moved = (size + channels) * s
    return Cost(moved + 4 * channels * v, moved, size + 7 * channels)


def convolution(shape, dtype, *, out_channels, kernel, stride=1):
    r"""Cost of a convolution, as a neighbor to compare with.

    Padded so that the stride divides the extents (rounded up). Reads x and the weight
    once, writes the output; a product and a sum for each weight and output.

    Parameters
    ----------
    shape : tuple of int
        Of the input, (N, C, \*spatial); without spatial axes, of a linear layer.
    dtype
        As in `forward`.
    out_channels, kernel, stride : int
        Channels of the output, and extent and step of the kernel along each axis.

    Returns
    -------
    Cost

    Raises
    ------
    ValueError
        As in `forward`.
    """
    n, channels, s, _ = _sizes(shape, dtype)
    for name, value in (("out_channels", out_channels), ("kernel", kernel)):
        _checks.count(name, value)
    _checks.count("stride", stride)
    places = shape[0] * math.prod(-(-extent // stride) for extent in shape[2:])
    weights = out_channels * channels * kernel ** (len(shape) - 2)
    outputs = places * out_channels
    return Cost((n + weights) * s, outputs * s, 2 * places * weights)


# ---------------------------------------------------------------------------
# Time, by the roofline


def seconds(cost, bandwidth, rate):
    r"""Least time on a machine that moves and computes at the same time.

    .. math::

       t = \max(\text{bytes} / \text{bandwidth},\ \text{operations} / \text{rate})

    Parameters
    ----------
    cost : Cost
        From one of the other functions, or a sum of them.
    bandwidth : float
        Bytes a second, of the main memory.
    rate : float
        Operations a second.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If bandwidth or rate is not positive.

    References
    ----------
    Williams, Waterman and Patterson (2009).
    """
    bandwidth = _checks.positive("bandwidth", bandwidth)
    rate = _checks.positive("rate", rate)
    return max(cost.bytes / bandwidth, cost.operations / rate)


# ---------------------------------------------------------------------------
# Arguments


def _sizes(shape, dtype):
    """Activations, channels, and the bytes of one number of each."""
    shape = tuple(shape)
    if len(shape) < 2:
        raise ValueError(f"shape is {shape}; allowed are (m, d) and (N, C, *spatial)")
    size, _ = _extents(shape)
    return (size, shape[1], *_widths(dtype))


def _extents(shape):
    """Number of entries, and the first extent."""
    for extent in shape:
        _checks.count("an extent of shape", extent)
    return math.prod(shape), shape[0]


def _widths(dtype):
    """Bytes of an activation and of a number per channel."""
    name = getattr(dtype, "__name__", str(dtype)).removeprefix("torch.")
    s = BYTES[_checks.one_of("dtype", name, tuple(BYTES))]
    return s, max(s, BYTES["float32"])
