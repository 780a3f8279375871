"""What the layer computes: against torch, finite differences and exact rationals."""

import copy
import math

import numpy as np
import pytest
import torch
from oracles import LIMITS, TORCH, assert_accurate, assert_close
from torch import nn

from batchnorm import _passes, accuracy, reference
from batchnorm.layer import BatchNorm, batch_norm, inference

EPS = 1e-5
SHAPES = [(7, 3), (2, 1), (4, 3, 5), (1, 2, 2), (3, 2, 4, 5), (2, 3, 2, 3, 2)]
LOW = [torch.float16, torch.bfloat16]

pytestmark = pytest.mark.usefixtures("seeded")


def leaf(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, requires_grad=True)


def case(shape, dtype=torch.float64):
    """x, weight and bias that ask for gradients."""
    return leaf(*shape, dtype=dtype), leaf(shape[1]).to(dtype), leaf(shape[1]).to(dtype)


def torch_batch_norm(x, weight, bias, eps=EPS):
    return nn.functional.batch_norm(x, None, None, weight, bias, training=True, eps=eps)


# ---------------------------------------------- Values and derivatives of the functions


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm_equals_torch(shape, affine):
    x, weight, bias = case(shape)
    arguments = (x, weight, bias) if affine else (x, None, None)
    wanted = arguments[: 3 if affine else 1]
    both = batch_norm(*arguments), torch_batch_norm(*arguments)
    assert_close(*both)
    dy = torch.randn_like(x)
    assert_close(*(torch.autograd.grad(y, wanted, dy) for y in both), 1e-11)


@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm_equals_reference(shape):
    x, weight, bias = case(shape)
    dy = torch.randn_like(x)
    y = batch_norm(x, weight, bias)
    gradients = torch.autograd.grad(y, (x, weight, bias), dy)

    arrays = (t.detach().numpy() for t in (x, weight, bias))
    expected, cache = reference.forward(*arrays)
    assert_close(y.detach(), torch.from_numpy(expected))
    theirs = map(torch.from_numpy, reference.backward(dy.numpy(), cache))
    assert_close(gradients, tuple(theirs), 1e-11)


@pytest.mark.parametrize("shape", SHAPES)
def test_inference_equals_torch_and_reference(shape):
    x, weight, bias = case(shape)
    mean, var = torch.randn(shape[1]).double(), torch.rand(shape[1]).double()
    ours = inference(x, weight, bias, mean, var)
    theirs = nn.functional.batch_norm(x, mean, var, weight, bias, eps=EPS)
    assert_close(ours, theirs)
    dy = torch.randn_like(ours)
    gradients = torch.autograd.grad(ours, (x, weight, bias), dy)
    assert_close(gradients, torch.autograd.grad(theirs, (x, weight, bias), dy))
    arrays = (t.detach().numpy() for t in (dy, x, weight, mean, var))
    expected = reference.inference_backward(*arrays)
    assert_close(gradients, tuple(map(torch.from_numpy, expected)))


@pytest.mark.parametrize("eps", [1e-5, 0.5])
@pytest.mark.parametrize("shape", [(4, 3), (2, 2, 3), (2, 2, 2, 2), (2, 1, 2, 1, 2)])
def test_gradcheck_and_gradgradcheck(shape, eps):
    arguments = case(shape)

    def function(x, weight, bias):
        return batch_norm(x, weight, bias, eps)

    assert torch.autograd.gradcheck(function, arguments)
    assert torch.autograd.gradgradcheck(function, arguments)


@pytest.mark.parametrize(
    ("scaled", "shifted"),
    [(False, False), (True, False), (False, True)],
    ids=["neither", "weight alone", "bias alone"],
)
def test_gradcheck_without_parameters(scaled, shifted):
    arguments = leaf(4, 3), leaf(3) if scaled else None, leaf(3) if shifted else None
    assert torch.autograd.gradcheck(batch_norm, arguments)
    assert torch.autograd.gradgradcheck(batch_norm, arguments)


def test_third_derivative():
    """The gradient of a nonlinear loss, itself put through gradgradcheck."""

    def gradient(x, weight, bias):
        loss = batch_norm(x, weight, bias, 0.1).pow(3).sum()
        return torch.autograd.grad(loss, (x, weight), create_graph=True)

    assert torch.autograd.gradgradcheck(gradient, case((4, 2)))


def test_double_backward_equals_torch():
    """A gradient penalty, the use that second derivatives have in practice."""
    x, weight, bias = case((8, 3, 2))
    results = []
    for function in (batch_norm, torch_batch_norm):
        loss = function(x, weight, bias).sigmoid().sum()
        (dx,) = torch.autograd.grad(loss, x, create_graph=True)
        results.append(torch.autograd.grad(dx.pow(2).sum(), (x, weight, bias)))
    assert_close(*results, 1e-11)


def test_parameters_may_be_frozen():
    x, weight, bias = case((5, 2))
    expected = torch.autograd.grad(torch_batch_norm(x, weight, bias).exp().sum(), bias)
    y = batch_norm(x.detach(), weight.detach(), bias)
    assert_close(torch.autograd.grad(y.exp().sum(), bias), expected)
    assert not batch_norm(*(t.detach() for t in (x, weight, bias))).requires_grad


