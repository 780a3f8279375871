"""Mistakes at the nodes of the graph of chapter 5, on the chapter's four examples.

The answer at a node is an array. A mistake is a wrong way to compute it from the
values `v` of the forward pass and the gradients `g`, all of which are right before it.
"""

import functools

import numpy as np

from batchnorm import graph
from batchnorm.exercises.lines import Lines, mistake

X = np.array([[2.0], [6.0], [1.0], [3.0]])
DY = np.array([[1.0], [-1.0], [2.0], [2.0]])
GAMMA, BETA, EPS = np.array([2.0]), np.array([1.0]), 0.5

# Chapter 5 writes z, v, s, c and μ for nodes that have longer names in code.
SHOWN = {
    "d_scaled": "d_z",
    "d_inv_std": "d_v",
    "d_centered_from_x_hat": "d_c_1",
    "d_squared": "d_s",
    "d_centered_from_squared": "d_c_2",
    "d_centered": "d_c",
    "d_x_from_centered": "d_x_1",
    "d_mean": "d_mu",
    "d_x_from_mean": "d_x_2",
}


@functools.cache
def passes():
    """Values and gradients of the chapter's four examples."""
    values = graph.forward(X, GAMMA, BETA, eps=EPS)
    return values, graph.backward(DY, values)


def right(name):
    """The right answer at a node of `batchnorm.graph.Gradients`: a tuple of one."""
    return (getattr(passes()[1], name),)


def answer(name, program):
    """The array that a program by lines, right or wrong, gives at a node."""
    return program.run([name], {})[0]


def _read(name):
    return lambda g: getattr(g, name)


NODES = Lines(
    v=lambda: passes()[0],
    g=lambda: passes()[1],
    **{name: _read(name) for name in graph.Gradients._fields},
)

# ---------------------------------------------------------------------------
# The mistakes: node, id, what is wrong, why it looks right, the wrong line

