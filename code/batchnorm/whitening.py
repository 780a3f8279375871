r"""Standardize, or whiten, the features of a data set.

Each function ``fit_*`` looks at one data set and returns an affine map, `Affine`, which
can then be applied to any other. With the eigenvalues Λ and the axes U of the
covariance (biased, as in batch normalization),

.. math:: \tfrac1m (X-\mu)^\top (X-\mu) = U \Lambda U^\top ,

they differ in the matrix of the map and in the covariance afterward:
`fit_standardize` leaves ones on its diagonal, `fit_pca` and `fit_zca` the identity.

All three take a column for constant by one rule: if it varies by no more than rounding
leaves behind in numbers of its size. `fit_pca` and `fit_zca` mix columns, so they ask
a second thing: an axis has to be wider than the rounding of the widest. A column of the
size 1e-20 beside others of the size 1 is standardized, but it is no axis, for what they
would make of it is rounding; standardize first, and it counts as the others do. Data
are scaled by powers of two before they are squared, so that neither 1e-300 nor 1e300
leaves the range of float64.
"""

from typing import NamedTuple

import numpy as np

from batchnorm import _checks

__all__ = [
    "Affine", "condition_number", "covariance", "fit_pca", "fit_standardize", "fit_zca",
    "zca_backward",
]  # fmt: skip


