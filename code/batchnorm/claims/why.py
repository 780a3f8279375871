"""Claims of the trial: what is said to make batch normalization work."""

import numpy as np

from batchnorm.claims.descents import steps_of_descent
from batchnorm.claims.networks import FACTOR, PERFECT, final_accuracy, points_ahead
from batchnorm.claims.noisy import early, early_exact, shift
from batchnorm.claims.random_layers import (
    backward_squares,
    expected_gap,
    gaps,
    linear_growth,
)
from batchnorm.claims.registry import experiment, prediction
from batchnorm.claims.smooth import sharpness, smoothness
from batchnorm.claims.tuning import SWEEPS, best, tuned
from batchnorm.claims.types import above, below
from batchnorm.ensemble import Recorder

# ---------------------------------------------------------------------------
# Shift: noise behind the normalization, of another distribution at each step

SANTURKAR = "santurkar2018how, figure 2; santurkar2018how, algorithm 1"
PLAIN, NORMALIZED = best("noise", None), best("noise", "batch")
NOISY, NOISIER = (tuned("noise", ("noisy", s)) for s in (1.0, 4.0))
SLOW = PLAIN._replace(rate=PLAIN.rate / 100)
NOISE = {"net": SWEEPS["noise"].net, "steps": SWEEPS["noise"].steps}


