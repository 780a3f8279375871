"""Claims of the trial: what is said to make batch normalization work."""

from functools import lru_cache

import numpy as np

from batchnorm import datasets
from batchnorm.claims.networks import (
    PERFECT,
    SHARED,
    Arm,
    accuracies,
    final_accuracy,
    mini_batches,
    trained,
)
from batchnorm.claims.registry import experiment, prediction
from batchnorm.claims.tuning import SWEEPS, best, stored
from batchnorm.claims.types import above, below
from batchnorm.ensemble import (
    Recorder,
    forward,
    gradient,
    init_parameters,
    train,
    unpack,
)

POINTS = 0.02  # of accuracy: the smallest difference of interest in this book
FACTOR = 1.25  # the smallest ratio of interest in this book

# ---------------------------------------------------------------------------
# Shift: noise behind the normalization, of another distribution at each step

SANTURKAR = "santurkar2018how, figure 2; santurkar2018how, algorithm 1"


def noisy_arm(strength):
    """Batch normalization with noise of a strength, tuned."""
    for kept in stored("noise")["arms"]:
        if kept["norm"] == ["noisy", strength]:
            return Arm(("noisy", strength), kept["rate"], kept["scale"])
    raise ValueError(f"strength is {strength}; no such arm was swept")


PLAIN, NORMALIZED = best("noise", None), best("noise", "batch")
NOISY, NOISIER = noisy_arm(1.0), noisy_arm(4.0)
SLOW = PLAIN._replace(rate=PLAIN.rate / 100)
NOISE = {"net": SWEEPS["noise"].net, "steps": SWEEPS["noise"].steps}


def seeded(arm, seeds):
    """The arm, its noise drawn from the seeds of its networks."""
    if isinstance(arm.norm, tuple):
        return arm._replace(norm=(*arm.norm, tuple(int(seed) for seed in seeds)))
    return arm


@experiment(
    "movement of the units' mean inputs in one step, noisy over none (the unit in "
    "which it is less)",
    above(FACTOR),
    claimed=(
        "the “noisy” BatchNorm network has qualitatively less stable distributions "
        "than even the standard, non-BatchNorm network"
    ),
    claimed_by="santurkar2018how, section 2.1",
    source=SANTURKAR,
    setting={"first": NOISY, "second": PLAIN, **NOISE},
    negative={"first": PLAIN._replace(draw=1)},
    positive={"second": SLOW},
    scale="log",
)
def noise_moves_more(seeds, *, first, second, net, steps):
    """So it has: with noise behind the normalization the mean inputs of six layers of
    ReLUs move more from step to step than without any normalization, both as they are
    and in units of their spread, all arms tuned."""
    return np.min(
        shift(seeds, first, net, steps) / shift(seeds, second, net, steps), axis=0
    )


def shift(seeds, arm, net, steps):
    """Movement of mean inputs in one step, as it is and in spreads -> (2, S)."""
    arm = seeded(arm, seeds)
    x = np.stack([datasets.digits(seed).x_test[:100] for seed in seeds])
    network = net.network(arm.norm)

    def moments(state):
        z = [layer.preactivation for layer in forward(network, state.theta, x)[:-1]]
        return np.stack([(h.mean(axis=1), h.std(axis=1)) for h in z], axis=2)

    run = train(
        network,
        datasets.digits,
        seeds,
        theta=init_parameters(network, arm.draws(seeds), arm.scale),
        lr=arm.rate,
        steps=steps,
        recorder=Recorder(
            every=1, quantities={"moments": lambda s: np.moveaxis(moments(s), 0, 1)}
        ),
    )
    mean, deviation = np.moveaxis(run.records["moments"], 2, 0)
    moved = np.abs(np.diff(mean, axis=1))
    # A unit that is the same for all images has no spread, and moves by none.
    in_spreads = moved / np.maximum(deviation[:, :-1], 1e-12)
    return np.stack([moved.mean(axis=(1, 2, 3)), np.median(in_spreads, (1, 2, 3))])


AHEAD = {
    "estimator": "mean",
    "shared": SHARED,
    "negative": {"first": PLAIN._replace(draw=1)},
    "positive": {"second": SLOW},
    "oracle": {"second": PERFECT},
}


