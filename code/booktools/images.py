"""Compare a figure just drawn with the stored one, by pixels, with a tolerance."""

import io

import numpy as np
from PIL import Image
from scipy.ndimage import maximum_filter, minimum_filter

#: A pixel may be this many of 255 levels outside its neighborhood's range.
LEVELS = 24
#: The neighborhood reaches this far: one pixel of the page on a 2x screen.
REACH = 2
#: The share of drawn pixels that may differ.
SHARE = 0.02


def _pixels(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"), dtype=np.int16)


def _outside(image: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Where a pixel of ``image`` is not found near the same place in ``other``."""
    size = (2 * REACH + 1, 2 * REACH + 1, 1)
    low = minimum_filter(other, size) - LEVELS
    high = maximum_filter(other, size) + LEVELS
    return ((image < low) | (image > high)).any(axis=2)


def difference(stored: bytes, drawn: bytes) -> float:
    """The share of drawn pixels in which two PNG figures differ, 0 to 1.

    A pixel differs when its color does not occur near the same place in the
    other figure. That forgives what another CPU or font renderer does to an
    edge, not a curve that has moved. The share is of the pixels that either
    figure draws, not of the empty paper, so a thin curve counts as much as a
    heat map. Figures of different size differ in all pixels.
    """
    a, b = _pixels(stored), _pixels(drawn)
    if a.shape != b.shape:
        return 1.0
    paper = a[0, 0]
    ink = (a != paper).any(axis=2) | (b != paper).any(axis=2)
    differs = _outside(a, b) | _outside(b, a)
    return float(differs.sum() / max(ink.sum(), 1))