@experiment(
    "movement of the units' mean inputs in one step, noisy over none (the unit in "
    "which it is less)",
    above(FACTOR),
    claimed="the “noisy” BatchNorm network has qualitatively less stable distributions "
    "than even the standard, non-BatchNorm network",
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


AHEAD = {
    "negative": {"first": PLAIN._replace(draw=1)},
    "positive": {"second": SLOW},
}


@points_ahead(
    "accuracy, mean over the first 60 steps, with noise four times as strong less none",
    id="strong-noise-still-faster",
    statement="With the authors' noise times four a normalized network of six ReLU "
    "layers still learns faster than one without normalization, both tuned.",
    question="Does any amount of such noise leave the lead?",
    source=SANTURKAR,
    setting={"first": NOISIER, "second": PLAIN, **NOISE},
    **AHEAD,
)
@points_ahead(
    "accuracy, mean over the first 60 steps, with noise less without normalization",
    id="noisy-still-faster",
    statement="And it learns faster all the same: a network of six ReLU layers is more "
    "accurate over its first 60 steps with noisy batch normalization than without "
    "normalization, both tuned.",
    claimed="yet it still performs better in terms of training",
    claimed_by="santurkar2018how, section 2.1",
    source=SANTURKAR,
    setting={"first": NOISY, "second": PLAIN, **NOISE},
    **AHEAD,
)
def ahead(seeds, *, first, second, net, steps):
    """How much more accurate one arm is than another, mean over the steps."""
    return early(seeds, first, net, steps) - early(seeds, second, net, steps)


@experiment(
    "share of the lead of batch normalization that is lost at the plain arm's rate",
    above(0.5),
    id="rate-carries-the-lead",
    statement="Batch normalization loses more than half of its lead over none, in "
    "accuracy over the first 60 steps, if it is given the rate that is best without "
    "it.",
    claimed="BN primarily enables training with larger learning rates, which is the "
    "cause for faster convergence and better generalization",
    claimed_by="bjorck2018understanding, abstract",
    source="bjorck2018understanding, abstract",
    setting={
        "first": NORMALIZED,
        "second": NORMALIZED._replace(rate=PLAIN.rate),
        "without": PLAIN,
        **NOISE,
    },
    negative={"second": NORMALIZED._replace(draw=1)},
    positive={"second": SLOW},
    oracle={"second": PERFECT},
)
@experiment(
    "share of the lead of batch normalization that the noise takes away",
    below(0.25),
    id="noise-costs-little",
    statement="The noise takes away less than a quarter of the lead that batch "
    "normalization has over none, in accuracy over the first 60 steps, all three "
    "tuned.",
    claimed="the performance difference between models with BatchNorm layers, and "
    "“noisy” BatchNorm layers is almost non-existent",
    claimed_by="santurkar2018how, section 2.1",
    source=SANTURKAR,
    setting={"first": NORMALIZED, "second": NOISY, "without": PLAIN, **NOISE},
    negative={"second": PLAIN._replace(draw=1)},
    positive={"second": NORMALIZED._replace(draw=1)},
    oracle={"first": PERFECT},
)
def lost(seeds, *, first, second, without, net, steps):
    """Share of the lead of one arm over ``without`` that another has not."""
    high, middle, low = (
        early(seeds, arm, net, steps) for arm in (first, second, without)
    )
    return (high - middle) / np.maximum(high - low, 1e-3)


@experiment(
    "share of the lead of batch normalization that is lost at the plain arm's rate, "
    "with shorter hidden weights",
    below(0.25),
    question="Is it the rate that counts, or the rate for the length of the weights?",
    source="vanlaarhoven2017l2, abstract; bjorck2018understanding, abstract",
    setting={
        "first": NORMALIZED,
        "second": NORMALIZED._replace(rate=PLAIN.rate),
        "without": PLAIN,
        "shrink": (PLAIN.rate / NORMALIZED.rate) ** 0.5,
        **NOISE,
    },
    negative={"shrink": 1.0},
    positive={"second": NORMALIZED._replace(draw=1), "shrink": 1.0},
    seeds=29,
)
def short_weights_win_the_lead_back(
    seeds, *, first, second, without, shrink, net, steps
):
    """At the rate that is best without it, batch normalization keeps more than three
    quarters of its lead if the hidden weights start shorter by the root of the ratio of
    the rates: it is no large rate that is needed, but a large turn."""
    high, low = (early_exact(seeds, arm, net, steps) for arm in (first, without))
    middle = early_exact(seeds, second, net, steps, shrink)
    return (high - middle) / np.maximum(high - low, 1e-3)


# ---------------------------------------------------------------------------
# Smoothness: how fast the gradient changes along itself, in units that the scale of
# the weights does not move


@experiment(
    **smoothness("sigmoid"),
    id="smoother-with-sigmoids",
    statement="In three layers of sigmoids the gradient changes more slowly along its "
    "own direction with batch normalization, in units that the scale of the weights "
    "does not move, over the first 40 steps of tuned networks.",
)
@experiment(
    **smoothness("relu"),
    id="smoother-with-relus",
    statement="In six layers of ReLUs the gradient changes more slowly along its own "
    "direction with batch normalization, in units that the scale of the weights does "
    "not move, over the first 40 steps of tuned networks.",
)
def smoother(seeds, *, without, normalized, net):
    """Effective smoothness of one arm over that of another."""
    net = SWEEPS[net].net
    return sharpness(tuple(seeds), without, net) / sharpness(
        tuple(seeds), normalized, net
    )


# ---------------------------------------------------------------------------
# The size of gradients, at initialization

RANDOM = {"depth": 20, "width": 512}


@prediction(
    "growth of the squared gradient per layer, geometric mean over 19 layers",
    over="m",
    tolerance=0.05,  # a factor of 2.5 over nineteen layers
    claimed="batch normalization itself is the cause of gradient explosion",
    claimed_by="yang2019mean, abstract",
    source="yang2019mean, abstract",
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
    source="yang2019mean, abstract; de2020batch, section 3",
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


# ---------------------------------------------------------------------------
# Orthogonality: eight inputs that are nearly equal

GAP = {"layers": 12, "examples": 8}


@prediction(
    "orthogonality gap of eight examples, root mean square over ten layers",
    over="width",
    tolerance=0.1,
    claimed="the deviation of the representations from orthogonality rapidly decays "
    "with depth up to a term inversely proportional to the network width",
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

SQUARES = {"kappa": 100.0, "inputs": 10, "steps": 1000}
KOHLER = "kohler2019exponential, section 3"


FASTER = {
    "effect": "steps to a millionth of the loss at the best rate, plain over split",
    "region": above(FACTOR),
    "source": KOHLER,
    "negative": {"second": "redrawn"},
    "positive": {"second": "conditioned"},
    "oracle": {"first": "conditioned"},
    "scale": "log",
}
WIDER = {
    "effect": "rates of the grid that arrive, split less plain",
    "region": above(4),  # a factor of ten in the rate
    "source": KOHLER,
    "negative": {"first": "redrawn"},
    "positive": {"first": "conditioned"},
}


@experiment(
    **FASTER,
    id="decoupling-is-faster",
    statement="On least squares with a condition number of 100, gradient descent at "
    "its best rate needs more steps than with the weights split into length and "
    "direction, as batch normalization splits them, at the best rate of that.",
    question="Is the split faster where the best rate is known?",
    setting={"first": "plain", "second": "one rate", "count": False, **SQUARES},
)
@experiment(
    **FASTER,
    id="solved-length-is-faster",
    statement="There gradient descent needs more steps than with the length solved for "
    "at each step, and the direction alone learned at its best rate.",
    setting={"first": "plain", "second": "solved", "count": False, **SQUARES},
)
@experiment(
    **WIDER,
    id="decoupling-spares-the-rate",
    statement="There the split with one rate for both parts works over a range of "
    "rates that is wider than gradient descent's by more than a factor of ten.",
    setting={"first": "one rate", "second": "plain", "count": True, **SQUARES},
)
@experiment(
    **WIDER,
    id="solved-length-spares-the-rate",
    statement="With the length solved for, the direction learns over a range of rates "
    "that is wider than gradient descent's by more than a factor of ten.",
    setting={"first": "solved", "second": "plain", "count": True, **SQUARES},
)
def descents(seeds, *, first, second, count, **problem):
    """Ratio of the fewest steps of two ways, or difference of the rates that arrive."""
    first, second = (steps_of_descent(seeds, way, **problem) for way in (first, second))
    if count:
        return np.isfinite(first).sum(axis=1) - np.isfinite(second).sum(axis=1)
    return first.min(axis=1) / second.min(axis=1)


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
        "source": FRANKLE,
    }


@points_ahead(
    "accuracy after 100 steps of Adam, only γ and β learning less only the output "
    "layer learning",
    id="norms-learn-more-than-the-output",
    statement="With all weights frozen as they were drawn, the γ and β of three layers "
    "of 64 ReLUs learn to read more digits than the output layer alone does, both "
    "tuned.",
    question="Do γ and β do more with random features than reading them out does?",
    **versus(NORMS, OUTPUT),
)
@points_ahead(
    "accuracy after 100 steps of Adam, all learning less only γ and β learning",
    id="all-learn-more-than-the-norms",
    statement="With all parameters learning, it reads more digits than with γ and β "
    "alone.",
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
