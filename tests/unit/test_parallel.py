"""A mini-batch shared by two and three real processes, and what they do when one fails.

The functions without "test" in their names run in the processes. Each returns what the
tests compare, with one process on the whole mini-batch or with torch.
"""

import os
import time
from contextlib import nullcontext
from datetime import timedelta

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from batchnorm import reference
from batchnorm.layer import BatchNorm
from batchnorm.parallel import FIRST, SyncBatchNorm, convert
from batchnorm.workers import WorkerError, Workers

RNG = np.random.default_rng(0)
SYNC = nn.SyncBatchNorm
STEPS = 20
INPUTS = RNG.normal(2, 3, (STEPS, 12, 4))
TARGETS = RNG.normal(size=(STEPS, 12, 2))
#: Where the shards begin.
CUTS = {"two": [(6,), (3,), (0,)], "three": [(4, 8), (1, 12), (0, 5)]}


@pytest.fixture(scope="module")
def two():
    with Workers(2) as workers:
        yield workers


@pytest.fixture(scope="module")
def three():
    with Workers(3) as workers:
        yield workers


@pytest.fixture
def alone(tmp_path):
    """A process group of this process only."""
    store = dist.FileStore(str(tmp_path / "store"), 1)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def shard(values, cut, rank):
    """The part of a mini-batch that a worker holds."""
    start, end = [0, *cut, len(values)][rank : rank + 2]
    return torch.tensor(values[start:end])


def assert_close(ours, theirs, tolerance=1e-12):
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


# --------------------------------------------- As one process with the whole mini-batch


def network(norm):
    torch.manual_seed(0)
    parts = nn.Linear(4, 5), norm(5), nn.ReLU(), nn.Linear(5, 6), norm(6), nn.ReLU()
    return nn.Sequential(*parts, nn.Linear(6, 2)).double()


def train(rank, cut, norm=SyncBatchNorm, each=1):
    """State after 20 steps in DistributedDataParallel, and the gradients of the last.

    With each = 2, a step takes two mini-batches, the first of them in no_sync.
    """
    net = network(norm)
    model = DistributedDataParallel(net, broadcast_buffers=False)

    def gather_gradients(batch, last):
        x, t = (shard(values[batch], cut, rank) for values in (INPUTS, TARGETS))
        with nullcontext() if last else model.no_sync():
            loss = ((model(x) - t) ** 2).sum() * dist.get_world_size()
            (loss / len(INPUTS[batch])).backward()

    return descend(net, gather_gradients, each)


def train_alone(each=1):
    net = network(BatchNorm)

    def gather_gradients(batch, last):
        x, t = torch.tensor(INPUTS[batch]), torch.tensor(TARGETS[batch])
        (((net(x) - t) ** 2).sum() / len(x)).backward()

    return descend(net, gather_gradients, each)


def descend(net, gather_gradients, each):
    """State after all steps and the gradients of the last."""
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for step in range(0, STEPS, each):
        optimizer.zero_grad()
        for batch in reversed(range(step, step + each)):
            gather_gradients(batch, last=batch == step)
        optimizer.step()
    return net.state_dict(), [parameter.grad for parameter in net.parameters()]


@pytest.mark.parametrize("size", CUTS)
def test_twenty_steps_are_those_of_one_process(size, request):
    """Even, uneven and empty shards, in DistributedDataParallel."""
    workers = request.getfixturevalue(size)
    state, gradients = train_alone()
    for cut in CUTS[size]:
        for its_state, its_gradients in workers.run(train, cut):
            assert list(its_state) == list(state)
            for name, value in its_state.items():
                assert_close(value, state[name])
            for ours, theirs in zip(its_gradients, gradients, strict=True):
                assert_close(ours, theirs)


def test_local_statistics_would_be_seen(two):
    """The same comparison where nothing but gradients is exchanged."""
    state, _ = train_alone()
    its_state, _ = two.run(train, (6,), BatchNorm)[0]
    assert np.abs(its_state["0.weight"] - state["0.weight"].numpy()).max() > 0.01


def test_statistics_are_shared_in_no_sync_too(two):
    state, _ = train_alone(each=2)
    for its_state, _ in two.run(train, (5,), SyncBatchNorm, 2):
        for name, value in its_state.items():
            assert_close(value, state[name])


