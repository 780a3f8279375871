"""The NumPy reference against the textbook version and torch's own kernel.

Each round times all of them one after the other; what is printed are medians, over
the rounds, of the ratios within a round. The floor is the time to move the fewest
possible bytes (forward: read x, write y; backward: read x and dy, write dx) at the
bandwidth of a copy of the same array, measured in the same round. NumPy computes on
one thread here: no step of either version calls BLAS.
"""

import statistics
import time

import numpy as np
import torch

from batchnorm import reference

SHAPES = [(60, 100), (256, 1024), (4096, 1024), (32, 64, 32, 32), (128, 256, 8, 8)]
DTYPES = [np.float32, np.float64]
THREADS = [1, 2]
ROUNDS = 15
LEAST_SECONDS = 2e-3  # a shorter call is repeated within a round
EPS = 1e-5


def textbook_forward(x, gamma, beta):
    """The formulas as they stand, in the dtype of x."""
    axes, column = (0, *range(2, x.ndim)), (-1, *[1] * (x.ndim - 2))
    std = np.sqrt(np.var(x, axis=axes, keepdims=True) + x.dtype.type(EPS))
    x_hat = (x - np.mean(x, axis=axes, keepdims=True)) / std
    return gamma.reshape(column) * x_hat + beta.reshape(column), x_hat, std


def textbook_backward(dy, gamma, x_hat, std):
    axes, column = (0, *range(2, dy.ndim)), (-1, *[1] * (dy.ndim - 2))
    m = dy.dtype.type(dy.size // dy.shape[1])
    dgamma = np.sum(dy * x_hat, axis=axes, keepdims=True)
    dbeta = np.sum(dy, axis=axes, keepdims=True)
    dx = gamma.reshape(column) / std * (dy - dbeta / m - x_hat * (dgamma / m))
    return dx, dgamma.ravel(), dbeta.ravel()


def calls(shape, dtype):
    """What is timed: {pass: {name: call}}; "copy" moves two arrays' worth of bytes."""
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, *shape)).astype(dtype)
    gamma, beta = rng.standard_normal((2, shape[1])).astype(dtype)
    _, cache = reference.forward(x, gamma, beta)
    _, x_hat, std = textbook_forward(x, gamma, beta)
    leaves = [torch.tensor(v, requires_grad=True) for v in (x, gamma, beta)]
    source = torch.tensor(x)
    target, dy_torch = torch.empty_like(source), torch.tensor(dy)

    def torch_forward():
        return torch.nn.functional.batch_norm(
            leaves[0], None, None, *leaves[1:], training=True, eps=EPS
        )

    y = torch_forward()
    return {
        "forward": {
            "ours": lambda: reference.forward(x, gamma, beta),
            "textbook": lambda: textbook_forward(x, gamma, beta),
            "torch": torch_forward,
            "copy": lambda: target.copy_(source),
        },
        "backward": {
            "ours": lambda: reference.backward(dy, cache),
            "textbook": lambda: textbook_backward(dy, gamma, x_hat, std),
            "torch": lambda: torch.autograd.grad(
                y, leaves, dy_torch, retain_graph=True
            ),
            "copy": lambda: target.copy_(source),
        },
    }


def seconds(call, repeats):
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def measure(named_calls):
    """Seconds of each call in each round: a list of {name: seconds}."""
    repeats = {
        name: max(1, round(LEAST_SECONDS / min(seconds(call, 1) for _ in range(3))))
        for name, call in named_calls.items()
    }
    return [
        {name: seconds(call, repeats[name]) for name, call in named_calls.items()}
        for _ in range(ROUNDS)
    ]


def main():
    """Print the table."""
    print(f"reference: medians of {ROUNDS} rounds; ratios above 1: ours is slower")
    print(
        f"{'shape':18}{'dtype':9}{'pass':10}{'threads':>8}{'ours, ms':>10}"
        f"{'/textbook':>11}{'/torch':>8}{'/floor':>8}"
    )
    before = torch.get_num_threads()
    try:
        for shape in SHAPES:
            for dtype in DTYPES:
                for direction, named_calls in calls(shape, dtype).items():
                    for threads in THREADS:
                        torch.set_num_threads(threads)
                        rounds = measure(named_calls)
                        print_row(shape, dtype, direction, threads, rounds)
    finally:
        torch.set_num_threads(before)


def print_row(shape, dtype, direction, threads, rounds):
    """One line of the table."""
    arrays = {"forward": 2, "backward": 3}[direction]

    def ratio(denominator):
        return statistics.median(r["ours"] / denominator(r) for r in rounds)

    print(
        f"{shape!s:18}{np.dtype(dtype).name:9}{direction:10}{threads:8}"
        f"{statistics.median(r['ours'] for r in rounds) * 1e3:10.3f}"
        f"{ratio(lambda r: r['textbook']):11.2f}"
        f"{ratio(lambda r: r['torch']):8.2f}"
        f"{ratio(lambda r: r['copy'] * arrays / 2):8.1f}",
        flush=True,
    )