_PLANTED = [
    ("d_scaled", "gamma-included", "γ is in it already; a sum hands dy on as it is.",
     "γ comes next.", lambda v, g: g.d_y * v.gamma),
    ("d_scaled", "summed", "It is summed over the batch; each example has its own z.",
     "dβ, at the same node, is a sum.", lambda v, g: g.d_y.sum(0)),
    ("d_beta", "mean-in-place-of-sum", "It is a mean; β serves all examples: a sum.",
     "A mean has the right shape.", lambda v, g: g.d_y.mean(0)),
    ("d_beta", "not-summed", "It has a row for each example; β is one number: sum.",
     "Each row is a right contribution.", lambda v, g: g.d_y),
    ("d_beta", "keeps-axis", "It has the shape (1, 1); β has the shape (1,).",
     "keepdims=True broadcasts.", lambda v, g: g.d_y.sum(0, keepdims=True)),
    ("d_gamma", "mean-in-place-of-sum", "It is a mean; γ serves all examples: a sum.",
     "A mean has the right shape.", lambda v, g: (g.d_y * v.x_hat).mean(0)),
    ("d_gamma", "not-summed", "It has a row for each example; γ is one number: sum.",
     "Each row is a right contribution.", lambda v, g: g.d_y * v.x_hat),
    ("d_gamma", "keeps-axis", "It has the shape (1, 1); γ has the shape (1,).",
     "keepdims=True broadcasts.",
     lambda v, g: (g.d_y * v.x_hat).sum(0, keepdims=True)),
    ("d_gamma", "from-x", "It is made with x; the other factor of z is x̂.",
     "x̂ was x once.", lambda v, g: (g.d_y * v.x).sum(0)),
    ("d_gamma", "from-scaled", "It is made with z; the other factor of z is x̂.",
     "z stands on the left of the line.", lambda v, g: (g.d_y * v.scaled).sum(0)),
    ("d_x_hat", "gamma-missing", "The factor γ is missing.",
     "At γ = 1 it is not seen.", lambda v, g: g.d_y),
    ("d_x_hat", "gamma-divides", "It is divided by γ; a product hands on the factor.",
     "Going backward looks like undoing.", lambda v, g: g.d_y / v.gamma),
    ("d_inv_std", "mean-in-place-of-sum", "It is a mean; one v serves all: a sum.",
     "A mean has the right shape.", lambda v, g: (g.d_x_hat * v.centered).mean(0)),
    ("d_inv_std", "not-summed", "It has a row for each example; v is one number: sum.",
     "Each row is a right contribution.", lambda v, g: g.d_x_hat * v.centered),
    # On these numbers dy for dx̂ gives the same as x̂ for c: they count as one.
    ("d_inv_std", "wrong-factor",
     "A factor is wrong: it is dx̂ times c, not dy times c, nor dx̂ times x̂.",
     "At γ = 1 or σ = 1 they are the same.",
     lambda v, g: (g.d_x_hat * v.x_hat).sum(0)),
    ("d_centered_from_x_hat", "multiplied-by-std",
     "It is multiplied by σ; the other factor of x̂ is v = 1/σ.",
     "σ is at hand.", lambda v, g: g.d_x_hat * v.std),
    ("d_centered_from_x_hat", "eps-missing",
     "ε is missing: the v of the forward pass is 1/√(σ² + ε).",
     "For a small ε they are the same.", lambda v, g: g.d_x_hat / v.var**0.5),
    ("d_centered_from_x_hat", "v-missing", "The factor v is missing.",
     "At σ = 1 it is not seen.", lambda v, g: g.d_x_hat),
    ("d_std", "sign-missing", "The sign is missing: 1/u has the derivative −1/u².",
     "The size is right.", lambda v, g: g.d_inv_std / v.std**2),
    ("d_std", "square-missing", "The square is missing: 1/u has the derivative −1/u².",
     "1/u is what was there before.", lambda v, g: -g.d_inv_std / v.std),
    ("d_std", "by-the-variance",
     "It is divided by σ² without ε; the node's own value is with it.",
     "For a small ε they are the same.", lambda v, g: -g.d_inv_std / v.var),
    ("d_var", "half-missing", "The ½ is missing: √u has the derivative 1/(2√u).",
     "The root in the denominator is there.", lambda v, g: g.d_std / v.std),
    ("d_var", "root-missing", "The root is missing: √u has the derivative 1/(2√u).",
     "var is the argument of the root.",
     lambda v, g: g.d_std / (2 * (v.var + v.eps))),
    ("d_var", "eps-missing",
     "ε is missing: √u has the derivative 1/(2√u), at u = σ² + ε.",
     "For a small ε they are the same.", lambda v, g: g.d_std / 2 / v.var**0.5),
    ("d_var", "eps-missing-twice",
     "ε is missing: (σ² + ε) to the power −3/2 is asked for, not σ² to it.",
     "For a small ε they are the same.",
     lambda v, g: -g.d_inv_std / 2 / v.var**1.5),
    ("d_var", "sign",
     "Its sign is turned: dσ gets no minus here, dv that of −v³/2.",
     "The size is right.", lambda v, g: -g.d_std / (2 * v.std)),
    ("d_var", "handed-on", "It is handed on as it came: √u has the derivative 1/(2√u).",
     "ε is added there, and a sum hands on what comes.", lambda v, g: g.d_std),
    ("d_var", "multiplied", "It is multiplied by 2σ; the derivative is 1/(2σ).",
     "The derivative of the square is 2σ.", lambda v, g: g.d_std * 2 * v.std),
    ("d_squared", "not-divided", "The 1/m is missing: the variance is a mean.",
     "What was summed is spread, and it is spread.",
     lambda v, g: np.broadcast_to(g.d_var, v.x.shape)),
    ("d_squared", "variance-constant",
     "It is zero: the variance was taken as a constant.",
     "At inference it is a constant.", lambda v, g: 0 * v.x),
    ("d_squared", "not-spread", "It has no row for each example: spread it.",
     "It would broadcast later.", lambda v, g: g.d_var / len(v.x)),
    ("d_centered_from_squared", "two-missing",
     "The 2 is missing: c² has the derivative 2c.",
     "c is there.", lambda v, g: g.d_squared * v.centered),
    ("d_centered_from_squared", "c-missing",
     "The c is missing: c² has the derivative 2c.",
     "The 2 is there.", lambda v, g: 2 * g.d_squared),
    ("d_centered", "first-path-only", "The path through the square is missing.",
     "The path through x̂ is the short one.", lambda v, g: g.d_centered_from_x_hat),
    ("d_centered", "second-path-only", "The path through x̂ is missing.",
     "It was computed last.", lambda v, g: g.d_centered_from_squared),
    ("d_centered", "difference", "The two paths are subtracted; a fork sums.",
     "The other path looks like a correction.",
     lambda v, g: g.d_centered_from_x_hat - g.d_centered_from_squared),
    ("d_x_from_centered", "sign", "Its sign is turned; x − μ hands +1 to x.",
     "The minus belongs to μ.", lambda v, g: -g.d_centered),
    ("d_mean", "sign-missing", "The sign is missing: x − μ hands −1 to μ.",
     "The size is right.", lambda v, g: g.d_centered.sum(0)),
    ("d_mean", "mean-in-place-of-sum", "It is a mean; one μ serves all: a sum.",
     "μ itself is a mean.", lambda v, g: -g.d_centered.mean(0)),
    ("d_mean", "not-summed", "It has a row for each example; μ is one number: sum.",
     "Each row is a right contribution.", lambda v, g: -g.d_centered),
    ("d_x_from_mean", "not-divided", "The 1/m is missing: μ is a mean.",
     "What was summed is spread, and it is spread.",
     lambda v, g: np.broadcast_to(g.d_mean, v.x.shape)),
    ("d_x_from_mean", "mean-constant",
     "It is zero: the mean was taken as a constant.",
     "At inference it is a constant.", lambda v, g: 0 * v.x),
    ("d_x_from_mean", "not-spread", "It has no row for each example: spread it.",
     "It would broadcast later.", lambda v, g: g.d_mean / len(v.x)),
    ("d_x", "mean-constant", "The path through the mean is missing.",
     "The path through c is the short one.", lambda v, g: g.d_x_from_centered),
    ("d_x", "second-path-only", "The path through c is missing.",
     "It was computed last.", lambda v, g: g.d_x_from_mean),
    ("d_x", "difference", "The two paths are subtracted; a fork sums.",
     "The sign of dμ looks like this one.",
     lambda v, g: g.d_x_from_centered - g.d_x_from_mean),
    ("d_x", "variance-constant", "The path through the variance is missing.",
     "The mean is taken care of.",
     lambda v, g: g.d_centered_from_x_hat - g.d_centered_from_x_hat.mean(0)),
]  # fmt: skip

# The section of chapter 5 in which each gradient is found.
_SECTIONS = {
    node: f"ch-backward-{section}"
    for section, nodes in {
        "shift": ["d_scaled", "d_beta"],
        "scale": ["d_gamma", "d_x_hat"],
        "normalized": ["d_inv_std", "d_centered_from_x_hat"],
        "inverse": ["d_std"],
        "root": ["d_var"],
        "variance": ["d_squared"],
        "square": ["d_centered_from_squared", "d_centered"],
        "centering": ["d_x_from_centered", "d_mean"],
        "mean": ["d_x_from_mean", "d_x"],
    }.items()
    for node in nodes
}

_TRAINING = "Every gradient further down the graph is wrong with it."

MISTAKES = {
    node: [
        mistake(id, says, tempting, _TRAINING, _SECTIONS[node], **{node: line})
        for where, id, says, tempting, line in _PLANTED
        if where == node
    ]
    for node in graph.Gradients._fields[1:]
}
