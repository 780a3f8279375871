"""What the layer refuses, and that a refused step changes nothing."""

import copy
import math
import re

import numpy as np
import pytest
import torch
from torch import nn

from batchnorm.layer import BatchNorm, batch_norm, inference


def bad_activations():
    yield torch.randn(6), r"x has shape \(6,\)"
    yield torch.randn(()), r"x has shape \(\)"
    yield torch.randn(2, 3, 2, 2, 2, 2), "at most 3 spatial axes"
    yield torch.ones(4, 3, dtype=torch.int64), "x has dtype torch.int64"
    yield torch.ones(4, 3, dtype=torch.bool), "x has dtype torch.bool"
    yield torch.ones(4, 3, dtype=torch.complex64), "x has dtype torch.complex64"
    yield np.ones((4, 3)), "x is a ndarray"
    yield None, "x is a NoneType"


def too_few_values():
    yield torch.randn(1, 3), "one value per channel"
    yield torch.randn(1, 3, 1, 1), "one value per channel"


def bad_vectors():
    yield torch.ones(2), r"has shape \(2,\); allowed is \(3,\)"
    yield torch.ones(1), r"has shape \(1,\); allowed is \(3,\)"
    yield torch.ones(3, 1), r"has shape \(3, 1\); allowed is \(3,\)"
    yield torch.ones(3, dtype=torch.complex64), "has dtype torch.complex64"
    yield torch.ones(3, dtype=torch.int32), "has dtype torch.int32"
    yield [1.0, 1.0, 1.0], "is a list"


BAD_EPS = [0, 0.0, -1e-5, math.nan, math.inf, None, "1e-5", True]
BAD_MOMENTUM = [math.nan, -0.1, 1.1, math.inf, "0.1", True]


@pytest.mark.parametrize(("x", "message"), [*bad_activations(), *too_few_values()])
def test_batch_norm_refuses_activations(x, message):
    with pytest.raises(ValueError, match=message):
        batch_norm(x, None, None)


@pytest.mark.parametrize(("x", "message"), list(bad_activations()))
def test_inference_refuses_activations(x, message):
    with pytest.raises(ValueError, match=message):
        inference(x, None, None, torch.zeros(3), torch.ones(3))


TAKEN = {batch_norm: ["weight", "bias"], inference: ["weight", "bias", "mean", "var"]}


@pytest.mark.parametrize(("vector", "message"), list(bad_vectors()))
@pytest.mark.parametrize(
    ("function", "name"), [(f, name) for f, names in TAKEN.items() for name in names]
)
def test_vectors_are_refused(function, name, vector, message):
    vectors = dict.fromkeys(TAKEN[function], torch.ones(3)) | {name: vector}
    with pytest.raises(ValueError, match=f"{name} {message}"):
        function(torch.randn(4, 3), **vectors)


@pytest.mark.parametrize("eps", BAD_EPS)
@pytest.mark.parametrize(
    "call",
    [
        lambda x, ones, eps: batch_norm(x, None, None, eps),
        lambda x, ones, eps: inference(x, None, None, ones, ones, eps),
        lambda x, ones, eps: BatchNorm(3, eps=eps),
    ],
    ids=["batch_norm", "inference", "BatchNorm"],
)
def test_eps_is_refused(call, eps):
    with pytest.raises(ValueError, match="eps is"):
        call(torch.randn(4, 3), torch.ones(3), eps)


@pytest.mark.parametrize("momentum", BAD_MOMENTUM)
def test_momentum_is_refused(momentum):
    with pytest.raises(ValueError, match="momentum is"):
        BatchNorm(3, momentum=momentum)


@pytest.mark.parametrize("num_features", [0, -1, 2.0, True, None])
def test_num_features_is_refused(num_features):
    with pytest.raises(ValueError, match="num_features is"):
        BatchNorm(num_features)


def test_negative_variance_is_refused():
    """Where it is set; written into the buffer behind our back it gives NaN."""
    x, ones, var = torch.randn(4, 3), torch.ones(3), torch.tensor([1.0, -0.5, 1.0])
    layer = BatchNorm(3).eval()
    with pytest.raises(ValueError, match=r"running_var is -0\.5 in channel 1"):
        layer.running_var = var
    layer.running_var.copy_(var)
    for y in (layer(x), inference(x, ones, ones, ones, var)):
        assert y.isnan().any(dim=0).tolist() == [False, True, False]


def refused_steps():
    """Steps in training that are refused: a change to the layer, and its input."""
    good = torch.randn(4, 3)
    for x, message in (*bad_activations(), *too_few_values()):
        yield {}, x, message
    yield {}, torch.randn(4, 2), r"x has 2 channels \(shape \(4, 2\)\); allowed is 3"
    yield {}, torch.randn(4, 1), "x has 1 channels"
    yield {"momentum": math.nan}, good, "momentum is nan"
    yield {"eps": -1.0}, good, "eps is -1.0"
    yield {"weight": nn.Parameter(torch.ones(2))}, good, "weight has shape"
    yield {"bias": nn.Parameter(torch.ones(3, 1))}, good, "bias has shape"


STATISTICS = pytest.mark.parametrize("name", ["running_mean", "running_var"])
BAD_SHAPES = pytest.mark.parametrize("shape", [(5,), (), (1,), (3, 1)], ids=str)


@STATISTICS
@BAD_SHAPES
def test_statistics_of_another_shape_are_refused_where_they_are_set(name, shape):
    layer, vector = BatchNorm(3), torch.ones(shape)
    message = rf"{name} has shape {re.escape(str(shape))}; allowed is \(3,\)"
    before = copy.deepcopy(layer.state_dict())
    with pytest.raises(ValueError, match=message):
        setattr(layer, name, vector)
    for assign in (False, True):
        with pytest.raises(RuntimeError, match=f"(size mismatch for )?{name}"):
            layer.load_state_dict(before | {name: vector}, assign=assign)
    assert all(torch.equal(v, before[name]) for name, v in layer.state_dict().items())


@STATISTICS
@BAD_SHAPES
@pytest.mark.parametrize("training", [True, False])
def test_a_step_with_statistics_of_another_shape_changes_nothing(name, shape, training):
    layer = BatchNorm(3).train(training)
    layer._buffers[name] = torch.ones(shape)
    before = copy.deepcopy(layer.state_dict())
    with pytest.raises(ValueError, match=f"{name} has shape"):
        layer(torch.randn(4, 3))
    assert all(torch.equal(v, before[name]) for name, v in layer.state_dict().items())


@pytest.mark.parametrize(("change", "x", "message"), list(refused_steps()))
def test_refused_step_leaves_the_state_alone(change, x, message):
    layer = BatchNorm(3)
    for name, value in change.items():
        setattr(layer, name, value)
    before = copy.deepcopy(layer.state_dict())
    with pytest.raises(ValueError, match=message):
        layer(x)
    for name, value in layer.state_dict().items():
        assert torch.equal(value, before[name])


def test_one_value_per_channel_is_accepted_in_evaluation():
    layer = BatchNorm(3).eval()
    assert layer(torch.randn(1, 3)).shape == (1, 3)
    assert layer(torch.randn(0, 3)).shape == (0, 3)
    with pytest.raises(ValueError, match="one value per channel"):
        BatchNorm(3, track_running_stats=False).eval()(torch.randn(1, 3))