def one_pass(rank, x, dy, cut, dtype="float64", momentum=0.1):
    """y, dx, the local gradients of weight and bias, and the buffers."""
    x, dy = (shard(values, cut, rank).to(getattr(torch, dtype)) for values in (x, dy))
    layer = SyncBatchNorm(x.shape[1], momentum=momentum, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.linspace(-1, 2, x.shape[1])))
    x.requires_grad_()
    y = layer(x)
    y.backward(dy)
    kind = str(y.dtype), str(x.grad.dtype)
    results = y, x.grad
    if x.dtype == torch.bfloat16:  # which NumPy does not have
        results = [result.float() for result in results]
    grads = layer.weight.grad, layer.bias.grad
    return kind, *results, *grads, *layer.buffers()


@pytest.mark.parametrize(
    ("shape", "offset"),
    [((9, 3), 0.0), ((9, 3), 1e8), ((7, 2, 5), 3.0), ((6, 3, 2, 4), 0.0)],
)
def test_a_pass_equals_the_reference(two, three, shape, offset):
    x, dy = offset + RNG.normal(size=shape), RNG.normal(size=shape)
    gamma = np.linspace(-1, 2, shape[1])
    y, cache = reference.forward(x, gamma, np.zeros(shape[1]))
    expected = [y, *reference.backward(dy, cache)]
    count = x.size // shape[1]
    for workers, cut in ((two, (4,)), (three, (1, 1))):
        found = workers.run(one_pass, x, dy, cut, "float64", None)
        _, *shards = zip(*found, strict=True)
        y, dx = map(np.concatenate, shards[:2])
        dgamma, dbeta = (sum(parts) for parts in shards[2:4])
        for ours, theirs in zip((y, dx, dgamma, dbeta), expected, strict=True):
            assert_close(ours, theirs)
        for mean, var, counted in zip(*shards[4:], strict=True):
            assert_close(mean, cache.mean)
            assert_close(var, cache.var * count / (count - 1))
            assert counted == 1


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_low_precision_is_rounded_once(two, dtype):
    """What one process makes of the whole mini-batch, up to a roundoff at most."""
    kind = getattr(torch, dtype)
    x, dy = (torch.randn(9, 3).to(kind) for _ in range(2))
    layer = BatchNorm(3, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.linspace(-1, 2, 3)))
    leaf = x.clone().requires_grad_()
    y = layer(leaf)
    y.backward(dy)
    found = two.run(one_pass, x.float().numpy(), dy.float().numpy(), (4,), dtype)
    kinds, ys, dxs, *_ = zip(*found, strict=True)
    assert set(kinds) == {(f"torch.{dtype}",) * 2}
    roundoff = torch.finfo(kind).eps
    assert_close(np.concatenate(ys), y.detach().float(), roundoff)
    assert_close(np.concatenate(dxs), leaf.grad.float(), roundoff)


def test_more_channels_than_the_first_message_holds(two):
    channels = FIRST
    x, dy = RNG.normal(size=(2, 5, channels))
    y, cache = reference.forward(x, np.linspace(-1, 2, channels), np.zeros(channels))
    _, ys, dxs, *_ = zip(*two.run(one_pass, x, dy, (3,)), strict=True)
    assert_close(np.concatenate(ys), y)
    assert_close(np.concatenate(dxs), reference.backward(dy, cache)[0])


def mixed_sizes(rank, images):
    return SyncBatchNorm(2, dtype=torch.float64)(torch.tensor(images[rank]))


def test_feature_maps_may_differ_in_size(two):
    images = [RNG.normal(size=(3, 2, 4, 4)), RNG.normal(size=(1, 2, 6, 5))]
    rows = [image.swapaxes(0, 1).reshape(2, -1).T for image in images]
    y, _ = reference.forward(np.concatenate(rows), None, None)
    found = [y.swapaxes(0, 1).reshape(2, -1).T for y in two.run(mixed_sizes, images)]
    assert_close(np.concatenate(found), y)


def penalty(rank, x, cut):
    """Gradient, with respect to x and weight, of a squared gradient."""
    layer = SyncBatchNorm(2, dtype=torch.float64)
    x = shard(x, cut, rank).requires_grad_()
    (dx,) = torch.autograd.grad(layer(x).pow(3).sum(), x, create_graph=True)
    (dx**2).sum().backward()
    return x.grad, layer.weight.grad


def test_second_derivatives_are_those_of_torch(three):
    x = RNG.normal(size=(8, 2))
    leaf, weight = torch.tensor(x, requires_grad=True), torch.ones(2).double()
    y = nn.functional.batch_norm(leaf, None, None, weight.requires_grad_(), None, True)
    (dx,) = torch.autograd.grad(y.pow(3).sum(), leaf, create_graph=True)
    (dx**2).sum().backward()
    for cut in [(3, 5), (0, 5)]:
        dxs, dweights = zip(*three.run(penalty, x, cut), strict=True)
        assert_close(np.concatenate(dxs), leaf.grad, 1e-10)
        assert_close(sum(dweights), weight.grad, 1e-10)


