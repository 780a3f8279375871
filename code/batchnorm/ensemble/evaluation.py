"""Networks as they are: what they compute, their gradient, how good they are.

NumPy arrays come in and go out.
"""

from itertools import groupby
from math import prod
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from batchnorm import _checks

from .layers import Nonlinearity
from .network import Network, arguments, backpropagate, propagate


class LayerTrace(NamedTuple):
    """One layer of a forward pass of K networks on n examples.

    ``input`` and ``output`` (K, n, features); ``preactivation`` (K, n, features), what
    enters the nonlinearity; ``mean`` and ``var`` (K, channels), the statistics the
    layer was normalized with, of a norm that has running ones. Each None where the
    layer has none of it.
    """

    input: np.ndarray
    preactivation: np.ndarray | None
    output: np.ndarray
    mean: np.ndarray | None
    var: np.ndarray | None


def forward(
    network: Network,
    theta: np.ndarray,
    x: np.ndarray,
    statistics: np.ndarray | None = None,
) -> list[LayerTrace]:
    """Run K networks on n examples.

    Parameters
    ----------
    network : Network
    theta : ndarray, (K, P)
    x : ndarray, (n, d) or (K, n, d)
        Examples, the same for all networks or of each its own, then at least two;
        images flattened or not.
    statistics : ndarray, (K, 2, D), or None
        What to normalize by; None for the statistics of ``x`` itself.

    Returns
    -------
    list of LayerTrace
        One per layer with weights; the ``output`` of the last are the logits.

    Raises
    ------
    ValueError
        If ``theta``, ``x`` or ``statistics`` has another shape.
    """
    _checks.real_array("theta", theta)
    theta = torch.as_tensor(theta)
    given = arguments(network, theta, _statistics(network, statistics, theta))
    u = _inputs(network, len(theta), x, theta.dtype)
    with torch.no_grad():
        # Copies, since a nonlinearity writes over what it is given.
        passes = [(output.clone(), c) for output, c in propagate(network, given, u)]
    outputs, caches = zip(*passes, strict=True)
    steps = zip(network.steps, (u, *outputs[:-1]), outputs, caches, strict=True)
    layers = [list(layer) for _, layer in groupby(steps, lambda s: s[0].layer)]
    return [_trace(layer) for layer in layers if layer[0][0].shapes]


def _trace(layer: list[tuple]) -> LayerTrace:
    """Of one layer's steps, each with its input, output and cache."""

    def rows(u):  # (K, features, n) to (K, n, features)
        return u.mT.numpy()

    (_, u, _, _), (_, _, output, _) = layer[0], layer[-1]
    trace = LayerTrace(rows(u), None, rows(output), None, None)
    for step, u, _, cache in layer:
        if isinstance(step.operation, Nonlinearity):
            trace = trace._replace(preactivation=rows(u))
        if step.statistics:
            mean, var = (s.squeeze(-1).numpy() for s in (cache.mean, cache.var))
            trace = trace._replace(mean=mean, var=var)
    return trace


