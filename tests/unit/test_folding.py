"""Folding: one layer in place of two, against torch, exact rationals and itself."""

from fractions import Fraction
from functools import partial

import numpy as np
import pytest
import torch
from oracles import unwritten
from torch import nn
from torch.nn.utils import fusion

from batchnorm import reference
from batchnorm.folding import fold_conv, fold_linear

EPS = 1e-5
CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


def statistics(channels, rng):
    """Parameters and statistics of a trained layer; gamma has both signs and a 0."""
    gamma = rng.normal(size=channels)
    gamma[0] = 0.0
    gamma[-1] = -abs(gamma[-1])
    return {
        "gamma": gamma,
        "beta": rng.normal(size=channels),
        "mean": rng.normal(size=channels),
        "var": rng.uniform(0.01, 3, size=channels),
    }


def torch_normalize(y, s):
    """Torch's batch normalization in eval mode."""
    gamma, beta, mean, var = (
        None if s[name] is None else torch.from_numpy(s[name])
        for name in ("gamma", "beta", "mean", "var")
    )
    return nn.functional.batch_norm(y, mean, var, gamma, beta, eps=EPS)


def with_parameters(layer, weight, bias):
    """The output function of a torch layer with other parameters."""
    parameters = {"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)}
    return lambda x: torch.func.functional_call(layer, parameters, (x,))


def parameters_of(layer):
    bias = None if layer.bias is None else layer.bias.detach().numpy()
    return layer.weight.detach().numpy(), bias


def assert_one_for_two(folded, layer, s, x):
    """A folded layer does what the layer and normalization do, torch's and ours."""
    folded, y = with_parameters(layer, *folded)(x), layer(x)
    tolerance = {"rtol": 1e-12, "atol": 1e-12}
    torch.testing.assert_close(folded, torch_normalize(y, s), **tolerance)
    ours = reference.inference(y.detach().numpy(), **s, eps=EPS)
    np.testing.assert_allclose(folded.detach(), ours, **tolerance)


def convolutions():
    """Layers of one to three dimensions, grouped and depthwise, either direction."""
    for dims in (1, 2, 3):
        for transposed, classes in ((False, CONV), (True, TRANSPOSED)):
            # (in, out, groups): dense, grouped, depthwise, depthwise with multiplier
            for shape in ((3, 5, 1), (4, 6, 2), (4, 4, 4), (3, 6, 3)):
                for bias in (True, False):
                    kind = "transposed" if transposed else "conv"
                    name = f"{kind}{dims}d-{shape}-{'bias' if bias else 'plain'}"
                    yield pytest.param(
                        classes[dims], dims, shape, bias, transposed, id=name
                    )


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(("d_in", "d_out"), [(1, 1), (7, 3), (3, 7)])
def test_linear_equals_layer_then_inference(d_in, d_out, affine, bias):
    rng = np.random.default_rng([d_in, d_out, affine, bias])
    layer = nn.Linear(d_in, d_out, bias=bias, dtype=torch.float64)
    s = statistics(d_out, rng)
    if not affine:
        s |= {"gamma": None, "beta": None}
    x = torch.from_numpy(rng.normal(size=(11, d_in)))
    folded = fold_linear(*parameters_of(layer), **s, eps=EPS)
    assert_one_for_two(folded, layer, s, x)


@pytest.mark.parametrize(
    ("layer_class", "dims", "shape", "bias", "transposed"), list(convolutions())
)
def test_conv_equals_layer_then_inference(layer_class, dims, shape, bias, transposed):
    rng = np.random.default_rng([dims, *shape, bias, transposed])
    c_in, c_out, groups = shape
    # Zero padding *before* the folded layer does no harm: it pads the convolution.
    settings = {"stride": 2, "padding": 1, "groups": groups, "bias": bias}
    layer = layer_class(c_in, c_out, 3, **settings, dtype=torch.float64)
    s = statistics(c_out, rng)
    x = torch.from_numpy(rng.normal(size=(2, c_in, *[5] * dims)))
    options = {"eps": EPS, "transposed": transposed, "groups": groups}
    folded = fold_conv(*parameters_of(layer), **s, **options)
    assert_one_for_two(folded, layer, s, x)


@pytest.mark.parametrize("kind", ["linear", "conv", "transposed conv"])
def test_folds_equal_torch_fusion(kind):
    """Torch's own helper, where it works: no groups in a transposed convolution."""
    fold, fuse, layer = {
        "linear": (fold_linear, fusion.fuse_linear_bn_weights, nn.Linear(4, 6)),
        "conv": (fold_conv, fusion.fuse_conv_bn_weights, nn.Conv2d(4, 6, 3)),
        "transposed conv": (
            partial(fold_conv, transposed=True),
            partial(fusion.fuse_conv_bn_weights, transpose=True),
            nn.ConvTranspose2d(4, 6, 3),
        ),
    }[kind]
    layer, s = layer.double(), statistics(6, np.random.default_rng(1))
    gamma, beta, mean, var = map(torch.from_numpy, s.values())
    expected = fuse(layer.weight, layer.bias, mean, var, EPS, gamma, beta)
    folded = fold(*parameters_of(layer), **s, eps=EPS)
    for ours, theirs in zip(folded, expected, strict=True):
        np.testing.assert_allclose(ours, theirs.detach(), rtol=1e-14, atol=1e-15)


def test_linear_is_exact_on_rationals():
    """var + eps a square of a power of two, so that every result is a rational."""
    weight = np.array([[1.5, -2.0], [0.25, 3.0], [1.0, 1.0]])
    bias, gamma, beta = [0.5, -1.0, 4.0], [3.0, -0.75, 0.0], [0.125, 2.0, -7.0]
    mean, var, eps = [2.0, -0.5, 1.0], [15.75, 3.75, 0.0], 0.25
    roots = [Fraction(4), Fraction(2), Fraction(1, 2)]

    new_weight, new_bias = fold_linear(weight, bias, gamma, beta, mean, var, eps=eps)

    for c, root in enumerate(roots):
        assert root**2 == Fraction(var[c]) + Fraction(eps)
        scale = Fraction(gamma[c]) / root
        expected = [scale * Fraction(w) for w in weight[c]]
        assert [Fraction(w) for w in new_weight[c]] == expected
        moved = scale * (Fraction(bias[c]) - Fraction(mean[c]))
        assert Fraction(new_bias[c]) == Fraction(beta[c]) + moved


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("transposed", [False, True])
def test_low_precision_is_rounded_once(dtype, transposed):
    """The same as folding in float64 and rounding the result, to the last bit."""
    rng = np.random.default_rng(3)
    weight = rng.normal(size=(4, 4, 3)).astype(dtype)
    bias = rng.normal(size=4).astype(dtype)
    s = {name: v.astype(np.float32) for name, v in statistics(4, rng).items()}
    s["mean"] = bias.astype(np.float32) * np.float32(1 + 1e-6)  # b - mean cancels

    low = fold_conv(weight, bias, **s, transposed=transposed)
    high = fold_conv(
        weight.astype(np.float64),
        bias.astype(np.float64),
        **{name: values.astype(np.float64) for name, values in s.items()},
        transposed=transposed,
    )
    for folded, exact in zip(low, high, strict=True):
        assert folded.dtype == dtype
        np.testing.assert_array_equal(folded, exact.astype(dtype))


def test_missing_bias_has_the_dtype_of_the_weight():
    weight, bias = fold_linear(
        np.ones((2, 3), np.float32), None, None, None, np.ones(2), np.ones(2)
    )
    assert weight.dtype == bias.dtype == np.float32
    np.testing.assert_allclose(bias, [-1 / np.sqrt(1 + EPS)] * 2, rtol=1e-7)


def test_arguments_are_not_written_to():
    rng = np.random.default_rng(4)
    weight, bias, s = rng.normal(size=(3, 2, 3)), rng.normal(size=3), statistics(3, rng)
    with unwritten(weight, bias, *s.values()) as results:
        results += fold_conv(weight, bias, **s)


def test_any_strides():
    rng = np.random.default_rng(5)
    weight, bias, s = rng.normal(size=(3, 2, 6)), rng.normal(size=6), statistics(6, rng)
    view = weight.transpose(2, 1, 0)[:, :, ::-1]
    for transposed in (False, True):
        arguments = (view, bias) if not transposed else (view.swapaxes(0, 1), bias)
        for ours, plain in zip(
            fold_conv(*arguments, **s, transposed=transposed),
            fold_conv(arguments[0].copy(), bias, **s, transposed=transposed),
            strict=True,
        ):
            np.testing.assert_array_equal(ours, plain)


def refusals():
    """Arguments that are refused, each with what the message has to say."""
    conv, linear = np.ones((4, 2, 3)), np.ones((4, 2))
    vectors = {"gamma": np.ones(4), "beta": np.ones(4)}
    vectors |= {"mean": np.zeros(4), "var": np.ones(4)}
    for fold, weight in ((fold_linear, linear), (fold_conv, conv)):
        base = {"weight": weight, "bias": np.ones(4), **vectors}
        for name in ("bias", "gamma", "beta", "mean", "var"):
            for shape in ((3,), (1,), (4, 1), ()):
                yield fold, base | {name: np.ones(shape)}, rf"{name} .*\(4,\)"
        for name in ("mean", "var"):
            yield fold, base | {name: None}, name
        yield fold, base | {"var": np.array([1, 1, -1e-3, 1])}, "var is -0.001.*2"
        for eps in (0, -1e-5, np.nan, np.inf, None, "1"):
            yield fold, base | {"eps": eps}, "eps"
        for bad in (weight + 1j, weight.astype(object), "weights", np.ones(4)):
            yield fold, base | {"weight": bad}, "weight"
    base = {"weight": conv, "bias": None, **vectors}
    yield fold_linear, base, r"weight .*\(d_out, d_in\)"
    yield fold_conv, base | {"weight": linear}, "kernel axes"
    yield fold_conv, base | {"weight": np.ones((4, 2, 1, 1, 1, 1))}, "kernel axes"
    for groups in (0, -1, 1.5, True, 3):
        yield fold_conv, base | {"groups": groups}, f"groups is {groups}"
    # Two groups make eight output channels out of a transposed weight of (4, 4).
    wide = {"weight": np.ones((4, 4, 3)), "transposed": True, "groups": 2}
    yield fold_conv, base | wide, r"gamma .*\(8,\)"


@pytest.mark.parametrize(("fold", "arguments", "message"), list(refusals()))
def test_refusals(fold, arguments, message):
    with pytest.raises(ValueError, match=message):
        fold(**arguments)
