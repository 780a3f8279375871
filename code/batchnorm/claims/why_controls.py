"""Controls of the trial: noise, turn, slow rates, one distance, equal loss, length."""

from functools import lru_cache

import numpy as np

from batchnorm.claims.descents import arrivals
from batchnorm.claims.networks import (
    FACTOR,
    PERFECT,
    accuracies,
    mini_batches,
    points_ahead,
    trained,
)
from batchnorm.claims.noisy import early, seeded
from batchnorm.claims.registry import experiment
from batchnorm.claims.tuning import SWEEPS, best, tuned
from batchnorm.claims.types import above, below
from batchnorm.claims.why import KOHLER, NOISE, NORMALIZED, PLAIN, SLOW, SQUARES
from batchnorm.ensemble import Recorder, gradient, unpack

# ---------------------------------------------------------------------------
# Shift: the noise left on where the accuracy is read


@points_ahead(
    "accuracy with the noise on, mean over the first 60 steps, less without "
    "normalization",
    question="Is the noisy network ahead only because its noise is off in the test?",
    source="santurkar2018how, figure 2; santurkar2018how, algorithm 1",
    setting={"first": tuned("noise", ("noisy", 1.0)), "second": PLAIN, **NOISE},
    negative={"first": PLAIN._replace(draw=1)},
    positive={"second": SLOW},
    seeds=29,
)
def noisy_still_faster_with_its_noise_on(seeds, *, first, second, net, steps):
    """No: read with the noise on, by the test images' own statistics, the noisy
    network is more accurate over its first 60 steps than that without normalization,
    both tuned."""
    ours, theirs = (early_noise_on(seeds, arm, net, steps) for arm in (first, second))
    return ours - theirs


def early_noise_on(seeds, arm, net, steps):
    """Accuracy as in training, the noise on, mean over every fifth step -> (S,)."""
    recorder = Recorder(every=5, statistics="batch")
    options = {"steps": steps, "recorder": recorder}
    found, _ = accuracies(seeds, seeded(arm, seeds), net, **options)
    return found[:, 1:].mean(axis=1) if arm != PERFECT else found[:, 0]


# ---------------------------------------------------------------------------
# The rate: how far the weights of either arm turn


@experiment(
    "‖ΔW‖/‖W‖ in a step, with batch normalization over without",
    above(FACTOR),
    question="Does a normalized network only need its turn, or is it larger than "
    "without?",
    source="vanlaarhoven2017l2, abstract; bjorck2018understanding, abstract",
    setting={"first": NORMALIZED, "second": PLAIN, **NOISE},
    negative={"first": PLAIN._replace(draw=1)},
    positive={"second": PLAIN._replace(rate=PLAIN.rate / 10)},
    oracle={"second": PERFECT},
    scale="log",
    seeds=29,
)
def normalized_weights_turn_further(seeds, *, first, second, net, steps):
    """It is larger: a step changes the hidden weights by a larger part of their length
    with batch normalization than without, over the first 60 steps, both tuned."""
    seeds = tuple(seeds)
    return turn(seeds, first, net, steps) / turn(seeds, second, net, steps)


@lru_cache(maxsize=8)
def turn(seeds, arm, net, steps):
    """‖ΔW‖/‖W‖, geometric mean over hidden layers and every fifth step -> (S,).

    A `PERFECT` arm would turn at once.
    """
    if arm == PERFECT:
        return np.full(len(seeds), 1e9)
    network = net.network(arm.norm)

    def turns(state):
        layers, slopes = (unpack(network, u) for u in (state.theta, state.gradient))
        found = []
        for layer, slope in zip(layers[:-1], slopes[:-1], strict=True):
            moved, after = arm.rate * slope.weight, layer.weight
            lengths = (np.linalg.norm(w, axis=(1, 2)) for w in (moved, after + moved))
            found.append(np.divide(*lengths))
        return np.stack(found, axis=1)

    every = tuple(range(5, steps + 1, 5))
    recorder = Recorder(every=every, quantities={"turns": turns})
    run = trained(seeds, arm, net, steps=steps, recorder=recorder)
    return np.exp(np.mean(np.log(run.records["turns"]), axis=(1, 2)))


# ---------------------------------------------------------------------------
# Smoothness, at one relative distance for both arms

MOMENTS = (1, 10, 20, 40)  # of steps, as in `smooth.sharpness`


def smoothness(sweep, where, **setting):
    """Fields of a claim that the arms of a sweep differ in smoothness."""
    without, normalized = best(sweep, None), best(sweep, "batch")
    return {
        "effect": "change of the gradient over a distance along it, in relative "
        f"changes of the weights, without over with, {where}",
        "region": above(FACTOR),
        "source": "santurkar2018how, figure 4; arora2019theoretical, section 2",
        "setting": {
            "without": without,
            "normalized": normalized,
            "net": sweep,
            "distances": (0.01, 0.1),
            **setting,
        },
        "negative": {"normalized": without._replace(draw=1)},
        "positive": {
            "without": without._replace(scale=1.5 * without.scale, rate=1e-3),
            "normalized": without._replace(rate=1e-3),
        },
        "oracle": {"without": PERFECT},
        "scale": "log",
        "seeds": 29,
    }