@experiment(
    "accuracy, mean over the first 60 steps, with noise four times as strong less none",
    above(POINTS),
    id="strong-noise-still-faster",
    statement=(
        "With the authors' noise times four a normalized network of six ReLU layers "
        "still learns faster than one without normalization, both tuned."
    ),
    question="Does any amount of such noise leave the lead?",
    source=SANTURKAR,
    setting={"first": NOISIER, "second": PLAIN, **NOISE},
    **AHEAD,
)
@experiment(
    "accuracy, mean over the first 60 steps, with noise less without normalization",
    above(POINTS),
    id="noisy-still-faster",
    statement=(
        "And it learns faster all the same: a network of six ReLU layers is more "
        "accurate over its first 60 steps with noisy batch normalization than without "
        "normalization, both tuned."
    ),
    claimed="yet it still performs better in terms of training",
    claimed_by="santurkar2018how, section 2.1",
    source=SANTURKAR,
    setting={"first": NOISY, "second": PLAIN, **NOISE},
    **AHEAD,
)
def ahead(seeds, *, first, second, net, steps):
    """How much more accurate one arm is than another, mean over the steps."""
    return early(seeds, first, net, steps) - early(seeds, second, net, steps)


def early(seeds, arm, net, steps):
    """Test accuracy, mean over every fifth step -> (S,)."""
    options = {"steps": steps, "recorder": Recorder(every=5)}
    found, _ = accuracies(seeds, seeded(arm, seeds), net, **options)
    return found[:, 1:].mean(axis=1) if arm != PERFECT else found[:, 0]


@experiment(
    "share of the lead of batch normalization that the noise takes away",
    below(0.25),
    claimed=(
        "the performance difference between models with BatchNorm layers, and “noisy” "
        "BatchNorm layers is almost non-existent"
    ),
    claimed_by="santurkar2018how, section 2.1",
    source=SANTURKAR,
    setting={"first": NORMALIZED, "second": NOISY, "without": PLAIN, **NOISE},
    negative={"second": PLAIN._replace(draw=1)},
    positive={"second": NORMALIZED._replace(draw=1)},
    oracle={"first": PERFECT},
)
def noise_costs_little(seeds, *, first, second, without, net, steps):
    """The noise takes away less than a quarter of the lead that batch normalization
    has over none, in accuracy over the first 60 steps, all three tuned."""
    high, middle, low = (
        early(seeds, arm, net, steps) for arm in (first, second, without)
    )
    return (high - middle) / np.maximum(high - low, 1e-3)


# ---------------------------------------------------------------------------
# Smoothness: how fast the gradient changes along itself, in units that the scale of
# the weights does not move

FRACTIONS = 0.5, 1.0, 2.0, 4.0  # of a step, from Santurkar et al., appendix A.2.2


def smoothness(sweep):
    """Fields of a claim that the tuned arms of a sweep differ in smoothness."""
    without, normalized = best(sweep, None), best(sweep, "batch")
    return {
        "claimed": (
            "There is a clear improvement in all of these measures in networks with "
            "BatchNorm, indicating a more well-behaved loss landscape."
        ),
        "claimed_by": "santurkar2018how, figure 4",
        "source": "santurkar2018how, figure 4; arora2019theoretical, section 2",
        "setting": {"without": without, "normalized": normalized, "net": sweep},
        "negative": {"normalized": without._replace(draw=1)},
        "positive": {
            "without": without._replace(scale=1.5 * without.scale),
            "normalized": without,
        },
        "oracle": {"without": PERFECT},
        "scale": "log",
        "seeds": 29,
    }


@experiment(
    "change of the gradient over a distance along it, in relative changes of the "
    "weights, without over with",
    above(FACTOR),
    id="smoother-with-sigmoids",
    statement=(
        "In three layers of sigmoids the gradient changes more slowly along its own "
        "direction with batch normalization, in units that the scale of the weights "
        "does not move, over the first 40 steps of tuned networks."
    ),
    **smoothness("sigmoid"),
)
@experiment(
    "change of the gradient over a distance along it, in relative changes of the "
    "weights, without over with",
    above(FACTOR),
    id="smoother-with-relus",
    statement=(
        "In six layers of ReLUs the gradient changes more slowly along its own "
        "direction with batch normalization, in units that the scale of the weights "
        "does not move, over the first 40 steps of tuned networks."
    ),
    **smoothness("relu"),
)
def smoother(seeds, *, without, normalized, net):
    """Effective smoothness of one arm over that of another."""
    net = SWEEPS[net].net
    return sharpness(tuple(seeds), without, net) / sharpness(
        tuple(seeds), normalized, net
    )


