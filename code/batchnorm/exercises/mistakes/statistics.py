"""Mistakes in statistics for inference: running averages, and merging of shards."""

from dataclasses import replace

import numpy as np

from batchnorm.exercises.lines import Lines, mistake
from batchnorm.exercises.mistakes.normalize import WRITES

# ---------------------------------------------------------------------------
# running(mean, var, x, momentum) -> (mean, var)

UPDATE = Lines(
    count=lambda x: len(x),
    batch_mean=lambda x: x.mean(0),
    origin=lambda batch_mean: batch_mean,
    squares=lambda x, origin: ((x - origin) ** 2).sum(0),
    batch_var=lambda squares, count: np.divide(squares, count - 1),
    new=lambda momentum: momentum,
    old=lambda new: 1 - new,
    new_mean=lambda old, mean, new, batch_mean: old * mean + new * batch_mean,
    new_var=lambda old, var, new, batch_var: old * var + new * batch_var,
)

RUNNING = [
    mistake(
        "momentum-swapped",
        "The momentum weighs the old value; here it is the weight of the new batch.",
        "In other frameworks it is the weight of the old, and 0.9 there is 0.1 here.",
        "The averages follow the last batch or two, and evaluation is noisy.",
        "ch-inference-frameworks",
        "pytorch/pytorch#15298",
        old=lambda momentum: momentum,
        new=lambda momentum: 1 - momentum,
    ),
    mistake(
        "variance-biased",
        "The stored variance is divided by m; what is stored is divided by m − 1.",
        "It is the variance that normalizes the batch.",
        "At a batch of two the stored variance is half the true one on average.",
        "ch-inference-biased",
        "ml-explore/mlx#3817",
        batch_var=lambda squares, count: squares / count,
    ),
    mistake(
        "corrected-twice",
        "The correction m/(m − 1) is applied twice.",
        "var(ddof=1) and the factor of Algorithm 2 both look necessary.",
        "The stored variance is too large: at a batch of two, twice the true one.",
        "ch-inference-factor",
        batch_var=lambda squares, count: squares * count / (count - 1) ** 2,
    ),
    mistake(
        "correction-inverted",
        "The correction is upside down: (m − 1)/m in place of m/(m − 1).",
        "Both are near 1 for a large batch.",
        "The stored variance is smaller still than the biased one.",
        "ch-inference-factor",
        batch_var=lambda squares, count: squares * (count - 1) / count**2,
    ),
    mistake(
        "std-averaged",
        "Standard deviations are averaged; PyTorch averages the variances.",
        "What divides in the end is the standard deviation.",
        "The stored variance is too small whenever batches differ.",
        "ch-inference-frameworks",
        new_var=lambda old, var, new, batch_var: (
            (old * np.sqrt(var) + new * np.sqrt(batch_var)) ** 2
        ),
    ),
    mistake(
        "old-forgotten",
        "The old averages are dropped: the result is the last batch's statistics.",
        "After a batch like all others they are the same.",
        "The model is evaluated with one batch's statistics, the last one's.",
        "ch-inference-lag",
        old=lambda: 0.0,
        new=lambda: 1.0,
    ),
    mistake(
        "no-decay",
        "The old value is kept whole: its weight 1 − momentum is missing.",
        "mean += momentum * batch_mean is one short line.",
        "The averages grow with every batch, without end.",
        "ch-inference-lag",
        old=lambda: 1.0,
    ),
    mistake(
        "mean-not-updated",
        "Only the variance is updated: the mean stays what it was.",
        "The result was computed and thrown away.",
        "In evaluation nothing is centered.",
        "ch-inference-lag",
        "HomericIntelligence/Odyssey#5532",
        new_mean=lambda mean: mean,
    ),
    mistake(
        "variance-not-updated",
        "Only the mean is updated: the variance stays what it was.",
        "The result was computed and thrown away.",
        "In evaluation activations keep their spread: σ stays 1.",
        "ch-inference-lag",
        "HomericIntelligence/Odyssey#5532",
        new_var=lambda var: var,
    ),
    mistake(
        "about-running-mean",
        "The batch's variance is taken about the running mean, not about its own.",
        "The running mean is the better estimate of the true mean.",
        "While the mean still moves, its way counts as variance.",
        "ch-transform-algorithm",
        origin=lambda mean: mean,
    ),
    mistake(
        "variance-about-zero",
        "The batch's variance is taken about zero: its mean is not subtracted.",
        "For centered data it makes no difference.",
        "The stored variance is too large by the squared mean.",
        "ch-transform-algorithm",
        origin=lambda: 0.0,
    ),
    mistake(
        "statistics-over-everything",
        "One mean and one variance serve all; each channel has its own.",
        "x.mean() without an axis runs, and broadcasts.",
        "In evaluation all channels are shifted and scaled alike.",
        "ch-transform-algorithm",
        count=lambda x: x.size,
        batch_mean=lambda x: x.mean(),
        squares=lambda x, origin: ((x - origin) ** 2).sum(),
    ),
    WRITES,
]

