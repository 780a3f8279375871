"""How the benchmarks time: calls in turn, round by round, at each number of threads.

A round times all calls one after the other, so that what slows the machine down for
a while slows them all; compare within a round, and take the median over rounds.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch

#: Activations of the networks that are in use, from small to large.
SHAPES = [(60, 100), (256, 1024), (4096, 1024), (32, 64, 32, 32), (128, 256, 8, 8)]
ROUNDS = 15
#: A call that is shorter is repeated within a round.
LEAST_SECONDS = 0.01


def seconds(
    call: Callable[[], object],
    repeats: int = 1,
    settle: Callable[[], object] = lambda: None,
) -> float:
    """Time a call: seconds of one, as the mean over repeats in a row.

    ``settle()`` waits until all calls are done, where they only start something.
    """
    settle()
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    settle()
    return (time.perf_counter() - start) / repeats


def in_turn(
    calls: Mapping[str, Callable[[], object]],
    rounds: int = ROUNDS,
    least: float = LEAST_SECONDS,
    settle: Callable[[], object] = lambda: None,
) -> list[dict[str, float]]:
    """Time calls against each other: in each round, the seconds of each by its name.

    A call is repeated within a round until it takes ``least`` seconds; zero: once.
    """
    repeats = dict.fromkeys(calls, 1)
    if least:
        for name, call in calls.items():  # the first of three warms up
            once = min(seconds(call, settle=settle) for _ in range(3))
            repeats[name] = round(least / once) or 1
    return [
        {name: seconds(call, repeats[name], settle) for name, call in calls.items()}
        for _ in range(rounds)
    ]


def median(
    rounds: Sequence[Mapping[str, float]], name: str, over: str | None = None
) -> float:
    """Median over rounds of the seconds of a call, or of its ratio to another's."""
    return statistics.median(
        each[name] / (1 if over is None else each[over]) for each in rounds
    )


def threads(counts: Sequence[int] | None = None) -> Iterator[int]:
    """Set the number of threads of torch to each count in turn, and then back.

    Without counts: to one, and to as many as torch would use. Yields the number.
    """
    available = torch.get_num_threads()
    try:
        for count in counts or sorted({1, available}):
            torch.set_num_threads(count)
            yield count
    finally:
        torch.set_num_threads(available)
