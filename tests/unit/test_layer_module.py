"""The module as a replacement of torch's: its state, its memory, its exports."""

import copy
import io
import pickle
import warnings
import weakref

import numpy as np
import pytest
import torch
from oracles import TORCH, assert_close
from torch import nn

from batchnorm.layer import BatchNorm
from batchnorm.statistics import RunningStatistics

pytestmark = pytest.mark.usefixtures("seeded")


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


@pytest.mark.parametrize("to_torch", [True, False], ids=["to torch", "from torch"])
@pytest.mark.parametrize("ndim", [2, 4, 5])
def test_state_dict_moves_both_ways(ndim, to_torch):
    x = torch.randn(6, 3, *[2] * (ndim - 2))
    source, target = BatchNorm(3), TORCH[ndim](3)
    if not to_torch:
        source, target = target, source
    for _ in range(3):
        source(x + torch.randn(()))
    target.load_state_dict(source.state_dict())
    assert_same_state(source, target)
    assert target.num_batches_tracked == source.num_batches_tracked == 3
    assert_close(target.eval()(x), source.eval()(x), 1e-6)


def test_state_dict_without_a_counter_loads():
    """What torch wrote before it counted batches."""
    state = nn.BatchNorm1d(3).state_dict()
    del state["num_batches_tracked"]
    state._metadata[""]["version"] = 1
    layer = BatchNorm(3)
    layer.load_state_dict(state)
    assert layer.num_batches_tracked == 0


def saved_and_loaded(layer):
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda layer: pickle.loads(pickle.dumps(layer)),
    "torch.save": saved_and_loaded,
}


@pytest.mark.parametrize("settings", [{}, {"affine": False}, {"momentum": None}])
@pytest.mark.parametrize("way", COPIES)
def test_copies_are_equal_and_independent(way, settings):
    layer = BatchNorm(3, **settings)
    layer(torch.randn(5, 3))
    twin = COPIES[way](layer)
    assert_same_state(twin, layer)
    assert repr(twin) == repr(layer)
    x = torch.randn(4, 3)
    assert torch.equal(twin.eval()(x), layer.eval()(x))
    before = layer.running_mean.clone()
    twin.train()(x)
    assert torch.equal(layer.running_mean, before)
    assert not torch.equal(twin.running_mean, before)


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


# ------------------------------------------------------------ Statistics carry no graph


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


# ------------------------------------------------------------------------------- Export


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
