"""Claims of the chapter on training: how much sooner, how much better, how robustly."""

import numpy as np

from batchnorm.claims.estimates import ratio
from batchnorm.claims.networks import (
    ACCURACY,
    PERFECT,
    POINTS,
    Arm,
    final_accuracy,
    points_ahead,
    steps_to,
)
from batchnorm.claims.registry import experiment
from batchnorm.claims.tuning import SWEEPS, best
from batchnorm.claims.types import above, within
from batchnorm.datasets import digits
from batchnorm.ensemble import grid, init_parameters, train, unpack

# ---------------------------------------------------------------------------
# Figure 1 (a) of the paper, on the small digits

SIGMOIDS = {"net": SWEEPS["sigmoid"].net}
PLAIN, NORMALIZED = best("sigmoid", None), best("sigmoid", "batch")
# Xavier's scale is what PyTorch's calculate_gain recommends for sigmoids.
CARELESS, CARELESS_NORMALIZED = Arm(None, 1.0, 1.0), Arm("batch", 1.0, 1.0)


def leads(without, normalized, **setting):
    """Setting and controls of a comparison of accuracies after a number of steps."""
    return {
        "setting": {"without": without, "normalized": normalized, **setting},
        "negative": {"normalized": without._replace(draw=1)},
        "positive": {"without": without._replace(rate=without.rate / 100)},
        "oracle": {"without": PERFECT},
        **ACCURACY,
    }


@experiment(
    "accuracy with, less that without, after 100 steps",
    above(POINTS),
    id="figure-1a-careless",
    statement="With careless weights for three sigmoid layers, and the same rate in "
    "both arms, batch normalization is ahead after 100 steps.",
    source="ioffe2015batch, section 4.1; ioffe2015batch, figure 1 (a)",
    **leads(CARELESS, CARELESS_NORMALIZED, **SIGMOIDS, steps=100),
)
@experiment(
    "accuracy with, less that without, after 25 steps",
    above(POINTS),
    id="figure-1a-tuned-early",
    statement="Early in training a lead is left: after 25 steps the same network is "
    "ahead with batch normalization, rate and scale tuned for both.",
    question="Is the early lead in such a figure owed to rate and scale as well?",
    source="ioffe2015batch, section 4.1; ioffe2015batch, figure 1 (a)",
    **leads(PLAIN, NORMALIZED, **SIGMOIDS, steps=25),
)
@experiment(
    "accuracy with, less that without, after 400 steps",
    above(POINTS),
    id="final-accuracy",
    claimed="beats the original model by a significant margin.",
    claimed_by="ioffe2015batch, abstract",
    statement="So it is in a small network: after 400 steps three sigmoid layers are "
    "more accurate with batch normalization, rate and scale tuned for both.",
    source="ioffe2015batch, section 4.2; nadeau2003inference, the corrected resampled "
    "t-test",
    **leads(PLAIN, NORMALIZED, **SIGMOIDS, steps=400),
)
def lead(seeds, *, without, normalized, **setting):
    """Accuracy with normalization, less that without, at the end of training."""
    normed = final_accuracy(seeds, normalized, **setting)
    return normed - final_accuracy(seeds, without, **setting)


@experiment(
    "share of the careless lead that tuning takes away, after 100 steps",
    within(0.5, 1),
    question="How much of the gap in such a figure comes from learning rate and scale?",
    source="ioffe2015batch, section 4.1",
    setting={
        "careless": (CARELESS, CARELESS_NORMALIZED),
        "tuned": (PLAIN, NORMALIZED),
        **SIGMOIDS,
        "steps": 100,
    },
    negative={
        "tuned": (CARELESS._replace(draw=1), CARELESS_NORMALIZED._replace(draw=1))
    },
    positive={"tuned": (NORMALIZED._replace(rate=NORMALIZED.rate / 30), NORMALIZED)},
    oracle={"tuned": (PERFECT, NORMALIZED)},
    **ACCURACY,
)
def figure_1a_tuned(seeds, *, careless, tuned, **setting):
    """Most of it, but not all, after 100 steps: so much smaller is the lead of three
    layers of sigmoids once rate and scale are tuned for each arm."""
    left = lead(seeds, without=tuned[0], normalized=tuned[1], **setting)
    return 1 - left / lead(
        seeds, without=careless[0], normalized=careless[1], **setting
    )


# ---------------------------------------------------------------------------
# Steps to an accuracy, both arms tuned


def tuned(name):
    """Setting and controls of a comparison whose arms a sweep chose."""
    without, normalized = best(name, None), best(name, "batch")
    sweep = SWEEPS[name]
    return {
        "setting": {
            "net": sweep.net,
            "without": without,
            "normalized": normalized,
            **dict(sweep.options),
        },
        # The same arm twice, but for the draw of weights; a plain arm that is slowed
        # down tenfold; and a plain arm that is right from the start.
        "negative": {"normalized": without._replace(draw=1)},
        "positive": {"without": without._replace(rate=without.rate / 10)},
        "oracle": {"without": PERFECT},
    }


def steps(name, **fields):
    """Register how many steps a network needs without normalization, over with it.

    Both arms may take as many as they were tuned for.
    """
    comparison = tuned(name)
    comparison["setting"] |= {"target": 0.85, "steps": SWEEPS[name].steps}
    return experiment(
        "steps to 85 %, without over with",
        above(1.25),
        scale="log",
        **comparison | fields,
    )


