"""Claims about signals and gradients in deep networks, before any training."""

import numpy as np
import torch

from batchnorm.claims import _nets
from batchnorm.claims.registry import above, below, between, claim

# ---------------------------------------------------------------------------
# Gradients of the first layers (the paper's motivation, sections 1 and 3.3)

DEEP = {"depth": 10, "width": 100, "batch": 256}


@claim(
    id="sigmoid-gradients-vanish",
    statement=(
        "At initialization, the first of ten sigmoid layers receives a gradient more "
        "than ten thousand times smaller than the last."
    ),
    source="Hochreiter 1991; Bengio, Simard and Frasconi 1994",
    setting={**DEEP, "scale": 1.0},
    effect="gradient of layer 1 over that of layer 10",
    condition=below(1e-4),
    scale="log",
)
def sigmoid_vanishes(seeds, *, scale, **net):
    gradients, _ = _gradients(seeds, "sigmoid", scale, normalized=False, **net)
    return gradients[:, 0] / gradients[:, -1]


@claim(
    id="vanishing-without-saturation",
    claimed="Gradients vanish in deep sigmoid networks because the units saturate.",
    statement=(
        "They vanish without it: where fewer than one input in a thousand lies beyond "
        "±4, each layer still shrinks the gradient by at least the factor 4 that "
        "σ′ ≤ 1/4 costs."
    ),
    source="Glorot and Bengio 2010; Ioffe and Szegedy 2015, section 2",
    setting={**DEEP, "scale": 1.0, "saturated": 4.0},
    effect="factor of the gradient's norm per layer",
    condition=below(0.25),
)
def vanishing_without_saturation(seeds, *, scale, saturated, **net):
    gradients, inputs = _gradients(seeds, "sigmoid", scale, normalized=False, **net)
    factor = (gradients[:, 0] / gradients[:, -1]) ** (1 / (net["depth"] - 1))
    return torch.where(_share_beyond(inputs, saturated) < 1e-3, factor, torch.nan)


@claim(
    id="saturation-at-large-scale",
    statement=(
        "Saturation is what large weights cause: at ten times the usual scale, more "
        "than 40 % of all sigmoid inputs lie beyond ±4."
    ),
    source="Glorot and Bengio 2010",
    setting={**DEEP, "scale": 10.0, "saturated": 4.0},
    effect="share of sigmoid inputs beyond ±4",
    condition=above(0.4),
)
def saturation_at_large_scale(seeds, *, scale, saturated, **net):
    _, inputs = _gradients(seeds, "sigmoid", scale, normalized=False, **net)
    return _share_beyond(inputs, saturated)


@claim(
    id="gradients-survive-without-normalization",
    claimed="Without batch normalization, the gradients of a deep network vanish.",
    statement=(
        "Not with the initialization made for the nonlinearity: ten tanh layers at "
        "Xavier's scale, and ten ReLU layers at He's, keep the first layer's gradient "
        "within a factor 4 of the last layer's."
    ),
    source="Glorot and Bengio 2010; He et al. 2015",
    setting={**DEEP, "scales": (("tanh", 1.0), ("relu", 2**0.5))},
    effect="gradient of layer 1 over that of layer 10 (the smaller of tanh and ReLU)",
    condition=above(0.25),
)
def gradients_survive(seeds, *, scales, **net):
    def ratio(nonlinearity, scale):
        gradients, _ = _gradients(seeds, nonlinearity, scale, normalized=False, **net)
        return gradients[:, 0] / gradients[:, -1]

    return torch.stack([ratio(*s) for s in scales]).amin(dim=0)


