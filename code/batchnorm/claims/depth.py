"""Claims about signals and gradients in deep networks, most before any training."""

from dataclasses import replace

import numpy as np

from batchnorm import datasets
from batchnorm.claims import _digits
from batchnorm.claims.registry import above, below, between, claim
from batchnorm.ensemble import (
    Network,
    forward,
    gradient,
    init_parameters,
    train,
    unpack,
)

# ---------------------------------------------------------------------------
# Gradients of the first layers (the paper's motivation, sections 1 and 3.3)

DEEP = {"depth": 10, "width": 100, "batch": 256}


@claim(
    id="sigmoid-gradients-vanish",
    statement=(
        "At initialization, the first of ten sigmoid layers receives a gradient more "
        "than ten thousand times smaller than the last."
    ),
    source="glorot2010understanding, section 4.2.1; bengio1994learning, abstract",
    setting={**DEEP, "scale": 1.0},
    effect="gradient of layer 1 over that of layer 10",
    condition=below(1e-4),
    scale="log",
)
def sigmoid_vanishes(seeds, *, scale, **net):
    gradients, _ = _gradients(seeds, "sigmoid", scale, norm=None, **net)
    return gradients[:, 0] / gradients[:, -1]


@claim(
    id="vanishing-without-saturation",
    claimed=(
        "the saturation problem and the resulting vanishing gradients are usually "
        "addressed by using Rectified Linear Units"
    ),
    claimed_by="ioffe2015batch, section 1",
    statement=(
        "They vanish without saturation: where fewer than one input in a thousand lies "
        "beyond ±4, the gradient still shrinks by more than the factor 4 a layer that "
        "σ′ ≤ 1/4 costs, in the geometric mean over the layers."
    ),
    source="glorot2010understanding, section 4.2.1; ioffe2015batch, section 1",
    setting={**DEEP, "scale": 1.0, "saturated": 4.0},
    effect="factor of the gradient's norm per layer, geometric mean over nine layers",
    condition=below(0.25),
)
def vanishing_without_saturation(seeds, *, scale, saturated, **net):
    gradients, inputs = _gradients(seeds, "sigmoid", scale, norm=None, **net)
    factor = (gradients[:, 0] / gradients[:, -1]) ** (1 / (net["depth"] - 1))
    return np.where(_share_beyond(inputs, saturated) < 1e-3, factor, np.nan)


@claim(
    id="saturation-at-large-scale",
    statement=(
        "Saturation is what large weights cause: at ten times the usual scale, more "
        "than 40 % of all sigmoid inputs lie beyond ±4."
    ),
    source="glorot2010understanding, section 3",
    setting={**DEEP, "scale": 10.0, "saturated": 4.0},
    effect="share of sigmoid inputs beyond ±4",
    condition=above(0.4),
)
def saturation_at_large_scale(seeds, *, scale, saturated, **net):
    _, inputs = _gradients(seeds, "sigmoid", scale, norm=None, **net)
    return _share_beyond(inputs, saturated)


@claim(
    id="gradients-survive-without-normalization",
    question="Do the gradients of a deep network vanish without batch normalization?",
    statement=(
        "Not with the initialization made for the nonlinearity: ten tanh layers at "
        "Xavier's scale, and ten ReLU layers at He's, keep the first layer's gradient "
        "within a factor 4 of the last layer's."
    ),
    source="glorot2010understanding, section 4.2.1; he2015delving, section 2.2",
    setting={**DEEP, "scales": (("tanh", 1.0), ("relu", 2**0.5))},
    effect=(
        "gradient of layer 1 over that of layer 10 (of tanh and ReLU the one that is "
        "further from 1)"
    ),
    condition=between(0.25, 4),
)
def gradients_survive(seeds, *, scales, **net):
    def ratio(nonlinearity, scale):
        gradients, _ = _gradients(seeds, nonlinearity, scale, norm=None, **net)
        return gradients[:, 0] / gradients[:, -1]

    return _furthest([ratio(*s) for s in scales])


def _furthest(ratios):
    """Of several ratios a seed the one furthest from 1, upward or downward.

    ratios: (arms, S), positive. An interval around 1 then holds for every arm.
    """
    ratios = np.asarray(ratios)
    at = np.abs(np.log(ratios)).argmax(axis=0)
    return ratios[at, np.arange(ratios.shape[1])]