@pytest.mark.parametrize("tile", [_passes.TILE, 4], ids=["whole", "in tiles"])
def test_torch_func(tile, monkeypatch):
    """grad and vmap: every model of an ensemble with its own parameters and batch."""
    monkeypatch.setattr(_passes, "TILE", tile)

    def loss(x, weight, bias):
        return batch_norm(x, weight, bias).sin().sum()

    batches, weights, biases = torch.randn(4, 6, 2), torch.randn(4, 2), torch.randn(2)
    slope = torch.func.grad(loss, (0, 1, 2))
    together = torch.func.vmap(slope, (0, 0, None))(batches, weights, biases)
    for k in range(4):
        alone = slope(batches[k], weights[k], biases)
        assert_close(tuple(a[k] for a in together), alone, 1e-6)
    shared = torch.func.vmap(batch_norm, (None, 0, None))
    one_batch = shared(batches[0], weights, biases)
    assert_close(one_batch[2], batch_norm(batches[0], weights[2], biases), 1e-6)


def cubed(x, weight, bias):
    return batch_norm(x, weight, bias).pow(3).sum()


def slope(*tensors):
    return torch.func.grad(cubed, (0, 1, 2))(*tensors)


def slopes(x, weight, bias):
    weights = torch.stack([weight, 2 * weight])
    return torch.func.vmap(slope, (None, 0, None))(x, weights, bias)


def slope_along(*tensors):
    return torch.func.jvp(slope, tensors, tensors)


def hessian(*tensors):
    return torch.func.hessian(cubed)(*tensors)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch, of its tracing
@pytest.mark.parametrize("program", [slopes, slope_along, hessian])
def test_torch_compile_of_torch_func(program):
    tensors = [t.detach() for t in case((6, 2))]
    compiled = torch.compile(program, backend="eager", fullgraph=True)
    assert_close(compiled(*tensors), program(*tensors))


TILED = [(50, 3), (2, 3, 40), (4, 3, 5, 6), (1, 2, 3, 11), (2, 3, 2, 3, 7)]


