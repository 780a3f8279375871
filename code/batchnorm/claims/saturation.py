"""Claims of the chapter on saturation: what reaches the first layer, and why."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
from scipy.special import ndtr

from batchnorm import datasets
from batchnorm.claims.mean_field import gradient_factor, input_spread, normalized_growth
from batchnorm.claims.networks import PERFECT, SHARED, Arm, one_batch
from batchnorm.claims.registry import experiment, identity, prediction
from batchnorm.claims.types import above, below
from batchnorm.ensemble import (
    Network,
    forward,
    gradient,
    init_parameters,
    train,
    unpack,
)

DEEP = {"depth": 10, "width": 100, "batch": 64}
TESTS = "tests/unit/test_identities_saturation.py"

# ---------------------------------------------------------------------------
# Layers of sigmoids: predictions from the scale of their weights alone


@prediction(
    "factor of the gradient per layer, geometric mean over eight layers",
    over="scale",
    tolerance=0.05,  # a factor of 1.5 over eight layers
    source="schoenholz2017deep, section 4; glorot2010understanding, section 4.2.1",
    setting={**DEEP, "scale": (0.1, 0.3, 1.0, 3.0)},
)
def sigmoid_gradients_vanish(seeds, *, scale, **net):
    """At initialization, with scales from 0.1 to 3, a sigmoid layer multiplies the
    gradient by s · rms σ′, in the geometric mean over the layers: by 0.24 at the usual
    scale 1."""

    def measured(s):
        norms, _ = weight_gradients(seeds, "sigmoid", s, norm=None, **net)
        # The first layer is left out: its inputs are pixels.
        return (norms[:, 1] / norms[:, -1]) ** (1 / (net["depth"] - 2))

    return [gradient_factor(s) for s in scale], np.transpose([*map(measured, scale)])


@prediction(
    "share of sigmoid inputs beyond ±4",
    over="scale",
    tolerance=0.1,
    source="schoenholz2017deep, section 3; glorot2010understanding, section 3",
    setting={**DEEP, "scale": (5.0, 7.0, 10.0, 14.0), "limit": 4.0},
)
def saturation_at_large_scale(seeds, *, scale, limit, **net):
    """At initialization, the share of saturated units follows from the initial scale:
    a fifth of the inputs of deep sigmoid layers lies beyond ±4 at scale 5, and more
    than half at scale 10."""

    def measured(s):
        _, inputs = weight_gradients(seeds, "sigmoid", s, norm=None, **net)
        return share_beyond(inputs[1:], limit)

    theory = [2 * ndtr(-limit / input_spread(s)) for s in scale]
    return theory, np.transpose([*map(measured, scale)])


# ---------------------------------------------------------------------------
# Saturated or vanished: one without the other (the paper, section 1)


@experiment(
    "less than a thousandth of the gradient arrives, less than a hundredth of the "
    "inputs lies beyond ±4",
    above(0.5),  # in most networks
    estimator="share",
    claimed="the saturation problem and the resulting vanishing gradients are usually "
    "addressed by using Rectified Linear Units",
    claimed_by="ioffe2015batch, section 1",
    source="glorot2010understanding, section 4.2.1; ioffe2015batch, section 1",
    setting={**DEEP, "scale": 1.0},
    negative={"scale": 10.0},
    positive={"scale": 0.3},
)
def vanishing_without_saturation(seeds, *, scale, **net):
    """They vanish without saturation: ten sigmoid layers at the usual initial scale
    pass on less than a thousandth of the gradient, and hardly a unit is saturated."""
    norms, inputs = weight_gradients(seeds, "sigmoid", scale, norm=None, **net)
    vanished = norms[:, 0] / norms[:, -1] < 1e-3
    return vanished & (share_beyond(inputs, 4) < 0.01)


@experiment(
    "gradient arriving, ten times the usual scale over the usual one, powers of ten",
    above(1),
    question="Is the network with the saturated units the one whose gradient vanishes?",
    source="ioffe2015batch, section 1",
    setting={**DEEP, "scales": (1.0, 10.0)},
    negative={"scales": (1.0, 1.0)},
    positive={"scales": (0.1, 10.0)},
)
def saturated_gradient_arrives(seeds, *, scales, **net):
    """No: of two untrained networks of ten sigmoid layers, the one at ten times the
    usual scale, with half of its units saturated, passes on more of the gradient."""
    usual, large = (
        weight_gradients(seeds, "sigmoid", scale, norm=None, **net)[0]
        for scale in scales
    )
    arriving = [norms[:, 0] / norms[:, -1] for norms in (usual, large)]
    return np.log10(arriving[1] / arriving[0])


# ---------------------------------------------------------------------------
# Even gradients (the paper, sections 1 and 3.3)

identity(
    "normalized-gradient-spans-scales",
    "For ε = 0, weights of all normalized layers that are a > 0 times as large leave "
    "the loss as it is and have gradients 1/a times as large: the same relative change "
    "has the same effect at every scale.",
    source="ioffe2015batch, section 3.3",
    test=f"{TESTS}::test_gradients_go_as_one_over_the_scale",
)

# Nonlinearity, initial scale and norm of networks that a claim is on.
TANH, RELU = ("tanh", 1.0, None), ("relu", 2**0.5, None)
SIGMOIDS = tuple(("sigmoid", scale, "batch") for scale in (0.1, 1.0, 10.0))
LINEAR = ("linear", 1.0, None)  # keeps a gradient as it is, on average

EVEN = 10**0.5  # the step in which rates are tuned: less makes no difference


@experiment(
    "larger over smaller gradient of layers 1 and 10, at the most uneven scale",
    below(EVEN),
    scale="log",
    source="ioffe2015batch, section 3.3",
    setting={**DEEP, "networks": SIGMOIDS},
    negative={"networks": (("sigmoid", 1.0, None),)},
    positive={"networks": (LINEAR,)},
)
def normalized_sigmoid_gradients_even(seeds, *, networks, **net):
    """With batch normalization, the gradients of the first and the last of ten sigmoid
    layers differ by less than √10, for initial scales from 0.1 to 10."""
    ratios = []
    for nonlinearity, scale, norm in networks:
        norms, _ = weight_gradients(seeds, nonlinearity, scale, norm=norm, **net)
        ratios.append(norms[:, 0] / norms[:, -1])
    return most_uneven(ratios)


@experiment(
    "larger over smaller δ of one example in layers 1 and 10, in the more uneven of "
    "tanh and ReLU",
    below(EVEN),
    id="gradients-survive-without-normalization",
    question="Do the gradients of a deep network vanish without batch normalization?",
    scale="log",
    source="glorot2010understanding, section 4.2.1; he2015delving, section 2.2",
    setting={"depth": 10, "width": 100, "networks": (TANH, RELU)},
    negative={"networks": (TANH, ("relu", 2.0, None))},
    positive={"networks": (LINEAR, LINEAR)},
)
def gradients_survive(seeds, *, networks, depth, width):
    """Not with the initialization made for the nonlinearity: in ten tanh layers at
    Xavier's scale, and in ten ReLU layers at He's, the gradients at the first and the
    last differ by less than √10, the step in which learning rates are tuned."""
    # One example a network, twice: the mean over both is the gradient of one.
    x, labels = (np.repeat(one, 2, axis=1) for one in one_batch(seeds, 1))
    ratios = []
    for nonlinearity, scale, norm in networks:
        network = Network((64,), (width,) * depth, nonlinearity=nonlinearity, norm=norm)
        theta = init_parameters(network, seeds, scale)
        # Of one example, the gradient of a layer's bias is δ. That of its weights is δ
        # times the layer's input, which a wrong scale shrinks where it lets δ grow.
        layers = unpack(network, gradient(network, theta, x, labels)[1])
        first, last = (np.linalg.norm(layers[at].bias, axis=1) for at in (0, -2))
        ratios.append(first / last)
    return most_uneven(ratios)


def most_uneven(ratios):
    """Of several positive ratios a seed the furthest from 1, turned to exceed 1."""
    return np.exp(np.abs(np.log(ratios)).max(axis=0))


def weight_gradients(seeds, nonlinearity, scale, *, norm, depth, width, batch):
    """Norms of ∂ℓ/∂W of the hidden layers (S, depth), and these layers' inputs to g."""
    network = Network((64,), (width,) * depth, nonlinearity=nonlinearity, norm=norm)
    theta = init_parameters(network, seeds, scale)
    x, labels = one_batch(seeds, batch)
    _, g = gradient(network, theta, x, labels)
    inputs = [layer.preactivation for layer in forward(network, theta, x)[:-1]]
    return weight_norms(network, g), inputs


