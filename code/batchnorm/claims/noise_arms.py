"""The networks of the chapter on noise, and how their learning rates were chosen.

All are three ReLU layers that take as many steps with mini-batches of 64. Arms differ
in the normalization, the size of its ghosts and in dropout. At test, and wherever a
loss on the training images is read, dropout is off and the statistics are those of the
training images: what noise an arm has, it has in training alone.

Their weights are rounded after each step, so that every processor takes the same path:
training with noise is chaotic, and without that a last bit decides the network.
"""

import json
from dataclasses import replace
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from batchnorm.claims.networks import DRAWS, Mlp
from batchnorm.claims.protocol import TUNING_SEEDS
from batchnorm.datasets import digits, digits_to_tune
from batchnorm.ensemble import (
    SGD,
    Recorder,
    Rounded,
    evaluate,
    grid,
    init_parameters,
    moments_over,
    train,
)

FILE = Path(__file__).with_name("noise_arms.json")
NET, BATCH, STEPS, SCALE = Mlp("relu", 3, 64), 64, 240, 2**0.5
RATES = (0.01, 0.032, 0.1, 0.32, 1.0, 3.2, 10.0)
STOPS = (30, 60, 120, 240)


class Noisy(NamedTuple):
    """One side of a comparison: what makes noise in training, and for how long."""

    ghost: int | None  # examples that share a mean in training; None normalizes nothing
    p: float = 0.0  # probability of dropout behind each ReLU
    rate: float | None = None
    steps: int = STEPS
    draw: int = 0  # other than 0 for other initial weights

    def norm(self, seeds):
        """The norm of its training networks, one for each seed."""
        if self.ghost is None:
            return ("dropout", self.p, tuple(seeds)) if self.p else None
        if self.p:
            return "batch-dropout", self.p, tuple(seeds)
        return "ghost", self.ghost


#: Stands for a network that is right without training.
RIGHT = Noisy(None, rate=0.0, steps=0)


class Task(NamedTuple):
    """What is learned: how many images, and the share of them whose label is drawn."""

    images: int = 192
    wrong: float = 0.0

    def split(self, seed, data=digits):
        """The first training images of a seed, and its test images -> `Split`."""
        whole = data(seed)
        y, rng = whole.y_train[: self.images].copy(), np.random.default_rng([seed, 4])
        drawn = rng.permutation(len(y))[: round(self.wrong * len(y))]
        y[drawn] = rng.integers(10, size=len(drawn))
        x = whole.x_train[: self.images]
        return replace(whole, x_train=x, y_train=y)


CLEAN, WRONG, MORE = Task(), Task(wrong=0.3), Task(images=576)


class Scores(NamedTuple):
    """What is measured of K networks at T steps, each (K, T).

    Test accuracy and loss, and the loss on the training images; the last two are again
    of the test images, but by the running averages that training left. Those of an arm
    without a norm but with dropout are with dropout on, and say nothing.
    """

    accuracy: np.ndarray
    loss: np.ndarray
    train_loss: np.ndarray
    running_accuracy: np.ndarray
    running_loss: np.ndarray


def scores(seeds, arm, task, every=None):
    """How good the networks of an arm are at the recorded steps -> `Scores`.

    A `RIGHT` arm has accuracy 1 and losses of 0.
    """
    if arm == RIGHT:
        right = np.ones((len(seeds), 1))
        return Scores(right, 0 * right, 0 * right, right, 0 * right)
    return _scores(tuple(seeds), arm, task, every)


@lru_cache(maxsize=32)
def _scores(seeds, arm, task, every):
    network = NET.network(arm.norm(seeds))
    draws = np.asarray(seeds) + DRAWS * arm.draw
    theta = init_parameters(network, draws, SCALE)
    run = noisy_run(seeds, arm, task, theta=theta, lr=arm.rate, every=every)
    measured = np.moveaxis(run.records["scores"], 2, 0)
    return Scores(*measured, run.accuracy, run.loss)


def rounded(ghost):
    """How networks with ghosts of this size take a step.

    In ghosts of 2 the sign of a small difference is all that is left of a unit, and a
    last bit is sooner a sign.
    """
    return Rounded(3 if ghost == 2 else 5)


