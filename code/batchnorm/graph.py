r"""Batch normalization as a computational graph, node by node.

`forward` keeps the value of every node, `backward` the gradient of the loss at every
node, named after it: ``d_var`` is the gradient at ``var``. This is the second route to
the gradients, beside the closed form of `batchnorm.reference`: plain NumPy in float64,
one elementary step a line.
"""

from typing import NamedTuple

import numpy as np

from batchnorm import _checks


class Values(NamedTuple):
    """Values of the nodes in the forward pass, in the order of computation.

    ``x``, ``centered``, ``squared``, ``x_hat``, ``scaled`` and ``y`` have the shape
    (m, d); the others, but for the number ``eps``, have the shape (d,).
    """

    x: np.ndarray
    gamma: np.ndarray
    beta: np.ndarray
    eps: float
    mean: np.ndarray
    centered: np.ndarray
    squared: np.ndarray
    var: np.ndarray
    std: np.ndarray
    inv_std: np.ndarray
    x_hat: np.ndarray
    scaled: np.ndarray
    y: np.ndarray


class Gradients(NamedTuple):
    """Gradients of the loss at the nodes, in the order of computation: from y to x.

    Each has the shape of its node. A node with two outgoing edges has a field for each
    contribution, as ``d_x_from_mean``; its gradient is their sum.
    """

    d_y: np.ndarray
    d_scaled: np.ndarray
    d_beta: np.ndarray
    d_gamma: np.ndarray
    d_x_hat: np.ndarray
    d_inv_std: np.ndarray
    d_centered_from_x_hat: np.ndarray
    d_std: np.ndarray
    d_var: np.ndarray
    d_squared: np.ndarray
    d_centered_from_squared: np.ndarray
    d_centered: np.ndarray
    d_x_from_centered: np.ndarray
    d_mean: np.ndarray
    d_x_from_mean: np.ndarray
    d_x: np.ndarray


def forward(x, gamma, beta, *, eps=1e-5):
    r"""Batch normalization, one elementary step a node.

    .. math::

       \begin{aligned}
       \mu &= \tfrac 1m \textstyle\sum_i x_i, & c_i &= x_i - \mu, & s_i &= c_i^2, \\
       \sigma^2 &= \tfrac 1m \textstyle\sum_i s_i, &
       \sigma_\epsilon &= \sqrt{\sigma^2 + \epsilon}, & v &= 1 / \sigma_\epsilon, \\
       \hat x_i &= c_i v, & z_i &= \gamma \hat x_i, & y_i &= z_i + \beta
       \end{aligned}

    In code c is ``centered``, s ``squared``, σ² ``var``, σ_ε ``std``, v ``inv_std`` and
    z ``scaled``.

    Parameters
    ----------
    x : array, (m, d)
        Activations, at least two rows.
    gamma, beta : array, (d,)
        Scale and shift.
    eps : float
        Added to the variance.

    Returns
    -------
    Values
        The values of all nodes, in float64.

    Raises
    ------
    ValueError
        If x is not (m, d) with at least two rows, gamma or beta has another length, or
        eps is not positive and finite.

    References
    ----------
    Ioffe and Szegedy (2015), Algorithm 1.
    """
    x = _checks.matrix("x", x).astype(np.float64)
    gamma = _checks.channel_vector("gamma", gamma, x.shape[1]).astype(np.float64)
    beta = _checks.channel_vector("beta", beta, x.shape[1]).astype(np.float64)
    eps = _checks.epsilon(eps)

    mean = np.mean(x, axis=0)
    centered = x - mean
    squared = centered**2
    var = np.mean(squared, axis=0)
    std = np.sqrt(var + eps)
    inv_std = 1 / std
    x_hat = centered * inv_std
    scaled = gamma * x_hat
    y = scaled + beta
    return Values(
        x, gamma, beta, eps,
        mean, centered, squared, var, std, inv_std, x_hat, scaled, y,
    )  # fmt: skip


def backward(dy, values):
    """Gradients at every node of the graph, from y back to x, by the chain rule.

    Each step undoes one line of `forward`, which stands above it. What the line summed
    over the rows (a mean), its gradient spreads over them; what it spread over the rows
    (beta, gamma, inv_std, mean), its gradient sums.

    Parameters
    ----------
    dy : array, (m, d)
        Gradient of the loss with respect to y.
    values : Values
        From `forward`.

    Returns
    -------
    Gradients
        The gradients at all nodes, in float64.

    Raises
    ------
    ValueError
        If dy does not have the shape of x, or values is not a `Values`.

    References
    ----------
    Ioffe and Szegedy (2015), section 3.
    """
    values = _checks.instance("values", values, Values, "graph.forward")
    d_y = _checks.gradient("dy", dy, values.x.shape).astype(np.float64)
    m = len(values.x)

    # y = scaled + beta
    d_scaled = d_y
    d_beta = np.sum(d_y, axis=0)
    # scaled = gamma * x_hat
    d_gamma = np.sum(d_scaled * values.x_hat, axis=0)
    d_x_hat = d_scaled * values.gamma
    # x_hat = centered * inv_std
    d_inv_std = np.sum(d_x_hat * values.centered, axis=0)
    d_centered_from_x_hat = d_x_hat * values.inv_std
    # inv_std = 1 / std
    d_std = -d_inv_std / values.std**2
    # std = sqrt(var + eps)
    d_var = d_std / (2 * values.std)
    # var = mean(squared)
    d_squared = np.broadcast_to(d_var / m, values.x.shape)
    # squared = centered**2; centered goes two ways, and its gradients add
    d_centered_from_squared = d_squared * 2 * values.centered
    d_centered = d_centered_from_x_hat + d_centered_from_squared
    # centered = x - mean
    d_x_from_centered = d_centered
    d_mean = -np.sum(d_centered, axis=0)
    # mean = mean(x); x goes two ways
    d_x_from_mean = np.broadcast_to(d_mean / m, values.x.shape)
    d_x = d_x_from_centered + d_x_from_mean

    return Gradients(
        d_y, d_scaled, d_beta, d_gamma, d_x_hat, d_inv_std, d_centered_from_x_hat,
        d_std, d_var, d_squared, d_centered_from_squared, d_centered,
        d_x_from_centered, d_mean, d_x_from_mean, d_x,
    )  # fmt: skip
