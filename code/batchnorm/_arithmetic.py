"""Sums and deviations that stay accurate and fast: the arithmetic of `reference`.

Activations come as maps, (N, C, pixels), and are worked on in tiles that stay in
the processor's cache, so each pass reads them from memory once.

The mean of a channel is kept in two parts, origin + offset: the mean rounded to the
dtype of x, and what the rounding took away. Deviations from the origin are small
where the values are large and close together, and exact where they are closest.
"""

from typing import NamedTuple

import numpy as np

TILE = 2**16  # values; 512 KiB in float64, for the second-level cache of a core


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


def moments(maps, near=None):
    """The `Moments` of maps.

    near: an estimate of the mean, (C,); that of a few samples if None.

    One pass sums the deviations from the estimate, and their squares: then
    var = mean(c²) − mean(c)². Where the estimate is off by more than two standard
    deviations, the difference would cancel: a second pass starts from the mean that
    the first one found.
    """
    ones = np.ones(maps.shape[1])
    result = _moments(maps, ones, _estimate(maps) if near is None else near)
    if maps.dtype == np.float64:
        scale = _range_scale(maps, result.var)
        if np.any(scale != 1):
            scaled = maps * column(scale)
            result = _moments(scaled, scale, _estimate(scaled))
    return result


def given_moments(mean, var, dtype):
    """`Moments` of the given mean and variance, for activations of the dtype."""
    mean, var = np.asarray(mean, np.float64), np.asarray(var, np.float64)
    # x − mean leaves the range of float64 only beside such a mean.
    scale = np.where(np.abs(mean) > 2.0**1000, 0.25, 1.0)
    origin = (mean * scale).astype(dtype).astype(np.float64)
    origin = np.where(np.isfinite(origin), origin, mean)
    return Moments(scale, origin, mean * scale - origin, var * scale * scale)


def _moments(maps, scale, near, again=True):
    near = near.astype(maps.dtype).astype(np.float64)
    start = Moments(scale, near, np.zeros_like(near), np.zeros_like(near))
    deviation = deviations(maps, start, np.float64, scaled=True)

    def terms(tile):
        centered = deviation(tile)
        return centered, np.square(centered)

    off, mean_square = totals(maps.shape, terms) / count(maps.shape)
    var = mean_square - off**2
    mean = near + off
    if again and np.any(off**2 > 4 * var):
        return _moments(maps, scale, mean, again=False)
    origin = mean.astype(maps.dtype).astype(np.float64)
    offset = np.where(np.isfinite(origin), (near - origin) + off, 0.0)
    return Moments(scale, origin, offset, np.maximum(var, 0.0))


