"""The PyTorch layer: against torch's own, finite differences and exact rationals."""

import copy
import io
import math
import pickle
import warnings
import weakref

import numpy as np
import pytest
import torch
from torch import nn

from batchnorm import accuracy, reference
from batchnorm import layer as layer_module
from batchnorm.layer import BatchNorm, batch_norm, inference
from batchnorm.statistics import RunningStatistics

EPS = 1e-5
SHAPES = [(7, 3), (2, 1), (4, 3, 5), (1, 2, 2), (3, 2, 4, 5), (2, 3, 2, 3, 2)]
TORCH = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
LOW = [torch.float16, torch.bfloat16]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def leaf(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, requires_grad=True)


def case(shape, dtype=torch.float64):
    """x, weight and bias that ask for gradients."""
    return leaf(*shape, dtype=dtype), leaf(shape[1]).to(dtype), leaf(shape[1]).to(dtype)


def torch_batch_norm(x, weight, bias, eps=EPS):
    return nn.functional.batch_norm(x, None, None, weight, bias, training=True, eps=eps)


def assert_close(ours, theirs, tolerance=1e-12):
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


# ---------------------------------------------------------------------------
# Values and derivatives of the functions


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm_equals_torch(shape, affine):
    x, weight, bias = case(shape)
    arguments = (x, weight, bias) if affine else (x, None, None)
    wanted = arguments[: 3 if affine else 1]
    ours, theirs = batch_norm(*arguments), torch_batch_norm(*arguments)
    assert_close(ours, theirs)
    dy = torch.randn_like(ours)
    for a, b in zip(
        torch.autograd.grad(ours, wanted, dy),
        torch.autograd.grad(theirs, wanted, dy),
        strict=True,
    ):
        assert_close(a, b, 1e-11)


@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm_equals_reference(shape):
    x, weight, bias = case(shape)
    dy = torch.randn_like(x)
    y = batch_norm(x, weight, bias)
    gradients = torch.autograd.grad(y, (x, weight, bias), dy)

    y_reference, cache = reference.forward(
        *(t.detach().numpy() for t in (x, weight, bias))
    )
    assert_close(y.detach(), torch.from_numpy(y_reference))
    for a, b in zip(gradients, reference.backward(dy.numpy(), cache), strict=True):
        assert_close(a, torch.from_numpy(b), 1e-11)


@pytest.mark.parametrize("shape", SHAPES)
def test_inference_equals_torch_and_reference(shape):
    x, weight, bias = case(shape)
    mean, var = torch.randn(shape[1]).double(), torch.rand(shape[1]).double()
    ours = inference(x, weight, bias, mean, var)
    theirs = nn.functional.batch_norm(x, mean, var, weight, bias, eps=EPS)
    assert_close(ours, theirs)
    dy = torch.randn_like(ours)
    gradients = torch.autograd.grad(ours, (x, weight, bias), dy)
    for a, b in zip(
        gradients, torch.autograd.grad(theirs, (x, weight, bias), dy), strict=True
    ):
        assert_close(a, b)
    x, weight, mean, var = (t.detach().numpy() for t in (x, weight, mean, var))
    for a, b in zip(
        gradients,
        reference.inference_backward(dy.numpy(), x, weight, mean, var),
        strict=True,
    ):
        assert_close(a, torch.from_numpy(b))


@pytest.mark.parametrize("eps", [1e-5, 0.5])
@pytest.mark.parametrize("shape", [(4, 3), (2, 2, 3), (2, 2, 2, 2), (2, 1, 2, 1, 2)])
def test_gradcheck_and_gradgradcheck(shape, eps):
    arguments = case(shape)

    def function(x, weight, bias):
        return batch_norm(x, weight, bias, eps)

    assert torch.autograd.gradcheck(function, arguments)
    assert torch.autograd.gradgradcheck(function, arguments)


def test_gradcheck_without_parameters():
    x = leaf(4, 3)
    for arguments in ((None, None), (leaf(3), None), (None, leaf(3))):
        assert torch.autograd.gradcheck(batch_norm, (x, *arguments))
        assert torch.autograd.gradgradcheck(batch_norm, (x, *arguments))


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
    for ours, theirs in zip(*results, strict=True):
        assert_close(ours, theirs, 1e-11)


def test_parameters_may_be_frozen():
    x, weight, bias = case((5, 2))
    expected = torch.autograd.grad(torch_batch_norm(x, weight, bias).exp().sum(), bias)
    y = batch_norm(x.detach(), weight.detach(), bias)
    assert_close(torch.autograd.grad(y.exp().sum(), bias), expected)
    assert not batch_norm(*(t.detach() for t in (x, weight, bias))).requires_grad


