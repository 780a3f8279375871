"""SyncBatchNorm on a GPU: nccl with one process, gloo with two that share the device.

It needs torch and NumPy alone, so that it runs where the rest of the book is not:

    PYTHONPATH=code python3 -m pytest -q --noconftest -c /dev/null THIS_FILE
    PYTHONPATH=code python3 THIS_FILE     # without pytest

The functions above "What is compared" run in the processes; each returns a dictionary
of tensors, and the tests compare these with one process that has the whole mini-batch,
in float64 on the CPU.
"""

import sys
import tempfile
import traceback
from datetime import timedelta
from functools import cache
from pathlib import Path
from unittest import SkipTest

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from batchnorm.parallel import SyncBatchNorm

GROUPS = [("nccl", 1), ("gloo", 2)]
DTYPES = ["float32", "float16", "bfloat16"]
STEPS, PATIENCE, TIMEOUT = 5, 60, 240  # seconds
CUT = 5  # rows of rank 0 where two share a mini-batch


def drawn(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


X, DY = 2 + 3 * drawn(16, 6), drawn(16, 6, seed=1)
MAPS, DMAPS = 2 + 3 * drawn(12, 8, 5, 4), drawn(12, 8, 5, 4, seed=1)
INPUTS, TARGETS = drawn(STEPS, 16, 4), drawn(STEPS, 16, 2, seed=1)


def shard(values, rank, size):
    """The rows of a worker, on the GPU; two workers have unequal ones."""
    held = slice(None) if size == 1 else [slice(CUT), slice(CUT, None)][rank]
    return values[held].cuda()


def scaled(layer):
    with torch.no_grad():
        layer.weight.copy_(torch.linspace(-1, 2, layer.num_features))
        layer.bias.copy_(torch.linspace(0, 1, layer.num_features))
    return layer


def passes(layer, x, dy):
    """A training pass: outputs, gradients and buffers."""
    leaf = x.detach().clone().requires_grad_()
    y = layer(leaf)
    y.backward(dy.to(y.dtype))
    grads = {"dx": leaf.grad, "dweight": layer.weight.grad, "dbias": layer.bias.grad}
    state = {"mean": layer.running_mean, "var": layer.running_var}
    return {"y": y.detach(), **grads, **state}


def double(rank, size):
    """Everything in float64."""
    layer = scaled(SyncBatchNorm(6, device="cuda", dtype=torch.float64))
    return passes(layer, shard(X, rank, size), shard(DY, rank, size))


def mixed(rank, size, kind):
    """Behind a convolution, under autocast if kind is half; what came in, too."""
    x, dy = (shard(v, rank, size).float() for v in (MAPS, DMAPS))
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 8, 1).cuda()
    dtype = getattr(torch, kind)
    with torch.autocast("cuda", dtype=dtype, enabled=kind != "float32"):
        h = conv(x).detach()
        kept = passes(scaled(SyncBatchNorm(8, device="cuda")), h, dy)
    return kept | {"h": h, "dy": dy.to(h.dtype)}


def network(norm):
    torch.manual_seed(0)
    parts = nn.Linear(4, 6), norm(6), nn.ReLU(), nn.Linear(6, 2)
    return nn.Sequential(*parts).double()


def descend(model, net, place, factor):
    """Some steps; place(values) are the rows, factor what a squared error counts."""
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for x, t in zip(INPUTS, TARGETS, strict=True):
        optimizer.zero_grad()
        (((model(place(x)) - place(t)) ** 2).sum() * factor).backward()
        optimizer.step()
    return {name: value.clone() for name, value in net.state_dict().items()}


def trained(rank, size):
    """Steps in DistributedDataParallel, weighed so that all rows count alike."""
    net = network(SyncBatchNorm).cuda()
    model = DistributedDataParallel(net, device_ids=[0])
    return descend(model, net, lambda v: shard(v, rank, size), size / len(X))


def told(rank, size):
    """The last rank's input has a channel too many; then all is well again."""
    layer, odd = SyncBatchNorm(3, device="cuda"), rank == size - 1

    def said(x):
        try:
            layer(x.cuda())
        except ValueError as error:
            return str(error)
        return "no error"

    fault = said(torch.ones(4, 3 + odd))
    alone = said(torch.ones(int(rank == 0), 3))  # one value in all
    y = layer(torch.arange(12.0, device="cuda").reshape(4, 3))
    return {"said": fault, "alone": alone, "y": y.detach()}


# ---------------------------------------------------------------------------- Processes

WORK = {
    "double": double,
    **{kind: lambda r, s, kind=kind: mixed(r, s, kind) for kind in DTYPES},
    "trained": trained,
    "told": told,
}


def serve(rank, backend, size, folder):
    """Do all the work in one process group and leave what came out in the folder."""
    torch.cuda.set_device(0)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    store = dist.FileStore(str(Path(folder, "store")), size)
    patience = timedelta(seconds=PATIENCE)
    dist.init_process_group(
        backend, store=store, rank=rank, world_size=size, timeout=patience
    )
    found = {}
    for name, work in WORK.items():
        try:
            its = work(rank, size).items()
            found[name] = {k: v.cpu() if torch.is_tensor(v) else v for k, v in its}
        except Exception:
            found[name] = traceback.format_exc()
        torch.save(found, Path(folder, f"{rank}.pt"))
    dist.destroy_process_group()


