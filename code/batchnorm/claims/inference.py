"""Claims about inference: which statistics, how they lag, and the wrong mode."""

import numpy as np

from batchnorm.claims.batches import (
    Training,
    best_of_modes,
    domain_by_domain,
    in_inference,
)
from batchnorm.claims.frozen import go_on, go_on_frozen
from batchnorm.claims.networks import (
    ACCURACY,
    PERFECT,
    Arm,
    Cnn,
    Mlp,
    points_ahead,
    testing_part,
    training_part,
)
from batchnorm.claims.reading import (
    EIGHTS,
    EXACT,
    RUNNING,
    SLOW,
    SLOWER,
    Way,
    accuracy,
    readers,
)
from batchnorm.claims.registry import experiment, identity, prediction
from batchnorm.claims.types import above, below, within
from batchnorm.ensemble import evaluate, forward, moments_over, unpack

PAPER = "ioffe2015batch, section 3.1"
TESTS = "tests/unit/test_identities_inference.py::"

TENTH = 0.1  # of the errors: less than that is no difference
READER = {"arm": Arm("batch", 0.1), "net": Mlp("relu", 3, 64), "steps": 150}

# ---------------------------------------------------------------------------
# Population statistics and their estimates

identity(
    "running-average-remembers",
    "A running average that gives a new mini-batch the weight w holds (1 − w)^k of its "
    "initial value after k mini-batches.",
    source=PAPER,
    test=TESTS + "test_a_running_average_holds_a_power_of_its_start",
)
identity(
    "normalized-examples-stand-apart",
    "The products of two different normalized values of one mini-batch average to "
    "−1/(m − 1), where independent draws would average to 0 (for ε = 0).",
    source="ioffe2015batch, algorithm 1",
    test=TESTS + "test_normalized_examples_stand_apart",
)


@experiment(
    "accuracy with exact statistics, less that with running ones, over the errors with "
    "exact ones",
    within(-TENTH, TENTH),
    id="running-average-default",
    statement="After 150 steps, running averages of momentum 0.1 classify as well as "
    "the exact statistics of the training set.",
    source=f"{PAPER}; wu2021rethinking, section 3",
    setting={**READER, "first": EXACT, "second": RUNNING},
    negative={"steps": 50, "second": SLOWER},
    positive={"second": EXACT},
    oracle={"first": PERFECT},
    **ACCURACY,
)
@experiment(
    "accuracy with exact statistics, less that with re-estimated ones, over the errors "
    "with exact ones",
    within(-TENTH, TENTH),
    id="reestimated-statistics",
    statement="For networks after 50 steps, statistics estimated anew from 10 "
    "mini-batches of 60 classify as well as the exact ones.",
    source="ioffe2015batch, algorithm 2; wu2021rethinking, section 3",
    setting={**READER, "steps": 50, "first": EXACT, "second": Way("anew")},
    negative={"second": SLOWER},
    positive={"second": EXACT},
    oracle={"first": PERFECT},
    **ACCURACY,
)
def in_errors(seeds, *, first, second, **reader):
    """Difference of two accuracies, in units of the errors with exact statistics."""
    errors = 1 - accuracy(seeds, EXACT, **reader)
    difference = accuracy(seeds, first, **reader) - accuracy(seeds, second, **reader)
    return difference / errors


@points_ahead(
    "accuracy with exact statistics, less that with running ones",
    id="running-average-lags",
    statement="With momentum 0.01, running averages have not arrived after 50 steps: "
    "the same networks read more test images with the exact statistics.",
    source=f"{PAPER}; wu2021rethinking, section 3",
    setting={**READER, "steps": 50, "first": EXACT, "second": SLOW},
    negative={"second": RUNNING},
    positive={"second": SLOWER},
)
@points_ahead(
    "accuracy in inference mode, less that in training mode",
    id="forgotten-eval",
    statement="Evaluated in training mode, in shuffled mini-batches of 8, a network "
    "reads fewer test images than in inference mode.",
    source=PAPER,
    setting={**READER, "first": RUNNING, "second": EIGHTS},
    negative={"second": EIGHTS._replace(batch=250)},
    positive={"second": EIGHTS._replace(batch=2)},
)
@points_ahead(
    "accuracy in training mode, test set shuffled, less that with it sorted by class",
    id="forgotten-eval-sorted",
    statement="In training mode, in mini-batches of 8, a network reads fewer test "
    "images if they are sorted by class: the mean that is subtracted is the answer.",
    source=PAPER,
    setting={**READER, "first": EIGHTS, "second": EIGHTS._replace(order="sorted")},
    negative={"second": EIGHTS},
    positive={"first": RUNNING},
)
def one_way_less_another(seeds, *, first, second, **reader):
    """Difference of the accuracies of the same networks, normalized in two ways."""
    return accuracy(seeds, first, **reader) - accuracy(seeds, second, **reader)


# ---------------------------------------------------------------------------
# Bessel's correction