@claim(
    id="normalized-sigmoid-gradients-even",
    statement=(
        "With batch normalization, first and last of ten sigmoid layers receive "
        "gradients within a factor 2 of each other, for initial scales from 0.1 to 10."
    ),
    source="Ioffe and Szegedy 2015, section 3.3",
    setting={**DEEP, "scales": (0.1, 1.0, 10.0)},
    effect="gradient of layer 1 over that of layer 10 (the most uneven scale)",
    condition=between(0.5, 2),
)
def normalized_even(seeds, *, scales, **net):
    def ratio(scale):
        gradients, _ = _gradients(seeds, "sigmoid", scale, normalized=True, **net)
        return gradients[:, 0] / gradients[:, -1]

    ratios = torch.stack([ratio(scale) for scale in scales])
    most_uneven = ratios.log().abs().argmax(dim=0)
    return ratios.gather(0, most_uneven[None])[0]


SCALES = {**DEEP, "scales": (0.1, 1.0, 3.0, 10.0)}


@claim(
    id="gradient-spans-scales",
    statement=(
        "Between initial scales 0.1 and 10, the effect of a relative change of the "
        "first of ten sigmoid layers on the loss varies by more than ten orders of "
        "magnitude."
    ),
    source="Ioffe and Szegedy 2015, section 3.3",
    setting=SCALES,
    effect="largest over smallest norm of scale · gradient of layer 1",
    condition=above(1e10),
    scale="log",
)
def gradient_span(seeds, *, scales, **net):
    return _span(seeds, scales, normalized=False, **net)


@claim(
    id="normalized-gradient-spans-scales",
    statement=(
        "With batch normalization, it is the same at all these scales, within 20 %: "
        "the gradient is proportional to one over the scale."
    ),
    source="Ioffe and Szegedy 2015, section 3.3",
    setting=SCALES,
    effect="largest over smallest norm of scale · gradient of layer 1",
    condition=below(1.2),
)
def normalized_gradient_span(seeds, *, scales, **net):
    return _span(seeds, scales, normalized=True, **net)


def _span(seeds, scales, **net):
    """Largest over smallest norm, over the scales, of scale · ∂ℓ/∂W of layer 1."""

    def first(scale):
        gradients, _ = _gradients(seeds, "sigmoid", scale, output_scale=1.0, **net)
        return gradients[:, 0] * scale

    norms = torch.stack([first(scale) for scale in scales])
    return norms.amax(dim=0) / norms.amin(dim=0)


def _share_beyond(inputs, limit):
    """Share of the inputs of all layers with an absolute value above the limit."""
    return torch.stack([z.abs() > limit for z in inputs]).double().mean(dim=(0, 2, 3))


def _gradients(
    seeds, nonlinearity, scale, *, normalized, depth, width, batch, output_scale=None
):
    """Norms of ∂ℓ/∂W of the hidden layers (S, depth), and their inputs to g.

    The output layer has the hidden layers' scale unless it is given its own.
    """
    x, labels = _nets.digits_batch(seeds, batch)
    layers = _nets.weights(seeds, [64, *[width] * depth, 10], scale)
    if output_scale is not None:
        layers[-1] *= output_scale / scale
    for w in layers:
        w.requires_grad_()
    inputs, y = _nets.hidden(x, layers[:-1], nonlinearity, normalized=normalized)
    loss = _nets.cross_entropy(y @ layers[-1], labels).sum()
    gradients = torch.autograd.grad(loss, layers[:-1])
    return _nets.norms(gradients), [z.detach() for z in inputs]


# ---------------------------------------------------------------------------
# Growth of gradients through many normalized layers


@claim(
    id="normalized-relu-gradients-grow",
    claimed="Batch normalization prevents exploding gradients.",
    statement=(
        "At initialization it causes them in ReLU networks: backward through each "
        "normalized layer the gradient grows by √(π/(π − 1)) = 1.21, a factor 200 and "
        "more over thirty layers."
    ),
    source="Yang et al. 2019",
    setting={"depth": 30, "width": 256, "batch": 256},
    effect="growth of the gradient per layer",
    condition=between(1.18, 1.24),
)
def normalized_relu_grows(seeds, *, depth, width, batch):
    return [_growth(seed, depth, width, batch) for seed in seeds]


