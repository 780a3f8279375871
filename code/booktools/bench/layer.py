"""The layer against nn.BatchNorm: forward alone, forward and backward, evaluation."""

from functools import partial
from itertools import product

import torch
from torch import nn

from batchnorm import cost
from batchnorm.layer import BatchNorm
from booktools.bench.timing import ROUNDS, SHAPES, in_turn, median, threads

DTYPES = [torch.float32, torch.float64]


@torch.no_grad()
def forward(layer, x, dy):
    layer.train()(x)


def forward_and_backward(layer, x, dy):
    layer.train()(x).backward(dy)


@torch.no_grad()
def evaluation(layer, x, dy):
    layer.eval()(x)


def least_bytes(action, shape, dtype):
    """The fewest bytes that have to be moved: all that fits in a cache stays there."""
    if action is evaluation:
        return cost.inference(shape, dtype).bytes
    moved = cost.forward(shape, dtype, passes=1)
    if action is forward_and_backward:
        moved += cost.backward(shape, dtype, passes=1)
    return moved.bytes


ACTIONS = forward, forward_and_backward, evaluation


def compare(action, shape, dtype):
    """Median seconds of torch and of ours, and the median of the rounds' ratios."""
    x = torch.randn(shape, dtype=dtype, requires_grad=True)
    dy = torch.randn(shape, dtype=dtype)
    theirs = nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d
    torchs, ours = (make(shape[1], dtype=dtype) for make in (theirs, BatchNorm))
    layers = {"torch": torchs, "ours": ours}
    rounds = in_turn({name: partial(action, of, x, dy) for name, of in layers.items()})
    medians = median(rounds, "torch"), median(rounds, "ours")
    return *medians, median(rounds, "ours", over="torch")


def seconds_per_byte():
    """Measured on a copy, which reads and writes 64 MiB."""
    source = torch.zeros(2**26, dtype=torch.uint8)
    target = torch.zeros_like(source)
    rounds = in_turn({"copy": lambda: target.copy_(source)}, least=0)
    return median(rounds, "copy") / (2 * source.numel())


def main():
    how = f"milliseconds, medians of {ROUNDS} rounds in turn"
    print(f"layer against nn.BatchNorm, {how}")
    print(
        f"{'threads':>7} {'shape':18}{'dtype':9}{'action':22}"
        f"{'torch':>9}{'ours':>9}{'ratio':>7}{'least':>9}"
    )
    for count in threads():
        byte = seconds_per_byte()
        for shape, dtype, action in product(SHAPES, DTYPES, ACTIONS):
            theirs, ours, ratio = compare(action, shape, dtype)
            moved = least_bytes(action, shape, dtype)
            print(
                f"{count:7} {'×'.join(map(str, shape)):18}"
                f"{str(dtype).removeprefix('torch.'):9}"
                f"{action.__name__.replace('_', ' '):22}"
                f"{1e3 * theirs:9.3f}{1e3 * ours:9.3f}{ratio:7.1f}"
                f"{1e3 * byte * moved:9.3f}",
                flush=True,
            )
    print("least: the bytes that have to be moved, at the bandwidth of a large copy;")
    print("what fits in the caches of the processor can take less")
