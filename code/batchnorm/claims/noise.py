"""Claims of the chapter on noise: its size, what it does, and dropout beside it."""

import numpy as np

from batchnorm.claims.networks import ACCURACY, points_ahead, training_part
from batchnorm.claims.noise_arms import (
    CLEAN,
    MORE,
    NET,
    RIGHT,
    SCALE,
    WRONG,
    Noisy,
    best_ghost,
    scores,
    tuned,
)
from batchnorm.claims.registry import experiment, prediction
from batchnorm.claims.types import above, below
from batchnorm.claims.whitening import hidden_features
from batchnorm.ensemble import init_parameters, unpack

POINT = 0.01  # of accuracy, where dropout is asked of
# ACCURACY holds here, too: two tests of 250 of the 1018 images share as many, on
# average, as where the other 768 are all trained on.
PAPER = "ioffe2015batch, abstract"

# ---------------------------------------------------------------------------
# The size of the noise


def inputs_of_normalization(seeds, units=64):
    """Outputs of an untrained first layer on all training images -> (S, n, units)."""
    network = NET.network("batch")
    weights = unpack(network, init_parameters(network, seeds, SCALE))[0].weight
    return training_part(seeds)[0] @ weights[:, :units].swapaxes(1, 2)


def statistics_of_batches(z, m, draws, rng):
    """Means and deviations of random batches of z (n, units), each (draws, units)."""
    batches = z[rng.integers(len(z), size=(draws, m))]
    return batches.mean(axis=1), batches.std(axis=1)


SIZES = {"m": (4, 8, 16, 32, 64), "draws": 200}


@prediction(
    "variance of the mini-batches' means over that of the values, mean over units",
    over="m",
    tolerance=0.05,
    source="ioffe2015batch, section 3.4; luo2019towards, section 2",
    setting={**SIZES, "m": (2, *SIZES["m"])},
)
def noise_of_the_mean(seeds, *, m, draws):
    """The mean of a mini-batch of m random images has a variance of 1/m times that of
    the values, in the first layer of an untrained network."""
    rngs = [np.random.default_rng([seed, 5]) for seed in seeds]
    measured = []
    for z, rng in zip(inputs_of_normalization(seeds), rngs, strict=True):
        means = [statistics_of_batches(z, one, draws, rng)[0] for one in m]
        measured.append([np.mean(mu.var(axis=0) / z.var(axis=0)) for mu in means])
    return 1 / np.array(m), np.array(measured)


@prediction(
    "variance of the mini-batches' standard deviations, over that of the values and "
    "κ − 1, mean over units",
    over="m",
    tolerance=0.1,
    source="luo2019towards, section 2",
    setting={**SIZES, "m": SIZES["m"][1:]},
)
def noise_of_the_deviation(seeds, *, m, draws):
    """The standard deviation of a mini-batch of m random images, eight or more, has a
    variance of (κ − 1)/4m times that of the values, with the kurtosis κ of each unit
    in the first layer of an untrained network."""
    rngs = [np.random.default_rng([seed, 6]) for seed in seeds]
    measured = []
    for z, rng in zip(inputs_of_normalization(seeds), rngs, strict=True):
        c = z - z.mean(axis=0)
        kurtosis = np.mean(c**4, axis=0) / z.var(axis=0) ** 2
        known = z.var(axis=0) * (kurtosis - 1)
        spread = [statistics_of_batches(z, one, draws, rng)[1].var(axis=0) for one in m]
        measured.append([np.mean(v / known) for v in spread])
    return 1 / (4 * np.array(m)), np.array(measured)


# ---------------------------------------------------------------------------
# Ghosts

SMALL, WHOLE, PAIRS = (tuned(WRONG, ghost) for ghost in (best_ghost(WRONG), 64, 2))
FEWER, STOPPED = (tuned(WRONG, arm.ghost, stopped=True) for arm in (SMALL, WHOLE))
# Where nothing was tuned, and networks differ in the size of their ghosts alone.
EIGHT, LIKE_SMALL, ALL = (Noisy(size, rate=0.1) for size in (8, SMALL.ghost, 64))
CLEANEST = tuned(CLEAN, best_ghost(CLEAN))


def final(seeds, arm, task):
    """Test accuracy of an arm after its last step -> (S,)."""
    return scores(seeds, arm, task).accuracy[:, -1]


def slowed(arm):
    """The same at a thousandth of the rate, which hardly learns, or not at all."""
    return arm._replace(rate=arm.rate / 1000)


def against(first, second, task):
    """Setting and controls of a comparison of two arms' accuracies."""
    return {
        "setting": {"first": first, "second": second, "task": task},
        "negative": {"first": second._replace(draw=1)},
        "positive": {"second": slowed(second)},
        "oracle": {"second": RIGHT},
        "seeds": 29,
    }


LEAD = "accuracy with ghosts of {}, less that with all 64"