def test_torch_func():
    """grad and vmap: every model of an ensemble with its own parameters and batch."""

    def loss(x, weight, bias):
        return batch_norm(x, weight, bias).sin().sum()

    batches, weights, biases = torch.randn(4, 6, 2), torch.randn(4, 2), torch.randn(2)
    together = torch.func.vmap(torch.func.grad(loss, (0, 1, 2)), (0, 0, None))(
        batches, weights, biases
    )
    for k in range(4):
        alone = torch.func.grad(loss, (0, 1, 2))(batches[k], weights[k], biases)
        for a, b in zip(together, alone, strict=True):
            assert_close(a[k], b, 1e-6)
    one_batch = torch.func.vmap(batch_norm, (None, 0, None))(
        batches[0], weights, biases
    )
    assert_close(one_batch[2], batch_norm(batches[0], weights[2], biases), 1e-6)


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
    monkeypatch.setattr(layer_module, "TILE", 20)
    tiles = layer_module._tiles(x.detach())
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
    monkeypatch.setattr(layer_module, "TILE", 32)
    row = accuracy.measure(
        make_input, dtype, draws=1, implementations={"layer": layer_passes}
    )
    assert max(row.y["layer"], row.dx["layer"]) <= (8 if dtype == np.float32 else 32)


def test_derivatives_and_transforms_are_the_same_in_tiles(monkeypatch):
    monkeypatch.setattr(layer_module, "TILE", 4)
    test_gradcheck_and_gradgradcheck((4, 3), EPS)
    test_torch_func()
    x, weight, bias = case((6, 2))
    dys = torch.randn(3, 6, 2, dtype=torch.float64)
    y = batch_norm(x, weight, bias)
    (together,) = torch.autograd.grad(y, x, dys, True, is_grads_batched=True)
    for k in range(3):
        assert_close(together[k], torch.autograd.grad(y, x, dys[k], True)[0])


def test_arguments_are_not_written_to():
    for dtype in (torch.float32, torch.float64):
        tensors = [t.detach() for t in case((5, 3, 2), dtype)]
        tensors += [torch.randn(3), torch.rand(3)]
        before = [t.clone() for t in tensors]
        batch_norm(*tensors[:3])
        inference(*tensors)
        for tensor, copied in zip(tensors, before, strict=True):
            assert torch.equal(tensor, copied)


# ---------------------------------------------------------------------------
# Strides and dtypes


def strided_inputs():
    """Inputs of other strides than the dense ones in order."""
    images, volumes = torch.randn(4, 3, 2, 5), torch.randn(2, 3, 2, 2, 3)
    yield "channels_last", images.contiguous(memory_format=torch.channels_last)
    yield (
        "channels_last_3d",
        volumes.contiguous(memory_format=torch.channels_last_3d),
    )
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


# ---------------------------------------------------------------------------
# Accuracy, against exact rationals


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


HARD_INPUTS = [
    (make_input, dtype, 32 if dtype is np.float64 else 8)
    for dtype in (np.float16, np.float32, np.float64)
    for make_input in accuracy.INPUTS
    if dtype is not np.float64 or make_input not in OUT_OF_RANGE
]


@pytest.mark.parametrize(("make_input", "dtype", "roundoffs"), HARD_INPUTS)
def test_accuracy_on_hard_inputs(make_input, dtype, roundoffs):
    row = accuracy.measure(
        make_input, dtype, draws=1, implementations={"layer": layer_passes}
    )
    assert row.y["layer"] <= roundoffs
    assert row.dx["layer"] <= roundoffs


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


# ---------------------------------------------------------------------------
# The module as a replacement of torch's


def pair(ndim, **settings):
    """Our layer and torch's, with the same random state, in float64."""
    ours = BatchNorm(3, dtype=torch.float64, **settings)
    theirs = TORCH[ndim](3, dtype=torch.float64, **settings)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.copy_(torch.randn(3))
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def assert_same_state(ours, theirs):
    ours, theirs = ours.state_dict(), theirs.state_dict()
    assert list(ours) == list(theirs)
    for name, value in ours.items():
        assert value.dtype == theirs[name].dtype
        assert_close(value, theirs[name])


@pytest.mark.parametrize("track_running_stats", [True, False])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("momentum", [0.1, 0.0, 1.0, None])
@pytest.mark.parametrize("ndim", [2, 3, 4, 5])
def test_training_and_evaluation_equal_torch(
    ndim, momentum, affine, track_running_stats
):
    """Five steps of training and an evaluation after each, state and gradients."""
    ours, theirs = pair(
        ndim, momentum=momentum, affine=affine, track_running_stats=track_running_stats
    )
    for step in range(5):
        x = 2 + 3 * torch.randn(4 + step, 3, *[2] * (ndim - 2), dtype=torch.float64)
        outputs = []
        for layer in (ours, theirs):
            z = x.clone().requires_grad_()
            y = layer.train()(z)
            y.pow(3).sum().backward()
            outputs.append([y, z.grad, *(p.grad for p in layer.parameters())])
            with torch.no_grad():
                outputs[-1].append(layer.eval()(x))
        for a, b in zip(*outputs, strict=True):
            assert_close(a, b, 1e-11)
        assert_same_state(ours, theirs)