@prediction(
    "factor by which the mini-batches' variances are too small",
    over="batch",
    tolerance=0.02,
    source="ioffe2015batch, algorithm 2, step 10",
    setting={**READER, "batch": (2, 4, 8, 16)},
)
def bessel_first_layer(seeds, *, batch, **reader):
    """In the first layer, which sees independent draws, the variances of mini-batches
    of m are on average too small by the factor m/(m − 1)."""
    run = readers(seeds, **reader)
    x, _ = training_part(seeds)
    z = x @ unpack(run.network, run.theta)[0].weight.swapaxes(1, 2)
    whole = z.var(axis=1).sum(axis=1)
    measured = []
    for m in batch:
        groups = z[:, : z.shape[1] // m * m].reshape(len(z), -1, m, z.shape[2])
        measured.append(whole / groups.var(axis=2).mean(axis=1).sum(axis=1))
    return np.array([m / (m - 1) for m in batch]), np.stack(measured, axis=1)


@experiment(
    "share of the variance between mini-batches, over 1/m (the layer where it is more)",
    below(TENTH),
    claimed="We use the unbiased variance estimate Var[x] = m/(m−1) · E_B[σ²_B], where "
    "the expectation is over training mini-batches of size m",
    claimed_by=PAPER,
    source="ioffe2015batch, algorithm 2, step 10",
    setting={**READER, "layers": (1, 2), "batch": 4, "of": "inputs"},
    negative={"layers": (0,)},
    positive={"of": "normalized inputs"},
)
def bessel_third_layer(seeds, *, layers, batch, of, **reader):
    """Behind a normalization there is next to nothing to correct: in the second and
    third layer, the means of mini-batches of 4 hold less than a tenth of the share of
    the variance that the factor 4/3 makes up for."""
    run = readers(seeds, **reader)
    x, _ = training_part(seeds)
    means, variances = [], []
    for start in range(0, x.shape[1] - batch + 1, batch):
        traces = forward(run.network, run.theta, x[:, start : start + batch])
        found = [_moments(traces[layer], of) for layer in layers]
        means.append([mean for mean, _ in found])
        variances.append([var for _, var in found])
    between = np.var(means, axis=0).sum(axis=-1)
    within_ = np.mean(variances, axis=0).sum(axis=-1)
    return (batch * between / (between + within_)).max(axis=0)


def _moments(trace, of):
    """Mean and variance over a mini-batch of what a layer normalizes, or makes of it.

    The second, γ x̂ + β, has the same mean in every mini-batch.
    """
    if of == "inputs":
        return trace.mean, trace.var
    return trace.preactivation.mean(axis=1), trace.preactivation.var(axis=1)


# ---------------------------------------------------------------------------
# The wrong mode, and other images


@experiment(
    "share of the test images that inference mode reads right and whose class changes "
    "with the companions",
    above(0.1),  # more than a network that guesses reads right
    source="ioffe2015batch, section 3, below algorithm 1",
    setting={**READER, "batch": 4},
    negative={"batch": 250},
    positive={"batch": 2},
    **ACCURACY,
)
def companions_decide(seeds, *, batch, **reader):
    """In training mode with mini-batches of 4, the class of many test images that the
    network can read changes with the three companions."""
    run = readers(seeds, **reader)
    x, y = testing_part(seeds)
    given = np.arange(x.shape[1] // batch * batch)
    x, y = x[:, given], y[:, given]

    def classes(order, *statistics):
        pieces = np.split(order, len(order) // batch)
        logits = [
            forward(run.network, run.theta, x[:, rows], *statistics)[-1].output
            for rows in pieces
        ]
        return np.concatenate(logits, axis=1).argmax(axis=2)[:, np.argsort(order)]

    other = np.random.default_rng(0).permutation(len(given))
    readable = classes(given, run.running) == y
    return (readable & (classes(given) != classes(other))).mean(axis=1)


identity(
    "contrast-is-undone",
    "A layer that normalizes by the statistics of what it is given returns the same "
    "for images of any other contrast or brightness, x → a x + b with a > 0, up to ε.",
    source="ioffe2015batch, section 3.3",
    test=TESTS + "test_contrast_is_undone",
)


@points_ahead(
    "accuracy with the new images' statistics, less that with the stored ones",
    source="ioffe2015batch, section 5; li2016revisiting, section 3",
    setting={**READER, "left": 0.3, "right": 1.0, "stored": RUNNING},
    negative={"left": 1.0},
    positive={"right": 0.3},
    oracle={"stored": PERFECT},
)
def adapted_statistics(seeds, *, left, right, stored, **reader):
    """On test images with a shadow over their left half, which no normalization undoes,
    statistics taken from other such images, without labels, are better than the stored
    ones."""
    run = readers(seeds, **reader)
    x, y = testing_part(seeds)
    x = np.where(np.arange(x.shape[2]) % 8 < 4, left, right) * x
    halves = np.split(np.arange(x.shape[1]), 2)

    def right_of(rows, others):
        adapted = moments_over(run.network, run.theta, x[:, others])
        given = run.network, run.theta, x[:, rows], y[:, rows]
        return [evaluate(*given, s).accuracy for s in (adapted, run.running)]

    # Each half is read with the statistics of the other.
    new, old = np.mean([right_of(*halves), right_of(*halves[::-1])], axis=0)
    return new - (np.ones(len(seeds)) if stored == PERFECT else old)


# ---------------------------------------------------------------------------
# Mini-batches that are no random draws

MIXED, ONE = Training("mixed domains"), Training("one domain")
SINGLE = Training("one class", arm=Arm("batch", 0.03))
CONV = Training("one class", net=Cnn(), dtype=np.float32)  # which is faster


@points_ahead(
    "accuracy in training mode, one domain a mini-batch, less that in inference mode",
    source="wu2021rethinking, section 5",
    setting={"training": ONE, "stored": ONE},
    negative={"training": MIXED, "stored": MIXED},
    positive={"stored": ONE._replace(momentum=0.001)},
    oracle={"stored": PERFECT},
)
def one_domain_batches(seeds, *, training, stored):
    """Trained on mini-batches that each hold one domain of four, a network reads more
    test images in such mini-batches, in training mode, than in inference mode."""
    run = training.run(seeds)
    return domain_by_domain(seeds, run, training.batch) - in_inference(seeds, stored)


@points_ahead(
    "accuracy in inference mode, mixed mini-batches less those of one domain",
    id="mixed-domain-batches",
    statement="In inference mode a network reads more test images if each mini-batch "
    "of its training mixed the four domains than if it held one.",
    source="wu2021rethinking, section 5",
    setting={"first": MIXED, "second": ONE},
    negative={"first": ONE.redrawn()},
    positive={"second": ONE.untrained()},
)
@points_ahead(
    "accuracy in inference mode, convolutional network less fully connected one",
    id="single-class-batches-conv",
    statement="A small convolutional network does learn from mini-batches of a single "
    "class: in inference mode it reads more test images than the fully connected one.",
    source="ioffe2015batch, section 3.2",
    setting={"first": CONV, "second": SINGLE},
    negative={"first": SINGLE.redrawn()},
    positive={"first": CONV._replace(kind="shuffled")},
)
@points_ahead(
    "accuracy in inference mode, shuffled mini-batches less those of a single class",
    id="single-class-batches-cost",
    question="Does a convolutional network mind mini-batches of a single class?",
    statement="It reads fewer test images if it learned from them than if it learned "
    "from shuffled ones.",
    source="ioffe2015batch, section 3.2",
    setting={"first": CONV._replace(kind="shuffled"), "second": CONV},
    negative={"first": CONV.redrawn()},
    positive={"second": CONV.untrained()},
)
def one_training_less_another(seeds, *, first, second):
    """Difference of the accuracies in inference mode after two kinds of training."""
    return in_inference(seeds, first) - in_inference(seeds, second)


@experiment(
    "accuracy on its training images, in the mode in which it is highest",
    below(0.2),  # twice what guessing reads
    source="ioffe2017batch, abstract; wu2021rethinking, section 5",
    setting={"training": SINGLE},
    negative={"training": SINGLE._replace(kind="shuffled")},
    positive={"training": SINGLE.untrained()},
    **ACCURACY,
)
def single_class_batches(seeds, *, training):
    """From mini-batches of a single class a fully connected network with batch
    normalization learns nothing: it reads fewer than one in five of its own training
    images, in inference mode and in training mode, shuffled or grouped by class."""
    return best_of_modes(seeds, training.run(seeds), training.batch)


# ---------------------------------------------------------------------------
# Frozen statistics

FAST = Arm("batch", 0.3)


@experiment(
    "share of networks that lose half of their accuracy at the old rate, and not at a "
    "tenth of it",
    above(0.5),
    source="ioffe2015batch, section 3.3",
    estimator="share",
    setting={
        **READER,
        "arm": FAST,
        "old": FAST.rate,
        "lower": FAST.rate / 10,
        "frozen": True,
        "more": 100,
        "batch": 32,
    },
    negative={"frozen": False},
    positive={"old": 10 * FAST.rate},
    oracle={"old": PERFECT},
)
def frozen_at_the_old_rate(seeds, *, old, lower, frozen, more, batch, **reader):
    """Frozen with the statistics of its training, a network that goes on learning at
    the old rate most often loses half of its accuracy or more, which it keeps at a
    tenth of the rate."""
    run = readers(seeds, **reader)
    half = run.accuracy[:, -1] / 2

    def after(rate):
        if rate == PERFECT:
            return np.ones(len(seeds))
        train_on = go_on_frozen if frozen else go_on
        return train_on(seeds, run, rate, more, batch)

    return (after(old) < half) & (after(lower) > half)


# ---------------------------------------------------------------------------
# Folding

identity(
    "folding-exact",
    "Folded into the linear or convolutional layer before it, batch normalization in "
    "inference mode gives the same outputs.",
    source="jacob2018quantization, section 3.2",
    test=TESTS + "test_folded_layers_are_those_of_torch",
)
identity(
    "folding-single-precision",
    "In single precision, the outputs of a folded layer with n weights a channel are "
    "within 2 (n + 8) roundoffs of those of the two layers, relative to the sum of "
    "the magnitudes of all terms of an output.",
    source="jacob2018quantization, section 3.2",
    test=TESTS + "test_folding_in_single_precision_stays_within_its_bound",
)
