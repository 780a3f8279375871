"""Claims of the chapter on failures: streams, clients, fine-tuning, accumulation."""

import numpy as np

from batchnorm.claims.accumulation import accumulation_law, input_gradient
from batchnorm.claims.clients import (
    AVERAGED,
    BY_AVERAGE,
    BY_OWN,
    BY_UNION,
    CLIENTS,
    LOCAL,
    SAME,
    federated,
    read_by_clients,
)
from batchnorm.claims.fine_tuning import (
    CELLS,
    FROZEN,
    MOVING,
    RENEWED,
    TUNE,
    renewed_on,
    tuned_on,
)
from batchnorm.claims.fooled import ATTACK, NORMALIZED, PLAIN, RANDOM, SLOW, misread
from batchnorm.claims.networks import (
    ACCURACY,
    PERFECT,
    POINTS,
    points_ahead,
    training_part,
)
from batchnorm.claims.registry import experiment, prediction
from batchnorm.claims.streams import READER, read, read_halves
from batchnorm.claims.types import within
from batchnorm.ensemble import init_parameters, unpack

# ---------------------------------------------------------------------------
# Accumulation


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


# ---------------------------------------------------------------------------
# New images, and streams of them

PAIRS = {**READER, "kind": "as they are", "classes": 2}
STORED, OWN, QUARTER = 0.0, 1.0, 0.25  # how much is of the stream's own statistics


@points_ahead(
    "accuracy with the blurred images' own statistics, less that with the stored ones",
    id="adapted-to-blur",
    statement="On blurred test images of all classes, their own statistics read more "
    "than the stored ones.",
    source="schneider2020improving, abstract; nado2020evaluating, abstract",
    setting={**READER, "kind": "blur", "classes": 10, "first": OWN, "second": STORED},
    negative={"kind": "as they are"},
    positive={"kind": "faint"},  # which their own statistics undo, by algebra
)
@points_ahead(
    "accuracy with the stored statistics, less that with the stream's own",
    id="two-class-stream",
    statement="On streams of test images of two classes each, unchanged, the stored "
    "statistics read more than a stream's own.",
    source="nado2020evaluating, abstract",
    question="Does a stream of few classes harm test-time adaptation?",
    setting={**PAIRS, "first": STORED, "second": OWN},
    negative={"classes": 10},
    positive={"classes": 1},
)
@points_ahead(
    "accuracy with a quarter of the stream's own statistics, less that with none",
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
)
def on_a_stream(seeds, *, first, second, **given):
    """Difference of the accuracies on a stream with two shares of its statistics."""
    return read(seeds, first, **given) - read(seeds, second, **given)


@points_ahead(
    "accuracy with the statistics of other blurred images, less with the stored ones",
    id="adapted-by-other-images",
    statement="On one half of the blurred test images the statistics of the other half "
    "read more than the stored ones.",
    source="schneider2020improving, abstract",
    question="Does adaptation need the very images that are read?",
    setting={
        **READER,
        "kind": "blur",
        "classes": 10,
        "first": "other",
        "second": "stored",
    },
    negative={"kind": "as they are"},
    positive={"kind": "faint"},
)
@points_ahead(
    "accuracy with the stored statistics, less with those of the stream's other images",
    id="two-class-stream-other-images",
    statement="On one half of a stream of two classes, unchanged, the stored "
    "statistics read more than those of the stream's other half.",
    source="nado2020evaluating, abstract",
    question="Is it the classes of a stream that harm, or that it is read itself?",
    setting={**PAIRS, "first": "stored", "second": "other"},
    negative={"classes": 10},
    positive={"classes": 1},
)
def on_half_a_stream(seeds, *, first, second, **given):
    """Difference of the accuracies on half of each stream, by two statistics."""
    return read_halves(seeds, first, **given) - read_halves(seeds, second, **given)


# ---------------------------------------------------------------------------
# Clients


@points_ahead(
    "accuracy, normalizations kept at each client less all averaged",
    id="local-batch-norm",
    statement="Of four clients whose images differ in light, the networks read more if "
    "γ, β and the statistics stay with each client than if they are averaged like all "
    "else.",
    source="li2021fedbn, abstract",
    setting={**CLIENTS, "first": LOCAL, "second": AVERAGED},
    negative={"kinds": SAME},
    positive={"second": AVERAGED._replace(rate=1e-6)},
    seeds=20,
)
def clients(seeds, *, first, second, **given):
    """Difference of the accuracies of two ways to learn together."""
    return federated(seeds, first, **given) - federated(seeds, second, **given)


