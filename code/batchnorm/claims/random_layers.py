"""Random linear layers with a normalization: their gradients and their examples."""

import numpy as np


def linear_growth(m):
    """Factor of the squared gradient at a normalized linear layer: (m − 2)/(m − 3)."""
    return (m - 2) / (m - 3)


def standardized(z):
    """Rows with mean 0 and variance 1, and their standard deviations."""
    centered = z - z.mean(axis=1, keepdims=True)
    std = centered.std(axis=1, keepdims=True)
    return centered / std, std


def backward_squares(seed, sizes, depth, width, *, skips=False):
    """Squared gradients in front of all layers and behind the last, a list a batch.

    Random linear layers, each normalized, or h + BN(W h) with ``skips``.
    """
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(depth, width, width)) / np.sqrt(width)
    inputs, signals = rng.normal(size=(2, width, max(sizes)))
    for m in sizes:
        h, kept = standardized(inputs[:, :m])[0], []
        for w in weights:
            x_hat, std = standardized(w @ h)
            kept.append((x_hat, std))
            h = h + x_hat if skips else x_hat
        d = signals[:, :m] - signals[:, :m].mean(axis=1, keepdims=True)
        squares = [np.sum(d**2)]
        for w, (x_hat, std) in zip(weights[::-1], kept[::-1], strict=True):
            along = np.mean(d * x_hat, axis=1, keepdims=True)
            dz = (d - d.mean(axis=1, keepdims=True) - x_hat * along) / std
            d = d + w.T @ dz if skips else w.T @ dz
            squares.append(np.sum(d**2))
        yield squares[::-1]


def expected_gap(width, n):
    """What is left of the gap, many layers up.

    With k = n − 1, each layer adds (k − 1)/(k d) to the squared distance from the
    centered Gram matrix, and leaves (k/(k + 2))² of what was there.
    """
    k = n - 1
    rest = (k - 1) / k / width / (1 - (k / (k + 2)) ** 2)
    return np.sqrt(1 / (n * k) + rest)


def gaps(seed, norm, width, layers, examples, spread=0.1):
    """Orthogonality gap of the examples behind each layer -> (layers,).

    Distance of their Gram matrix, divided by its trace, from the identity over n.
    """
    rng = np.random.default_rng(seed)
    h = rng.normal(size=width) + spread * rng.normal(size=(examples, width))
    found, axis = [], {"batch": 0, "layer": 1}.get(norm)
    for _ in range(layers):
        h = h @ rng.normal(size=(width, width)) / np.sqrt(width)
        if norm:
            h = h - h.mean(axis=axis, keepdims=True)
            h = h / h.std(axis=axis, keepdims=True)
        gram = h @ h.T
        distance = gram / np.trace(gram) - np.eye(examples) / examples
        found.append(np.linalg.norm(distance))
    return np.array(found)
