"""The kinds of layer: of each its shapes, its forward and its backward pass.

K networks run at once, and the examples are the last axis. What goes from one
operation to the next is ``u`` (K, features, m), with the features of an image in the
order (C, H, W). An operation holds neither shapes nor parameters: every call says the
``shape`` of one example, (d,) or (C, H, W), and gives the parameters last, each with a
first axis of K.

``forward`` returns the output and a cache, ``backward`` the gradients:

>>> z, cache = Linear(50).forward(u, shape, weight, bias)
>>> du, dweight, dbias = Linear(50).backward(dz, shape, cache, weight, bias)

A nonlinearity writes its output over its input. The layer or norm before it therefore
writes to new memory, and does not keep that output in its cache.

The backward passes are written by hand, as the book derives them, and the tests hold
them against autograd. Autograd on the same layout takes 2.0 to 4.6 times as long.
"""

from dataclasses import dataclass, field
from math import prod

import torch
from torch import Tensor
from torch.nn.functional import pad

from batchnorm import _checks

Shape = tuple[int, ...]


class Operation:
    """What a network does in one place.

    A subclass says its shapes and has a forward and a backward pass. As it stands here,
    it learns nothing. One with `statistics` > 0 promises two things more: ``forward``
    takes a last argument ``given=None``, at inference the pair (mean, variance), each
    (K, D); and its cache has ``mean`` and ``var``, (K, D, 1), those that it used.
    """

    #: Whether a constant added to each of a layer's units is taken away again, so that
    #: a layer directly before this operation has no bias.
    cancels_bias = False

    def out_shape(self, shape: Shape) -> Shape:
        """The shape of one example behind the operation.

        Parameters
        ----------
        shape : tuple of int
            That before it.

        Returns
        -------
        tuple of int
        """
        return shape

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        """The shapes of one network's parameters, in the order of θ.

        Parameters
        ----------
        shape : tuple of int
            Of one example before the operation.

        Returns
        -------
        dict of str to tuple of int
            By name, which is a field of `Layer`.
        """
        return {}

    def statistics(self, shape: Shape) -> int:
        """How many means, and as many variances, it needs at inference.

        Parameters
        ----------
        shape : tuple of int
            Of one example before the operation.

        Returns
        -------
        int
        """
        return 0

    def forward(self, u: Tensor, shape: Shape, *parameters: Tensor) -> tuple:
        """The output, and what the backward pass needs.

        Parameters
        ----------
        u : Tensor, (K, features, m)
        shape : tuple of int
            Of one example in u.
        *parameters : Tensor, (K, ...)
            In the order of `parameters`.

        Returns
        -------
        output : Tensor, (K, features, m)
        cache : object
        """
        raise NotImplementedError

    def backward(
        self, d: Tensor, shape: Shape, cache: object, *parameters: Tensor
    ) -> tuple:
        """From the gradient at the output, those at the input and the parameters.

        Parameters
        ----------
        d : Tensor, (K, features, m)
            ∂ℓ/∂output, which may be written over.
        shape : tuple of int
            Of one example before the operation.
        cache : object
            What `forward` returned.
        *parameters : Tensor, (K, ...)
            As in `forward`.

        Returns
        -------
        du : Tensor, (K, features, m), or None
            ∂ℓ/∂u; None if nobody asks for it.
        *gradients : Tensor, (K, ...)
            One for each parameter.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Linear(Operation):
    """A fully connected layer, ``z = W u + b``.

    Parameters
    ----------
    units : int
        How many outputs; a bare integer in ``Network.hidden`` says the same.
    bias : bool
        Whether there is a b. A network leaves it out where a norm would cancel it.
    input_gradient : bool
        Whether ``backward`` computes ∂ℓ/∂u, which a network's first layer need not.

    Raises
    ------
    ValueError
        If ``units`` is not a positive integer.
    """

    units: int
    bias: bool = True
    input_gradient: bool = field(default=True, repr=False)

    def __post_init__(self):
        _checks.count("units", self.units)

    def out_shape(self, shape: Shape) -> Shape:
        return (int(self.units),)

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        bias = {"bias": (int(self.units),)} if self.bias else {}
        return {"weight": (int(self.units), prod(shape)), **bias}

    def forward(self, u: Tensor, shape: Shape, weight: Tensor, bias=None):
        if bias is None:
            return torch.bmm(weight, u), u
        return torch.baddbmm(bias.unsqueeze(-1), weight, u), u

    def backward(self, dz: Tensor, shape: Shape, u: Tensor, weight: Tensor, bias=None):
        """``du = Wᵀ dz``, ``dW = dz uᵀ``, ``db = Σ dz`` over the examples."""
        du = torch.bmm(weight.mT, dz) if self.input_gradient else None
        dweight = torch.bmm(dz, u.mT)
        return (du, dweight) if bias is None else (du, dweight, dz.sum(-1))


@dataclass(frozen=True)
class Conv(Operation):
    """A convolution with stride 1 that keeps height and width.

    It is `Linear` on patches: the k·k neighborhood of every pixel of every example.

    Parameters
    ----------
    channels : int
        How many feature maps come out.
    kernel : int
        k, odd.
    padding : {"zeros", "circular"}
        What lies beyond the edges: zeros, or the opposite edge.
    bias, input_gradient : bool
        As in `Linear`.

    Raises
    ------
    ValueError
        If ``channels`` or ``kernel`` is not a positive integer, ``kernel`` is even, or
        ``padding`` is neither of the two.
    """

    channels: int
    kernel: int = 3
    padding: str = "zeros"
    bias: bool = True
    input_gradient: bool = field(default=True, repr=False)

    def __post_init__(self):
        _checks.count("channels", self.channels)
        _checks.count("kernel", self.kernel)
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel is {self.kernel}; allowed are odd integers")
        _checks.one_of("padding", self.padding, ("zeros", "circular"))

    @property
    def _linear(self) -> Linear:
        """What is applied to every patch."""
        return Linear(self.channels, self.bias, self.input_gradient)

    def out_shape(self, shape: Shape) -> Shape:
        _, height, width = _image(self, shape)
        if min(height, width) < self.kernel:
            raise ValueError(f"{self} does not fit into an image of {shape}")
        return self.channels, height, width

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        weight = (self.channels, shape[0], self.kernel, self.kernel)
        return {**self._linear.parameters(shape), "weight": weight}

    def forward(self, u: Tensor, shape: Shape, weight: Tensor, bias=None):
        patches = self._patches(u, shape)
        z, _ = self._linear.forward(patches, shape, weight.flatten(2), bias)
        return z.view(len(u), -1, u.shape[-1]), patches

    def backward(
        self, dz: Tensor, shape: Shape, patches: Tensor, weight: Tensor, bias=None
    ):
        """`Linear.backward` on the patches, whose gradient goes back to the pixels."""
        m = dz.shape[-1]
        dz = dz.view(len(dz), self.channels, -1)
        d_patches, dweight, *rest = self._linear.backward(
            dz, shape, patches, weight.flatten(2), bias
        )
        du = (
            self._patches_backward(d_patches, shape, m) if self.input_gradient else None
        )
        return du, dweight.view_as(weight), *rest

    def _patches(self, u: Tensor, shape: Shape) -> Tensor:
        """The neighborhoods: (K, C·H·W, m) to (K, C·k·k, H·W·m)."""
        (channels, height, width), k, border = shape, self.kernel, self.kernel // 2
        networks, m = len(u), u.shape[-1]
        images = u.reshape(networks * channels, height, width, m)
        if self.padding == "zeros":
            padded = pad(images, (0, 0, border, border, border, border))
        else:
            rows = torch.arange(-border, height + border) % height
            columns = torch.arange(-border, width + border) % width
            padded = images[:, rows][:, :, columns]
        windows = u.new_empty(networks * channels, k, k, height, width, m)
        for i in range(k):
            for j in range(k):
                windows[:, i, j] = padded[:, i : i + height, j : j + width]
        return windows.view(networks, channels * k * k, height * width * m)

    def _patches_backward(self, d: Tensor, shape: Shape, m: int) -> Tensor:
        """The transpose of `_patches`: each is added back where it came from."""
        (channels, height, width), k, border = shape, self.kernel, self.kernel // 2
        windows = d.view(-1, k, k, height, width, m)
        padded = d.new_zeros(len(windows), height + 2 * border, width + 2 * border, m)
        for i in range(k):
            for j in range(k):
                padded[:, i : i + height, j : j + width] += windows[:, i, j]
        if self.padding == "circular" and border:
            # What fell over one edge belongs to the opposite one.
            padded[:, height : height + border] += padded[:, :border]
            padded[:, border : 2 * border] += padded[:, -border:]
            padded[:, :, width : width + border] += padded[:, :, :border]
            padded[:, :, border : 2 * border] += padded[:, :, -border:]
        inside = padded[:, border : border + height, border : border + width]
        return inside.reshape(len(d), channels * height * width, m)


@dataclass(frozen=True)
class Pool(Operation):
    """The mean over squares of ``size`` × ``size`` pixels, side by side.

    Parameters
    ----------
    size : int
        s, which divides height and width.

    Raises
    ------
    ValueError
        If ``size`` is not a positive integer.
    """

    size: int = 2

    def __post_init__(self):
        _checks.count("size", self.size)

    def out_shape(self, shape: Shape) -> Shape:
        channels, height, width = _image(self, shape)
        if height % self.size or width % self.size:
            raise ValueError(f"{self} does not divide an image of {shape}")
        return channels, height // self.size, width // self.size

    def forward(self, u: Tensor, shape: Shape):
        (channels, height, width), s = self.out_shape(shape), self.size
        squares = u.view(len(u), channels, height, s, width, s, u.shape[-1])
        total = sum(squares[:, :, :, i, :, j] for i in range(s) for j in range(s))
        return (total / s**2).flatten(1, 3), None

    def backward(self, dh: Tensor, shape: Shape, cache: None):
        """Each square's gradient in equal parts to its pixels."""
        (channels, height, width), s = self.out_shape(shape), self.size
        each = (dh / s**2).reshape(len(dh), channels, height, 1, width, 1, -1)
        du = each.expand(-1, -1, -1, s, -1, s, -1).reshape(len(dh), -1, dh.shape[-1])
        return (du,)


