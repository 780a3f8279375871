"""Passes of the layer and of its neighbors, each as the loop in its docstring."""

import math

from batchnorm import _checks
from batchnorm.cost.counts import Cost, of_pass, sizes


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
    passes = _checks.count("passes", passes, most=3)
    operations = 8 if relu else 7, 13 if passes == 3 else 16
    return of_pass(
        shape, dtype, reads=(passes, 4), writes=(1, 4), operations=operations
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
    """
    operations = 3 if relu else 2, 6
    return of_pass(shape, dtype, reads=(1, 4), writes=(1, 0), operations=operations)


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
    passes = _checks.count("passes", passes, most=2)
    reads, operations = (2 * passes, 3), (9, 5)
    if relu:
        reads, operations = (2 * passes, 4), (17, 5)
    return of_pass(shape, dtype, reads=reads, writes=(1, 2), operations=operations)


def relu(shape, dtype):
    """Cost of a ReLU by itself: reads n, writes n, n operations.

    Parameters
    ----------
    shape, dtype
        As in `forward`.

    Returns
    -------
    Cost
    """
    return of_pass(shape, dtype, reads=(1, 0), writes=(1, 0), operations=(1, 0))


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
    """
    return of_pass(shape, dtype, reads=(2, 0), writes=(1, 0), operations=(2, 0))


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
    n, channels, s, _ = sizes(shape, dtype)
    sizes_of = {"out_channels": out_channels, "kernel": kernel, "stride": stride}
    for name, value in sizes_of.items():
        _checks.count(name, value)
    places = shape[0] * math.prod(-(-extent // stride) for extent in shape[2:])
    weights = out_channels * channels * kernel ** (len(shape) - 2)
    outputs = places * out_channels
    return Cost((n + weights) * s, outputs * s, 2 * places * weights)