@pytest.mark.parametrize("momentum", [0.3, None])
def test_running_statistics_equal_ours_in_numpy(momentum):
    layer = BatchNorm(3, momentum=momentum, dtype=torch.float64)
    statistics = RunningStatistics(3, momentum=momentum)
    for size in (2, 9, 4):
        x = torch.randn(size, 3, 5, dtype=torch.float64)
        layer(x)
        statistics.update(x.numpy())
    np.testing.assert_allclose(layer.running_mean, statistics.mean, rtol=1e-13)
    np.testing.assert_allclose(layer.running_var, statistics.var, rtol=1e-13)


@pytest.mark.parametrize("ndim", [2, 4, 5])
def test_state_dict_moves_both_ways(ndim):
    x = torch.randn(6, 3, *[2] * (ndim - 2))
    ours, theirs = BatchNorm(3), TORCH[ndim](3)
    for source, target in ((ours, theirs), (theirs, ours)):
        for _ in range(3):
            source(x + torch.randn(()))
        target.load_state_dict(source.state_dict())
        assert_same_state(source, target)
        assert target.num_batches_tracked == source.num_batches_tracked
        assert_close(target.eval()(x), source.eval()(x), 1e-6)
        source.train()
        target.train()


def test_state_dict_without_a_counter_loads():
    """What torch wrote before it counted batches."""
    state = nn.BatchNorm1d(3).state_dict()
    del state["num_batches_tracked"]
    state._metadata[""]["version"] = 1
    layer = BatchNorm(3)
    layer.load_state_dict(state)
    assert layer.num_batches_tracked == 0


@pytest.mark.parametrize("settings", [{}, {"affine": False}, {"momentum": None}])
@pytest.mark.parametrize(
    "copied",
    [
        copy.deepcopy,
        lambda layer: pickle.loads(pickle.dumps(layer)),
        lambda layer: saved_and_loaded(layer),
    ],
    ids=["deepcopy", "pickle", "torch.save"],
)
def test_copies_are_equal_and_independent(copied, settings):
    layer = BatchNorm(3, **settings)
    layer(torch.randn(5, 3))
    twin = copied(layer)
    assert_same_state(twin, layer)
    assert repr(twin) == repr(layer)
    x = torch.randn(4, 3)
    assert torch.equal(twin.eval()(x), layer.eval()(x))
    before = layer.running_mean.clone()
    twin.train()(x)
    assert torch.equal(layer.running_mean, before)
    assert not torch.equal(twin.running_mean, before)


def saved_and_loaded(layer):
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def test_buffers_are_updated_in_place_under_no_grad_too():
    layer = BatchNorm(2)
    buffer = layer.running_mean
    with torch.inference_mode():
        layer(torch.ones(3, 2) * torch.arange(3.0)[:, None])
    assert layer.running_mean is buffer
    assert_close(buffer, torch.full((2,), 0.1), 1e-6)


def test_torch_tools_that_go_by_type_see_the_layer():
    """update_bn resets and refills the buffers; conversion to SyncBatchNorm."""
    net = nn.Sequential(nn.Linear(4, 3), BatchNorm(3))
    batches = [torch.randn(8, 4) for _ in range(3)]
    net(torch.full((8, 4), 100.0) * torch.randn(8, 4))
    torch.optim.swa_utils.update_bn(batches, net)
    with torch.no_grad():
        means = torch.stack([net[0](batch).mean(0) for batch in batches])
    assert_close(net[1].running_mean, means.mean(0), 1e-6)
    assert net[1].momentum == 0.1
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(net)
    assert isinstance(converted[1], nn.SyncBatchNorm)


# ---------------------------------------------------------------------------
# Statistics carry no graph


class Saved:
    """A tensor that a graph keeps for its backward pass."""

    def __init__(self, tensor):
        self.tensor = tensor


def live_after_training(layer, steps):
    """How many tensors graphs still keep after so many steps."""
    live = weakref.WeakSet()

    def pack(tensor):
        saved = Saved(tensor.detach())  # an output would keep its own graph alive
        live.add(saved)
        return saved

    x = torch.randn(4, 2, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved.tensor):
        for _ in range(steps):
            y = layer(x)
        assert len(live) > 0  # the graph of the last step: the count does count
        del y
    return len(live)


