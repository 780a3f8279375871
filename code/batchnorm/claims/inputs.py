"""Claims about the inputs: their condition number, and what whitening costs."""

import numpy as np

from batchnorm import datasets, whitening
from batchnorm.claims.registry import above, below, between, claim, exactly

# ---------------------------------------------------------------------------
# Steps of gradient descent on the used cars

CARS = {"cars": 500, "tolerance": 1e-6}


@claim(
    id="standardizing-saves-steps",
    statement=(
        "For the price of used cars, with an intercept, standardizing age and "
        "kilometers divides the steps of gradient descent, at its best fixed step "
        "size, by more than a billion."
    ),
    source="lecun1998efficient, section 4.3",
    setting=CARS,
    effect="steps on raw inputs over steps on standardized ones",
    condition=above(1e9),
    scale="log",
)
def standardizing_saves_steps(seeds, *, cars, tolerance):
    def ratio(seed):
        data = datasets.used_cars(seed, cars)
        standardized = whitening.fit_standardize(data.x)(data.x)
        _, raw_steps = descent(data.x, data.y, tolerance)
        return raw_steps / descent(standardized, data.y, tolerance)[1]

    return [ratio(seed) for seed in seeds]


@claim(
    id="steps-follow-condition-number",
    statement=(
        "Gradient descent at its best fixed step size takes κ/4 · ln(1/tolerance) "
        "steps, within 15 %, where κ runs from 5 to 100 billion."
    ),
    source="lecun1998efficient, section 5.1; goh2017why, Choosing A Step-size",
    setting=CARS,
    effect="steps over κ/4 · ln(1/tolerance) (raw, centered or standardized)",
    condition=between(0.85, 1.15),
)
def steps_follow_condition(seeds, *, cars, tolerance):
    def furthest(seed):
        data = datasets.used_cars(seed, cars)
        standardized = whitening.fit_standardize(data.x)(data.x)
        ratios = []
        for x in (data.x, data.x - data.x.mean(axis=0), standardized):
            condition, steps = descent(x, data.y, tolerance)
            ratios.append(steps / (condition / 4 * np.log(1 / tolerance)))
        return max(ratios, key=lambda ratio: abs(np.log(ratio)))

    return [furthest(seed) for seed in seeds]


@claim(
    id="standardizing-is-not-whitening",
    question="Does standardizing the inputs whiten them?",
    statement=(
        "Standardizing leaves the correlation of the inputs, and with it a condition "
        "number well above 1: for age and kilometers, more than 3."
    ),
    source="lecun1998efficient, section 4.3",
    setting={"cars": 500},
    effect="condition number after standardizing",
    condition=above(3),
)
def standardizing_is_not_whitening(seeds, *, cars):
    def condition(seed):
        x = datasets.used_cars(seed, cars).x
        standardized = whitening.fit_standardize(x)(x)
        return whitening.condition_number(whitening.covariance(standardized))

    return [condition(seed) for seed in seeds]


@claim(
    id="whitening-takes-one-step",
    statement=(
        "On whitened inputs, by PCA or by ZCA, the first step of gradient descent "
        "arrives."
    ),
    source="lecun1998efficient, section 5",
    setting=CARS,
    effect="steps to a millionth of the initial excess loss",
    condition=exactly(1),
)
def whitening_takes_one_step(seeds, *, cars, tolerance):
    def slowest(seed):
        data = datasets.used_cars(seed, cars)
        fits = whitening.fit_pca, whitening.fit_zca
        return max(descent(f(data.x)(data.x), data.y, tolerance)[1] for f in fits)

    return [slowest(seed) for seed in seeds]


