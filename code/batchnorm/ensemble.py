"""Many small networks trained at once, as one batched computation.

A network is a vector ``θ`` of P parameters, an ensemble of K networks the matrix
``theta`` (K, P). Everything else follows: a step of gradient descent is one addition,
a norm is a reduction over rows, and a network that diverges spoils its own row alone.

>>> network = Network((64,), (64, 64, 64), nonlinearity="relu", norm="batch")
>>> seeds, lr = grid(range(20), [0.1, 0.3, 1.0])          # K = 60 networks
>>> run = train(network, digits, seeds, lr=lr, steps=300, scale=2**0.5)
>>> run.accuracy.reshape(20, 3, -1)                        # seeds, rates, steps

Arrays come in and go out as NumPy; inside, torch multiplies them. There the examples
are the last axis: ``u`` is (K, features, m), a convolution is a matrix product with
(K, C·k·k, H·W·m) patches, and batch normalization, per unit or per feature map, is a
reduction of the last axis. The gradient is the closed form that the book derives; the
tests hold it against autograd and against plain ``torch.nn`` modules.

All that is random is drawn by ``numpy.random.default_rng`` from a network's own seed:
network k of an ensemble is the same network as when it is trained alone.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from batchnorm.datasets import Split

# ---------------------------------------------------------------------- architecture


@dataclass(frozen=True)
class Conv:
    """A convolution with stride 1 that keeps height and width.

    ``channels`` feature maps, an odd ``kernel``, ``padding`` "zeros" or "circular".

    Raises ``ValueError`` for any other kernel or padding, or no channels.
    """

    channels: int
    kernel: int = 3
    padding: str = "zeros"

    def __post_init__(self):
        _positive("channels", self.channels)
        _positive("kernel", self.kernel)
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, got {self.kernel}")
        _one_of("padding", self.padding, ("zeros", "circular"))


@dataclass(frozen=True)
class Pool:
    """Mean over squares of ``size`` × ``size`` pixels, side by side.

    Raises ``ValueError`` if the size is not a positive integer.
    """

    size: int = 2

    def __post_init__(self):
        _positive("size", self.size)


class Layer(NamedTuple):
    """The parameters of one layer of K networks; views into ``theta``.

    ``weight`` (K, out, in), or (K, out, in, k, k) of a convolution; ``bias`` (K, out),
    ``gamma`` and ``beta`` (K, channels), each None where the layer has none.
    """

    weight: np.ndarray
    bias: np.ndarray | None
    gamma: np.ndarray | None
    beta: np.ndarray | None


@dataclass(frozen=True)
class Network:
    """The shape of a network: what its K copies in an ensemble have in common.

    Symbols: ``shape`` of one example, (d,) or (C, H, W); ``hidden`` the hidden layers,
    an int for that many fully connected units, or a ``Conv`` or a ``Pool``, which need
    (C, H, W); ``classes`` the outputs; ``nonlinearity`` "relu", "sigmoid", "tanh" or
    "linear", one for all hidden layers.

    ``norm`` is None, "batch" (one mean per unit or per feature map) or
    "per-activation" (one mean per unit, also in feature maps). It applies to every
    hidden layer with weights, ``order`` "before" the nonlinearity, g(BN(Wu)), or
    "after" it, BN(g(Wu + b)). The layer that normalization follows directly has no
    bias, since the mean would take it away again. ``eps`` is ε.

    Raises ``ValueError`` if an argument is none of these, or if the layers do not fit
    each other or the shape of the examples.
    """

    shape: tuple[int, ...]
    hidden: tuple[int | Conv | Pool, ...]
    classes: int = 10
    nonlinearity: str = "relu"
    norm: str | None = None
    order: str = "before"
    eps: float = 1e-5

    def __post_init__(self):
        _one_of("nonlinearity", self.nonlinearity, NONLINEARITIES)
        _one_of("norm", self.norm, (None, "batch", "per-activation"))
        _one_of("order", self.order, ("before", "after"))
        _positive("classes", self.classes)
        if not self.eps >= 0:
            raise ValueError(f"eps must be at least 0, got {self.eps}")
        _ = self.parts  # raises if the layers do not fit each other

    @cached_property
    def parts(self) -> tuple["_Part", ...]:
        """The layers with their shapes and their places in ``θ`` and the statistics."""
        parts, shape, at, channel = [], tuple(self.shape), 0, 0
        for index, layer in enumerate((*self.hidden, self.classes)):
            last = index == len(self.hidden)
            part = _Part(layer, shape, self, last, at, channel)
            parts.append(part)
            shape, at, channel = part.out_shape, part.end, part.channel_end
        return tuple(parts)

    @property
    def parameters(self) -> int:
        """P, the number of parameters of one network."""
        return self.parts[-1].end

    @property
    def channels(self) -> int:
        """D, the number of normalized channels of one network, all layers together."""
        return self.parts[-1].channel_end

    @property
    def depth(self) -> int:
        """The number of layers with weights, the output layer included."""
        return sum(part.has_weight for part in self.parts)


class _Part:
    """One layer of a ``Network``: shapes, and where its parameters lie in θ."""

    def __init__(self, layer, in_shape, network, last, at, channel):
        self.in_shape, self.last = in_shape, last
        self.conv = layer if isinstance(layer, Conv) else None
        self.pool = layer.size if isinstance(layer, Pool) else None
        self.has_weight = self.pool is None
        spatial = self.conv is not None or self.pool is not None
        if spatial and len(in_shape) != 3:
            raise ValueError(f"{layer} needs input of shape (C, H, W), got {in_shape}")
        if self.conv is not None:
            channels, height, width = in_shape
            self.out_shape = (layer.channels, height, width)
            weight = (layer.channels, channels, layer.kernel, layer.kernel)
            if min(height, width) < layer.kernel:
                raise ValueError(f"{layer} does not fit into an image of {in_shape}")
        elif self.pool is not None:
            channels, height, width = in_shape
            if height % layer.size or width % layer.size:
                raise ValueError(f"{layer} does not divide an image of {in_shape}")
            self.out_shape = (channels, height // layer.size, width // layer.size)
            weight = ()
        else:
            if not isinstance(layer, int | np.integer):
                raise ValueError(
                    f"hidden must hold integers, Conv and Pool, got {layer!r}"
                )
            _positive("hidden", layer)
            self.out_shape = (int(layer),)
            weight = (int(layer), prod(in_shape))
        self.norm = network.norm if self.has_weight and not last else None
        self.order = network.order
        if self.norm is None:
            width = 0
        elif self.norm == "batch":
            width = self.out_shape[0]
        else:
            width = prod(self.out_shape)
        self.channel_begin, self.channel_end = channel, channel + width
        self.fan_in = prod(weight[1:])
        has_bias = self.has_weight and not (self.norm and self.order == "before")
        self.shapes = Layer(
            weight,
            (weight[0],) if has_bias else None,
            (width,) if self.norm else None,
            (width,) if self.norm else None,
        )
        self.slices, self.end = [], at
        for shape in self.shapes if self.has_weight else ():
            begin, self.end = self.end, self.end + (prod(shape) if shape else 0)
            self.slices.append(slice(begin, self.end) if shape else None)

    def unpack(self, theta):
        """The layer's parameters as views; works for NumPy and torch alike."""
        return Layer(
            *(
                None if piece is None else theta[:, piece].reshape(len(theta), *shape)
                for piece, shape in zip(self.slices, self.shapes, strict=True)
            )
        )

    def statistics(self, statistics):
        """Mean and variance of the layer's channels, each (K, channels), as views."""
        piece = slice(self.channel_begin, self.channel_end)
        return statistics[:, 0, piece], statistics[:, 1, piece]


