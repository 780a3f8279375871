r"""How far from the exact answer: the arithmetic of batch normalization, measured.

`exact` computes the forward and the backward pass in rational numbers, with square
roots to 200 bits. `table` compares three implementations with it on inputs that
are hard on floating-point arithmetic: this book's, the textbook's (np.mean, np.var,
divide, all in the dtype of the input) and torch's. ``python -m batchnorm.accuracy``
prints the table.

An error is stated for each channel, in unit roundoffs u of the dtype (2⁻¹¹, 2⁻²⁴ and
2⁻⁵³ for float16, float32 and float64):

.. math::

   \mathrm{error}(y) = \frac{\max_i |y_i - y_i^*|}{u\,\max_i |y_i^*|}, \qquad
   \mathrm{error}(dx) = \frac{\max_i |dx_i - dx_i^*|}{u\,\max_i s_i}, \qquad
   s_i = \frac{|\gamma|}{\sqrt{\sigma^2 + \epsilon}} \Big(|dy_i|
         + \big|\overline{dy}\big| + \big|\hat x_i\,\overline{dy\,\hat x}\big|\Big)

The star marks exact values; s is the size of the terms that dx is the sum of. It is
the scale, because dx can be arbitrarily small by cancellation: rounding dy alone
moves dx by that much. A scale below the smallest normal number counts as that
number, since the spacing of floating-point numbers does not shrink below it. A
result that is infinite where the exact one is out of range has no error; one that
is NaN has an infinite error. The error of an implementation is that of its worst
channel.
"""

import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from batchnorm import reference

EPS = 1e-5

# ---------------------------------------------------------------------------
# The exact answer


class Exact(NamedTuple):
    """Exact y and dx of one channel, and the scales that errors are relative to."""

    y: list[Fraction]
    dx: list[Fraction]
    y_scale: Fraction
    dx_scale: Fraction


def exact(x, gamma, beta, dy, eps=EPS, *, center=True):
    """Normalization of one group of values and its gradient, in rational numbers.

    A group is a channel of a mini-batch, or what a relative normalizes together.

    Parameters
    ----------
    x : sequence of floats, (m,)
        Activations, finite.
    gamma, beta : float, or sequence of floats, (m,)
        Scale and shift, of the group or of each entry.
    dy : sequence of floats, (m,)
        Gradient with respect to y, finite.
    eps : float
        Added to the variance.
    center : bool
        Whether the mean is subtracted; RMS normalization does not.

    Returns
    -------
    Exact
        Its square root, and so all else, is right to 200 bits.
    """
    m = len(x)
    x, dy, gamma, beta = (_fractions(values, m) for values in (x, dy, gamma, beta))
    mean = sum(x) / m if center else Fraction(0)
    centered = [v - mean for v in x]
    var = sum(c * c for c in centered) / m
    inv_std = 1 / square_root(var + Fraction(eps))
    x_hat = [_shortened(c * inv_std) for c in centered]
    y = [a * v + b for a, v, b in zip(gamma, x_hat, beta, strict=True)]
    g = [a * v for a, v in zip(gamma, dy, strict=True)]
    pairs = list(zip(g, x_hat, strict=True))
    mean_g = sum(g) / m if center else Fraction(0)
    along = sum(a * v for a, v in pairs) / m
    dx = [inv_std * (a - mean_g - v * along) for a, v in pairs]
    terms = [inv_std * (abs(a) + abs(mean_g) + abs(v * along)) for a, v in pairs]
    return Exact(y, dx, max(map(abs, y)), max(terms))


def _fractions(values, m):
    """A number, or m of them, as m fractions."""
    return [Fraction(float(v)) for v in np.broadcast_to(values, (m,)).tolist()]


