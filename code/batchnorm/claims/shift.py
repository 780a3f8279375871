"""Claims about shifts: of the inputs, of the rule, and of the inputs of a layer."""

from dataclasses import replace

import numpy as np

from batchnorm import datasets
from batchnorm.claims.registry import above, below, between, claim
from batchnorm.ensemble import (
    Network,
    Recorder,
    evaluate,
    forward,
    init_parameters,
    train,
    unpack,
)

# ---------------------------------------------------------------------------
# Outside a network: the inputs change, or the rule does

READER = {"hidden": (64, 64), "rate": 0.1, "steps": 200}


@claim(
    id="covariate-shift-slant",
    statement=(
        "No pixel has to be changed: a network that has learned from the third of the "
        "digits that lean to the left loses more than 40 points on the third that "
        "lean to the right."
    ),
    source="Shimodaira 2000",
    setting={**READER, "style": "slant"},
    effect="accuracy on the style seen, less that on the other",
    condition=above(0.4),
)
def covariate_shift_slant(seeds, *, style, **net):
    return _loss_of_accuracy(seeds, lambda s: datasets.digits_by_style(s, style), **net)


@claim(
    id="covariate-shift-ink",
    question="A model fails when the distribution of its inputs changes.",
    statement=(
        "It may not. From the third of the digits with the least ink to the third "
        "with the most, the same network loses fewer than 15 points."
    ),
    source="Shimodaira 2000",
    setting={**READER, "style": "ink"},
    effect="accuracy on the style seen, less that on the other",
    condition=below(0.15),
)
def covariate_shift_ink(seeds, *, style, **net):
    return _loss_of_accuracy(seeds, lambda s: datasets.digits_by_style(s, style), **net)


@claim(
    id="concept-shift",
    statement=(
        "With the labels of 1 and 7 exchanged, and of 3 and 5, the very images that "
        "the network read well cost it between 30 and 45 points."
    ),
    source="Moreno-Torres et al. 2012",
    setting=READER,
    effect="accuracy by the old rule, less that by the new",
    condition=between(0.3, 0.45),
)
def concept_shift(seeds, **net):
    return _loss_of_accuracy(seeds, datasets.relabeled_digits, **net)


def _loss_of_accuracy(seeds, data, *, hidden, rate, steps):
    """Accuracy of a ReLU network on the source's test part, less on the target."""
    shifts = {seed: data(seed) for seed in seeds}
    network = Network((shifts[seeds[0]].x_train.shape[1],), hidden)
    theta = init_parameters(network, seeds, 2**0.5)
    run = train(network, shifts.get, seeds, theta=theta, lr=rate, steps=steps)
    x = np.stack([shifts[seed].x_target for seed in seeds])
    y = np.stack([shifts[seed].y_target for seed in seeds])
    return run.accuracy[:, -1] - evaluate(network, run.theta, x, y).accuracy


@claim(
    id="importance-weights-repair",
    statement=(
        "Where the model is too simple for the whole curve, weighting each example by "
        "the ratio of the densities takes more than a quarter off the error."
    ),
    source="Shimodaira 2000",
    setting={"degree": 1, "examples": 100},
    effect="error on the target, weighted fit over plain fit",
    condition=below(0.75),
)
def importance_weights_repair(seeds, **setting):
    return _weighted_over_plain(seeds, **setting)


@claim(
    id="importance-weights-not-needed",
    question="Under covariate shift, examples have to be weighted.",
    statement=(
        "Not if the model can express the rule: a cubic fitted to a cubic without "
        "weights is as good on the target, within 5 percent, or better."
    ),
    source="Shimodaira 2000",
    setting={"degree": 3, "examples": 200},
    effect="error on the target, weighted fit over plain fit",
    condition=above(0.95),
)
def importance_weights_not_needed(seeds, **setting):
    return _weighted_over_plain(seeds, **setting)


def _weighted_over_plain(seeds, *, degree, examples):
    """Squared error on the target of a weighted polynomial fit over a plain one."""

    def ratio(seed):
        data = datasets.cubic_shift(seed, examples)
        errors = []
        for weights in (datasets.density_ratio(data.x), np.ones(examples)):
            # polyfit weighs residuals, not their squares.
            fit = np.polyfit(data.x, data.y, degree, w=np.sqrt(weights))
            residuals = np.polyval(fit, data.x_target) - data.y_target
            errors.append(np.mean(residuals**2))
        return errors[0] / errors[1]

    return [ratio(seed) for seed in seeds]


# ---------------------------------------------------------------------------
# Inside a network: how far the inputs of its units drift while it trains