@experiment(
    **smoothness("relu", "one distance for both", at=MOMENTS),
    id="smoother-over-one-distance-relus",
    question="Is the smoothness one of the length of the step?",
    statement="It is not: in six layers of ReLUs the gradient changes more slowly with "
    "batch normalization over steps of the same relative length, be it 1 or 10 "
    "percent, at four moments of the first 40 steps.",
)
@experiment(
    **smoothness("sigmoid", "one distance for both", at=MOMENTS),
    id="smoother-over-one-distance-sigmoids",
    statement="Nor in three layers of sigmoids.",
)
@experiment(
    **smoothness("relu", "at equal loss", at=1.5),
    id="smoother-at-equal-loss-relus",
    question="Is it one of the loss, which is lower with batch normalization?",
    statement="It is not: where the test loss of either network of six ReLU layers "
    "first is at most 1.5, or after 100 steps, the gradient changes more slowly with "
    "batch normalization over the same relative distance.",
)
@experiment(
    **smoothness("sigmoid", "at equal loss", at=1.5),
    id="smoother-at-equal-loss-sigmoids",
    statement="Nor in three layers of sigmoids.",
)
def smoother_at_one_distance(seeds, *, without, normalized, net, distances, at):
    """Change of the gradient of one arm over that of another, the distance at which
    it is less."""
    seeds, net = tuple(seeds), SWEEPS[net].net
    arms = (change(seeds, arm, net, distances, at) for arm in (without, normalized))
    return np.min(np.divide(*arms), axis=0)


@lru_cache(maxsize=8)
def change(seeds, arm, net, distances, at):
    """Change of the gradient along itself, over the distance -> (distances, S).

    The geometric mean over the steps ``at``, or at the first of every fifth step whose
    test loss is at most ``at``. A `PERFECT` landscape is a plane.
    """
    if arm == PERFECT:
        return np.full((len(distances), len(seeds)), 1e-9)
    every, steps = (at, max(at)) if isinstance(at, tuple) else (5, 100)
    recorder = Recorder(every=every, quantities={"theta": lambda state: state.theta})
    run = trained(seeds, arm, net, steps=steps, recorder=recorder)
    places = run.records["theta"]
    if not isinstance(at, tuple):
        arrived = run.loss <= at
        first = np.where(arrived.any(axis=1), arrived.argmax(axis=1), -1)
        places = places[np.arange(len(seeds)), first][:, None]
    batches = mini_batches(seeds, 60, places.shape[1])
    found = [
        [change_at(run.network, theta, distance, batch) for distance in distances]
        for theta, batch in zip(np.moveaxis(places, 1, 0), batches, strict=True)
    ]
    return np.exp(np.mean(np.log(found), axis=0))


def change_at(network, theta, distance, batch):
    """At one place, with each layer's weights measured by their length -> (S,)."""
    _, here = gradient(network, theta, *batch)
    lengths = [np.linalg.norm(u.weight, axis=(1, 2)) for u in unpack(network, theta)]

    def norm(vector, power):
        parts = zip(unpack(network, vector), lengths, strict=True)
        squares = [
            np.sum(u.weight**2, axis=(1, 2)) * n ** (2 * power) for u, n in parts
        ]
        return np.sqrt(np.sum(squares, axis=0))

    step = here * (distance / norm(here, -1))[:, None]
    _, there = gradient(network, theta - step, *batch)
    return norm(there - here, 1) / distance


# ---------------------------------------------------------------------------
# Length and direction: the starting length tuned, and a line search beside it

LENGTHS = tuple(float(f"{10 ** (k / 4):.2g}") for k in range(-8, 3))


@experiment(
    "steps to a millionth of the loss, plain at its best rate over split at its best "
    "rate and starting length",
    above(FACTOR),
    id="decoupling-at-its-length-is-faster",
    question="Is the split faster from the starting length that suits it?",
    statement="It is: on least squares with a condition number of 100, gradient "
    "descent at its best rate needs more steps than with length and direction split, "
    "one rate for both and the starting length of the weights tuned, too.",
    scale="log",
    source=KOHLER,
    setting={"first": "plain", "second": "one rate", **SQUARES},
    negative={"second": "redrawn"},
    positive={"second": "conditioned"},
    oracle={"first": "conditioned"},
)
@experiment(
    "steps to a millionth of the loss, plain with an exact line search over split with "
    "the length solved for at its best rate",
    above(FACTOR),
    id="solved-length-beats-a-line-search",
    question="Is the split faster than plain descent that solves for its length, too?",
    statement="It is: plain descent needs more steps, also where each step goes as far "
    "as lowers the loss most, than the split with the length solved for.",
    scale="log",
    source=KOHLER,
    setting={"first": "line search", "second": "solved", **SQUARES},
    negative={"second": "redrawn search"},
    positive={"second": "conditioned"},
    oracle={"first": "conditioned"},
)
def fewer_steps(seeds, *, first, second, **problem):
    """Ratio of the fewest steps of two ways."""
    ways = (arrivals(seeds, way, starts(way), **problem) for way in (first, second))
    return np.divide(*(steps.min(axis=(1, 2)) for steps in ways))


