"""One layer's gradient, normalized in parts: as it is, and as theory has it."""

import numpy as np
from scipy.special import gammaln


def accumulation_law(n, m):
    """Squared difference of one layer's gradients over its square, in expectation.

    Normalized in n/m parts of m against at once, for normal inputs and an upstream
    gradient of independent normal numbers, ε = 0 and m > 3. A part's variance over the
    whole one's is n/m times a Beta variable of a = (m − 1)/2 and b = (n − m)/2.
    """
    k, a, b = n / m, (m - 1) / 2, (n - m) / 2
    root = gammaln(a - 0.5) + gammaln(a + b) - gammaln(a) - gammaln(a + b - 0.5)
    square, slope = (n - 3) / (m - 3) / k, np.exp(root) / k**0.5
    return (k * (m - 2) * (square - 2 * slope + 1) + 2 * k - 2) / (n - 2)


def input_gradient(dy, z, m):
    """∂ℓ/∂z of (S, n, d) normalized in parts of m, from ∂ℓ/∂ẑ: the closed form."""
    parts = [v.reshape(len(v), -1, m, v.shape[2]) for v in (dy, z)]
    dy, c = (v - v.mean(2, keepdims=True) for v in parts)
    var = np.mean(c**2, 2, keepdims=True)
    along = np.mean(dy * c, 2, keepdims=True) / var
    return ((dy - c * along) / np.sqrt(var)).reshape(z.shape)