def _image(operation: Operation, shape: Shape) -> Shape:
    if len(shape) != 3:
        raise ValueError(f"{operation} needs input of shape (C, H, W), got {shape}")
    return shape


class Nonlinearity(Operation):
    """``h = g(z)``, element by element; h takes the place of z in memory.

    Of all these g the derivative is a function of h, so h is the cache.
    """


_aten = torch.ops.aten  # the derivatives that autograd uses, which can work in place


class ReLU(Nonlinearity):
    """``h = max(z, 0)``."""

    def forward(self, z: Tensor, shape: Shape):
        h = torch.relu_(z)
        return h, h

    def backward(self, dh: Tensor, shape: Shape, h: Tensor):
        """``dz = dh`` where h > 0, else 0."""
        return (_aten.threshold_backward.grad_input(dh, h, 0, grad_input=dh),)


class Sigmoid(Nonlinearity):
    """``h = 1/(1 + exp(−z))``."""

    def forward(self, z: Tensor, shape: Shape):
        h = torch.sigmoid_(z)
        return h, h

    def backward(self, dh: Tensor, shape: Shape, h: Tensor):
        """``dz = dh h (1 − h)``."""
        return (_aten.sigmoid_backward.grad_input(dh, h, grad_input=dh),)


class Tanh(Nonlinearity):
    """``h = tanh(z)``."""

    def forward(self, z: Tensor, shape: Shape):
        h = torch.tanh_(z)
        return h, h

    def backward(self, dh: Tensor, shape: Shape, h: Tensor):
        """``dz = dh (1 − h²)``."""
        return (_aten.tanh_backward.grad_input(dh, h, grad_input=dh),)


class Identity(Nonlinearity):
    """``h = z``."""

    def forward(self, z: Tensor, shape: Shape):
        return z, z

    def backward(self, dh: Tensor, shape: Shape, h: Tensor):
        """``dz = dh``."""
        return (dh,)


NONLINEARITIES: dict[str, Nonlinearity] = {
    "relu": ReLU(),
    "sigmoid": Sigmoid(),
    "tanh": Tanh(),
    "linear": Identity(),
}
