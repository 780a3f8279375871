"""Claims about shifts: of the inputs, of the rule, and of the inputs of a layer."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from batchnorm import datasets
from batchnorm.claims.networks import PERFECT, POINTS, SHARED, Arm, Mlp
from batchnorm.claims.registry import experiment, identity
from batchnorm.claims.shifted import excess_errors, read
from batchnorm.claims.tuning import SWEEPS, best
from batchnorm.claims.types import above, below, within
from batchnorm.ensemble import Recorder, forward, init_parameters, train
from batchnorm.experiments.drift import movement, record_moments, small_change

# ---------------------------------------------------------------------------
# Outside a network: the inputs change, or the rule does

identity(
    "silent-inputs-teach-nothing",
    "Weights of an input that is zero in every example have the gradient zero, so "
    "gradient descent leaves them as they were drawn.",
    source="shimodaira2000improving, section 1",
    test="tests/unit/test_identities_covariate_shift.py"
    "::test_weights_of_inputs_that_are_always_zero_do_not_learn",
)
identity(
    "concept-shift",
    "Exchanging the labels of pairs of classes costs the share of the images that are "
    "of these classes and were read right, less the share that were taken for the "
    "other class of their pair.",
    source="morenotorres2012unifying, the definition of concept shift",
    test="tests/unit/test_identities_covariate_shift.py"
    "::test_exchanged_labels_cost_what_was_right_less_what_was_confused",
)

READER = {"arm": Arm(None, 0.1), "net": Mlp("relu", 2, 64), "steps": 200}
# Test and target are a third of the test images, and the training part is a third of
# the training images, so SHARED is their ratio as well.
STYLES = {
    "source": "shimodaira2000improving, section 1",
    "estimator": "mean",
    "shared": SHARED,
}


@experiment(
    "accuracy on the slant seen, less that on the other",
    above(POINTS),
    setting={**READER, "shift": "slant"},
    negative={"shift": "by chance"},
    positive={"shift": "turned"},
    **STYLES,
)
def covariate_shift_slant(seeds, *, shift, **reader):
    """A network that has learned from the third of the digits that lean to the left
    reads the third that lean to the right less well: no pixel has to be changed."""
    seen, met = read(seeds, shift, **reader)
    return seen - met


@experiment(
    "accuracy on the ink seen, less that on the other",
    within(-POINTS, POINTS),
    question="Does a model fail whenever the distribution of its inputs changes?",
    setting={**READER, "shift": "ink"},
    negative={"shift": "turned"},
    positive={"shift": "unchanged"},
    **STYLES,
)
def covariate_shift_ink(seeds, *, shift, **reader):
    """From the third of the digits with the least ink to the third with the most, the
    same network loses nothing."""
    seen, met = read(seeds, shift, **reader)
    # A network that has learned nothing has nothing to lose: it counts as lost.
    return np.where(seen > 0.5, seen - met, 1.0)


@experiment(
    "accuracy that another slant costs, less that other ink costs",
    above(POINTS),
    setting={**READER, "first": "slant", "second": "ink"},
    negative={"first": "ink", "second": "slant"},
    positive={"first": "turned", "second": "by chance"},
    **STYLES,
)
def slant_costs_more_than_ink(seeds, *, first, second, **reader):
    """It depends on the shift what it costs: another slant costs more accuracy than
    another amount of ink."""
    (a, b), (c, d) = (read(seeds, shift, **reader) for shift in (first, second))
    return (a - b) - (c - d)


# ---------------------------------------------------------------------------
# Importance weights

WEIGHTS = {"examples": 100, "draws": 100, "first": "weighted", "second": "plain"}


@experiment(
    "error on the target beyond the noise, weighted fit over plain fit",
    below(1 / 1.25),
    id="importance-weights-repair",
    statement="Where the model is too simple for the rule, weighting each example by "
    "the ratio of the densities makes the error that is not noise smaller.",
    source="shimodaira2000improving, section 3",
    setting={"degree": 1, **WEIGHTS},
    negative={"first": "shuffled"},
    positive={"first": "perfect"},
    oracle={"second": "perfect"},
    scale="log",
)
@experiment(
    "error on the target beyond the noise, weighted fit over plain fit",
    above(1.25),
    id="importance-weights-not-needed",
    claimed="Under correct specification of the model, however, the ordinary maximum "
    "likelihood estimate (i.e. the uniform weight) is shown to be optimal "
    "asymptotically.",
    claimed_by="shimodaira2000improving, abstract",
    statement="So it is with 100 examples: for a cubic fitted to a cubic, the weights "
    "make the error that is not noise larger.",
    source="shimodaira2000improving, abstract",
    setting={"degree": 3, **WEIGHTS},
    negative={"first": "plain"},
    positive={"first": "half"},
    oracle={"first": "perfect"},
    scale="log",
)
def weighted_over_plain(seeds, *, degree, first, second, **size):
    """Mean excess error of one kind of fit over that of another."""
    errors = {
        kind: np.array(
            [excess_errors(seed, kind, degree, **size).mean() for seed in seeds]
        )
        for kind in {first, second}
    }
    with np.errstate(divide="ignore"):
        return errors[first] / errors[second]


# ---------------------------------------------------------------------------
# Inside a network: the percentiles of figure 1 (b, c)

FIGURE = {"net": SWEEPS["sigmoid"].net, "steps": 200}
PLAIN, NORMALIZED = best("sigmoid", None), best("sigmoid", "batch")
STILL = PLAIN._replace(rate=PLAIN.rate / 1000)  # hardly learns, so nothing moves


@experiment(
    "range of the median input, without over with (as it is or in spreads, whichever "
    "is less)",
    above(1.25),
    source="ioffe2015batch, figure 1 (b, c)",
    claimed="Batch Normalization makes the distribution more stable and reduces the "
    "internal covariate shift.",
    claimed_by="ioffe2015batch, figure 1",
    setting={"without": PLAIN, "normalized": NORMALIZED, **FIGURE},
    negative={"normalized": PLAIN._replace(draw=1)},
    positive={"normalized": STILL},
    oracle={"without": STILL},
    scale="log",
)
def percentiles_steadier(seeds, *, without, normalized, **setting):
    """The distribution is more stable, in good part by construction: over training,
    the medians of the inputs of the last layer's sigmoids wander over a wider range
    without batch normalization, as they are and in units of the inputs' spread."""
    ratio = wandering(seeds, without, **setting) / wandering(
        seeds, normalized, **setting
    )
    return ratio.min(axis=0)


