"""Claims about inference: which statistics, how they lag, and the wrong mode."""

from functools import lru_cache

import numpy as np
import torch
from torch.nn.functional import conv2d, cross_entropy, linear

from batchnorm import datasets
from batchnorm.claims.registry import above, below, between, claim
from batchnorm.ensemble import (
    Network,
    Recorder,
    evaluate,
    forward,
    init_parameters,
    moments_over,
    train,
    unpack,
    unpack_statistics,
)
from batchnorm.folding import fold_conv, fold_linear
from batchnorm.reference import inference

PAPER = "ioffe2015batch, section 3.1"

NET = {"depth": 3, "width": 64, "rate": 0.1, "steps": 150}

# ---------------------------------------------------------------------------
# Population statistics and their estimates


@claim(
    id="running-average-default",
    statement=(
        "After 150 steps, running averages of momentum 0.1 classify as well as the "
        "exact statistics of the training set, within 2 points."
    ),
    source=f"{PAPER}; wu2021rethinking, section 3",
    setting={**NET, "momentum": 0.1},
    effect="accuracy with exact statistics, less that with running ones",
    condition=between(-0.02, 0.02),
    share=0.9,
)
def running_average_default(seeds, *, momentum, **net):
    return _lag(seeds, momentum, **net)


@claim(
    id="running-average-lags",
    statement=(
        "With momentum 0.01 they have not arrived after 50 steps: more than 3 points "
        "are lost for no other reason."
    ),
    source=f"{PAPER}; wu2021rethinking, section 3",
    setting={**NET, "steps": 50, "momentum": 0.01},
    effect="accuracy with exact statistics, less that with running ones",
    condition=above(0.03),
)
def running_average_lags(seeds, *, momentum, **net):
    return _lag(seeds, momentum, **net)


def _lag(seeds, momentum, **net):
    """Accuracy with exact population statistics, less that with running averages."""
    run = _train(seeds, momentum=momentum, every=None, **net)
    exact = moments_over(run.network, run.theta, _x_train(seeds))
    return _test(run, seeds, exact).accuracy - run.accuracy[:, -1]


@claim(
    id="reestimated-statistics",
    statement=(
        "For the same networks, statistics estimated anew from 20 mini-batches of the "
        "training set classify as well as the exact ones, within 2 points."
    ),
    source="ioffe2015batch, algorithm 2; wu2021rethinking, section 3",
    setting={**NET, "steps": 50, "momentum": 0.01, "batch": 60, "batches": 20},
    effect="accuracy with exact statistics, less that with re-estimated ones",
    condition=between(-0.02, 0.02),
    share=0.9,
)
def reestimated_statistics(seeds, *, momentum, batch, batches, **net):
    run = _train(seeds, momentum=momentum, every=None, **net)
    x = _x_train(seeds)
    exact = moments_over(run.network, run.theta, x)
    anew = np.mean(
        [
            moments_over(run.network, run.theta, x[:, start : start + batch])
            for start in range(0, batches * batch, batch)
        ],
        axis=0,
    )
    anew[:, 1] *= batch / (batch - 1)
    return _test(run, seeds, exact).accuracy - _test(run, seeds, anew).accuracy


@claim(
    id="adapted-statistics",
    statement=(
        "On test images of three tenths of the contrast, statistics taken from such "
        "images, without labels, are more than 20 points better than the stored ones."
    ),
    source="ioffe2015batch, section 5; li2016revisiting, section 3",
    setting={**NET, "contrast": 0.3, "unlabeled": 250},
    effect="accuracy with the new images' statistics, less that with the stored ones",
    condition=above(0.2),
)
def adapted_statistics(seeds, *, contrast, unlabeled, **net):
    run = _train(seeds, every=None, **net)
    x, y = _test_part(seeds)
    x = contrast * x
    # The statistics come from one half of the images, the accuracy from the other.
    adapted = moments_over(run.network, run.theta, x[:, :unlabeled])
    rest = run.network, run.theta, x[:, unlabeled:], y[:, unlabeled:]
    return evaluate(*rest, adapted).accuracy - evaluate(*rest, run.running).accuracy


@claim(
    id="bessel-first-layer",
    statement=(
        "In the first layer, the mean of the mini-batches' variances, times "
        "m/(m − 1), is the variance of the population, within 5 % at m = 4."
    ),
    source="ioffe2015batch, algorithm 2, step 10",
    setting={**NET, "layer": 0, "batch": 4},
    effect="estimated over exact variance (median unit)",
    condition=between(0.95, 1.05),
)
def bessel_first(seeds, *, layer, batch, **net):
    within, _, exact = divided_variance(_train(seeds, every=None, **net), layer, batch)
    return np.median(batch / (batch - 1) * within / exact, axis=1)


