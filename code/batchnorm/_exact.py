"""Sums and deviations that stay accurate and fast: the arithmetic of `reference`.

Activations come as maps, (N, C, pixels), and are worked on in tiles that stay in
the processor's cache, so each pass reads them from memory once.

The mean of a channel is kept in two parts, origin + offset: the mean rounded to the
dtype of x, and what the rounding took away. Deviations from the origin are small
where the values are large and close together, and exact where they are closest.

Sums are in float64, whatever the dtype of x. Elementwise steps are in float64 too,
or in float32 for float32 and float16 where no factor nears the ends of its range.
"""

import math
from typing import NamedTuple

import numpy as np

TILE = 2**16  # values; 512 KiB in float64, for the second-level cache of a core
ROW = 2**13  # values in a row of a tile; a few vectors of that length stay at hand


class Moments(NamedTuple):
    """Mean and biased variance of scale·x in each channel; all (C,), float64.

    The mean is origin + offset. The scale is a power of two, and 1 unless squares of
    the float64 values leave the range of float64.
    """

    scale: np.ndarray
    origin: np.ndarray
    offset: np.ndarray
    var: np.ndarray

    def mean_and_var(self):
        """Mean and variance of x itself."""
        with np.errstate(over="ignore"):
            mean = (self.origin + self.offset) / self.scale
            return mean, self.var / self.scale / self.scale

    def inv_std(self, eps):
        """1/√(var + eps) of scale·x, with eps scaled alike."""
        return 1 / np.sqrt(self.var + eps * self.scale * self.scale)


# ---------------------------------------------------------------------------
# Sums


def moments(maps, near=None):
    """The `Moments` of maps.

    near: an estimate of the mean, (C,); that of a few samples if None.

    One pass sums the deviations from the estimate, and their squares: then
    var = mean(c²) − mean(c)². Where the estimate is off by more than two standard
    deviations, the difference would cancel: a second pass starts from the mean that
    the first one found.
    """
    scale = np.ones(maps.shape[1])
    result = _moments(maps, scale, _estimate(maps) if near is None else near)
    if maps.dtype == np.float64 and not _within(result.var, 2.0**-800, np.inf):
        scale = _range_scale(maps, result.var)
        if not (scale == 1).all():
            maps = scaled(maps, scale)
            result = _moments(maps, scale, _estimate(maps))
    return result


def given_moments(mean, var, dtype):
    """`Moments` of the given mean and variance, for activations of the dtype."""
    mean, var = mean.astype(np.float64), var.astype(np.float64)
    # x − mean leaves the range of float64 only beside such a mean.
    scale = np.where(np.abs(mean) > 2.0**1000, 0.25, 1.0)
    origin = (mean * scale).astype(dtype).astype(np.float64)
    origin = np.where(np.isfinite(origin), origin, mean)
    return Moments(scale, origin, mean * scale - origin, var * scale * scale)


def gradient_totals(dy, maps, moments):
    """Sums over each channel of dy and of dy·(x − mean), x scaled as in moments."""
    maps = scaled(maps, moments.scale)
    result = np.zeros((2, maps.shape[1]))
    for block in blocks(maps.shape):
        origin = block.spread(moments.origin)
        sums = []
        for tile in block.tiles:
            gradients = dy[tile].astype(np.float64, order="C")
            products = _difference(maps[tile], origin)
            products *= gradients
            sums.append((_total(gradients), _total(products)))
        result[:, block.channels] = row_total(np.array(sums))
    total, total_of_products = result
    return total, total_of_products - moments.offset * total


def gradient_scale(dy, sums):
    """Powers of two that bring sums over float64 gradients into their range."""
    scale = np.ones(dy.shape[1])
    sizes = np.abs(sums)
    if dy.dtype == np.float64 and not _within(sizes, 2.0**-800, 2.0**960):
        scale[~np.all(sizes < 2.0**960, axis=0)] = 2.0**-530
        low = np.flatnonzero(np.all(sizes < 2.0**-800, axis=0))
        scale[low[_largest(dy, low) < 2.0**-400]] = 2.0**400
    return scale


def _moments(maps, scale, near, again=True):
    near = near.astype(maps.dtype).astype(np.float64)
    result = np.empty((2, maps.shape[1]))
    for block in blocks(maps.shape):
        start = block.spread(near)
        sums = []
        for tile in block.tiles:
            deviation = _difference(maps[tile], start)
            square = np.square(deviation)
            sums.append((_total(deviation), _total(square)))
        result[:, block.channels] = row_total(np.array(sums))
    off, mean_square = result / (maps.shape[0] * maps.shape[2])
    var = mean_square - off**2
    mean = near + off
    if again and (off**2 > 4 * var).any():
        return _moments(maps, scale, mean, again=False)
    origin = mean.astype(maps.dtype).astype(np.float64)
    offset = np.where(np.isfinite(origin), (near - origin) + off, 0.0)
    return Moments(scale, origin, offset, np.maximum(var, 0.0))


