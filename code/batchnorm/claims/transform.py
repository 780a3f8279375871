"""Claims about the transform itself: what its gradient carries, how it is computed."""

import math

import numpy as np

from batchnorm.claims.registry import identity, prediction

TESTS = "tests/unit/test_identities_transform.py::"

# ---------------------------------------------------------------------------
# Normalization outside the gradient step (the paper, section 2)

identity(
    "bias-grows-outside-the-step",
    "If inputs are centered but the gradient takes their mean for a constant, the bias "
    "grows at every step by the same amount, rate times mean of the targets.",
    source="ioffe2015batch, section 2",
    test=TESTS + "test_a_bias_grows_by_the_same_amount_at_every_step",
)
identity(
    "loss-stands-outside-the-step",
    "While that bias grows, the loss does not move: centering takes every change of "
    "the bias away again.",
    source="ioffe2015batch, section 2",
    test=TESTS + "test_the_loss_does_not_see_the_bias",
)
identity(
    "bias-stands-inside-the-step",
    "With the gradient taken through the mean, the bias has no gradient and stays "
    "where it started.",
    source="ioffe2015batch, section 2",
    test=TESTS + "test_a_bias_stands_if_the_gradient_passes_the_mean",
)
identity(
    "bias-follows-the-weight",
    "With mean and variance taken for constants, the bias moves in proportion to the "
    "weight at every step.",
    source="ioffe2015batch, section 2",
    test=TESTS + "test_a_bias_follows_the_weight",
)

START, SLOPE = 0.7, 2.0  # of the weight, and of the targets over standardized inputs


@prediction(
    "weight after n steps",
    over="steps",
    tolerance=0.02,
    claimed="This problem can get worse if the normalization not only centers but also "
    "scales the activations.",
    claimed_by="ioffe2015batch, section 2",
    source="ioffe2015batch, section 2",
    setting={"samples": 256, "rate": 0.1, "steps": (100, 400, 1600, 6400)},
)
def variance_outside_the_step(seeds, *, samples, rate, steps):
    """With the variance taken for a constant too, a weight grows like the square root
    of the number of steps: slower, and without end, where the targets ask for more
    than the normalized input gives."""
    u, targets = _data(seeds, samples)
    pull = SLOPE - 1  # on the weight, as s = 1
    predicted = np.sqrt(START**2 + 2 * rate * pull * np.array(steps))
    residual = u - targets
    w, weights = np.full(len(seeds), START), []
    for _ in range(max(steps)):
        std = (w[:, None] * u).std(axis=1)
        w = w - rate * np.mean(residual * u, axis=1) / std
        weights.append(w)
    return predicted, np.array(weights).T[:, np.array(steps) - 1]


@prediction(
    "weight after 4000 steps",
    over="batch",
    tolerance=0.1,
    question="Does the growth stop once γ and β are learned behind the normalization?",
    source="ioffe2015batch, section 2",
    setting={"samples": 256, "rate": 0.1, "steps": 4000, "batch": (8, 16, 32, 64)},
)
def weight_grows_behind_gamma_and_beta(seeds, *, samples, rate, steps, batch):
    """On mini-batches it does not: the weight grows on, as derived, like the square
    root of the number of steps over the size of the batch."""
    u, targets = _data(seeds, samples)
    # Means of a batch drawn without replacement have this variance.
    of_mean = [(samples - m) / (samples - 1) / m for m in batch]
    predicted = np.sqrt(START**2 + 2 * rate * SLOPE**2 * np.array(of_mean) * steps)
    measured = [descend_behind(seeds, u, targets, rate, steps, m)[-1] for m in batch]
    return predicted, np.array(measured).T


def _data(seeds, samples):
    """Standardized inputs u and targets 2 u + 1.5 + noise, each (seeds, samples).

    The noise has no mean and no part along u, so that the prediction is one number.
    """
    draws = [np.random.default_rng(seed).normal(size=(2, samples)) for seed in seeds]
    u, noise = np.stack(draws, axis=1)
    u, noise = (a - a.mean(axis=1, keepdims=True) for a in (u, noise))
    u = u / u.std(axis=1, keepdims=True)
    noise = noise - u * np.mean(u * noise, axis=1, keepdims=True)
    return u, SLOPE * u + 1.5 + 0.5 * noise


def descend_behind(seeds, u, targets, rate, steps, batch, through=False):
    """Descend on y = γ x̂ + β with x = w u + b and ε = 0, from mini-batches.

    u and the targets are (S, N). The gradient passes ``through`` mean and variance, or
    takes them for constants. w, b, γ and β all learn -> the weights w before each step
    and after the last, (steps + 1, S).
    """
    rows = np.stack([_batches(seed, u.shape[1], steps, batch) for seed in seeds], 1)
    w, b = np.full(len(seeds), START), np.zeros(len(seeds))
    gamma, beta = np.ones(len(seeds)), np.zeros(len(seeds))
    weights = [w]
    for picks in rows:
        u_b, t_b = (np.take_along_axis(a, picks, 1) for a in (u, targets))
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


def _batches(seed, count, steps, size):
    """Rows of mini-batches, each drawn without replacement -> (steps, size)."""
    rng = np.random.default_rng([seed, 1])
    return rng.permuted(np.tile(np.arange(count), (steps, 1)), axis=1)[:, :size]


# ---------------------------------------------------------------------------
# What the parameters can undo


@prediction(
    "rms of (y − x) / σ",
    over="batch",
    tolerance=0.03,
    claimed="we could recover the original activations, if that were the optimal thing "
    "to do.",
    claimed_by="ioffe2015batch, section 3",
    source="ioffe2015batch, section 3",
    setting={"batch": (2, 4, 8, 16, 32, 64, 128, 256), "batches": 1000},
)
def identity_not_recovered(seeds, *, batch, batches):
    """With γ = σ and β = μ one could for fixed statistics and ε = 0. With those of
    mini-batches of m normal values, an output is off by about √(3 / 2m) standard
    deviations."""
    return np.array([_error(m) for m in batch]), np.array(
        [[_recovered(seed, m, batches) for m in batch] for seed in seeds]
    )


def _error(m):
    """The root of 2 (1 − E s), s the standard deviation of m normal values."""
    gammas = math.exp(math.lgamma(m / 2) - math.lgamma((m - 1) / 2))
    return math.sqrt(2 * (1 - math.sqrt(2 / m) * gammas))


def _recovered(seed, m, batches):
    x = np.random.default_rng(seed).normal(size=(batches, m))
    y = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
    return np.sqrt(np.mean((y - x) ** 2))