def _estimate(maps):
    """Mean of a few samples of each channel; exact in a constant channel."""
    few = maps[:32, :, :: max(1, maps.shape[2] // 8)].astype(np.float64)
    first = np.where(np.isfinite(few[:1, :, :1]), few[:1, :, :1], 0.0)
    return (first + np.mean(few - first, axis=(0, 2), keepdims=True))[0, :, 0]


def _range_scale(maps, var):
    """Powers of two that bring the squares of float64 values into their range."""
    scale = np.where(np.isfinite(var), 1.0, 2.0**-530)
    low = np.flatnonzero(var < 2.0**-800)
    scale[low[_largest(maps, low) < 2.0**-400]] = 2.0**200
    return scale


def gradient_scale(dy, sums):
    """Powers of two that bring sums over float64 gradients into their range."""
    scale = np.ones(dy.shape[1])
    if dy.dtype == np.float64:
        sizes = np.abs(sums)
        scale[~np.all(sizes < 2.0**960, axis=0)] = 2.0**-530
        low = np.flatnonzero(np.all(sizes < 2.0**-800, axis=0))
        scale[low[_largest(dy, low) < 2.0**-400]] = 2.0**400
    return scale


def _largest(maps, channels):
    """Largest magnitude in each of the channels; infinity where all are 0."""
    largest = np.max(np.abs(maps[:, channels]), axis=(0, 2), initial=0.0)
    return np.where(largest == 0, np.inf, largest)


def affine(maps, moments, slope, shift):
    """slope·(scale·x − origin) + shift, rounded to the dtype of x."""
    dtype = working_dtype(maps.dtype, slope, np.sqrt(moments.var), moments.origin)
    deviation = deviations(maps, moments, dtype)
    slope, shift = column(slope, dtype), column(shift, dtype)
    result = np.empty(maps.shape, maps.dtype)
    for tile in tiles(maps.shape):
        values = deviation(tile)
        values *= slope[tile[1]]
        values += shift[tile[1]]
        result[tile] = values
    return result


def residual(dy, maps, moments, intercept, slope, factor):
    """factor·(dy − intercept − slope·(scale·x − origin)), in the dtype of x."""
    dtype = working_dtype(
        np.result_type(dy, maps),
        *(intercept, slope, factor, np.sqrt(moments.var), moments.origin),
    )
    deviation = deviations(maps, moments, dtype)
    intercept, slope = column(intercept, dtype), column(slope, dtype)
    factor = column(factor, dtype)
    result = np.empty(maps.shape, maps.dtype)
    for tile in tiles(maps.shape):
        values = deviation(tile)
        values *= slope[tile[1]]
        values += intercept[tile[1]]
        np.subtract(dy[tile], values, out=values)
        values *= factor[tile[1]]
        result[tile] = values
    return result


def gradient_totals(dy, maps, moments):
    """Sums over each channel of dy and of dy·(x − mean), x scaled as in moments."""
    deviation = deviations(maps, moments, np.float64)

    def terms(tile):
        gradients = dy[tile].astype(np.float64)
        products = deviation(tile)
        products *= gradients
        return gradients, products

    total, total_of_products = totals(maps.shape, terms)
    return total, total_of_products - moments.offset * total


def deviations(maps, moments, dtype, *, scaled=False):
    """A function from a tile to scale·x − origin on it, in the dtype.

    scaled: whether maps hold scale·x already.
    """
    origin, scale = column(moments.origin, dtype), column(moments.scale)
    scaled = scaled or np.all(scale == 1)

    def deviation(tile):
        values = maps[tile] if scaled else maps[tile] * scale[tile[1]]
        return np.subtract(values, origin[tile[1]], dtype=dtype)

    return deviation


def working_dtype(dtype, *vectors):
    """float32 for inputs of at most its precision if no factor comes near its range.

    Elementwise steps then round a few times to float32; sums are always in float64.
    """
    if dtype == np.float64:
        return np.float64
    sizes = np.abs(np.concatenate(vectors))
    moderate = (sizes == 0) | ((sizes > 2.0**-100) & (sizes < 2.0**100))
    return np.float32 if np.all(moderate) else np.float64


def totals(shape, terms):
    """Sums over each channel of the two arrays that terms(tile) returns: (2, C).

    The terms are overwritten. Sums are pairwise but for runs of 32, so their
    rounding errors hardly grow with the number of terms.
    """
    parts = {}
    for rows, channels in tiles(shape):
        sums = [_tile_total(term) for term in terms((rows, channels))]
        parts.setdefault((channels.start, channels.stop), []).append(sums)
    result = np.zeros((2, shape[1]))
    for (start, stop), sums in parts.items():
        result[:, start:stop] = _row_total(np.array(sums))
    return result


def _tile_total(tile):
    row = _row_total(tile)
    return row[:, 0] if row.shape[1] == 1 else np.add.reduce(row, axis=1)


def _row_total(array):
    """Sum over the first axis; overwrites the array."""
    rows = len(array)
    while rows > 32:
        half = rows // 2
        array[:half] += array[rows - half : rows]
        rows -= half
    return np.add.reduce(array[:rows], axis=0)


def tiles(shape):
    """Indices (rows, channels) that cut maps of this shape into tiles."""
    samples, channels, pixels = shape
    width = max(1, min(channels, TILE // max(1, pixels)))
    height = max(1, TILE // (width * max(1, pixels)))
    for left in range(0, channels, width):
        for top in range(0, samples, height):
            yield slice(top, top + height), slice(left, left + width)


def as_maps(x):
    """x with its spatial axes joined: (N, C, pixels)."""
    return x.reshape(*x.shape[:2], int(np.prod(x.shape[2:])))


def column(vector, dtype=np.float64):
    """One value per channel, shaped to broadcast against maps."""
    return np.asarray(vector, dtype)[:, None]


def count(shape):
    """Number of values in each channel of maps of this shape."""
    return shape[0] * shape[2]
