"""Claims of the chapter on failures: streams, clients, fine-tuning, accumulation."""

import numpy as np
from scipy.special import gammaln

from batchnorm.claims.clients import AVERAGED, CLIENTS, LOCAL, SAME, federated
from batchnorm.claims.fine_tuning import CELLS, FROZEN, MOVING, TUNE, tuned_on
from batchnorm.claims.networks import ACCURACY, PERFECT, POINTS, training_part
from batchnorm.claims.registry import experiment, prediction
from batchnorm.claims.streams import READER, read
from batchnorm.claims.types import above
from batchnorm.ensemble import init_parameters, unpack

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


# ---------------------------------------------------------------------------
# Fine-tuning


@experiment(
    "accuracy with frozen statistics, less that with moving ones",
    above(POINTS),
    id="frozen-at-batches-of-2",
    statement="Trained on for 100 steps with two images a batch, on images like those "
    "before, a network reads more if its statistics were frozen, learning rate tuned "
    "for both.",
    source="wu2021rethinking, section 4",
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
    source="wu2021rethinking, section 4",
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
