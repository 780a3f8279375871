"""What this machine does with the passes that `batchnorm.cost` counts.

First its two numbers for the roofline: bytes a second of a copy that fits in no cache,
and operations a second of a matrix product. Then, pass by pass of torch's layer, the
counted megabytes, the time that the roofline gives, the time measured, and the counted
bytes over it: the reader's own column of the table in the chapter on cost. First on
the processor, then on the GPU, where there is one.

A rate of bytes above that of the copy says that the tensor stayed in a cache.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import nn

from batchnorm import cost
from booktools.bench.timing import ROUNDS, in_turn, median, threads


class Place(NamedTuple):
    """Where passes are timed: bytes of the copy and width of the product by which the
    place is measured, and what is normalized on it."""

    device: str
    copied: int
    matrix: int
    shapes: tuple
    dtypes: tuple

    def settle(self) -> None:
        """Wait for what has been started."""
        if self.device == "cuda":
            torch.cuda.synchronize()


#: The chapter's example, and one that fits in the caches of most processors. On a GPU
#: the first may fit in part, so that a larger one goes before it.
SMALL = (32, 64, 56, 56), (32, 64, 8, 8)
PROCESSOR = Place("cpu", 2**26, 1024, SMALL, ("float32",))
GPU = Place("cuda", 2**30, 8192, ((256, 64, 56, 56), *SMALL), ("float32", "float16"))


def timed(place: Place, calls: dict[str, Callable]) -> Callable[[str], float]:
    """Time calls in turn; a function from name to median seconds."""
    rounds = in_turn(calls, settle=place.settle)
    return lambda name: median(rounds, name)


def machine(place: Place) -> tuple[float, float]:
    """Bytes a second of a large copy, operations a second of a float32 product."""
    source = torch.zeros(place.copied, dtype=torch.uint8, device=place.device)
    target = torch.zeros_like(source)
    square = torch.ones(place.matrix, place.matrix, device=place.device)
    calls = {"copy": lambda: target.copy_(source), "product": lambda: square @ square}
    taken = timed(place, calls)
    return 2 * place.copied / taken("copy"), 2 * place.matrix**3 / taken("product")


def passes(
    shape: tuple[int, ...], device: str = "cpu", dtype: str = "float32"
) -> dict[str, tuple[Callable, cost.Cost]]:
    """What is timed: name to call and count; γ, β and buffers are in float32."""
    kind = {"device": device, "dtype": getattr(torch, dtype)}
    layer = nn.BatchNorm2d(shape[1], device=device)
    x, dy = torch.randn(shape, **kind, requires_grad=True), torch.randn(shape, **kind)
    leaves = x, layer.weight, layer.bias
    y, values = layer(x), x.detach()
    z = torch.relu(y.detach()).requires_grad_()
    w = torch.relu(z)

    quietly = torch.no_grad()  # around a call

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


def rows(place: Place, bandwidth: float, rate: float) -> Iterator[str]:
    """The lines of the table, pass by pass."""
    yield (
        f"{'shape':14}{'dtype':9}{'pass':15}{'MB':>8}{'ops/byte':>10}"
        f"{'roofline, ms':>14}{'measured, ms':>14}{'GB/s':>8}"
    )
    for shape in place.shapes:
        for dtype in place.dtypes:
            named = passes(shape, place.device, dtype)
            taken = timed(place, {name: call for name, (call, _) in named.items()})
            for name, (_, counted) in named.items():
                yield (
                    f"{'×'.join(map(str, shape)):14}{dtype:9}{name:15}"
                    f"{counted.bytes / 1e6:8.2f}{counted.intensity:10.2f}"
                    f"{1e3 * cost.seconds(counted, bandwidth, rate):14.3f}"
                    f"{1e3 * taken(name):14.3f}{counted.bytes / taken(name) / 1e9:8.1f}"
                )


def report(place: Place, where: str) -> None:
    """Print what a place does."""
    bandwidth, rate = machine(place)
    print(
        f"{where}: {bandwidth / 1e9:.1f} GB/s, {rate / 1e9:.0f} Gop/s, "
        f"ridge at {rate / bandwidth:.1f} operations per byte"
    )
    for row in rows(place, bandwidth, rate):
        print(row, flush=True)


def main() -> None:
    """Print the tables."""
    print(f"machine: medians of {ROUNDS} rounds")
    for count in threads():
        report(PROCESSOR, f"threads {count}")
    if torch.cuda.is_available():
        report(GPU, torch.cuda.get_device_name())
