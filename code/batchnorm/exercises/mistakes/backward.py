"""Mistakes in the backward pass, `dx`, `dgamma` and `dbeta` in closed form."""

from batchnorm.exercises.lines import by_id, mistake
from batchnorm.exercises.mistakes.normalize import (
    EPSILON,
    TRANSFORM,
    VARIANCE,
    WRITES,
)

GRADIENT = TRANSFORM.replaced(
    factor=lambda gamma, std: gamma / std,
    normal=lambda x_hat: x_hat,
    over=lambda count: count,
    g=lambda dy: dy,  # what the two means are of
    from_mean=lambda g, axes, over: g.sum(axes, keepdims=True) / over,
    along=lambda g, normal, axes, over: (g * normal).sum(axes, keepdims=True) / over,
    from_var=lambda normal, along: normal * along,
    dx=lambda factor, g, from_mean, from_var: factor * (g - from_mean - from_var),
    for_gamma=lambda dy, normal: dy * normal,
    for_beta=lambda dy: dy,
    gathered=lambda: lambda each: each.sum(0),
    dgamma=lambda for_gamma, gathered: gathered(for_gamma),
    dbeta=lambda for_beta, gathered: gathered(for_beta),
)

PATHS = [
    mistake(
        "mean-constant",
        "The mean is taken as a constant: the term through it is missing.",
        "Its gradient is a single number that all examples share.",
        "Each step moves the whole batch in a direction that cannot lower the loss.",
        "ch-transform-outside",
        "denizyuret/Knet.jl#288",
        from_mean=lambda: 0.0,
    ),
    mistake(
        "variance-constant",
        "The variance is taken as a constant: the term through it is missing.",
        "The sum over the batch is still 0, as it has to be.",
        "Weights stretch or shrink without changing the output.",
        "ch-transform-scale-outside",
        "abhiskk/ladder#2",
        from_var=lambda: 0.0,
    ),
    mistake(
        "statistics-constant",
        "Mean and variance are taken as constants: both terms through them miss.",
        "γ/σ is the slope of the line; at inference it is the whole gradient.",
        "Steps go where the next pass takes them away; at large rates it fails.",
        "ch-closed-form-practice",
        "facebookresearch/CrypTen#143",
        from_mean=lambda: 0.0,
        from_var=lambda: 0.0,
        joins=("mean-constant", "variance-constant"),
    ),
    mistake(
        "wrong-sign-mean",
        "The term through the mean has the wrong sign.",
        "Two minus signs in a row: one of the centering, one of the formula.",
        "The mean of the gradient is doubled in place of removed.",
        "ch-closed-form-two-lines",
        from_mean=lambda g, axes, over: -g.sum(axes, keepdims=True) / over,
    ),
    mistake(
        "wrong-sign-variance",
        "The term through the variance has the wrong sign.",
        "The derivative of 1/u is −1/u², and the minus is easily lost.",
        "The part along x̂ is doubled in place of removed, and weights run away.",
        "ch-closed-form-two-lines",
        "mlpack/mlpack#1327",
        from_var=lambda normal, along: -normal * along,
    ),
    mistake(
        "sum-in-place-of-mean",
        "The terms through mean and variance are sums: the 1/m is missing.",
        "For γ and β sums are right.",
        "The gradient is dominated by what should have been taken out of it.",
        "ch-closed-form-code",
        over=lambda: 1,
    ),
    mistake(
        "half-missing",
        "The term through the variance is twice as large: the root's ½ is missing.",
        "The 2 of the square is there; that ½ cancels it is seen only on paper.",
        "What should vanish along x̂ comes back with the other sign.",
        "ch-backward-root",
        from_var=lambda normal, along: 2 * normal * along,
    ),
    mistake(
        "two-missing",
        "The term through the variance is half as large: the square's 2 is missing.",
        "The root's ½ is there, and half of a small term is close.",
        "Half of the part along x̂ stays in the gradient.",
        "ch-backward-square",
        from_var=lambda normal, along: normal * along / 2,
    ),
    mistake(
        "power-of-root",
        "In the term through the variance σ has a power two too high.",
        "(σ² + ε) to the power −1/2 where −3/2 belongs: one character.",
        "Right where the variance is 1; wide channels get a huge wrong term.",
        "ch-backward-inverse",
        from_var=lambda normal, along, shifted: normal * along * shifted,
    ),
    mistake(
        "x_hat-from-y",
        "γx̂ stands where x̂ belongs: the scaled values in place of the normalized ones.",
        "They are at hand after the forward pass, and equal as long as γ is 1.",
        "The error grows as γ moves away from 1: training goes wrong late.",
        "ch-closed-form-two-lines",
        normal=lambda gamma, x_hat: gamma * x_hat,
    ),
]