def weight_norms(network, theta):
    """Norm of each hidden layer's weights, or of their gradient -> (S, L)."""
    weights = [layer.weight for layer in unpack(network, theta)[:-1]]
    return np.stack([np.linalg.norm(w, axis=(1, 2)) for w in weights], axis=1)


def share_beyond(inputs, limit):
    """Share of the inputs of all layers with an absolute value above the limit."""
    return np.mean([np.abs(z) > limit for z in inputs], axis=(0, 2, 3))


# ---------------------------------------------------------------------------
# Saturating nonlinearities in training

TEN = {"depth": 10, "width": 32, "steps": 100}
TWIN = Arm(None, 0.3, 1.0)  # sigmoids that start as the function of tanh layers


@experiment(
    "test accuracy after 100 steps (the lower of tanh and sigmoid)",
    above(0.2),  # twice what chance reads
    estimator="mean",
    shared=SHARED,
    question="Can sigmoid and tanh be used in deep networks without normalization?",
    source="glorot2010understanding, section 4.2.1",
    setting={**TEN, "tanh": Arm(None, 0.1, 1.0), "sigmoid": TWIN},
    negative={"tanh": Arm(None, 0.1, 0.1)},
    positive={"depth": 1},
)
def saturating_nonlinearities_train(seeds, *, tanh, sigmoid, **net):
    """They can, and learn slowly: ten tanh layers at Xavier's scale, and ten sigmoid
    layers that start as the same function, read more than twice as many digits as
    chance after 100 steps of plain gradient descent."""
    return np.minimum(
        accuracy(seeds, "tanh", tanh, **net), accuracy(seeds, "sigmoid", sigmoid, **net)
    )


