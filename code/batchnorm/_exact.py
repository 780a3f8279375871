"""Formulas of the paper to a few roundoffs, and fast: the engine of `reference`.

A formula is written as it stands in the paper::

    mean, var = mean_and_var(x)
    inv_std = 1 / sqrt(var + eps)
    x_hat = (x - mean) * inv_std
    y = rounded(gamma * x_hat + beta, x)

What has one value for each channel is computed at once, in float64, whatever the dtype
of x. What has one for each entry of x is only written down (`Line`, `Product`,
`Residual`), until `rounded` or `sums` carries it out: in one pass over the memory, with
a few steps for each entry and one rounding to the dtype of x.

A mean is kept in two parts, origin + offset: the mean rounded to the dtype of x, and
what the rounding took away. Distances from the origin are small where the values are
large and close together, and exact where they are closest.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

TILE = 2**16  # values; 512 KiB in float64, for the second-level cache of a core
ROW = 2**13  # values in a row of a tile; a few vectors of that length stay at hand

# ---------------------------------------------------------------------------
# Formulas. A gamma or beta may be None, which leaves a product or a sum as it is.


@dataclass(eq=False, slots=True)
class Wide:
    """A number for each channel, digits·2**exponent, of which squares do not overflow.

    digits: (C,), float64; exponent: (C,), or 0 where nothing nears the ends of float64.
    """

    digits: np.ndarray
    exponent: np.ndarray | int = 0
    __array_ufunc__ = None  # an array leaves the operators to this class

    def __add__(self, number):
        return Wide(self.digits + _shifted(number, -self.exponent), self.exponent)

    def __mul__(self, other):
        if other is None:
            return self
        if isinstance(other, Wide):
            return Wide(self.digits * other.digits, self.exponent + other.exponent)
        if isinstance(other, Residual):
            return Residual(other.dy, other.line, self)
        if np.ndim(other) > 1:
            return Residual(other, None, self)
        return Wide(self.digits * other, self.exponent)

    __rmul__ = __mul__

    def __truediv__(self, number):
        return Wide(self.digits / number, self.exponent)

    def __rtruediv__(self, number):
        return Wide(number / self.digits, -self.exponent)

    def __rsub__(self, dy):
        return Residual(dy, self)

    @np.errstate(over="ignore")
    def array(self):
        """The numbers in float64, infinite beyond its range."""
        return _shifted(self.digits, self.exponent)


def sqrt(wide):
    """Square root of a `Wide` number, whose exponent is even."""
    return Wide(np.sqrt(wide.digits), wide.exponent // 2)


@dataclass(eq=False, slots=True)
class Mean:
    """The mean of each channel, (origin + offset)·2**-exponent.

    spread: the standard deviation in that unit, to know how large x − mean can be.
    """

    origin: np.ndarray
    offset: np.ndarray
    spread: np.ndarray
    exponent: np.ndarray | int = 0
    __array_ufunc__ = None

    def __rsub__(self, x):
        return Line(x, self, Wide(1.0, -self.exponent))

    def array(self):
        """The mean in float64."""
        return Wide(self.origin + self.offset, -self.exponent).array()


@dataclass(eq=False, slots=True)
class Line:
    """slope·(x − mean) + shift; the exponent of the slope is that of the shift too."""

    x: np.ndarray
    mean: Mean
    slope: Wide
    shift: np.ndarray | None = None
    __array_ufunc__ = None

    def __mul__(self, factor):
        return Line(self.x, self.mean, self.slope * factor)

    def __rmul__(self, factor):
        return Product(factor, self) if np.ndim(factor) > 1 else self * factor

    def __add__(self, shift):
        return self if shift is None else Line(self.x, self.mean, self.slope, shift)


class Product(NamedTuple):
    """dy·line, to be summed."""

    dy: np.ndarray
    line: Line


@dataclass(eq=False, slots=True)
class Residual:
    """factor·(dy − line); the line may still be one number for each channel."""

    dy: np.ndarray
    line: Line | Wide | None
    factor: Wide | None = None

    def __sub__(self, line):
        # Both terms have the exponent of the sums of dy, so that digits can be added.
        return Residual(self.dy, line + self.line.digits)


# ---------------------------------------------------------------------------
# Sums


def mean_and_var(x, near=None):
    """`Mean` and biased variance, `Wide`, of each channel of x.

    near: an estimate of the mean, (C,); that of a few samples if None.

    One pass sums the deviations from the estimate, and their squares: then
    var = mean(c²) − mean(c)². Where the estimate is off by more than two standard
    deviations, the difference would cancel: a second pass starts from the mean that
    the first one found.
    """
    maps = as_maps(x)
    mean, var = _moments(maps, _estimate(maps) if near is None else near)
    if maps.dtype == np.float64 and not _within(var.digits, 2.0**-800, np.inf):
        exponent = _range_exponent(maps, var.digits)
        if exponent.any():
            maps = _shifted(maps, exponent)
            mean, var = _moments(maps, _estimate(maps), exponent)
    return mean, var


def mean_square(x):
    """A `Mean` of zero and the mean of the squares, `Wide`, of each channel of x."""
    maps, exponent = as_maps(x), 0
    square = _mean_squares(maps)
    if maps.dtype == np.float64 and not _within(square, 2.0**-800, np.inf):
        exponent = _range_exponent(maps, square)
        square = _mean_squares(_shifted(maps, exponent))
    zero = np.zeros(maps.shape[1])
    mean = Mean(zero, zero, np.sqrt(square), exponent)
    return mean, Wide(square, -2 * exponent)


def given(mean, var, dtype):
    """`Mean` and `Wide` variance that are known, for activations of the dtype."""
    mean, var = mean.astype(np.float64), var.astype(np.float64)
    exponent = 0
    if not (np.abs(mean) <= 2.0**1000).all():
        # x − mean leaves the range of float64 only beside such a mean.
        exponent = np.where(np.abs(mean) > 2.0**1000, -2, 0)
    whole, var = _shifted(mean, exponent), _shifted(var, 2 * exponent)
    origin = whole.astype(dtype).astype(np.float64)
    origin = np.where(np.isfinite(origin), origin, mean)
    mean = Mean(origin, whole - origin, np.sqrt(var), exponent)
    return mean, Wide(var, -2 * exponent)


def sums(dy, product):
    """Sums over each channel of dy, and of its product with a line through the mean."""
    dy, maps, line = as_maps(dy), as_maps(product.line.x), product.line
    totals, exponent = _totals(dy, maps, line.mean), 0
    if dy.dtype == np.float64 and not _within(np.abs(totals), 2.0**-800, 2.0**960):
        exponent = _gradient_exponent(dy, np.abs(totals))
        totals = _totals(_shifted(dy, exponent), maps, line.mean)
    total, total_of_products = (Wide(digits, -exponent) for digits in totals)
    return total, total_of_products * line.slope


def _totals(dy, maps, mean):
    """Sums of dy and of dy·(x − mean), x in the unit of the mean: (2, C)."""
    maps = _shifted(maps, mean.exponent)
    result = np.zeros((2, maps.shape[1]))
    for block in blocks(maps.shape):
        origin = block.spread(mean.origin)
        rows = []
        for tile in block.tiles:
            gradients = dy[tile].astype(np.float64, order="C")
            products = _difference(maps[tile], origin)
            products *= gradients
            rows.append((_total(gradients), _total(products)))
        result[:, block.channels] = row_total(np.array(rows))
    result[1] -= mean.offset * result[0]
    return result


def _moments(maps, near, exponent=0, again=True):
    near = near.astype(maps.dtype).astype(np.float64)
    near = np.where(np.isfinite(near), near, 0.0)  # an infinity less itself is no sum
    result = np.empty((2, maps.shape[1]))
    for block in blocks(maps.shape):
        start = block.spread(near)
        rows = []
        for tile in block.tiles:
            deviation = _difference(maps[tile], start)
            square = np.square(deviation)
            rows.append((_total(deviation), _total(square)))
        result[:, block.channels] = row_total(np.array(rows))
    off, mean_square = result / (maps.shape[0] * maps.shape[2])
    var = mean_square - off**2
    mean = near + off
    if again and (off**2 > 4 * var).any():
        return _moments(maps, mean, exponent, again=False)
    origin = mean.astype(maps.dtype).astype(np.float64)
    offset = np.where(np.isfinite(origin), (near - origin) + off, 0.0)
    var = np.maximum(var, 0.0)
    return Mean(origin, offset, np.sqrt(var), exponent), Wide(var, -2 * exponent)


def _mean_squares(maps):
    result = np.empty(maps.shape[1])
    for block in blocks(maps.shape):
        squares = (np.square(maps[tile], dtype=np.float64) for tile in block.tiles)
        result[block.channels] = row_total(np.array([_total(s) for s in squares]))
    return result / (maps.shape[0] * maps.shape[2])


def _estimate(maps):
    """Mean of a few samples of each channel; exact in a constant channel."""
    few = maps[:32, :, :: max(1, maps.shape[2] // 8)].astype(np.float64, order="C")
    first = np.where(np.isfinite(few[0, :, :1]), few[0, :, :1], 0.0)
    few -= first
    few = np.add.reduce(few, axis=(0, 2)) / (few.shape[0] * few.shape[2])
    return first[:, 0] + few


def _range_exponent(maps, var):
    """Powers of two that bring the squares of float64 values into their range."""
    exponent = np.where(np.isfinite(var), 0, -530)
    low = np.flatnonzero(var < 2.0**-800)
    exponent[low[_largest(maps, low) < 2.0**-400]] = 200
    return exponent


def _gradient_exponent(dy, sizes):
    """Powers of two that bring sums over float64 gradients into their range."""
    exponent = np.where(np.all(sizes < 2.0**960, axis=0), 0, -530)
    low = np.flatnonzero(np.all(sizes < 2.0**-800, axis=0))
    exponent[low[_largest(dy, low) < 2.0**-400]] = 400
    return exponent


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
# Entries


def rounded(formula, like):
    """The formula carried out, in the shape and dtype of `like`; None for None."""
    if like is None:
        return None
    if isinstance(formula, Wide):
        return formula.array().astype(like.dtype)
    if isinstance(formula, Line):
        formula = Residual(None, formula)
    dy = None if formula.dy is None else as_maps(formula.dy)
    if formula.line is None:
        column = formula.factor.array()[:, None]
        return (dy * column).astype(like.dtype, copy=False).reshape(like.shape)
    result = _carried_out(formula.line, dy, formula.factor, like.dtype)
    return result.reshape(like.shape)


def _carried_out(line, dy, factor, result_dtype):
    """The line; or factor·(dy − line), if there is a dy."""
    maps, mean, slope = as_maps(line.x), line.mean, line.slope.digits
    at_origin = (0.0 if line.shift is None else line.shift) - slope * mean.offset
    exponent = line.slope.exponent
    vectors = [slope, mean.spread, mean.origin]
    if dy is not None:
        vectors += [at_origin, factor.digits]
        dy = _shifted(dy, -exponent)
        exponent = exponent + factor.exponent
    inputs = maps.dtype if dy is None else np.result_type(dy, maps)
    dtype = _working_dtype(inputs, vectors)
    maps = _shifted(maps, mean.exponent)
    result = np.empty(maps.shape, result_dtype)
    for block in blocks(maps.shape):
        origin, a = block.spread(mean.origin, dtype), block.spread(slope, dtype)
        b = block.spread(at_origin, dtype)
        c = None if dy is None else block.spread(factor.digits, dtype)
        for tile in block.tiles:
            step = _difference(maps[tile], origin, result[tile])
            step *= a
            step += b
            if dy is not None:
                np.subtract(dy[tile], step, out=step)
                step *= c
            if step.dtype != result_dtype:
                result[tile] = step
    return _shifted(result, exponent)


def _shifted(values, exponent):
    """values·2**exponent, in each channel; the values themselves if it is 0."""
    if isinstance(exponent, int) or not exponent.any():
        return values
    if np.ndim(values) == 3:
        exponent = exponent[:, None]
    exponent = exponent.astype(np.intc)
    half = exponent // 2  # 2**exponent can be beyond float64
    return values * np.ldexp(1.0, half) * np.ldexp(1.0, exponent - half)


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


def _working_dtype(dtype, vectors):
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
