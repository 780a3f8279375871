"""The arithmetic of layer and RMS normalization against exact rational numbers.

As `batchnorm.accuracy` does for batch normalization, on the same hard inputs, each
channel of which is here the features of one example. Group and instance normalization
are layer normalization of a reshaped array, and have its errors. The table is that of
``python -m batchnorm.accuracy_relatives``.
"""

import numpy as np

from batchnorm import accuracy, relatives
from batchnorm.accuracy import EPS, INPUTS, Row

# ---------------------------------------------------------------------------
# The implementations: each returns y and dx


def ours(x, gamma, beta, dy):
    """This book's `batchnorm.relatives`; RMS normalization where beta is None."""
    if beta is None:
        y, cache = relatives.rms_norm(x, gamma, eps=EPS)
    else:
        y, cache = relatives.layer_norm(x, gamma, beta, eps=EPS)
    return y, relatives.backward(dy, cache)[0]


@np.errstate(all="ignore")
def textbook(x, gamma, beta, dy):
    """The formulas as they stand, in the dtype of x."""
    center = beta is not None
    c = x - center * np.mean(x, axis=1, keepdims=True)
    std = np.sqrt(np.mean(c * c, axis=1, keepdims=True) + x.dtype.type(EPS))
    x_hat, g = c / std, gamma * dy
    along = np.mean(g * x_hat, axis=1, keepdims=True)
    dx = (g - center * np.mean(g, axis=1, keepdims=True) - x_hat * along) / std
    return gamma * x_hat + (beta if center else 0), dx


def torch_cpu(x, gamma, beta, dy):
    """torch's layer_norm or rms_norm, and its backward, on the CPU."""
    import torch

    leaf, weight = torch.tensor(x, requires_grad=True), torch.tensor(gamma)
    functional = torch.nn.functional
    if beta is None:
        y = functional.rms_norm(leaf, weight.shape, weight, EPS)
    else:
        y = functional.layer_norm(leaf, weight.shape, weight, torch.tensor(beta), EPS)
    (dx,) = torch.autograd.grad(y, leaf, torch.tensor(dy))
    return y.detach().numpy(), dx.numpy()


IMPLEMENTATIONS = {"ours": ours, "textbook": textbook, "torch": torch_cpu}


# ---------------------------------------------------------------------------
# The table


def measure(
    make_input,
    dtype,
    *,
    center=True,
    seed=0,
    draws=2,
    implementations=IMPLEMENTATIONS,
):
    """Worst errors of the implementations over some draws of one kind of input.

    Parameters
    ----------
    make_input : function of a Generator and a dtype to x and dy
        One of ``accuracy.INPUTS``; a column of x is the features of an example.
    dtype : type
        np.float16, np.float32 or np.float64.
    center : bool
        Layer normalization, or RMS normalization.
    seed, draws : int
        Where the draws start, and how many there are.
    implementations : dict of functions
        Name to a function of x, gamma, beta and dy to y and dx.

    Returns
    -------
    Row
    """
    row = Row.of(make_input, dtype, implementations)
    rng = np.random.default_rng(seed)
    for _ in range(draws):
        x, dy = (np.ascontiguousarray(v.T) for v in make_input(rng, dtype))
        gamma = rng.uniform(0.5, 2, x.shape[1]).astype(dtype)
        beta = rng.standard_normal(x.shape[1]).astype(dtype) if center else None
        given = (gamma, beta if center else 0.0)
        truths = [
            accuracy.exact(values, *given, gradient, center=center)
            for values, gradient in zip(x, dy, strict=True)
        ]
        for name, implementation in implementations.items():
            row.note(name, *implementation(x, gamma, beta, dy), truths)
    return row


def table(dtypes=(np.float16, np.float32, np.float64), *, center=True, seed=0, draws=2):
    """Worst errors on every kind of input in every dtype.

    Parameters
    ----------
    dtypes : sequence of types
        Of the inputs.
    center, seed, draws
        As in `measure`.

    Returns
    -------
    list of Row
    """
    return [
        measure(make_input, dtype, center=center, seed=seed, draws=draws)
        for dtype in dtypes
        for make_input in INPUTS
    ]


def main():
    """Print the table of both."""
    for center, name in ((True, "layer normalization"), (False, "RMS normalization")):
        accuracy.print_rows(table(center=center), name)


if __name__ == "__main__":
    main()
