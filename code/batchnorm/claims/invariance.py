"""Claims about what batch normalization leaves invariant: the scale of the weights."""

import numpy as np

from batchnorm.claims.networks import Mlp, mini_batches
from batchnorm.claims.registry import experiment, identity, prediction
from batchnorm.claims.types import above
from batchnorm.ensemble import gradient, init_parameters, unpack

TESTS = "tests/unit/test_identities_invariance.py::"
VAN_LAARHOVEN = "vanlaarhoven2017l2, abstract; arora2019theoretical, lemma 2.4"

identity(
    "scale-invariance",
    "Multiplying the weights of a unit before its normalization by a > 0 leaves the "
    "loss as it is and divides their gradient by a (ε = 0).",
    source="ioffe2015batch, section 3.3",
    test=TESTS + "test_the_scale_of_weights_divides_their_gradient",
)
identity(
    "gradient-orthogonal-to-weights",
    "The gradient of a unit's weights before a normalization is orthogonal to them, in "
    "each unit of each layer (ε = 0).",
    source=VAN_LAARHOVEN,
    test=TESTS + "test_a_gradient_is_orthogonal_to_its_weights",
)
identity(
    "epsilon-breaks-orthogonality",
    "With ε > 0 the product of a unit's weights and their gradient is γ dγ times "
    "ε/(σ² + ε): the right angle is lost where the variance is not much larger than ε.",
    source="arora2019theoretical, lemma 2.4",
    test=TESTS + "test_epsilon_lets_its_share_through",
)
identity(
    "weights-grow-by-pythagoras",
    "At a step of plain gradient descent the squared norm of a unit's weights grows by "
    "the square of the learning rate times that of their gradient (ε = 0).",
    source=VAN_LAARHOVEN,
    test=TESTS + "test_a_step_adds_the_square_of_its_length",
)
identity(
    "weights-grow-under-sgd",
    "So plain gradient descent shortens the weights of no unit of a normalized layer "
    "(ε = 0).",
    source=VAN_LAARHOVEN,
    test=TESTS + "test_no_step_shortens_weights",
)
identity(
    "scale-is-a-learning-rate",
    "Weights a times as large, with a² times their learning rate, give the same losses "
    "at every step (ε = 0).",
    source="vanlaarhoven2017l2, abstract; hoffer2018norm, abstract",
    test=TESTS + "test_a_scale_is_a_learning_rate",
)


@experiment(
    "share of the steps of units that shortened their weights",
    above(0.1),
    question="Does plain gradient descent never shorten weights with the usual ε?",
    source="arora2019theoretical, lemma 2.4",
    setting={
        "net": Mlp("relu", 2, 64),
        "batch": 60,
        "steps": 50,
        "rate": 1e-4,
        "eps": 1e-5,
    },
    negative={"eps": 0.0},
    positive={"eps": 1e-2},
)
def epsilon_shortens_weights(seeds, *, net, batch, steps, rate, eps):
    """With ε = 1e-5 it does where the rate is small, since growth is of second order in
    the rate and the part of the gradient along the weights of first: at a rate of 1e-4,
    more than one in ten of all steps of units shorten their weights."""
    network = net.network("batch", eps=eps)
    theta, shortened = init_parameters(network, seeds, 2**0.5), []
    for x, labels in mini_batches(seeds, batch, steps):
        before = _norms(network, theta)
        theta = theta - rate * gradient(network, theta, x, labels)[1]
        # A unit that hardly moves may lose its last bit.
        shortened.append(_norms(network, theta) < (1 - 1e-14) * before)
    return np.mean(shortened, axis=(0, 2))


def _norms(network, theta):
    """Norm of the weights of each hidden unit -> (S, units)."""
    hidden = unpack(network, theta)[:-1]
    return np.concatenate([np.linalg.norm(h.weight, axis=2) for h in hidden], axis=1)


# ---------------------------------------------------------------------------
# The balance of weight decay and growth

NEURON = {"rate": 0.1, "steps": 6000, "late": 1000, "inputs": 10, "batch": 16}


@prediction(
    "angle of a step, in radians",
    over="momentum",
    tolerance=0.05,
    id="momentum-narrows-the-angle",
    statement="In the balance of weight decay, a step with momentum α turns the "
    "weights of a normalized neuron by √(2ηλ / (1 + α)).",
    source="wan2021spherical, abstract",
    setting={**NEURON, "decay": (0.02,), "momentum": (0.0, 0.5, 0.9)},
)
@prediction(
    "angle of a step, in radians",
    over="decay",
    tolerance=0.05,
    source="wan2021spherical, abstract",
    setting={**NEURON, "decay": (0.01, 0.02, 0.04, 0.08), "momentum": (0.0,)},
)
def decay_sets_the_angle(seeds, *, rate, steps, late, inputs, batch, decay, momentum):
    """In the balance of weight decay λ and growth, a step of rate η turns the weights
    of a normalized neuron by √(2ηλ), whatever the size of its gradient."""
    decay, momentum = np.broadcast_arrays(decay, momentum)
    generators = [np.random.default_rng(seed) for seed in seeds]
    teacher, w = np.stack([g.normal(size=(2, 1, inputs)) for g in generators], axis=1)
    w = np.repeat(w, len(decay), axis=1)  # (S, P, inputs)
    velocity, squares = np.zeros_like(w), []
    for _ in range(steps):
        draws = np.stack([g.normal(size=(batch, inputs + 1)) for g in generators])
        u, noise = draws[:, :, :-1], 2 * draws[:, :, -1:]
        targets = np.sign(u @ teacher.swapaxes(1, 2) + noise)
        velocity = momentum[:, None] * velocity + _pull(w, u, targets)
        velocity = velocity + decay[:, None] * w
        after = w - rate * velocity
        squares.append(_angle(w, after) ** 2)
        w = after
    measured = np.sqrt(np.mean(squares[-late:], axis=0))
    return np.sqrt(2 * rate * decay / (1 + momentum)), measured


def _pull(w, u, targets):
    """Gradient of half the mean squared error of normalized neurons -> (S, P, inputs).

    The closed form, with γ = 1, β = 0 and ε = 0.
    """
    x = u @ w.swapaxes(1, 2)  # (S, batch, P)
    std = x.std(axis=1, keepdims=True)
    x_hat = (x - x.mean(axis=1, keepdims=True)) / std
    dy = (x_hat - targets) / x.shape[1]
    along = np.mean(dy * x_hat, axis=1, keepdims=True)
    dx = (dy - dy.mean(axis=1, keepdims=True) - x_hat * along) / std
    return dx.swapaxes(1, 2) @ u


def _angle(a, b):
    """Angle between vectors, along the last axis."""
    cosine = np.sum(a * b, -1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    return np.arccos(np.minimum(cosine, 1))
