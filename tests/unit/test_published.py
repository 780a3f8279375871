"""Published test material through our functions: torch's own samples and ONNX's.

One test for each sample, so the number of tests that ran is the number of samples;
`test_samples_are_there` names the count of each source and fails at zero.
"""

from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import onnx
import onnx.backend.test
import pytest
import torch
from onnx import numpy_helper

# Importing ONNX's module for the operator is what makes its cases.
from onnx.backend.test.case.node import batch_normalization  # noqa: F401
from published import attributes_of, each_source, name_of, onnx_cases, op_samples
from torch.testing._internal.common_modules import ModuleErrorEnum, module_db

from batchnorm import reference
from batchnorm.layer import BatchNorm, batch_norm, inference
from batchnorm.statistics import RunningStatistics

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


# --------------------------------------------------------------------------- Collecting


NORMS = torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d
MODULES = [info for info in module_db if info.module_cls in NORMS]


def module_samples():
    """Torch's samples of nn.BatchNorm1d, 2d and 3d, in training and evaluation."""
    settings = product(MODULES, (torch.float64, torch.float32), ("train", "eval"))
    for info, dtype, mode in settings:
        torch.manual_seed(0)
        given = {"device": "cpu", "dtype": dtype, "training": mode == "train"}
        for sample in info.module_inputs_func(info, requires_grad=True, **given):
            norm, says = info.module_cls, sample.desc or "plain"
            id = f"{norm.__name__}-{name_of(dtype)}-{mode}-{says}"
            yield pytest.param(norm, sample, dtype, mode == "train", id=id)


def module_errors():
    """What torch's modules have to refuse."""
    given = {"device": "cpu", "dtype": torch.float64, "training": True}
    for info in MODULES:
        errors = info.module_error_inputs_func(info, requires_grad=False, **given)
        for number, error in enumerate(errors):
            yield pytest.param(error, id=f"{info.module_cls.__name__}-{number}")


def onnx_stored_cases():
    """Models with inputs and outputs that the onnx package carries as files."""
    data = Path(onnx.backend.test.__file__).parent / "data"
    for folder in sorted(data.glob("*/test_BatchNorm*")):
        model = onnx.load(folder / "model.onnx")
        (node,) = model.graph.node
        stored = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        for data_set in sorted(folder.glob("test_data_set_*")):
            (x, y) = (
                numpy_helper.to_array(onnx.load_tensor(data_set / f"{name}_0.pb"))
                for name in ("input", "output")
            )
            arguments = [stored.get(name, x) for name in node.input]
            yield pytest.param(node, arguments, y, id=folder.name)


OP_SAMPLES = list(op_samples(["batch_norm"], DTYPES))
MODULE_SAMPLES = list(module_samples())
MODULE_ERRORS = list(module_errors())
ONNX_NODE_CASES = list(onnx_cases("BatchNormalization"))
ONNX_STORED_CASES = list(onnx_stored_cases())
SOURCES = {
    "torch OpInfo": OP_SAMPLES,
    "torch ModuleInfo": MODULE_SAMPLES,
    "torch ModuleInfo, errors": MODULE_ERRORS,
    "ONNX node cases": ONNX_NODE_CASES,
    "ONNX stored models": ONNX_STORED_CASES,
}


@each_source(SOURCES)
def test_samples_are_there(samples):
    assert len(samples) > 0


# ------------------------------------------------------------------------------ Running


def assert_rounded(ours, exact, dtype):
    """`ours` is `exact`, in float64, to a few roundings of the dtype."""
    roundoff = torch.finfo(dtype).eps
    scale = max(1.0, exact.abs().max().item()) if exact.numel() else 1.0
    assert ours.dtype == dtype
    tolerance = {"rtol": 8 * roundoff, "atol": 8 * roundoff * scale}
    torch.testing.assert_close(ours.double(), exact, **tolerance)