@experiment(
    "test accuracy after 100 steps, with minus without",
    above(0.05),
    estimator="mean",
    shared=SHARED,
    source="ioffe2015batch, section 4.2",
    setting={**TEN, "without": TWIN, "normalized": Arm("batch", 0.3, 1.0)},
    negative={"normalized": TWIN._replace(draw=1)},
    positive={"without": TWIN._replace(rate=0.03)},
    oracle={"without": PERFECT},
)
def deep_sigmoids_are_slow(seeds, *, without, normalized, **net):
    """At the same learning rate, ten sigmoid layers that start as a tanh network at
    Xavier's scale read fewer digits after 100 steps than with batch normalization."""
    return accuracy(seeds, "sigmoid", normalized, **net) - accuracy(
        seeds, "sigmoid", without, **net
    )


def accuracy(seeds, nonlinearity, arm, *, depth, width, steps):
    """Test accuracy of deep networks after some steps of gradient descent -> (S,).

    Sigmoids without a norm start as the function of tanh layers.
    """
    if arm == PERFECT:
        return np.ones(len(seeds))
    return _accuracy(tuple(seeds), nonlinearity, arm, depth, width, steps)


@lru_cache(maxsize=8)
def _accuracy(seeds, nonlinearity, arm, depth, width, steps):
    plain = nonlinearity == "sigmoid" and arm.norm is None
    start = "tanh" if plain else nonlinearity
    network = Network((64,), (width,) * depth, nonlinearity=start, norm=arm.norm)
    theta = init_parameters(network, arm.draws(seeds), arm.scale)
    if plain:
        network, theta = as_sigmoid(network, theta)
    options = {"theta": theta, "lr": arm.rate, "steps": steps}
    return train(network, datasets.digits, seeds, **options).accuracy[:, -1]


def as_sigmoid(network, theta):
    """The sigmoid networks that compute what the given tanh networks do.

    ``tanh(z) = 2 σ(2z) − 1``: the 2 inside doubles a hidden layer's weights and bias,
    the 2 outside doubles the next layer's weights, and the −1 goes into its bias.

    A `Network` of tanh layers without normalization, and parameters (K, P), which are
    not written to -> `Network`, (K, P). Raises ValueError if it is another network.
    """
    if network.nonlinearity != "tanh" or network.norm is not None:
        raise ValueError(
            "network must have nonlinearity 'tanh' and norm None, "
            f"got {network.nonlinearity!r} and {network.norm!r}"
        )
    theta = theta.copy()
    first, *_, last = layers = unpack(network, theta)
    for layer in layers:
        if layer is not first:
            layer.bias[...] -= layer.weight.sum(axis=-1)
            layer.weight[...] *= 2
        if layer is not last:
            layer.bias[...] *= 2
            layer.weight[...] *= 2
    return replace(network, nonlinearity="sigmoid"), theta


# ---------------------------------------------------------------------------
# Singular values of the layers' Jacobians (the paper, section 3.3)

identity(
    "jacobian-scale",
    "For ε = 0, the Jacobian of a normalized layer, its statistics held fixed, does "
    "not depend on a positive scale of its weights.",
    source="ioffe2015batch, section 3.3",
    test=f"{TESTS}::test_jacobians_do_not_depend_on_the_scale",
)

JACOBIAN = {"depth": 10, "width": 64, "batch": 64}
NORMALIZED = Arm("batch", 0.0, 1.0)


