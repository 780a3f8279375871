"""Networks: lists of operations, and where each finds its parameters in θ.

A `Network` expands into a flat tuple of `Step`s, and what is done with it is a loop
over these: `propagate` is the forward pass, `backpropagate` the backward pass.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import NamedTuple

import numpy as np
from torch import Tensor

from batchnorm import _checks

from .layers import NONLINEARITIES, Conv, Linear, Operation, Pool, Shape
from .norms import NORMS


class Step(NamedTuple):
    """An operation at its place in a network.

    ``shape`` is that of one example before it; its parameters begin at ``at`` in θ, its
    statistics at ``channel`` among the D of the network; ``layer`` counts the entries
    of ``hidden``, the output layer included.
    """

    operation: Operation
    layer: int
    shape: Shape
    at: int
    channel: int

    @property
    def out_shape(self) -> Shape:
        """The shape of one example behind it."""
        return self.operation.out_shape(self.shape)

    @property
    def shapes(self) -> dict[str, Shape]:
        """The shapes of one network's parameters, by name."""
        return self.operation.parameters(self.shape)

    @property
    def end(self) -> int:
        """Where its parameters end in θ."""
        return self.at + sum(map(prod, self.shapes.values()))

    @property
    def statistics(self) -> int:
        """How many means, and as many variances, it needs at inference."""
        return self.operation.statistics(self.shape)

    def views(self, theta) -> dict:
        """The parameters of K networks by name: views of an array or a tensor."""
        views, at = {}, self.at
        for name, shape in self.shapes.items():
            end = at + prod(shape)
            views[name] = theta[:, at:end].reshape(len(theta), *shape)
            at = end
        return views

    def statistics_views(self, statistics) -> tuple:
        """Means and variances, each (K, channels), as views of (K, 2, D)."""
        mine = statistics[:, :, self.channel : self.channel + self.statistics]
        return mine[:, 0], mine[:, 1]

    def forward(self, u: Tensor, *parameters: Tensor) -> tuple:
        """The output and what the backward pass needs."""
        return self.operation.forward(u, self.shape, *parameters)

    def backward(self, d: Tensor, cache, *parameters: Tensor) -> tuple:
        """∂ℓ/∂input and the gradients of the parameters."""
        return self.operation.backward(d, self.shape, cache, *parameters)


