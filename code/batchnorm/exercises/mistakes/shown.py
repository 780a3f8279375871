"""Mistakes that a chapter shows in a program of its own, and that `check` names there.

They are not planted for a reader's test to find (`catch`): each belongs to one way to
write the program, by parts, with a shift, or node by node.
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
