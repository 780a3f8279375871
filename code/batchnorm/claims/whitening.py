"""Claims of the chapter on whitening: what slows descent, and what a batch allows."""

import numpy as np

from batchnorm import datasets
from batchnorm.claims.registry import experiment, identity, prediction
from batchnorm.claims.types import above, within
from batchnorm.whitening import condition_number, covariance

TESTS = "tests/unit/test_identities_whitening.py"

# ---------------------------------------------------------------------------
# Steps of gradient descent

identity(
    "steps-of-two-columns",
    "With two columns, gradient descent at its best fixed rate divides the excess loss "
    "by q⁻² at every step, q = (κ − 1)/(κ + 1); with more, by at least that.",
    source="lecun1998efficient, section 5.1; goh2017why, Choosing A Step-size",
    test=f"{TESTS}::test_two_columns_shrink_by_q_squared_at_every_step",
)

identity(
    "standardizing-is-not-whitening",
    "The covariance of standardized columns is their correlation matrix; of two with "
    "correlation ρ the condition number is (1 + |ρ|)/(1 − |ρ|).",
    source="lecun1998efficient, section 4.3",
    test=f"{TESTS}::test_standardizing_leaves_the_correlation",
)

identity(
    "dividing-by-the-variance",
    "Two columns that are divided by their variances have the condition number of the "
    "raw ones.",
    source="lecun1998efficient, section 4.3",
    test=f"{TESTS}::test_two_columns_over_their_variances_are_as_badly_conditioned",
)

identity(
    "whitening-takes-one-step",
    "On whitened inputs, by PCA or by ZCA, one step of gradient descent at rate 1 "
    "lands on the minimum from anywhere.",
    source="lecun1998efficient, section 5",
    test=f"{TESTS}::test_whitened_inputs_take_one_step",
)


def cars_covariance(unit):
    r"""Covariance of age and kilometers of `datasets.used_cars`, from their densities.

    .. math::

        \mathrm{km} = c\,a L, \quad \ln L \sim N(0, s^2), \quad
        \mathrm{cov}(a, \mathrm{km}) = c\,E[L]\,\mathrm{var}(a), \quad
        \mathrm{var}(\mathrm{km}) = c^2 (E[a^2] E[L^2] - E[a]^2 E[L]^2)

    The unit is that of the second column, in kilometers.
    """
    first, last, c, s = 1, 12, 13_000 / unit, 0.5
    mean, variance = (first + last) / 2, (last - first) ** 2 / 12
    once, twice = np.exp(s**2 / 2), np.exp(2 * s**2)  # E[L] and E[L²]
    both = c * once * variance
    second = c**2 * ((variance + mean**2) * twice - (mean * once) ** 2)
    return np.array([[variance, both], [both, second]])


def steps_of_descent(hessian, error, tolerance):
    """Steps that gradient descent takes on quadratic bowls, many at once -> (S,).

    With Hessians (S, d, d) it starts at the given errors (S, d), has the best fixed
    rate 2/(λ_min + λ_max), and ends when the excess loss is `tolerance` times what it
    was.
    """
    values = np.linalg.eigvalsh(hessian)
    rate = 2 / (values[:, :1] + values[:, -1:])
    steps, goal = np.zeros(len(error), int), None
    while True:
        gradient = (hessian @ error[:, :, None])[:, :, 0]
        excess = (error * gradient).sum(axis=1)
        goal = tolerance * excess if goal is None else goal
        if not (excess > goal).any():
            return steps
        steps += excess > goal
        error = error - rate * gradient


@prediction(
    "steps of gradient descent for the price of used cars, on age and kilometers",
    over="unit",
    tolerance=0.1,
    source="lecun1998efficient, section 5.1; goh2017why, Choosing A Step-size",
    setting={
        "unit": (300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000),
        "cars": 2000,
        "tolerance": 1e-6,
    },
)
def steps_follow_condition_number(seeds, *, unit, cars, tolerance):
    """Gradient descent at its best fixed rate takes ln τ / (2 ln q) steps to a fraction
    τ of its excess loss, q = (κ − 1)/(κ + 1), with the condition number κ of the
    distribution that the cars are drawn from, in any unit of the kilometers."""
    values = np.linalg.eigvalsh([cars_covariance(one) for one in unit])
    kappa = values[:, 1] / values[:, 0]
    predicted = np.log(tolerance) / (2 * np.log((kappa - 1) / (kappa + 1)))
    drawn = [datasets.used_cars(seed, cars) for seed in seeds]
    measured = [
        _steps([car.x / [1, one] for car in drawn], drawn, tolerance) for one in unit
    ]
    return predicted, np.transpose(measured)


