"""Claims of the chapter on failures: streams, clients, fine-tuning, accumulation."""

from typing import NamedTuple

import numpy as np
import torch
from scipy.special import gammaln
from torch.nn.functional import cross_entropy

from batchnorm import datasets
from batchnorm.claims.networks import (
    ACCURACY,
    PERFECT,
    POINTS,
    Arm,
    Mlp,
    testing_part,
    trained,
    training_part,
)
from batchnorm.claims.registry import experiment, prediction
from batchnorm.claims.types import above
from batchnorm.ensemble import (
    evaluate,
    forward,
    gradient,
    init_parameters,
    moments_over,
    unpack,
    unpack_statistics,
)

READER = {"arm": Arm("batch", 0.1), "net": Mlp("relu", 3, 64), "steps": 150}

# ---------------------------------------------------------------------------
# Accumulation


def accumulation_law(n, m):
    """Squared difference of one layer's gradients over its square, in expectation.

    Normalized in n/m parts of m against at once, for normal inputs and an upstream
    gradient of independent normal numbers, ε = 0 and m > 3. A part's variance over the
    whole one's is n/m times a Beta variable of a = (m − 1)/2 and b = (n − m)/2.
    """
    k, a, b = n / m, (m - 1) / 2, (n - m) / 2
    root = gammaln(a - 0.5) + gammaln(a + b) - gammaln(a) - gammaln(a + b - 0.5)
    square, slope = (n - 3) / (m - 3) / k, np.exp(root) / k**0.5
    return (k * (m - 2) * (square - 2 * slope + 1) + 2 * k - 2) / (n - 2)


@prediction(
    "relative difference of the gradients at the layer's inputs",
    over="m",
    tolerance=0.1,
    source="ioffe2015batch, section 3",
    setting={"n": 96, "m": (8, 12, 16, 24, 32, 48), "arm": READER["arm"]},
)
def accumulated_gradient(seeds, *, n, m, arm):
    """Normalized in parts of m and not as one batch of 96, the first layer of an
    untrained network returns another gradient, and by as much as the law for normal
    inputs says."""
    network = READER["net"].network(arm.norm)
    theta = init_parameters(network, arm.draws(seeds), arm.scale)
    z = training_part(seeds)[0][:, :n] @ unpack(network, theta)[0].weight.mT
    draws = [np.random.default_rng([seed, 13]) for seed in seeds]
    dy = np.stack([rng.normal(size=z[0].shape) for rng in draws])
    whole = input_gradient(dy, z, n)
    measured = []
    for size in m:
        apart = np.square(input_gradient(dy, z, size) - whole).sum((1, 2))
        measured.append(np.sqrt(apart / np.square(whole).sum((1, 2))))
    law = [accumulation_law(n, size) ** 0.5 for size in m]
    return np.array(law), np.stack(measured, axis=1)


def input_gradient(dy, z, m):
    """∂ℓ/∂z of (S, n, d) normalized in parts of m, from ∂ℓ/∂ẑ: the closed form."""
    parts = [v.reshape(len(v), -1, m, v.shape[2]) for v in (dy, z)]
    dy, c = (v - v.mean(2, keepdims=True) for v in parts)
    var = np.mean(c**2, 2, keepdims=True)
    along = np.mean(dy * c, 2, keepdims=True) / var
    return ((dy - c * along) / np.sqrt(var)).reshape(z.shape)


# ---------------------------------------------------------------------------
# New images, and streams of them


def changed(x, kind):
    """Images (..., 64) of another kind."""
    if kind == "blur":  # each pixel the mean of itself and its eight neighbors
        edges = [(0, 0)] * (x.ndim - 1) + [(1, 1)] * 2
        maps = np.pad(x.reshape(*x.shape[:-1], 8, 8), edges)
        rows = maps[..., :-2, :] + maps[..., 1:-1, :] + maps[..., 2:, :]
        return ((rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]) / 9).reshape(x.shape)
    if kind == "noise":
        return x + np.random.default_rng(13).normal(0, 0.3, x.shape)
    return {"as they are": x, "inverted": 1 - x, "faint": 0.3 * x}[kind]


def mixed_statistics(network, theta, x, stored, weight):
    """Each layer's statistics: ``weight`` of those of x, the rest stored ones.

    Layer by layer, for what a layer is given depends on how those before normalize.
    """
    mixed = stored.copy()
    each = unpack_statistics(network, mixed)
    for depth, (mean, var) in enumerate(each):
        given = forward(network, theta, x, mixed)[depth].input
        z = given @ unpack(network, theta)[depth].weight.mT
        mean += weight * (z.mean(1) - mean)
        var += weight * (z.var(1) - var)
    return mixed