@pytest.mark.parametrize("layout", ["in order", "transposed", "channels last"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", TILED)
def test_tiles_do_not_show(shape, dtype, layout, monkeypatch):
    """In tiles of about 20 values, which is many, and whole; also far from zero."""
    x, weight, bias = (t.detach() for t in case(shape, dtype))
    x, dy = 1e4 + x, torch.randn(shape, dtype=dtype)
    if layout == "transposed":
        x = x.transpose(0, -1).contiguous().transpose(0, -1)
    elif layout == "channels last":
        x = x.movedim(1, -1).contiguous().movedim(-1, 1)
    leaves = [t.requires_grad_() for t in (x, weight, bias)]
    mean, var = torch.randn(shape[1]), torch.rand(shape[1])

    def results():
        y = batch_norm(*leaves)
        gradients = torch.autograd.grad(y, leaves, dy)
        with torch.no_grad():
            z = inference(*leaves, mean, var)
        assert y.stride() == z.stride() == x.stride()
        return [y.detach(), *gradients, z]

    whole = results()
    monkeypatch.setattr(_passes, "TILE", 20)
    tiles = _passes._tiles(x.detach())
    assert len(tiles) >= 3
    assert sum(tile.numel() for (tile,) in tiles) == x.numel()
    for a, b in zip(results(), whole, strict=True):
        size = b.abs().max().item()
        assert_close(a / size, b / size, 4 * torch.finfo(dtype).eps)


@pytest.mark.parametrize(
    "make_input", [accuracy.drifting, accuracy.steps_of_an_ulp, accuracy.fine_steps]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_accuracy_in_tiles(make_input, dtype, monkeypatch):
    monkeypatch.setattr(_passes, "TILE", 32)
    row = accuracy.measure(make_input, dtype, draws=1, implementations=LAYER)
    assert_accurate(row, dtype)


def test_derivatives_are_the_same_in_tiles(monkeypatch):
    monkeypatch.setattr(_passes, "TILE", 4)
    assert torch.autograd.gradcheck(batch_norm, case((4, 3)))
    assert torch.autograd.gradgradcheck(batch_norm, case((4, 3)))
    x, weight, bias = case((6, 2))
    dys = torch.randn(3, 6, 2, dtype=torch.float64)
    y = batch_norm(x, weight, bias)
    (together,) = torch.autograd.grad(y, x, dys, True, is_grads_batched=True)
    for k in range(3):
        assert_close(together[k], torch.autograd.grad(y, x, dys[k], True)[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_arguments_are_not_written_to(dtype):
    tensors = [t.detach() for t in case((5, 3, 2), dtype)]
    tensors += [torch.randn(3), torch.rand(3)]
    before = [t.clone() for t in tensors]
    batch_norm(*tensors[:3])
    inference(*tensors)
    for tensor, copied in zip(tensors, before, strict=True):
        assert torch.equal(tensor, copied)


# ------------------------------------------------------------------- Strides and dtypes


def strided_inputs():
    """Inputs of other strides than the dense ones in order."""
    images, volumes = torch.randn(4, 3, 2, 5), torch.randn(2, 3, 2, 2, 3)
    yield "channels_last", images.to(memory_format=torch.channels_last)
    yield "channels_last_3d", volumes.to(memory_format=torch.channels_last_3d)
    yield "transposed", torch.randn(3, 6).T
    yield "sliced", images[::2, :, :, 1::2]
    yield "expanded", torch.randn(4, 3, 1, 1).expand(4, 3, 2, 5)


@pytest.mark.parametrize(
    ("name", "x"), [pytest.param(*c, id=c[0]) for c in strided_inputs()]
)
@pytest.mark.parametrize("training", [True, False])
def test_strides(name, x, training):
    theirs = TORCH[x.ndim](3).train(training)
    ours = BatchNorm(3).train(training)
    x = x.clone() if name.startswith("channels") else x
    y = ours(x)
    assert_close(y, theirs(x), 1e-5)
    if name.startswith("channels"):
        assert y.stride() == theirs(x).stride() == x.stride()
        (dx,) = torch.autograd.grad(ours(x.requires_grad_()).pow(2).sum(), x)
        assert dx.stride() == x.stride()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", [*LOW, torch.float32])
def test_lower_precision_is_computed_in_float64(dtype, training):
    """Equal, to the last bit, to the float64 result rounded to the dtype."""
    x = (100 + torch.randn(64, 4)).to(dtype)
    layer = BatchNorm(4).train(training)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(4))
        layer.bias.copy_(torch.randn(4))
    y = layer(x)
    assert y.dtype == dtype
    exact = copy.deepcopy(layer).double()(x.double())
    assert torch.equal(y, exact.to(dtype))
    y.float().pow(2).sum().backward()
    assert layer.weight.grad.dtype == layer.running_var.dtype == torch.float32


@pytest.mark.parametrize("dtype", LOW)
def test_autocast(dtype):
    """A half-precision convolution feeds the layer, whose parameters are float32."""
    net = nn.Sequential(nn.Conv2d(2, 3, 3), BatchNorm(3), nn.ReLU(), nn.Conv2d(3, 1, 3))
    twin = copy.deepcopy(net)
    twin[1] = nn.BatchNorm2d(3)
    x = torch.randn(4, 2, 8, 8)
    outputs = []
    for model in (net, twin):
        with torch.autocast("cpu", dtype=dtype):
            y = model(x)
        assert y.dtype == dtype
        y.float().pow(2).mean().backward()
        assert all(p.grad.dtype == torch.float32 for p in model.parameters())
        outputs.append(y)
    roundoff = torch.finfo(dtype).eps
    assert_close(*outputs, 4 * roundoff)
    for ours, theirs in zip(net.parameters(), twin.parameters(), strict=True):
        scale = theirs.grad.abs().max().item()
        # The bias before the layer is cancelled by it: its gradient is rounding.
        if ours is not net[0].bias:
            assert_close(ours.grad / scale, theirs.grad / scale, 8 * roundoff)


def test_module_in_half_precision():
    layer = BatchNorm(3).half()
    y = layer(torch.randn(8, 3).half())
    assert y.dtype == layer.running_mean.dtype == torch.float16


# ---------------------------------------------------- Accuracy, against exact rationals


# In float64 there is no wider type to compute in: the squares of these leave its
# range, or fall below it, for the layer as for torch. `reference` scales them.
OUT_OF_RANGE = {
    accuracy.constant,
    accuracy.near_overflow,
    accuracy.many_magnitudes,
    accuracy.denormal,
    accuracy.large_gradient,
    accuracy.denormal_gradient,
}


def layer_passes(x, gamma, beta, dy):
    """y and dx of the layer, as `accuracy.measure` asks for them."""
    leaf = torch.from_numpy(x).requires_grad_()
    gamma, beta, dy = (torch.from_numpy(array) for array in (gamma, beta, dy))
    y = batch_norm(leaf, gamma, beta, accuracy.EPS)
    return y.detach().numpy(), torch.autograd.grad(y, leaf, dy)[0].numpy()


LAYER = {"layer": layer_passes}
HARD_INPUTS = [
    (make_input, dtype)
    for dtype in LIMITS
    for make_input in accuracy.INPUTS
    if dtype is not np.float64 or make_input not in OUT_OF_RANGE
]


@pytest.mark.parametrize(("make_input", "dtype"), HARD_INPUTS)
def test_accuracy_on_hard_inputs(make_input, dtype):
    row = accuracy.measure(make_input, dtype, draws=1, implementations=LAYER)
    assert_accurate(row, dtype)


def test_nan_stays_in_its_channel():
    x = torch.randn(6, 3, 2)
    broken = x.clone()
    broken[2, 1, 0], broken[3, 1, 1] = math.nan, math.inf
    layer, twin = BatchNorm(3), BatchNorm(3)
    y, clean = layer(broken), twin(x)
    for c in (0, 2):
        assert torch.equal(y[:, c], clean[:, c])
        assert layer.running_var[c] == twin.running_var[c]
    assert y[:, 1].isnan().all()