def _steps(columns, drawn, tolerance):
    """Steps of each linear fit of the price from weights of zero."""
    hessian = np.array([covariance(x) for x in columns])
    pull = [
        (x - x.mean(axis=0)).T @ car.y / len(x)
        for x, car in zip(columns, drawn, strict=True)
    ]
    # Both columns and price are less their means: then the intercept is zero.
    solution = np.linalg.solve(hessian, np.array(pull)[:, :, None])[:, :, 0]
    return steps_of_descent(hessian, -solution, tolerance)


# ---------------------------------------------------------------------------
# Why not whiten every layer: the statistics of a mini-batch

identity(
    "batch-covariance-rank",
    "The covariance of m examples in d dimensions has rank min(m − 1, d) at most, and "
    "that rank if they lie in general position: it has no inverse unless m > d.",
    source="ioffe2015batch, section 3",
    test=f"{TESTS}::test_the_covariance_of_a_batch_has_rank_m_less_one",
)


def normalized(known, unseen, how, epsilon):
    """New examples (n, d), normalized with mean and covariance of known ones (m, d).

    "jointly" is ZCA whitening with (C + εI)^(−1/2), "alone" divides each feature by
    √(σ² + ε).
    """
    unseen = unseen - known.mean(axis=0)
    if how == "alone":
        return unseen / np.sqrt(known.var(axis=0) + epsilon)
    values, axes = np.linalg.eigh(covariance(known))
    return unseen @ (axes / np.sqrt(values.clip(0) + epsilon)) @ axes.T


@prediction(
    "mean square of fresh examples, whitened with a batch's mean and covariance",
    over="d",
    tolerance=0.1,
    source="mardia1979multivariate, section 3.8",
    setting={"d": (1, 5, 10, 20, 40), "batch": 60, "fresh": 200, "draws": 20},
)
def fresh_mean_square(seeds, *, d, batch, fresh, draws):
    """Whitened with the statistics of a batch of m, fresh examples of d normal features
    have the mean square (m + 1)/(m − d − 2) in place of 1."""
    predicted = (batch + 1) / (batch - np.array(d) - 2)

    def measured(rng, features):
        # Whitening undoes every linear map, so uncorrelated features are all there is.
        x = rng.normal(size=(batch + fresh, features))
        return np.mean(normalized(x[:batch], x[batch:], "jointly", 0.0) ** 2)

    rngs = [np.random.default_rng(seed) for seed in seeds]
    return predicted, np.array(
        [[np.mean([measured(rng, k) for _ in range(draws)]) for k in d] for rng in rngs]
    )


def hidden_features(seed, width, spread=0.0, shift=0.0):
    """Outputs of one untrained ReLU layer fed with digits: (768, width).

    The digits are centered and scaled as a whole, to variance 1. The layer has He's
    initialization: weights of variance 2/64, no bias.

    For controls, the units' scales differ by powers of ten within ± spread, and their
    outputs are moved away from zero by the shift.
    """
    x = datasets.digits(seed).x_train
    x = (x - x.mean(axis=0)) / x.std()
    rng = np.random.default_rng(seed)
    weights = rng.normal(0, np.sqrt(2 / 64), size=(64, width))
    scales = 10 ** rng.uniform(-spread, spread, size=width)
    return np.maximum(x @ weights, 0) * scales + shift


def fresh_squares(rows, how, *, batch, fresh, epsilon):
    """Mean square of each feature of fresh examples, normalized with a batch -> (d,).

    Of the rows (n, d), the first are the batch and the last the fresh examples. It is
    done as in `normalized`, or "perfectly": jointly, with the statistics of all rows,
    the fresh ones included, which no batch has.
    """
    known = rows if how == "perfectly" else rows[:batch]
    return np.mean(normalized(known, rows[-fresh:], how, epsilon) ** 2, axis=0)


BATCH = {"width": 100, "batch": 60, "fresh": 250}