@points_ahead(
    LEAD.format(SMALL.ghost) + ", at a rate of 0.1",
    id="ghosts-noisy-at-one-rate",
    statement="With 30 % of 192 labels drawn at random, three ReLU layers whose mini-"
    f"batches of 64 are normalized in ghosts of {SMALL.ghost} read more of the test "
    "images after 240 steps than with one mean for all 64, at a rate of 0.1 for both.",
    source="hoffer2017train, algorithm 1; luo2019towards, abstract",
    **against(LIKE_SMALL, ALL, WRONG),
)
@points_ahead(
    LEAD.format(SMALL.ghost) + ", each at its rate",
    id="ghosts-read-noisy-labels",
    question="How much of such a lead is left with the rate tuned for both?",
    statement="A lead is left: with 30 % of 192 labels random and the rate tuned for "
    f"both, networks with ghosts of {SMALL.ghost} read more of the test images after "
    "240 steps.",
    source="hoffer2017train, algorithm 1; luo2019towards, abstract",
    **against(SMALL, WHOLE, WRONG),
)
@points_ahead(
    LEAD.format(FEWER.ghost) + ", both stopped",
    id="ghosts-against-stopping",
    question="Does the lead of the small ghosts last where training may stop early?",
    statement="It does: with rate and number of steps tuned for both, networks with "
    f"ghosts of {FEWER.ghost} read more of the test images, 30 % of 192 labels being "
    "random.",
    source="luo2019towards, abstract",
    **against(FEWER, STOPPED, WRONG),
)
@points_ahead(
    LEAD.format(EIGHT.ghost) + ", at a rate of 0.1",
    id="ghosts-at-one-rate",
    statement="With right labels and a rate of 0.1 for both, networks with ghosts of "
    f"{EIGHT.ghost} that learn from 192 images read more of the test images after 240 "
    "steps than with one mean for all 64.",
    source="hoffer2017train, algorithm 1; luo2019towards, abstract",
    **against(EIGHT, ALL, CLEAN),
)
@points_ahead(
    LEAD.format(CLEANEST.ghost) + ", each at its rate",
    id="ghosts-read-clean-labels",
    question="Is the lead with right labels more than one of the rate?",
    statement="It is: with the rate tuned for both, networks with ghosts of "
    f"{CLEANEST.ghost} that learn from 192 rightly labeled images read more of the "
    "test images after 240 steps.",
    source="hoffer2017train, algorithm 1; luo2019towards, abstract",
    **against(CLEANEST, tuned(CLEAN, 64), CLEAN),
)
def ahead(seeds, *, first, second, task):
    """Test accuracy of the first arm, less that of the second."""
    return final(seeds, first, task) - final(seeds, second, task)


@points_ahead(
    f"accuracy with ghosts of {SMALL.ghost}, less the higher of those with 2 and 64",
    id="ghosts-inverted-u",
    statement="There can be too much noise: with 30 % of 192 labels random, ghosts of "
    f"{SMALL.ghost} read more of the test images than ghosts of 2 do, and more than "
    "one mean for all 64, the rate tuned for each.",
    source="luo2019towards, abstract",
    setting={"between": SMALL, "least": PAIRS, "most": WHOLE, "task": WRONG},
    negative={"between": WHOLE._replace(draw=1)},
    positive={"least": slowed(PAIRS), "most": slowed(WHOLE)},
    oracle={"most": RIGHT},
    seeds=29,
)
def ghosts_inverted_u(seeds, *, between, least, most, task):
    """Accuracy between two sizes of ghosts, less the higher of those at the ends."""
    ends = [final(seeds, arm, task) for arm in (least, most)]
    return final(seeds, between, task) - np.max(ends, axis=0)


@experiment(
    f"loss on the training images, ghosts of {SMALL.ghost} over all 64",
    above(1.25),
    id="noise-costs-fit",
    statement=f"The networks with ghosts of {SMALL.ghost} fit their training images "
    "less well than those with one mean for all 64, read with population statistics "
    "and with the labels as they are, 30 % of them random.",
    scale="log",
    source="luo2019towards, abstract",
    setting={"small": SMALL, "whole": WHOLE, "task": WRONG},
    negative={"small": WHOLE._replace(draw=1)},
    positive={"small": slowed(SMALL)},
    oracle={"small": RIGHT},
    seeds=29,
)
def noise_costs_fit(seeds, *, small, whole, task):
    """Loss on the training images of one arm over that of another."""
    losses = [scores(seeds, arm, task).train_loss[:, -1] for arm in (small, whole)]
    return losses[0] / losses[1]


# ---------------------------------------------------------------------------
# Dropout beside it

DROPPED = {task: tuned(task, None, "best") for task in (CLEAN, MORE)}
BESIDE = {task: tuned(task, 64, "best") for task in (CLEAN, MORE)}
PLAIN = {task: tuned(task, None) for task in (CLEAN, MORE)}
ALONE = {task: tuned(task, 64) for task in (CLEAN, MORE)}


