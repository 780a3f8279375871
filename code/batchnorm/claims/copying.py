"""Transformers that learn to copy, many at once, with the norm in one place or another.

A line is a word of four letters, a mark, and the word again:

    f a c e | f a c e

From the mark on, each next letter is to be told. It stands four places back, so
attention has to learn where to look. Letters are drawn, so a network never sees the
same lines twice, and its test lines are its own: seeds share nothing.

The networks differ in where the norm stands, ``place``:

    post    x ← LN(x + f(x))
    pre     x ← x + f(LN(x)), and one LN at the end
    batch   as pre, with batch normalization over all letters of all lines
    none    x ← x + f(x)
"""

import json
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import cross_entropy, one_hot

from batchnorm.claims.ledger import write
from batchnorm.claims.networks import DRAWS
from batchnorm.claims.protocol import TUNING_SEEDS
from batchnorm.ensemble import Adam, grid

FILE = Path(__file__).with_name("copying.json")
BLOCKS, WIDTH = 4, 16
LETTERS, WORD = 8, 4
LENGTH = 2 * WORD  # the last letter is told and not read
LINES, TESTS = 8, 64  # of a mini-batch, of the test
STEPS, WARM = 100, 25
RATES = (0.0018, 0.0032, 0.0056, 0.01, 0.018, 0.032)


class Placed(NamedTuple):
    """One side of a comparison: where the norm stands, and how it is trained."""

    place: str
    rate: float | None = None  # of Adam
    warm: int = 0  # steps over which the rate grows from 0 to what it is
    draw: int = 0  # other than 0 for other initial weights


#: Stands for a network that copies without having learned.
RIGHT = Placed("right", 0.0)


# ---------------------------------------------------------------------------- network


def shapes():
    """Letters, positions, six matrices a block, and the last."""
    block = [(WIDTH, WIDTH)] * 4 + [(WIDTH, 4 * WIDTH), (4 * WIDTH, WIDTH)]
    ends = (LETTERS + 1, WIDTH), (LENGTH, WIDTH), (WIDTH, LETTERS)
    return [*ends[:2], *block * BLOCKS, ends[2]]


def initial(draws):
    """Weights with variance one over the number of inputs -> (K, P).

    A letter and its position add up to variance one.
    """
    rows = []
    for draw in draws:
        rng = np.random.default_rng(draw)
        weights = [rng.normal(size=s) / s[0] ** 0.5 for s in shapes()]
        for i in (0, 1):
            weights[i] *= (shapes()[i][0] / 2) ** 0.5
        rows.append(np.concatenate([w.ravel() for w in weights]))
    return torch.tensor(np.stack(rows))


def normalized(x, place):
    """x of shape (K, N, L, d) with mean 0 and variance 1, as the place has it."""
    if place == "none":
        return x
    axes = (1, 2) if place == "batch" else (3,)
    c = x - x.mean(axes, keepdim=True)
    return c * torch.rsqrt((c * c).mean(axes, keepdim=True) + 1e-5)


def attention(x, query, key, value, out):
    """Causal self-attention of one head, (K, N, L, d) -> (K, N, L, d)."""
    scores = (x @ query) @ (x @ key).mT / WIDTH**0.5
    future = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1)
    weights = torch.softmax(scores.masked_fill(future, -torch.inf), -1)
    return weights @ (x @ value) @ out


def perceptron(x, wide, narrow):
    """The small network of each position."""
    return torch.relu(x @ wide) @ narrow


