"""What the ensemble refuses, and how it names it."""

import numpy as np
import pytest

from batchnorm.datasets import digits
from batchnorm.ensemble import (
    SGD,
    Adam,
    Conv,
    Linear,
    Network,
    Pool,
    Recorder,
    evaluate,
    forward,
    init_parameters,
    shuffled,
    train,
)

BASE = {"lr": 0.1, "steps": 2}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Network((64,), (8,), nonlinearity="gelu"), "nonlinearity"),
        (lambda: Network((64,), (8,), norm="quantile"), "norm is 'quantile'"),
        (lambda: Network((64,), (8,), norm=("quantile", 4)), "norm is 'quantile'"),
        (lambda: Network((64,), (8,), norm=("batch", 4)), r"norm is \('batch', 4\)"),
        (lambda: Network((64,), (8,), norm=()), r"norm is \(\)"),
        (lambda: Network((64,), (1,), norm="layer"), "groups is 1, and a layer"),
        (lambda: Network((64,), (8,), norm=("group", 3)), "groups is 3, and a layer"),
        (lambda: Network((64,), (8,), norm=("group", 8)), "groups is 8, and a layer"),
        (lambda: Network((64,), (8,), norm=("group", 0)), "groups is 0; allowed"),
        (lambda: Network((64,), (8,), order="during"), "order"),
        (lambda: Network((64,), (0,)), "hidden"),
        (lambda: Network((64,), (8.5,)), "hidden"),
        (lambda: Network((64,), (True,)), "hidden is True"),
        (lambda: Network((64,), (np.True_,)), "hidden is"),
        (lambda: Network((True,), (8,)), "shape is True"),
        (lambda: Network((64.0,), (8,)), "shape is 64.0"),
        (lambda: Network((64,), (8,), True), "classes is True"),
        (lambda: Network((64,), (8,), eps=True), "eps is True"),
        (lambda: Linear(True), "units is True"),
        (lambda: Conv(True), "channels is True"),
        (lambda: Conv(4, True), "kernel is True"),
        (lambda: Pool(True), "size is True"),
        (lambda: Recorder(True), "every is True"),
        (lambda: Recorder([0, True]), "every is True"),
        (lambda: Recorder(2.5), "every is 2.5"),
        (lambda: Recorder(statistics="luck"), "statistics is 'luck'"),
        (lambda: SGD(True), "momentum is True"),
        (lambda: SGD(weight_decay=-1), "weight_decay is -1"),
        (lambda: Adam(float("nan")), "weight_decay is nan"),
        (lambda: Network((64,), (Conv(3),)), r"\(C, H, W\)"),
        (lambda: Network((1, 9, 9), (Pool(2),)), "does not divide"),
        (lambda: Network((1, 2, 2), (Conv(3),)), "does not fit"),
        (lambda: Network((64,), (8,), eps=-1.0), "eps"),
        (lambda: Network((64,), (8,), eps=float("nan")), "eps"),
        (lambda: Conv(4, kernel=2), "odd"),
        (lambda: Conv(4, padding="mirror"), "padding"),
        (lambda: train(NET, digits, [], **BASE), "seeds"),
        (lambda: train(NET, digits, [0.5], **BASE), "seeds"),
        (lambda: train(NET, digits, [-1], **BASE), "seeds"),
        (lambda: train(NET, digits, [True], **BASE), "seeds"),
        (lambda: train(NET, digits, [0], lr=True, steps=2), "lr"),
        (lambda: train(NET, digits, [0], lr=0.1, steps=True), "steps is True"),
        (lambda: train(NET, digits, [0], batch=True, **BASE), "batch is True"),
        (lambda: train(NET, digits, [0], batches=odd_batches, **BASE), "batches"),
        (lambda: evaluate(NET, START, *DIGITS, batch=True), "batch is True"),
        (lambda: train(NET, digits, [0], lr=[0.1, 0.2], steps=2), "lr"),
        (lambda: train(NET, digits, [0], lr=float("nan"), steps=2), "lr"),
        (lambda: train(NET, digits, [0], lr=0.1, steps=0), "steps"),
        (lambda: train(NET, digits, [0], batch=1298, **BASE), "batch"),
        (lambda: train(NET, digits, [0], batch=1, **BASE), "batch"),
        (lambda: train(NET, digits, [0], optimizer="lion", **BASE), "optimizer"),
        (lambda: train(NET, digits, [0], recorder=10, **BASE), "recorder is a int"),
        (lambda: train(NET, digits, [0], theta=np.zeros((1, 3)), **BASE), "theta"),
        (lambda: train(NET, digits, [0], momentum=-0.1, **BASE), "momentum"),
        (lambda: train(Network((63,), (8,)), digits, [0], **BASE), "data"),
        (lambda: train(Network((64,), (8,), 9), digits, [0], **BASE), "classes"),
        (lambda: shuffled(np.zeros(5), 6, 1, np.random.default_rng()), "batch"),
        (lambda: forward(NET, np.zeros((1, 3)), np.zeros((2, 64))), "theta"),
        (lambda: forward(NET, START, np.zeros((2, 63))), "x has shape"),
        (lambda: forward(NET, START, np.zeros((2, 4, 64))), "networks"),
        (lambda: forward(NET, START, X, np.zeros((1, 2))), "statistics"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


NET = Network((64,), (8,), norm="batch")
START, X = init_parameters(NET, [0]), np.zeros((4, 64))
DIGITS = digits(0).x_test, digits(0).y_test


def odd_batches(labels, batch, steps, rng):
    return shuffled(labels, batch, steps + 1, rng)