def descent(x, y, tolerance):
    r"""Condition number and steps of gradient descent for a linear regression.

    Mean squared error over weights and bias, y less its mean, from zero, at the
    best fixed step η = 2/(λ_min + λ_max), until the excess loss is `tolerance`
    times its start.
    In the eigenbasis of the Hessian the error is (1 − ηλ)ᵗ times its start, so the
    steps are found without being taken: some of the runs would need 10¹¹ of them.

    x: (n, d); y: (n,). Returns κ of the Hessian, and the number of steps.
    """
    design = np.column_stack([np.ones(len(x)), x]) / len(x) ** 0.5
    u, s, _ = np.linalg.svd(design, full_matrices=False)
    eigenvalues = s**2
    excess = (u.T @ (y - y.mean())) ** 2
    shrink = 2 * eigenvalues / (eigenvalues[0] + eigenvalues[-1])
    # log(1 − ηλ) is tiny for the smallest eigenvalue, and −∞ where one step is all.
    with np.errstate(divide="ignore"):
        log_factor = np.where(
            shrink < 1, np.log1p(-np.minimum(shrink, 1)), np.log(np.abs(shrink - 1))
        )
    low, high = 0, 1
    while not _arrived(high, excess, log_factor, tolerance):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if _arrived(middle, excess, log_factor, tolerance):
            high = middle
        else:
            low = middle
    return eigenvalues[0] / eigenvalues[-1], high


def _arrived(steps, excess, log_factor, tolerance):
    return excess @ np.exp(2 * steps * log_factor) <= tolerance * excess.sum()


# ---------------------------------------------------------------------------
# Why not whiten every layer: the covariance of a mini-batch


@claim(
    id="batch-covariance-rank",
    statement=(
        "The covariance of a mini-batch of m examples in d dimensions has rank "
        "min(m − 1, d): it cannot be inverted unless m > d."
    ),
    source="ioffe2015batch, section 3",
    setting={"dimensions": 20, "batches": (2, 5, 10, 19, 20, 21, 30, 40)},
    effect="batch sizes of 8 whose rank is another",
    condition=exactly(0),
)
def batch_covariance_rank(seeds, *, dimensions, batches):
    def exceptions(seed):
        rng = np.random.default_rng(seed)
        ranks = [_rank(rng.normal(size=(m, dimensions))) for m in batches]
        return sum(
            rank != min(m - 1, dimensions)
            for rank, m in zip(ranks, batches, strict=True)
        )

    return [exceptions(seed) for seed in seeds]


@claim(
    id="digits-batch-singular",
    statement=(
        "For the paper's batch of 60, the 64 pixels of the digits already have a "
        "singular covariance, of a rank below even the 59 that 60 examples allow."
    ),
    source="ioffe2015batch, section 3",
    setting={"batch": 60},
    effect="rank of the covariance of 64 pixels, in a batch of 60",
    condition=below(59),
)
def digits_batch_singular(seeds, *, batch):
    return [_rank(datasets.digits(seed).x_train[:batch]) for seed in seeds]


def _rank(x):
    """Rank of the covariance of the rows of x."""
    return np.linalg.matrix_rank(x - x.mean(axis=0))


def hidden_features(seed, *, width=100):
    """Outputs of one untrained ReLU layer fed with digits: (1297, width).

    The digits are centered and scaled as a whole, to variance 1. The layer has He's
    initialization: weights of variance 2/64, no bias.
    """
    x = datasets.digits(seed).x_train
    x = (x - x.mean(axis=0)) / x.std()
    weights = np.random.default_rng(seed).normal(0, np.sqrt(2 / 64), size=(64, width))
    return np.maximum(x @ weights, 0)


def fresh_variance(features, batch, *, joint, epsilon=1e-5, fresh=250):
    """Mean square of fresh features, normalized with a batch's statistics; truth: 1.

    features: (n, d); the batch is the first rows, the fresh ones are the last.
    joint: whiten with (C + εI)^(−1/2) of the batch, else divide each feature by
    √(σ² + ε) of its own.
    """
    known, unseen = features[:batch], features[-fresh:]
    unseen = unseen - known.mean(axis=0)
    if joint:
        values, axes = np.linalg.eigh(whitening.covariance(known))
        unseen = unseen @ (axes / np.sqrt(values.clip(0) + epsilon))
    else:
        unseen = unseen / np.sqrt(known.var(axis=0) + epsilon)
    return float(np.mean(unseen**2))


