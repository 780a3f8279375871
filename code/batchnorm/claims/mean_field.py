"""What theory says of gradients and spreads in deep random networks.

Formulas for wide networks at initialization, without any measurement; the claims hold
measured networks against them.
"""

import numpy as np
from scipy.special import expit

NODES = np.linspace(-8, 8, 4001)  # of a standard normal variable
WEIGHTS = np.exp(-(NODES**2) / 2) / np.exp(-(NODES**2) / 2).sum()


def input_spread(scale):
    r"""Standard deviation of the inputs of deep sigmoid layers, biases 0.

    The fixed point of :math:`\tau^2 = s^2 \, \mathrm{mean}\, \sigma(\tau n)^2`, n
    standard normal: the inputs of a layer are sums of many outputs of the one below,
    and the weights have the variance s² over the number of inputs (Schoenholz et al.,
    2017, section 3).
    """
    tau = scale / 2
    for _ in range(100):
        tau = scale * np.sqrt(WEIGHTS @ expit(tau * NODES) ** 2)
    return float(tau)


def gradient_factor(scale):
    """Factor s · rms σ′ by which a deep sigmoid layer multiplies the gradient."""
    h = expit(input_spread(scale) * NODES)
    return float(scale * np.sqrt(WEIGHTS @ (h * (1 - h)) ** 2))


def normalized_growth(m):
    r"""Growth of the gradient per layer, backward through normalized ReLU layers.

    .. math::

        \sqrt{\frac{m/2 - 1 + p + b}{(m - 3)(1/2 - b)}}, \quad
        p = \frac{\pi - \theta}{2\pi}, \quad
        b = \frac{\sin\theta + (\pi - \theta)\cos\theta}{2\pi}, \quad
        \cos\theta = -\frac{1}{m - 1}

    Two normalized values of a unit have the correlation cos θ; p is how often both are
    positive, b the mean of f(y) f(y′). The batch has m ≥ 4 examples; for large m the
    growth is :math:`\sqrt{\pi/(\pi-1)}` (Yang et al., 2019, theorem 3.10).
    """
    theta = np.arccos(-1 / (m - 1))
    p = (np.pi - theta) / (2 * np.pi)
    b = (np.sin(theta) + (np.pi - theta) * np.cos(theta)) / (2 * np.pi)
    return float(np.sqrt((m / 2 - 1 + p + b) / ((m - 3) * (1 / 2 - b))))
