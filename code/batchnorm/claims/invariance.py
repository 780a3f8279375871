"""Claims about what batch normalization leaves invariant: the scale of the weights."""

from typing import NamedTuple

import numpy as np
import torch

from batchnorm.claims import _nets
from batchnorm.claims.registry import above, below, claim, exactly

NET = {"depth": 2, "width": 64, "batch": 60}


@claim(
    id="scale-invariance",
    statement=(
        "Multiplying the weights before a normalization by a > 0 leaves the loss as "
        "it is and divides their gradient by a, to rounding error (ε = 0)."
    ),
    source="Ioffe and Szegedy 2015, section 3.3",
    setting={**NET, "factors": (0.1, 10.0, 1000.0)},
    effect="largest relative deviation of loss and a · gradient",
    condition=below(1e-10),
    scale="log",
    floor=1e-12,
)
def scale_invariance(seeds, *, factors, **net):
    loss, _, gradients = _at_initialization(seeds, 1.0, eps=0.0, **net)
    size = _nets.norms(gradients)
    worst = torch.zeros(len(seeds))
    for a in factors:
        scaled_loss, _, scaled = _at_initialization(seeds, a, eps=0.0, **net)
        off = [a * g_a - g for g_a, g in zip(scaled, gradients, strict=True)]
        worst = worst.maximum((scaled_loss / loss - 1).abs())
        worst = worst.maximum((_nets.norms(off) / size).amax(dim=1))
    return worst


@claim(
    id="gradient-orthogonal-to-weights",
    statement=(
        "The gradient of weights before a normalization is orthogonal to them, to "
        "rounding error (ε = 0)."
    ),
    source="van Laarhoven 2017; Arora, Li and Lyu 2019",
    setting={**NET, "weight_scale": 1.0, "eps": 0.0},
    effect="largest |cosine| of weights and gradient",
    condition=below(1e-10),
    scale="log",
    floor=1e-12,
)
def gradient_orthogonal(seeds, *, weight_scale, eps, **net):
    _, weights, gradients = _at_initialization(seeds, weight_scale, eps=eps, **net)
    return _cosines(weights, gradients).abs().amax(dim=1)


@claim(
    id="epsilon-breaks-orthogonality",
    statement=(
        "With ε = 1e-5 and weights a hundred times smaller than usual, gradient and "
        "weights are no longer orthogonal: ε has become a part of the variance."
    ),
    source="measured here",
    setting={**NET, "weight_scale": 0.01, "eps": 1e-5},
    effect="largest |cosine| of weights and gradient",
    condition=above(1e-3),
    scale="log",
)
def epsilon_breaks(seeds, *, weight_scale, eps, **net):
    _, weights, gradients = _at_initialization(seeds, weight_scale, eps=eps, **net)
    return _cosines(weights, gradients).abs().amax(dim=1)


@claim(
    id="weights-grow-under-sgd",
    statement=(
        "Under plain gradient descent the norm of normalized weights never shrinks, "
        "not in one layer at one of 300 steps (ε = 1e-5 as usual)."
    ),
    source="van Laarhoven 2017; Arora, Li and Lyu 2019",
    setting={**NET, "steps": 300, "rate": 1.0, "eps": 1e-5},
    effect="steps of 300 at which the norm of a layer shrinks",
    condition=exactly(0),
)
def weights_grow(seeds, *, steps, rate, eps, **net):
    shrunk = torch.zeros(len(seeds))
    for step in _train(seeds, steps=steps, rate=rate, eps=eps, **net):
        before, after = _nets.norms(step.before), _nets.norms(step.after)
        # A layer that hardly moves may lose the last bit of its norm.
        shrunk += (after < before * (1 - 1e-14)).any(dim=1)
    return shrunk


