"""Claims about what batch normalization leaves invariant: the scale of the weights."""

from typing import NamedTuple

import numpy as np

from batchnorm.claims import _digits
from batchnorm.claims.registry import above, below, claim, exactly
from batchnorm.ensemble import Network, gradient, init_parameters, unpack

NET = {"depth": 2, "width": 64, "batch": 60}


@claim(
    id="scale-invariance",
    statement=(
        "Multiplying the weights before a normalization by a > 0 leaves the loss as "
        "it is and divides their gradient by a, to rounding error (ε = 0)."
    ),
    claimed=(
        "Moreover, larger weights lead to smaller gradients, and Batch Normalization "
        "will stabilize the parameter growth."
    ),
    claimed_by="ioffe2015batch, section 3.3",
    source="ioffe2015batch, section 3.3",
    setting={**NET, "factors": (0.1, 10.0, 1000.0)},
    effect="largest relative deviation of loss and a · gradient",
    condition=below(1e-10),
    scale="log",
    floor=1e-12,
)
def scale_invariance(seeds, *, factors, **net):
    first = _at_initialization(seeds, 1.0, eps=0.0, **net)
    deviations = []
    for a in factors:
        scaled = _at_initialization(seeds, a, eps=0.0, **net)
        deviations.append(np.abs(scaled.loss / first.loss - 1))
        for g_a, g in zip(scaled.gradients, first.gradients, strict=True):
            deviations.append((_norm(a * g_a - g) / _norm(g)).max(axis=1))
    return np.max(deviations, axis=0)


@claim(
    id="gradient-orthogonal-to-weights",
    statement=(
        "The gradient of a unit's weights before a normalization is orthogonal to "
        "them, in each unit of each layer, to rounding error (ε = 0)."
    ),
    source="vanlaarhoven2017l2, abstract; arora2019theoretical, lemma 2.4",
    setting={**NET, "weight_scale": 1.0, "eps": 0.0},
    effect="largest |cosine| of a unit's weights and gradient",
    condition=below(1e-10),
    scale="log",
    floor=1e-12,
)
def gradient_orthogonal(seeds, *, weight_scale, eps, **net):
    return _largest_cosine(_at_initialization(seeds, weight_scale, eps=eps, **net))


@claim(
    id="epsilon-breaks-orthogonality",
    statement=(
        "With ε = 1e-5 and weights a hundred times smaller than usual, the gradient "
        "of a unit and its weights are no longer orthogonal: ε has become a part of "
        "the variance."
    ),
    question="Does the usual ε leave the right angle between weights and gradient?",
    source="arora2019theoretical, lemma 2.4",
    setting={**NET, "weight_scale": 0.01, "eps": 1e-5},
    effect="largest |cosine| of a unit's weights and gradient",
    condition=above(0.05),
    scale="log",
)
def epsilon_breaks(seeds, *, weight_scale, eps, **net):
    return _largest_cosine(_at_initialization(seeds, weight_scale, eps=eps, **net))


@claim(
    id="weights-grow-under-sgd",
    statement=(
        "With ε = 0, a step of plain gradient descent shortens the weights of no unit "
        "of a normalized layer, at none of 300 steps."
    ),
    source="vanlaarhoven2017l2, abstract; arora2019theoretical, lemma 2.4",
    setting={**NET, "steps": 300, "rate": 1.0, "eps": 0.0},
    effect="number of times that a step shortened a unit's weights",
    condition=exactly(0),
)
def weights_grow(seeds, *, steps, rate, eps, **net):
    return np.sum(_shrinkage(seeds, steps, rate, eps, net) > 1e-14, axis=(1, 2))


@claim(
    id="epsilon-shortens-weights",
    question="Does plain gradient descent never shorten weights with the usual ε?",
    statement=(
        "With ε = 1e-5 it does where the rate is small: growth is of second order in "
        "the rate, the part of the gradient along the weights of first. At a rate of "
        "1e-4, about a fifth of all steps of units shorten their weights."
    ),
    source="arora2019theoretical, lemma 2.4",
    setting={**NET, "steps": 50, "rate": 1e-4, "eps": 1e-5},
    effect="share of the steps of units that shortened their weights",
    condition=above(0.1),
)
def epsilon_shortens(seeds, *, steps, rate, eps, **net):
    return np.mean(_shrinkage(seeds, steps, rate, eps, net) > 1e-14, axis=(1, 2))


