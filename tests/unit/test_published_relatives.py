"""Published samples through the relatives: torch's own and ONNX's."""

import importlib
import math

import hypothesis
import numpy as np
import pytest
import torch
from onnx import helper
from onnx.backend.test.case import node as onnx_node
from torch.testing._internal.common_methods_invocations import op_db

from batchnorm import relatives

hypothesis.settings.load_profile("book")  # which torch's test code has changed

# Importing ONNX's modules for the operators is what makes their cases.
for module in ("layer", "group", "rms"):
    importlib.import_module(f"onnx.backend.test.case.node.{module}normalization")
importlib.import_module("onnx.backend.test.case.node.instance_normalization")

FUNCTIONAL = torch.nn.functional
OPS = [f"{kind}_norm" for kind in ("layer", "group", "instance", "rms")]


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


def op_samples():
    for info in op_db:
        name = info.name.removeprefix("nn.functional.")
        if name not in OPS:
            continue
        for dtype in (torch.float64, torch.float32, torch.float16):
            torch.manual_seed(0)
            samples = info.sample_inputs("cpu", dtype, requires_grad=True)
            for number, sample in enumerate(samples):
                id = f"{name}-{str(dtype).removeprefix('torch.')}-{number}"
                yield pytest.param(name, sample, dtype, id=id)


def onnx_cases():
    kinds = ("Layer", "Group", "Instance", "RMS")
    for case in onnx_node._NodeTestCases:
        (node, *others) = case.model.graph.node
        if node.op_type.removesuffix("Normalization") in kinds and not others:
            for inputs, outputs in case.data_sets:
                yield pytest.param(node, inputs, outputs[0], id=case.name)


OP_SAMPLES, ONNX_CASES = list(op_samples()), list(onnx_cases())
SOURCES = {"torch OpInfo": OP_SAMPLES, "ONNX node cases": ONNX_CASES}


@pytest.mark.parametrize(
    "source", [pytest.param(s, id=f"{s}: {len(c)}") for s, c in SOURCES.items()]
)
def test_samples_are_there(source):
    assert len(SOURCES[source]) > 0


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


@pytest.mark.parametrize(("node", "inputs", "expected"), ONNX_CASES)
def test_onnx_case(node, inputs, expected):
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
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