def gradient(
    network: Network, theta: np.ndarray, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean cross-entropy of one mini-batch and its gradient.

    Parameters
    ----------
    network : Network
    theta : ndarray, (K, P)
    x : ndarray, (n, d) or (K, n, d)
        As in `forward`.
    y : ndarray of int, (n,) or (K, n)
        Classes.

    Returns
    -------
    loss : ndarray, (K,)
    gradient : ndarray, (K, P)
        `unpack` gives it layer by layer.

    Raises
    ------
    ValueError
        If ``theta`` or ``x`` has another shape, or ``y`` is not a class for each
        example.
    """
    _checks.real_array("theta", theta)
    theta = torch.as_tensor(theta)
    result = torch.zeros_like(theta)
    parameters, slots = arguments(network, theta), arguments(network, result)
    u = _inputs(network, len(theta), x, theta.dtype)
    _checks.labels("y", y, len(theta), u.shape[-1], network.classes)
    with torch.no_grad():
        loss, _ = fill_gradient(network, parameters, slots, u, _labels(len(theta), y))
    return loss.numpy(), result.numpy()


def fill_gradient(
    network: Network, parameters: list, gradients: list, u: Tensor, y: Tensor
) -> tuple[Tensor, list]:
    """Loss (K,) of ``u`` (K, d, m) and the caches; writes to ``gradients``."""
    caches = []
    for output, cache in propagate(network, parameters, u):
        logits = output
        caches.append(cache)
    loss, d = _cross_entropy(logits, y)
    backpropagate(network, parameters, gradients, caches, d)
    return loss, caches


def _cross_entropy(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Mean loss (K,) and its gradient ``(softmax − onehot)/m`` (K, classes, m)."""
    m = y.shape[-1]
    log_p = logits.log_softmax(1)
    loss = -log_p.gather(1, y.unsqueeze(1)).squeeze(1).mean(-1)
    d = log_p.exp_()
    minus_one = d.new_tensor(-1.0).expand(len(y), 1, m)
    return loss, d.scatter_add_(1, y.unsqueeze(1), minus_one).div_(m)


def moments_over(network: Network, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Mean and biased variance of every normalized channel over ``x``.

    With ``x`` the whole training set these are its exact population statistics. The
    paper's estimate is the average of this over mini-batches, variances times m/(m−1).

    Parameters
    ----------
    network : Network
    theta : ndarray, (K, P)
    x : ndarray, (n, d) or (K, n, d)
        As in `forward`.

    Returns
    -------
    ndarray, (K, 2, D)

    Raises
    ------
    ValueError
        If ``theta`` or ``x`` has another shape.
    """
    layers = [layer for layer in forward(network, theta, x) if layer.mean is not None]
    if not layers:
        return np.zeros((len(theta), 2, 0), dtype=np.asarray(theta).dtype)
    means, variances = zip(*((layer.mean, layer.var) for layer in layers), strict=True)
    return np.stack([np.concatenate(means, 1), np.concatenate(variances, 1)], 1)


class Score(NamedTuple):
    """``accuracy`` in [0, 1] and mean cross-entropy ``loss``, each (K,)."""

    accuracy: np.ndarray
    loss: np.ndarray


_CHUNK = 1000  # examples at a time where that changes nothing but memory


def evaluate(
    network: Network,
    theta: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    statistics: np.ndarray | None = None,
    batch: int | None = None,
) -> Score:
    """Accuracy and loss of K networks.

    With ``statistics`` the networks are in inference mode; without, they normalize by
    the statistics of each run of ``batch`` consecutive examples, as a network does
    whose ``eval()`` was forgotten. An example whose logits are not finite counts as
    wrong.

    Parameters
    ----------
    network : Network
    theta : ndarray, (K, P)
    x : ndarray, (n, d) or (K, n, d)
        As in `forward`.
    y : ndarray of int, (n,) or (K, n)
        Classes.
    statistics : ndarray, (K, 2, D), or None
    batch : int or None
        Examples at a time; all of ``x`` if None.

    Returns
    -------
    Score

    Raises
    ------
    ValueError
        If ``theta``, ``x`` or ``statistics`` has another shape, ``y`` is not a class
        for each example, or ``batch`` is not a positive integer.
    """
    _checks.real_array("theta", theta)
    theta = torch.as_tensor(theta)
    fixed = _statistics(network, statistics, theta)
    given = arguments(network, theta, fixed)
    if batch is not None:
        _checks.count("batch", batch)
    inputs, labels = _inputs(network, len(theta), x), _labels(len(theta), y)
    count = inputs.shape[-1]
    _checks.labels("y", y, len(theta), count, network.classes)
    free = network.channels == 0 or fixed is not None
    size = batch or (_CHUNK if free else count)
    right, loss = torch.zeros(len(theta)), theta.new_zeros(len(theta))
    with torch.no_grad():
        for begin in range(0, count, size):
            u = inputs[..., begin : begin + size].to(theta.dtype)
            *_, (logits, _) = propagate(network, given, u)
            part = labels[:, begin : begin + size]
            finite = logits.isfinite().all(1)
            right += ((logits.argmax(1) == part) & finite).sum(-1)
            loss += _cross_entropy(logits, part)[0] * part.shape[-1]
    return Score((right.double() / count).numpy(), (loss / count).numpy())


def _inputs(
    network: Network, networks: int, x: np.ndarray, dtype: torch.dtype | None = None
) -> Tensor:
    """x (n, ...) or (K, n, ...) as (K, d, n), without a copy for each network."""
    _checks.examples("x", x, network.shape)
    x = torch.as_tensor(x)
    features = prod(network.shape)
    for leading in (1, 2):
        if prod(x.shape[leading:]) == features and x.ndim > leading:
            x = x.reshape(*x.shape[:leading], features)
            break
    else:
        raise ValueError(
            f"x has shape {tuple(x.shape)}; allowed are n or K × n examples of shape "
            f"{network.shape}"
        )
    if x.ndim == 3 and len(x) != networks:
        raise ValueError(
            f"x has {len(x)} networks in its first axis; allowed is {networks}"
        )
    x = x if dtype is None else x.to(dtype)
    return x.mT.expand(networks, -1, -1)


def _labels(networks: int, y: np.ndarray) -> Tensor:
    """y (n,) or (K, n) as (K, n)."""
    _checks.labels("y", y, networks)
    return torch.as_tensor(np.asarray(y, dtype=np.int64)).expand(networks, -1)


def _statistics(network: Network, statistics, theta: Tensor) -> Tensor | None:
    if statistics is None:
        return None
    _checks.real_array("statistics", statistics)
    statistics = torch.as_tensor(statistics, dtype=theta.dtype)
    expected = (len(theta), 2, network.channels)
    if statistics.shape != expected:
        raise ValueError(
            f"statistics has shape {tuple(statistics.shape)}; allowed is {expected}"
        )
    return statistics