@claim(
    id="saturating-nonlinearities-train",
    question="Can sigmoid and tanh be used in deep networks without normalization?",
    statement=(
        "They are slow, not impossible: ten tanh layers at Xavier's scale, and ten "
        "sigmoid layers that start as the same function, read more than half of the "
        "digits after 600 steps of plain gradient descent."
    ),
    source="glorot2010understanding, section 4.2.1",
    setting={"depth": 10, "width": 32, "tanh": 0.1, "sigmoid": 0.3, "steps": 600},
    effect="test accuracy (the lower of tanh and sigmoid)",
    condition=above(0.5),
)
def saturating_nonlinearities_train(seeds, *, depth, width, tanh, sigmoid, steps):
    network = Network((64,), (width,) * depth, nonlinearity="tanh")
    theta = init_parameters(network, seeds)

    def accuracy(network, theta, rate):
        run = train(
            network,
            datasets.digits,
            seeds,
            theta=theta,
            lr=rate,
            steps=steps,
            every=None,
        )
        return run.accuracy[:, -1]

    return np.minimum(
        accuracy(network, theta, tanh), accuracy(*as_sigmoid(network, theta), sigmoid)
    )


def as_sigmoid(network, theta):
    """The sigmoid networks that compute what the given tanh networks do.

    ``tanh(z) = 2 σ(2z) − 1``: the 2 inside doubles a hidden layer's weights and bias,
    the 2 outside doubles the next layer's weights, and the −1 goes into its bias.

    network: of tanh layers without normalization; theta: (K, P), not written to.
    Returns the network and its parameters.
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


@claim(
    id="normalized-sigmoid-gradients-even",
    statement=(
        "With batch normalization, first and last of ten sigmoid layers receive "
        "gradients within a factor 2 of each other, for initial scales from 0.1 to 10."
    ),
    source="ioffe2015batch, section 3.3",
    setting={**DEEP, "scales": (0.1, 1.0, 10.0)},
    effect="gradient of layer 1 over that of layer 10 (the most uneven scale)",
    condition=between(0.5, 2),
)
def normalized_even(seeds, *, scales, **net):
    def ratio(scale):
        gradients, _ = _gradients(seeds, "sigmoid", scale, norm="batch", **net)
        return gradients[:, 0] / gradients[:, -1]

    return _furthest([ratio(scale) for scale in scales])


SCALES = {**DEEP, "scales": (0.1, 1.0, 3.0, 10.0)}


@claim(
    id="gradient-spans-scales",
    statement=(
        "Between initial scales 0.1 and 10, the effect of a relative change of the "
        "first of ten sigmoid layers on the loss varies by more than ten orders of "
        "magnitude."
    ),
    source="ioffe2015batch, section 3.3",
    setting=SCALES,
    effect="largest over smallest norm of scale · gradient of layer 1",
    condition=above(1e10),
    scale="log",
)
def gradient_span(seeds, *, scales, **net):
    return _span(seeds, scales, norm=None, **net)


@claim(
    id="normalized-gradient-spans-scales",
    statement=(
        "With batch normalization it is the same at all these scales, within 20 %: the "
        "gradient goes as one over the scale, exactly so if ε were 0."
    ),
    source="ioffe2015batch, section 3.3",
    setting=SCALES,
    effect="largest over smallest norm of scale · gradient of layer 1",
    condition=below(1.2),
)
def normalized_gradient_span(seeds, *, scales, **net):
    return _span(seeds, scales, norm="batch", **net)


def _span(seeds, scales, **net):
    """Largest over smallest norm, over the scales, of scale · ∂ℓ/∂W of layer 1."""

    def first(scale):
        gradients, _ = _gradients(seeds, "sigmoid", scale, output_scale=1.0, **net)
        return gradients[:, 0] * scale

    norms = np.array([first(scale) for scale in scales])
    return norms.max(axis=0) / norms.min(axis=0)


def _share_beyond(inputs, limit):
    """Share of the inputs of all layers with an absolute value above the limit."""
    return np.mean([np.abs(z) > limit for z in inputs], axis=(0, 2, 3))


def _gradients(
    seeds, nonlinearity, scale, *, norm, depth, width, batch, output_scale=None
):
    """Norms of ∂ℓ/∂W of the hidden layers (S, depth), and their inputs to g.

    The output layer has the hidden layers' scale unless it is given its own.
    """
    network = Network((64,), (width,) * depth, nonlinearity=nonlinearity, norm=norm)
    x, labels = _digits.one_batch(seeds, batch)
    theta = init_parameters(network, seeds, scale)
    if output_scale is not None:
        unpack(network, theta)[-1].weight[...] *= output_scale / scale
    _, g = gradient(network, theta, x, labels)
    inputs = [layer.preactivation for layer in forward(network, theta, x)[:-1]]
    return _weight_norms(network, g), inputs


def _weight_norms(network, g):
    """Norm of each hidden layer's weights in theta, or of their gradient -> (S, L)."""
    weights = [layer.weight for layer in unpack(network, g)[:-1]]
    return np.stack([np.linalg.norm(w, axis=(1, 2)) for w in weights], axis=1)