# ---------------------------------------------------------------------------
# merge(shards) -> (mean, var, count), a shard being (mean, biased var, count)

UNION = Lines(
    means=lambda shards: np.array([mean for mean, _, _ in shards]),
    variances=lambda shards: np.array([var for _, var, _ in shards]),
    counts=lambda shards: np.array([count for _, _, count in shards]),
    total=lambda counts: counts.sum(),
    weights=lambda counts, total: (counts / total)[:, None],
    for_mean=lambda weights: weights,
    for_within=lambda weights: weights,
    for_between=lambda weights: weights,
    mean=lambda for_mean, means: (for_mean * means).sum(0),
    within=lambda for_within, variances: (for_within * variances).sum(0),
    distances=lambda means, mean: means - mean,
    between=lambda for_between, distances: (for_between * distances**2).sum(0),
    divided=lambda total: total,
    var=lambda within, between, total, divided: (within + between) * total / divided,
    count=lambda total: int(total),
)


def _equal(counts):
    return np.full((len(counts), 1), 1 / len(counts))


MERGE = [
    mistake(
        "unweighted",
        "All shards weigh the same; a shard weighs as many values as it has.",
        "With shards of one size it is right.",
        "The last, small shard of an epoch, or of a worker, counts as a full one.",
        "ch-inference-exact",
        "pytorch/pytorch#22192",
        weights=lambda counts: _equal(counts),
    ),
    mistake(
        "mean-unweighted",
        "In the mean all shards weigh the same; a shard weighs by its count.",
        "With shards of one size it is right.",
        "The mean is drawn toward small shards.",
        "ch-inference-exact",
        "oracle/tribuo#215",
        for_mean=lambda counts: _equal(counts),
    ),
    mistake(
        "within-unweighted",
        "The shards' variances are averaged without weights.",
        "With shards of one size it is right.",
        "A small shard's variance counts as much as a large one's.",
        "ch-inference-exact",
        for_within=lambda counts: _equal(counts),
    ),
    mistake(
        "between-shards-missing",
        "The variance between the shards' means is missing.",
        "The mean of means is the mean; for variances that does not hold.",
        "Shards that differ, as sorted batches do, give far too small a variance.",
        "ch-inference-exact",
        "pytorch/pytorch#22192",
        between=lambda: 0.0,
    ),
    mistake(
        "within-shards-missing",
        "The variance inside the shards is missing: only their means are used.",
        "It looks like the variance of all shards.",
        "Shards drawn at random give a variance that is m times too small.",
        "ch-inference-exact",
        within=lambda: 0.0,
    ),
    mistake(
        "distance-not-squared",
        "The distances between means are not squared.",
        "The sum with weights looks the same.",
        "Distances of both signs cancel: the part between the shards is 0 or wrong.",
        "ch-inference-exact",
        between=lambda for_between, distances: (for_between * abs(distances)).sum(0),
    ),
    mistake(
        "unbiased-total",
        "The variance is divided by n − 1; the shards' are divided by their counts.",
        "Sample variances are merged like that.",
        "Too large by n/(n − 1), once more with every merge.",
        "ch-inference-exact",
        "mapme-initiative/mapme.biodiversity#327",
        divided=lambda total: total - 1,
    ),
    mistake(
        "std-averaged",
        "The shards' standard deviations are averaged; variances are.",
        "It is the standard deviation that divides.",
        "The variance is too small whenever shards differ.",
        "ch-inference-exact",
        within=lambda for_within, variances: (
            (for_within * np.sqrt(variances)).sum(0) ** 2
        ),
    ),
    mistake(
        "sums-in-place-of-means",
        "Means and variances are added up: the division by the total is missing.",
        "Sums are what workers exchange.",
        "Everything is n times too large.",
        "ch-inference-exact",
        weights=lambda counts: counts[:, None],
    ),
    mistake(
        "count-of-shards",
        "The count is the number of shards; it is the number of values.",
        "len(shards) is at hand.",
        "The next merge gives this one almost no weight.",
        "ch-inference-exact",
        count=lambda shards: len(shards),
    ),
    mistake(
        "last-shard-left-out",
        "The last shard is left out.",
        "range(1, n) where n + 1 belongs; or a last batch that is not full.",
        "The statistics lack the last batch.",
        "ch-inference-exact",
        means=lambda shards: np.array([mean for mean, _, _ in shards[:-1]]),
        variances=lambda shards: np.array([var for _, var, _ in shards[:-1]]),
        counts=lambda shards: np.array([count for _, _, count in shards[:-1]]),
    ),
    replace(WRITES, damage=lambda shards: np.add(shards[0][0], 1, out=shards[0][0])),
]
