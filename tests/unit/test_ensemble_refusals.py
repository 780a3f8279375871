"""What the ensemble refuses, and how it names it."""

from dataclasses import replace

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
    gradient,
    init_parameters,
    shuffled,
    train,
    unpack,
    unpack_statistics,
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
        (lambda: Network(64, (8,)), "shape is 64; allowed are iterables"),
        (lambda: Network((), (8,)), "axes of shape is 0; allowed are 1, 3"),
        (lambda: Network((8, 8), (8,)), "axes of shape is 2; allowed are 1, 3"),
        (lambda: Network((64,), 8), "hidden is 8; allowed are iterables"),
        (lambda: Network((64,), (8,), norm=(None,)), "norm is None; allowed are 'b"),
        (lambda: Recorder(quantities=[len]), "quantities is .*; allowed is a dict"),
        (lambda: Recorder(quantities={"a": 3}), "quantities has 'a': 3; allowed"),
        (lambda: train("net", digits, [0], **BASE), "network is a str; allowed"),
        (lambda: train(NET, None, [0], **BASE), "data is None; allowed is a Split"),
        (lambda: train(NET, digits, [0], batches=3, **BASE), "batches is 3; allowed"),
        (lambda: train(NET, digits, [0], optimizer=SGD, **BASE), "is the class SGD"),
        (lambda: train(NET, digits, [0], momentum=1.1, **BASE), "numbers from 0 to 1"),
        (lambda: train(NET, digits, [0], dtype=np.float16, **BASE), "dtype is .*16"),
        (lambda: train(NET, digits, [0], theta=WORDS, **BASE), "theta has dtype <U1"),
        (lambda: train(NET, digits, [0], recorder=ONE, **BASE), r"quantity a .* \(\)"),
        (lambda: train(NET, labeled(-1), [0], **BASE), "y_train has the label -1"),
        (lambda: train(NET, labeled(0.5), [0], **BASE), "y_train has dtype float64"),
        (lambda: train(NET, with_tested(3), [0], **BASE), r"y_test has shape \(3,\)"),
        (lambda: init_parameters("net", [0]), "network is a str; allowed"),
        (lambda: forward("net", START, X), "network is a str; allowed"),
        (lambda: forward(NET, None, X), "theta has dtype object"),
        (lambda: forward(NET, START.astype(int), X), "theta has dtype torch.int64"),
        (lambda: forward(NET, START, None), "x has dtype object"),
        (lambda: forward(NET, START, X[:0]), r"x has shape \(0, 64\); allowed is one"),
        (lambda: forward(NET, START, X[:, None]), "x has shape .* two or more for e"),
        (lambda: forward(MAPS, FILTERS, X[:, None]), "x has shape .* two or more"),
        (lambda: forward(MAPS, FILTERS, X.reshape(4, 1, 1, 8, 8)), "two or more for"),
        (lambda: forward(NET, START, X[::-1]), "x is reversed"),
        (lambda: forward(NET, START, X[:, ::-1]), "x is reversed"),
        (lambda: forward(NET, START, X, "running"), "statistics has dtype <U7"),
        (lambda: unpack(NET, START[:, 1:]), "theta has shape"),
        (lambda: unpack(NET, np.hstack([START, START])), "theta has shape"),
        (lambda: unpack_statistics(NET, np.ones((1, 2))), "statistics has shape"),
        (lambda: unpack_statistics(NET, np.ones((1, 2, 9))), "statistics has shape"),
        (lambda: TRAINED.steps_to("0.9"), "accuracy is '0.9'; allowed"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("score", [gradient, evaluate])
@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros(1, int), r"y has shape \(1,\); allowed is one label for each of 4"),
        (np.zeros(3, int), r"y has shape \(3,\)"),
        (np.zeros(8, int), r"y has shape \(8,\)"),
        (
            np.zeros((2, 4), int),
            r"y has shape \(2, 4\); allowed are \(n,\) and \(1, n\)",
        ),
        (0, r"y has shape \(\)"),
        ([0, 1, 2, 10], "y has the label 10; allowed are 0 to 9"),
        ([0, 1, 2, -1], "y has the label -1"),
        ([0.0, 1.0, 2.0, 3.0], "y has dtype float64; allowed are integers"),
        ([0, 1, 2, None], "y has dtype object"),
        ([True] * 4, "y has dtype bool"),
    ],
)
def test_labels_that_are_not_one_class_an_example_are_refused(score, y, message):
    """Too few of them were taken without a word, and gave a wrong gradient."""
    with pytest.raises(ValueError, match=message):
        score(NET, START, X, y)


@pytest.mark.parametrize("kind", [np.int64, np.uint8, list])
def test_labels_are_those_of_all_networks_or_of_each(kind):
    both = init_parameters(NET, [0, 1])
    y = kind([0, 1, 2, 9]) if kind is list else np.array([0, 1, 2, 9], kind)
    of_all, of_each = gradient(NET, both, X, y), gradient(NET, both, X, [y, y])
    assert (of_all[1] == of_each[1]).all()


def test_images_are_taken_flat_and_as_they_are_for_all_and_for_each():
    network = Network([1, 8, 8], (Conv(2),))
    theta, x = init_parameters(network, [0, 1]), np.eye(6, 64)
    images = x.reshape(6, 1, 8, 8)
    ways = x, images, images[:, 0], np.stack([x, x]), np.stack([images, images])
    found = [forward(network, theta, way)[-1].output for way in ways]
    assert all((one == found[0]).all() for one in found)


def labeled(label):
    split = digits(0)
    return replace(split, y_train=np.full(len(split.y_train), label))


def with_tested(count):
    split = digits(0)
    return replace(split, y_test=split.y_test[:count])


NET = Network((64,), (8,), norm="batch")
START, X = init_parameters(NET, [0]), np.zeros((4, 64))
MAPS = Network((1, 8, 8), (Conv(2),))
FILTERS = init_parameters(MAPS, [0])
WORDS = np.full(START.shape, "a")
ONE = Recorder(quantities={"a": lambda state: 1.0})
TRAINED = train(NET, digits, [0], **BASE)
DIGITS = digits(0).x_test, digits(0).y_test


def odd_batches(labels, batch, steps, rng):
    return shuffled(labels, batch, steps + 1, rng)
