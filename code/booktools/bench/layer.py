"""The layer against nn.BatchNorm: forward alone, forward and backward, evaluation."""

import statistics
import time

import torch
from torch import nn

from batchnorm.layer import BatchNorm

SHAPES = [(60, 100), (256, 1024), (4096, 1024), (32, 64, 32, 32), (128, 256, 8, 8)]
DTYPES = [torch.float32, torch.float64]
ROUNDS = 15
ROUND_SECONDS = 0.02  # calls shorter than this are repeated within a round


def forward(layer, x, dy):
    with torch.no_grad():
        layer.train()(x)


def forward_and_backward(layer, x, dy):
    layer.train()(x).backward(dy)


def evaluation(layer, x, dy):
    with torch.no_grad():
        layer.eval()(x)


# Least number of times that a value has to be moved: x and y; then dy, x and dx.
ACTIONS = {forward: 2, forward_and_backward: 5, evaluation: 2}


def seconds(function, *arguments, repeat=1):
    begin = time.perf_counter()
    for _ in range(repeat):
        function(*arguments)
    return (time.perf_counter() - begin) / repeat


def repeats(function, *arguments):
    function(*arguments)  # warms up
    return max(1, round(ROUND_SECONDS / seconds(function, *arguments)))


def compare(action, shape, dtype):
    """Median seconds of torch and of ours, and the median of the rounds' ratios."""
    x = torch.randn(shape, dtype=dtype, requires_grad=True)
    dy = torch.randn(shape, dtype=dtype)
    theirs = nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d
    layers = [make(shape[1], dtype=dtype) for make in (theirs, BatchNorm)]
    counts = [repeats(action, layer, x, dy) for layer in layers]
    rounds = [
        [
            seconds(action, layer, x, dy, repeat=count)
            for layer, count in zip(layers, counts, strict=True)
        ]
        for _ in range(ROUNDS)
    ]
    medians = [statistics.median(arm) for arm in zip(*rounds, strict=True)]
    return *medians, statistics.median(ours / theirs for theirs, ours in rounds)


def seconds_per_byte():
    """Measured on a copy, which reads and writes 64 MiB."""
    source = torch.zeros(2**26, dtype=torch.uint8)
    target = torch.zeros_like(source)
    times = [seconds(target.copy_, source) for _ in range(ROUNDS)]
    return statistics.median(times) / (2 * source.numel())


def main():
    print(
        f"layer against nn.BatchNorm, milliseconds, medians of {ROUNDS} rounds in turn"
    )
    print(
        f"{'threads':>7} {'shape':18}{'dtype':9}{'action':22}"
        f"{'torch':>9}{'ours':>9}{'ratio':>7}{'least':>9}"
    )
    available = torch.get_num_threads()
    try:
        for threads in sorted({1, available}):
            torch.set_num_threads(threads)
            byte = seconds_per_byte()
            for shape in SHAPES:
                for dtype in DTYPES:
                    moved = torch.Size(shape).numel() * dtype.itemsize
                    for action, times in ACTIONS.items():
                        theirs, ours, ratio = compare(action, shape, dtype)
                        print(
                            f"{threads:7} {'×'.join(map(str, shape)):18}"
                            f"{str(dtype).removeprefix('torch.'):9}"
                            f"{action.__name__.replace('_', ' '):22}"
                            f"{1e3 * theirs:9.3f}{1e3 * ours:9.3f}{ratio:7.1f}"
                            f"{1e3 * byte * times * moved:9.3f}"
                        )
    finally:
        torch.set_num_threads(available)
    print("least: the bytes that have to be moved, at the bandwidth of a large copy;")
    print("what fits in the caches of the processor can take less")
