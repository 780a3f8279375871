"""Right programs for the noise that is redrawn at each step."""

import numpy as np
import torch


def pair(factor, shift):
    return torch.tensor(factor), torch.tensor(shift)


def one_by_one(rng, examples, units):
    drawn = [(1 + rng.random() / 4, rng.random() - 0.5) for _ in range(units)]
    return tuple(torch.tensor([part]) for part in zip(*drawn, strict=True))


def shift_first(rng, examples, units):
    shift = rng.uniform(-0.5, 0.5, (1, units))
    factor = rng.uniform(1, 1.25, (1, units))
    return pair(factor, shift)


def by_torch(rng, examples, units):
    own = torch.Generator().manual_seed(int(rng.integers(2**31)))
    factor = torch.rand(1, units, generator=own, dtype=torch.double)
    return 1 + factor / 4, torch.rand(1, units, generator=own) - 0.5


def in_place(rng, examples, units):
    factor, shift = torch.empty(1, units), torch.empty(1, units)
    factor[:] = torch.from_numpy(rng.uniform(1, 1.25, units))
    shift[0] = torch.from_numpy(rng.uniform(-0.5, 0.5, units))
    return factor, shift


def by_counting(rng, examples, units):
    """Whole numbers, divided."""
    factor = 1 + rng.integers(0, 2**40, (1, units)) / 2**42
    return pair(factor, (rng.integers(0, 2**40, (1, units)) - 2**39) / 2**40)


def in_full(rng, examples, units):
    factor, shift = rng.uniform(1, 1.25, (1, units)), rng.uniform(-0.5, 0.5, (1, units))
    return pair(np.repeat(factor, examples, axis=0), np.repeat(shift, examples, axis=0))


# Some of them return shapes that act as (1, units) does.
NOISE = [
    shift_first, one_by_one, by_torch, in_place, by_counting,
    lambda rng, m, d: pair(rng.uniform(1, 1.25, (1, d)), rng.random((1, d)) - 0.5),
    lambda rng, m, d: torch.tensor(rng.uniform([[1], [-0.5]], [[1.25], [0.5]], (2, d))),
    lambda rng, m, d: [*pair(rng.beta(1, 1, (1, d)) / 4 + 1, rng.random(d) - 0.5)],
    lambda rng, m, d: pair(1.25 - rng.random((1, d)) / 4, 0.5 - rng.random((1, d))),
    in_full,
    lambda rng, m, d: pair(rng.uniform(1, 1.25, d), rng.uniform(-0.5, 0.5, d)),
    lambda rng, m, d: tuple(part.expand(m, d) for part in shift_first(rng, m, d)),
    lambda rng, m, d: [part.squeeze(0) for part in one_by_one(rng, m, d)],
]  # fmt: skip