@claim(
    id="weights-grow-by-pythagoras",
    statement=(
        "At each step the squared norm of normalized weights grows by exactly the "
        "square of the learning rate times that of the gradient (ε = 0)."
    ),
    source="van Laarhoven 2017; Arora, Li and Lyu 2019",
    setting={**NET, "steps": 300, "rate": 1.0},
    effect="largest deviation, relative to the squared norm",
    condition=below(1e-10),
    scale="log",
    floor=1e-12,
)
def weights_grow_by_pythagoras(seeds, *, steps, rate, **net):
    worst = torch.zeros(len(seeds))
    for step in _train(seeds, steps=steps, rate=rate, eps=0.0, **net):
        before, after, g = map(_nets.norms, (step.before, step.after, step.gradients))
        off = (after**2 - before**2 - rate**2 * g**2) / before**2
        worst = worst.maximum(off.abs().amax(dim=1))
    return worst


@claim(
    id="scale-is-a-learning-rate",
    statement=(
        "Ten times the initial weights and a hundred times their learning rate give "
        "the same losses for a hundred steps, to rounding error (ε = 0)."
    ),
    source="van Laarhoven 2017; Hoffer et al. 2018",
    setting={**NET, "steps": 100, "rate": 0.1, "factor": 10.0},
    effect="largest relative difference of the losses",
    condition=below(1e-8),
    scale="log",
    floor=1e-10,
)
def scale_is_a_rate(seeds, *, steps, rate, factor, **net):
    def losses(a):
        run = _train(seeds, steps=steps, rate=rate, eps=0.0, factor=a, **net)
        return torch.stack([step.loss for step in run])

    return (losses(factor) / losses(1.0) - 1).abs().amax(dim=0)


class Step(NamedTuple):
    """One step of descent: losses (S,), and per hidden layer a tensor of all seeds."""

    loss: torch.Tensor
    before: list
    gradients: list
    after: list


def _train(seeds, *, depth, width, batch, steps, rate, eps, factor=1.0):
    """Plain SGD on the digits, ReLU, every hidden layer normalized -> `Step`s.

    The hidden weights are multiplied by `factor`, their rate by its square.
    """
    x, labels = _nets.digits_batch(seeds, 1200)
    order = np.stack(
        [
            np.random.default_rng([seed, 2]).integers(1200, size=(steps, batch))
            for seed in seeds
        ]
    )
    net = torch.arange(len(seeds))[:, None]
    layers = _initial(seeds, depth, width, factor)
    rates = [rate * factor**2] * depth + [rate]
    for t in range(steps):
        rows = order[:, t]
        loss, gradients = _backward(x[net, rows], labels[net, rows], layers, eps)
        after = [w - r * g for w, r, g in zip(layers, rates, gradients, strict=True)]
        yield Step(loss, layers[:-1], gradients[:-1], after[:-1])
        layers = after


def _at_initialization(seeds, factor, *, depth, width, batch, eps):
    """Loss, hidden weights and their gradients, before any step."""
    x, labels = _nets.digits_batch(seeds, batch)
    layers = _initial(seeds, depth, width, factor)
    loss, gradients = _backward(x, labels, layers, eps)
    return loss, layers[:-1], gradients[:-1]


def _initial(seeds, depth, width, factor):
    *hidden, output = _nets.weights(seeds, [64, *[width] * depth, 10], 2**0.5)
    return [*(factor * w for w in hidden), output]


def _backward(x, labels, layers, eps):
    """Loss of each seed (S,), and the gradients of all layers."""
    layers = [w.detach().requires_grad_() for w in layers]
    _, y = _nets.hidden(x, layers[:-1], "relu", normalized=True, eps=eps)
    loss = _nets.cross_entropy(y @ layers[-1], labels)
    return loss.detach(), torch.autograd.grad(loss.sum(), layers)


def _cosines(weights, gradients):
    """Cosine of each layer's weights and gradient -> (S, layers)."""
    dots = [(w * g).sum(dim=(1, 2)) for w, g in zip(weights, gradients, strict=True)]
    return torch.stack(dots, 1) / (_nets.norms(weights) * _nets.norms(gradients))