@experiment(
    "mean square of fresh examples, whitened jointly over each alone, at the better ε",
    above(2),
    source="ioffe2015batch, section 3",
    # The ε of PyTorch, and that of Keras.
    setting={**BATCH, "first": "jointly", "second": "alone", "epsilons": (1e-5, 1e-3)},
    negative={"first": "alone"},
    positive={"epsilons": (1e-9,)},
    oracle={"first": "perfectly"},
    scale="log",
)
def joint_whitening_explodes(seeds, *, width, first, second, epsilons, **sizes):
    """Whitening the 100 outputs of a ReLU layer with the statistics of a batch of 60
    inflates fresh examples, at an ε of 1e-5 and at one of 1e-3."""

    def least(seed):
        rows = hidden_features(seed, width)
        ratios = []
        for epsilon in epsilons:
            one, other = (
                fresh_squares(rows, how, epsilon=epsilon, **sizes).mean()
                for how in (first, second)
            )
            ratios.append(one / other)
        return min(ratios)

    return [least(seed) for seed in seeds]


@experiment(
    "share of features with a mean square between 1/2 and 2 on fresh examples",
    above(0.9),
    source="ioffe2015batch, section 3",
    setting={**BATCH, "how": "alone", "epsilon": 1e-5},
    negative={"how": "jointly"},
    positive={"batch": 500},
)
def each_feature_alone_generalizes(seeds, *, width, how, **sizes):
    """Standardized with the statistics of a batch of 60, nearly all of the 100 outputs
    of a ReLU layer have a mean square near 1 on fresh examples."""
    squares = np.array(
        [fresh_squares(hidden_features(seed, width), how, **sizes) for seed in seeds]
    )
    return np.mean((squares > 1 / 2) & (squares < 2), axis=1)


# ---------------------------------------------------------------------------
# What is left of whitening: centering and dividing

identity(
    "one-column-is-batch-normalization",
    "The gradient of ZCA whitening of a single column is that of batch normalization "
    "without γ, β and ε.",
    source="ioffe2015batch, section 3",
    test="tests/unit/test_whitening.py::"
    "test_in_one_dimension_zca_backward_is_that_of_batch_normalization",
)


def conditioning(features, version):
    r"""Condition number of a linear model's Hessian, with an intercept.

    The Hessian is :math:`\frac1m X^\top X`, with a column of ones in X: only so does it
    show what centering does (LeCun et al., 1998, section 4.3). Features (m, d) in which
    nothing varies are left out. Before, they are left "raw", or "centered",
    "standardized" or "whitened".
    """
    x = features[:, np.ptp(features, axis=0) > 0]
    if version == "whitened":
        x = normalized(x, x, "jointly", 0.0)
    elif version != "raw":
        x = x - x.mean(axis=0)
    if version == "standardized":
        x = x / x.std(axis=0)
    design = np.column_stack([np.ones(len(x)), x])
    return condition_number(design.T @ design / len(x))


# κ counts steps, and a quarter more of them is what the book asks for elsewhere.
OF_INTEREST = 1.25
LOWER = {
    "region": above(OF_INTEREST),
    "source": "lecun1998efficient, section 4.3",
    "negative": {"second": "raw"},
    "positive": {"shift": 10.0},
    "oracle": {"first": "whitened"},
    "scale": "log",
}


# The last of a stack is registered first.
@experiment(
    "condition number of the centered features over that of the standardized ones",
    within(1 / OF_INTEREST, OF_INTEREST),
    id="dividing-hardly-conditions-hidden-features",
    statement="Once the same outputs are centered, dividing by their standard "
    "deviations hardly changes the condition number.",
    question="And how much to dividing by the standard deviations?",
    source="lecun1998efficient, section 4.3",
    setting={"width": 100, "first": "centered", "second": "standardized"},
    negative={"spread": 1.0},
    positive={"second": "centered"},
    oracle={"second": "whitened"},
)
@experiment(
    "condition number of the raw features over that of the centered ones",
    id="centering-conditions-hidden-features",
    statement="On the same outputs, subtracting the means alone lowers the condition "
    "number.",
    question="How much of that is due to the means?",
    setting={"width": 100, "first": "raw", "second": "centered"},
    **LOWER,
)
@experiment(
    "condition number of the raw features over that of the standardized ones",
    id="standardizing-conditions-hidden-features",
    statement="For a linear model with an intercept on the outputs of an untrained "
    "ReLU layer, standardizing them lowers the condition number.",
    question="Does standardizing condition the inputs of a hidden layer, too?",
    setting={"width": 100, "first": "raw", "second": "standardized"},
    **LOWER,
)
def conditioning_ratio(seeds, *, width, first, second, spread=0.0, shift=0.0):
    def kappas(seed):
        features = hidden_features(seed, width, spread, shift)
        return [conditioning(features, version) for version in (first, second)]

    return [before / after for before, after in map(kappas, seeds)]
