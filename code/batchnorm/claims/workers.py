"""Claims about a mini-batch that several workers share.

The workers are an axis here: what one of them does not exchange is taken over its own
rows only. Chapter 15 does the same in real processes.
"""

import itertools

import numpy as np
from scipy.signal import lfilter

from batchnorm.claims.networks import training_part
from batchnorm.claims.registry import experiment, identity, prediction
from batchnorm.claims.types import above

CHAN = "chan1983algorithms, equation 1.5"
TESTS = "tests/unit/test_identities_workers.py::"

TENTH = 0.1  # of a step: the smallest distance of interest
BATCH, RATE, WIDTHS = 64, 0.1, (64, 64, 64, 10)
SPLIT = {"workers": 2, "forward": "own", "backward": "own"}
SHARED = {"forward": "all", "backward": "all"}

identity(
    "merged-shards-are-the-batch",
    "Mean and variance of a mini-batch follow from count, mean and variance of "
    "disjoint shards, whatever their sizes, none included.",
    source=CHAN,
    test=TESTS + "test_merged_shards_are_the_batch",
)
identity(
    "two-sums-are-enough",
    "With the mean and variance of the whole mini-batch, each worker's part of its "
    "gradient follows from its own rows and two sums per channel over all workers.",
    source="ioffe2015batch, section 3",
    test=TESTS + "test_two_sums_are_enough",
)
identity(
    "parameter-gradients-add-up",
    "The gradients of γ, β and of a layer's weights over the whole mini-batch are the "
    "sums of those over the shards.",
    source="ioffe2015batch, section 3",
    test=TESTS + "test_parameter_gradients_add_up",
)


def gradient(weights, x, labels, forward, backward):
    """Loss gradients of networks whose mini-batches lie on several workers.

    Hidden layers are normalized without γ and β, with ε = 1e-5; x is (S, K, m, d) for S
    networks and K workers, and "all" or "own" says over which rows a mean goes.
    """
    over = {"own": (2,), "all": (1, 2)}
    kept, h = [], x
    for w in weights[:-1]:
        z = h @ w[:, None]
        c = z - z.mean(over[forward], keepdims=True)
        std = np.sqrt(np.mean(c**2, over[forward], keepdims=True) + 1e-5)
        kept.append((h, c / std, std))
        h = np.maximum(c / std, 0)
    logits = h @ weights[-1][:, None]
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    d = (p - np.eye(p.shape[-1])[labels]) / (x.shape[1] * x.shape[2])
    found = [_product(h, d)]
    dh = d @ weights[-1][:, None].swapaxes(-1, -2)
    for w, (h, x_hat, std) in zip(weights[-2::-1], kept[::-1], strict=True):
        dy = dh * (x_hat > 0)
        means = [np.mean(a, over[backward], keepdims=True) for a in (dy, dy * x_hat)]
        dz = (dy - means[0] - x_hat * means[1]) / std
        found.append(_product(h, dz))
        dh = dz @ w[:, None].swapaxes(-1, -2)
    return found[::-1]


def _product(h, d):
    """Gradient of the weights that lead from h to what d is the gradient of."""
    return np.einsum("skmi,skmj->sij", h, d)


def paths(seeds, steps, workers, forward, backward):
    """Weights at the start and after each step, on the same mini-batches.

    The first is what one process does, the second what the workers do.
    """
    images, labels = training_part(seeds)
    weights, orders = [], []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        shapes = itertools.pairwise(WIDTHS)
        weights.append([rng.normal(size=s) / np.sqrt(s[0]) for s in shapes])
        orders.append(rng.integers(images.shape[1], size=(steps, BATCH)))
    start = [np.stack(layer) for layer in zip(*weights, strict=True)]
    each = np.arange(len(seeds))[:, None]
    ends = []
    for shards, *exchanged in ((1, "all", "all"), (workers, forward, backward)):
        now = start
        for rows in np.stack(orders, axis=1):
            x = images[each, rows].reshape(len(seeds), shards, -1, images.shape[2])
            y = labels[each, rows].reshape(len(seeds), shards, -1)
            grads = gradient(now, x, y, *exchanged)
            now = [w - RATE * g for w, g in zip(now, grads, strict=True)]
        ends.append(now)
    return start, *ends


def _length(first, second):
    squares = [np.sum((a - b) ** 2, (1, 2)) for a, b in zip(first, second, strict=True)]
    return np.sqrt(sum(squares))


APART = {
    "effect": "distance of the weights from those of one process, over the way these "
    "went",
    "region": above(TENTH),
    "negative": SHARED,
    "positive": {"workers": 16},
}


@experiment(
    **APART,
    id="local-statistics-one-step",
    statement="Two workers that normalize their 32 examples each by themselves take "
    "another step than one process with all 64.",
    source="ioffe2015batch, section 3.1",
    setting={**SPLIT, "steps": 1},
)
@experiment(
    **APART,
    id="local-statistics-twenty-steps",
    statement="After twenty steps the weights of two such workers are still apart from "
    "those of one process by more than a tenth of the way.",
    source="ioffe2015batch, section 3.1",
    setting={**SPLIT, "steps": 20},
)
@experiment(
    **APART,
    id="forward-only",
    statement="If two workers exchange the statistics and not the two sums of the "
    "backward pass, their step is another than that of one process.",
    source="ioffe2015batch, section 3",
    setting={**SPLIT, "forward": "all", "steps": 1},
)
def distance(seeds, *, steps, workers, forward, backward):
    """How far the weights are from those of one process, in units of its way."""
    start, one, several = paths(seeds, steps, workers, forward, backward)
    return _length(one, several) / _length(one, start)


@prediction(
    "mean square of the difference of two workers' running means, over the variance",
    over="momentum",
    tolerance=0.1,
    source="ioffe2015batch, section 3.1",
    setting={"momentum": (0.03, 0.1, 0.3, 1.0), "shard": 32, "steps": 2000},
)
def workers_disagree(seeds, *, momentum, shard, steps):
    """The running means of two workers that normalize their own shards of m differ by
    2w/((2 − w) m) of the variance, in the mean square, for the momentum w."""
    images, _ = training_part(seeds)
    predicted = np.array([2 * w / ((2 - w) * shard) for w in momentum])
    measured = []
    for seed, x in zip(seeds, images, strict=True):
        rng = np.random.default_rng(seed)
        z = x @ rng.normal(size=(x.shape[1], 16))
        rows = rng.integers(len(x), size=(steps, 2, shard))
        means = z[rows].mean(axis=2)
        apart = (means[:, 0] - means[:, 1]) / z.std(axis=0)
        averages = [lfilter([w], [1, w - 1], apart, axis=0) for w in momentum]
        late = slice(steps // 10, None)  # the start is forgotten
        measured.append([np.mean(average[late] ** 2) for average in averages])
    return predicted, np.array(measured)