@claim(
    id="joint-whitening-explodes",
    statement=(
        "Whitening the 100 outputs of a ReLU layer with the statistics of a batch of "
        "60, ε included, inflates the variance of fresh examples more than a "
        "thousandfold."
    ),
    source="ioffe2015batch, section 3",
    setting={"width": 100, "batch": 60},
    effect="variance of fresh examples after joint whitening (ideal: 1)",
    condition=above(1000),
    scale="log",
)
def joint_whitening(seeds, *, width, batch):
    return [
        fresh_variance(hidden_features(s, width=width), batch, joint=True)
        for s in seeds
    ]


@claim(
    id="each-feature-alone-generalizes",
    statement=(
        "Standardizing each of the same features with the statistics of the same "
        "batch leaves fresh examples with a variance within three tenths of 1."
    ),
    source="ioffe2015batch, section 3",
    setting={"width": 100, "batch": 60},
    effect="variance of fresh examples after standardizing (ideal: 1)",
    condition=between(0.7, 1.3),
)
def feature_alone(seeds, *, width, batch):
    return [
        fresh_variance(hidden_features(s, width=width), batch, joint=False)
        for s in seeds
    ]


@claim(
    id="standardizing-conditions-hidden-features",
    question="Does standardizing condition the inputs of a hidden layer, too?",
    statement=(
        "It does, by centering: for the outputs of an untrained ReLU layer and an "
        "intercept, subtracting the means alone lowers the condition number by more "
        "than a factor 5."
    ),
    source="lecun1998efficient, section 4.3",
    setting={"width": 100},
    effect="condition number of the raw features over that of the centered ones",
    condition=above(5),
)
def hidden_centering(seeds, *, width):
    kappa = [conditioning(hidden_features(seed, width=width)) for seed in seeds]
    return [k["raw"] / k["centered"] for k in kappa]


@claim(
    id="dividing-hardly-conditions-hidden-features",
    question="And how much of that is due to dividing by the standard deviations?",
    statement=(
        "Little: once the same features are centered, dividing lowers the condition "
        "number by less than half, for the units have much the same scale to begin "
        "with."
    ),
    source="lecun1998efficient, section 4.3",
    setting={"width": 100},
    effect="condition number of the centered features over that of standardized ones",
    condition=below(2),
)
def hidden_dividing(seeds, *, width):
    kappa = [conditioning(hidden_features(seed, width=width)) for seed in seeds]
    return [k["centered"] / k["standardized"] for k in kappa]


def conditioning(features):
    r"""Condition number of a linear model's Hessian, before and after standardizing.

    The Hessian is $\frac1m X^\top X$, with a column of ones in $X$ for the intercept:
    only so does it show what centering does.

    Parameters
    ----------
    features : array of shape (m, d)
        One feature a column. Directions in which nothing varies are left out.

    Returns
    -------
    dict of float
        For "raw" features, "centered" ones, "divided" ones (by their standard
        deviations, without centering) and "standardized" ones.

    References
    ----------
    LeCun et al. (1998), section 4.3.
    """
    varying = features[:, np.ptp(features, axis=0) > 0]
    centered, spread = varying - varying.mean(axis=0), varying.std(axis=0)
    versions = {
        "raw": varying,
        "centered": centered,
        "divided": varying / spread,
        "standardized": centered / spread,
    }
    ones = np.ones((len(features), 1))
    designs = {name: np.hstack([ones, x]) for name, x in versions.items()}
    return {name: _condition(x) for name, x in designs.items()}


def _condition(design):
    """Largest over smallest eigenvalue of XᵀX, those that are zero left out."""
    s = np.linalg.svd(design, compute_uv=False)
    return (s[0] / s[s > 1e-10 * s[0]][-1]) ** 2