def dropout(task, name):
    """Register three comparisons of networks with and without dropout."""

    def register(measure):
        images = f"three ReLU layers that learn from {task.images} images"
        rest = "rate and probability tuned"
        experiment(
            "accuracy with dropout, less that without, no normalization",
            above(POINT),
            id=f"dropout-without-{name}",
            question="Does dropout help where there is no normalization?",
            statement=f"It does: without normalization {images} read more of the test "
            f"images with dropout, {rest}.",
            source="srivastava2014dropout, section 6",
            **against(DROPPED[task], PLAIN[task], task),
            **ACCURACY,
        )(measure)
        experiment(
            "accuracy with dropout, less that without, both normalized",
            below(POINT),
            id=f"dropout-beside-{name}",
            claimed="It also acts as a regularizer, in some cases eliminating the "
            "need for Dropout.",
            claimed_by=PAPER,
            statement=f"In this case dropout is not needed: with batch normalization "
            f"{images} gain less than a point of accuracy by it, {rest}.",
            source="ioffe2015batch, section 3.4",
            seeds=29,
            setting={"first": BESIDE[task], "second": ALONE[task], "task": task},
            # A network that needs something; one that dropout spoils; a perfect one.
            negative={"second": slowed(ALONE[task])},
            positive={"first": slowed(BESIDE[task])},
            oracle={"first": RIGHT},
            **ACCURACY,
        )(measure)
        return experiment(
            "accuracy with normalization, less that with dropout",
            above(-POINT),
            id=f"normalized-or-dropout-{name}",
            claimed="in a batch-normalized network we found that it can be either "
            "removed or reduced in strength",
            claimed_by="ioffe2015batch, section 3.4",
            statement=f"Batch normalization takes its place: {images} read no fewer of "
            f"the test images, within a point, with it alone than with dropout alone, "
            f"{rest}.",
            source="ioffe2015batch, section 3.4",
            seeds=29,
            setting={"first": ALONE[task], "second": DROPPED[task], "task": task},
            negative={"first": slowed(ALONE[task])},
            positive={"second": slowed(DROPPED[task])},
            oracle={"second": RIGHT},
            **ACCURACY,
        )(measure)

    return register


dropout(CLEAN, "few")(ahead)
dropout(MORE, "more")(ahead)


# ---------------------------------------------------------------------------
# Dropout before a normalization


@prediction(
    "variance without dropout over that with it",
    over="p",
    tolerance=0.05,
    source="li2019understanding, section 3",
    setting={"p": (0.1, 0.3, 0.5, 0.7, 0.9), "width": 200},
)
def dropout_shifts_the_variance(seeds, *, p, width):
    """ReLU features have a smaller variance at inference than in training, if dropout
    stands before what measures it: var h/(var h + p/(1 − p) E h²), for any p."""
    parts, measured = [], []
    for seed in seeds:
        h, rng = hidden_features(seed, width), np.random.default_rng([seed, 7])
        parts.append((h.var(axis=0).sum(), (h**2).mean(axis=0).sum()))
        masks = [(rng.random(h.shape) >= one) / (1 - one) for one in p]
        measured.append([parts[-1][0] / (h * mask).var(axis=0).sum() for mask in masks])
    var, square = np.mean(parts, axis=0)
    p = np.array(p)
    return var / (var + p / (1 - p) * square), np.array(measured)


SHIFTED = tuned(MORE, 64, 0.5)


def repair(arm):
    """Fields of an experiment on what re-estimated statistics do to the test loss."""
    return {
        "effect": "test loss by running averages, over that by statistics without "
        "dropout",
        "region": above(1.1),
        "scale": "log",
        "source": "li2019understanding, section 3",
        "setting": {"arm": arm, "task": MORE},
        "negative": {"arm": tuned(MORE, 64)},
        "positive": {"arm": arm._replace(p=0.7, rate=0.1)},
        "seeds": 29,
    }


@experiment(
    **repair(SHIFTED),
    id="variance-shift-repair",
    statement="Re-estimated with dropout off, the statistics of three layers with "
    "dropout of 0.5 before two of their normalizations give a lower test loss than "
    "the running averages that training left, at the rate tuned for them.",
)
@experiment(
    **repair(SHIFTED._replace(rate=0.1)),
    id="variance-shift-repair-slow",
    question="And after as many steps at a tenth of the rate?",
    statement="There they do: at a rate of 0.1 the statistics re-estimated with "
    "dropout off give a lower test loss than the running averages.",
)
def loss_repaired(seeds, *, arm, task):
    """Test loss by the running averages over that by statistics without dropout."""
    found = scores(seeds, arm, task)
    return found.running_loss[:, -1] / found.loss[:, -1]


@experiment(
    "accuracy by statistics without dropout, less that by the running averages",
    above(POINT),
    question="Does the shift of the variance cost accuracy, too?",
    source="li2019understanding, section 3",
    setting={"arm": SHIFTED, "task": MORE},
    negative={"arm": tuned(MORE, 64)},
    positive={"arm": SHIFTED._replace(p=0.8, rate=0.32)},
    seeds=29,
    **ACCURACY,
)
def variance_shift_accuracy(seeds, *, arm, task):
    """It does: statistics that are re-estimated with dropout off read more of the test
    images."""
    found = scores(seeds, arm, task)
    return found.accuracy[:, -1] - found.running_accuracy[:, -1]