@pytest.mark.usefixtures("alone")
def test_finite_differences():
    layer = SyncBatchNorm(2, momentum=0.0, dtype=torch.float64)
    x = torch.tensor(RNG.normal(size=(4, 2, 3)), requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,))
    assert torch.autograd.gradgradcheck(layer, (x,))


# -------------------------------------------------------------- A layer like the others


def evaluate_on_one(rank, x):
    """Rank 1 does nothing: if anything were exchanged, rank 0 would wait for it."""
    layers = SyncBatchNorm(3), SyncBatchNorm(3, track_running_stats=False)
    return [layer.eval()(torch.tensor(x)) for layer in layers] if rank == 0 else None


def test_nothing_is_exchanged_in_evaluation(two):
    x = RNG.normal(size=(4, 3)).astype(np.float32)
    stored, own = two.run(evaluate_on_one, x)[0]
    assert_close(stored, x, 1e-5)
    assert_close(own, reference.forward(x, None, None)[0], 1e-5)


def test_state_dict_is_torchs_both_ways():
    for theirs in (SYNC(3), nn.BatchNorm1d(3), nn.BatchNorm2d(3), BatchNorm(3)):
        ours = SyncBatchNorm(3)
        nn.init.normal_(theirs.weight)
        ours.load_state_dict(theirs.state_dict())
        assert torch.equal(ours.weight, theirs.weight)
        theirs.load_state_dict(ours.state_dict())


@pytest.mark.parametrize("norm", [nn.BatchNorm1d, SYNC, BatchNorm, SyncBatchNorm])
def test_convert_keeps_parameters_buffers_and_settings(norm):
    norms = norm(3, eps=0.1, momentum=0.2), norm(3, affine=False, momentum=None)
    net = nn.Sequential(norms[0], nn.Sequential(norms[1], nn.Dropout())).eval()
    before = dict(net.named_parameters()) | dict(net.named_buffers())
    assert convert(net) is net
    after = dict(net.named_parameters()) | dict(net.named_buffers())
    assert list(after) == list(before)
    assert all(after[name] is before[name] for name in before)
    first, second = net[0], net[1][0]
    assert type(first) is type(second) is SyncBatchNorm
    assert (first.eps, first.momentum, second.momentum) == (0.1, 0.2, None)
    assert not first.training
    assert isinstance(convert(norms[0]), SyncBatchNorm)
    assert type(SYNC.convert_sync_batchnorm(net)[0]) is SYNC


def test_convert_refuses_a_layer_without_channels():
    with pytest.raises(ValueError, match="LazyBatchNorm1d, which has no channels yet"):
        convert(net := nn.Sequential(nn.BatchNorm1d(3), nn.LazyBatchNorm1d()))
    assert type(net[0]) is nn.BatchNorm1d


# ------------------------ What goes wrong: one error, on every worker, and nobody waits