@claim(
    id="bessel-third-layer",
    claimed=(
        "We use the unbiased variance estimate Var[x] = m/(m−1) · E_B[σ²_B], "
        "where the expectation is over training mini-batches of size m"
    ),
    claimed_by=PAPER,
    statement=(
        "Behind a normalization there is nothing to correct: in the third layer, at "
        "m = 4, the means of the mini-batches hold less than 1 % of the variance, not "
        "the quarter that the factor 4/3 makes up for."
    ),
    source="ioffe2015batch, algorithm 2, step 10",
    setting={**NET, "layer": 2, "batch": 4},
    effect="share of the variance between mini-batches (median unit)",
    condition=below(0.01),
)
def bessel_third(seeds, *, layer, batch, **net):
    within, between_, _ = divided_variance(
        _train(seeds, every=None, **net), layer, batch
    )
    return np.median(between_ / (within + between_), axis=1)


def divided_variance(run, layer, batch):
    """The variance of a layer's inputs, within and between mini-batches, and exact.

    All three are biased and (K, channels): the first two are what a network sees that
    normalizes by mini-batches of `batch`, their sum its total; the last one that of a
    network that normalizes by the whole training part.
    """
    x = _x_train(run.seeds)

    def statistics(x):
        found = moments_over(run.network, run.theta, x)
        return unpack_statistics(run.network, found)[layer]

    # The training part comes shuffled: its rows, in order, are random mini-batches.
    starts = range(0, x.shape[1] - batch + 1, batch)
    parts = [statistics(x[:, start : start + batch]) for start in starts]
    means, variances = map(np.array, zip(*parts, strict=True))
    return variances.mean(axis=0), means.var(axis=0), statistics(x)[1]


# ---------------------------------------------------------------------------
# The wrong mode


@claim(
    id="forgotten-eval",
    statement=(
        "Evaluated in training mode, in mini-batches of 8, a network loses more than "
        "5 points of accuracy."
    ),
    source=PAPER,
    setting={**NET, "batch": 8},
    effect="accuracy in inference mode, less that in training mode",
    condition=above(0.05),
)
def forgotten_eval(seeds, *, batch, **net):
    run = _train(seeds, every=None, **net)
    return run.accuracy[:, -1] - _test(run, seeds, batch=batch).accuracy


@claim(
    id="forgotten-eval-sorted",
    statement=(
        "If the mini-batches of 8 are sorted by class as well, accuracy falls below "
        "one in three: the mean that is subtracted is the answer."
    ),
    source=PAPER,
    setting={**NET, "batch": 8},
    effect="accuracy in training mode, test set sorted by class",
    condition=below(1 / 3),
)
def forgotten_eval_sorted(seeds, *, batch, **net):
    run = _train(seeds, every=None, **net)
    x, y = _test_part(seeds)
    order = np.argsort(y, axis=1, kind="stable")
    x = np.take_along_axis(x, order[..., None], axis=1)
    y = np.take_along_axis(y, order, axis=1)
    return evaluate(run.network, run.theta, x, y, batch=batch).accuracy


@claim(
    id="companions-decide",
    statement=(
        "In training mode, mini-batches of 4: for more than a fifth of the test "
        "examples, the predicted class changes with the three companions."
    ),
    source="ioffe2015batch, section 3, below algorithm 1",
    setting={**NET, "batch": 4},
    effect="share of examples whose prediction changes",
    condition=above(0.2),
)
def companions_decide(seeds, *, batch, **net):
    run = _train(seeds, every=None, **net)
    x, _ = _test_part(seeds)

    def predictions(order):
        pieces = [
            forward(run.network, run.theta, x[:, order[start : start + batch]])
            for start in range(0, len(order), batch)
        ]
        logits = np.concatenate([piece[-1].output for piece in pieces], axis=1)
        return logits.argmax(axis=2)[:, np.argsort(order)]

    given = np.arange(x.shape[1])
    other = np.random.default_rng(0).permutation(x.shape[1])
    return (predictions(given) != predictions(other)).mean(axis=1)


@claim(
    id="frozen-at-the-old-rate",
    statement=(
        "Frozen with the statistics of its training, a network that goes on learning "
        "at the old rate loses more than half of its accuracy; at a tenth of the rate "
        "it does not."
    ),
    source="ioffe2015batch, section 3.3",
    setting={**NET, "rate": 0.3, "batch": 32, "more": 100, "slower": 10.0},
    effect="accuracy, frozen at a tenth of the rate, less frozen at the old rate",
    condition=above(0.5),
    share=0.9,
)
def frozen_at_the_old_rate(seeds, *, batch, more, slower, **net):
    run = _train(seeds, every=None, **net)
    fast, slow = (
        go_on_frozen(run, rate, more, batch)
        for rate in (net["rate"], net["rate"] / slower)
    )
    return slow - fast


