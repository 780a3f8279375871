"""Claims about inference: which statistics, how they lag, and the wrong mode."""

from functools import lru_cache

import numpy as np

from batchnorm import datasets
from batchnorm.claims.registry import above, below, between, claim
from batchnorm.ensemble import (
    Network,
    Recorder,
    evaluate,
    forward,
    init_parameters,
    moments_over,
    single_class,
    train,
    unpack_statistics,
)
from batchnorm.folding import fold_conv, fold_linear
from batchnorm.reference import inference

PAPER = "Ioffe and Szegedy 2015, section 3.1"

NET = {"depth": 3, "width": 64, "rate": 0.1, "steps": 150}

# ---------------------------------------------------------------------------
# Population statistics and their estimates


@claim(
    id="running-average-default",
    statement=(
        "After 150 steps, running averages of momentum 0.1 classify as well as the "
        "exact statistics of the training set, within 2 points."
    ),
    source=f"{PAPER}; Wu and Johnson 2021",
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
    source=f"{PAPER}; Wu and Johnson 2021",
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
    source="Wu and Johnson 2021, section 3",
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
    source="Li, Wang, Shi, Liu and Hou 2016",
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
    source=f"{PAPER}, algorithm 2, step 10",
    setting={**NET, "layer": 0, "batch": 4},
    effect="estimated over exact variance (median unit)",
    condition=between(0.95, 1.05),
)
def bessel_first(seeds, *, layer, batch, **net):
    return _estimated_over_exact(seeds, layer, batch, **net)


@claim(
    id="bessel-third-layer",
    question=(
        "The factor m/(m − 1) makes the averaged variances of the mini-batches an "
        "unbiased estimate of the population's."
    ),
    statement=(
        "Only in the first layer. The inputs of the third have been normalized by "
        "their own mini-batch, and at m = 4 the estimate is more than 5 % too large."
    ),
    source=f"{PAPER}, algorithm 2, step 10",
    setting={**NET, "layer": 2, "batch": 4},
    effect="estimated over exact variance (median unit)",
    condition=above(1.05),
)
def bessel_third(seeds, *, layer, batch, **net):
    return _estimated_over_exact(seeds, layer, batch, **net)


def _estimated_over_exact(seeds, layer, batch, **net):
    run = _train(seeds, every=None, **net)
    x = _x_train(seeds)
    _, exact = unpack_statistics(run.network, moments_over(run.network, run.theta, x))[
        layer
    ]
    # The training part comes shuffled: its rows, in order, are random mini-batches.
    variances = [
        unpack_statistics(
            run.network,
            moments_over(run.network, run.theta, x[:, start : start + batch]),
        )[layer][1]
        for start in range(0, x.shape[1] - batch + 1, batch)
    ]
    estimate = np.mean(variances, axis=0) * batch / (batch - 1)
    return np.median(estimate / exact, axis=1)


# ---------------------------------------------------------------------------
# The wrong mode


@claim(
    id="forgotten-eval",
    statement=(
        "Evaluated in training mode, in mini-batches of 8, a network loses more than "
        "5 points of accuracy."
    ),
    source="measured here; the most asked question about batch normalization",
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
    source="measured here",
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
    source="measured here",
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
    id="single-class-batches",
    statement=(
        "Trained on mini-batches that each hold a single class, a network without "
        "batch normalization learns; with it, inference is more than 40 points worse."
    ),
    source="Ioffe 2017; Wu and Johnson 2021",
    setting={**NET, "rate": 0.03, "steps": 300, "batch": 32},
    effect="accuracy without, less that with",
    condition=above(0.4),
)
def single_class_batches(seeds, *, batch, **net):
    def accuracy(norm):
        run = _train(
            seeds, norm=norm, batch=batch, batches=single_class, every=None, **net
        )
        return run.accuracy[:, -1]

    return accuracy(None) - accuracy("batch")


# ---------------------------------------------------------------------------
# Folding

FOLD = {"channels": 16, "examples": 32}


@claim(
    id="folding-exact",
    statement=(
        "Folded into the linear or convolutional layer before it, batch normalization "
        "gives the same outputs, to rounding error."
    ),
    source="Jacob et al. 2018, section 3.2",
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
    source="Jacob et al. 2018, section 3.2",
    setting={**FOLD, "dtype": "float32"},
    effect="largest difference over the largest output",
    condition=below(1e-5),
    scale="log",
    floor=1e-6,
)
def folding_single_precision(seeds, **setting):
    return _folding_errors(seeds, **setting)


def _folding_errors(seeds, *, channels, examples, dtype):
    import torch
    from torch.nn.functional import conv2d, linear

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


def _train(seeds, *, depth, width, rate, norm="batch", every=10, **options):
    """A ReLU network trained on the digits -> `Run`, shared: not to be written to."""
    network = Network((64,), (width,) * depth, norm=norm)
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
