"""Claims about the transform itself: what its gradient carries, how it is computed."""

import numpy as np

from batchnorm.claims.registry import above, below, between, claim

# ---------------------------------------------------------------------------
# Normalization outside the gradient step (the paper, section 2)

OUTSIDE = {"samples": 256, "rate": 0.1, "steps": 2000}


@claim(
    id="bias-grows-outside-the-step",
    statement=(
        "If inputs are centered but the gradient is taken as if their mean were a "
        "constant, the bias grows by the same amount at every step, without end."
    ),
    claimed=(
        "As the training continues, b will grow indefinitely while the loss remains "
        "fixed."
    ),
    claimed_by="ioffe2015batch, section 2",
    source="ioffe2015batch, section 2",
    setting=OUTSIDE,
    effect="bias after 2000 steps",
    condition=above(100),
)
def bias_outside(seeds, *, samples, rate, steps):
    _, b, _ = _descend(seeds, samples, rate, steps, constants=("mean",))
    return b[-1]


@claim(
    id="loss-stands-outside-the-step",
    statement=(
        "While that bias grows, the loss does not move: centering takes every "
        "change of the bias away again."
    ),
    source="ioffe2015batch, section 2",
    setting=OUTSIDE,
    effect="largest relative change of the loss in 2000 steps",
    condition=below(1e-10),
    scale="log",
    floor=1e-12,
)
def loss_outside(seeds, *, samples, rate, steps):
    _, _, loss = _descend(seeds, samples, rate, steps, constants=("mean",))
    return np.abs(loss / loss[0] - 1).max(axis=0)


@claim(
    id="bias-stands-inside-the-step",
    statement=(
        "With the gradient taken through the mean, the bias has no gradient and "
        "stays where it started."
    ),
    source="ioffe2015batch, section 2",
    setting=OUTSIDE,
    effect="largest distance of the bias from its start",
    condition=below(1e-10),
    scale="log",
    floor=1e-12,
)
def bias_inside(seeds, *, samples, rate, steps):
    _, b, _ = _descend(seeds, samples, rate, steps, constants=())
    return np.abs(b - b[0]).max(axis=0)


@claim(
    id="variance-outside-the-step",
    claimed=(
        "This problem can get worse if the normalization not only centers but also "
        "scales the activations."
    ),
    claimed_by="ioffe2015batch, section 2",
    statement=(
        "With the variance taken as a constant too, weight and bias both grow like the "
        "square root of the number of steps: slower, and still without end (for "
        "targets that ask for more than the normalized input gives)."
    ),
    source="ioffe2015batch, section 2",
    setting={**OUTSIDE, "steps": 4000},
    effect="growth in the second half of the steps over that in the first",
    # From 0 to t/2 and from t/2 to t, a square root grows as 1 to √2 − 1 = 0.414.
    condition=between(0.35, 0.48),
)
def variance_outside(seeds, *, samples, rate, steps):
    w, b, _ = _descend(seeds, samples, rate, steps, constants=("mean", "std"))
    half = steps // 2
    weight, bias = ((p[-1] - p[half]) / (p[half] - p[0]) for p in (w, b))
    # Of the two, the one further from a square root.
    root = np.sqrt(2) - 1
    return np.where(np.abs(weight - root) > np.abs(bias - root), weight, bias)


def _descend(seeds, samples, rate, steps, constants):
    """Gradient descent on one normalized input -> w, b, loss, each (steps + 1, seeds).

    x = w u + b is centered, and divided by its standard deviation if "std" is
    among the constants; loss (x_hat − y)² / 2 against y = 2 u + 1.5 + noise.
    The gradient treats what is named in `constants` as not depending on w and b.
    Only with "std" is w updated: the paper's example has a bias alone.
    """
    u, y = _data(seeds, samples)
    w, b = np.full(len(seeds), 0.7), np.zeros(len(seeds))
    history = []
    for _ in range(steps + 1):
        x = w[:, None] * u + b[:, None]
        x_hat = x - x.mean(axis=1, keepdims=True)
        std = x.std(axis=1) if "std" in constants else np.ones(len(seeds))
        x_hat = x_hat / std[:, None]
        residual = x_hat - y
        history.append((w, b, (residual**2).mean(axis=1) / 2))
        if "mean" not in constants:
            residual = residual - residual.mean(axis=1, keepdims=True)
        b = b - rate * residual.mean(axis=1) / std
        if "std" in constants:
            w = w - rate * (residual * u).mean(axis=1) / std
    return tuple(np.array(values) for values in zip(*history, strict=True))


BEHIND = {**OUTSIDE, "steps": 4000, "batch": 16}


@claim(
    id="weight-grows-behind-gamma-and-beta",
    question="Does the growth stop once γ and β are learned behind the normalization?",
    statement=(
        "On mini-batches of 16 it does not: the weight grows on, as derived, like the "
        "square root of the number of steps."
    ),
    source="ioffe2015batch, section 2",
    setting=BEHIND,
    effect="weight after 4000 steps over the derived one",
    condition=between(0.9, 1.1),
)
def weight_behind(seeds, *, samples, rate, steps, batch):
    u, targets = _data(seeds, samples)
    w = _descend_behind(seeds, u, targets, rate, steps, batch)[-1]
    # γ settles where ŷ = γ û + β fits best; means of a batch drawn without
    # replacement have this share of the variance of a single example.
    gamma = np.mean(u * (targets - targets.mean(1, keepdims=True)), 1) / u.std(1)
    share = (samples - batch) / (samples - 1) / batch
    return w / np.sqrt(0.7**2 + 2 * rate * gamma**2 * share * steps)


