"""Claims about shifts: of the inputs, of the rule, and of the inputs of a layer."""

import numpy as np

from batchnorm import datasets
from batchnorm.claims.drift import movement, record_moments
from batchnorm.claims.registry import above, below, between, claim
from batchnorm.ensemble import (
    Network,
    evaluate,
    forward,
    init_parameters,
    train,
    unpack,
)

# ---------------------------------------------------------------------------
# Outside a network: the inputs change, or the rule does

READER = {"hidden": (64, 64), "rate": 0.1, "steps": 200}


@claim(
    id="covariate-shift-slant",
    statement=(
        "No pixel has to be changed: a network that has learned from the third of the "
        "digits that lean to the left loses more than 40 points on the third that "
        "lean to the right."
    ),
    source="shimodaira2000improving, section 1",
    setting={**READER, "style": "slant"},
    effect="accuracy on the style seen, less that on the other",
    condition=above(0.4),
)
def covariate_shift_slant(seeds, *, style, **net):
    return _loss_of_accuracy(seeds, lambda s: datasets.digits_by_style(s, style), **net)


@claim(
    id="covariate-shift-ink",
    question="Does a model fail whenever the distribution of its inputs changes?",
    statement=(
        "No. From the third of the digits with the least ink to the third with the "
        "most, the same network loses fewer than 15 points."
    ),
    source="shimodaira2000improving, section 1",
    setting={**READER, "style": "ink"},
    effect="accuracy on the style seen, less that on the other",
    condition=below(0.15),
)
def covariate_shift_ink(seeds, *, style, **net):
    return _loss_of_accuracy(seeds, lambda s: datasets.digits_by_style(s, style), **net)


@claim(
    id="concept-shift",
    statement=(
        "With the labels of 1 and 7 exchanged, and of 3 and 5, the very images that "
        "the network read well cost it between 30 and 45 points: it keeps to the old "
        "labels, and four tenths of them are no longer right."
    ),
    source="morenotorres2012unifying, the definition of concept shift",
    setting=READER,
    effect="accuracy by the old rule, less that by the new",
    condition=between(0.3, 0.45),
)
def concept_shift(seeds, **net):
    return _loss_of_accuracy(seeds, datasets.relabeled_digits, **net)


def _loss_of_accuracy(seeds, data, *, hidden, rate, steps):
    """Accuracy of a ReLU network on the source's test part, less on the target."""
    shifts = {seed: data(seed) for seed in seeds}
    network = Network((shifts[seeds[0]].x_train.shape[1],), hidden)
    options = {"lr": rate, "steps": steps, "scale": 2**0.5, "every": None}
    run = train(network, shifts.get, seeds, **options)
    x = np.stack([shifts[seed].x_target for seed in seeds])
    y = np.stack([shifts[seed].y_target for seed in seeds])
    return run.accuracy[:, -1] - evaluate(network, run.theta, x, y).accuracy


WEIGHTS = {"examples": 100, "draws": 100}


@claim(
    id="importance-weights-repair",
    statement=(
        "Where the model is too simple for the whole curve, weighting each example by "
        "the ratio of the densities takes more than nine tenths off the error that is "
        "not noise, on average over 100 draws of the data."
    ),
    source="shimodaira2000improving, section 3",
    setting={"degree": 1, **WEIGHTS},
    effect="error on the target beyond the noise, weighted fit over plain fit",
    condition=below(0.1),
    scale="log",
)
def importance_weights_repair(seeds, **setting):
    return _weighted_over_plain(seeds, **setting)


@claim(
    id="importance-weights-not-needed",
    claimed=(
        "Under correct specification of the model, however, the ordinary maximum "
        "likelihood estimate (i.e. the uniform weight) is shown to be optimal "
        "asymptotically."
    ),
    claimed_by="shimodaira2000improving, abstract",
    statement=(
        "So it is here: for a cubic fitted to a cubic, the weights make the error that "
        "is not noise more than a fifth larger, on average over 100 draws of the data."
    ),
    source="shimodaira2000improving, abstract",
    setting={"degree": 3, **WEIGHTS},
    effect="error on the target beyond the noise, weighted fit over plain fit",
    condition=above(1.2),
)
def importance_weights_not_needed(seeds, **setting):
    return _weighted_over_plain(seeds, **setting)


