"""When two results agree: shape first, then values, to the rounding of a precision."""

import numpy as np

DOUBLE = 1e-9  # of the largest entry; rounding on the probes stays well below
SINGLE = 1e-4  # float32, whose rounding a small variance magnifies


def agree(got, asked, tolerance):
    """Whether one array agrees with another.

    Parameters
    ----------
    got, asked : array
        The results.
    tolerance : float
        Of the largest finite entry.

    Returns
    -------
    bool
        What is not finite has to be so in both.
    """
    return got.shape == asked.shape and not differs(got, asked, tolerance).any()


def differs(got, asked, tolerance):
    """Where two arrays of one shape differ.

    Parameters
    ----------
    got, asked : array
        The results.
    tolerance : float
        Of the largest finite entry.

    Returns
    -------
    array of bool
    """
    with np.errstate(all="ignore"):
        finite = np.isfinite(asked)
        scale = np.abs(asked[finite]).max(initial=0.0)
        close = np.abs(got - asked) <= tolerance * scale
        return np.where(finite & np.isfinite(got), ~close, finite != np.isfinite(got))


def all_agree(got, asked, tolerance):
    """Whether all results of a call agree, one by one.

    Parameters
    ----------
    got, asked : tuple of arrays
        The results.
    tolerance : float
        Of the largest finite entry of each.

    Returns
    -------
    bool
    """
    return all(agree(a, b, tolerance) for a, b in zip(got, asked, strict=True))