def logits(theta, lines, place):
    """What K networks say of the second half of their lines: (K, N, WORD, LETTERS)."""
    ends = np.cumsum([0, *(a * b for a, b in shapes())])
    weights = [
        theta[:, None, i:j].unflatten(-1, shape)
        for (i, j), shape in zip(pairwise(ends), shapes(), strict=True)
    ]
    letters, positions, *blocks, last = weights
    x = one_hot(lines, LETTERS + 1).double() @ letters + positions
    for i in range(0, len(blocks), 6):
        for branch, its in (
            (attention, blocks[i : i + 4]),
            (perceptron, blocks[i + 4 : i + 6]),
        ):
            if place == "post":
                x = normalized(x + branch(x, *its), place)
            else:
                x = x + branch(normalized(x, place), *its)
    x = x if place == "post" else normalized(x, place)
    return x[:, :, WORD:] @ last


# --------------------------------------------------------------------------- training


def words(generators, count):
    """Lines, as they are read, and the words to tell, of each generator."""
    words = np.stack([rng.integers(LETTERS, size=(count, WORD)) for rng in generators])
    mark = np.full((*words.shape[:2], 1), LETTERS)
    lines = np.concatenate([words, mark, words[..., :-1]], axis=-1)
    return torch.tensor(lines), torch.tensor(words)


def run(seeds, arm, rates, every=STEPS):
    """Train a network for each seed, with its rate -> accuracies (K, T).

    They are read on test lines after every so many steps.
    """
    draws = np.asarray(seeds) + DRAWS * arm.draw
    theta = initial(draws).requires_grad_()
    read = [np.random.default_rng([seed, 1]) for seed in seeds]
    test = words([np.random.default_rng([seed, 2]) for seed in seeds], TESTS)
    full = torch.tensor(np.broadcast_to(rates, len(seeds)).copy())[:, None]
    gradient, now, found = torch.zeros_like(theta), full.clone(), []
    step = Adam().start(theta.detach(), gradient, now)
    for t in range(1, STEPS + 1):
        lines, told = words(read, LINES)
        said = logits(theta, lines, arm.place)
        loss = cross_entropy(said.flatten(0, 2), told.flatten(), reduction="sum")
        gradient.copy_(torch.autograd.grad(loss / (LINES * WORD), theta)[0])
        now.copy_(full * min(1, t / arm.warm) if arm.warm else full)
        step()
        if t % every == 0:
            with torch.no_grad():
                right = logits(theta, test[0], arm.place).argmax(-1) == test[1]
            found.append(right.double().mean((1, 2)).numpy())
    return np.stack(found, axis=1)


def accuracies(seeds, arm, every=STEPS):
    """Share of the letters that are told right, every so many steps -> (S, T).

    1 of a `RIGHT` arm. Shared by all who ask for the same: not to be written to.
    """
    if arm == RIGHT:
        return np.ones((len(seeds), 1))
    return _accuracies(tuple(seeds), arm, every)


@lru_cache(maxsize=32)
def _accuracies(seeds, arm, every):
    return run(seeds, arm, arm.rate, every)


# ----------------------------------------------------------------------------- tuning

ARMS = (
    Placed("pre"),
    Placed("post"),
    Placed("post", warm=WARM),
    Placed("batch"),
    Placed("none"),
)


def key(arm):
    """The name of an arm in the file."""
    return f"{arm.place}, warm {arm.warm}"


def tuned(place, warm=0):
    """The arm with the rate at which it was most accurate when tuned."""
    arm = Placed(place, warm=warm)
    return arm._replace(rate=RATES[int(np.argmax(stored()[key(arm)]))])


@cache
def stored():
    """Accuracies after the last step on the tuning seeds, one a rate, of all arms."""
    return json.loads(FILE.read_text("utf-8"))


def tune():
    """Train all arms on the tuning seeds at each rate -> {name: accuracies}."""
    found = {}
    for arm in ARMS:
        seeds, rates = grid(TUNING_SEEDS, RATES)
        last = run(seeds, arm, rates)[:, -1].reshape(len(TUNING_SEEDS), -1)
        found[key(arm)] = last.mean(axis=0).round(4).tolist()
        print(key(arm), found[key(arm)], flush=True)
    return found


if __name__ == "__main__":
    write(FILE, json.dumps(tune(), indent=1) + "\n")
