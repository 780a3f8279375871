r"""What batch normalization costs: exact counts of bytes and operations.

Each function counts one pass of the program that its docstring writes down, for
activations of a shape and dtype: of any shape, also of one value per channel, which
the layer itself refuses in training. n is the number of activations, C that of the
channels, s the bytes of an activation and v those of a number per channel, which is
kept in float32 beside half precision.

A *read* or a *write* is one between the arithmetic unit and the main memory. A tensor
counts as read anew each time that the program passes over it; ``passes=1`` is the
case in which it stays in a cache after the first time. A sum, difference, product,
quotient, root or comparison counts as one operation.

`seconds` turns a count into time on a machine of which two numbers are known, by the
roofline model of Williams, Waterman and Patterson (2009).

>>> step = forward((32, 64, 56, 56), "float16") + backward((32, 64, 56, 56), "float16")
>>> step.bytes, step.operations, seconds(step, bandwidth=3e12, rate=60e12)

``counts`` says what a `Cost` is; ``passes`` counts the layer, and a ReLU and a
convolution beside it; ``savings`` what recomputation, the pass in place and folding
leave; ``roofline`` makes seconds of it.
"""

from batchnorm.cost.counts import BYTES, Cost
from batchnorm.cost.passes import (
    backward,
    convolution,
    forward,
    inference,
    relu,
    relu_backward,
)
from batchnorm.cost.roofline import seconds
from batchnorm.cost.savings import fold, in_place_backward, recompute, stored

__all__ = [
    "BYTES", "Cost", "backward", "convolution", "fold", "forward",
    "in_place_backward", "inference", "recompute", "relu", "relu_backward",
    "seconds", "stored",
]  # fmt: skip