def _weighted_over_plain(seeds, *, degree, examples, draws):
    """Excess error of weighted polynomial fits over that of plain ones, means."""

    def ratio(seed):
        data = datasets.cubic_shift(seed, draws * examples)
        errors = []
        for x, y in zip(
            data.x.reshape(draws, -1), data.y.reshape(draws, -1), strict=True
        ):
            for weights in (datasets.density_ratio(x), np.ones(examples)):
                # polyfit weighs residuals, not their squares.
                fit = np.polyfit(x, y, degree, w=np.sqrt(weights))
                errors.append(excess_error(fit))
        weighted, plain = np.reshape(errors, (draws, 2)).mean(axis=0)
        return weighted / plain

    return [ratio(seed) for seed in seeds]


def excess_error(fit):
    r"""Squared error on the target of `cubic_shift`, beyond that of the noise.

    $\mathbb E\,(p(x) - f(x))^2$ with $f$ the true cubic and $x$ drawn from the target.
    The noise of the targets, which no fit can avoid, does not enter.

    Parameters
    ----------
    fit : array of shape (degree + 1,)
        Coefficients of the polynomial $p$, highest power first; degree at most 4.

    Returns
    -------
    float
        The expectation, exact up to rounding: Gauss and Hermite's rule with 8 nodes
        integrates polynomials up to degree 15.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(8)
    mean, deviation = datasets.TARGET
    x = mean + deviation * nodes
    wrong = (np.polyval(fit, x) - datasets.cubic(x)) ** 2
    return float(weights @ wrong / weights.sum())


# ---------------------------------------------------------------------------
# Inside a network: how far the inputs of its units drift while it trains

# The rate and scale that are registered as tuned for these networks, with the claims
# "sigmoid-steps" and "relu-steps": a test holds them equal.
PAPERS = {  # three layers of sigmoids, as in the paper's figure 1
    "nonlinearity": "sigmoid",
    "depth": 3,
    "width": 50,
    "steps": 200,
    "best": (1.0, 4.0),
}
DEEPER = {"nonlinearity": "relu", "depth": 6, "width": 50, "steps": 100}
WITHOUT, NORMALIZED = (0.1, 1.7), (0.1, 0.5)


@claim(
    id="drift-grows-with-depth",
    statement=(
        "Without normalization, the means of the units' inputs move faster in the "
        "sixth of six ReLU layers than in the first, by more than the factor 1.5, "
        "both as they are and in units of the inputs' spread."
    ),
    source="ioffe2015batch, section 1",
    setting={**DEEPER, "best": WITHOUT},
    effect="movement in 10 steps, layer 6 over layer 1 (the unit in which it is less)",
    condition=above(1.5),
)
def drift_grows(seeds, **setting):
    moved = movement(record_moments(seeds, **setting))
    return (moved[..., -1] / moved[..., 0]).min(axis=0)


@claim(
    id="drift-comes-from-below",
    statement=(
        "The layers below move them: with those frozen, the means of the sixth ReLU "
        "layer's inputs move less, both as they are and in units of their spread."
    ),
    source="ioffe2015batch, section 1",
    setting={**DEEPER, "best": WITHOUT},
    effect=(
        "movement in layer 6, all layers learning over the layers below frozen (in "
        "the unit in which it is less)"
    ),
    condition=above(1),
)
def drift_from_below(seeds, **setting):
    return _free_over_frozen(seeds, **setting).min(axis=0)


@claim(
    id="drift-is-the-layers-own",
    claimed=(
        "The distributions in the original network change significantly over time, "
        "both in their mean and the variance, which complicates the training of the "
        "subsequent layers."
    ),
    claimed_by="ioffe2015batch, section 4.1",
    statement=(
        "The means do change, and no learning below is needed for it: in three layers "
        "of sigmoids, those of the last layer's inputs move as far with the layers "
        "below frozen, within a factor 1.5."
    ),
    source="ioffe2015batch, figure 1 (b, c)",
    setting=PAPERS,
    effect="movement in layer 3, all layers learning over the layers below frozen",
    condition=between(1 / 1.5, 1.5),
)
def drift_is_own(seeds, **setting):
    as_it_is, _ = _free_over_frozen(seeds, **setting)
    return as_it_is


@claim(
    id="normalized-drift-does-not-grow",
    statement=(
        "With batch normalization the movement does not grow with depth, even "
        "measured before the normalization: neither at the scale tuned for it nor at "
        "the plain network's, neither as it is nor in units of the spread."
    ),
    source="ioffe2015batch, section 1",
    setting={**DEEPER, "bests": (NORMALIZED, WITHOUT)},
    effect=(
        "movement in 10 steps before normalization, layer 6 over layer 1 (the scale "
        "and unit in which it is most)"
    ),
    condition=below(1),
)
def normalized_drift(seeds, *, bests, **setting):
    def growth(best):
        moved = movement(record_moments(seeds, norm="batch", best=best, **setting))
        return (moved[..., -1] / moved[..., 0]).max(axis=0)

    return np.max([growth(best) for best in bests], axis=0)


def _free_over_frozen(seeds, **setting):
    """Movement in the last layer, free over with all layers below it frozen: (2, S)."""
    free = movement(record_moments(seeds, **setting))[..., -1]
    still = record_moments(seeds, frozen=setting["depth"] - 1, **setting)
    return free / movement(still)[..., 0]


# ---------------------------------------------------------------------------
# A small change of the first layer, followed through the layers above

PROBE = {"depth": 10, "width": 100, "probe": 100, "size": 0.01}


@claim(
    id="small-change-passes",
    claimed=(
        "small changes to the network parameters amplify as the network becomes deeper."
    ),
    claimed_by="ioffe2015batch, section 1",
    statement=(
        "Not in a well-scaled network: through ten tanh layers at Xavier's scale, a "
        "small change of the first layer's weights stays, in units of the inputs' "
        "spread, what it was within a factor 2."
    ),
    source="ioffe2015batch, section 1",
    setting={**PROBE, "nonlinearity": "tanh", "scale": 1.0},
    effect="change in standard deviations, layer 10 over layer 1",
    condition=between(0.5, 2),
)
def small_change_passes(seeds, **setting):
    change = small_change(seeds, norm=None, **setting)
    return change[:, -1] / change[:, 0]


@claim(
    id="small-change-amplifies",
    statement=(
        "At three times that scale it is amplified, by more than the factor 5 over "
        "the ten layers."
    ),
    source="ioffe2015batch, section 1",
    setting={**PROBE, "nonlinearity": "tanh", "scale": 3.0},
    effect="change in standard deviations, layer 10 over layer 1",
    condition=above(5),
)
def small_change_amplifies(seeds, **setting):
    change = small_change(seeds, norm=None, **setting)
    return change[:, -1] / change[:, 0]


@claim(
    id="normalized-small-change",
    claimed=(
        "it prevents small changes to the parameters from amplifying into larger and "
        "suboptimal changes in activations in gradients"
    ),
    claimed_by="ioffe2015batch, section 3.3",
    statement=(
        "At initialization it does not: a small change of the first of ten ReLU layers "
        "grows more than 1.5 times as much on its way up as without normalization, "
        "both as it is and in units of the inputs' spread."
    ),
    source="ioffe2015batch, section 3.3",
    setting={**PROBE, "nonlinearity": "relu", "scale": 2**0.5},
    effect=(
        "growth of the change from layer 1 to 10, with over without (in the unit in "
        "which it is less)"
    ),
    condition=above(1.5),
)
def normalized_small_change(seeds, **setting):
    def growth(norm):
        change, spread = small_change_and_spread(seeds, norm=norm, **setting)
        as_it_is = change[:, -1] / change[:, 0]
        return np.stack([as_it_is, as_it_is * spread[:, 0] / spread[:, -1]])

    return (growth("batch") / growth(None)).min(axis=0)


def small_change(seeds, **setting):
    """Change of all layers' inputs over their spread, if the first layer's weights do.

    setting: as in `small_change_and_spread`. Returns (S, depth).
    """
    change, spread = small_change_and_spread(seeds, **setting)
    return change / spread


def small_change_and_spread(
    seeds, *, nonlinearity, scale, norm, depth, width, probe, size
):
    """How much all layers' inputs change if the first layer's weights do, and vary.

    Parameters
    ----------
    seeds : sequence of int
        S seeds, of the digits and of the weights.
    nonlinearity, norm, depth, width
        The network, as in `Network`: `depth` hidden layers of `width` units.
    scale : float
        Initial scale of the weights.
    probe : int
        The number of test images.
    size : float
        The first layer's weights move by this share of an independent draw of them.

    Returns
    -------
    change, spread : arrays of shape (S, depth)
        Root mean square of the change of the inputs, before any normalization, and of
        their standard deviation over the images.
    """
    network = Network((64,), (width,) * depth, nonlinearity=nonlinearity, norm=norm)
    x = np.stack([datasets.digits(seed).x_test[:probe] for seed in seeds])
    theta = init_parameters(network, seeds, scale)
    other = init_parameters(network, [seed + 10_000 for seed in seeds], scale)
    moved = theta.copy()
    unpack(network, moved)[0].weight[...] += size * unpack(network, other)[0].weight

    def inputs(theta):
        return np.array(
            [layer.preactivation for layer in forward(network, theta, x)[:-1]]
        )

    before = inputs(theta)
    change = np.square(inputs(moved) - before).mean(axis=(2, 3))
    return np.sqrt(change).T, np.sqrt(before.var(axis=2).mean(axis=2)).T
