"""Mistakes in the backward pass across workers: what has to be exchanged, and is not.

`dy` and `x` are lists, an entry for each worker. What is the same on all workers comes
from all rows; a mistake takes it from each worker's own.
"""

from dataclasses import replace

import numpy as np

from batchnorm.exercises.lines import Lines, by_id, mistake
from batchnorm.exercises.mistakes.backward import PATHS
from batchnorm.exercises.mistakes.normalize import WRITES


def _each(function, *lists):
    return [function(*parts) for parts in zip(*lists, strict=True)]


def _everywhere(value, workers):
    return [value] * len(workers)


SYNC = Lines(
    counts=lambda x: [len(rows) for rows in x],
    all_x=lambda x: np.concatenate(x),
    means=lambda x, all_x: _everywhere(all_x.mean(0), x),
    variances=lambda x, all_x: _everywhere(all_x.var(0), x),
    stds=lambda variances, eps: [np.sqrt(var + eps) for var in variances],
    x_hats=lambda x, means, stds: _each(lambda a, m, s: (a - m) / s, x, means, stds),
    sums=lambda dy: [rows.sum(0) for rows in dy],
    products=lambda dy, x_hats: _each(lambda d, h: (d * h).sum(0), dy, x_hats),
    exchanged=lambda: lambda parts: _everywhere(sum(parts), parts),
    over=lambda counts: _everywhere(sum(counts), counts),
    from_mean=lambda exchanged, sums, over: _each(np.divide, exchanged(sums), over),
    along=lambda exchanged, products, over: _each(np.divide, exchanged(products), over),
    from_var=lambda x_hats, along: _each(np.multiply, x_hats, along),
    dx=lambda gamma, stds, dy, from_mean, from_var: _each(
        lambda std, d, mean, var: gamma / std * (d - mean - var),
        stds, dy, from_mean, from_var,
    ),
    gathered=lambda: sum,
    dgamma=lambda gathered, products: gathered(products),
    dbeta=lambda gathered, sums: gathered(sums),
)  # fmt: skip


def right(dy, x, gamma, eps):
    """The book's backward pass on all rows at once.

    `dy` and `x` are lists with a shard (m_k, d) for each worker -> dx (m, d), all
    shards one below the other, dgamma and dbeta (d,).
    """
    from batchnorm import reference

    rows = np.concatenate(x)
    _, cache = reference.forward(rows, gamma, np.zeros_like(gamma), eps=eps)
    return reference.backward(np.concatenate(dy), cache)


def joined(program):
    """A program that returns shards of dx, with them put one below the other."""

    def whole(*arguments):
        results = program(*arguments)
        if not isinstance(results, (tuple, list)) or not len(results):
            return results
        dx, *others = results
        stacks = isinstance(dx, (tuple, list)) and len(dx)
        return (np.concatenate(dx) if stacks else dx, *others)

    return whole


_ON_ONE = by_id(PATHS)  # one worker's mistakes, said of many in the same words

SYNC_MISTAKES = [
    mistake(
        "statistics-local",
        "Each worker normalizes with the mean and variance of its own rows.",
        "It is what happens without any communication.",
        "The batch is as small as a worker's share, whatever the number of workers.",
        "ch-workers-own",
        means=lambda x: [rows.mean(0) for rows in x],
        variances=lambda x: [rows.var(0) for rows in x],
    ),
    mistake(
        "sums-local",
        "The two sums of the gradient are not exchanged: each worker uses its own.",
        "The forward pass exchanged the statistics; the backward pass looks local.",
        "The terms through mean and variance lack the other workers' losses.",
        "ch-workers-backward",
        exchanged=lambda: lambda parts: parts,
    ),
    mistake(
        "count-local",
        "The exchanged sums are divided by each worker's own count.",
        "len(x) is at hand.",
        "With K workers the terms through mean and variance are K times too large.",
        "ch-workers-backward",
        over=lambda counts: counts,
    ),
    mistake(
        "shards-unweighted",
        "Means over the workers' means: a worker weighs by its number of rows.",
        "With shards of one size it is right.",
        "The last, uneven batch has a wrong gradient.",
        "ch-workers-backward",
        "pytorch/pytorch#36688",
        from_mean=lambda sums, counts: _everywhere(
            np.mean(_each(np.divide, sums, counts), axis=0), sums
        ),
        along=lambda products, counts: _everywhere(
            np.mean(_each(np.divide, products, counts), axis=0), products
        ),
    ),
    mistake(
        "statistics-unweighted",
        "The workers' means and mean squares are averaged without weights.",
        "With shards of one size it is right.",
        "The last, uneven batch is normalized with wrong statistics.",
        "ch-workers-forward",
        "pytorch/pytorch#22192",
        means=lambda x: _everywhere(np.mean([rows.mean(0) for rows in x], axis=0), x),
        variances=lambda x, means: _everywhere(
            np.mean([(rows**2).mean(0) for rows in x], axis=0) - means[0] ** 2, x
        ),
    ),
    mistake(
        "between-shards-missing",
        "The variance between the workers' means is missing.",
        "The mean of the variances looks like the variance.",
        "Workers that see different data have far too small a variance.",
        "ch-workers-forward",
        "pytorch/pytorch#22192",
        variances=lambda x, counts: _everywhere(
            sum(len(rows) * rows.var(0) for rows in x) / sum(counts), x
        ),
    ),
    *[
        replace(
            _ON_ONE[id],
            section="ch-workers-backward",
            source="",
            lines={term: lambda dy: [np.zeros(1)] * len(dy)},
        )
        for id, term in [
            ("mean-constant", "from_mean"),
            ("variance-constant", "from_var"),
        ]
    ],
    mistake(
        "parameter-gradients-averaged",
        "dγ and dβ are averaged over the workers; here they are sums over all rows.",
        "Data-parallel training averages gradients; there dy holds no 1/K.",
        "γ and β learn K times too slowly.",
        "ch-workers-average",
        gathered=lambda: lambda parts: sum(parts) / len(parts),
    ),
    mistake(
        "parameter-gradients-local",
        "dγ and dβ are those of the first worker: the others' are not added.",
        "On one worker it is right.",
        "γ and β differ from worker to worker, and drift apart.",
        "ch-workers-average",
        gathered=lambda: lambda parts: parts[0],
    ),
    replace(WRITES, damage=lambda dy, *_: np.add(dy[0], 1, out=dy[0])),
]
