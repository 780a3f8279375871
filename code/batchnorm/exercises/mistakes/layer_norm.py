"""Mistakes in the backward pass of layer normalization, which has one mean an example.

The program is that of batch normalization over the other axis, with γ inside the means,
and so are the mistakes, in words that fit here; those of the axes and of γ are its own.
"""

from dataclasses import replace

from batchnorm.exercises.lines import by_id, mistake
from batchnorm.exercises.mistakes.backward import (
    FORWARD_TOO,
    GRADIENT,
    PARAMETERS,
    PATHS,
)

BY_EXAMPLE = GRADIENT.replaced(
    axes=lambda: (1,),
    factor=lambda std: 1 / std,
    g=lambda gamma, dy: gamma * dy,
)

_SAME = by_id(PATHS)


def _here(id, **words):
    """A mistake of batch normalization's backward pass, in the words of this one."""
    return replace(_SAME[id], section="ch-relatives-gradient", source="", **words)


LAYER_BACKWARD = [
    mistake(
        "gamma-in-front",
        "γ stands in front of the bracket; here each feature has its own.",
        "In batch normalization all values of a mean share one γ.",
        "Right at the start, when every γ is 1, and wrong ever after.",
        "ch-relatives-gradient",
        g=lambda dy: dy,
        factor=lambda gamma, std: gamma / std,
    ),
    mistake(
        "statistics-over-batch",
        "All means go over the batch: that is the gradient of batch normalization.",
        "Axis 0 is what the closed form of chapter 6 has.",
        "The gradient is that of another function.",
        "ch-relatives-axes",
        axes=lambda: (0,),
    ),
    mistake(
        "gradient-means-over-batch",
        "The two means in dx go over the batch; they go where those of x went.",
        "The statistics are right, and so are all shapes.",
        "The gradient of an example depends on its companions.",
        "ch-relatives-gradient",
        from_mean=lambda g: g.mean(0),
        along=lambda g, normal: (g * normal).mean(0),
    ),
    _here(
        "mean-constant",
        tempting="Its gradient is a single number that all features share.",
        training="A constant that is added to all features seems to lower the loss.",
    ),
    _here(
        "variance-constant",
        tempting="The sum over the features is still 0, as it has to be.",
    ),
    _here("statistics-constant", tempting="γ/σ is the slope of the line."),
    _here("wrong-sign-mean"),
    _here("wrong-sign-variance"),
    _here(
        "sum-in-place-of-mean",
        says="The terms through mean and variance are sums: the 1/d is missing.",
    ),
    _here(
        "x_hat-from-y",
        says="γx̂ stands where x̂ belongs: the scaled values, not the normalized ones.",
    ),
    mistake(
        "gamma-missing",
        "The factor γ is missing from dx.",
        "γ starts at 1, where nothing is seen.",
        "Features that γ has turned down get gradients as if it had not.",
        "ch-relatives-gradient",
        g=lambda dy: dy,
    ),
    mistake(
        "std-missing",
        "The factor 1/σ is missing from dx.",
        "Where the standard deviation is near 1 it is not seen.",
        "Examples of small spread count too little, wide ones too much.",
        "ch-relatives-gradient",
        factor=lambda: 1.0,
    ),
    mistake(
        "variance-in-place-of-std",
        "dx is divided by the variance in place of the standard deviation.",
        "Where the variance is near 1, so is its root.",
        "Examples of small spread get gradients many times too large.",
        "ch-relatives-gradient",
        factor=lambda shifted: 1 / shifted,
    ),
    mistake(
        "parameters-over-features",
        "dγ and dβ are summed over the features; each has its own: sum over examples.",
        "Every other sum of the program goes over the features.",
        "The step does not fit γ, or with as many examples as features is a wrong one.",
        "ch-backward-scale",
        gathered=lambda: lambda each: each.sum(1),
    ),
    *PARAMETERS,
    *FORWARD_TOO,
]