@steps(
    "sigmoid",
    id="sigmoid-steps",
    statement="Three sigmoid layers reach 85 % in fewer steps with batch "
    "normalization, learning rate and initial scale tuned for both.",
    source="ioffe2015batch, section 4.1",
)
@steps(
    "relu",
    id="relu-steps",
    statement="Six ReLU layers reach 85 % in fewer steps with batch normalization, "
    "learning rate and initial scale tuned for both.",
    source="ioffe2015batch, section 4.2",
)
@steps(
    "tanh",
    id="tanh-steps",
    statement="Four tanh layers reach 85 % in fewer steps with batch normalization, "
    "learning rate and initial scale tuned for both.",
    source="ioffe2015batch, section 4.2",
)
@steps(
    "adam",
    id="adam-steps",
    statement="With Adam, three ReLU layers reach 85 % in fewer steps with batch "
    "normalization, learning rate and initial scale tuned for both.",
    source="ioffe2015batch, section 4.2; kingma2015adam, algorithm 1",
)
def steps_ratio(seeds, *, without, normalized, target, **setting):
    return ratio(
        steps_to(target, seeds, without, **setting),
        steps_to(target, seeds, normalized, **setting),
    )


# ---------------------------------------------------------------------------
# Which settings train

NARROW = SWEEPS["narrow"]
RELUS = {"net": NARROW.net, "steps": NARROW.steps, **dict(NARROW.options)}
ARMS = {"without": best("narrow", None), "normalized": best("narrow", "batch")}
TRAINS = {"least": 0.7, **RELUS, **ARMS}
SAME = {"normalized": ARMS["without"]._replace(draw=1)}


@experiment(
    "learning rates that train, with less without",
    above(0.5),
    id="rates-that-train",
    statement="Five ReLU layers reach 70 % within 150 steps at more of the learning "
    "rates from 0.01 to 1, in steps of √10, with batch normalization, each arm at "
    "the scale tuned for it.",
    source="ioffe2015batch, section 3.3; bjorck2018understanding, abstract",
    setting={"rates": NARROW.rates[:-1], "factors": (1.0,), **TRAINS},
    negative=SAME,
    positive={"without": ARMS["without"]._replace(scale=0.01)},
    oracle={"without": PERFECT},
)
@experiment(
    "initial scales that train, with less without",
    above(0.5),
    id="scales-that-train",
    statement="Five ReLU layers reach 70 % within 150 steps at more initial scales "
    "with batch normalization, of the one tuned for each arm and 3.2 and 10 times as "
    "large or as small, each arm at the learning rate tuned for it.",
    source="ioffe2015batch, section 3.3",
    setting={"rates": None, "factors": (0.1, 0.32, 1.0, 3.2, 10.0), **TRAINS},
    negative=SAME,
    positive={"without": ARMS["without"]._replace(rate=1e-6)},
    oracle={"without": PERFECT},
)
def settings_that_train(seeds, *, without, normalized, **setting):
    """How many more settings train with normalization than without."""
    return number(seeds, normalized, **setting) - number(seeds, without, **setting)


def number(seeds, arm, *, rates, factors, least, net, **options):
    """How many settings bring an arm to an accuracy -> (S,).

    The settings are all pairs of a learning rate, or that of the arm if they are None,
    and a factor of the arm's scale.
    """
    rates = (arm.rate,) if rates is None else rates
    if arm == PERFECT:
        return np.full(len(seeds), len(rates) * len(factors))
    each, lr, factor = grid(seeds, rates, factors)
    network = net.network(arm.norm)
    theta = init_parameters(network, arm.draws(each), arm.scale * factor)
    run = train(network, digits, each, lr=lr, theta=theta, **options)
    return (run.accuracy[:, -1] >= least).reshape(len(seeds), -1).sum(axis=1)


USUAL = ARMS["normalized"]


@points_ahead(
    "accuracy at the usual scale, less that at 30 times it",
    question="Does the initial scale of normalized weights matter to training?",
    source="ioffe2015batch, section 3.3; vanlaarhoven2017l2, abstract",
    setting={"first": (USUAL, 1.0), "second": (USUAL, 30.0), **RELUS},
    negative={"second": (USUAL._replace(draw=1), 1.0)},
    positive={"second": (USUAL._replace(rate=USUAL.rate / 1000), 1.0)},
    oracle={"second": (PERFECT, 1.0)},
)
def scale_still_matters(seeds, *, first, second, **setting):
    """It does, though not to the function: five ReLU layers whose hidden weights are
    30 times too large are behind after 150 steps, for those weights learn as at a rate
    900 times too small."""
    return enlarged(seeds, *first, **setting) - enlarged(seeds, *second, **setting)


def enlarged(seeds, arm, factor, net, **options):
    """Accuracy of an arm after training from hidden weights times a factor -> (S,)."""
    if arm == PERFECT:
        return np.ones(len(seeds))
    network = net.network(arm.norm)
    theta = init_parameters(network, arm.draws(seeds), arm.scale)
    for layer in unpack(network, theta)[:-1]:
        layer.weight[...] *= factor
    run = train(network, digits, seeds, lr=arm.rate, theta=theta, **options)
    return run.accuracy[:, -1]