def assert_all_rounded(ours, exact, dtype):
    for a, b in zip(ours, exact, strict=True):
        assert_rounded(a, b, dtype)


def copied(tensor):
    """A float64 copy, which torch may write to."""
    return tensor.to(torch.float64, copy=True)


def in_float64(tensor):
    return None if tensor is None else tensor.detach().double().requires_grad_()


def arrays(*tensors):
    return (None if t is None else t.detach().numpy() for t in tensors)


@pytest.mark.parametrize(("name", "sample", "dtype"), OP_SAMPLES)
def test_torch_op_sample(name, sample, dtype):
    """Layer and reference, values and gradients, against torch's own in float64."""
    x, (mean, var, weight, bias) = sample.input, sample.args
    settings = {"training": False, "eps": 1e-5, "momentum": 0.1} | sample.kwargs
    training, eps = settings["training"], settings["eps"]

    def ours(x, weight, bias):
        if training:
            return batch_norm(x, weight, bias, eps)
        return inference(x, weight, bias, mean, var, eps)

    if x.ndim < 2:  # torch takes an empty vector, which has no channel axis
        with pytest.raises(ValueError, match="x has shape"):
            ours(x, weight, bias)
        return

    # Torch's answer in float64, on the sample's values.
    leaves = [in_float64(t) for t in (x, weight, bias)]
    running = [None if t is None else copied(t) for t in (mean, var)]
    given = leaves[0], *running, *leaves[1:], training
    y = torch.nn.functional.batch_norm(*given, eps=eps)
    torch.manual_seed(1)
    dy = torch.randn_like(x)
    wanted = [t for t in leaves if t is not None]
    gradients = torch.autograd.grad(y, wanted, dy.double())

    y_ours = ours(x, weight, bias)
    assert_rounded(y_ours, y, dtype)
    present = [t for t in (x, weight, bias) if t is not None]
    assert_all_rounded(torch.autograd.grad(y_ours, present, dy), gradients, dtype)

    if dtype is torch.bfloat16:  # NumPy has none
        return
    x, weight, bias, mean, var, dy = arrays(x, weight, bias, mean, var, dy)
    if training:
        y_ours, cache = reference.forward(x, weight, bias, eps=eps)
        ours = reference.backward(dy, cache)
    else:
        y_ours = reference.inference(x, weight, bias, mean, var, eps=eps)
        ours = reference.inference_backward(dy, x, weight, mean, var, eps=eps)
        ours = ours if bias is not None else ours[:2]  # it is not told of the bias
    assert_rounded(torch.from_numpy(y_ours), y, dtype)
    ours = [torch.from_numpy(a) for a in ours if a is not None]
    assert_all_rounded(ours, gradients, dtype)


def updates_statistics(sample):
    mean = sample.args[0]
    return sample.kwargs.get("training", False) and mean is not None and mean.numel()


@pytest.mark.parametrize(
    ("name", "sample", "dtype"),
    [case for case in OP_SAMPLES if updates_statistics(case.values[1])],
)
def test_torch_op_sample_statistics(name, sample, dtype):
    """The running statistics after the step, in the module and in NumPy."""
    x, (mean, var, *_) = sample.input.detach(), sample.args
    momentum, eps = sample.kwargs.get("momentum", 0.1), sample.kwargs.get("eps", 1e-5)
    channels = x.shape[1]
    if momentum < 0:  # torch takes it, and the variance turns negative
        for refusing in (BatchNorm, RunningStatistics):
            with pytest.raises(ValueError, match=r"momentum is -1\.0"):
                refusing(channels, momentum=momentum)
        return

    running, settings = (copied(mean), copied(var)), {"momentum": momentum, "eps": eps}
    torch.nn.functional.batch_norm(x.double(), *running, training=True, **settings)

    layer = BatchNorm(channels, eps, momentum, affine=False, dtype=dtype)
    layer.running_mean.copy_(mean)
    layer.running_var.copy_(var)
    layer(x)
    assert_rounded(layer.running_mean, running[0], dtype)
    assert_rounded(layer.running_var, running[1], dtype)

    statistics = RunningStatistics(channels, momentum)
    statistics.mean, statistics.var = mean.double().numpy(), var.double().numpy()
    statistics.update(x.double().numpy())
    assert_rounded(torch.from_numpy(statistics.mean), running[0], torch.float64)
    assert_rounded(torch.from_numpy(statistics.var), running[1], torch.float64)


