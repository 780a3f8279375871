"""When two results agree: shape first, then values, to the rounding of a precision.

A tolerance is a fraction of the largest finite entry of what is asked for.
"""

import numpy as np

DOUBLE = 1e-9  # rounding on the probes stays well below
SINGLE = 1e-4  # float32, whose rounding a small variance magnifies


def all_agree(got, asked, tolerance):
    """Whether all results of a call, tuples of arrays, agree one by one."""
    return all(agree(a, b, tolerance) for a, b in zip(got, asked, strict=True))


def agree(got, asked, tolerance):
    """Whether one array agrees with another."""
    return got.shape == asked.shape and not differs(got, asked, tolerance).any()


def differs(got, asked, tolerance):
    """Where two arrays of one shape differ; what is not finite has to be so in both."""
    with np.errstate(all="ignore"):
        finite = np.isfinite(asked)
        scale = np.abs(asked[finite]).max(initial=0.0)
        close = np.abs(got - asked) <= tolerance * scale
        return np.where(finite & np.isfinite(got), ~close, finite != np.isfinite(got))