PAPERS = {  # three layers of sigmoids, as in the paper's figure 1
    "nonlinearity": "sigmoid",
    "depth": 3,
    "width": 50,
    "steps": 200,
    "best": (1.0, 3.0),
}
DEEPER = {"nonlinearity": "relu", "depth": 6, "width": 50, "steps": 100}
WITHOUT, NORMALIZED = (0.1, 1.4), (0.1, 0.5)  # rate and scale, tuned for each


@claim(
    id="drift-grows-with-depth",
    statement=(
        "Without normalization, the means of the units' inputs drift faster in the "
        "sixth of six ReLU layers than in the first, by more than the factor 2."
    ),
    source="Ioffe and Szegedy 2015, section 1",
    setting={**DEEPER, "best": WITHOUT},
    effect="drift in 10 steps, layer 6 over layer 1",
    condition=above(2),
)
def drift_grows(seeds, **setting):
    drift = drift_by_layer(seeds, **setting)
    return drift[:, -1] / drift[:, 0]


@claim(
    id="drift-comes-from-below",
    statement=(
        "It is the layers below that move them: with those frozen, the inputs of the "
        "sixth ReLU layer drift less than half as fast."
    ),
    source="Ioffe and Szegedy 2015, section 2",
    setting={**DEEPER, "best": WITHOUT},
    effect="drift in layer 6, all layers learning over the layers below frozen",
    condition=above(2),
)
def drift_from_below(seeds, **setting):
    return _free_over_frozen(seeds, **setting)


@claim(
    id="drift-is-the-layers-own",
    question=(
        "That the percentiles of a sigmoid's input wander (the paper's figure 1 b) "
        "shows that the layers below move a layer's inputs."
    ),
    statement=(
        "In three layers of sigmoids, freezing the layers below does not make the "
        "inputs of the last drift less, but more: no learning below is needed for it."
    ),
    source="Ioffe and Szegedy 2015, figure 1 (b, c)",
    setting=PAPERS,
    effect="drift in layer 3, all layers learning over the layers below frozen",
    condition=below(1),
)
def drift_is_own(seeds, **setting):
    return _free_over_frozen(seeds, **setting)


@claim(
    id="normalized-drift-does-not-grow",
    statement=(
        "With batch normalization, rate and scale tuned again, the drift does not grow "
        "with depth, even measured before the normalization."
    ),
    source="Ioffe and Szegedy 2015, section 1",
    setting={**DEEPER, "best": NORMALIZED},
    effect="drift in 10 steps before normalization, layer 6 over layer 1",
    condition=below(1),
)
def normalized_drift(seeds, **setting):
    drift = drift_by_layer(seeds, norm="batch", **setting)
    return drift[:, -1] / drift[:, 0]


def _free_over_frozen(seeds, **setting):
    """Drift of the last layer's inputs, free over with all layers below it frozen."""
    free = drift_by_layer(seeds, **setting)[:, -1]
    return free / drift_by_layer(seeds, frozen=setting["depth"] - 1, **setting)[:, 0]


def drift_by_layer(
    seeds, *, nonlinearity, depth, width, steps, best, norm=None, frozen=0
):
    """How far the means of the units' inputs move in ten steps of training.

    The mean over units and time of |μ(t + 10) − μ(t)| / σ(t), where μ and σ are those
    of W u + b over 100 test images, before any normalization.

    best: rate and initial scale; frozen: the number of layers, from the first, that
    do not learn. Returns (S, depth - frozen).
    """
    network = Network((64,), (width,) * depth, nonlinearity=nonlinearity, norm=norm)
    rate, scale = best
    theta = init_parameters(network, seeds, scale)
    data = {seed: datasets.digits(seed) for seed in seeds}
    if frozen:
        network, theta, data = freeze(network, theta, data, frozen)
    x = np.stack([split.x_test[:100] for split in data.values()])

    def moments(state):
        return input_moments(network, state.theta, x)

    run = train(
        network,
        data.get,
        seeds,
        theta=theta,
        lr=rate,
        steps=steps,
        recorder=Recorder(every=10, quantities={"moments": moments}),
    )
    mean, deviation = np.moveaxis(run.records["moments"], 2, 0)
    moved = np.abs(np.diff(mean, axis=1)) / deviation[:, :-1]
    return moved.mean(axis=(1, 3))