def wandering(seeds, arm, net, steps):
    """Range of the median input of the last hidden layer's units over training.

    As it is and over the mean distance of the outer percentiles, each a mean over
    units -> (2, S).
    """
    x = np.stack([datasets.digits(seed).x_test[:100] for seed in seeds])
    network, theta = drawn(seeds, arm, net)

    def percentiles(state):
        inputs = forward(network, state.theta, x)[-2].preactivation
        return np.percentile(inputs, (15, 50, 85), axis=1).transpose(1, 2, 0)

    run = train(
        network,
        datasets.digits,
        seeds,
        theta=theta,
        lr=arm.rate,
        steps=steps,
        recorder=Recorder(quantities={"q": percentiles}),
    )
    low, median, high = np.moveaxis(run.records["q"], -1, 0)
    reach, spread = np.ptp(median, axis=1), (high - low).mean(axis=1)
    return np.stack([reach.mean(axis=1), (reach / spread).mean(axis=1)])


def drawn(seeds, arm, net):
    """The networks of an arm before training -> `Network`, parameters."""
    network = net.network(arm.norm)
    theta = init_parameters(network, arm.draws(seeds), arm.scale)
    return network, theta


# ---------------------------------------------------------------------------
# Inside a network: how far the means of the units' inputs move


class Side(NamedTuple):
    """What is compared: a layer of the networks of an arm, those below free or not."""

    arm: Arm
    layer: int
    frozen: int = 0

    def slowed(self):
        """The same at a tenth of the learning rate."""
        return self._replace(arm=self.arm._replace(rate=self.arm.rate / 10))

    def redrawn(self):
        """The same from other initial weights."""
        return self._replace(arm=self.arm._replace(draw=1))