@lru_cache(maxsize=8)
def sharpness(seeds, arm, net, relative=True):
    """Largest change of the gradient over the distance along it -> (S,).

    The geometric mean over four moments of the first 40 steps. Each layer's weights
    are measured by their length if ``relative``. A `PERFECT` landscape is a plane.
    """
    if arm == PERFECT:
        return np.full(len(seeds), 1e-9)
    keep = Recorder(every=(1, 10, 20, 40), quantities={"theta": _theta})
    run = trained(seeds, arm, net, steps=40, recorder=keep)
    found = [
        _sharpness(run.network, theta, arm.rate, batch, relative)
        for theta, batch in zip(
            np.moveaxis(run.records["theta"], 1, 0),
            mini_batches(seeds, 60, 4),
            strict=True,
        )
    ]
    return np.exp(np.mean(np.log(found), axis=0))


def _theta(state):
    return state.theta


def _sharpness(network, theta, rate, batch, relative):
    """At one place -> (S,)."""
    _, here = gradient(network, theta, *batch)
    layers = [layer.weight for layer in unpack(network, theta)]
    lengths = [
        np.linalg.norm(w, axis=(1, 2)) if relative else np.ones(len(w)) for w in layers
    ]

    def norm(vector, power):
        parts = (layer.weight for layer in unpack(network, vector))
        squares = [
            np.sum(part**2, axis=(1, 2)) * length ** (2 * power)
            for part, length in zip(parts, lengths, strict=True)
        ]
        return np.sqrt(np.sum(squares, axis=0))

    changes = []
    for fraction in FRACTIONS:
        step = fraction * rate * here
        _, there = gradient(network, theta - step, *batch)
        changes.append(norm(there - here, 1) / norm(step, -1))
    return np.max(changes, axis=0)


# ---------------------------------------------------------------------------
# The size of gradients, at initialization

RANDOM = {"depth": 20, "width": 512}


@prediction(
    "growth of the squared gradient per layer, geometric mean over 19 layers",
    over="m",
    tolerance=0.05,  # a factor of 2.5 over nineteen layers
    claimed="batch normalization itself is the cause of gradient explosion",
    claimed_by="yang2019mean, abstract",
    source="yang2019mean, section 3",
    setting={"m": (5, 6, 8, 12, 20, 50), **RANDOM},
    seeds=29,
)
def linear_gradients_grow(seeds, *, m, depth, width):
    """Through normalized linear layers at initialization, the squared gradient grows
    on its way back by (m − 2)/(m − 3) per layer, with mini-batches of m examples."""
    measured = [
        [
            (squares[0] / squares[-2]) ** (1 / (depth - 1))
            for squares in backward_squares(seed, m, depth, width)
        ]
        for seed in seeds
    ]
    return [linear_growth(size) for size in m], measured


@prediction(
    "growth of the squared gradient over 20 blocks",
    over="m",
    tolerance=0.1,
    source="yang2019mean, section 3; de2020batch, section 3",
    setting={"m": (6, 8, 12, 20, 50), **RANDOM},
    seeds=29,
)
def skips_stop_the_growth(seeds, *, m, depth, width):
    """With a skip connection around each layer and its normalization, the growth is no
    power any more: over block l it is 1 + ρ/l with ρ = (m − 2)/(m − 3), which is about
    the number of blocks in all, to the power ρ."""
    predicted = [
        np.prod(1 + linear_growth(size) / np.arange(1, depth + 1)) for size in m
    ]
    measured = [
        [
            squares[0] / squares[-1]
            for squares in backward_squares(seed, m, depth, width, skips=True)
        ]
        for seed in seeds
    ]
    return predicted, measured


def linear_growth(m):
    """Factor of the squared gradient at a normalized linear layer: (m − 2)/(m − 3)."""
    return (m - 2) / (m - 3)


def standardized(z):
    """Rows with mean 0 and variance 1, and their standard deviations."""
    centered = z - z.mean(axis=1, keepdims=True)
    std = centered.std(axis=1, keepdims=True)
    return centered / std, std


def backward_squares(seed, sizes, depth, width, *, skips=False):
    """Squared gradients in front of all layers and behind the last, a list a batch.

    Random linear layers, each normalized, or h + BN(W h) with ``skips``.
    """
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(depth, width, width)) / np.sqrt(width)
    inputs, signals = rng.normal(size=(2, width, max(sizes)))
    for m in sizes:
        h, kept = standardized(inputs[:, :m])[0], []
        for w in weights:
            x_hat, std = standardized(w @ h)
            kept.append((x_hat, std))
            h = h + x_hat if skips else x_hat
        d = signals[:, :m] - signals[:, :m].mean(axis=1, keepdims=True)
        squares = [np.sum(d**2)]
        for w, (x_hat, std) in zip(weights[::-1], kept[::-1], strict=True):
            along = np.mean(d * x_hat, axis=1, keepdims=True)
            dz = (d - d.mean(axis=1, keepdims=True) - x_hat * along) / std
            d = d + w.T @ dz if skips else w.T @ dz
            squares.append(np.sum(d**2))
        yield squares[::-1]