def _growth(seed, depth, width, batch):
    """Growth per layer of ∂ℓ/∂z, from the last of the layers back to the first.

    A loss linear in the last outputs, with random coefficients, sends a random
    gradient in.
    """
    rng = np.random.default_rng([seed, 1])
    x, coefficients = torch.tensor(rng.standard_normal((2, 1, batch, width)))
    layers = _nets.weights([seed], [width] * (depth + 1), 2**0.5)
    inputs, y = _nets.hidden(
        x.requires_grad_(), layers, "relu", normalized=True, eps=1e-12
    )
    first, last = torch.autograd.grad((y * coefficients).sum(), [inputs[0], inputs[-1]])
    return ((first.norm() / last.norm()) ** (1 / (depth - 1))).item()


# ---------------------------------------------------------------------------
# Singular values of the layers' Jacobians (the paper, section 3.3)

JACOBIAN = {"depth": 10, "width": 64, "batch": 256, "examples": 4}


@claim(
    id="jacobian-scale",
    statement=(
        "With batch normalization, the size of a layer's Jacobian does not depend on "
        "the initial scale of the weights: from 0.1 to 10 it stays within one percent."
    ),
    source="Ioffe and Szegedy 2015, section 3.3",
    setting={**JACOBIAN, "nonlinearity": "tanh", "scales": (0.1, 1.0, 10.0)},
    effect="largest over smallest rms singular value, minus 1",
    condition=below(0.01),
    scale="log",
)
def jacobian_scale(seeds, *, nonlinearity, scales, **net):
    rms = torch.stack(
        [
            _spectra(seeds, nonlinearity, scale, normalized=True, **net)
            .square()
            .mean(dim=(1, 2, 3))
            .sqrt()
            for scale in scales
        ]
    )
    return rms.amax(dim=0) / rms.amin(dim=0) - 1


@claim(
    id="jacobian-spectrum",
    claimed=(
        "Batch normalization may lead the layer Jacobians to have singular values "
        "close to 1 (a conjecture of the paper)."
    ),
    statement=(
        "Not at initialization: against tanh layers at Xavier's scale, batch "
        "normalization leaves fewer singular values between 1/2 and 2."
    ),
    source="Ioffe and Szegedy 2015, section 3.3",
    setting={**JACOBIAN, "nonlinearity": "tanh", "scale": 1.0},
    effect="share of singular values in [1/2, 2], with minus without",
    condition=below(0),
)
def jacobian_spectrum(seeds, *, nonlinearity, scale, **net):
    def share(normalized):
        s = _spectra(seeds, nonlinearity, scale, normalized=normalized, **net)
        return ((s >= 0.5) & (s <= 2)).double().mean(dim=(1, 2, 3))

    return share(True) - share(False)


def _spectra(seeds, nonlinearity, scale, *, normalized, depth, width, batch, examples):
    """Singular values of each layer's Jacobian -> (S, depth, examples, width).

    A layer maps x to g((W x − μ) / σ), with μ and σ of the batch held fixed: its
    Jacobian at one example is diag(g′) diag(1/σ) W.
    """
    x, _ = _nets.digits_batch(seeds, batch)
    # The digits have constant pixels; a random first layer makes them `width` inputs.
    first, *layers = _nets.weights(seeds, [64, *[width] * (depth + 1)], scale)
    _, x = _nets.hidden(x, [first], nonlinearity, normalized=normalized)
    spectra = []
    for w in layers:
        z = x @ w
        std = torch.ones(())
        if normalized:
            std = torch.sqrt(z.var(dim=1, correction=0, keepdim=True) + 1e-5)
            z = _nets.normalize(z)
        z.requires_grad_()
        x = _nets.NONLINEARITIES[nonlinearity](z)
        (slope,) = torch.autograd.grad(x.sum(), z)
        # (S, examples, width, 1) times (S, 1, width, width), the weights transposed
        rows = (slope / std)[:, :examples, :, None]
        spectra.append(torch.linalg.svdvals(rows * w.mT[:, None]))
        x = x.detach()
    return torch.stack(spectra, dim=1)
