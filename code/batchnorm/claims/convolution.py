"""Claims about convolutions: one mean per feature map."""

from functools import lru_cache

import numpy as np
import torch
from torch.nn import functional as F

from batchnorm import datasets
from batchnorm.claims.registry import above, below, claim
from batchnorm.ensemble import (
    Conv,
    Network,
    Pool,
    Recorder,
    forward,
    init_parameters,
    moments_over,
    train,
)
from batchnorm.layer import batch_norm

# ---------------------------------------------------------------------------
# What follows from the sharing

SHIFT = {"channels": 8, "examples": 200, "shift": (1, 2)}


@claim(
    id="shift-per-map",
    statement=(
        "With one mean per feature map, shifting the image shifts the feature maps, "
        "and changes nothing else, to rounding error."
    ),
    source="ioffe2015batch, section 3.2",
    setting={**SHIFT, "norm": "batch"},
    effect="difference of shift-then-layer and layer-then-shift, relative",
    condition=below(1e-10),
    scale="log",
    floor=1e-12,
)
def shift_per_map(seeds, **setting):
    return _shift_error(seeds, **setting)


@claim(
    id="shift-per-activation",
    statement=(
        "With one mean per pixel of a feature map it does not: the shifted image "
        "meets other statistics, and the difference is larger than the feature maps."
    ),
    source="ioffe2015batch, section 3.2",
    setting={**SHIFT, "norm": "per-activation"},
    effect="difference of shift-then-layer and layer-then-shift, relative",
    condition=above(1),
)
def shift_per_activation(seeds, **setting):
    return _shift_error(seeds, **setting)


def _shift_error(seeds, *, norm, channels, examples, shift):
    """Relative rms difference of g(shift(x)) and shift(g(x)), statistics fixed.

    Circular padding: with zeros, the border alone would break the equality.
    """
    layer = Conv(channels, padding="circular")
    # ε keeps pixels that are always blank, with variance 0, from blowing up.
    network = Network((1, 8, 8), (layer,), norm=norm, eps=1e-2)
    theta = init_parameters(network, seeds)
    x = np.stack([datasets.digits(seed).x_train[:examples] for seed in seeds])
    statistics = moments_over(network, theta, x)

    def maps(images):
        out = forward(network, theta, images, statistics)[0].preactivation
        return out.reshape(len(seeds), examples, channels, 8, 8)

    def shifted(images):
        return np.roll(images, shift, axis=(-2, -1))

    images = x.reshape(len(seeds), examples, 1, 8, 8)
    first = maps(shifted(images).reshape(x.shape))
    last = shifted(maps(x))
    axes = (1, 2, 3, 4)
    return np.sqrt(((first - last) ** 2).mean(axes) / (last**2).mean(axes))


@claim(
    id="bias-before-normalization",
    statement=(
        "A bias before batch normalization does nothing: its gradient is zero, to "
        "rounding error of the gradient of the weights."
    ),
    source="ioffe2015batch, section 3.2",
    setting={"channels": 8, "examples": 32},
    effect="gradient of the bias over that of the weights",
    condition=below(1e-10),
    scale="log",
    floor=1e-12,
)
def bias_before_normalization(seeds, *, channels, examples):
    def ratio(seed):
        rng = np.random.default_rng(seed)
        x = torch.tensor(rng.normal(size=(examples, 3, 8, 8)))
        weight = torch.tensor(rng.normal(size=(channels, 3, 3, 3)), requires_grad=True)
        bias = torch.tensor(rng.normal(size=channels), requires_grad=True)
        gamma, beta, target = (
            torch.tensor(rng.normal(size=shape))
            for shape in (channels, channels, (examples, channels, 8, 8))
        )
        z = F.conv2d(x, weight, bias, padding=1)
        y = torch.relu(batch_norm(z, gamma, beta, 1e-5))
        loss = ((y - target) ** 2).mean()
        dweight, dbias = torch.autograd.grad(loss, (weight, bias))
        return (dbias.norm() / dweight.norm()).item()

    return [ratio(seed) for seed in seeds]


# ---------------------------------------------------------------------------
# Training a small convolutional network