def reading_apart(first, second, **setting):
    """Fields of a claim on clients that learned together and read in two ways."""
    return {
        "setting": {**CLIENTS, "first": first, "second": second, **setting},
        "negative": {"kinds": SAME},
        "positive": {"second": (AVERAGED._replace(rate=1e-6), second[1])},
        "oracle": {"second": (PERFECT, "own")},
        "seeds": 20,
    }


@points_ahead(
    "accuracy with the exact statistics of all clients' images, less averaged ones",
    id="merged-at-the-server",
    statement="With all averaged, the networks of four clients whose images differ in "
    "light read more if their statistics are merged exactly, layer by layer, than if "
    "their variances are averaged.",
    source="li2021fedbn, section 3",
    question="Does merging the statistics at the server repair the averaged network?",
    **reading_apart(BY_UNION, BY_AVERAGE),
)
@points_ahead(
    "accuracy, normalizations kept at each client less all averaged, statistics merged",
    id="local-against-merged",
    statement="Of four clients whose images differ in light, the networks read more if "
    "γ, β and the statistics stay with each client than if all is averaged and the "
    "statistics merged exactly, layer by layer.",
    source="li2021fedbn, abstract",
    **reading_apart(BY_OWN, BY_UNION),
)
@points_ahead(
    "accuracy, normalizations kept at each client less all averaged, writers apart",
    id="local-with-writers-apart",
    statement="Of four clients whose images differ in light, and whose writers are not "
    "the same, the networks read more if γ, β and the statistics stay with each client "
    "than if they are averaged like all else.",
    source="li2021fedbn, abstract",
    **reading_apart(BY_OWN, BY_AVERAGE, apart=True),
)
def clients_statistics(seeds, *, first, second, **given):
    """Difference of the accuracies of two ways to learn together and then to read."""
    first, second = (
        read_by_clients(seeds, way, reading, **given)
        for way, reading in (first, second)
    )
    return first - second


# ---------------------------------------------------------------------------
# Fine-tuning

AT_TWO = {**TUNE, "kind": "as they are", "batch": 2}


