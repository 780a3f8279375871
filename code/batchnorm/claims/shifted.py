"""Shifted data, and what networks and polynomial fits make of them.

The shifts of a chapter's claims stand beside those of their controls: one that does
harm for sure, and two that do none.
"""

from dataclasses import replace

import numpy as np

from batchnorm import datasets, shifts
from batchnorm.claims.networks import final_accuracy, trained
from batchnorm.ensemble import evaluate


def by_slant(seed):
    return shifts.digits_by_style(seed, "slant")


def by_ink(seed):
    return shifts.digits_by_style(seed, "ink")


def turned(seed):
    """The target is the test part upside down: what was learned is of little use."""
    shift = by_slant(seed)
    return replace(shift, x_target=shift.x_test[:, ::-1], y_target=shift.y_test)


def by_chance(seed):
    """Thirds drawn at random: no shift."""
    split = datasets.digits(seed)
    learned, tested = len(split.x_train) // 3, len(split.x_test) // 3
    return shifts.Shift(
        split.x_train[:learned],
        split.y_train[:learned],
        split.x_test[:tested],
        split.y_test[:tested],
        split.shape,
        split.x_test[-tested:],
        split.y_test[-tested:],
    )


def unchanged(seed):
    """The target is the test part itself."""
    shift = by_slant(seed)
    return replace(shift, x_target=shift.x_test, y_target=shift.y_test)


SHIFTS = {
    "slant": by_slant,
    "ink": by_ink,
    "turned": turned,
    "by chance": by_chance,
    "unchanged": unchanged,
}


def read(seeds, name, arm, net, steps):
    """Accuracy of a network on the style it learned and on the other -> (S,), (S,)."""
    data, options = SHIFTS[name], {"steps": steps}
    seen = final_accuracy(seeds, arm, net, data=data, **options)
    run = trained(seeds, arm, net, data=data, **options)
    shifts = [data(seed) for seed in seeds]
    x = np.stack([shift.x_target for shift in shifts])
    y = np.stack([shift.y_target for shift in shifts])
    return seen, evaluate(run.network, run.theta, x, y).accuracy


def excess_errors(seed, kind, degree, *, examples, draws):
    """Excess error of a kind of polynomial fit to each of many draws of data."""
    if kind == "perfect":
        return np.zeros(draws)
    data = shifts.cubic_shift(seed, draws * examples)
    x, y = data.x.reshape(draws, examples), data.y.reshape(draws, examples)
    ratio = shifts.density_ratio(x)
    weights = {
        "plain": np.ones_like(x),
        "weighted": ratio,
        "shuffled": np.random.default_rng([seed, 1]).permuted(ratio, axis=1),
        "half": np.broadcast_to(np.arange(examples) % 2, x.shape),
    }[kind]
    root = np.sqrt(weights)[..., None]
    powers = x[..., None] ** np.arange(degree, -1, -1)
    fits = (np.linalg.pinv(root * powers) @ (root * y[..., None])).squeeze(2)
    return shifts.excess_error(fits)