CNN = {"channels": (8, 16), "batch": 32, "steps": 60}
CNN_RATES = {"without": 0.3, "normalized": 0.3, "per_activation": 0.3}


def choose_rates(seeds, *, rates, every, without, normalized, per_activation, **net):
    """The rate of the best mean accuracy over the run, for each kind of network."""

    def best(norm):
        means = [
            _train(seeds, norm, rate, every=every, **net).accuracy[:, 1:].mean()
            for rate in rates
        ]
        return rates[int(np.argmax(means))]

    return {
        "without": best(None),
        "normalized": best("batch"),
        "per_activation": best("per-activation"),
    }


@claim(
    id="cnn-early-accuracy",
    statement=(
        "Over its first 60 steps, a small convolutional network is on average more "
        "than 5 points more accurate with batch normalization, the learning rate tuned "
        "for both."
    ),
    source="ioffe2015batch, section 4.2",
    setting={**CNN, **CNN_RATES, "every": 10, "rates": (0.03, 0.1, 0.3, 1.0)},
    effect="mean accuracy of steps 10 to 60, with less without",
    condition=above(0.05),
    tuning=choose_rates,
)
def cnn_early_accuracy(
    seeds, *, without, normalized, per_activation, rates, every, **net
):
    def mean(norm, rate):
        return _train(seeds, norm, rate, every=every, **net).accuracy[:, 1:].mean(1)

    return mean("batch", normalized) - mean(None, without)


@claim(
    id="per-map-accuracy",
    question=(
        "Is one mean per feature map more accurate than one per activation, on digits "
        "that all stand in the same place?"
    ),
    statement=(
        "No: after 60 steps the network with one mean per feature map is behind in at "
        "least half of the seeds."
    ),
    source="ioffe2015batch, sections 3.2 and 4.2.3",
    setting={**CNN, **CNN_RATES, "every": 10},
    effect="accuracy per map, less that per activation",
    condition=below(0),
    share=0.5,
)
def per_map_accuracy(seeds, *, without, normalized, per_activation, **net):
    per_map = _train(seeds, "batch", normalized, **net)
    per_pixel = _train(seeds, "per-activation", per_activation, **net)
    return per_map.accuracy[:, -1] - per_pixel.accuracy[:, -1]


def choose_order_rates(seeds, *, rates, before, after, **net):
    """The rate of the best mean accuracy over the run, for each order."""

    def best(order):
        means = [
            _train(seeds, "batch", rate, order, **net).accuracy[:, 1:].mean()
            for rate in rates
        ]
        return rates[int(np.argmax(means))]

    return {"before": best("before"), "after": best("after")}


@claim(
    id="order-with-nonlinearity",
    question="Does batch normalization have to stand before the nonlinearity?",
    statement=(
        "No: after 60 steps a small convolutional network with it before the ReLU is "
        "behind one with it after the ReLU in at least half of the seeds."
    ),
    source="ioffe2015batch, section 3.2",
    setting={
        **CNN,
        "before": 0.3,
        "after": 0.3,
        "every": 10,
        "rates": (0.03, 0.1, 0.3, 1.0),
    },
    effect="accuracy with it before the nonlinearity, less that after",
    condition=below(0),
    share=0.5,
    tuning=choose_order_rates,
)
def order_with_nonlinearity(seeds, *, before, after, rates, **net):
    first = _train(seeds, "batch", before, "before", **net)
    second = _train(seeds, "batch", after, "after", **net)
    return first.accuracy[:, -1] - second.accuracy[:, -1]


#: Claims that compare with one set of networks train it once.
@lru_cache(maxsize=4)
def _train_once(network, data, seeds, scale, every, **options):
    theta = init_parameters(network, seeds, scale)
    recorder = Recorder(every)
    return train(network, data, seeds, theta=theta, recorder=recorder, **options)


def _train(seeds, norm, rate, order="before", *, channels, every, **options):
    """A small convolutional network on the digits -> `Run`, shared: only to read."""
    first, second = channels
    hidden = (Conv(first), Pool(), Conv(second))
    network = Network((1, 8, 8), hidden, norm=norm, order=order)
    return _train_once(
        network, datasets.digits, tuple(seeds), 2**0.5, every, lr=rate, **options
    )
