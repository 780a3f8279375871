"""Mistakes that a chapter shows in a program of its own, and that `check` names there.

They are not planted for a reader's test to find (`catch`): each belongs to one way to
write the program, by parts, with a shift, in sums, or node by node.
"""

import numpy as np

from batchnorm.exercises.lines import mistake


def _halves(data):
    """The two halves of the rows, with the share of each as a column; one may be empty.

    -> means (k, d), variances (k, d), shares (k, 1).
    """
    parts = [part for part in np.split(data, [len(data) // 2]) if len(part)]
    means, variances = ([f(part, 0) for part in parts] for f in (np.mean, np.var))
    shares = np.array([[len(part) / len(data)] for part in parts])
    return np.array(means), np.array(variances), shares


def _merged(means, variances, shares):
    """Mean and variance of all, of shares that sum to one: the two of the parts."""
    mean = (shares * means).sum(0)
    between = (shares * (means - mean) ** 2).sum(0)
    return mean, (shares * variances).sum(0), between


def _weighted_alike(data):
    means, variances, shares = _halves(data)
    return _merged(means, variances, np.full_like(shares, 1 / len(shares)))


def _each_its_own(data, statistic):
    """The statistic of each row's own half, (m, d)."""
    parts = np.split(data, [len(data) // 2])
    return np.concatenate([np.ones_like(p) * statistic(p) for p in parts if len(p)])


def _corrected(data):
    """Mean and variance of all, from variances of the halves with m − 1."""
    means, variances, shares = _halves(data)
    counts = shares * len(data)
    return _merged(means, variances * counts / (counts - 1), shares)


def _spreads_averaged(id, var):
    """The halves' standard deviations averaged, in one of three ways."""
    return mistake(
        id,
        "The parts' standard deviations are averaged; their variances are.",
        "It is the standard deviation that divides.",
        "The variance is too small wherever the parts differ in spread.",
        "ch-inference-exact",
        var=var,
    )


def _mean_std(data, eps=0.0):
    _, variances, shares = _halves(data)
    return (shares * np.sqrt(variances + eps)).sum(0)


FORWARD = (
    mistake(
        "one-spread-for-all",
        "Each channel has its mean, but one variance serves all channels.",
        "mean() without an axis runs, and broadcasts.",
        "Channels keep their different spreads.",
        "ch-transform-algorithm",
        var=lambda squares, count: np.mean(squares / count),
    ),
    mistake(
        "nothing-left",
        "All outputs are β: each value was its own mean, and nothing is left of it.",
        "A mean over an axis of length one runs, and keeps the shape.",
        "The layer returns the same for every input, and its gradient is zero.",
        "ch-transform-companions",
        centered=lambda data: np.zeros_like(data),
    ),
    mistake(
        "between-parts-missing",
        "The batch is taken in two parts; the variance between their means is missing.",
        "The mean of means is the mean; for variances that does not hold.",
        "The variance is too small wherever the parts differ.",
        "ch-inference-exact",
        var=lambda data: _merged(*_halves(data))[1],
    ),
    mistake(
        "parts-unweighted",
        "The batch is taken in two parts, which weigh alike though their sizes differ.",
        "With parts of one size it is right.",
        "Each example of a small part counts for more than one of a large part.",
        "ch-inference-exact",
        mean=lambda data: _weighted_alike(data)[0],
        var=lambda data: sum(_weighted_alike(data)[1:]),
    ),
    mistake(
        "mean-of-the-shifted",
        "The mean that is subtracted is that of x − x[0]: x[0] has to be added to it.",
        "The variance of what was shifted is that of x; its mean is not.",
        "Outputs are off by the first example's value, in standard deviations.",
        "ch-machine-variance",
        centered=lambda data, mean: data - (mean - data[:1]),
    ),
    mistake(
        "parts-apart",
        "Each part is normalized by itself: its own mean and variance, not the merged.",
        "Each part's outputs look normalized.",
        "It is training on smaller batches: outputs and gradient are other ones.",
        "ch-inference-exact",
        mean=lambda data: _each_its_own(data, lambda part: part.mean(0)),
        var=lambda data: _each_its_own(data, lambda part: part.var(0)),
    ),
    _spreads_averaged("parts-std", lambda data: _mean_std(data) ** 2),
    _spreads_averaged(
        "parts-std-and-between",
        lambda data: _mean_std(data) ** 2 + _merged(*_halves(data))[2],
    ),
    _spreads_averaged(
        "parts-std-with-eps", lambda data, eps: _mean_std(data, eps) ** 2 - eps
    ),
    mistake(
        "parts-unbiased",
        "The parts' variances are divided by m − 1; those that merge, by m.",
        "torch.var and pandas divide by m − 1 unless told otherwise.",
        "The variance is too large, and NaN where a part is a single example.",
        "ch-inference-exact",
        var=lambda data: sum(_corrected(data)[1:]),
    ),
    mistake(
        "variance-about-the-first",
        "The variance is that about x[0]: "
        "the square of the mean of x − x[0] is missing.",
        "The first value is near the mean, if the mean is far from zero.",
        "A first value δ deviations out makes the variance 1 + δ² times as large.",
        "ch-machine-variance",
        deviation=lambda data: data - data[:1],
    ),
    mistake(
        "first-for-mean",
        "What is normalized is x − x[0]: the mean of these differences stays in it.",
        "The variance of what was shifted is that of x; its mean is not zero.",
        "Outputs are off by the first example's own, and change with the order.",
        "ch-machine-variance",
        centered=lambda data: data - data[:1],
    ),
    mistake(
        "first-for-both",
        "x[0] is taken for the mean, in the variance too: x − x[0] has a mean as well.",
        "The first value is near the mean, if the mean is far from zero.",
        "Outputs are off by the first example's own, and change with the order.",
        "ch-machine-variance",
        centered=lambda data: data - data[:1],
        deviation=lambda data: data - data[:1],
    ),
)

MERGE = (
    mistake(
        "squares-not-divided",
        "The sum of squares is not divided by the number of values.",
        "Sums of squares are what is added up.",
        "The variance is n times too large, and all outputs are almost β.",
        "ch-inference-exact",
        var=lambda within, between, total: (within + between) * total,
    ),
    mistake(
        "variance-for-squares",
        "A shard's variance is added as it is: its sum of squares is n_k times that.",
        "Both are called the spread of a shard.",
        "What lies within the shards hardly counts.",
        "ch-inference-exact",
        within=lambda variances, total: variances.sum(0) / total,
    ),
)

SYNC_BACKWARD = (
    mistake(
        "gamma-missing",
        "γ is missing in dx.",
        "γ starts at 1, so that nothing is seen before the first step of training.",
        "Channels learn at a rate of their own, 1/γ times the right one.",
        "ch-workers-backward",
        dx=lambda stds, dy, from_mean, from_var: [
            (d - mean - var) / std
            for std, d, mean, var in zip(stds, dy, from_mean, from_var, strict=True)
        ],
    ),
)


def _without_rounding(results):
    """Results with zeros where only rounding is left: of two examples, a whole dx."""
    return tuple(np.where(np.abs(each) < 1e-6, 0.0, each) for each in results)


def _eps_missing(id, says, section, power):
    """The term through the variance with σ for √(σ² + ε) in a part of it."""
    return mistake(
        id,
        says,
        "For a small ε they are the same.",
        "Where variances are small the term is too large; in a constant channel, NaN.",
        section,
        like=_without_rounding,
        from_var=lambda normal, along, shifted, var: (
            normal * along * (shifted / var) ** power
        ),
    )


BACKWARD = (
    _eps_missing(
        "eps-missing-in-root",
        "ε is missing in the derivative of the root, 1/(2√(σ² + ε)).",
        "ch-backward-root",
        0.5,
    ),
    _eps_missing(
        "eps-missing-in-inverse",
        "ε is missing in the derivative of 1/√(σ² + ε), which is −1/(σ² + ε).",
        "ch-backward-inverse",
        1.0,
    ),
    _eps_missing(
        "eps-missing-in-both",
        "ε is missing in the term through the variance: (σ² + ε) to the power −3/2.",
        "ch-backward-inverse",
        1.5,
    ),
    mistake(
        "variance-term-summed",
        "The term through the variance is a sum: its 1/m is missing.",
        "What was summed is spread, and it is spread.",
        "The gradient is dominated by its part along x̂.",
        "ch-backward-variance",
        from_var=lambda normal, along, count: count * normal * along,
    ),
    mistake(
        "mean-term-summed",
        "The term through the mean is a sum: its 1/m is missing.",
        "What was summed is spread, and it is spread.",
        "The gradient is dominated by a number that all examples share.",
        "ch-backward-mean",
        from_mean=lambda dy: dy.sum(0),
    ),
    mistake(
        "direct-path-missing",
        "The direct path is missing: only the term through the variance is there.",
        "dc = dc_2 writes over what came first.",
        "The gradient may point uphill.",
        "ch-backward-hunt",
        dx=lambda factor, from_var: factor * -from_var,
    ),
)