@experiment(
    "rates of the grid that arrive, split at its best starting length less plain",
    above(4),  # a factor of ten in the rate
    id="decoupling-at-its-length-spares-the-rate",
    statement="From the starting length from which it needs the fewest steps, the "
    "split works over a range of rates that is wider than gradient descent's by more "
    "than a factor of ten.",
    source=KOHLER,
    setting={"first": "one rate", "second": "plain", **SQUARES},
    negative={"first": "redrawn"},
    positive={"first": "conditioned"},
)
def more_rates(seeds, *, first, second, **problem):
    """Difference of the rates that arrive, each way from its best starting length."""
    found = []
    for way in (first, second):
        steps = arrivals(seeds, way, starts(way), **problem)
        chosen = steps[np.arange(len(steps)), steps.min(axis=2).argmin(axis=1)]
        found.append(np.isfinite(chosen).sum(axis=1))
    return np.subtract(*found)


def starts(way):
    """The starting lengths of a way: only that of the split is tuned."""
    return LENGTHS if way == "one rate" else (1.0,)


# ---------------------------------------------------------------------------
# Shift: the same noise in the network without normalization

SHAKEN, SHAKEN_IN_SPREADS = (
    tuned("noise alone", ("shake", 1.0, *unit)) for unit in ((), (True,))
)


LESS = "accuracy, mean over the first 60 steps, without normalization less the same "
LESS += "with noise, read with the noise on or off, whichever is higher"
COST = {
    "source": "santurkar2018how, figure 2; santurkar2018how, algorithm 1",
    "negative": {"second": PLAIN._replace(draw=1)},
    "positive": {"second": SLOW},
}


@points_ahead(
    LESS,
    **COST,
    id="noise-costs-the-plain-network",
    question="What does the same noise do to the network without normalization?",
    statement="It costs: a network of six ReLU layers without normalization is less "
    "accurate over its first 60 steps with that noise in front of each ReLU, rate and "
    "scale tuned for the noise.",
    setting={"first": PLAIN, "second": SHAKEN, **NOISE},
)
@points_ahead(
    LESS,
    **COST,
    id="noise-in-spreads-costs-the-plain-network",
    statement="The noise costs that network accuracy also where each unit's shift is "
    "in units of its spread over the mini-batch, rate and scale tuned for it.",
    setting={"first": PLAIN, "second": SHAKEN_IN_SPREADS, **NOISE},
)
def less_accurate_with_noise(seeds, *, first, second, net, steps):
    """How much more accurate one arm is than a noisy one, in its better reading."""
    readings = [read(seeds, second, net, steps) for read in (early, early_noise_on)]
    return early(seeds, first, net, steps) - np.max(readings, axis=0)


# ---------------------------------------------------------------------------
# The rate: each arm at the same part of its own


def slowed(*arms):
    """Arms at a thirty-first of their rates: at it the normalized one has PLAIN's."""
    part = PLAIN.rate / NORMALIZED.rate
    return tuple(arm._replace(rate=part * arm.rate) for arm in arms)


@experiment(
    "share of the lead of batch normalization over none that is lost where each has a "
    "thirty-first of its own best rate",
    below(0.25),
    question="Would any network lose its lead at a thirty-first of its rate?",
    source="bjorck2018understanding, abstract",
    setting={
        "fast": (NORMALIZED, PLAIN),
        "slow": slowed(NORMALIZED, PLAIN),
        **NOISE,
    },
    negative={"slow": slowed(PLAIN._replace(draw=1), PLAIN)},
    positive={"slow": (NORMALIZED._replace(draw=1), PLAIN)},
    oracle={"slow": (NORMALIZED._replace(rate=PLAIN.rate), PERFECT)},
)
def slow_arms_keep_the_lead(seeds, *, fast, slow, net, steps):
    """With each at a thirty-first of its own best rate, batch normalization keeps more
    than three quarters of the lead over none, in accuracy over the first 60 steps, that
    it has where each has its best."""
    lead, left = (
        np.subtract(*(early(seeds, arm, net, steps) for arm in pair))
        for pair in (fast, slow)
    )
    return (lead - left) / np.maximum(lead, 1e-3)