def unpack(network: Network, theta: np.ndarray) -> list[Layer]:
    """The parameters, or the gradient, of K networks, layer by layer.

    ``theta`` is (K, P). Returns one ``Layer`` per layer with weights, the output layer
    last. These are views: writing to ``unpack(network, theta)[0].weight`` writes to
    ``theta``.
    """
    return [part.unpack(theta) for part in network.parts if part.has_weight]


def unpack_statistics(
    network: Network, statistics: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Means and variances of K networks, one pair per normalized layer.

    ``statistics`` is (K, 2, D): means, then variances, of all layers side by side.
    Returns pairs of (K, channels) views.
    """
    return [part.statistics(statistics) for part in network.parts if part.norm]


# --------------------------------------------------------------------- random numbers

_WEIGHTS, _BATCHES = 1, 2  # streams of one seed, so that neither draw moves the other


def grid(*axes: Iterable) -> tuple[np.ndarray, ...]:
    """All combinations of the given values, one array of length K per axis.

    The first axis varies slowest, so a result (K, ...) is ``reshape``d to the lengths
    of the axes. ``grid([0, 1], [.1, .3])`` is ``([0, 0, 1, 1], [.1, .3, .1, .3])``.
    """
    values = [np.asarray(list(axis)) for axis in axes]
    return tuple(mesh.ravel() for mesh in np.meshgrid(*values, indexing="ij"))


def init_parameters(
    network: Network, seeds: Sequence[int], scale=1.0, *, fan_in: bool = True
) -> np.ndarray:
    """Draw the initial parameters of K networks: (K, P), float64.

    ``W ~ N(0, scale²/fan_in)``, or ``N(0, scale²)`` without ``fan_in``; biases and β
    are 0, γ is 1. ``scale`` is a number or K of them; √2 is He's initialization. The
    output layer is drawn like the others. The same seed gives the same normal numbers
    at every scale.

    Raises ``ValueError`` if there are no seeds, one is not an integer from 0 on, or
    ``scale`` is neither one number from 0 on nor K of them.
    """
    seeds = _seeds(seeds)
    scale = _per_network("scale", scale, len(seeds))
    theta = np.zeros((len(seeds), network.parameters))
    layers = unpack(network, theta)
    shapes = [part for part in network.parts if part.has_weight]
    for k, seed in enumerate(seeds):
        rng = np.random.default_rng([int(seed), _WEIGHTS])
        for layer, part in zip(layers, shapes, strict=True):
            std = scale[k] / np.sqrt(part.fan_in) if fan_in else scale[k]
            layer.weight[k] = std * rng.standard_normal(part.shapes.weight)
            if layer.gamma is not None:
                layer.gamma[k] = 1
    return theta


def shuffled(
    labels: np.ndarray, batch: int, steps: int, rng: np.random.Generator
) -> np.ndarray:
    """Rows of the mini-batches, (steps, batch): every epoch in a new order.

    The remainder of an epoch that does not fill a mini-batch is dropped.

    Raises ``ValueError`` if there are fewer labels than ``batch``.
    """
    if not 1 <= batch <= len(labels):
        raise ValueError(f"batch must be 1 to {len(labels)}, got {batch}")
    per_epoch = len(labels) // batch
    epochs = -(-steps // per_epoch)
    rows = [
        rng.permutation(len(labels))[: per_epoch * batch].reshape(per_epoch, batch)
        for _ in range(epochs)
    ]
    return np.concatenate(rows)[:steps]


def single_class(
    labels: np.ndarray, batch: int, steps: int, rng: np.random.Generator
) -> np.ndarray:
    """Rows of mini-batches whose examples share a class, (steps, batch).

    The class of each mini-batch is drawn at random, then its examples, without
    replacement where the class has enough of them.
    """
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    chosen = rng.integers(len(classes), size=steps)
    return np.stack(
        [rng.choice(classes[c], batch, replace=batch > len(classes[c])) for c in chosen]
    )


# -------------------------------------------------------------- forward and backward
#
# One pair of functions per kind of layer, on tensors whose last axis is the examples.
# The networks are small, so a step costs the passes over memory more than the
# arithmetic: results go into tensors kept from the step before, or over what is no
# longer needed ("in place" below).


class _Workspace(dict):
    """Tensors by name, kept for the next step."""

    def take(self, name: object, like: Tensor, *shape: int) -> Tensor:
        kept = self.get(name)
        if kept is None or kept.shape != shape:
            kept = self[name] = like.new_empty(shape)
        return kept


_backward_of = torch.ops.aten

# g, and ∂ℓ/∂z from ∂ℓ/∂h and h = g(z); both in place.
NONLINEARITIES: dict[str, tuple[Callable, Callable]] = {
    "relu": (
        torch.relu_,
        lambda d, h: _backward_of.threshold_backward.grad_input(d, h, 0, grad_input=d),
    ),
    "sigmoid": (
        torch.sigmoid_,
        lambda d, h: _backward_of.sigmoid_backward.grad_input(d, h, grad_input=d),
    ),
    "tanh": (
        torch.tanh_,
        lambda d, h: _backward_of.tanh_backward.grad_input(d, h, grad_input=d),
    ),
    "linear": (lambda z: z, lambda d, h: d),
}


def _affine(
    part: _Part, layer: Layer, u: Tensor, space: _Workspace
) -> tuple[Tensor, Tensor]:
    """``z = W u + b`` (K, out, H·W·m), and what W multiplied: u, or its patches."""
    if part.conv is not None:
        u = _patches(part, u, space)
    weight = layer.weight.flatten(2)
    z = space.take((part, "z"), u, len(u), weight.shape[1], u.shape[-1])
    if layer.bias is None:
        return torch.bmm(weight, u, out=z), u
    return torch.baddbmm(layer.bias.unsqueeze(-1), weight, u, out=z), u


def _affine_backward(
    part: _Part,
    layer: Layer,
    gradient: Layer,
    dz: Tensor,
    u: Tensor,
    space: _Workspace,
    need_du: bool,
) -> Tensor | None:
    """``dW = dz uᵀ`` and ``db = Σ dz`` into ``gradient``; returns ``du = Wᵀ dz``."""
    # Not straight into the gradient's rows: torch multiplies a batch at once only if
    # the result is contiguous.
    shape = len(u), dz.shape[1], u.shape[1]
    dw = space.take(("dw", shape), u, *shape)
    gradient.weight.flatten(2).copy_(torch.bmm(dz, u.mT, out=dw))
    if layer.bias is not None:
        gradient.bias.copy_(dz.sum(-1))
    if not need_du:
        return None
    du = space.take((part, "du"), u, *u.shape)
    torch.bmm(layer.weight.flatten(2).mT, dz, out=du)
    return du if part.conv is None else _patches_backward(part, du)


def _patches(part: _Part, u: Tensor, space: _Workspace) -> Tensor:
    """The k·k neighborhood of every pixel: (K, C·H·W, m) to (K, C·k·k, H·W·m)."""
    (channels, height, width), k = part.in_shape, part.conv.kernel
    networks, m = len(u), u.shape[-1]
    images = u.reshape(networks * channels, height, width, m)
    border = k // 2
    if part.conv.padding == "zeros":
        padded = pad(images, (0, 0, border, border, border, border))
    else:
        rows = torch.arange(-border, height + border) % height
        columns = torch.arange(-border, width + border) % width
        padded = images[:, rows][:, :, columns]
    patches = space.take(
        (part, "patches"), u, networks, channels * k * k, height * width * m
    )
    windows = patches.view(networks * channels, k, k, height, width, m)
    for i in range(k):
        for j in range(k):
            windows[:, i, j] = padded[:, i : i + height, j : j + width]
    return patches


def _patches_backward(part: _Part, du: Tensor) -> Tensor:
    """The transpose of ``_patches``: every patch is added back where it came from."""
    (channels, height, width), k = part.in_shape, part.conv.kernel
    networks, m = len(du), du.shape[-1] // (height * width)
    windows = du.view(networks * channels, k, k, height, width, m)
    border = k // 2
    padded = du.new_zeros(
        networks * channels, height + 2 * border, width + 2 * border, m
    )
    for i in range(k):
        for j in range(k):
            padded[:, i : i + height, j : j + width] += windows[:, i, j]
    if part.conv.padding == "circular" and border:
        # What fell over one edge belongs to the opposite one.
        padded[:, height : height + border] += padded[:, :border]
        padded[:, border : 2 * border] += padded[:, -border:]
        padded[:, :, width : width + border] += padded[:, :, :border]
        padded[:, :, border : 2 * border] += padded[:, :, -border:]
    inside = padded[:, border : border + height, border : border + width]
    return inside.reshape(networks, channels * height * width, m)


def _pool(part: _Part, u: Tensor) -> Tensor:
    """The mean of every square: (K, C·H·W, m) to (K, C·H/s·W/s, m)."""
    (channels, height, width), s = part.out_shape, part.pool
    squares = u.view(len(u), channels, height, s, width, s, u.shape[-1])
    total = sum(squares[:, :, :, i, :, j] for i in range(s) for j in range(s))
    return (total / s**2).flatten(1, 3)


def _pool_backward(part: _Part, dh: Tensor) -> Tensor:
    """Each square's gradient in equal parts to its pixels."""
    (channels, height, width), s = part.out_shape, part.pool
    each = (dh / s**2).reshape(len(dh), channels, height, 1, width, 1, -1)
    return each.expand(-1, -1, -1, s, -1, s, -1).reshape(len(dh), -1, dh.shape[-1])


class _Normalized(NamedTuple):
    """Statistics, and what the backward pass needs, each (K, channels, 1 or m)."""

    mean: Tensor
    var: Tensor
    centered: Tensor  # x − μ
    inverse: Tensor  # 1/√(σ² + ε)
    scale: Tensor  # γ/√(σ² + ε)


def _batch_norm(
    x: Tensor,
    layer: Layer,
    eps: float,
    statistics: tuple[Tensor, Tensor] | None,
    out: Tensor,
) -> _Normalized:
    """``y = γ (x − μ)/√(σ² + ε) + β`` over the last axis of x (K, channels, m).

    μ and σ² are those of x itself, or the given ones. Writes y to ``out``; ``x − μ``
    takes the place of x.
    """
    if statistics is None:
        mean = x.mean(-1, keepdim=True)
        centered = x.sub_(mean)
        var = torch.linalg.vector_norm(centered, dim=-1, keepdim=True).square_()
        var /= x.shape[-1]
    else:
        mean, var = (s.unsqueeze(-1) for s in statistics)
        centered = x.sub_(mean)
    inverse = (var + eps).rsqrt_()
    scale = layer.gamma.unsqueeze(-1) * inverse
    torch.addcmul(layer.beta.unsqueeze(-1), centered, scale, out=out)
    return _Normalized(mean, var, centered, inverse, scale)


def _batch_norm_backward(
    gradient: Layer, dy: Tensor, cache: _Normalized, space: _Workspace
) -> Tensor:
    """``dx = γ/√(σ²+ε) (dy − mean(dy) − x̂ mean(dy·x̂))``, the book's closed form.

    Writes ``dγ = Σ dy·x̂`` and ``dβ = Σ dy`` into ``gradient``; dx takes the place of
    dy.
    """
    m = dy.shape[-1]
    product = space.take(("product", dy.shape), dy, *dy.shape)
    torch.mul(dy, cache.centered, out=product)
    dbeta = dy.sum(-1, keepdim=True)
    dgamma = product.sum(-1, keepdim=True).mul_(cache.inverse)
    gradient.beta.copy_(dbeta.squeeze(-1))
    gradient.gamma.copy_(dgamma.squeeze(-1))
    # dx = shift + scale·dy + slope·(x − μ), in two passes
    shift = dbeta.mul_(cache.scale).div_(-m)
    slope = dgamma.mul_(cache.inverse).mul_(cache.scale).div_(-m)
    return torch.addcmul(shift, dy, cache.scale, out=dy).addcmul_(cache.centered, slope)


class _Activations(NamedTuple):
    """One layer's forward pass, each (K, features, m) unless said otherwise."""

    input: Tensor
    output: Tensor
    patches: Tensor | None = None  # (K, C·k·k, H·W·m), or the input
    preactivation: Tensor | None = None  # what the nonlinearity saw, if kept
    h: Tensor | None = None  # what the nonlinearity made of it
    normalized: _Normalized | None = None


def _forward(
    network: Network,
    layers: list[Layer | None],
    u: Tensor,
    space: _Workspace,
    statistics: Tensor | None = None,
    keep: bool = False,
) -> list[_Activations]:
    """All layers, from inputs ``u`` (K, d, m) to logits (K, classes, m)."""
    nonlinearity, _ = NONLINEARITIES[network.nonlinearity]
    trace = []
    for part, layer in zip(network.parts, layers, strict=True):
        rows = (len(u), -1, u.shape[-1])
        if part.pool is not None:
            trace.append(_Activations(u, _pool(part, u)))
            u = trace[-1].output
            continue
        z, patches = _affine(part, layer, u, space)
        if part.last:
            trace.append(_Activations(u, z, patches))
            break
        given, normalized = None, None
        if part.norm:
            channels = part.channel_end - part.channel_begin
            given = None if statistics is None else part.statistics(statistics)
            x = z.view(len(z), channels, -1)
            y = space.take((part, "y"), x, *x.shape)
        if part.norm and part.order == "before":
            normalized = _batch_norm(x, layer, network.eps, given, out=y)
            z = y
        preactivation = z.clone().view(rows) if keep else None
        h = output = nonlinearity(z)
        if part.norm and part.order == "after":
            # h goes into the derivative of g, so a copy of it is centered.
            x = space.take((part, "x"), x, *x.shape).copy_(h.view(x.shape))
            normalized = _batch_norm(x, layer, network.eps, given, out=y)
            output = y
        h, output = h.view(rows), output.view(rows)
        trace.append(_Activations(u, output, patches, preactivation, h, normalized))
        u = output
    return trace


def _backward(
    network: Network,
    layers: list[Layer | None],
    gradients: list[Layer | None],
    trace: list[_Activations],
    d: Tensor,
    space: _Workspace,
) -> None:
    """From ``d`` = ∂ℓ/∂logits (K, classes, m) to all ``gradients``, in place."""
    _, derivative = NONLINEARITIES[network.nonlinearity]
    first = next(i for i, part in enumerate(network.parts) if part.has_weight)
    for i in reversed(range(first, len(trace))):
        part, layer, gradient, act = network.parts[i], layers[i], gradients[i], trace[i]
        if part.pool is not None:
            d = _pool_backward(part, d)
            continue
        if act.normalized is not None:
            channels = act.normalized.centered.shape
        if act.normalized is not None and part.order == "after":
            d = _batch_norm_backward(gradient, d.view(channels), act.normalized, space)
        if act.h is not None:
            d = derivative(d.view(act.h.shape), act.h)
        if act.normalized is not None and part.order == "before":
            d = _batch_norm_backward(gradient, d.view(channels), act.normalized, space)
        d = d.view(len(d), part.out_shape[0], -1)
        d = _affine_backward(part, layer, gradient, d, act.patches, space, i > first)


def _cross_entropy(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Mean loss (K,) and its gradient ``(softmax − onehot)/m`` (K, classes, m)."""
    m = y.shape[-1]
    log_p = logits.log_softmax(1)
    loss = -log_p.gather(1, y.unsqueeze(1)).squeeze(1).mean(-1)
    d = log_p.exp_()
    minus_one = d.new_tensor(-1.0).expand(len(y), 1, m)
    return loss, d.scatter_add_(1, y.unsqueeze(1), minus_one).div_(m)


def _gradient(network, layers, gradients, u, y, space):
    """Loss (K,) and the forward pass; fills ``gradients``, uses up the trace."""
    trace = _forward(network, layers, u, space)
    loss, d = _cross_entropy(trace[-1].output, y)
    _backward(network, layers, gradients, trace, d, space)
    return loss, trace


# ------------------------------------------------------------------------ public core


class LayerTrace(NamedTuple):
    """One layer of a forward pass of K networks on n examples.

    ``input`` and ``output`` (K, n, features); ``preactivation`` (K, n, features), what
    enters the nonlinearity; ``mean`` and ``var`` (K, channels), the statistics the
    layer was normalized with. Each None where the layer has none of it.
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
    """Run K networks on n examples; the last entry's ``output`` are the logits.

    Symbols: ``theta`` (K, P); ``x`` (n, d), the same for all, or (K, n, d), with images
    flattened or not; ``statistics`` (K, 2, D), or None to normalize by the statistics
    of ``x`` itself. Returns one ``LayerTrace`` per layer with weights.

    Raises ``ValueError`` if ``theta``, ``x`` or ``statistics`` has another shape.
    """
    with torch.no_grad():
        tensor = torch.as_tensor(theta)
        trace = _forward(
            network,
            _layers(network, tensor),
            _inputs(network, len(tensor), x, tensor.dtype),
            _Workspace(),
            _statistics(network, statistics, tensor),
            keep=True,
        )
    return [
        LayerTrace(
            *(
                None if t is None else t.mT.numpy()
                for t in (act.input, act.preactivation, act.output)
            ),
            *(
                (None, None)
                if act.normalized is None
                else (t.squeeze(-1).numpy() for t in act.normalized[:2])
            ),
        )
        for part, act in zip(network.parts, trace, strict=True)
        if part.has_weight
    ]


def gradient(
    network: Network, theta: np.ndarray, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean cross-entropy (K,) of one mini-batch and its gradient (K, P).

    Symbols: as in ``forward``; ``y`` (n,) or (K, n) integer classes. ``unpack`` gives
    the gradient layer by layer.

    Raises ``ValueError`` if ``theta`` or ``x`` has another shape.
    """
    with torch.no_grad():
        tensor = torch.as_tensor(theta)
        result = torch.zeros_like(tensor)
        loss, _ = _gradient(
            network,
            _layers(network, tensor),
            _layers(network, result),
            _inputs(network, len(tensor), x, tensor.dtype),
            _labels(len(tensor), y),
            _Workspace(),
        )
    return loss.numpy(), result.numpy()


def batch_statistics(network: Network, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Mean and biased variance of every normalized channel over ``x``: (K, 2, D).

    With ``x`` the whole training set these are its exact population statistics. The
    paper's estimate is the average of this over mini-batches, variances times m/(m−1).

    Raises ``ValueError`` if ``theta`` or ``x`` has another shape.
    """
    trace = forward(network, theta, x)
    means = [act.mean for act in trace if act.mean is not None]
    variances = [act.var for act in trace if act.var is not None]
    if not means:
        return np.zeros((len(theta), 2, 0), dtype=np.asarray(theta).dtype)
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
    """Accuracy and loss of K networks on ``x`` (n, d) or (K, n, d).

    With ``statistics`` (K, 2, D) the networks are in inference mode; without, they
    normalize by the statistics of each run of ``batch`` consecutive examples (all of
    ``x`` if None), as a network does whose ``eval()`` was forgotten. An example whose
    logits are not finite counts as wrong.

    Raises ``ValueError`` if ``theta``, ``x`` or ``statistics`` has another shape, or
    ``batch`` is not a positive integer.
    """
    tensor = torch.as_tensor(theta)
    networks = len(tensor)
    fixed = _statistics(network, statistics, tensor)
    if batch is not None:
        _positive("batch", batch)
    u = _inputs(network, networks, x, None)
    labels = _labels(networks, y)
    count = u.shape[-1]
    free = network.norm is None or fixed is not None
    size = batch or (_CHUNK if free else count)
    right, loss = torch.zeros(networks), torch.zeros(networks, dtype=tensor.dtype)
    with torch.no_grad():
        layers, space = _layers(network, tensor), _Workspace()
        for begin in range(0, count, size):
            piece = slice(begin, min(begin + size, count))
            inputs = u[..., piece].to(tensor.dtype)
            logits = _forward(network, layers, inputs, space, fixed)[-1].output
            part_y = labels[:, piece]
            finite = logits.isfinite().all(1)
            right += ((logits.argmax(1) == part_y) & finite).sum(-1)
            loss += _cross_entropy(logits, part_y)[0] * part_y.shape[-1]
    return Score((right.double() / count).numpy(), (loss / count).numpy())


# --------------------------------------------------------------------------- training


@dataclass(frozen=True)
class State:
    """What a recorder sees of K networks after ``step`` steps; arrays are live views.

    ``theta`` and ``gradient`` (K, P), the gradient of the step just taken (zero before
    the first); ``loss`` (K,) of its mini-batch; ``batch`` and ``running`` (K, 2, D),
    the statistics of its mini-batch (biased) and the running ones (unbiased).
    """

    step: int
    theta: np.ndarray
    gradient: np.ndarray
    loss: np.ndarray
    batch: np.ndarray
    running: np.ndarray


@dataclass(frozen=True)
class Run:
    """The result of training K networks.

    ``at`` (T,) are the steps at which was recorded, 0 first; ``accuracy`` and ``loss``
    (K, T) on the test part; ``train_loss`` (K, steps) of each mini-batch before its
    step; ``records`` the recorders' arrays, each (K, T, ...); ``theta`` (K, P) and
    ``running`` (K, 2, D) as training left them.
    """

    network: Network
    seeds: np.ndarray
    at: np.ndarray
    accuracy: np.ndarray
    loss: np.ndarray
    train_loss: np.ndarray
    theta: np.ndarray
    running: np.ndarray
    records: dict[str, np.ndarray] = field(default_factory=dict)

    def steps_to(self, accuracy: float) -> np.ndarray:
        """The first recorded step with that test accuracy, (K,); inf if none is."""
        reached = self.accuracy >= accuracy
        return np.where(reached.any(1), self.at[reached.argmax(1)], np.inf)


def train(
    network: Network,
    data: Split | Callable[[int], Split],
    seeds: Sequence[int],
    *,
    lr,
    steps: int,
    batch: int = 60,
    scale=1.0,
    fan_in: bool = True,
    theta: np.ndarray | None = None,
    optimizer: str = "sgd",
    weight_decay: float = 0.0,
    momentum=0.1,
    batches: Callable = shuffled,
    every: int | Sequence[int] | None = 10,
    evaluate_with: str = "running",
    record: dict[str, Callable[[State], np.ndarray]] | None = None,
    dtype: type = np.float64,
) -> Run:
    """Train K networks at once, network k from ``seeds[k]``.

    Symbols: ``data`` a ``Split`` for all, or a function from seed to ``Split``, such as
    ``datasets.digits``; ``lr``, ``scale`` and ``momentum`` a number or K of them (see
    ``grid``); ``steps`` of mini-batches of ``batch``, drawn by ``batches(labels, batch,
    steps, rng)``; ``scale`` and ``fan_in`` as in ``init_parameters``, or the initial
    ``theta`` itself.

    ``optimizer`` is "sgd" (``θ ← θ − lr g``), "momentum" (``v ← 0.9 v + g``,
    ``θ ← θ − lr v``) or "adam" (0.9, 0.999, 1e-8), with ``g`` the gradient plus
    ``weight_decay · θ``, all as torch has them. ``momentum`` is that of the running
    statistics: the weight of the new mini-batch, as in torch.

    At step 0, every ``every`` steps (never if None) and after the last one, the test
    part is evaluated, with "running", "population" (exact, over the training part) or
    "batch" statistics (the test part's own), and each function in ``record`` is called
    on a ``State``; what it returns, (K, ...), is kept. ``every`` may also list the
    steps themselves.

    A network that diverges goes on as NaN, without any effect on the others.

    Raises ``ValueError`` if an argument is none of these, if the data do not fit the
    network, or a batch does not fit into the training part; ``batch`` is 2 or more
    where it normalizes.
    """
    seeds = _seeds(seeds)
    networks = len(seeds)
    _positive("steps", steps)
    _positive("batch", batch)
    if every is None:
        recorded = set()
    elif isinstance(every, Sequence):
        recorded = set(every)
        if not recorded <= set(range(steps + 1)):
            raise ValueError(f"every must list steps from 0 to {steps}, got {every}")
    else:
        _positive("every", every)
        recorded = set(range(0, steps, every))
    _one_of("optimizer", optimizer, OPTIMIZERS)
    _one_of("evaluate_with", evaluate_with, ("running", "population", "batch"))
    lr = _per_network("lr", lr, networks)
    momentum = _per_network("momentum", momentum, networks)
    if theta is None:
        theta = init_parameters(network, seeds, scale, fan_in=fan_in)
    elif np.shape(theta) != (networks, network.parameters):
        raise ValueError(
            f"theta must have shape {(networks, network.parameters)}, "
            f"got {np.shape(theta)}"
        )
    material = _Material(network, data, seeds, batch, steps, batches)

    theta = torch.tensor(np.asarray(theta, dtype=dtype))
    gradient = torch.zeros_like(theta)
    layers, gradients = _layers(network, theta), _layers(network, gradient)
    space = _Workspace()
    running = torch.zeros(networks, 2, network.channels, dtype=theta.dtype)
    running[:, 1] = 1
    seen = running.clone()
    unbiased = torch.ones(2, network.channels, dtype=theta.dtype)
    for part in network.parts:
        if part.norm:
            per_channel = (
                batch * prod(part.out_shape) // (part.channel_end - part.channel_begin)
            )
            if per_channel == 1:
                raise ValueError("batch must be at least 2 to normalize, got 1")
            part.statistics(unbiased[None])[1][...] = per_channel / (per_channel - 1)
    weight = torch.as_tensor(momentum, dtype=theta.dtype)[:, None, None]
    step_size = torch.as_tensor(lr, dtype=theta.dtype)[:, None]
    update = OPTIMIZERS[optimizer](theta, gradient, step_size)
    train_loss = torch.full((networks, steps), torch.nan, dtype=theta.dtype)
    recorder = _Recorder(network, material, evaluate_with, record or {})

    def note(step):
        loss = train_loss[:, max(step - 1, 0)]
        recorder(
            State(step, *(t.numpy() for t in (theta, gradient, loss, seen, running)))
        )

    with torch.no_grad():
        if 0 in recorded:
            note(0)
        for step in range(1, steps + 1):
            u, y = material.mini_batch(step - 1, theta.dtype)
            loss, trace = _gradient(network, layers, gradients, u, y, space)
            train_loss[:, step - 1] = loss
            if network.norm is not None:
                used = [act.normalized for act in trace if act.normalized is not None]
                for i in (0, 1):
                    torch.cat([n[i] for n in used], 1, out=seen[:, i].unsqueeze(-1))
                running.lerp_(seen * unbiased, weight)
            if weight_decay:
                gradient.add_(theta, alpha=weight_decay)
            update()
            if step in recorded or step == steps:
                note(step)
    return Run(
        network=network,
        seeds=seeds,
        at=np.array(recorder.at),
        accuracy=np.stack(recorder.accuracy, 1),
        loss=np.stack(recorder.loss, 1),
        train_loss=train_loss.numpy(),
        theta=theta.numpy(),
        running=running.numpy(),
        records={name: np.stack(kept, 1) for name, kept in recorder.kept.items()},
    )


def _sgd(theta: Tensor, gradient: Tensor, lr: Tensor) -> Callable[[], None]:
    return lambda: theta.addcmul_(lr, gradient, value=-1)


def _momentum(theta: Tensor, gradient: Tensor, lr: Tensor) -> Callable[[], None]:
    velocity = torch.zeros_like(theta)

    def update():
        velocity.mul_(0.9).add_(gradient)
        theta.addcmul_(lr, velocity, value=-1)

    return update


def _adam(theta: Tensor, gradient: Tensor, lr: Tensor) -> Callable[[], None]:
    first, second = torch.zeros_like(theta), torch.zeros_like(theta)
    beta1, beta2, eps, t = 0.9, 0.999, 1e-8, 0

    def update():
        nonlocal t
        t += 1
        first.lerp_(gradient, 1 - beta1)
        second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        size = (second / (1 - beta2**t)).sqrt_().add_(eps)
        theta.sub_(lr / (1 - beta1**t) * first / size)

    return update


OPTIMIZERS = {"sgd": _sgd, "momentum": _momentum, "adam": _adam}


class _Material:
    """The data of K networks: one copy per split, and the rows of every mini-batch."""

    def __init__(self, network, data, seeds, batch, steps, batches):
        distinct, self.which = np.unique(seeds, return_inverse=True)
        if isinstance(data, Split):
            splits = [data]
            self.split = np.zeros(len(seeds), dtype=int)
        else:
            splits = [data(int(seed)) for seed in distinct]
            self.split = self.which
        self.count = len(splits[0].y_train)
        if any(len(s.y_train) != self.count for s in splits):
            raise ValueError("data must give training parts of one size")
        if batch > self.count:
            raise ValueError(
                f"batch must be at most {self.count}, the training part, got {batch}"
            )
        features = prod(network.shape)
        for s in splits:
            for part in (s.x_train, s.x_test):
                if part[0].size != features:
                    raise ValueError(
                        f"data must have {features} features for a network of shape "
                        f"{network.shape}, got {part[0].size}"
                    )
            top = max(s.y_train.max(), s.y_test.max())
            if top >= network.classes:
                raise ValueError(
                    f"classes must exceed the label {top}, got {network.classes}"
                )
        self.splits = splits
        flat = [s.x_train.reshape(self.count, -1) for s in splits]
        self.x = torch.as_tensor(flat[0] if len(flat) == 1 else np.concatenate(flat))
        self.y = torch.as_tensor(np.concatenate([s.y_train for s in splits]))
        rows = []
        for index, seed in enumerate(distinct):
            labels = splits[index if len(splits) > 1 else 0].y_train
            rng = np.random.default_rng([int(seed), _BATCHES])
            drawn = np.asarray(batches(labels, batch, steps, rng))
            if drawn.shape != (steps, batch):
                raise ValueError(
                    f"batches must return shape {(steps, batch)}, got {drawn.shape}"
                )
            rows.append(drawn + (index * self.count if len(splits) > 1 else 0))
        # (steps, networks of distinct seed, batch)
        self.rows = torch.as_tensor(np.stack(rows, 1))
        self.same = torch.as_tensor(self.which)

    def mini_batch(self, step: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Inputs (K, d, m) and labels (K, m) of one step."""
        rows = self.rows[step][self.same]
        u = self.x.index_select(0, rows.ravel()).view(*rows.shape, -1)
        return u.to(dtype).mT, self.y[rows]

    def parts(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """x (K, n, d) and y (K, n) of the "train" or "test" part."""
        x = [getattr(s, f"x_{name}") for s in self.splits]
        y = [getattr(s, f"y_{name}") for s in self.splits]
        if len(x) == 1:
            return x[0], y[0]
        return np.stack(x)[self.split], np.stack(y)[self.split]


class _Recorder:
    """Keeps test accuracy, test loss and the reader's own quantities."""

    def __init__(self, network, material, evaluate_with, functions):
        self.network, self.functions = network, functions
        self.evaluate_with = evaluate_with
        self.x, self.y = material.parts("test")
        if evaluate_with == "population":
            self.x_train, _ = material.parts("train")
        self.at, self.accuracy, self.loss = [], [], []
        self.kept = {name: [] for name in functions}

    def __call__(self, state: State) -> None:
        if self.evaluate_with == "running":
            statistics = state.running
        elif self.evaluate_with == "population":
            statistics = batch_statistics(self.network, state.theta, self.x_train)
        else:
            statistics = None
        score = evaluate(self.network, state.theta, self.x, self.y, statistics)
        self.at.append(state.step)
        self.accuracy.append(score.accuracy)
        self.loss.append(score.loss)
        for name, function in self.functions.items():
            self.kept[name].append(np.array(function(state)))


# ------------------------------------------------------------------------- arguments


def _layers(network: Network, theta: Tensor) -> list[Layer | None]:
    if theta.ndim != 2 or theta.shape[1] != network.parameters:
        raise ValueError(
            f"theta must have shape (K, {network.parameters}), got {tuple(theta.shape)}"
        )
    return [part.unpack(theta) if part.has_weight else None for part in network.parts]


def _inputs(
    network: Network, networks: int, x: np.ndarray, dtype: torch.dtype | None
) -> Tensor:
    """x (n, ...) or (K, n, ...) as (K, d, n), without a copy for each network."""
    x = torch.as_tensor(x)
    features = prod(network.shape)
    for leading in (1, 2):
        if prod(x.shape[leading:]) == features and x.ndim > leading:
            x = x.reshape(*x.shape[:leading], features)
            break
    else:
        raise ValueError(
            f"x must be n or K × n examples of shape {network.shape}, "
            f"got {tuple(x.shape)}"
        )
    if x.ndim == 3 and len(x) != networks:
        raise ValueError(
            f"x must have {networks} networks in its first axis, got {len(x)}"
        )
    x = x if dtype is None else x.to(dtype)
    return x.mT.expand(networks, -1, -1)


def _labels(networks: int, y: np.ndarray) -> Tensor:
    return torch.as_tensor(np.asarray(y, dtype=np.int64)).expand(networks, -1)


def _statistics(network, statistics, theta: Tensor) -> Tensor | None:
    if statistics is None:
        return None
    statistics = torch.as_tensor(statistics, dtype=theta.dtype)
    expected = (len(theta), 2, network.channels)
    if statistics.shape != expected:
        raise ValueError(
            f"statistics must have shape {expected}, got {tuple(statistics.shape)}"
        )
    return statistics


def _seeds(seeds) -> np.ndarray:
    seeds = np.asarray(list(seeds) if isinstance(seeds, range) else seeds)
    if seeds.ndim != 1 or len(seeds) == 0 or seeds.dtype.kind not in "iu":
        raise ValueError(f"seeds must be a sequence of integers, got {seeds!r}")
    if seeds.min() < 0:
        raise ValueError(f"seeds must not be negative, got {seeds.min()}")
    return seeds


def _per_network(name: str, value, networks: int) -> np.ndarray:
    values = np.asarray(value, dtype=np.float64)
    if values.ndim > 1 or values.size not in (1, networks):
        raise ValueError(
            f"{name} must be a number or {networks} of them, got shape {values.shape}"
        )
    if not (np.isfinite(values).all() and (values >= 0).all()):
        raise ValueError(f"{name} must be finite and not negative, got {value}")
    return np.broadcast_to(values, (networks,)).copy()


def _positive(name: str, value: int) -> None:
    if not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")


def _one_of(name: str, value, allowed) -> None:
    if value not in allowed:
        raise ValueError(
            f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}"
        )