def test_nothing_accumulates_over_10000_steps():
    layer = BatchNorm(2)
    assert live_after_training(layer, 10_000) == 0
    for buffer in layer.buffers():
        assert buffer.grad_fn is None
        assert not buffer.requires_grad
    assert layer.num_batches_tracked == 10_000


def test_a_leak_would_be_seen():
    """The well-known mistake, put through the same count."""

    class Leaking(BatchNorm):
        def forward(self, x):
            self.running_mean = 0.9 * self.running_mean + 0.1 * x.pow(2).mean(0)
            return super().forward(x)

    assert live_after_training(Leaking(2), 50) >= 50


# ---------------------------------------------------------------------------
# Export


class Net(nn.Module):
    def __init__(self, training):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3)
        self.norm = BatchNorm(3)
        with torch.no_grad():
            self.norm.running_mean.copy_(torch.randn(3))
            self.norm.running_var.copy_(torch.rand(3))
        self.train(training)

    def forward(self, x):
        return self.norm(self.conv(x)).relu()


@pytest.mark.parametrize("training", [False, True])
def test_torch_export(training):
    net = Net(training)
    n = torch.export.Dim("n", min=2)
    program = torch.export.export(
        copy.deepcopy(net), (torch.randn(4, 2, 6, 6),), dynamic_shapes=({0: n},)
    ).module()
    for size in (3, 5):
        x = torch.randn(size, 2, 6, 6)
        assert_close(program(x), net(x), 1e-6)
    assert_close(program.norm.running_mean, net.norm.running_mean, 1e-6)
    assert program.norm.num_batches_tracked == net.norm.num_batches_tracked
    assert program.norm.num_batches_tracked == (2 if training else 0)


def test_onnx_export():
    """In elementary operators in float64, so ONNX computes what the layer does."""
    onnx = pytest.importorskip("onnx")
    net, x = Net(training=False), torch.randn(4, 2, 6, 6)
    with warnings.catch_warnings():
        # The exporter copies torch's own pytrees in a way that torch deprecates.
        warnings.filterwarnings("ignore", category=FutureWarning)
        program = torch.onnx.export(
            net, (x,), dynamo=True, dynamic_shapes=({0: "n"},), verbose=False
        )
    from onnx.reference import ReferenceEvaluator

    onnx.checker.check_model(program.model_proto)
    session = ReferenceEvaluator(program.model_proto)
    x = torch.randn(7, 2, 6, 6)
    (y,) = session.run(None, {session.input_names[0]: x.numpy()})
    assert_close(torch.from_numpy(y), net(x).detach(), 1e-5)


# ---------------------------------------------------------------------------
# Refusals


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
    yield torch.randn(0, 3), "no values"
    yield torch.randn(2, 3, 0), "no values"


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


@pytest.mark.parametrize(("vector", "message"), list(bad_vectors()))
def test_functions_refuse_vectors(vector, message):
    x, good = torch.randn(4, 3), torch.ones(3)
    for position, name in enumerate(("weight", "bias", "mean", "var")):
        arguments = [good] * 4
        arguments[position] = vector
        with pytest.raises(ValueError, match=f"{name} {message}"):
            inference(x, *arguments)
        if name in ("weight", "bias"):
            with pytest.raises(ValueError, match=f"{name} {message}"):
                batch_norm(x, *arguments[:2])


@pytest.mark.parametrize("eps", BAD_EPS)
def test_eps_is_refused(eps):
    x, ones = torch.randn(4, 3), torch.ones(3)
    with pytest.raises(ValueError, match="eps is"):
        batch_norm(x, None, None, eps)
    with pytest.raises(ValueError, match="eps is"):
        inference(x, None, None, ones, ones, eps)
    with pytest.raises(ValueError, match="eps is"):
        BatchNorm(3, eps=eps)


@pytest.mark.parametrize("momentum", BAD_MOMENTUM)
def test_momentum_is_refused(momentum):
    with pytest.raises(ValueError, match="momentum is"):
        BatchNorm(3, momentum=momentum)


@pytest.mark.parametrize("num_features", [0, -1, 2.0, True, None])
def test_num_features_is_refused(num_features):
    with pytest.raises(ValueError, match="num_features is"):
        BatchNorm(num_features)


def test_negative_variance_is_refused():
    """Torch returns NaN."""
    x, ones, var = torch.randn(4, 3), torch.ones(3), torch.tensor([1.0, -0.5, 1.0])
    with pytest.raises(ValueError, match=r"var is -0\.5 in channel 1"):
        inference(x, ones, ones, ones, var)
    layer = BatchNorm(3).eval()
    layer.running_var.copy_(var)
    with pytest.raises(ValueError, match=r"var is -0\.5 in channel 1"):
        layer(x)


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