def streams(seeds, kind, classes):
    """Test images of a kind, apart by classes: streams (S, n, 64), (S, n).

    Each seed draws which classes make a stream, and each class is in one. Within a
    stream all seeds have as many images, those of the seed that has fewest.
    """
    x, y = testing_part(seeds)
    x = changed(x, kind)
    orders = [np.random.default_rng([seed, 5]).permutation(10) for seed in seeds]
    for first in range(0, 10, classes):
        kept = [order[first : first + classes] for order in orders]
        rows = [np.flatnonzero(np.isin(*of)) for of in zip(y, kept, strict=True)]
        n = min(map(len, rows))
        rows = np.stack([r[:n] for r in rows])
        each = np.arange(len(x))[:, None]
        yield x[each, rows], y[each, rows]


def read(seeds, weight, kind, classes, arm, net, steps):
    """Accuracy on the streams, each with so much of its own statistics -> (S,)."""
    if weight == PERFECT:
        return np.ones(len(seeds))
    run = trained(seeds, arm, net, steps=steps)
    given, found = (run.network, run.theta), []
    for x, y in streams(seeds, kind, classes):
        mixed = mixed_statistics(*given, x, run.running, weight)
        found.append(evaluate(*given, x, y, mixed).accuracy)
    return np.mean(found, axis=0)


STORED, OWN, QUARTER = 0.0, 1.0, 0.25  # how much is of the stream's own statistics


@experiment(
    "accuracy with the blurred images' own statistics, less that with the stored ones",
    above(POINTS),
    id="adapted-to-blur",
    statement="On blurred test images of all classes, their own statistics read more "
    "than the stored ones.",
    source="schneider2020improving, abstract; nado2020evaluating, abstract",
    setting={**READER, "kind": "blur", "classes": 10, "first": OWN, "second": STORED},
    negative={"kind": "as they are"},
    positive={"kind": "faint"},  # which their own statistics undo, by algebra
    oracle={"second": PERFECT},
    **ACCURACY,
)
@experiment(
    "accuracy with the stored statistics, less that with the stream's own",
    above(POINTS),
    id="two-class-stream",
    statement="On streams of test images of two classes each, unchanged, the stored "
    "statistics read more than a stream's own.",
    source="nado2020evaluating, abstract",
    question="Does a stream of few classes harm test-time adaptation?",
    setting={
        **READER,
        "kind": "as they are",
        "classes": 2,
        "first": STORED,
        "second": OWN,
    },
    negative={"classes": 10},
    positive={"classes": 1},
    oracle={"second": PERFECT},
    **ACCURACY,
)
@experiment(
    "accuracy with a quarter of the stream's own statistics, less that with none",
    above(POINTS),
    id="two-class-stream-repaired",
    statement="On streams of blurred test images of two classes each, a quarter of the "
    "stream's own statistics reads more than the stored ones alone.",
    source="schneider2020improving, abstract",
    question="Does mixing repair the stream, so that adaptation helps again?",
    setting={
        **READER,
        "kind": "blur",
        "classes": 2,
        "first": QUARTER,
        "second": STORED,
    },
    negative={"kind": "as they are"},
    positive={"classes": 10},
    oracle={"second": PERFECT},
    **ACCURACY,
)
def on_a_stream(seeds, *, first, second, **given):
    """Difference of the accuracies on a stream with two shares of its statistics."""
    return read(seeds, first, **given) - read(seeds, second, **given)


# ---------------------------------------------------------------------------
# Clients


class Shared(NamedTuple):
    """How clients learn together: what normalizes, and at which learning rate.

    ``local`` keeps γ, β and the statistics at each client; all else is averaged.
    """

    norm: str | None
    local: bool
    rate: float


#: Tuned on `TUNING_SEEDS` over rates in steps of √10.
AVERAGED = Shared("batch", False, 3.2)
LOCAL = Shared("batch", True, 1.0)
WITHOUT = Shared(None, False, 0.1)

SHADES = ("as they are", "left", "top", "inverted")
SAME = SHADES[:1] * 4
CLIENTS = {"kinds": SHADES, "rounds": 20, "local_steps": 5, "batch": 32}


