"""Figure 1 of the paper with rate and scale chosen for each arm, and the sweep of both.

    python -m batchnorm.experiments tune-figure1 mnist-figure1

The network of the figure on binary digits, without batch normalization and with it,
each at the rate and the scale that were best for it, and beside them at setting A of
`figure1`, a common guess. So it says how much of the lead in such a figure is owed to
the guess.

Source: Ioffe and Szegedy (2015), section 4.1 and figure 1.
"""

from dataclasses import replace
from functools import cache

import numpy as np

from batchnorm.claims.types import above, within
from batchnorm.ensemble import Recorder, grid, init_parameters, train
from batchnorm.experiments import figure1
from batchnorm.experiments.chosen import (
    BATCH,
    BOTH,
    NETS,
    best,
    dense_sweep,
    rates,
    scales,
)
from batchnorm.experiments.dense import count
from batchnorm.experiments.findings import Finding
from batchnorm.experiments.on_mnist import POINTS, arm_cells, redrawn, slowed
from batchnorm.experiments.recorded import Recorded
from batchnorm.experiments.splits import reported, to_tune

STEPS = 1000
AT = (25, 50, 100, 200, 400, 700, STEPS)  # steps at which the test images are read
GUESS = figure1.SETTINGS["A"]


def binary(data):
    """A function of a seed to a `Split` with pixels of 0 and 1, from one without."""

    @cache
    def drawn(seed):
        split = data(seed)
        parts = split.x_train, split.x_test
        x_train, x_test = ((x > 0.5).astype(np.uint8) for x in parts)  # 128 of 255
        return replace(split, x_train=x_train, x_test=x_test)

    return drawn


def tuning(seeds, device, *, net, norm, rate, scales, steps, batch):
    """Train at one rate from each scale, on the images that are for this.

    Returns "early" (S, scales), the mean accuracy at twenty steps of the run, and
    "final", that after the last.
    """
    each, scale = grid(seeds, scales)
    network = net.network(norm)
    theta = init_parameters(network, each, scale)
    at = tuple(range(steps // 20, steps + 1, steps // 20))
    accuracy = _accuracy(network, to_tune, each, theta, rate, steps, batch, at)
    scores = {"early": accuracy.mean(axis=1), "final": accuracy[:, -1]}
    return {k: v.reshape(len(seeds), -1).round(5) for k, v in scores.items()}


def curves(seeds, device, *, net, arm, guess, steps, batch, at):
    """Train an arm as it was tuned, and as guessed, from one draw of the weights.

    The guess is a `Setting`, of which rate and scale count. Returns "right" and
    "guessed" (S, T), counts of right answers at the steps ``at``, of which the last is
    ``steps``, and "soon" (S, 1), that of the tuned arm after a tenth of the steps.
    """
    network, draws = net.network(arm.norm), arm.draws(seeds)
    every = tuple(sorted({steps // 10, *at}))
    options = {"steps": steps, "batch": batch, "at": every}
    theta = init_parameters(network, draws, arm.scale)
    tuned = count(_accuracy(network, reported, seeds, theta, arm.rate, **options))
    theta = init_parameters(network, draws, guess.scale, fan_in=guess.fan_in)
    guessed = count(_accuracy(network, reported, seeds, theta, guess.lr, **options))
    kept = [every.index(step) for step in at]
    soon = every.index(steps // 10)
    return {
        "right": tuned[:, kept],
        "guessed": guessed[:, kept],
        "soon": tuned[:, [soon]],
    }


def _accuracy(network, data, seeds, theta, lr, steps, batch, at):
    """Accuracy on test images at these steps, (K, T)."""
    options = {"steps": steps, "batch": batch, "recorder": Recorder(every=at)}
    options |= {"theta": theta, "lr": lr, "dtype": np.float32}
    return train(network, binary(data), seeds, **options).accuracy


# ---------------------------------------------------------------------------
# The sweep, and what is asked of what it chose

GIVEN = {"net": NETS["sigmoid"], "steps": STEPS, "batch": BATCH}

SWEEP = replace(
    dense_sweep("figure1", BOTH, (rates(-1, 1.5), scales(-1, 4)), **GIVEN),
    about="The sweep of figure 1: its rates and scales, chosen on images that nothing "
    "else reads.",
    measure=tuning,
)


def arms(folder):
    """Both arms, each as it was tuned and as guessed, and controls."""
    plain, normed = (best(SWEEP, folder, norm) for norm in BOTH)
    slow = replace(GUESS, lr=GUESS.lr / 100)
    few = {"slowed": slowed(plain, 100), "near": slowed(normed, 30)}
    given = GIVEN | {"at": AT}
    return arm_cells(
        {"none": plain, "batch": normed},
        {"redrawn": redrawn(plain)},
        guess=GUESS,
        **given,
    ) | arm_cells({}, few, guess=slow, **given)


def _lead(id, beside, statement, effect, key):
    """That the network is ahead with batch normalization, by what is kept by a key."""
    return Finding(
        f"mnist-{id}",
        beside,
        statement,
        effect,
        above(POINTS),
        "final",
        "batch",
        "none",
        negative={"first": "redrawn", "second": "none"},
        positive={"second": "slowed"},
        keys=(key, key),
    )


RUN = Recorded(
    "mnist-figure1",
    "The network of figure 1 without and with batch normalization, rate and scale "
    "tuned for each arm or guessed for both, on MNIST.",
    curves,
    arms,
    seeds=20,
    needs=(SWEEP.name,),
    findings=(
        _lead(
            "figure-1a-careless",
            "figure-1a-careless",
            "At a common guess of rate and scale, the same in both arms, the network "
            f"of figure 1 is ahead with batch normalization after {STEPS} steps.",
            f"accuracy with, less that without, after {STEPS} steps",
            "guessed",
        ),
        _lead(
            "figure-1a-tuned-early",
            "figure-1a-tuned-early",
            f"After {STEPS // 10} steps it is ahead with batch normalization, rate and "
            "scale tuned for both.",
            f"accuracy with, less that without, after {STEPS // 10} steps",
            "soon",
        ),
        _lead(
            "figure-1a-tuned-late",
            "",
            f"After {STEPS} steps it is ahead with batch normalization, rate and scale "
            "tuned for both.",
            f"accuracy with, less that without, after {STEPS} steps",
            "right",
        ),
        Finding(
            "mnist-figure-1a-tuned",
            "figure-1a-tuned",
            "Most of the lead at the guess, but not all, is gone once rate and scale "
            f"are tuned for each arm, after {STEPS} steps.",
            "share of the lead at the guess that tuning takes away",
            within(0.5, 1),
            "share",
            "batch",
            "none",
            negative={"keys": ("guessed", "guessed")},
            positive={"second": "near"},
            keys=("right", "guessed"),
        ),
    ),
)
