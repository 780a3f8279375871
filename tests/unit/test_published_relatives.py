"""Published samples through the relatives: torch's own and ONNX's."""

import importlib
import math

import numpy as np
import pytest
import torch
from published import attributes_of, each_source, onnx_cases, op_samples

from batchnorm import relatives

# Importing ONNX's modules for the operators is what makes their cases.
for module in ("layer", "group", "rms"):
    importlib.import_module(f"onnx.backend.test.case.node.{module}normalization")
importlib.import_module("onnx.backend.test.case.node.instance_normalization")

FUNCTIONAL = torch.nn.functional
OPS = [f"{kind}_norm" for kind in ("layer", "group", "instance", "rms")]
DTYPES = torch.float64, torch.float32, torch.float16
KINDS = [f"{kind}Normalization" for kind in ("Layer", "Group", "Instance", "RMS")]
OP_SAMPLES, ONNX_CASES = list(op_samples(OPS, DTYPES)), list(onnx_cases(*KINDS))


def ours(name, x, arguments, eps):
    """A call of torch's as one of ours."""
    if name in ("layer_norm", "rms_norm"):
        shape, *parameters = arguments
        function = getattr(relatives, name)
        parameters += [None] * (1 + (name == "layer_norm") - len(parameters))
        return function(x, *parameters, trailing=len(shape), eps=eps)
    if name == "group_norm":
        groups, *parameters = arguments
        return relatives.group_norm(x, groups, *parameters, eps=eps)
    return relatives.instance_norm(x, *arguments, eps=eps)


@each_source({"torch OpInfo": OP_SAMPLES, "ONNX node cases": ONNX_CASES})
def test_samples_are_there(samples):
    assert len(samples) > 0


def close(ours, exact, dtype):
    """Equal to 8 roundings of the dtype; in float64, where torch rounds too, to 32."""
    roundings = (32 if dtype == torch.float64 else 8) * torch.finfo(dtype).eps
    scale = max(1.0, np.abs(exact).max(initial=0))
    np.testing.assert_allclose(ours, exact, rtol=roundings, atol=roundings * scale)


def values_of_a_group(name, shape, first):
    if name == "instance_norm":
        return math.prod(shape[2:])
    if name == "group_norm":
        return math.prod(shape[1:]) // first
    return math.prod(first)


@pytest.mark.parametrize(("name", "sample", "dtype"), OP_SAMPLES)
def test_torch_op_sample(name, sample, dtype):
    """Values and gradients, against torch's in float64 on the sample's values."""
    options = dict(sample.kwargs)
    eps = options.pop("eps", 1e-5)
    given = [*sample.args]
    if name in ("group_norm", "instance_norm"):
        given += [options.get(key) for key in ("weight", "bias")]
    given = [
        v.detach().to(torch.float64, copy=True) if torch.is_tensor(v) else v
        for v in given
    ]
    arrays = [v.numpy() if torch.is_tensor(v) else v for v in given]
    x = sample.input.detach()
    values = values_of_a_group(name, x.shape, arrays[0])
    refused = eps <= 0 or (values == 1 and name != "rms_norm")
    if refused:  # torch takes a negative ε, and erases a feature that is alone
        with pytest.raises(ValueError, match=r"(eps is|one value less its mean)"):
            ours(name, x.numpy(), arrays, eps)
        return

    leaves = [x.to(torch.float64, copy=True).requires_grad_()]
    given = [v.requires_grad_() if torch.is_tensor(v) else v for v in given]
    leaves += [v for v in given if torch.is_tensor(v)]
    if name == "instance_norm":
        y = FUNCTIONAL.instance_norm(leaves[0], weight=given[0], bias=given[1], eps=eps)
    elif name == "group_norm":
        y = FUNCTIONAL.group_norm(leaves[0], *given, eps)
    else:
        y = getattr(FUNCTIONAL, name)(leaves[0], *given, eps=eps)
    dy = np.random.default_rng(1).standard_normal(x.shape).astype(x.numpy().dtype)
    expected = torch.autograd.grad(y, leaves, torch.tensor(dy).double())

    found, cache = ours(name, x.numpy(), arrays, eps)
    close(found, y.detach().numpy(), dtype)
    gradients = [g for g in relatives.backward(dy, cache) if g is not None]
    for a, b in zip(gradients, expected, strict=True):
        close(a, b.numpy(), dtype)


@pytest.mark.parametrize(("node", "inputs", "outputs"), ONNX_CASES)
def test_onnx_case(node, inputs, outputs):
    attributes, expected = attributes_of(node), outputs[0]
    x, *parameters = inputs
    eps = attributes.get("epsilon", 1e-5)
    kind = node.op_type.removesuffix("Normalization")
    if kind == "Group":
        parameters = [attributes["num_groups"], *parameters]
        y, _ = relatives.group_norm(x, *parameters, eps=eps)
    elif kind == "Instance":
        y, _ = relatives.instance_norm(x, *parameters, eps=eps)
    else:
        trailing = len(x.shape[attributes.get("axis", -1) :])
        function = relatives.layer_norm if kind == "Layer" else relatives.rms_norm
        y, _ = function(x, *parameters, trailing=trailing, eps=eps)
    assert y.dtype == expected.dtype
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
