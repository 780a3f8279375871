"""One style, one palette and the plots that recur: what the chapters draw with.

Call :func:`use_style` once, in the first cell. Every function draws one figure
of fixed size and shows it; none returns anything, so that a cell's only output
is its figure. Captions and alt texts belong to the cell, titles to no figure.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

# Okabe and Ito's colors, in the order of book.mplstyle.
BLUE, VERMILION, GREEN, PINK, ORANGE, SKY, GRAY = PALETTE = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#555555",
)
#: Without and with batch normalization, wherever the two are compared.
WITHOUT, WITH = VERMILION, BLUE


def use_style() -> None:
    """Load the style of the book; in a notebook, draw for screens of 2x density."""
    plt.style.use(Path(__file__).with_name("book.mplstyle"))
    try:
        from IPython import get_ipython
        from matplotlib_inline.backend_inline import set_matplotlib_formats
    except ImportError:  # outside a notebook IPython is not needed
        return
    if get_ipython() is not None:
        # bbox_inches=None keeps the size of the style file; the default crops.
        set_matplotlib_formats("retina", bbox_inches=None)


def scatter(
    panels: Mapping[str, np.ndarray], xlabel: str, ylabel: str, *, limit: float
) -> None:
    """Draw point clouds side by side on one scale, x and y within ±limit.

    panels maps a title to points of shape (n, 2).
    """
    _, axes = plt.subplots(1, len(panels), figsize=(7, 2.9), sharex=True, sharey=True)
    for ax, (title, points) in zip(axes, panels.items(), strict=True):
        ax.plot(*points.T, ".", color=BLUE, alpha=0.35, markersize=4)
        ax.set(title=title, xlabel=xlabel, xlim=(-limit, limit), ylim=(-limit, limit))
        ax.set_aspect("equal")
    axes[0].set_ylabel(ylabel)
    plt.show()


def descent(
    panels: Mapping[str, tuple[np.ndarray, np.ndarray]], xlabel: str, ylabel: str
) -> None:
    r"""Draw level curves of quadratic losses with a path of gradient descent on each.

    panels maps a title to a Hessian, shape (2, 2), and a path, shape (steps, 2),
    of deviations from the minimum. Each panel is scaled to its own path; within
    a panel both axes have one scale, so that a round bowl is drawn round.
    """
    _, axes = plt.subplots(1, len(panels), figsize=(7, 3.0))
    for ax, (title, (hessian, path)) in zip(axes, panels.items(), strict=True):
        reach = 1.25 * np.abs(path).max()
        grid = np.linspace(-reach, reach, 201)
        w = np.stack(np.meshgrid(grid, grid), axis=-1)
        loss = np.einsum("...i,ij,...j->...", w, hessian, w) / 2
        start = path[0] @ hessian @ path[0] / 2
        levels = start * np.array([0.02, 0.1, 0.25, 0.5, 1.0, 2.0])
        ax.contour(grid, grid, loss, levels=levels, colors="#9a9a9a", linewidths=1)
        ax.plot(*path.T, ".-", color=VERMILION, linewidth=1.3, markersize=4)
        ax.plot(0, 0, "*", color=BLUE, markersize=11)
        ax.set(title=title, xlabel=xlabel)
        ax.set_aspect("equal")
        ax.grid(False)
        ax.locator_params(nbins=5)
    axes[0].set_ylabel(ylabel)
    plt.show()


def curves(
    lines: Mapping[str, np.ndarray],
    xlabel: str,
    ylabel: str,
    *,
    x: np.ndarray | None = None,
    log: str = "",
) -> None:
    """Draw named curves over x (default 1, 2, 3, ...), each with its own dash.

    log names the axes, "x", "y" or "xy", that are logarithmic.
    """
    dashes = ["-", "--", ":", "-."]
    _, ax = plt.subplots()
    for i, (label, values) in enumerate(lines.items()):
        at = np.arange(1, len(values) + 1) if x is None else x
        ax.plot(at, values, dashes[i % 4], color=PALETTE[i], label=label)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if "x" in log:
        ax.set_xscale("log")
    if "y" in log:
        ax.set_yscale("log")
    ax.legend()
    plt.show()


def image_rows(rows: Mapping[str, np.ndarray]) -> None:
    """Draw rows of small images, each row on its own gray scale, zero in the middle.

    rows maps a label to images of shape (n, height, width), n alike in all.
    """
    n = len(next(iter(rows.values())))
    _, axes = plt.subplots(
        len(rows), n, figsize=(7, 0.15 + 0.8 * len(rows)), squeeze=False
    )
    for line, (label, images) in zip(axes, rows.items(), strict=True):
        reach = np.abs(images).max()
        for ax, image in zip(line, images, strict=True):
            ax.imshow(image, cmap="gray", vmin=-reach, vmax=reach)
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
        line[0].set_ylabel(label, rotation=0, ha="right", va="center")
    plt.show()


def matrices(panels: Mapping[str, np.ndarray], label: str) -> None:
    """Draw matrices side by side, one diverging color scale centered at zero."""
    reach = max(np.abs(matrix).max() for matrix in panels.values())
    fig, axes = plt.subplots(1, len(panels), figsize=(7, 2.6))
    for ax, (title, matrix) in zip(axes, panels.items(), strict=True):
        image = ax.imshow(matrix, cmap="RdBu_r", vmin=-reach, vmax=reach)
        ax.set(title=title, xticks=[], yticks=[])
        ax.grid(False)
    fig.colorbar(image, ax=axes, label=label, shrink=0.9)
    plt.show()


def seeds_against(
    x: Sequence[float],
    bands: Mapping[str, np.ndarray],
    xlabel: str,
    ylabel: str,
    *,
    log: str = "",
) -> None:
    """Draw, for each named arm, every seed as a thin line and their median bold.

    bands maps a label to values of shape (seeds, len(x)).
    """
    _, ax = plt.subplots()
    colors = dict(zip(bands, (WITHOUT, WITH, *PALETTE[2:]), strict=False))
    for label, values in bands.items():
        ax.plot(x, np.transpose(values), color=colors[label], alpha=0.25, linewidth=0.8)
        ax.plot(x, np.median(values, axis=0), color=colors[label], label=label)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if "x" in log:
        ax.set_xscale("log")
    if "y" in log:
        ax.set_yscale("log")
    ax.legend()
    plt.show()
