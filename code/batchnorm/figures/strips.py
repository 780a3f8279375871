"""The strip of claims: every seed, the interval and what was asked, a row a claim."""

from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator

from batchnorm.figures.style import (
    FAULT,
    RANGE,
    REFERENCE,
    RIGHT,
    WIDTH,
    logarithmic,
)

ROW = 1.6  # inches, which hold a label of two lines
COLORS = {"supported": RIGHT, "opposed": FAULT, "undecided": REFERENCE}


def strips(results) -> None:
    """Draw a row for each run of a claim, every one on an axis of its own unit.

    A dot is a seed, or, of a prediction, a seed at one value of the variable; an open
    one at the edge is a run that did not arrive. The bar below is the interval, with a
    tick at the estimate; the region that was asked for is shaded. Above stand the id
    and the verdict.

    Parameters
    ----------
    results : sequence of Result
        What `Experiment.run` and `Prediction.run` return.
    """
    rows = len(results)
    _, axes = plt.subplots(rows, figsize=(WIDTH, ROW * rows), squeeze=False)
    for ax, result in zip(axes[:, 0], results, strict=True):
        _row(ax, result)
    plt.show()


def _row(ax, result):
    claim, estimate, color = result.claim, result.estimate, COLORS[result.verdict]
    ends = result.effects
    if ends.ndim == 1 or claim.kind == "prediction":
        ends = np.stack([ends.ravel(), ends.ravel()], axis=1)
    marks = np.concatenate([ends.ravel(), estimate, claim.region.bounds])
    marks = marks[np.isfinite(marks)]
    log = claim.scale == "log" and marks.min() > 0
    low, high = _limits(marks, log)
    ax.set(xscale="log" if log else "linear", xlim=(low, high), ylim=(-0.4, 1))
    asked = np.clip([claim.region.low, claim.region.high], low, high)
    ax.axvspan(*asked, color=RANGE, alpha=0.15, lw=0)
    # Spread over the height so that equal effects stay apart, the same in every run.
    heights = 0.2 + 0.7 * (np.arange(len(ends)) * 0.618 % 1)
    arrived = np.isfinite(ends).all(axis=1)
    dots = {"ms": 3.5, "color": color, "clip_on": False}
    # An empty line that is not clipped would upset the layout.
    if arrived.any():
        ax.plot(ends[arrived].mean(1), heights[arrived], "o", alpha=0.5, **dots)
    if not arrived.all():
        open_ = np.clip(ends[~arrived, 1], low, high)
        ax.plot(open_, heights[~arrived], "o", mfc="none", **dots)
    ax.plot(np.clip(estimate[1:], low, high), [-0.15, -0.15], color=color, lw=3)
    ax.plot([estimate.value], [-0.15], "|", ms=10, mew=2, color=color)
    ax.set(yticks=[])
    what = "measured over predicted: " if claim.kind == "prediction" else ""
    ax.set_xlabel(fill(what + claim.effect, 80), fontsize="small")
    ax.set_title(claim.id, loc="left", fontsize="medium")
    ax.set_title(result.verdict, loc="right", fontsize="medium", color=color)
    ax.spines[["left", "top", "right"]].set_visible(False)
    if log:
        _label(ax, low, high)


def _limits(marks, log):
    """Ends of an axis a little beyond the marks, also where all are one number."""
    change, back = (np.log, np.exp) if log else (np.asarray, np.asarray)
    low, high = change([marks.min(), marks.max()])
    room = 0.05 * (high - low) or 0.1
    return back([low - room, high + room])


def _label(ax, low, high):
    """Label a logarithmic axis, at round numbers where that gives too few labels."""
    powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.log10(high))
    if sum(low <= n * power <= high for n in (1, 2, 5) for power in powers) < 3:
        steps = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10], min_n_ticks=3)
        ticks = steps.tick_values(low, high)
        logarithmic(ax, "x", ticks[(low <= ticks) & (ticks <= high)])
        return
    for which in (ax.xaxis.set_major_formatter, ax.xaxis.set_minor_formatter):
        which(FuncFormatter(_tick))


def _tick(value, _):
    """Labels of a logarithmic axis: 1, 2 and 5 of each power of ten."""
    return f"{value:g}" if f"{value:e}"[0] in "125" else ""