def noisy_run(
    seeds, arm, task, *, lr, every, theta, data=digits, optimizer=None, **options
):
    """Train the networks of an arm -> `Run`; its record "scores" is (K, T, 3)."""
    split = cache(partial(task.split, data=data))
    splits = [split(int(seed)) for seed in seeds]
    x, y, x_test, y_test = (
        np.stack([getattr(s, part) for s in splits])
        for part in ("x_train", "y_train", "x_test", "y_test")
    )
    twin = NET.network(None if arm.ghost is None else "batch")  # of the same θ

    def measured(state):
        known = moments_over(twin, state.theta, x)
        test = evaluate(twin, state.theta, x_test, y_test, known)
        return np.stack([*test, evaluate(twin, state.theta, x, y, known).loss], 1)

    return train(
        NET.network(arm.norm(seeds)),
        split,
        seeds,
        lr=lr,
        steps=arm.steps,
        batch=BATCH,
        theta=theta,
        recorder=Recorder(every, quantities={"scores": measured}),
        optimizer=optimizer or rounded(arm.ghost),
        **options,
    )


# ---------------------------------------------------------------------------- tuning

GHOSTS = (2, 4, 8, 16, 64)
DROPOUTS = (0.2, 0.5)
ARMS = (
    *((WRONG, Noisy(ghost)) for ghost in GHOSTS),
    *((CLEAN, Noisy(ghost)) for ghost in GHOSTS),
    *((CLEAN, Noisy(None, p)) for p in (0.0, *DROPOUTS)),
    *((CLEAN, Noisy(64, p)) for p in DROPOUTS),
    *((MORE, Noisy(ghost, p)) for ghost in (None, 64) for p in (0.0, *DROPOUTS)),
)


def key(task, arm):
    """The name of an arm in the file."""
    return f"{task.images} images, {task.wrong} wrong, ghost {arm.ghost}, p {arm.p}"


def tuned(task, ghost, p=0.0, *, stopped=False):
    """The arm with the learning rate at which it was most accurate when tuned.

    A p of "best" is the more accurate one of ``DROPOUTS``. ``stopped`` chooses the
    number of steps as well.
    """
    if p == "best":
        p = max(DROPOUTS, key=lambda one: tuned_accuracy(task, ghost, one))
    arm = Noisy(ghost, p)
    found = np.array(stored()[key(task, arm)])  # (rates, stops)
    found = found if stopped else found[:, -1:]
    rate, stop = np.unravel_index(found.argmax(), found.shape)
    return arm._replace(rate=RATES[rate], steps=(STOPS if stopped else (STEPS,))[stop])


def best_ghost(task):
    """The size of ghosts that was most accurate when tuned, each at its best rate."""
    return max(GHOSTS, key=lambda size: tuned_accuracy(task, size))


def tuned_accuracy(task, ghost, p=0.0):
    """Accuracy on the tuning seeds after all steps, at the best rate."""
    return max(stops[-1] for stops in stored()[key(task, Noisy(ghost, p))])


@cache
def stored():
    """Accuracies of all arms on the tuning seeds, (rates, stops) of each."""
    return json.loads(FILE.read_text("utf-8"))


def tune(arms=ARMS):
    """Train arms on the tuning seeds at each rate -> {name: accuracies}."""
    found = {}
    for task, arm in arms:
        seeds, lr = grid(TUNING_SEEDS, RATES)
        run = noisy_run(
            seeds,
            arm,
            task,
            lr=lr,
            every=STOPS,
            theta=init_parameters(NET.network(arm.norm(seeds)), seeds, SCALE),
            data=digits_to_tune,
            optimizer=SGD(),  # what the file was made with: rounding came later
            dtype=np.float32,
        )
        accuracy = run.records["scores"][:, :, 0]
        mean = accuracy.reshape(len(TUNING_SEEDS), len(RATES), len(STOPS)).mean(axis=0)
        found[key(task, arm)] = mean.round(4).tolist()
        print(key(task, arm), found[key(task, arm)], flush=True)
    return found


if __name__ == "__main__":
    FILE.write_text(json.dumps(tune(), indent=1) + "\n", "utf-8")