class Affine(NamedTuple):
    r"""The map :math:`x \mapsto (x - \mu) W`.

    Parameters
    ----------
    mean : array, (d,)
        What is subtracted, μ.
    matrix : array, (d, k)
        The matrix W.
    rank : int
        The number of directions in which the fitted data varied: of columns for
        `fit_standardize`, which looks at each by itself, else of axes. A rank below d
        says that columns were constant or linearly dependent: those directions are
        mapped to zero (PCA leaves them out, so that k = rank), not divided by zero.
    """

    mean: np.ndarray
    matrix: np.ndarray
    rank: int

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Map the rows of x.

        Parameters
        ----------
        x : array, (n, d)
            Any data with the columns that the map was fitted to.

        Returns
        -------
        array, (n, k)

        Raises
        ------
        ValueError
            If x has other columns.
        """
        x = _checks.real_array("x", x)
        if x.ndim != 2 or x.shape[1] != len(self.mean):
            raise ValueError(
                f"x has shape {x.shape}; allowed is (n, {len(self.mean)}), "
                "with the columns that the map was fitted to"
            )
        # Half of it first: a distance between two ends of float64 is no float64.
        half = np.multiply(x, 0.5, dtype=np.float64) - self.mean / 2
        return 2 * (half @ self.matrix)


def covariance(x: np.ndarray) -> np.ndarray:
    r"""Biased covariance of the columns, :math:`\frac1m (X-\mu)^\top (X-\mu)`.

    Parameters
    ----------
    x : array, (m, d)
        Finite numbers, one sample a row.

    Returns
    -------
    array, (d, d)

    Raises
    ------
    ValueError
        If x is not a matrix of finite real numbers.
    """
    x = _checks.samples("x", x)
    centered = x - x.mean(axis=0)
    return centered.T @ centered / len(x)


def condition_number(matrix: np.ndarray) -> float:
    r"""Condition number :math:`\lambda_{\max} / \lambda_{\min}` of a symmetric matrix.

    Parameters
    ----------
    matrix : array, (d, d)
        Symmetric.

    Returns
    -------
    float
        Infinite where the smallest eigenvalue is zero up to rounding.

    Raises
    ------
    ValueError
        If the matrix is not square, not symmetric, or empty.
    """
    matrix = _checks.real_array("matrix", matrix).astype(np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise ValueError(f"matrix has shape {matrix.shape}; allowed is (d, d)")
    _checks.symmetric("matrix", matrix)
    values = np.linalg.eigvalsh(matrix)
    floor = len(values) * np.finfo(np.float64).eps * abs(values[-1])
    return float(values[-1] / values[0]) if values[0] > floor else float("inf")


class _Centered(NamedTuple):
    """Data less their mean, in units of a power of two a column.

    x = (mean + centered)·2**exponent; a constant column is zero, not rounding.
    """

    mean: np.ndarray
    centered: np.ndarray
    varies: np.ndarray
    exponent: np.ndarray


def _centered(x):
    """`_Centered` of x, each column in a unit of its own."""
    x = _checks.samples("x", x)
    _, exponent = np.frexp(np.abs(x).max(axis=0))
    x = np.ldexp(x, -exponent)
    mean = x.mean(axis=0)
    centered = x - mean
    # Rounding of a mean of m equal numbers leaves a column at this height, not at zero.
    noise = len(x) * np.finfo(np.float64).eps * np.abs(x).max(axis=0)
    varies = np.abs(centered).max(axis=0) > noise
    return _Centered(mean, np.where(varies, centered, 0.0), varies, exponent)


def _together(data):
    """`_Centered` in one unit, that of the largest column that varies."""
    unit = data.exponent[data.varies].max(initial=-1100)
    shift = np.where(data.varies, data.exponent - unit, 0)
    return data._replace(
        mean=np.ldexp(data.mean, shift),
        centered=np.ldexp(data.centered, shift),
        exponent=data.exponent - shift,
    )


def _spread(data):
    """Standard deviations and axes of the directions in which the data vary.

    The axes are the columns of U. They come from the singular values of the
    centered data, which keeps twice the digits that the covariance would, and
    a direction counts by the rule of numpy.linalg.matrix_rank, in which the size of
    the data is that before they were centered.
    """
    m, d = data.centered.shape
    _, s, vt = np.linalg.svd(data.centered, full_matrices=False)
    size = np.abs(np.where(data.varies, data.mean, 0.0)).max() * m**0.5
    varies = s > max(m, d) * np.finfo(np.float64).eps * max(s[0], size)
    return s[varies] / m**0.5, vt[varies].T


def _fitted(data, matrix, rank):
    """The map, from its matrix in the units of the data."""
    with np.errstate(over="ignore"):
        matrix = np.ldexp(matrix, -data.exponent[:, None])
    if not np.isfinite(matrix).all():
        raise ValueError(
            "x varies by less than 1e-308, whose reciprocal is beyond float64; allowed "
            "are data that are scaled up, or constant"
        )
    return Affine(np.ldexp(data.mean, data.exponent), matrix, int(rank))


def fit_standardize(x: np.ndarray) -> Affine:
    r"""Fit :math:`x_j \mapsto (x_j - \mu_j) / \sigma_j`, each column by itself.

    Parameters
    ----------
    x : array, (m, d)
        Finite numbers, one sample a row.

    Returns
    -------
    Affine
        With d columns; a constant one is mapped to zero.

    Raises
    ------
    ValueError
        If x is not a matrix of finite real numbers, or varies by less than 1e-308.
    """
    data = _centered(x)
    std = np.sqrt(np.mean(data.centered**2, axis=0))
    scale = np.where(data.varies, 1.0 / np.where(data.varies, std, 1.0), 0.0)
    return _fitted(data, np.diag(scale), data.varies.sum())


def fit_pca(x: np.ndarray) -> Affine:
    r"""Fit PCA whitening, :math:`W = U \Lambda^{-1/2}`: rotate, then rescale.

    Parameters
    ----------
    x : array, (m, d)
        Finite numbers, one sample a row.

    Returns
    -------
    Affine
        With as many columns as x has directions in which it varies, the widest first.
        The sign of each column is arbitrary and is fixed here by making the largest
        entry of its axis positive, the first of those that are equal but for rounding.
        Where two directions vary equally, any two axes of their plane are right.

    Raises
    ------
    ValueError
        If x is not a matrix of finite real numbers, or varies by less than 1e-308.
    """
    data = _together(_centered(x))
    std, axes = _spread(data)
    sizes = np.abs(axes)
    largest = (sizes > (1 - 1e-6) * sizes.max(axis=0, initial=0.0)).argmax(axis=0)
    signs = np.sign(axes[largest, np.arange(axes.shape[1])])
    return _fitted(data, axes * signs / std, len(std))


def fit_zca(x: np.ndarray) -> Affine:
    r"""Fit ZCA whitening, :math:`W = U \Lambda^{-1/2} U^\top`: rescale, rotate back.

    Parameters
    ----------
    x : array, (m, d)
        Finite numbers, one sample a row.

    Returns
    -------
    Affine
        With d columns. Of all maps that whiten, it moves the data least.

    Raises
    ------
    ValueError
        If x is not a matrix of finite real numbers, or varies by less than 1e-308.

    References
    ----------
    Kessy, Lewin and Strimmer, The American Statistician 72(4), 2018.
    """
    data = _together(_centered(x))
    std, axes = _spread(data)
    return _fitted(data, (axes / std) @ axes.T, len(std))


def zca_backward(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
    r"""Gradient through `fit_zca`, applied to the data it was fitted to.

    With :math:`X_c` the centered data, λ the eigenvalues and U the axes of its
    covariance C, and :math:`G_C` the gradient with respect to C,

    .. math::

      \begin{aligned}
      K_{ij} &= \frac{-1}{\sqrt{\lambda_i \lambda_j}
        \,(\sqrt{\lambda_i} + \sqrt{\lambda_j})}, \\
      G_C &= U \bigl[ K \circ U^\top \mathrm{sym}(X_c^\top dy)\, U \bigr] U^\top, \\
      dX_c &= dy\, W + \tfrac2m\, X_c\, G_C, \qquad dx = dX_c - \mathrm{mean}(dX_c).
      \end{aligned}

    with :math:`\mathrm{sym}(A) = (A + A^\top)/2`. K is the divided difference of
    :math:`\lambda^{-1/2}` (the formula of Daleckii and Krein), so equal eigenvalues do
    no harm. For d = 1 this is the backward pass of batch normalization.

    Parameters
    ----------
    dy : array, (m, d)
        Gradient of the loss with respect to the whitened data.
    x : array, (m, d)
        The data.

    Returns
    -------
    array, (m, d)
        dx.

    Raises
    ------
    ValueError
        If dy does not have the shape of x, or x does not vary in all d directions:
        elsewhere W has no derivative.
    """
    x = _checks.samples("x", x)
    dy = _checks.gradient("dy", dy, x.shape).astype(np.float64)
    data = _together(_centered(x))
    std, axes = _spread(data)
    if len(std) < x.shape[1]:
        raise ValueError(
            f"x varies in {len(std)} directions; allowed is all {x.shape[1]}, "
            "elsewhere its whitening has no derivative"
        )
    centered = data.centered
    dw = centered.T @ dy
    k = -1 / (np.outer(std, std) * np.add.outer(std, std))
    m = axes @ (k * (axes.T @ (dw + dw.T) @ axes / 2)) @ axes.T
    dcentered = dy @ ((axes / std) @ axes.T) + 2 / len(x) * centered @ m
    return np.ldexp(dcentered - dcentered.mean(axis=0), -data.exponent)