RELUS = SWEEPS["relu"].net
DEEPER = {"net": RELUS, "steps": 100}
FIRST, SIXTH = (Side(best("relu", None), layer) for layer in (1, 6))
FIRST_NORMALIZED, SIXTH_NORMALIZED = (
    Side(best("relu", "batch"), layer) for layer in (1, 6)
)
THIRD = Side(PLAIN, 3)  # of three layers of sigmoids


@experiment(
    "movement in 10 steps, layer 6 over layer 1 (the unit in which it is less)",
    above(1.25),
    id="drift-grows-with-depth",
    statement="Without normalization, the means of the units' inputs move faster in "
    "the sixth of six ReLU layers than in the first, both as they are and in units of "
    "the inputs' spread.",
    source="ioffe2015batch, section 1",
    setting={**DEEPER, "first": SIXTH, "second": FIRST, "unit": "less"},
    negative={"first": FIRST.redrawn()},
    positive={"second": FIRST.slowed()},
    scale="log",
)
@experiment(
    "movement in layer 6, all layers learning over the layers below frozen (the unit "
    "in which it is less)",
    above(1.25),
    id="drift-comes-from-below",
    statement="The layers below move them: with those frozen, the means of the sixth "
    "ReLU layer's inputs move less, both as they are and in units of their spread.",
    source="ioffe2015batch, section 1",
    setting={
        **DEEPER,
        "first": SIXTH,
        "second": SIXTH._replace(frozen=5),
        "unit": "less",
    },
    negative={"second": SIXTH.redrawn()},
    positive={"second": SIXTH._replace(frozen=5).slowed()},
    scale="log",
)
@experiment(
    "movement in layer 3, all layers learning over the layers below frozen, as it is",
    within(1 / 1.25, 1.25),
    id="drift-is-the-layers-own",
    claimed="The distributions in the original network change significantly over time, "
    "both in their mean and the variance, which complicates the training of the "
    "subsequent layers.",
    claimed_by="ioffe2015batch, section 4.1",
    statement="The means do change, and no learning below is needed for it: in three "
    "layers of sigmoids, those of the last layer's inputs move as far with the layers "
    "below frozen.",
    source="ioffe2015batch, figure 1 (b, c)",
    setting={
        **FIGURE,
        "first": THIRD,
        "second": THIRD._replace(frozen=2),
        "unit": "as it is",
    },
    negative={"second": THIRD._replace(frozen=2).slowed()},
    positive={"second": THIRD.redrawn()},
    scale="log",
)
@experiment(
    "movement in 10 steps before normalization, layer 6 over layer 1 (the unit in "
    "which it is more)",
    below(1.25),
    id="normalized-drift-does-not-grow",
    statement="With batch normalization the movement does not grow with depth, even "
    "measured before the normalization, neither as it is nor in units of the spread.",
    source="ioffe2015batch, section 1",
    setting={
        **DEEPER,
        "first": SIXTH_NORMALIZED,
        "second": FIRST_NORMALIZED,
        "unit": "more",
    },
    negative={"second": FIRST_NORMALIZED.slowed()},
    positive={"first": FIRST_NORMALIZED.redrawn()},
    scale="log",
)
def moved_over(seeds, *, first, second, net, steps, unit):
    """Movement of one side over that of another, in one unit of two."""
    numerator, denominator = (
        _moved(tuple(seeds), side, net, steps) for side in (first, second)
    )
    as_it_is, in_spreads = numerator / denominator
    return {
        "as it is": as_it_is,
        "less": np.minimum(as_it_is, in_spreads),
        "more": np.maximum(as_it_is, in_spreads),
    }[unit]


