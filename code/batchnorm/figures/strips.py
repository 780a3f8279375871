"""The strip of claims: every seed, the interval and what was asked, a row a claim."""

from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np

from batchnorm.figures.style import FAULT, RANGE, REFERENCE, RIGHT, WIDTH

ROW, MARGIN = 0.8, 0.25  # inches
COLORS = {"supported": RIGHT, "opposed": FAULT, "undecided": REFERENCE}


def strips(results) -> None:
    """Draw a row for each run of a claim, every one on an axis of its own unit.

    A dot is a seed, or, of a prediction, a seed at one value of the variable; an open
    one at the edge is a run that did not arrive. The bar below is the interval, with a
    tick at the estimate; the region that was asked for is shaded, and the verdict
    stands at the end of the row.

    Parameters
    ----------
    results : sequence of Result
        What `Experiment.run` and `Prediction.run` return.
    """
    figure, axes = plt.subplots(
        len(results), figsize=(WIDTH, MARGIN + ROW * len(results)), squeeze=False
    )
    for ax, result in zip(axes[:, 0], results, strict=True):
        _row(ax, result)
    figure.tight_layout()
    plt.show()


def _row(ax, result):
    claim, estimate = result.claim, result.estimate
    effects = result.effects.ravel() if claim.kind == "prediction" else result.effects
    ends = np.stack([effects, effects], 1) if effects.ndim == 1 else effects
    marks = np.concatenate([ends.ravel(), estimate, claim.region.bounds])
    marks = marks[np.isfinite(marks)]
    log = claim.scale == "log" and marks.min() > 0
    if log:
        ax.set_xscale("log")
    low, high = _limits(marks, log)
    ax.set_xlim(low, high)
    ax.axvspan(
        max(claim.region.low, low),
        min(claim.region.high, high),
        color=RANGE,
        alpha=0.15,
        lw=0,
    )
    heights = 0.25 + 0.5 * (np.arange(len(ends)) * 0.618 % 1)
    arrived = np.isfinite(ends).all(axis=1)
    color = COLORS[result.verdict]
    ax.plot(
        ends[arrived].mean(axis=1),
        heights[arrived],
        "o",
        ms=3.5,
        alpha=0.5,
        color=color,
    )
    ax.plot(
        np.clip(ends[~arrived], low, high)[:, 1],
        heights[~arrived],
        "o",
        mfc="none",
        ms=3.5,
        color=color,
        clip_on=False,
    )
    ax.plot(np.clip(estimate[1:], low, high), [0, 0], color=color, lw=3)
    ax.plot([estimate.value], [0], "|", ms=11, mew=2, color=color)
    ax.set(ylim=(-0.25, 1), yticks=[])
    ax.set_xlabel(fill(claim.effect, 90))
    ax.annotate(
        result.verdict, (1.01, 0.5), xycoords="axes fraction", va="center", color=color
    )
    for side in ("left", "top", "right"):
        ax.spines[side].set_visible(False)


def _limits(marks, log):
    """Ends of an axis a little beyond the marks; an effect that is 0 throughout has room."""
    low, high = (
        (np.log(marks.min()), np.log(marks.max()))
        if log
        else (marks.min(), marks.max())
    )
    room = 0.05 * (high - low) or 0.1
    low, high = low - room, high + room
    return (np.exp(low), np.exp(high)) if log else (low, high)