# ---------------------------------------------------------------------------
# Growth of gradients through many normalized layers


@claim(
    id="normalized-relu-gradients-grow",
    question="Does batch normalization keep gradients from exploding?",
    statement=(
        "Not at initialization, in ReLU networks without skip connections: with a "
        "batch of 256 the gradient grows by about 1.2 a layer on its way back, in the "
        "geometric mean, close to the √(π/(π − 1)) = 1.21 of theory for large batches."
    ),
    source="yang2019mean, theorem 3.10",
    setting={"depth": 30, "width": 256, "batch": 256},
    effect="growth of the gradient per layer, geometric mean over 28 layers",
    condition=between(1.18, 1.24),
)
def normalized_relu_grows(seeds, *, depth, width, batch):
    network = Network((width,), (width,) * depth, norm="batch")

    def growth(seed):
        rng = np.random.default_rng(seed)
        x, labels = rng.normal(size=(batch, width)), rng.integers(10, size=batch)
        _, g = gradient(network, init_parameters(network, [seed]), x, labels)
        # The first layer is left out: its inputs are not those of a ReLU layer.
        _, second, *_, last = _weight_norms(network, g)[0]
        return (second / last) ** (1 / (depth - 2))

    return [growth(seed) for seed in seeds]


# ---------------------------------------------------------------------------
# Singular values of the layers' Jacobians (the paper, section 3.3)

JACOBIAN = {"depth": 10, "width": 64, "batch": 256, "examples": 4}


@claim(
    id="jacobian-scale",
    statement=(
        "With batch normalization, the size of a layer's Jacobian does not depend on "
        "the initial scale of the weights, but for ε: from 0.1 to 10 it stays within "
        "one percent."
    ),
    source="ioffe2015batch, section 3.3",
    setting={**JACOBIAN, "nonlinearity": "tanh", "scales": (0.1, 1.0, 10.0)},
    effect="largest over smallest rms singular value, minus 1",
    condition=below(0.01),
    scale="log",
)
def jacobian_scale(seeds, *, nonlinearity, scales, **net):
    spectra = [
        _spectra(seeds, nonlinearity, scale, norm="batch", **net) for scale in scales
    ]
    rms = np.sqrt([(s**2).mean(axis=(1, 2, 3)) for s in spectra])
    return rms.max(axis=0) / rms.min(axis=0) - 1


@claim(
    id="jacobian-spectrum",
    claimed=(
        "Batch Normalization may lead the layer Jacobians to have singular values "
        "close to 1"
    ),
    claimed_by="ioffe2015batch, section 3.3",
    statement=(
        "Not at initialization, against tanh layers at Xavier's scale: batch "
        "normalization leaves fewer singular values between 1/2 and 2."
    ),
    source="ioffe2015batch, section 3.3; yang2019mean, section 3",
    setting={**JACOBIAN, "nonlinearity": "tanh", "scale": 1.0},
    effect="share of singular values in [1/2, 2], with minus without",
    condition=below(0),
)
def jacobian_spectrum(seeds, *, nonlinearity, scale, **net):
    def share(norm):
        s = _spectra(seeds, nonlinearity, scale, norm=norm, **net)
        return ((s >= 0.5) & (s <= 2)).mean(axis=(1, 2, 3))

    return share("batch") - share(None)


SLOPES = {"tanh": lambda h: 1 - h**2, "relu": lambda h: h > 0, "linear": np.ones_like}


def _spectra(seeds, nonlinearity, scale, *, norm, depth, width, batch, examples):
    """Singular values of each layer's Jacobian -> (S, depth, examples, width).

    A layer maps u to g((W u − μ) / σ), with μ and σ of the batch held fixed: its
    Jacobian at one example is diag(g′) diag(1/σ) W. The first layer is left out: it
    maps 64 pixels, some of them constant.
    """
    hidden = (width,) * (depth + 1)
    network = Network((64,), hidden, nonlinearity=nonlinearity, norm=norm)
    theta = init_parameters(network, seeds, scale)
    trace = forward(network, theta, _digits.one_batch(seeds, batch)[0])
    spectra = []
    for layer, act in list(zip(unpack(network, theta), trace, strict=True))[1:-1]:
        rows = SLOPES[nonlinearity](act.output[:, :examples])
        if norm:
            rows = rows / np.sqrt(act.var + network.eps)[:, None]
        jacobians = rows[..., None] * layer.weight[:, None]
        spectra.append(np.linalg.svd(jacobians, compute_uv=False))
    return np.stack(spectra, axis=1)
