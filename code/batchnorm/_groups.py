"""Groups of the entries of an array, for `relatives`.

The engine in `_exact` takes one mean for each channel. A group of any other shape is
made a channel here, and back.
"""

import math
from typing import NamedTuple

import numpy as np

from batchnorm._exact import Wide, row_total


class View(NamedTuple):
    """Where the groups of an array are: over some axes of a shape in which it is seen.

    Group normalization sees (N, C, ...) as (N, groups, C/groups, ...).
    """

    shape: tuple
    axes: tuple  # of that shape: those a group extends over
    columns: tuple | None = None  # in which gamma or beta is seen, where not its own

    def grouped(self, x):
        """x in float64, a group for each channel of the engine: (1, groups, n)."""
        seen = x.reshape(self.shape)
        last = range(-len(self.axes), 0)
        moved = np.moveaxis(seen, self.axes, last).astype(np.float64)
        n = math.prod(self.shape[axis] for axis in self.axes)
        groups = math.prod(moved.shape[: -len(self.axes)])
        return moved.reshape(1, groups, n)

    def ungrouped(self, groups):
        """What came from `grouped`, in the shape."""
        kept = [size for a, size in enumerate(self.shape) if a not in self.axes]
        moved = groups.reshape(*kept, *(self.shape[axis] for axis in self.axes))
        return np.moveaxis(moved, range(-len(self.axes), 0), self.axes)

    def placed(self, parameter):
        """gamma or beta in a shape that broadcasts to ``shape``."""
        return parameter if self.columns is None else parameter.reshape(self.columns)


# ---------------------------------------------------------------------------
# Sums of gradients


def products(gamma, dy, view):
    """γ·dy by group, divided by a power of two a group, and these powers, `Wide`.

    Each factor is brought to the range of 1 by itself: neither their product nor a sum
    over the group can overflow, and what underflows is nothing beside the rest.
    """
    g, exponent = _normal(view.grouped(dy))
    if gamma is not None:
        every = np.broadcast_to(view.placed(gamma), view.shape)
        scale, of_scale = _normal(view.grouped(every))
        g, exponent = scale * g, exponent + of_scale
    return g, Wide(np.ones(len(exponent)), exponent)


def _normal(groups):
    """Groups divided by a power of two, the largest then below 1 -> (_, power)."""
    sizes = np.abs(groups[0])
    largest = np.max(sizes, axis=1, initial=0.0, where=np.isfinite(sizes))
    _, exponent = np.frexp(largest)
    half = -exponent // 2
    small = groups * np.ldexp(1.0, half)[:, None]
    return small * np.ldexp(1.0, -exponent - half)[:, None], exponent


def summed(entries, parameter, view):
    """Sums over what shares an entry of the parameter, in its shape and dtype."""
    if parameter is None:
        return None
    seen = view.placed(parameter).shape
    full = (1,) * (entries.ndim - len(seen)) + seen
    axes = [axis for axis, size in enumerate(full) if size == 1]
    first = np.moveaxis(entries, axes, range(len(axes))).astype(np.float64)
    total = row_total(first.reshape(-1, parameter.size))
    return total.astype(parameter.dtype).reshape(parameter.shape)