def plain_tanh(*scales, draw=0):
    """Arms without normalization, of which nothing is trained."""
    return tuple(Arm(None, 0.0, scale, draw=draw) for scale in scales)


@experiment(
    "share of singular values in [1/2, 2], with minus without",
    below(-0.05),  # three of 64 directions
    id="jacobian-spectrum",
    statement="Not at initialization, against tanh layers at Xavier's scale: batch "
    "normalization leaves fewer singular values between 1/2 and 2.",
    claimed="Batch Normalization may lead the layer Jacobians to have singular values "
    "close to 1",
    claimed_by="ioffe2015batch, section 3.3",
    source="ioffe2015batch, section 3.3; yang2019mean, section 3",
    setting={**JACOBIAN, "without": plain_tanh(1.0), "normalized": NORMALIZED},
    negative={"normalized": plain_tanh(1.0, draw=1)[0]},
    positive={"normalized": plain_tanh(0.1)[0]},
    oracle={"normalized": PERFECT},
)
@experiment(
    "share of singular values in [1/2, 2], with minus the better of scales 0.3 and 3",
    above(0.05),
    id="jacobian-spectrum-off-scale",
    statement="At initialization, against tanh layers at three tenths of Xavier's "
    "scale or three times it, batch normalization leaves more singular values between "
    "1/2 and 2.",
    source="ioffe2015batch, section 3.3",
    setting={**JACOBIAN, "without": plain_tanh(0.3, 3.0), "normalized": NORMALIZED},
    negative={"normalized": plain_tanh(0.3, draw=1)[0]},
    positive={"normalized": plain_tanh(1.0)[0]},
    oracle={"without": (PERFECT,)},
)
def more_near_one(seeds, *, without, normalized, **net):
    """Share of singular values near 1, minus the larger one of the arms without."""
    best = np.max([near_one(seeds, arm, **net) for arm in without], axis=0)
    return near_one(seeds, normalized, **net) - best


def near_one(seeds, arm, **net):
    """Share of the singular values of all layers between 1/2 and 2 -> (S,)."""
    if arm == PERFECT:
        return np.ones(len(seeds))
    s = singular_values(seeds, arm, **net)
    return ((s >= 0.5) & (s <= 2)).mean(axis=(1, 2))


def singular_values(seeds, arm, *, depth, width, batch):
    """Singular values of tanh layers at the first example -> (S, depth, width).

    A layer maps u to g((W u − μ) / σ), with μ and σ of the batch held fixed: its
    Jacobian at one example is diag(g′) diag(1/σ) W. The first layer is left out: it
    maps 64 pixels, some of them constant.
    """
    hidden = (width,) * (depth + 1)
    network = Network((64,), hidden, nonlinearity="tanh", norm=arm.norm)
    theta = init_parameters(network, arm.draws(seeds), arm.scale)
    trace = forward(network, theta, one_batch(seeds, batch)[0])
    spectra = []
    for layer, act in list(zip(unpack(network, theta), trace, strict=True))[1:-1]:
        rows = 1 - act.output[:, 0] ** 2
        if arm.norm:
            rows = rows / np.sqrt(act.var + network.eps)
        spectra.append(np.linalg.svd(rows[..., None] * layer.weight, compute_uv=False))
    return np.stack(spectra, axis=1)


# ---------------------------------------------------------------------------
# Growth of gradients through many normalized layers


@prediction(
    "growth of the gradient per layer, geometric mean over 18 layers",
    over="m",
    tolerance=0.05,  # a factor of 2.4 over eighteen layers
    question="Does batch normalization keep gradients from exploding?",
    source="yang2019mean, theorem 3.10",
    setting={"m": (6, 8, 16, 64, 256), "depth": 20, "width": 128},
)
def normalized_relu_gradients_grow(seeds, *, m, depth, width):
    """Not at initialization, in ReLU networks without skip connections: on its way
    back the gradient grows per layer, in the geometric mean, by 1.42 at a batch of 6,
    by less the larger the batch is, and by √(π/(π − 1)) = 1.21 at a large one."""
    network = Network((width,), (width,) * depth, norm="batch")

    def growth(seed):
        theta = init_parameters(network, [seed])
        rng = np.random.default_rng(seed)
        x, labels = rng.normal(size=(max(m), width)), rng.integers(10, size=max(m))
        for size in m:
            _, g = gradient(network, theta, x[:size], labels[:size])
            # The first layer is left out: its inputs are not those of a ReLU layer.
            _, second, *_, last = weight_norms(network, g)[0]
            yield (second / last) ** (1 / (depth - 2))

    return [normalized_growth(size) for size in m], [[*growth(s)] for s in seeds]