def said(step):
    """The error that a step raises, in words."""
    try:
        step()
    except (ValueError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def faults(rank):
    """What this worker is told in each case; rank 1 is the one at fault."""
    odd = rank == 1
    x, layer = torch.ones(4, 3) * torch.arange(4.0)[:, None], SyncBatchNorm(3)
    wide = SyncBatchNorm(FIRST + odd)

    def without_gradient():
        with torch.set_grad_enabled(not odd):
            layer(x.clone().requires_grad_())

    def different_call():
        leaf = x.clone().requires_grad_()
        first, second = SyncBatchNorm(3)(leaf), SyncBatchNorm(3)(leaf)
        (first if odd else second).sum().backward()

    def bad_momentum():
        bad = SyncBatchNorm(3)
        bad.momentum = 2 if odd else 0.1
        bad(x)

    cases = {
        "channels": lambda: layer(torch.ones(4, 3 + odd)),
        "no channel axis": lambda: layer(torch.ones(4) if odd else x),
        "not a tensor": lambda: layer([1.0] if odd else x),
        "integers": lambda: layer(x.int() if odd else x),
        "momentum": bad_momentum,
        "dtype": lambda: layer(x.double() if odd else x),
        "axes": lambda: layer(x[..., None] if odd else x),
        "gradient": without_gradient,
        "layers": lambda: SyncBatchNorm(3 + odd)(torch.ones(4, 3 + odd)),
        "wide layers": lambda: wide(torch.ones(4, FIRST + odd)),
        "one value": lambda: layer(torch.ones(int(odd), 3)),
        "no value": lambda: layer(torch.ones(0, 3)),
        "different call": different_call,
        "well again": lambda: layer(x),
    }
    before = layer.running_mean.clone()
    told = {name: said(step) for name, step in cases.items() if name != "well again"}
    assert torch.equal(layer.running_mean, before)
    return told | {"well again": said(cases["well again"])}


TOLD = {
    "channels": "ValueError: rank 1: x has 4 channels (shape (4, 4)); allowed is 3",
    "no channel axis": "ValueError: rank 1: x has shape (4,), without a channel axis",
    "not a tensor": "ValueError: rank 1: x is a list; allowed is a tensor",
    "integers": "ValueError: rank 1: x has dtype torch.int32; allowed are float16",
    "momentum": "ValueError: rank 1: momentum is 2; allowed are numbers from 0 to 1",
    "dtype": "ValueError: x has torch.float32 on rank 0, torch.float64 on rank 1",
    "axes": "ValueError: x has 2 axes on rank 0, 3 axes on rank 1",
    "gradient": "ValueError: x has a gradient on rank 0, no gradient on rank 1",
    "layers": "ValueError: x has 3 channels on rank 0, 4 channels on rank 1",
    "wide layers": f"ValueError: x has {FIRST} channels on rank 0, {FIRST + 1} channel",
    "one value": "ValueError: x has [0, 1, 0] values per channel on the 3 workers",
    "no value": "no error",
    "different call": "the workers add up the gradients of different calls of",
    "well again": "no error",
}


def test_every_worker_is_told_the_same(three):
    told = three.run(faults)
    for name, expected in TOLD.items():
        for rank, its in enumerate(told):
            assert expected in its[name], (name, rank, its[name])
        if name != "different call":  # where each says who it is
            assert its[name] == told[0][name]


def late(rank):
    """Rank 1 comes when the others have given up, forward and then backward."""
    told = {}
    for case in ("forward", "backward"):
        group = dist.new_group(timeout=timedelta(seconds=2))
        layer = SyncBatchNorm(2, process_group=group)
        x = torch.arange(8.0).reshape(4, 2).requires_grad_()
        y = layer(x) if case == "backward" else None
        if rank == 1:
            time.sleep(3)
        step = (lambda: layer(x)) if y is None else y.sum().backward  # noqa: B023
        began = time.monotonic()
        told[case] = said(step), time.monotonic() - began
    return told


def test_who_waits_in_vain_says_so_after_the_time_out(two):
    for rank, told in enumerate(two.run(late)):
        for case, (error, seconds) in told.items():
            assert f"rank {rank} of 2: SyncBatchNorm heard nothing from" in error, case
            assert seconds < 30  # and does not hang


def outside(rank):
    group = dist.new_group([0, 2])
    x = torch.arange(8.0).reshape(4, 2) * (1 + rank)
    layer = SyncBatchNorm(2, process_group=group, momentum=1.0)
    return said(lambda: layer(x)), layer.running_mean


def test_a_group_is_shared_by_its_members_only(three):
    (first, mean), (second, _), (third, its_mean) = three.run(outside)
    assert first == third == "no error"
    assert_close(mean, its_mean)
    assert_close(mean, [6.0, 8.0], 1e-6)  # of 3 and 4, and of three times that
    assert "process_group does not hold this process, rank 1 of all" in second


def test_without_a_process_group():
    with pytest.raises(RuntimeError, match="needs a process group, and there is none"):
        SyncBatchNorm(2)(torch.ones(3, 2))
    assert SyncBatchNorm(2).eval()(torch.ones(3, 2)).shape == (3, 2)


def dies(rank):
    layer, x = SyncBatchNorm(2), torch.arange(8.0).reshape(4, 2)
    layer(x)
    if rank == 1:
        print("no memory left", flush=True)
        os._exit(3)
    layer(x)


def test_when_a_worker_dies_the_others_say_so(three):
    """Last, for it ends the processes."""
    with pytest.raises(WorkerError) as caught:
        three.run(dies)
    failures = caught.value.failures
    assert sorted(failures) == [0, 1, 2]
    assert failures[1].startswith("died with exit code 3; its last words:")
    assert failures[1].endswith("no memory left")
    for rank in (0, 2):
        assert f"rank {rank} of 3: SyncBatchNorm heard nothing from" in failures[rank]