# ---------------------------------------------------------------------------
# Orthogonality: eight inputs that are nearly equal

GAP = {"layers": 12, "examples": 8}


@prediction(
    "orthogonality gap of eight examples, root mean square over ten layers",
    over="width",
    tolerance=0.1,
    claimed=(
        "the deviation of the representations from orthogonality rapidly decays with "
        "depth up to a term inversely proportional to the network width"
    ),
    claimed_by="daneshmand2021batch, abstract",
    source="daneshmand2021batch, section 3",
    setting={"width": (32, 64, 128, 256), "layers": 16, "examples": 8},
)
def gap_over_width(seeds, *, width, layers, examples):
    """Eight nearly equal examples are driven apart by random linear layers with batch
    normalization until a gap is left that has two parts: one goes down with the width,
    and one, 1/√(n(n − 1)) for n examples, does not, since their mean is taken off."""
    measured = [
        [
            np.sqrt(np.mean(gaps(seed, "batch", d, layers, examples)[6:] ** 2))
            for d in width
        ]
        for seed in seeds
    ]
    return [expected_gap(d, examples) for d in width], measured


def expected_gap(width, n):
    """What is left of the gap, many layers up.

    With k = n − 1, each layer adds (k − 1)/(k d) to the squared distance from the
    centered Gram matrix, and leaves (k/(k + 2))² of what was there.
    """
    k = n - 1
    rest = (k - 1) / k / width / (1 - (k / (k + 2)) ** 2)
    return np.sqrt(1 / (n * k) + rest)


def gaps(seed, norm, width, layers, examples, spread=0.1):
    """Orthogonality gap of the examples behind each layer -> (layers,).

    Distance of their Gram matrix, divided by its trace, from the identity over n.
    """
    rng = np.random.default_rng(seed)
    h = rng.normal(size=width) + spread * rng.normal(size=(examples, width))
    found, axis = [], {"batch": 0, "layer": 1}.get(norm)
    for _ in range(layers):
        h = h @ rng.normal(size=(width, width)) / np.sqrt(width)
        if norm:
            h = h - h.mean(axis=axis, keepdims=True)
            h = h / h.std(axis=axis, keepdims=True)
        gram = h @ h.T
        distance = gram / np.trace(gram) - np.eye(examples) / examples
        found.append(np.linalg.norm(distance))
    return np.array(found)


@experiment(
    "orthogonality gap behind the fifth layer, without less with",
    above(0.25),
    source="daneshmand2021batch, section 3; daneshmand2020batch, section 4",
    setting={"without": None, "normalized": "batch", "spread": (0.1, 0.1)},
    negative={"normalized": "layer"},
    positive={"normalized": None, "spread": (0.1, 10.0)},
)
def batch_norm_drives_examples_apart(seeds, *, without, normalized, spread):
    """Through five random linear layers, eight nearly equal examples come nearer to
    being orthogonal with batch normalization than without it."""
    first, second = (
        [gaps(seed, norm, 128, 5, 8, apart)[-1] for seed in seeds]
        for norm, apart in zip((without, normalized), spread, strict=True)
    )
    return np.subtract(first, second)


# ---------------------------------------------------------------------------
# Length and direction: least squares, where the best rate is known

RATES = tuple(float(f"{10 ** (k / 4):.3g}") for k in range(-8, 13))
SQUARES = {"kappa": 100.0, "inputs": 10, "steps": 1000}
KOHLER = "kohler2019exponential, section 3"