def freeze(network, theta, data, layers):
    """The upper part of K networks, fed with what the lower part makes of the data.

    network: fully connected, without normalization; theta: (K, P); data: a dict of K
    splits by seed, in the same order; layers: how many belong to the lower part.
    Returns network, parameters and data of the upper part.
    """
    if network.norm is not None:
        raise ValueError(f"network must have norm None to freeze, got {network.norm!r}")
    if not 0 < layers < len(network.hidden):
        raise ValueError(
            f"layers must lie between 1 and {len(network.hidden) - 1}, got {layers}"
        )
    width = network.hidden[layers - 1]
    top = replace(network, shape=(width,), hidden=network.hidden[layers:])

    def outputs(k, x):
        return forward(network, theta[k : k + 1], x)[layers - 1].output[0]

    fed = {
        seed: replace(
            split,
            x_train=outputs(k, split.x_train),
            x_test=outputs(k, split.x_test),
            shape=(width,),
        )
        for k, (seed, split) in enumerate(data.items())
    }
    # The layers lie in theta one after the other.
    return top, theta[:, -top.parameters :], fed


def input_moments(network, theta, x):
    """Mean and standard deviation of W u + b of every hidden unit over the examples.

    network: fully connected, with layers of one width, normalized before the
    nonlinearity or not at all; theta: (K, P); x: as in `forward`.
    Returns (K, 2, layers, width): means, then standard deviations.
    """
    moments = []
    for layer in forward(network, theta, x)[:-1]:
        if network.norm:
            moments.append((layer.mean, np.sqrt(layer.var)))
        else:
            z = layer.preactivation
            moments.append((z.mean(axis=1), z.std(axis=1)))
    return np.stack([np.stack(pair, axis=1) for pair in moments], axis=2)


# ---------------------------------------------------------------------------
# A small change of the first layer, followed through the layers above

PROBE = {"depth": 10, "width": 100, "probe": 100, "size": 0.01}


@claim(
    id="small-change-passes",
    question="Small changes of early parameters amplify as the network becomes deeper.",
    statement=(
        "Not in a well-scaled network: ten tanh layers at Xavier's scale pass a small "
        "change of the first layer's weights on at its size, within a factor 2."
    ),
    source="Ioffe and Szegedy 2015, section 1",
    setting={**PROBE, "nonlinearity": "tanh", "scale": 1.0},
    effect="change in standard deviations, layer 10 over layer 1",
    condition=between(0.5, 2),
)
def small_change_passes(seeds, **setting):
    change = small_change(seeds, norm=None, **setting)
    return change[:, -1] / change[:, 0]


@claim(
    id="small-change-amplifies",
    statement=(
        "At three times that scale it is amplified, by more than the factor 5 over "
        "the ten layers."
    ),
    source="Ioffe and Szegedy 2015, section 1",
    setting={**PROBE, "nonlinearity": "tanh", "scale": 3.0},
    effect="change in standard deviations, layer 10 over layer 1",
    condition=above(5),
)
def small_change_amplifies(seeds, **setting):
    change = small_change(seeds, norm=None, **setting)
    return change[:, -1] / change[:, 0]


@claim(
    id="normalized-small-change",
    question="Batch normalization stops small changes of parameters from amplifying.",
    statement=(
        "At initialization it does not: a small change of the first of ten ReLU layers "
        "grows more than 1.5 times as much on its way up as without normalization."
    ),
    source="Ioffe and Szegedy 2015, section 3.3",
    setting={**PROBE, "nonlinearity": "relu", "scale": 2**0.5},
    effect="growth of the change from layer 1 to 10, with over without",
    condition=above(1.5),
)
def normalized_small_change(seeds, **setting):
    def growth(norm):
        change = small_change(seeds, norm=norm, **setting)
        return change[:, -1] / change[:, 0]

    return growth("batch") / growth(None)


def small_change(seeds, *, nonlinearity, scale, norm, depth, width, probe, size):
    """How much all layers' inputs change if the first layer's weights do -> (S, depth).

    The weights move by `size` times an independent draw of weights; the change is
    the root mean square of the inputs' change over their standard deviation.
    """
    network = Network((64,), (width,) * depth, nonlinearity=nonlinearity, norm=norm)
    x = np.stack([datasets.digits(seed).x_test[:probe] for seed in seeds])
    theta = init_parameters(network, seeds, scale)
    other = init_parameters(network, [seed + 10_000 for seed in seeds], scale)
    moved = theta.copy()
    unpack(network, moved)[0].weight[...] += size * unpack(network, other)[0].weight

    def inputs(theta):
        return np.array(
            [layer.preactivation for layer in forward(network, theta, x)[:-1]]
        )

    before = inputs(theta)
    change = np.square(inputs(moved) - before).mean(axis=(2, 3))
    return np.sqrt(change / before.var(axis=2).mean(axis=2)).T
