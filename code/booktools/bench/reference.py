"""The NumPy reference against the textbook version and torch's own kernel.

Each round times all of them one after the other; what is printed are medians, over
the rounds, of the ratios within a round. The floor is the time to move the fewest
possible bytes, as `batchnorm.cost` counts them for tensors that stay in a cache, at
the bandwidth of a copy of the same array, measured in the same round. NumPy computes on
one thread here: no step of either version calls BLAS.
"""

from itertools import product

import numpy as np
import torch

from batchnorm import cost, reference
from booktools.bench.timing import ROUNDS, SHAPES, in_turn, median, threads

DTYPES = [np.float32, np.float64]
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


def main():
    """Print the table."""
    print(f"reference: medians of {ROUNDS} rounds; ratios above 1: ours is slower")
    print(
        f"{'shape':18}{'dtype':9}{'pass':10}{'threads':>8}{'ours, ms':>10}"
        f"{'/textbook':>11}{'/torch':>8}{'/floor':>8}"
    )
    for shape, dtype in product(SHAPES, DTYPES):
        for direction, named_calls in calls(shape, dtype).items():
            for count in threads():
                rounds = in_turn(named_calls)
                least = getattr(cost, direction)(shape, dtype, passes=1).bytes
                floor = least / cost.relu(shape, dtype).bytes  # as a copy moves
                print(
                    f"{shape!s:18}{np.dtype(dtype).name:9}{direction:10}{count:8}"
                    f"{median(rounds, 'ours') * 1e3:10.3f}"
                    f"{median(rounds, 'ours', over='textbook'):11.2f}"
                    f"{median(rounds, 'ours', over='torch'):8.2f}"
                    f"{median(rounds, 'ours', over='copy') / floor:8.1f}",
                    flush=True,
                )