def _estimate(maps):
    """Mean of a few samples of each channel; exact in a constant channel."""
    few = maps[:32, :, :: max(1, maps.shape[2] // 8)].astype(np.float64, order="C")
    first = np.where(np.isfinite(few[0, :, :1]), few[0, :, :1], 0.0)
    few -= first
    few = np.add.reduce(few, axis=(0, 2)) / (few.shape[0] * few.shape[2])
    return first[:, 0] + few


def _range_scale(maps, var):
    """Powers of two that bring the squares of float64 values into their range."""
    scale = np.where(np.isfinite(var), 1.0, 2.0**-530)
    low = np.flatnonzero(var < 2.0**-800)
    scale[low[_largest(maps, low) < 2.0**-400]] = 2.0**200
    return scale


def _within(values, low, high):
    """Whether low <= value < high throughout, which NaN is not."""
    return ((low <= values) & (values < high)).all()


def _largest(maps, channels):
    """Largest magnitude in each of the channels; infinity where all are 0."""
    largest = np.max(np.abs(maps[:, channels]), axis=(0, 2), initial=0.0)
    return np.where(largest == 0, np.inf, largest)


def _total(tile):
    """Sum over rows and pixels; overwrites the tile."""
    row = row_total(tile)
    return row[:, 0] if row.shape[1] == 1 else np.add.reduce(row, axis=1)


def row_total(array):
    """Sum over the first axis, pairwise but for runs of 32; overwrites the array."""
    while len(array) > 32:
        half = len(array) // 2  # the middle one of an odd number of rows stays
        array[:half] += array[-half:]
        array = array[: len(array) - half]
    return np.add.reduce(array, axis=0)


# ---------------------------------------------------------------------------
# Elementwise steps


def affine(maps, moments, slope, shift):
    """slope·(scale·x − origin) + shift, in the dtype of x."""
    dtype = _working_dtype(maps.dtype, slope, np.sqrt(moments.var), moments.origin)
    values = scaled(maps, moments.scale)
    result = np.empty(maps.shape, maps.dtype)
    for block in blocks(maps.shape):
        a, b = block.spread(slope, dtype), block.spread(shift, dtype)
        origin = block.spread(moments.origin, dtype)
        for tile in block.tiles:
            step = _difference(values[tile], origin, result[tile])
            step *= a
            step += b
            if step.dtype != maps.dtype:
                result[tile] = step
    return result


def residual(dy, maps, moments, intercept, slope, factor):
    """factor·(dy − intercept − slope·(scale·x − origin)), in the dtype of x."""
    dtype = _working_dtype(
        np.result_type(dy, maps),
        *(intercept, slope, factor, np.sqrt(moments.var), moments.origin),
    )
    values = scaled(maps, moments.scale)
    result = np.empty(maps.shape, maps.dtype)
    for block in blocks(maps.shape):
        a, b = block.spread(slope, dtype), block.spread(intercept, dtype)
        c, origin = block.spread(factor, dtype), block.spread(moments.origin, dtype)
        for tile in block.tiles:
            step = _difference(values[tile], origin, result[tile])
            step *= a
            step += b
            np.subtract(dy[tile], step, out=step)
            step *= c
            if step.dtype != maps.dtype:
                result[tile] = step
    return result


def scaled(maps, scale):
    """scale·maps; maps themselves where the scale is 1 throughout."""
    return maps if (scale == 1).all() else maps * scale[:, None]


def _difference(values, origin, out=None):
    """values − origin, in the dtype of the origin; in `out` if it has that dtype.

    For later sums, a new array is in C order.
    """
    if out is None or out.dtype != origin.dtype:
        out = np.empty(values.shape, origin.dtype)
    if values.dtype == origin.dtype:
        return np.subtract(values, origin, out=out)
    out[...] = values
    out -= origin
    return out


def _working_dtype(dtype, *vectors):
    """float32 for inputs of at most its precision if no factor nears its range."""
    if dtype == np.float64:
        return np.float64
    sizes = np.abs(np.concatenate(vectors))
    moderate = (sizes == 0) | ((sizes > 2.0**-100) & (sizes < 2.0**100))
    return np.float32 if moderate.all() else np.float64


# ---------------------------------------------------------------------------
# Tiles


class Block(NamedTuple):
    """A block of channels, cut along the samples into tiles."""

    channels: slice
    tiles: list
    shape: tuple

    def spread(self, vector, dtype=np.float64):
        """The channels' values, to broadcast against tiles of the block.

        Repeated for each pixel where enough samples share the work: NumPy's steps
        are fastest along long contiguous rows.
        """
        samples, _, pixels = self.shape
        values = vector[self.channels, None].astype(dtype, copy=False)
        repeat = samples >= 8 and pixels > 1
        return values.repeat(pixels, axis=1) if repeat else values


def blocks(shape):
    """The `Block`s that make up maps of this shape."""
    samples, channels, pixels = shape
    width = max(1, min(channels, ROW // max(1, pixels)))
    height = max(1, TILE // (width * max(1, pixels)))
    for left in range(0, channels, width):
        part = slice(left, left + width)
        tops = range(0, samples, height)
        tiles = [(slice(top, top + height), part) for top in tops]
        yield Block(part, tiles, shape)


def as_maps(x):
    """x with its spatial axes joined: (N, C, pixels)."""
    return x.reshape(*x.shape[:2], math.prod(x.shape[2:]))