def go_on_frozen(run, rate, steps, batch):
    """Train on with fixed running statistics, γ and β learning -> accuracy (K,)."""
    layers = unpack(run.network, run.theta)
    fixed = unpack_statistics(run.network, run.running)
    fixed = [(torch.tensor(m), torch.tensor(v)) for m, v in fixed]
    weights = [torch.tensor(layer.weight, requires_grad=True) for layer in layers]
    gammas = [torch.tensor(layer.gamma, requires_grad=True) for layer in layers[:-1]]
    betas = [torch.tensor(layer.beta, requires_grad=True) for layer in layers[:-1]]
    bias = torch.tensor(layers[-1].bias, requires_grad=True)

    def logits(h):
        each = zip(weights, gammas, betas, fixed, strict=False)
        for weight, gamma, beta, (mean, var) in each:
            slope = gamma / (var + run.network.eps).sqrt()
            z = h @ weight.mT - mean[:, None]
            h = torch.relu(slope[:, None] * z + beta[:, None])
        return h @ weights[-1].mT + bias[:, None]

    splits = [datasets.digits(int(seed)) for seed in run.seeds]
    draws = [np.random.default_rng([int(seed), 3]) for seed in run.seeds]
    optimizer = torch.optim.SGD([*weights, *gammas, *betas, bias], lr=rate)
    for _ in range(steps):
        rows = [rng.choice(len(splits[0].x_train), batch, False) for rng in draws]
        x = np.stack([s.x_train[r] for s, r in zip(splits, rows, strict=True)])
        y = np.stack([s.y_train[r] for s, r in zip(splits, rows, strict=True)])
        optimizer.zero_grad()
        scores = logits(torch.tensor(x)).flatten(0, 1)
        loss = cross_entropy(scores, torch.tensor(y).flatten(), reduction="sum")
        (loss / batch).backward()  # a sum over networks, a mean over each mini-batch
        optimizer.step()
    x, y = _test_part(run.seeds)
    with torch.no_grad():
        return (logits(torch.tensor(x)).argmax(2).numpy() == y).mean(axis=1)


# ---------------------------------------------------------------------------
# Folding

FOLD = {"channels": 16, "examples": 32}


@claim(
    id="folding-exact",
    statement=(
        "Folded into the linear or convolutional layer before it, batch normalization "
        "gives the same outputs, to rounding error."
    ),
    source="jacob2018quantization, section 3.2",
    setting={**FOLD, "dtype": "float64"},
    effect="largest difference over the largest output",
    condition=below(1e-10),
    scale="log",
    floor=1e-12,
)
def folding_exact(seeds, **setting):
    return _folding_errors(seeds, **setting)


@claim(
    id="folding-single-precision",
    statement="In single precision, the outputs agree to five digits.",
    source="jacob2018quantization, section 3.2",
    setting={**FOLD, "dtype": "float32"},
    effect="largest difference over the largest output",
    condition=below(1e-5),
    scale="log",
    floor=1e-6,
)
def folding_single_precision(seeds, **setting):
    return _folding_errors(seeds, **setting)


def _folding_errors(seeds, *, channels, examples, dtype):
    def error(seed):
        rng = np.random.default_rng(seed)

        def normal(*shape):
            return rng.normal(size=shape).astype(dtype)

        bias, gamma, beta, mean = normal(4, channels)
        var = rng.uniform(0.1, 3, channels).astype(dtype)
        errors = []
        for fold, apply, x, weight in (
            (fold_linear, linear, normal(examples, 20), normal(channels, 20)),
            (fold_conv, conv2d, normal(examples, 3, 8, 8), normal(channels, 3, 3, 3)),
        ):

            def layer(w, b, x=x, apply=apply):
                return apply(*map(torch.from_numpy, (x, w, b))).numpy()

            apart = inference(layer(weight, bias), gamma, beta, mean, var)
            folded = layer(*fold(weight, bias, gamma, beta, mean, var))
            errors.append(np.abs(folded - apart).max() / np.abs(apart).max())
        return max(errors)

    return [error(seed) for seed in seeds]


# ---------------------------------------------------------------------------


#: Claims about one set of networks that run after another train it once.
@lru_cache(maxsize=2)
def _train_once(network, data, seeds, scale, every, **options):
    theta = init_parameters(network, seeds, scale)
    recorder = Recorder(every)
    return train(network, data, seeds, theta=theta, recorder=recorder, **options)


def _train(seeds, *, depth, width, rate, every=10, **options):
    """A ReLU network trained on the digits -> `Run`, shared: not to be written to."""
    network = Network((64,), (width,) * depth, norm="batch")
    return _train_once(
        network, datasets.digits, tuple(seeds), 2**0.5, every, lr=rate, **options
    )


def _test(run, seeds, statistics=None, batch=None):
    return evaluate(run.network, run.theta, *_test_part(seeds), statistics, batch)


def _test_part(seeds):
    """Pixels (S, n, 64) and labels (S, n) of the test part of each seed."""
    splits = [datasets.digits(seed) for seed in seeds]
    return np.stack([s.x_test for s in splits]), np.stack([s.y_test for s in splits])


def _x_train(seeds):
    return np.stack([datasets.digits(seed).x_train for seed in seeds])