def _shrinkage(seeds, steps, rate, eps, net):
    """Share of its norm that each unit loses at each step: (S, steps, units).

    Negative where the norm grows. A unit that hardly moves may lose its last bit.
    """
    lost = [
        [
            1 - _norm(after) / _norm(w)
            for w, after in zip(s.before, s.after, strict=True)
        ]
        for s in _train(seeds, steps=steps, rate=rate, eps=eps, **net)
    ]
    return np.stack([np.concatenate(step, axis=1) for step in lost], axis=1)


@claim(
    id="weights-grow-by-pythagoras",
    statement=(
        "At each step the squared norm of a unit's weights grows by the square of the "
        "learning rate times that of their gradient, to rounding error (ε = 0)."
    ),
    source="vanlaarhoven2017l2, abstract; arora2019theoretical, lemma 2.4",
    setting={**NET, "steps": 300, "rate": 1.0},
    effect="largest deviation in a unit, relative to the squared norm",
    condition=below(1e-10),
    scale="log",
    floor=1e-12,
)
def weights_grow_by_pythagoras(seeds, *, steps, rate, **net):
    worst = np.zeros(len(seeds))
    for step in _train(seeds, steps=steps, rate=rate, eps=0.0, **net):
        for w, g, after in zip(step.before, step.gradients, step.after, strict=True):
            expected = _norm(w) ** 2 + rate**2 * _norm(g) ** 2
            off = np.abs(_norm(after) ** 2 - expected) / _norm(w) ** 2
            worst = np.maximum(worst, off.max(axis=1))
    return worst


@claim(
    id="scale-is-a-learning-rate",
    statement=(
        "Ten times the initial weights and a hundred times their learning rate give "
        "the same losses for a hundred steps, to rounding error (ε = 0)."
    ),
    source="vanlaarhoven2017l2, abstract; hoffer2018norm, abstract",
    setting={**NET, "steps": 100, "rate": 0.1, "factor": 10.0},
    effect="largest relative difference of the losses",
    condition=below(1e-8),
    scale="log",
    floor=1e-10,
)
def scale_is_a_rate(seeds, *, steps, rate, factor, **net):
    def losses(a):
        run = _train(seeds, steps=steps, rate=rate, eps=0.0, factor=a, **net)
        return np.array([step.loss for step in run])

    return np.abs(losses(factor) / losses(1.0) - 1).max(axis=0)


class Step(NamedTuple):
    """One step of descent: losses (S,), and for each hidden layer (S, out, in)."""

    loss: np.ndarray
    before: list
    gradients: list
    after: list


def _train(seeds, *, depth, width, batch, steps, rate, eps, factor=1.0):
    """Plain SGD on the digits, ReLU, every hidden layer normalized -> `Step`s.

    The hidden weights are multiplied by `factor`, their rate by its square.
    """
    network = Network((64,), (width,) * depth, norm="batch", eps=eps)
    theta = init_parameters(network, seeds, 2**0.5)
    rates = np.full_like(theta, rate)
    for w, r in zip(
        *(_hidden_weights(network, t) for t in (theta, rates)), strict=True
    ):
        w *= factor
        r *= factor**2
    for x, labels in _digits.mini_batches(seeds, batch, steps):
        loss, g = gradient(network, theta, x, labels)
        after = theta - rates * g
        yield Step(loss, *(_hidden_weights(network, t) for t in (theta, g, after)))
        theta = after


def _at_initialization(seeds, factor, **net):
    """The first step that training would take."""
    return next(_train(seeds, steps=1, rate=0.0, factor=factor, **net))


def _hidden_weights(network, theta):
    """Weights of the hidden layers, views into theta, each (S, out, in)."""
    return [layer.weight for layer in unpack(network, theta)[:-1]]


def _largest_cosine(step):
    """Largest |cosine| of a unit's weights and gradient, for each seed."""
    cosines = [
        np.sum(w * g, axis=2) / (_norm(w) * _norm(g))
        for w, g in zip(step.before, step.gradients, strict=True)
    ]
    return np.max([np.abs(c).max(axis=1) for c in cosines], axis=0)


def _norm(w):
    """Euclidean norm of each unit's weights: (S, out, in) -> (S, out)."""
    return np.linalg.norm(w, axis=2)
