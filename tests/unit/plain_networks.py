"""Networks of an ensemble as plain ``torch.nn`` modules, one at a time."""

from itertools import chain, zip_longest

import numpy as np
import torch
from torch import nn

from batchnorm.ensemble import Conv, Network, Pool, unpack, unpack_statistics

MODULES = {
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "linear": nn.Identity,
}


class RMS(nn.RMSNorm):
    """torch's, with one weight a channel."""

    def __init__(self, shape, eps):
        super().__init__(shape[0], eps)
        self.shape = shape

    def forward(self, x):
        weight = self.weight.view(-1, *[1] * (len(self.shape) - 1))
        return nn.functional.rms_norm(x, self.shape, None, self.eps) * weight


class NoiseOfGhosts(nn.modules.batchnorm._BatchNorm):
    """In training: statistics of the mini-batch, with the errors that those of four
    examples have put in as numbers; each four have those of the next."""

    def __init__(self, shape, eps):
        super().__init__(shape[0], eps)

    def forward(self, x):
        axes = [0, *range(2, x.ndim)]
        fours = x.detach().reshape(-1, 4, *x.shape[1:])
        inner = [1, *range(3, fours.ndim)]

        def moments(u, axes):
            var, mean = torch.var_mean(u, axes, correction=0, keepdim=True)
            return mean, (var + self.eps).sqrt()

        mean, std = moments(x, axes)
        means, stds = (p.roll(-1, 0) for p in moments(fours, inner))
        shift, scale = ((means - mean) / std).detach(), (stds / std).detach()
        x_hat = ((x - mean) / std).reshape(fours.shape)
        y = ((x_hat - shift) / scale).reshape(x.shape)
        weight, bias = (p.view(-1, *[1] * (x.ndim - 2)) for p in self.parameters())
        return weight * y + bias


#: How many groups layers of so many channels have, counted by hand.
GROUPS = {24: 8, 16: 8, 12: 6, 10: 5, 8: 4, 7: 1, 6: 3, 4: 2, 3: 1}
BY_EXAMPLE = {
    "layer": lambda shape, eps: nn.GroupNorm(1, shape[0], eps),
    "group": lambda shape, eps: nn.GroupNorm(GROUPS[shape[0]], shape[0], eps),
    ("group", 2): lambda shape, eps: nn.GroupNorm(2, shape[0], eps),
    "rms": RMS,
    "dropout": lambda shape, eps: nn.Identity(),  # with probability 0
    "shake": lambda shape, eps: nn.Identity(),  # of strength 0
}
#: Of four examples: a pair is often nearly equal, and then its noise is all there is.
GHOST_NOISE = "ghost-noise", 4
BY_BATCH = "batch", "per-activation", "ghost", GHOST_NOISE, "batch-dropout", "noisy"
NORM_MODULES = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, RMS)


def plain(network: Network, theta: np.ndarray) -> nn.Sequential:
    """The same network from torch.nn modules, with the parameters ``theta`` (P,)."""
    modules, shape, flat = [], network.shape, len(network.shape) == 1
    for index, layer in enumerate((*network.hidden, network.classes)):
        last = index == len(network.hidden)
        if isinstance(layer, Pool):
            modules.append(nn.AvgPool2d(layer.size))
            shape = (shape[0], shape[1] // layer.size, shape[2] // layer.size)
            continue
        normed = network.norm is not None and not last
        cancels = network.norm in BY_BATCH
        bias = not (normed and network.order == "before" and cancels)
        if isinstance(layer, Conv):
            sizes = shape[0], layer.channels, layer.kernel
            pads = {"padding": layer.kernel // 2, "padding_mode": layer.padding}
            modules.append(nn.Conv2d(*sizes, **pads, bias=bias))
            shape = (layer.channels, *shape[1:])
            norm = nn.BatchNorm2d(shape[0], eps=network.eps)
        else:
            if not flat:
                modules.append(nn.Flatten())
                shape, flat = (int(np.prod(shape)),), True
            modules.append(nn.Linear(shape[0], layer, bias=bias))
            shape = (layer,)
            norm = nn.BatchNorm1d(layer, eps=network.eps)
        if last:
            break
        if normed and network.norm in BY_EXAMPLE:
            norm = BY_EXAMPLE[network.norm](shape, network.eps)
        elif normed and network.norm == GHOST_NOISE:
            norm = NoiseOfGhosts(shape, network.eps)
        elif normed and network.norm == "per-activation":
            features = int(np.prod(shape))
            norm = nn.Sequential(
                nn.Flatten(), nn.BatchNorm1d(features), nn.Unflatten(1, shape)
            )
        block = [MODULES[network.nonlinearity]()]
        if normed:
            block.insert(0 if network.order == "before" else 1, norm)
        modules.extend(block)
    net = nn.Sequential(*modules).double()
    values = [value for layer in unpack(network, theta[None]) for value in layer]
    with torch.no_grad():
        for parameter, value in zip(in_order(net), values, strict=True):
            assert (parameter is None) == (value is None)
            if value is not None:
                parameter.copy_(torch.as_tensor(value[0].copy()))
    return net


def in_order(net: nn.Sequential) -> list:
    """Weight, bias, γ and β of each layer, in the order of θ; None for what is not."""
    weighted = [m for m in net.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    norms = [m for m in net.modules() if isinstance(m, NORM_MODULES)]
    both = chain.from_iterable(zip_longest(weighted, norms))
    return [getattr(m, name, None) for m in both for name in ("weight", "bias")]


def parameters(net: nn.Sequential, what=lambda p: p) -> np.ndarray:
    """The parameters of a plain network, or ``what`` of them, in the order of θ."""
    kept = [what(p) for p in in_order(net) if p is not None]
    return np.concatenate([p.detach().numpy().ravel() for p in kept])


def batch_norms(net: nn.Sequential) -> list:
    return [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


def running(net: nn.Sequential) -> np.ndarray:
    """Its running statistics, (2, D)."""
    norms = batch_norms(net)
    pairs = [torch.stack([n.running_mean, n.running_var]).numpy() for n in norms]
    return np.concatenate([np.zeros((2, 0)), *pairs], axis=1)


def in_evaluation(network: Network, theta: np.ndarray, statistics) -> nn.Sequential:
    """The plain network that normalizes with statistics (2, D)."""
    net = plain(network, theta)
    known = unpack_statistics(network, statistics[None])
    for norm, moments in zip(batch_norms(net), known, strict=True):
        norm.running_mean, norm.running_var = (torch.tensor(v[0]) for v in moments)
    return net.eval()