@pytest.mark.parametrize(("torch_class", "sample", "dtype", "training"), MODULE_SAMPLES)
def test_torch_module_sample(torch_class, sample, dtype, training):
    """The layer in place of torch's, in float64: output, gradients and state."""
    arguments = sample.constructor_input
    layer = BatchNorm(*arguments.args, **arguments.kwargs, dtype=dtype)
    twin = torch_class(*arguments.args, **arguments.kwargs, dtype=torch.float64)
    (x,) = sample.forward_input.args
    if x.numel() == 0 and training:  # torch counts it as a batch seen
        assert layer(x).shape == x.shape
        assert not layer.num_batches_tracked
        return

    leaf = in_float64(x)
    torch.manual_seed(1)
    dy = torch.randn_like(x)
    y, y_twin = layer.train(training)(x), twin.train(training)(leaf)
    ours = torch.autograd.grad(y, [x, *layer.parameters()], dy)
    theirs = torch.autograd.grad(y_twin, [leaf, *twin.parameters()], dy.double())

    assert_rounded(y, y_twin, dtype)
    assert_all_rounded(ours, theirs, dtype)
    state, state_twin = layer.state_dict(), twin.state_dict()
    assert list(state) == list(state_twin)
    for name, value in state.items():
        assert_rounded(value.to(dtype), state_twin[name].double(), dtype)


@pytest.mark.parametrize("error", MODULE_ERRORS)
def test_torch_module_error(error):
    """What torch refuses at the first step, the layer refuses when it is made."""
    assert error.error_on is ModuleErrorEnum.FORWARD_ERROR
    arguments = error.module_error_input.constructor_input
    with pytest.raises(error.error_type, match=r"eps is .* allowed are positive"):
        BatchNorm(*arguments.args, **arguments.kwargs)


DEFAULTS = {"epsilon": 1e-5, "momentum": 0.9, "training_mode": 0}
close = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("node", "inputs", "outputs"), ONNX_NODE_CASES)
def test_onnx_node_case(node, inputs, outputs):
    attributes = DEFAULTS | attributes_of(node)
    eps = attributes["epsilon"]
    x, gamma, beta, mean, var = inputs
    if not attributes["training_mode"]:
        (y,) = outputs
        ours = reference.inference(x, gamma, beta, mean, var, eps=eps)
        close(ours, y)
        return

    y, new_mean, new_var = outputs
    ours, cache = reference.forward(x, gamma, beta, eps=eps)
    close(ours, y)

    # ONNX's momentum weighs the old statistics, ours the new batch; ONNX stores the
    # biased variance, we, as torch, the unbiased one.
    weight = 1 - attributes["momentum"]
    statistics = RunningStatistics(len(mean), momentum=weight)
    statistics.mean, statistics.var = mean.astype(float), var.astype(float)
    statistics.update(x)
    m = x.size // len(mean)
    biased = statistics.var - weight * cache.var / (m - 1)
    close(statistics.mean, new_mean)
    close(biased, new_var)


@pytest.mark.parametrize(("node", "inputs", "y"), ONNX_STORED_CASES)
def test_onnx_stored_case(node, inputs, y):
    x, gamma, beta, mean, var = inputs
    eps = (DEFAULTS | attributes_of(node))["epsilon"]
    ours = reference.inference(x, gamma, beta, mean, var, eps=eps)
    close(ours, y)
    tensors = (torch.from_numpy(a.copy()) for a in inputs)
    close(inference(*tensors, eps), y)
