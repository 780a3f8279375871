"""What this machine does with the passes that `batchnorm.cost` counts.

First its two numbers for the roofline: bytes a second of a copy that fits in no cache,
and operations a second of a matrix product. Then, pass by pass of torch's layer, the
counted megabytes, the time that the roofline gives, the time measured, and the counted
bytes over it: the reader's own column of the table in the chapter on cost.

A rate of bytes above that of the copy says that the tensor stayed in a cache.
"""

from collections.abc import Callable

import torch
from torch import nn

from batchnorm import cost
from booktools.bench.timing import ROUNDS, in_turn, median, threads

#: The chapter's example, and one that fits in the caches of most processors.
EXAMPLES = [(32, 64, 56, 56), (32, 64, 8, 8)]
MATRIX = 1024


def machine() -> tuple[float, float]:
    """Bytes a second of a copy of 64 MiB, operations a second of a product."""
    source = torch.zeros(2**26, dtype=torch.uint8)
    target, square = torch.zeros_like(source), torch.ones(MATRIX, MATRIX)
    rounds = in_turn(
        {"copy": lambda: target.copy_(source), "product": lambda: square @ square}
    )
    bandwidth = 2 * source.numel() / median(rounds, "copy")
    return bandwidth, 2 * MATRIX**3 / median(rounds, "product")


def passes(shape: tuple[int, ...]) -> dict[str, tuple[Callable, cost.Cost]]:
    """What is timed: name to call and count, in single precision."""
    layer, dtype = nn.BatchNorm2d(shape[1]), "float32"
    x, dy = torch.randn(shape, requires_grad=True), torch.randn(shape)
    leaves = x, layer.weight, layer.bias
    y, values = layer(x), x.detach()
    z = torch.relu(y.detach()).requires_grad_()
    w = torch.relu(z)

    def quietly(call):
        def timed():
            with torch.no_grad():
                call()

        return timed

    def evaluation():
        layer.eval()(values)
        layer.train()

    def gradient(of, at):
        return lambda: torch.autograd.grad(of, at, dy, retain_graph=True)

    return {
        "forward": (quietly(lambda: layer(values)), cost.forward(shape, dtype)),
        "inference": (quietly(evaluation), cost.inference(shape, dtype)),
        "backward": (gradient(y, leaves), cost.backward(shape, dtype)),
        "ReLU": (quietly(lambda: torch.relu(values)), cost.relu(shape, dtype)),
        "ReLU backward": (gradient(w, z), cost.relu_backward(shape, dtype)),
    }


def main() -> None:
    """Print the table."""
    print(f"machine: float32, medians of {ROUNDS} rounds")
    for count in threads():
        bandwidth, rate = machine()
        print(
            f"threads {count}: {bandwidth / 1e9:.1f} GB/s, {rate / 1e9:.0f} Gop/s, "
            f"ridge at {rate / bandwidth:.1f} operations per byte"
        )
        print(
            f"{'shape':14}{'pass':15}{'MB':>8}{'ops/byte':>10}{'roofline, ms':>14}"
            f"{'measured, ms':>14}{'GB/s':>8}"
        )
        for shape in EXAMPLES:
            named = passes(shape)
            rounds = in_turn({name: call for name, (call, _) in named.items()})
            for name, (_, counted) in named.items():
                taken = median(rounds, name)
                print(
                    f"{'×'.join(map(str, shape)):14}{name:15}{counted.bytes / 1e6:8.2f}"
                    f"{counted.intensity:10.2f}"
                    f"{1e3 * cost.seconds(counted, bandwidth, rate):14.3f}"
                    f"{1e3 * taken:14.3f}{counted.bytes / taken / 1e9:8.1f}",
                    flush=True,
                )