SCALES = [
    mistake(
        "gamma-missing",
        "The factor γ is missing from dx.",
        "γ starts at 1, where nothing is seen.",
        "Channels that γ has turned down get gradients as if it had not.",
        "ch-closed-form-two-lines",
        "denizyuret/Knet.jl#288",
        factor=lambda std: 1 / std,
    ),
    mistake(
        "std-missing",
        "The factor 1/σ is missing from dx.",
        "Where the standard deviation is near 1 it is not seen.",
        "Channels of small spread learn too slowly, wide ones too fast.",
        "ch-closed-form-two-lines",
        factor=lambda gamma: gamma,
    ),
    mistake(
        "variance-in-place-of-std",
        "dx is divided by the variance in place of the standard deviation.",
        "Where the variance is near 1, so is its root.",
        "Channels of small spread get gradients many times too large.",
        "ch-closed-form-two-lines",
        factor=lambda gamma, shifted: gamma / shifted,
    ),
]

PARAMETERS = [
    mistake(
        "dgamma-from-x",
        "dγ is made with x; it needs the normalized x̂.",
        "γ multiplies something that was x once.",
        "γ follows the mean of the layer before.",
        "ch-backward-scale",
        for_gamma=lambda dy, x: dy * x,
    ),
    mistake(
        "dgamma-from-centered",
        "dγ is made with x − μ, without the division by σ.",
        "The mean is gone, and at spread 1 the numbers agree.",
        "γ's step is σ times too large: channels of large spread jump.",
        "ch-backward-scale",
        "tensorflow/tensorflow#14676",
        for_gamma=lambda dy, centered: dy * centered,
    ),
    mistake(
        "parameter-gradients-averaged",
        "dγ and dβ are means over the batch; they are sums.",
        "The loss is a mean over the batch, but dy holds that 1/m already.",
        "γ and β learn m times too slowly.",
        "ch-backward-scale",
        "wjbKimberly/cs231n_spring_2017_assignment#7",
        gathered=lambda: lambda each: each.mean(0),
    ),
    mistake(
        "parameter-gradients-not-summed",
        "dγ and dβ have a row for each example: they are sums over the batch.",
        "γ is used by every example; each use gives a gradient.",
        "The update does not fit the parameter, or broadcasts it to a matrix.",
        "ch-backward-scale",
        gathered=lambda: lambda each: each,
    ),
    mistake(
        "parameter-gradients-keep-axis",
        "dγ and dβ have the shape (1, d); γ and β have the shape (d,).",
        "keepdims=True broadcasts everywhere, and a difference to (d,) looks like 0.",
        "An optimizer that keeps a state of γ's shape fails, or broadcasts.",
        "ch-backward-scale",
        "karpathy/nn-zero-to-hero#59",
        gathered=lambda: lambda each: each.sum(0, keepdims=True),
    ),
    mistake(
        "parameter-gradients-over-everything",
        "dγ and dβ are single numbers: each channel has its own.",
        "sum() without an axis runs, and broadcasts in the update.",
        "All channels take the same step.",
        "ch-backward-scale",
        gathered=lambda: lambda each: each.sum(),
    ),
    mistake(
        "dgamma-dbeta-swapped",
        "dγ and dβ have changed places.",
        "Both are vectors of one length.",
        "Scale and shift follow each other's gradient; the loss may still fall.",
        "ch-backward-scale",
        "Oneflow-Inc/oneflow#6149",
        dgamma=lambda for_beta, gathered: gathered(for_beta),
        dbeta=lambda for_gamma, gathered: gathered(for_gamma),
    ),
    mistake(
        "gamma-in-parameter-gradients",
        "dγ and dβ are made with γ·dy, the gradient at x̂; they need dy itself.",
        "γ·dy was just computed for dx.",
        "A channel whose γ is near 0 never gets it back.",
        "ch-backward-scale",
        for_gamma=lambda gamma, dy, normal: gamma * dy * normal,
        for_beta=lambda gamma, dy: gamma * dy,
    ),
]

_TRANSFORM = by_id([*VARIANCE, *EPSILON])

FORWARD_TOO = [
    _TRANSFORM["variance-unbiased"],
    _TRANSFORM["one-pass-variance"],
    _TRANSFORM["eps-missing"],
    _TRANSFORM["eps-default"],
    _TRANSFORM["eps-outside-root"],
    WRITES,
]

BACKWARD = [*PATHS, *SCALES, *PARAMETERS, *FORWARD_TOO]