def shaded(x, client):
    """Images as a client has them."""
    row, column = np.divmod(np.arange(64), 8)
    if client == "inverted":
        return 1 - x
    dark = {"as they are": row < 0, "left": column < 4, "top": row < 4}[client]
    return np.where(dark, 0.3, 1.0) * x


def federated(seeds, way, kinds, rounds, local_steps, batch, data=datasets.digits):
    """Accuracy on the clients' own test images after averaging in rounds -> (S,)."""
    if way == PERFECT:
        return np.ones(len(seeds))
    network = READER["net"].network(way.norm)
    x, y = training_part(seeds, data)
    count, size = len(kinds), x.shape[1] // len(kinds)
    shards = np.split(x[:, : count * size], count, axis=1)
    x = np.stack([shaded(*of) for of in zip(shards, kinds, strict=True)], 1)
    x = x.reshape(-1, size, 64)
    y = y[:, : count * size].reshape(-1, size)
    theta = np.repeat(init_parameters(network, seeds, 2**0.5), count, axis=0)
    draws = [np.random.default_rng([s, 21]) for s in seeds]
    average = averaged(network, way)
    each = np.arange(len(x))[:, None]
    for step in range(rounds * local_steps):
        rows = np.concatenate([d.integers(size, size=(count, batch)) for d in draws])
        theta -= way.rate * gradient(network, theta, x[each, rows], y[each, rows])[1]
        if (step + 1) % local_steps == 0:
            mean = theta.reshape(len(seeds), count, -1).mean(1).repeat(count, axis=0)
            theta = np.where(average, mean, theta)
    statistics = moments_over(network, theta, x)
    if not way.local:
        statistics = statistics.reshape(len(seeds), count, *statistics.shape[1:])
        statistics = statistics.mean(1).repeat(count, axis=0)
    x, y = testing_part(seeds, data)
    x = np.stack([shaded(x, c) for c in kinds], 1).reshape(-1, x.shape[1], 64)
    y = y.repeat(count, axis=0)
    found = evaluate(network, theta, x, y, statistics).accuracy
    return found.reshape(len(seeds), count).mean(1)


@experiment(
    "accuracy, normalizations kept at each client less all averaged",
    above(POINTS),
    id="local-batch-norm",
    statement="Of four clients whose images differ in light, the networks read more if "
    "γ, β and the statistics stay with each client than if they are averaged like all "
    "else.",
    source="li2021fedbn, abstract",
    setting={**CLIENTS, "first": LOCAL, "second": AVERAGED},
    negative={"kinds": SAME},
    positive={"second": AVERAGED._replace(rate=1e-6)},
    oracle={"second": PERFECT},
    seeds=20,
    **ACCURACY,
)
def clients(seeds, *, first, second, **given):
    """Difference of the accuracies of two ways to learn together."""
    return federated(seeds, first, **given) - federated(seeds, second, **given)


def averaged(network, way):
    """Which of a network's parameters the clients average -> (P,) of bool."""
    kept = np.ones((1, network.parameters), dtype=bool)
    if way.local:
        for layer in unpack(network, kept):
            if layer.gamma is not None:
                layer.gamma[:], layer.beta[:] = False, False
    return kept[0]


# ---------------------------------------------------------------------------
# Fine-tuning


def fine_tuned(run, x, y, draws, *, rate, steps, batch, frozen):
    """Go on learning from x, y -> parameters by layer and statistics, as tensors."""
    layers = unpack(run.network, run.theta)
    parts = [
        [torch.tensor(v, requires_grad=True) for v in layer if v is not None]
        for layer in layers
    ]
    stored = [
        [torch.tensor(v) for v in pair]
        for pair in unpack_statistics(run.network, run.running)
    ]
    optimizer = torch.optim.SGD([p for part in parts for p in part], lr=rate)
    each = np.arange(len(x))[:, None]
    for _ in range(steps):
        rows = np.stack([d.integers(x.shape[1], size=batch) for d in draws])
        images, labels = (torch.tensor(v[each, rows]) for v in (x, y))
        scores = logits(parts, stored, images, not frozen, run.network.eps)
        loss = cross_entropy(scores.flatten(0, 1), labels.flatten(), reduction="sum")
        optimizer.zero_grad()
        (loss / batch).backward()  # a sum over networks, a mean over each mini-batch
        optimizer.step()
    return parts, stored


