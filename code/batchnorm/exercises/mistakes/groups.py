"""Mistakes in the backward pass of group normalization.

x has the shape (N, C, H, W). Channels are cut into groups of neighbors, and a mean goes
over the channels and pixels of one group of one example.
"""

import numpy as np

from batchnorm.exercises.lines import Lines, mistake
from batchnorm.exercises.mistakes.normalize import WRITES

GROUPED = Lines(
    cut=lambda groups: groups,
    shape=lambda x, cut: (len(x), cut, x.shape[1] // cut, *x.shape[2:]),
    axes=lambda: (2, 3, 4),
    mean=lambda axes: lambda parts: parts.mean(axes, keepdims=True),
    centered=lambda x, shape, mean: x.reshape(shape) - mean(x.reshape(shape)),
    std=lambda centered, mean, eps: np.sqrt(mean(centered**2) + eps),
    x_hat=lambda centered, std: centered / std,
    g=lambda dy, gamma, shape: (gamma[:, None, None] * dy).reshape(shape),
    from_mean=lambda g, mean: mean(g),
    from_var=lambda g, x_hat, mean: x_hat * mean(g * x_hat),
    in_front=lambda: 1.0,
    dx=lambda x, g, from_mean, from_var, std, in_front: (
        in_front * ((g - from_mean - from_var) / std).reshape(x.shape)
    ),
    gathered=lambda: lambda each: each.sum((0, 2, 3)),
    dgamma=lambda dy, x, x_hat, gathered: gathered(dy * x_hat.reshape(x.shape)),
    dbeta=lambda dy, gathered: gathered(dy),
)


def right(dy, x, gamma, groups, eps):
    """The book's: dy and x (N, C, H, W), gamma (C,), a number of groups that divides C.

    -> dx of the shape of x, dgamma and dbeta (C,).
    """
    from batchnorm import relatives

    _, cache = relatives.group_norm(x, groups, gamma, 0 * gamma, eps=eps)
    return relatives.backward(dy, cache)


MISTAKES = [
    mistake(
        "gamma-in-front",
        "γ stands in front of the bracket; here it differs within a group.",
        "In batch normalization all values of a mean share one γ.",
        "Right at the start, when every γ is 1, and wrong ever after.",
        "ch-relatives-gradient",
        g=lambda dy, shape: dy.reshape(shape),
        in_front=lambda gamma: gamma[:, None, None],
    ),
    mistake(
        "one-group",
        "The means go over all channels of an example: that is one group.",
        "Layer normalization of an image does that.",
        "The gradient is that of another function.",
        "ch-relatives-axes",
        cut=lambda: 1,
    ),
    mistake(
        "each-channel",
        "The means go over one channel: that is instance normalization.",
        "Batch normalization has a mean for each channel.",
        "The gradient is that of another function.",
        "ch-relatives-axes",
        cut=lambda x: x.shape[1],
    ),
    mistake(
        "over-the-batch",
        "The means go over the examples as well; a group belongs to one example.",
        "In batch normalization they do.",
        "The gradient of an image depends on its companions.",
        "ch-relatives-axes",
        axes=lambda: (0, 2, 3, 4),
    ),
    mistake(
        "channels-dealt",
        "Channels are dealt to the groups in turn; a group has neighboring channels.",
        "A reshape to (N, C/G, G, H, W) runs as well as the other.",
        "The gradient is that of another function.",
        "ch-relatives-axes",
        shape=lambda x, groups: (len(x), x.shape[1] // groups, groups, *x.shape[2:]),
        axes=lambda: (1, 3, 4),
    ),
    mistake(
        "mean-constant",
        "The mean is taken as a constant: the term through it is missing.",
        "Its gradient is a single number that a whole group shares.",
        "A constant that is added to a group seems to lower the loss.",
        "ch-relatives-gradient",
        from_mean=lambda: 0.0,
    ),
    mistake(
        "variance-constant",
        "The variance is taken as a constant: the term through it is missing.",
        "The sum over a group is still 0, as it has to be.",
        "Weights stretch or shrink without changing the output.",
        "ch-relatives-gradient",
        from_var=lambda: 0.0,
    ),
    mistake(
        "statistics-constant",
        "Mean and variance are taken as constants: both terms through them miss.",
        "γ/σ is the slope of the line.",
        "Steps go where the next pass takes them away; at large rates it fails.",
        "ch-relatives-gradient",
        from_mean=lambda: 0.0,
        from_var=lambda: 0.0,
        joins=("mean-constant", "variance-constant"),
    ),
    mistake(
        "sum-in-place-of-mean",
        "The terms through mean and variance are sums: the 1/n is missing.",
        "For γ and β sums are right.",
        "The gradient is dominated by what should have been taken out of it.",
        "ch-relatives-gradient",
        from_mean=lambda g, axes: g.sum(axes, keepdims=True),
        from_var=lambda g, x_hat, axes: x_hat * (g * x_hat).sum(axes, keepdims=True),
    ),
    mistake(
        "parameters-averaged",
        "dγ and dβ are means; a channel's γ serves all its pixels and examples: sums.",
        "The other means of the program are means.",
        "γ and β learn too slowly, by the number of values.",
        "ch-backward-scale",
        gathered=lambda: lambda each: each.mean((0, 2, 3)),
    ),
    mistake(
        "parameters-by-example",
        "dγ and dβ have a row for each example; γ is shared by all: sum.",
        "The statistics have one, too.",
        "The step of γ fails, or broadcasts.",
        "ch-backward-scale",
        gathered=lambda: lambda each: each.sum((2, 3)),
    ),
    WRITES,
]
