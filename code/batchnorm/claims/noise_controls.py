"""Controls of the chapter on noise: the noise alone, and logits that are rescaled."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from batchnorm.claims.networks import ACCURACY, DRAWS, POINTS, points_ahead
from batchnorm.claims.noise import SHIFTED, repair
from batchnorm.claims.noise_arms import NET, RIGHT, SCALE, WRONG, Noisy, noisy_run
from batchnorm.claims.protocol import TUNING_SEEDS
from batchnorm.claims.registry import experiment
from batchnorm.claims.types import above, below
from batchnorm.datasets import digits_to_tune
from batchnorm.ensemble import forward, init_parameters, moments_over

FACTORS = np.geomspace(1 / 32, 4, 40)  # of the logits, in steps of 13 %


class PutIn(NamedTuple):
    """An arm with one mean for the whole mini-batch, and the noise of ghosts put in.

    The fields are those of `Noisy`; ``own`` is that of `GhostNoise`.
    """

    ghost: int
    p: float = 0.0
    rate: float = 0.1
    steps: int = 240
    draw: int = 0
    own: bool = False

    def norm(self, seeds):
        """The norm of its training networks."""
        return "ghost-noise", self.ghost, self.own


class Reading(NamedTuple):
    """What networks say of the test images after training, each (K,).

    Share that is read, by the statistics of the training images; loss, with the logits
    times a factor that was fitted on other images; that by the running averages.
    """

    accuracy: np.ndarray
    rescaled: np.ndarray
    running_rescaled: np.ndarray


def reading(seeds, arm, task):
    """How the networks of an arm read after their last step -> `Reading`."""
    if arm == RIGHT:
        right = np.ones(len(seeds))
        return Reading(right, 0 * right, 0 * right)
    return _reading(tuple(seeds), arm, task)


@lru_cache(maxsize=16)
def _reading(seeds, arm, task):
    network, twin = NET.network(arm.norm(seeds)), NET.network("batch")  # of the same θ
    theta = init_parameters(network, np.asarray(seeds) + DRAWS * arm.draw, SCALE)
    run = noisy_run(seeds, arm, task, theta=theta, lr=arm.rate, every=None)
    splits = [task.split(int(seed)) for seed in seeds]
    x, x_test, y_test = (
        np.stack([getattr(s, part) for s in splits])
        for part in ("x_train", "x_test", "y_test")
    )
    other = digits_to_tune(TUNING_SEEDS[0])
    known, losses = moments_over(twin, run.theta, x), []
    for statistics in (known, run.running):
        fitted, logits = (
            forward(twin, run.theta, images, statistics)[-1].output
            for images in (other.x_train, x_test)
        )
        losses.append(loss_of(best_factor(fitted, other.y_train) * logits, y_test))
    return Reading(run.records["scores"][:, -1, 0], *losses)


def loss_of(logits, y):
    """Mean cross-entropy of logits (K, n, classes) -> (K,)."""
    top = logits.max(axis=2, keepdims=True)
    total = np.log(np.exp(logits - top).sum(axis=2)) + top[:, :, 0]
    y = np.broadcast_to(y, logits.shape[:2])[:, :, None]
    return np.mean(total - np.take_along_axis(logits, y, 2)[:, :, 0], axis=1)


def best_factor(logits, y):
    """The factor of ``FACTORS`` with which logits have the lowest loss -> (K, 1, 1)."""
    losses = [loss_of(factor * logits, y) for factor in FACTORS]
    return FACTORS[np.argmin(losses, axis=0)][:, None, None]


# ---------------------------------------------------------------------------
# Ghosts against their noise, at one rate

ARMS = {
    "ghosts": Noisy(4, rate=0.1),
    "own errors": PutIn(4, own=True),
    "lent errors": PutIn(4, own=False),
    "whole": Noisy(64, rate=0.1),
    "whole, redrawn": Noisy(64, rate=0.1, draw=1),
    "whole, one step": Noisy(64, rate=0.1, steps=1),
    "right": RIGHT,
}


def versus(first, second):
    """Setting of a comparison of two arms, with what all of them share."""
    return {
        "setting": {"first": first, "second": second, "task": WRONG},
        "source": "hoffer2017train, algorithm 1; luo2019towards, abstract",
        "seeds": 29,
    }


AHEAD = {
    "negative": {"first": "whole, redrawn"},
    "positive": {"second": "whole, one step"},
    "oracle": {"second": "right"},
}


@points_ahead(
    "accuracy with the ghosts' own errors put in, less that without",
    id="noise-alone-reads-noisy-labels",
    question="Is it the noise of the ghosts, or the gradient through them?",
    statement="The noise does it: 30 % of 192 labels being random, three ReLU layers "
    "read more of the test images with the errors of ghosts of 4 added to the "
    "statistics of the whole mini-batch as given numbers, through which no gradient "
    "passes, than without them, at a rate of 0.1 for both.",
    **versus("own errors", "whole"),
    **AHEAD,
)
@points_ahead(
    "accuracy with the errors of other ghosts put in, less that without",
    id="lent-noise-reads-noisy-labels",
    question="Does any noise of that size and distribution do it?",
    statement="Errors of other examples do it, too: where each ghost is given those of "
    "the next, the networks read more of the test images than without noise.",
    **versus("lent errors", "whole"),
    **AHEAD,
)
@experiment(
    "accuracy with ghosts of 4, less that with their errors put in",
    below(POINTS),
    id="ghosts-against-their-noise",
    statement="The gradient through the ghosts adds nothing of interest to their "
    "noise: with it the networks read at most two points more of the test images.",
    **versus("ghosts", "own errors"),
    negative={"second": "whole"},
    positive={"first": "whole, one step"},
    oracle={"first": "right"},
    **ACCURACY,
)
def noise_ahead(seeds, *, first, second, task):
    """Test accuracy of the first arm, less that of the second."""
    ours, theirs = (reading(seeds, ARMS[name], task) for name in (first, second))
    return ours.accuracy - theirs.accuracy


# ---------------------------------------------------------------------------
# One factor on the logits


@experiment(
    "test loss with one mean for all 64 over that with ghosts of 4, logits rescaled",
    above(1.25),
    question="Are the small ghosts ahead in loss because they are less sure of "
    "themselves?",
    scale="log",
    source="guo2017calibration, abstract",
    setting={"first": "whole", "second": "ghosts", "task": WRONG},
    negative={"second": "whole, redrawn"},
    positive={"first": "whole, one step"},
    oracle={"first": "right"},
    seeds=29,
)
def ghosts_lead_with_rescaled_logits(seeds, *, first, second, task):
    """No: with the logits of each network times one number, fitted on other images,
    those with one mean for all 64 still have the higher test loss, 30 % of the labels
    being random and the rate 0.1."""
    ours, theirs = (reading(seeds, ARMS[name], task) for name in (first, second))
    return ours.rescaled / theirs.rescaled


def with_rescaled_logits(arm):
    """Fields of an experiment on re-estimated statistics with rescaled logits."""
    fields = repair(arm)
    return fields | {
        "effect": f"{fields['effect']}, logits rescaled",
        "source": f"{fields['source']}; guo2017calibration, abstract",
        "positive": {"arm": arm._replace(p=0.8, rate=0.32)},
    }


@experiment(
    **with_rescaled_logits(SHIFTED._replace(rate=0.1)),
    id="repair-with-rescaled-logits-slow",
    question="Is what re-estimated statistics gain at a rate of 0.1 more than a factor "
    "on the logits?",
    statement="It is: with the logits times one number that is fitted on other images "
    "for either kind of statistics, those without dropout have the lower test loss.",
)
@experiment(
    **with_rescaled_logits(SHIFTED),
    id="repair-with-rescaled-logits",
    statement="So they have at the rate that was tuned for dropout of 0.5.",
)
def loss_repaired_and_rescaled(seeds, *, arm, task):
    """Test loss by running averages over that without dropout, logits rescaled."""
    found = reading(seeds, arm, task)
    return found.running_rescaled / found.rescaled
