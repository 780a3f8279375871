"""Plots of any data: lines, bands over seeds, distributions and points."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from batchnorm.figures.style import (
    DASHES,
    RANGE,
    REFERENCE,
    VALUE,
    WIDTH,
    colors,
    dashes,
    logarithmic,
    titled_panels,
)

# ---------------------------------------------------------------------------
# Lines


def curves(
    lines: Mapping[str, np.ndarray],
    xlabel: str,
    ylabel: str,
    *,
    x: np.ndarray | None = None,
    log: str = "",
    ticks: Mapping[str, Sequence[float]] | None = None,
) -> None:
    """Draw named curves, each with its own color and dash.

    Parameters
    ----------
    lines : mapping of str to array_like, shape (n,)
        The curves. "with" and "without" have the colors of batch normalization.
    xlabel, ylabel : str
        What the axes are.
    x : array_like, shape (n,), optional
        Where the curves are known. By default at 1, 2, 3, ...
    log : {"", "x", "y", "xy"}
        The axes that are logarithmic.
    ticks : mapping of {"x", "y"} to sequence of float, optional
        Where the ticks of a logarithmic axis stand, labeled as plain numbers.
    """
    color, dash = colors(lines), dashes(lines)
    _, ax = plt.subplots()
    for label, values in lines.items():
        at = np.arange(1, len(values) + 1) if x is None else x
        ax.plot(at, values, dash[label], color=color[label], label=label)
    _show_one(ax, xlabel, ylabel, log, ticks)


def _show_one(ax: Axes, xlabel: str, ylabel: str, log="", ticks=None) -> None:
    """Label the axes of a figure of one panel, make them logarithmic, and show it."""
    ax.set(xlabel=xlabel, ylabel=ylabel)
    for which in log:
        logarithmic(ax, which, (ticks or {}).get(which))
    ax.legend()
    plt.show()


def curve_panels(
    panels: Mapping[str, Mapping[str, np.ndarray]], xlabel: str, *, x: np.ndarray
) -> None:
    """Draw named curves in panels side by side, each on a scale of its own.

    Parameters
    ----------
    panels : mapping of str to mapping of str to array_like, shape (n,)
        Title to curves. A label has the same color and dash in all panels, and
        stands in the legend of the first. The vertical axes include zero.
    xlabel : str
        What the horizontal axes are.
    x : array_like, shape (n,)
        Where all curves are known.
    """
    labels = dict.fromkeys(label for lines in panels.values() for label in lines)
    color, dash = colors(labels), dashes(labels)
    _, axes = titled_panels(panels, 3.0)
    for ax, lines in zip(axes.flat, panels.values(), strict=True):
        for label, values in lines.items():
            ax.plot(x, values, dash[label], color=color[label], label=label)
        low, high = np.min([0, *map(np.min, lines.values())]), np.max([*lines.values()])
        ax.set_ylim(low - 0.05 * (high - low), high + 0.1 * (high - low))
        ax.set_xlabel(xlabel)
        ax.locator_params(nbins=4)
    axes[0, 0].legend()
    plt.show()


def fits(
    points: Mapping[str, tuple[np.ndarray, np.ndarray]],
    lines: Mapping[str, np.ndarray],
    xlabel: str,
    ylabel: str,
    *,
    x: np.ndarray,
    rule: str = "the rule",
) -> None:
    """Draw clouds of points, the rule that they obey, and curves fitted to them.

    Parameters
    ----------
    points : mapping of str to pair of array_like, each of shape (n,)
        Label to x and y. "source" and "target" have colors of their own.
    lines : mapping of str to array_like, shape (k,)
        The rule and its fits, of which the first is the baseline.
    xlabel, ylabel : str
        What the axes are.
    x : array_like, shape (k,)
        Where the lines are known.
    rule : str
        Which of the lines is the rule.

    Raises
    ------
    ValueError
        If rule is none of the lines.
    """
    cloud, dash = colors(points), dashes(lines)
    baseline = next((label for label in lines if label != rule), None)
    color = colors(lines, baseline=baseline, reference=rule)
    markers = dict(zip(points, "o^s", strict=False))
    _, ax = plt.subplots()
    for label, (across, up) in points.items():
        style = {"color": cloud[label], "alpha": 0.6, "markersize": 4}
        ax.plot(across, up, markers[label], label=label, **style)
    for label, values in lines.items():
        ax.plot(x, values, dash[label], color=color[label], label=label)
    _show_one(ax, xlabel, ylabel)


# ---------------------------------------------------------------------------
# Bands


def seeds_against(
    x: Sequence[float],
    bands: Mapping[str, np.ndarray],
    xlabel: str,
    ylabel: str,
    *,
    log: str = "",
    ticks: Mapping[str, Sequence[float]] | None = None,
    baseline: str | None = None,
    marks: Mapping[str, float] | None = None,
) -> None:
    """Draw, for each named arm, every seed as a thin line and their median bold.

    Parameters
    ----------
    x : sequence of float, shape (n,)
        Where the seeds were measured.
    bands : mapping of str to array_like, shape (seeds, n)
        The arms.
    xlabel, ylabel : str
        What the axes are.
    log, ticks
        As in `curves`.
    baseline : str, optional
        The arm that the others are held against, in the color of `WITHOUT`. By default
        "without", or else the first of several, unless it is "batch".
    marks : mapping of str to float, optional
        Labels to places on the horizontal axis, one or two, the smaller one first.
        Each is a vertical line with its label above the panel.

    Raises
    ------
    ValueError
        If baseline is none of the arms.
    """
    if baseline is None and len(bands) > 1:
        first = "without" if "without" in bands else next(iter(bands))
        baseline = None if first == "batch" else first
    color, dash = colors(bands, baseline=baseline), dashes(bands)
    _, ax = plt.subplots()
    for label, values in bands.items():
        ax.plot(x, np.transpose(values), color=color[label], alpha=0.25, linewidth=0.8)
        median = np.median(values, axis=0)
        ax.plot(x, median, dash[label], color=color[label], label=label)
    for i, (label, at) in enumerate((marks or {}).items()):
        # The first label ends at its line and the second begins there: two marks that
        # stand close together have room.
        style = {"color": REFERENCE, "ha": "left" if i else "right", "fontsize": 11}
        ax.axvline(at, color=REFERENCE, linestyle=":", linewidth=1.5, zorder=1)
        ax.text(at, 1.02, label, transform=ax.get_xaxis_transform(), **style)
    _show_one(ax, xlabel, ylabel, log, ticks)


#: The dashes of `arms`, in which every panel has both.
_ARMS = {"without": DASHES[1], "with": DASHES[0]}


def arms(
    panels: Mapping[str, Mapping[str, np.ndarray]],
    xlabel: str,
    ylabel: str,
    *,
    x: np.ndarray,
    ylim: tuple[float, float],
) -> None:
    """Draw training with and without batch normalization, two panels in a row.

    A line is the median over the seeds, the band about it their range.

    Parameters
    ----------
    panels : mapping of str to mapping of str to ndarray, shape (seeds, n)
        Title to the arms, which are called "without" and "with".
    xlabel, ylabel : str
        What the axes are.
    x : array_like, shape (n,)
        Where the arms were measured.
    ylim : pair of float
        The ends of the vertical axis.

    Raises
    ------
    ValueError
        If the arms of a panel are not those two.
    """
    for title, bands in panels.items():
        if set(bands) != set(_ARMS):
            raise ValueError(
                f"panels[{title!r}] has {', '.join(bands)}; "
                f"allowed are {' and '.join(_ARMS)}"
            )
    color = colors(_ARMS)
    _, axes = titled_panels(
        panels, 2.7, margin=0.3, columns=2, sharex=True, sharey=True
    )
    for ax, bands in zip(axes.flat, panels.values(), strict=True):
        for label, values in bands.items():
            low, high = values.min(0), values.max(0)
            ax.fill_between(x, low, high, color=color[label], alpha=0.25)
            median = np.median(values, axis=0)
            ax.plot(x, median, _ARMS[label], color=color[label], label=label)
        ax.set_ylim(ylim)
    for ax in axes[-1]:
        ax.set_xlabel(xlabel)
        ax.locator_params(axis="x", nbins=4)
    for ax in axes[:, 0]:
        ax.set_ylabel(ylabel)
    axes[0, 0].legend(loc="lower right")
    plt.show()


def percentiles(
    panels: Mapping[str, np.ndarray],
    xlabel: str,
    ylabel: str,
    *,
    x: np.ndarray,
    log: str = "",
) -> None:
    """Draw low, middle and high percentiles, panels side by side on one scale.

    Parameters
    ----------
    panels : mapping of str to ndarray, shape (n, 3)
        Title to the percentiles, from the low ones to the high ones.
    xlabel, ylabel : str
        What the axes are.
    x : array_like, shape (n,)
        Where the percentiles were measured.
    log : {"", "x"}
        Whether the horizontal axis is logarithmic.
    """
    _, axes = titled_panels(panels, 3.2, sharey=True)
    for ax, values in zip(axes.flat, panels.values(), strict=True):
        low, middle, high = values.T
        ax.fill_between(x, low, high, color=RANGE, alpha=0.3)
        ax.plot(x, low, ":", x, high, ":", color=VALUE, linewidth=1.5)
        ax.plot(x, middle, color=VALUE)
        ax.set_xlabel(xlabel)
        if log:
            ax.set_xscale("log")
        else:
            ax.locator_params(axis="x", nbins=4)
    axes[0, 0].set_ylabel(ylabel)
    plt.show()


# ---------------------------------------------------------------------------
# Distributions


def histograms(
    rows: Mapping[str, Mapping[str, np.ndarray]],
    xlabel: str,
    *,
    limit: float,
    arm: str | Sequence[str] = "with",
) -> None:
    """Draw how the values of several units are spread, a panel for each layer.

    Each unit is one filled outline, and all units of a panel have the same color, so
    that what is seen is whether they lie on each other or apart.

    Parameters
    ----------
    rows : mapping of str to mapping of str to ndarray, shape (n, units)
        Label of a row to its panels, by title, the same titles in all rows. They stand
        above the first.
    xlabel : str
        What the values are.
    limit : float
        The horizontal axes go from -limit to limit; what lies beyond is counted in the
        last bin. Each panel has a vertical scale of its own.
    arm : {"with", "without"}, or one of them for each row
        Whose color the outlines have.

    Raises
    ------
    ValueError
        If arm is another.
    """
    arms = [arm] * len(rows) if isinstance(arm, str) else list(arm)
    for name in arms:
        if name not in _ARMS:
            raise ValueError(f"arm is {name!r}; allowed are {' and '.join(_ARMS)}")
    titles = list(next(iter(rows.values())))
    size = (WIDTH, 0.7 + 1.15 * len(rows))
    figure, axes = plt.subplots(
        len(rows), len(titles), figsize=size, squeeze=False, sharex=True
    )
    edges = np.linspace(-limit, limit, 61)
    for line, name, (label, panels) in zip(axes, arms, rows.items(), strict=True):
        color = colors([name])[name]
        for ax, title in zip(line, titles, strict=True):
            for values in np.clip(panels[title], -limit, limit).T:
                heights, _ = np.histogram(values, edges)
                ax.stairs(heights, edges, fill=True, color=color, alpha=0.25)
                ax.stairs(heights, edges, color=color, linewidth=1)
            ax.set(yticks=[], xlim=(-limit, limit))
        line[0].set_ylabel(label)
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title)
    figure.supxlabel(xlabel, size=12)
    plt.show()


# ---------------------------------------------------------------------------
# Points


def scatter(
    panels: Mapping[str, np.ndarray],
    xlabel: str,
    ylabel: str,
    *,
    limit: float,
    shade: np.ndarray | None = None,
) -> None:
    """Draw point clouds side by side on one scale.

    Parameters
    ----------
    panels : mapping of str to ndarray, shape (n, 2)
        Title to points.
    xlabel, ylabel : str
        What the axes are.
    limit : float
        Both axes go from -limit to limit.
    shade : array_like, shape (n,), optional
        Colors each point alike in all panels, dark for small and bright for large.
    """
    ink = {"color": VALUE} if shade is None else {"c": shade, "cmap": "viridis"}
    _, axes = titled_panels(panels, 2.9, sharex=True, sharey=True)
    for ax, points in zip(axes.flat, panels.values(), strict=True):
        ax.scatter(*points.T, s=9, **ink)
        ax.set(xlabel=xlabel, xlim=(-limit, limit), ylim=(-limit, limit))
        ax.set_aspect("equal")
    axes[0, 0].set_ylabel(ylabel)
    plt.show()


def spread(
    rows: Mapping[str, np.ndarray], xlabel: str, *, limits: tuple[float, float]
) -> None:
    """Draw every number of a row as a dot and their median as a bar, row under row.

    Parameters
    ----------
    rows : mapping of str to array_like, shape (n,)
        The label of a row to its numbers.
    xlabel : str
        What the numbers are.
    limits : pair of float
        The ends of the axis.
    """
    _, ax = plt.subplots(figsize=(WIDTH, 1.0 + 0.4 * len(rows)))
    for line, values in enumerate(rows.values()):
        level = np.full(np.shape(values), line)
        ax.plot(values, level, "o", color=VALUE, markersize=6, alpha=0.35)
        bar = {"color": REFERENCE, "markersize": 17, "markeredgewidth": 2.5}
        ax.plot(np.median(values), line, "|", **bar)
    ax.set(xlabel=xlabel, xlim=limits, ylim=(len(rows) - 0.5, -0.5))
    ax.set(yticks=range(len(rows)), yticklabels=list(rows))
    plt.show()


def dots(
    rows: Mapping[str, Mapping[str, float | tuple[float, float]]],
    xlabel: str,
    *,
    limits: tuple[float, float],
) -> None:
    """Draw named numbers on one logarithmic axis, a line for each row.

    Parameters
    ----------
    rows : mapping of str to mapping of str to float or pair of float
        The label of a line to named numbers, at most five, the same names in all
        rows. A pair is a range, drawn as a bar.
    xlabel : str
        What the numbers are.
    limits : pair of float
        What lies beyond stands at that edge, as an arrow.
    """
    left, right = limits
    names = list(next(iter(rows.values())))
    color = colors(names)
    markers = dict(zip(names, "oDs^v", strict=False))
    _, ax = plt.subplots(figsize=(WIDTH, 1.2 + 0.27 * len(rows)))
    for line, values in enumerate(rows.values()):
        for name, value in values.items():
            style = {"color": color[name], "label": "_" if line else name}
            if isinstance(value, tuple):
                low, high = np.clip(value, left, right)
                ax.barh(line, high - low, 0.6, low, alpha=0.35, zorder=1, **style)
                continue
            marker = "<" if value < left else ">" if value > right else markers[name]
            ax.plot(np.clip(value, left, right), line, marker, markersize=7, **style)
    ax.set(xscale="log", xlabel=xlabel, xlim=(left / 2, right * 2))
    ax.set(yticks=range(len(rows)), yticklabels=list(rows))
    ax.invert_yaxis()
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(names))
    plt.show()
