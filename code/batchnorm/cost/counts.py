"""What a count is, and of what size and width the numbers are that are counted."""

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


def sizes(shape, dtype):
    """Activations, channels, and the bytes of one number of each."""
    shape = tuple(_checks.iterable("shape", shape, "extents"))
    if len(shape) < 2:
        raise ValueError(f"shape is {shape}; allowed are (m, d) and (N, C, *spatial)")
    size, _ = extents(shape)
    return (size, shape[1], *widths(dtype))


def of_pass(shape, dtype, *, reads, writes, operations):
    """Cost of a pass, each given as so many times n and so many times C."""
    n, channels, s, v = sizes(shape, dtype)
    moved = [
        tensors * n * s + vectors * channels * v for tensors, vectors in (reads, writes)
    ]
    return Cost(*moved, operations[0] * n + operations[1] * channels)


def extents(shape):
    """Number of entries, and the first extent."""
    shape = tuple(_checks.iterable("shape", shape, "extents"))
    if not shape:
        raise ValueError("shape is (); allowed are those of one axis or more")
    for extent in shape:
        _checks.count("an extent of shape", extent)
    return math.prod(shape), shape[0]


def widths(dtype):
    """Bytes of an activation and of a number per channel."""
    name = getattr(dtype, "__name__", str(dtype)).removeprefix("torch.")
    s = BYTES[_checks.one_of("dtype", name, tuple(BYTES))]
    return s, max(s, BYTES["float32"])