def square_root(value, bits=200):
    """Square root of a fraction, to a relative error of ``2**-bits``.

    Parameters
    ----------
    value : Fraction
        Positive.
    bits : int
        How many of the result are right.

    Returns
    -------
    Fraction
    """
    shift = max(0, 2 * bits - value.numerator.bit_length())
    shift += value.denominator.bit_length()
    shift += shift % 2
    root = math.isqrt((value.numerator << shift) // value.denominator)
    return Fraction(root, 1 << shift // 2)


def _shortened(value, bits=400):
    """A fraction rounded to about so many bits, to keep the next steps cheap."""
    if value == 0:
        return value
    shift = bits + value.denominator.bit_length() - value.numerator.bit_length()
    if shift <= 0:
        return value
    return Fraction((value.numerator << shift) // value.denominator, 1 << shift)


def error(values, exact_values, scale):
    """Largest error of one channel, in unit roundoffs of the dtype of ``values``.

    Parameters
    ----------
    values : array, (m,)
        What was computed.
    exact_values : sequence of Fraction
        What is true.
    scale : Fraction
        What the error is relative to.

    Returns
    -------
    float
        Infinite where a value is NaN, or infinite and should not be.
    """
    info = np.finfo(values.dtype)
    scale = max(scale, Fraction(float(info.tiny)))
    largest = Fraction(float(np.finfo(np.float64).max))
    worst = Fraction(0)
    for value, true in zip(values.tolist(), exact_values, strict=True):
        if math.isinf(value) and abs(true) > info.max and (value > 0) == (true > 0):
            continue
        if not math.isfinite(value):
            return math.inf
        worst = max(worst, abs(Fraction(value) - true))
    relative = worst / scale / Fraction(float(info.eps) / 2)
    return float(relative) if relative < largest else math.inf


# ---------------------------------------------------------------------------
# Hard inputs: each returns x and dy, both (m, d), in the dtype


def ordinary(rng, dtype):
    """Mean 0 and standard deviation 1, for comparison."""
    return _pair(rng, rng.standard_normal((64, 4)), dtype)


def offset(rng, dtype):
    """Mean 1000 standard deviations from zero."""
    return _pair(rng, 1e3 + rng.standard_normal((64, 4)), dtype)


def steps_of_an_ulp(rng, dtype):
    """Values around 1e8 (1e4 in half precision), a few neighboring floats apart."""
    center = dtype(1e4 if dtype == np.float16 else 1e8)
    steps = rng.integers(-2, 3, (64, 4)) * float(np.spacing(center))
    return _pair(rng, float(center) + steps, dtype)


def fine_steps(rng, dtype):
    """Mean 1e8 (1e4), spread over 1e5 of the steps between neighboring floats."""
    center = dtype(1e4 if dtype == np.float16 else 1e8)
    spread = 1e5 * float(np.spacing(center)) if dtype == np.float64 else 1e-3 * center
    return _pair(rng, float(center) + spread * rng.standard_normal((64, 4)), dtype)


def constant(rng, dtype):
    """Constant channels, of values from small to huge."""
    values = np.array([1 / 3, 1e4 / 7, -_largest(dtype) / 3, 1e-4])
    return _pair(rng, np.tile(values, (60, 1)), dtype)


def almost_constant(rng, dtype):
    """One value a rounding step away from all the others."""
    x = np.tile(rng.uniform(1e3, 1e4, 4).astype(dtype), (60, 1))
    x[rng.integers(60)] = np.nextafter(x[0], dtype(np.inf))
    return _pair(rng, x, dtype)


def large(rng, dtype):
    """Values around 1e20 (1e4 in half precision), where float32 squares overflow."""
    scale = 1e4 if dtype == np.float16 else 1e20
    return _pair(rng, scale * (1 + 0.1 * rng.standard_normal((64, 4))), dtype)


def near_overflow(rng, dtype):
    """Values of either sign up to the largest finite number."""
    x = rng.uniform(-1, 1, (64, 4)) * _largest(dtype)
    x[:2] = [[_largest(dtype)], [-_largest(dtype)]]
    return _pair(rng, x, dtype)


def denormal(rng, dtype):
    """Small multiples of the smallest positive number."""
    smallest = float(np.finfo(dtype).smallest_subnormal)
    return _pair(rng, rng.integers(-40, 40, (64, 4)) * smallest, dtype)


def one_outlier(rng, dtype):
    """One value of 1e20 (6e4) among values around 1, first in one channel."""
    x = rng.standard_normal((64, 4))
    outlier = 6e4 if dtype == np.float16 else 1e20
    x[[0, 17, 40, 63], range(4)] = outlier
    return _pair(rng, x, dtype)


def two_samples(rng, dtype):
    """A batch of two, far from zero."""
    center = 1e3 if dtype == np.float16 else 1e6
    return _pair(rng, center + rng.standard_normal((2, 4)), dtype)


def many_magnitudes(rng, dtype):
    """Magnitudes spread evenly over most of the exponents."""
    reach = math.log2(_largest(dtype)) - 2
    exponents = rng.uniform(-reach, reach, (64, 4))
    return _pair(rng, rng.choice([-1, 1], (64, 4)) * 2.0**exponents, dtype)


def drifting(rng, dtype):
    """A long batch in which the mean moves by many standard deviations."""
    trend = np.linspace(0, 100, 2000)[:, None]
    return _pair(rng, trend + rng.standard_normal((2000, 2)), dtype)


def offset_gradient(rng, dtype):
    """Ordinary x; dy far from zero."""
    x = rng.standard_normal((64, 4))
    dy = (1e3 if dtype == np.float16 else 1e6) + rng.standard_normal((64, 4))
    return x.astype(dtype), dy.astype(dtype)


def constant_gradient(rng, dtype):
    """Ordinary x; dy constant, so that dx is zero."""
    x = rng.standard_normal((64, 4))
    return x.astype(dtype), np.full((64, 4), 1e4 / 3, dtype)


def large_gradient(rng, dtype):
    """Ordinary x; dy up to the largest finite number."""
    x = 10 * rng.standard_normal((64, 4))
    dy = rng.uniform(-1, 1, (64, 4)) * _largest(dtype)
    return x.astype(dtype), dy.astype(dtype)


def denormal_gradient(rng, dtype):
    """Small x, which enlarges gradients; dy of small multiples of the smallest one."""
    x = 1e-3 * rng.standard_normal((64, 4))
    smallest = float(np.finfo(dtype).smallest_subnormal)
    dy = rng.integers(-40, 40, (64, 4)) * smallest
    return x.astype(dtype), dy.astype(dtype)


INPUTS = (
    ordinary, offset, steps_of_an_ulp, fine_steps, constant, almost_constant, large,
    near_overflow, denormal, one_outlier, two_samples, many_magnitudes, drifting,
    offset_gradient, constant_gradient, large_gradient, denormal_gradient,
)  # fmt: skip


def _pair(rng, x, dtype):
    return x.astype(dtype), rng.standard_normal(x.shape).astype(dtype)


def _largest(dtype):
    return float(np.finfo(dtype).max)


# ---------------------------------------------------------------------------
# The implementations: each returns y and dx


def ours(x, gamma, beta, dy):
    """This book's `batchnorm.reference`."""
    y, cache = reference.forward(x, gamma, beta, eps=EPS)
    return y, reference.backward(dy, cache)[0]


@np.errstate(all="ignore")
def textbook(x, gamma, beta, dy):
    """The formulas as they stand, in the dtype of x."""
    eps = x.dtype.type(EPS)
    mean, var = np.mean(x, axis=0), np.var(x, axis=0)
    std = np.sqrt(var + eps)
    x_hat = (x - mean) / std
    y = gamma * x_hat + beta
    dx = gamma / std * (dy - np.mean(dy, axis=0) - x_hat * np.mean(dy * x_hat, axis=0))
    return y, dx


def torch_cpu(x, gamma, beta, dy):
    """torch.nn.functional.batch_norm and its backward, on the CPU."""
    import torch

    leaf = torch.tensor(x, requires_grad=True)
    y = torch.nn.functional.batch_norm(
        leaf, None, None, torch.tensor(gamma), torch.tensor(beta), True, eps=EPS
    )
    (dx,) = torch.autograd.grad(y, leaf, torch.tensor(dy))
    return y.detach().numpy(), dx.numpy()


IMPLEMENTATIONS = {"ours": ours, "textbook": textbook, "torch": torch_cpu}


# ---------------------------------------------------------------------------
# The table


class Row(NamedTuple):
    """Worst errors on one kind of input, in unit roundoffs, by implementation."""

    input: str
    dtype: str
    y: dict[str, float]
    dx: dict[str, float]

    @classmethod
    def of(cls, make_input, dtype, names):
        """A row of one kind of input, without an error so far."""
        kind = make_input.__name__.replace("_", " ")
        errors = (dict.fromkeys(names, 0.0) for _ in range(2))
        return cls(kind, np.dtype(dtype).name, *errors)

    def note(self, name, y, dx, truths):
        """Take in how far an implementation is from the truth.

        Parameters
        ----------
        name : str
            Of the implementation.
        y, dx : sequence of arrays
            What it made of each group of values.
        truths : sequence of Exact
            Of each group.
        """
        for values, gradient, true in zip(y, dx, truths, strict=True):
            y_error = error(values, true.y, true.y_scale)
            dx_error = error(gradient, true.dx, true.dx_scale)
            self.y[name] = max(self.y[name], y_error)
            self.dx[name] = max(self.dx[name], dx_error)


def measure(make_input, dtype, *, seed=0, draws=2, implementations=IMPLEMENTATIONS):
    """Worst errors of the implementations over some draws of one kind of input.

    Parameters
    ----------
    make_input : function of a Generator and a dtype to x and dy
        One of ``INPUTS``.
    dtype : type
        np.float16, np.float32 or np.float64.
    seed, draws : int
        Where the draws start, and how many there are.
    implementations : dict of functions
        Name to a function of x, gamma, beta and dy to y and dx.

    Returns
    -------
    Row
    """
    row = Row.of(make_input, dtype, implementations)
    rng = np.random.default_rng(seed)
    for _ in range(draws):
        x, dy = make_input(rng, dtype)
        gamma = rng.uniform(0.5, 2, x.shape[1]).astype(dtype)
        beta = rng.standard_normal(x.shape[1]).astype(dtype)
        beta[::2] = 0  # half of the channels show y alone
        channels = zip(x.T, gamma, beta, dy.T, strict=True)
        truths = [exact(*channel) for channel in channels]
        for name, implementation in implementations.items():
            y, dx = implementation(x, gamma, beta, dy)
            row.note(name, y.T, dx.T, truths)
    return row


def table(dtypes=(np.float16, np.float32, np.float64), *, seed=0, draws=2):
    """Worst errors on every kind of input in every dtype.

    Parameters
    ----------
    dtypes : sequence of types
        Of the inputs.
    seed, draws : int
        As in `measure`.

    Returns
    -------
    list of Row
    """
    return [
        measure(make_input, dtype, seed=seed, draws=draws)
        for dtype in dtypes
        for make_input in INPUTS
    ]


def main():
    """Print the table."""
    print_rows(table(), "batch normalization")


def print_rows(rows, what):
    """Print a table, an input a line.

    Parameters
    ----------
    rows : sequence of Row
    what : str
        What was measured.
    """
    names = list(rows[0].y)
    print(f"Worst error of {what} in unit roundoffs (inf: NaN or out of range)")
    header = "".join(f"{name:>10}" for name in names)
    print(f"{'dtype':9}{'input':20}{'y:':>4}{header}{'dx:':>6}{header}")
    for row in rows:
        y = "".join(_cell(row.y[name]) for name in names)
        dx = "".join(_cell(row.dx[name]) for name in names)
        print(f"{row.dtype:9}{row.input:20}{'':4}{y}{'':6}{dx}")


def _cell(value):
    return f"{value:10.2g}" if value >= 0.01 else f"{'0':>10}"


if __name__ == "__main__":
    main()