def logits(parts, stored, h, training, eps):
    """Of K networks on h (K, n, d); in training mode they update ``stored``."""
    for (weight, gamma, beta), kept in zip(parts[:-1], stored, strict=True):
        z = h @ weight.mT
        mean, var = kept
        if training:
            mean, var = z.mean(1), z.var(1, correction=0)
            unbiased = z.detach().var(1)
            kept[0].lerp_(mean.detach(), 0.1), kept[1].lerp_(unbiased, 0.1)
        slope = gamma / (var + eps).sqrt()
        h = torch.relu(slope[:, None] * (z - mean[:, None]) + beta[:, None])
    weight, bias = parts[-1]
    return h @ weight.mT + bias[:, None]


#: Learning rates of fine-tuning by kind of image, batch and whether it is frozen: those
#: of the highest accuracy, mean over `TUNING_SEEDS`, on the sheets of `digits_to_tune`,
#: among steps of √10. No optimum lies on an edge.
CELLS = {
    ("as they are", 2, True): 0.0032,
    ("as they are", 2, False): 0.000032,
    ("as they are", 8, True): 0.032,
    ("as they are", 8, False): 0.032,
    ("as they are", 32, True): 0.1,
    ("as they are", 32, False): 0.32,
    ("inverted", 2, True): 0.01,
    ("inverted", 2, False): 0.1,
    ("inverted", 8, True): 0.01,
    ("inverted", 8, False): 0.1,
    ("inverted", 32, True): 0.032,
    ("inverted", 32, False): 0.32,
}
TUNE = {**READER, "more": 100}
FROZEN, MOVING = True, False


@experiment(
    "accuracy with frozen statistics, less that with moving ones",
    above(POINTS),
    id="frozen-at-batches-of-2",
    statement="Trained on for 100 steps with two images a batch, on images like those "
    "before, a network reads more if its statistics were frozen, learning rate tuned "
    "for both.",
    source="wu2021rethinking, on which batch to normalize by",
    question="Should the statistics be frozen where batches are small?",
    setting={
        **TUNE,
        "kind": "as they are",
        "batch": 2,
        "first": FROZEN,
        "second": MOVING,
    },
    negative={"batch": 32},
    positive={"kind": "as they are", "second": "lost"},
    oracle={"second": PERFECT},
    **ACCURACY,
)
@experiment(
    "accuracy with moving statistics, less that with frozen ones",
    above(POINTS),
    id="moving-under-a-shift",
    statement="Trained on for 100 steps with 32 inverted images a batch, a network "
    "reads more inverted ones if its statistics moved than if they were frozen, "
    "learning rate tuned for both.",
    source="wu2021rethinking, on which batch to normalize by",
    question="Should the statistics be frozen where the images change?",
    setting={
        **TUNE,
        "kind": "inverted",
        "batch": 32,
        "first": MOVING,
        "second": FROZEN,
    },
    negative={"kind": "as they are"},
    positive={"second": "lost"},
    oracle={"second": PERFECT},
    **ACCURACY,
)
def after_fine_tuning(seeds, *, first, second, kind, batch, **given):
    """Difference of the accuracies on images of a kind, after learning from such."""

    def of(way):
        if way == PERFECT:
            return np.ones(len(seeds))
        if way == "lost":  # so fast that nothing is left
            return tuned_on(seeds, 100.0, FROZEN, kind=kind, batch=batch, **given)
        rate = CELLS[kind, batch, way]
        return tuned_on(seeds, rate, way, kind=kind, batch=batch, **given)

    return of(first) - of(second)


def tuned_on(
    seeds,
    rate,
    frozen,
    *,
    kind,
    batch,
    more,
    arm,
    net,
    steps,
    data=datasets.digits,
):
    """Accuracy on images of a kind after fine-tuning on such images -> (S,)."""
    run = trained(seeds, arm, net, data=data, steps=steps)
    x, y = training_part(seeds, data)
    draws = [np.random.default_rng([s, 34]) for s in seeds]
    options = {"rate": rate, "steps": more, "batch": batch, "frozen": frozen}
    parts, stored = fine_tuned(run, shaded(x, kind), y, draws, **options)
    x, y = testing_part(seeds, data)
    with torch.no_grad():
        images = torch.tensor(shaded(x, kind))
        found = logits(parts, stored, images, False, run.network.eps)
    right = (found.argmax(2).numpy() == y) & found.isfinite().all(2).numpy()
    return right.mean(axis=1)