@cache
def outcomes(backend, size):
    """What each rank found, in order; of work that failed, the traceback."""
    context = torch.multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        ranks = [
            context.Process(target=serve, args=(rank, backend, size, folder))
            for rank in range(size)
        ]
        for process in ranks:
            process.start()
        for process in ranks:
            process.join(TIMEOUT)
            if process.is_alive():
                process.kill()
        files = [Path(folder, f"{rank}.pt") for rank in range(size)]
        return [torch.load(file) if file.exists() else {} for file in files]


def of(work, backend, size):
    """The outcomes of one piece of work, by rank; an error if it failed on one."""
    found = [each.get(work, "not reached") for each in outcomes(backend, size)]
    for rank, each in enumerate(found):
        assert not isinstance(each, str), f"rank {rank}, {work}: {each}"
    return found


# --------------------------------------------------------------------- What is compared


def assert_close(ours, theirs, tolerance, what):
    """Within the tolerance of the largest entry."""
    ours, theirs = ours.double(), theirs.double()
    off = (ours - theirs).abs().max() / theirs.abs().max()
    assert off <= tolerance, f"{what}: off by {off:.1e}; allowed is {tolerance:.1e}"


def compare(found, whole, kind, of_outputs, of_sums):
    """Passes of all ranks with that of one process, within these tolerances.

    Outputs have the dtype ``kind``; what belongs to the layer has at least float32.
    """
    kept = torch.promote_types(kind, torch.float32)
    for key in ("y", "dx"):
        ours = torch.cat([each[key] for each in found])
        assert ours.dtype == kind, key
        assert_close(ours, whole[key], of_outputs, key)
    for key in ("dweight", "dbias"):
        assert all(each[key].dtype == kept for each in found), key
        assert_close(sum(each[key] for each in found), whole[key], of_sums, key)
    for key in ("mean", "var"):
        for each in found:
            assert each[key].dtype == kept, key
            assert_close(each[key], whole[key], of_sums, key)


def check_double(backend, size):
    """As one process with all rows, to a few roundoffs of float64."""
    whole = passes(scaled(nn.BatchNorm1d(6).double()), X, DY)
    compare(of("double", backend, size), whole, torch.float64, 1e-12, 1e-12)


def check_mixed(backend, size, kind):
    """As one process in float64 that has the rounded inputs of all: sums to some
    roundoffs of float32, what leaves in half to one of its own.

    torch's layer is no oracle here: under autocast it rounds the weight's gradient to
    half, and was off by 3.6e-3 in bfloat16 where ours was by 4e-8 (one H200).
    """
    found = of(kind, backend, size)
    h, dy = (torch.cat([each[key] for each in found]).double() for key in ("h", "dy"))
    whole = passes(scaled(nn.BatchNorm2d(8).double()), h, dy)
    dtype = getattr(torch, kind)
    compare(found, whole, dtype, torch.finfo(dtype).eps, 1e-6)


def check_trained(backend, size):
    """Steps of all workers are those of one process with all rows."""
    net = network(nn.BatchNorm1d)
    state = descend(net, net, lambda values: values, 1 / len(X))
    for its in of("trained", backend, size):
        assert list(its) == list(state)
        for name, value in its.items():
            assert_close(value, state[name], 1e-10, name)


def check_told(backend, size):
    """One error on every rank, and the layer is well afterwards."""
    found = of("told", backend, size)
    fault = f"rank {size - 1}: x has 4 channels (shape (4, 4)); allowed is 3"
    for each in found:
        assert each["said"] == fault, each["said"]
        assert f"values per channel on the {size} workers" in each["alone"]
        assert_close(each["y"].mean(0) + 1, torch.ones(3), 1e-5, "mean of y, plus 1")


CHECKS = [
    *((check_double, group) for group in GROUPS),
    *((check_mixed, (*group, kind)) for group in GROUPS for kind in DTYPES),
    *((check_trained, group) for group in GROUPS),
    *((check_told, group) for group in GROUPS),
]


def missing(backend="nccl"):
    """Why nothing can be compared here; None where it can."""
    if not torch.cuda.is_available():
        return "no GPU, so nothing was compared on one"
    there = dist.is_available() and getattr(dist, f"is_{backend}_available")()
    return None if there else f"torch was built without {backend}"


def main():
    """Without pytest: run all checks and say what came out -> exit status."""
    faults = 0
    for check, arguments in CHECKS:
        said = missing(arguments[0])
        if said is None:
            try:
                check(*arguments)
                said = "passed"
            except AssertionError as error:
                said, faults = f"FAILED {error}", faults + 1
        print(check.__name__, *arguments, said, flush=True)
    return faults


def pytest_generate_tests(metafunc):
    """All checks, with pytest; nothing of it is imported, for a GPU may be without."""
    names = ["-".join(map(str, (check.__name__, *args))) for check, args in CHECKS]
    metafunc.parametrize(("check", "arguments"), CHECKS, ids=names)


def test_on_a_gpu(check, arguments):
    if reason := missing(arguments[0]):
        raise SkipTest(reason)
    check(*arguments)


if __name__ == "__main__":
    sys.exit(main())