@points_ahead(
    "accuracy with frozen statistics, less that with moving ones",
    id="frozen-at-batches-of-2",
    statement="Trained on for 100 steps with two images a batch, on images like those "
    "before, a network reads more if its statistics were frozen, learning rate tuned "
    "for both.",
    source="wu2021rethinking, on which batch to normalize by",
    question="Should the statistics be frozen where batches are small?",
    setting={**AT_TWO, "first": FROZEN, "second": MOVING},
    negative={"batch": 32},
    positive={"kind": "as they are", "second": "lost"},
)
@points_ahead(
    "accuracy with moving statistics, less that with frozen ones",
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


SMALL = CELLS["as they are", 2, MOVING]  # the rate that is best for moving statistics


@points_ahead(
    "accuracy with frozen statistics, less that with moving ones, at the small rate",
    id="frozen-at-the-small-rate",
    statement="Trained on for 100 steps with two images a batch, on images like those "
    "before, a network reads more if its statistics were frozen, both at the rate that "
    "is best for moving ones.",
    source="wu2021rethinking, section 4",
    question="Is the lead of frozen statistics at batches of two that of their rate?",
    setting={**AT_TWO, "first": (FROZEN, SMALL), "second": (MOVING, SMALL)},
    negative={"batch": 32},
    positive={"second": (FROZEN, 100.0)},  # so fast that nothing is left
    oracle={"second": (PERFECT, 0.0)},
)
@experiment(
    "accuracy with frozen statistics at their own rate, less that at the small one",
    within(-POINTS, POINTS),
    id="frozen-at-either-rate",
    statement="Trained on for 100 steps with two images a batch, on images like those "
    "before, frozen networks read as much at the rate that is best for moving "
    "statistics as at their own, a hundred times larger.",
    source="wu2021rethinking, section 4",
    question="Does a frozen network need its larger rate?",
    setting={
        **AT_TWO,
        "first": (FROZEN, CELLS["as they are", 2, FROZEN]),
        "second": (FROZEN, SMALL),
    },
    negative={"kind": "inverted"},  # where a frozen network has something to learn
    positive={"first": (FROZEN, SMALL)},
    oracle={"first": (PERFECT, 0.0)},
    **ACCURACY,
)
@points_ahead(
    "accuracy with renewed and then frozen statistics, less that with the old ones",
    id="renewed-then-frozen",
    statement="Trained on for 100 steps with two inverted images a batch, a network "
    "reads more inverted ones if its statistics were first taken anew from many such "
    "images, and then frozen, than if the old ones were frozen.",
    source="wu2021rethinking, section 5",
    question="Does one pass over new images before freezing help under a shift?",
    setting={
        **AT_TWO,
        "kind": "inverted",
        "first": ("renewed", RENEWED["inverted", 2]),
        "second": (FROZEN, CELLS["inverted", 2, FROZEN]),
    },
    negative={"kind": "as they are"},
    positive={"second": (FROZEN, 100.0)},
    oracle={"second": (PERFECT, 0.0)},
)
def at_rates(seeds, *, first, second, **given):
    """Difference of the accuracies after fine-tuning, each way at a given rate."""

    def of(way, rate):
        if way == PERFECT:
            return np.ones(len(seeds))
        if way == "renewed":
            return renewed_on(seeds, rate, **given)
        return tuned_on(seeds, rate, way, **given)

    return of(*first) - of(*second)


# ---------------------------------------------------------------------------
# Images made to be misread


GALLOWAY = "galloway2019batch, abstract"


def fooled_by_itself(arm):
    """Fields of a claim that an arm is easier to fool than the plain one."""
    return {
        "setting": {**ATTACK, "first": (arm, arm), "second": (PLAIN, PLAIN)},
        "negative": {"second": (arm._replace(draw=1),) * 2},
        "positive": {"second": (PERFECT, PLAIN)},
        "oracle": {"first": (PERFECT, arm)},
        "source": GALLOWAY,
    }


@points_ahead(
    "share misread after ten steps against each network, with less without it",
    id="easier-to-fool",
    statement="Of the test images that a network with batch normalization and one "
    "without it both read, the first misreads more once every pixel may move by a "
    "twentieth of the range against it, both tuned.",
    claimed="it also reduces robustness to small adversarial input perturbations and "
    "noise by double-digit percentages, as we show on five standard datasets",
    claimed_by=GALLOWAY,
    **fooled_by_itself(NORMALIZED),
)
@points_ahead(
    "share misread after ten steps against each, with less without, at one rate",
    id="easier-to-fool-at-one-rate",
    statement="Of the test images that both read, a network with batch normalization "
    "misreads more than one without it once every pixel may move by a twentieth of the "
    "range against it, both trained at the rate that is best without it.",
    question="Is a normalized network easier to fool at the plain one's rate?",
    **fooled_by_itself(SLOW),
)
@points_ahead(
    "share misread after random signs, with batch normalization less without it",
    id="noise-of-that-size",
    statement="Of the test images that both read, the network with batch normalization "
    "misreads more once every pixel has moved by a twentieth of the range, up or down "
    "at random.",
    question="Is a network with batch normalization easier to fool by noise, too?",
    source=GALLOWAY,
    setting={**ATTACK, "first": (NORMALIZED, RANDOM), "second": (PLAIN, RANDOM)},
    negative={"second": (NORMALIZED._replace(draw=1), RANDOM)},
    positive={"first": (NORMALIZED, NORMALIZED)},
    oracle={"first": (PERFECT, RANDOM)},
)
@points_ahead(
    "share misread, made against the network itself less made against the plain one",
    id="gradients-not-masked",
    statement="A network with batch normalization misreads more of the images made "
    "against itself than of those made against one without it: its gradient hides no "
    "better way to change them that the other's would show.",
    question="Does the gradient of the normalized network mislead the attack?",
    source=GALLOWAY,
    setting={
        **ATTACK,
        "first": (NORMALIZED, NORMALIZED),
        "second": (NORMALIZED, PLAIN),
    },
    negative={"second": (NORMALIZED, NORMALIZED)},
    positive={"second": (NORMALIZED, RANDOM)},
    oracle={"second": (NORMALIZED, PERFECT)},
)
def misread_more(seeds, *, first, second, **given):
    """Difference of the shares misread by two readers, each of its images."""
    first, second = misread(seeds, (first, second), **given)
    return first - second