def _data(seeds, samples):
    """Inputs u and targets 2 u + 1.5 + noise, each (seeds, samples)."""
    draws = [np.random.default_rng(seed).normal(size=(2, samples)) for seed in seeds]
    u, noise = np.stack(draws, axis=1)
    return u, 2 * u + 1.5 + 0.5 * noise


def _descend_behind(seeds, u, targets, rate, steps, batch, through=False):
    """Weights (steps + 1, seeds) of descent on y = γ x̂ + β with x = w u + b, ε = 0.

    All four parameters learn, from mini-batches drawn without replacement. The
    gradient takes mean and variance as constants, or goes through them.
    """
    generators = [np.random.default_rng([seed, 1]) for seed in seeds]
    count = u.shape[1]
    w, b = np.full(len(seeds), 0.7), np.zeros(len(seeds))
    gamma, beta = np.ones(len(seeds)), np.zeros(len(seeds))
    weights = [w]
    for _ in range(steps):
        picks = [rng.choice(count, batch, replace=False) for rng in generators]
        u_b, t_b = (np.take_along_axis(a, np.array(picks), 1) for a in (u, targets))
        x = w[:, None] * u_b + b[:, None]
        std = x.std(axis=1, keepdims=True)
        x_hat = (x - x.mean(axis=1, keepdims=True)) / std
        dy = (gamma[:, None] * x_hat + beta[:, None] - t_b) / batch
        dx = gamma[:, None] / std * dy
        if through:
            dx = dx - dx.mean(axis=1, keepdims=True)
            dx = dx - x_hat * np.mean(dx * x_hat, axis=1, keepdims=True)
        w, b = w - rate * np.sum(dx * u_b, axis=1), b - rate * dx.sum(axis=1)
        gamma = gamma - rate * np.sum(dy * x_hat, axis=1)
        beta = beta - rate * dy.sum(axis=1)
        weights.append(w)
    return np.array(weights)


# ---------------------------------------------------------------------------
# What the parameters can undo


@claim(
    id="identity-not-recovered",
    claimed=(
        "we could recover the original activations, if that were the optimal thing to "
        "do."
    ),
    claimed_by="ioffe2015batch, section 3",
    statement=(
        "With γ = σ and β = μ one could for fixed statistics and ε = 0. With the "
        "statistics of mini-batches of 32, an output is about a fifth of a standard "
        "deviation off."
    ),
    source="ioffe2015batch, section 3",
    setting={"batch": 32, "batches": 1000},
    effect="rms of (y − x) / σ",
    condition=between(0.15, 0.3),
)
def identity_not_recovered(seeds, *, batch, batches):
    def error(seed):
        x = np.random.default_rng(seed).normal(size=(batches, batch))
        y = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
        return np.sqrt(np.mean((y - x) ** 2))

    return [error(seed) for seed in seeds]


# ---------------------------------------------------------------------------
# The variance in single precision


@claim(
    id="one-pass-variance",
    statement=(
        "In single precision, summed one value after the other, E[x²] − E[x]² of "
        "1000 values with mean 1000 and variance 1 is off by more than ten percent."
    ),
    source="chan1983algorithms, pages 242-247",
    setting={"samples": 1000, "mean": 1000.0, "draws": 50},
    effect="median relative error of the variance",
    condition=above(0.1),
    scale="log",
)
def one_pass_variance(seeds, *, samples, mean, draws):
    exact, one_pass, _ = _variances(seeds, samples, mean, draws)
    return np.median(np.abs(one_pass / exact - 1), axis=1)


@claim(
    id="two-pass-variance",
    statement=(
        "Subtracting the mean first keeps the variance of the same values right to "
        "five digits, in the same single precision."
    ),
    source="chan1983algorithms, pages 242-247",
    setting={"samples": 1000, "mean": 1000.0, "draws": 50},
    effect="median relative error of the variance",
    condition=below(1e-5),
    scale="log",
)
def two_pass_variance(seeds, *, samples, mean, draws):
    exact, _, two_pass = _variances(seeds, samples, mean, draws)
    return np.median(np.abs(two_pass / exact - 1), axis=1)


@claim(
    id="one-pass-variance-negative",
    statement=(
        "With mean 10 000 and variance 1, E[x²] − E[x]² in single precision comes out "
        "negative for a good part of all samples; its square root is then NaN."
    ),
    source="chan1983algorithms, pages 242-247",
    setting={"samples": 1000, "mean": 1e4, "draws": 200},
    effect="share of samples with a negative variance",
    condition=above(0.1),
)
def one_pass_negative(seeds, *, samples, mean, draws):
    _, one_pass, _ = _variances(seeds, samples, mean, draws)
    return (one_pass < 0).mean(axis=1)


def _variances(seeds, samples, mean, draws):
    """Exact, one-pass and two-pass variance of float32 samples, each (seeds, draws).

    The sums run in float32 from the first value to the last: np.sum's order, and
    so its rounding, depends on the processor.
    """
    shape = (draws, samples)
    x = np.stack([np.random.default_rng(seed).normal(mean, 1, shape) for seed in seeds])
    x = x.astype(np.float32)

    def average(values):
        return np.add.accumulate(values, axis=-1)[..., -1] / np.float32(samples)

    one_pass = average(x * x) - average(x) ** 2
    two_pass = average((x - average(x)[..., None]) ** 2)
    return x.astype(np.float64).var(axis=-1), one_pass, two_pass