def _moved(seeds, side, net, steps):
    """Movement in the layer of a side, as it is and in spreads -> (2, S)."""
    moved = _all_moved(seeds, side.arm, net, steps, side.frozen)
    return moved[..., side.layer - 1 - side.frozen]


@lru_cache(maxsize=8)
def _all_moved(seeds, arm, net, steps, frozen):
    network, theta = drawn(seeds, arm, net)
    run = record_moments(network, theta, seeds, lr=arm.rate, steps=steps, frozen=frozen)
    return movement(run)


# ---------------------------------------------------------------------------
# A small change of the first layer, followed through the layers above


class Untrained(NamedTuple):
    """A network at initialization."""

    net: Mlp
    scale: float
    norm: str | None = None
    draw: int = 0

    def draws(self, seeds):
        """The seeds of its weights -> (S,)."""
        return Arm(self.norm, 0.0, draw=self.draw).draws(seeds)


TANHS, TEN_RELUS = Mlp("tanh", 10, 100), Mlp("relu", 10, 100)
LINEAR = Untrained(Mlp("linear", 10, 100), 1.0)  # passes all on at its size
RELU = Untrained(TEN_RELUS, 2**0.5)


@experiment(
    "change in standard deviations, layer 10 over layer 1",
    within(0.5, 2),
    id="small-change-passes",
    claimed="small changes to the network parameters amplify as the network becomes "
    "deeper",
    claimed_by="ioffe2015batch, section 1",
    statement="Not in a well-scaled network at initialization: ten tanh layers at "
    "Xavier's scale pass a small change of the first layer's weights on at its size, "
    "in standard deviations of the layers' inputs.",
    source="ioffe2015batch, section 1",
    setting={"at": Untrained(TANHS, 1.0)},
    negative={"at": Untrained(TANHS, 6.0)},
    positive={"at": LINEAR},
    scale="log",
)
@experiment(
    "change in standard deviations, layer 10 over layer 1",
    above(2),
    id="small-change-amplifies",
    statement="At three times that scale the ten layers amplify it, in the same unit.",
    source="ioffe2015batch, section 1",
    setting={"at": Untrained(TANHS, 3.0)},
    negative={"at": LINEAR},
    positive={"at": Untrained(TANHS, 6.0)},
    scale="log",
)
def growth_in_spreads(seeds, *, at):
    """How a small change grows from the first layer to the last, in spreads."""
    return growth(seeds, at)[1]


@experiment(
    "growth of the change from layer 1 to 10, with over without (the unit in which it "
    "is less)",
    above(2),
    claimed="it prevents small changes to the parameters from amplifying into larger "
    "and suboptimal changes in activations in gradients",
    claimed_by="ioffe2015batch, section 3.3",
    source="ioffe2015batch, section 3.3",
    setting={"normalized": RELU._replace(norm="batch"), "without": RELU},
    negative={"normalized": RELU._replace(draw=1)},
    positive={"normalized": Untrained(TANHS, 6.0), "without": LINEAR},
    oracle={"normalized": PERFECT},
    scale="log",
)
def normalized_small_change(seeds, *, normalized, without):
    """At initialization it does not: a small change of the first of ten ReLU layers
    grows more on its way up than without normalization, both as it is and in units of
    the inputs' spread."""
    return (growth(seeds, normalized) / growth(seeds, without)).min(axis=0)


def growth(seeds, at):
    """Change in the last layer over that in the first, as it is and in spreads.

    A `PERFECT` network passes a change on as it is. Returns (2, S).
    """
    if at == PERFECT:
        return np.ones((2, len(seeds)))
    network = at.net.network(at.norm)
    change, spread = small_change(
        network, seeds, scale=at.scale, weights=at.draws(seeds)
    )
    as_it_is = change[:, -1] / change[:, 0]
    return np.stack([as_it_is, as_it_is * spread[:, 0] / spread[:, -1]])