@experiment(
    "steps to a millionth of the loss at the best rate, plain over normalized",
    above(FACTOR),
    id="decoupling-is-faster",
    statement=(
        "On least squares with a condition number of 100, gradient descent at its best "
        "rate needs more steps than with the weights split into length and direction, "
        "as batch normalization splits them, at the best rate of that."
    ),
    claimed="Batch Normalization can provably accelerate optimization",
    claimed_by="kohler2019exponential, abstract",
    source=KOHLER,
    setting={"first": "plain", "second": "normalized", "count": False, **SQUARES},
    negative={"second": "redrawn"},
    positive={"second": "conditioned"},
    oracle={"first": "conditioned"},
    scale="log",
)
@experiment(
    "rates of the grid that arrive, normalized less plain",
    above(4),  # a factor of ten in the rate
    id="decoupling-spares-the-rate",
    statement=(
        "There the split works over a range of rates that is wider, by more than a "
        "factor of ten."
    ),
    source=KOHLER,
    setting={"first": "normalized", "second": "plain", "count": True, **SQUARES},
    negative={"first": "redrawn"},
    positive={"first": "conditioned"},
)
def descents(seeds, *, first, second, count, **problem):
    """Ratio of the fewest steps of two ways, or difference of the rates that arrive."""
    first, second = (steps_of_descent(seeds, way, **problem) for way in (first, second))
    if count:
        return np.isfinite(first).sum(axis=1) - np.isfinite(second).sum(axis=1)
    return first.min(axis=1) / second.min(axis=1)


def steps_of_descent(seeds, way, *, kappa, inputs, steps):
    """Steps to 1e-6 of the loss at each rate -> (S, rates), infinite if not reached."""
    draw = 2**32 if way == "redrawn" else 0
    drawn = [
        np.random.default_rng(seed + draw).normal(size=(2, inputs)) for seed in seeds
    ]
    target, w = np.stack(drawn, axis=1)[:, :, None]
    w = np.repeat(w, len(RATES), axis=1)
    scale = np.geomspace(1, 1 / (2 if way == "conditioned" else kappa), inputs)
    rates, arrived = np.array(RATES)[:, None], np.full(w.shape[:2], np.inf)
    gamma, start = np.ones((*w.shape[:2], 1)), None
    with np.errstate(all="ignore"):
        for step in range(steps):
            length = np.sqrt(np.sum(scale * w**2, axis=2, keepdims=True))
            v = gamma * w / length if way == "normalized" else w
            slope = scale * (v - target)
            loss = np.sum(slope * (v - target), axis=2)
            start = loss if start is None else start
            done = (loss <= 1e-6 * start) & np.isinf(arrived)
            arrived[done] = step
            if way == "normalized":
                unit = w / length
                dgamma = np.sum(unit * slope, axis=2, keepdims=True)
                w = w - rates * gamma / length * (slope - dgamma * scale * unit)
                gamma = gamma - rates * dgamma
            else:
                w = w - rates * slope
    return arrived


# ---------------------------------------------------------------------------
# Only γ and β learn, all weights stay as they were drawn


def part(name):
    """The tuned arm of which only a part learns, and how."""
    sweep = f"random features, {name}"
    options = dict(SWEEPS[sweep].options)
    return best(sweep, "batch"), options["optimizer"]


ALL, NORMS, OUTPUT = part("all"), part("norms"), part("output")
PARTS = {"net": SWEEPS["random features, all"].net, "steps": 100}
FRANKLE = "frankle2021training, section 4"


def versus(first, second):
    """Fields of a claim that one part learns better than another."""
    (arm, optimizer), slow = first, second[0]._replace(rate=second[0].rate / 1000)
    return {
        "setting": {"first": first, "second": second, **PARTS},
        "negative": {"second": (arm._replace(draw=1), optimizer)},
        "positive": {"second": (slow, second[1])},
        "oracle": {"second": (PERFECT, None)},
        "estimator": "mean",
        "shared": SHARED,
        "source": FRANKLE,
    }


@experiment(
    "accuracy after 100 steps of Adam, only γ and β learning less only the output "
    "layer learning",
    above(POINTS),
    id="norms-learn-more-than-the-output",
    statement=(
        "With all weights frozen as they were drawn, the γ and β of three layers of 64 "
        "ReLUs learn to read more digits than the output layer alone does, both tuned."
    ),
    question="Do γ and β do more with random features than reading them out does?",
    **versus(NORMS, OUTPUT),
)
@experiment(
    "accuracy after 100 steps of Adam, all learning less only γ and β learning",
    above(POINTS),
    id="all-learn-more-than-the-norms",
    statement=(
        "With all parameters learning, it reads more digits than with γ and β alone."
    ),
    **versus(ALL, NORMS),
)
def more_accurate(seeds, *, first, second, net, steps):
    """How much more accurate one trained part is than another after the last step."""
    recorder = Recorder(every=steps)
    found = [
        final_accuracy(
            seeds, arm, net, steps=steps, recorder=recorder, optimizer=optimizer
        )
        for arm, optimizer in (first, second)
    ]
    return found[0] - found[1]