@dataclass(frozen=True)
class Network:
    """The shape of a network: what its K copies in an ensemble have in common.

    Parameters
    ----------
    shape : tuple of int
        Of one example, (d,) or (C, H, W).
    hidden : tuple of int, Linear, Conv or Pool
        The hidden layers; an integer is a fully connected layer of that many units, and
        `Conv` and `Pool` need (C, H, W).
    classes : int
        How many outputs.
    nonlinearity : {"relu", "sigmoid", "tanh", "linear"}
        g, one for all hidden layers with weights.
    norm : None, str or tuple
        What normalizes every hidden layer with weights, a key of ``NORMS``: "batch" has
        one mean per unit or per feature map, "per-activation" one per unit, also in
        feature maps; "layer", "group" and "rms" normalize each example by itself. A
        norm that takes more than ε comes with it: ("group", 4) has four groups, and
        ("noisy", 1.0) is batch normalization with noise of strength 1 behind it, and
        ("shake", 1.0) that noise alone. With dropout or noise a `Network` is for one
        run: its generators go on.
    order : {"before", "after"}
        The norm before the nonlinearity, g(BN(Wu)), or after it, BN(g(Wu + b)). A layer
        that is followed directly by a norm that would cancel its bias has none.
    eps : float
        ε, at least 0.

    Raises
    ------
    ValueError
        If an argument is none of these, or if the layers do not fit each other or the
        shape of the examples.
    """

    shape: tuple[int, ...]
    hidden: tuple[int | Linear | Conv | Pool, ...]
    classes: int = 10
    nonlinearity: str = "relu"
    norm: str | tuple | None = None
    order: str = "before"
    eps: float = 1e-5

    def __post_init__(self):
        _checks.iterable("shape", self.shape, "integers")
        _checks.one_of("axes of shape", len(self.shape), (1, 3))
        _checks.iterable("hidden", self.hidden, "layers")
        for size in self.shape:
            _checks.count("shape", size)
        _checks.one_of("nonlinearity", self.nonlinearity, NONLINEARITIES)
        _checks.one_of("order", self.order, ("before", "after"))
        _checks.count("classes", self.classes)
        _checks.not_negative("eps", self.eps)
        _ = self.steps  # raises if the layers do not fit each other

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The operations of the network, in order, each at its place."""
        steps, shape, at, channel = [], tuple(self.shape), 0, 0
        for layer, operation in self._operations():
            step = Step(operation, layer, shape, at, channel)
            steps.append(step)
            shape, at, channel = step.out_shape, step.end, channel + step.statistics
        return tuple(steps)

    def _named_norm(self) -> Operation:
        """A norm of that name, with what it takes besides ε."""
        named = (
            self.norm if isinstance(self.norm, tuple) and self.norm else (self.norm,)
        )
        _checks.one_of("norm", named[0], (None, *NORMS))
        _checks.one_of("norm", named[0], NORMS)
        try:
            return NORMS[named[0]](self.eps, *named[1:])
        except TypeError as error:
            raise ValueError(f"norm is {self.norm!r}: {error}") from error

    def _operations(self) -> Iterator[tuple[int, Operation]]:
        """All operations, each with the index of its layer."""
        norm = [] if self.norm is None else [self._named_norm()]
        g = [NONLINEARITIES[self.nonlinearity]]
        behind = norm + g if self.order == "before" else g + norm
        first = True
        for index, layer in enumerate(self.hidden):
            layer = _layer(layer)
            if isinstance(layer, Pool):
                yield index, layer
                continue
            bias = layer.bias and not behind[0].cancels_bias
            yield index, replace(layer, bias=bias, input_gradient=not first)
            for operation in behind:
                yield index, operation
            first = False
        yield len(self.hidden), Linear(self.classes, input_gradient=not first)

    @property
    def layers(self) -> list[list[Step]]:
        """The steps of every layer with weights, the output layer last."""
        layers = [[] for _ in range(len(self.hidden) + 1)]
        for step in self.steps:
            layers[step.layer].append(step)
        return [layer for layer in layers if layer[0].shapes]

    @property
    def parameters(self) -> int:
        """P, the number of parameters of one network."""
        return self.steps[-1].end

    @property
    def channels(self) -> int:
        """D, the number of channels of one network with statistics, all layers."""
        return sum(step.statistics for step in self.steps)

    @property
    def depth(self) -> int:
        """The number of layers with weights, the output layer included."""
        return len(self.layers)


def _layer(layer) -> Operation:
    if isinstance(layer, Linear | Conv | Pool):
        return layer
    return Linear(_checks.count("hidden", layer))


class Layer(NamedTuple):
    """The parameters of one layer of K networks; views into ``theta``.

    ``weight`` (K, out, in), or (K, out, in, k, k) of a convolution; ``bias`` (K, out),
    ``gamma`` and ``beta`` (K, channels), each None where the layer has none.
    """

    weight: np.ndarray
    bias: np.ndarray | None = None
    gamma: np.ndarray | None = None
    beta: np.ndarray | None = None


def unpack(network: Network, theta: np.ndarray) -> list[Layer]:
    """The parameters, or the gradient, of K networks, layer by layer.

    Parameters
    ----------
    network : Network
    theta : ndarray, (K, P)

    Returns
    -------
    list of Layer
        One per layer with weights, the output layer last. These are views: writing to
        ``unpack(network, theta)[0].weight`` writes to ``theta``.

    Raises
    ------
    ValueError
        If theta has another shape.
    """
    _checks.shaped("theta", theta, (len(theta), network.parameters), "(K, P)")
    return [
        Layer(**{k: v for step in layer for k, v in step.views(theta).items()})
        for layer in network.layers
    ]


def unpack_statistics(
    network: Network, statistics: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Means and variances of K networks, one pair per layer that has statistics.

    Parameters
    ----------
    network : Network
    statistics : ndarray, (K, 2, D)
        Means, then variances, of all layers side by side.

    Returns
    -------
    list of (ndarray, ndarray)
        Pairs of (K, channels) views.

    Raises
    ------
    ValueError
        If statistics has another shape.
    """
    _checks.shaped(
        "statistics", statistics, (len(statistics), 2, network.channels), "(K, 2, D)"
    )
    return [
        step.statistics_views(statistics) for step in network.steps if step.statistics
    ]


def arguments(network: Network, theta: Tensor, statistics: Tensor | None = None):
    """What each step's ``forward`` takes besides its input: its parameters, as views.

    With ``statistics`` (K, 2, D), the norms that have some are given theirs.
    """
    _checks.instance("network", network, Network, "ensemble")
    _checks.real_tensor("theta", theta)
    if theta.ndim != 2 or theta.shape[1] != network.parameters:
        raise ValueError(
            f"theta has shape {tuple(theta.shape)}; allowed is "
            f"(K, {network.parameters})"
        )
    found = []
    for step in network.steps:
        given = statistics is not None and step.statistics
        pair = [step.statistics_views(statistics)] if given else []
        found.append([*step.views(theta).values(), *pair])
    return found


def propagate(
    network: Network, arguments, u: Tensor
) -> Iterator[tuple[Tensor, object]]:
    """From inputs ``u`` (K, d, m), output and cache of every step, the logits last."""
    for step, given in zip(network.steps, arguments, strict=True):
        u, cache = step.forward(u, *given)
        yield u, cache


def backpropagate(network: Network, parameters, gradients, caches, d: Tensor) -> None:
    """From ``d`` = ∂ℓ/∂logits (K, classes, m), all ``gradients``, in place."""
    steps = zip(network.steps, parameters, gradients, caches, strict=True)
    for step, given, slots, cache in reversed(list(steps)):
        if d is None:  # no parameters any more below
            break
        d, *found = step.backward(d, cache, *given)
        for slot, gradient in zip(slots, found, strict=True):
            slot.copy_(gradient)
