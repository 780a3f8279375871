"""One style, one palette and the plots that recur: what the chapters draw with.

Call :func:`use_style` once, in the first cell. Every function draws one figure
of fixed size and shows it; none returns anything, so that a cell's only output
is its figure. Captions and alt texts belong to the cell, titles to no figure.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np

if TYPE_CHECKING:
    from batchnorm.claims import Condition

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
DASHES = ("-", "--", ":", "-.")  # never color alone
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
    panels: Mapping[str, np.ndarray],
    xlabel: str,
    ylabel: str,
    *,
    limit: float,
    shade: np.ndarray | None = None,
) -> None:
    """Draw point clouds side by side on one scale, x and y within ±limit.

    panels maps a title to points of shape (n, 2). shade, (n,), colors each point
    alike in all panels, dark for small and bright for large.
    """
    _, axes = plt.subplots(1, len(panels), figsize=(7, 2.9), sharex=True, sharey=True)
    for ax, (title, points) in zip(axes, panels.items(), strict=True):
        ax.scatter(*points.T, s=9, c=BLUE if shade is None else shade, cmap="viridis")
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
        ax.locator_params(nbins=4)
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
    _, ax = plt.subplots()
    for i, (label, values) in enumerate(lines.items()):
        at = np.arange(1, len(values) + 1) if x is None else x
        ax.plot(at, values, DASHES[i % 4], color=PALETTE[i], label=label)
    _show_one(ax, xlabel, ylabel, log)


def _show_one(ax, xlabel, ylabel, log) -> None:
    """Label the axes of a figure of one panel, make them logarithmic, and show it."""
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if "x" in log:
        ax.set_xscale("log")
    if "y" in log:
        ax.set_yscale("log")
    ax.legend()
    plt.show()


def image_rows(rows: Mapping[str, np.ndarray]) -> None:
    """Draw rows of small images, each row on a gray scale of its own.

    rows maps a label to images of shape (n, height, width), n alike in all. The
    scale leaves out the most extreme hundredth, so that one pixel cannot make a
    whole row gray.
    """
    n = len(next(iter(rows.values())))
    _, axes = plt.subplots(
        len(rows), n, figsize=(7, 0.15 + 0.8 * len(rows)), squeeze=False
    )
    for line, (label, images) in zip(axes, rows.items(), strict=True):
        low, high = np.quantile(images, [0.01, 0.99])
        for ax, image in zip(line, images, strict=True):
            ax.imshow(image, cmap="gray", vmin=low, vmax=high)
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
    pair = (WITHOUT, WITH) if len(bands) > 1 else (BLUE,)
    colors = dict(zip(bands, (*pair, *PALETTE[2:]), strict=False))
    for label, values in bands.items():
        ax.plot(x, np.transpose(values), color=colors[label], alpha=0.25, linewidth=0.8)
        dash = DASHES[list(bands).index(label) % 4]
        ax.plot(x, np.median(values, axis=0), dash, color=colors[label], label=label)
    _show_one(ax, xlabel, ylabel, log)


def claim_plot(
    effects: np.ndarray, condition: "Condition", label: str, *, scale: str = "linear"
) -> None:
    """Draw the effect of a claim: every seed, their median and range, the condition.

    effects has one value a seed; they are drawn in order, the smallest lowest. A
    seed that does not satisfy the condition is a red cross; one whose effect is no
    finite number is counted in the label. condition prints itself and names its
    thresholds; scale is that of the effect, "linear" or "log".
    """
    effects = np.sort(effects)
    rank = np.arange(len(effects))
    holds = condition(effects)
    finite = effects[np.isfinite(effects)]
    if len(finite) < len(effects):
        label = f"{label} (no number in {len(effects) - len(finite)} seeds)"
    _, ax = plt.subplots(figsize=(7, 2.9))
    ax.set(xscale=scale, yticks=[], ylabel="seeds, sorted", ylim=(-4, len(effects)))
    ax.set_xlabel(fill(label, 60))
    ax.plot(effects[holds], rank[holds], "o", color=BLUE)
    ax.plot(effects[~holds], rank[~holds], "X", color=VERMILION, markersize=7)
    if len(finite):
        ax.plot([finite[0], finite[-1]], [-2.5, -2.5], color=GRAY, linewidth=3)
        ax.plot(np.median(finite), -2.5, "D", color=GRAY, markersize=8)
    for threshold in condition.thresholds:
        ax.axvline(threshold, color=GRAY, linestyle="--", linewidth=1.5)
    ax.margins(x=0.08)
    if condition.thresholds == (effects[0],) == (effects[-1],):
        ax.set_xlim(effects[0] - 1, effects[0] + 1)
    ax.set_title(
        f"asked: {condition} (dashed)   ◆ median, ━ range", fontsize=11, color=GRAY
    )
    plt.show()


def curve_panels(
    panels: Mapping[str, Mapping[str, np.ndarray]], xlabel: str, *, x: np.ndarray
) -> None:
    """Draw named curves over one x in panels side by side, each on a scale of its own.

    panels maps a title to curves of shape (len(x),); a label has the same color and
    dash in all of them, and stands in the legend of the first. The vertical axes
    include zero.
    """
    order = list(dict.fromkeys(label for lines in panels.values() for label in lines))
    _, axes = plt.subplots(1, len(panels), figsize=(7, 3.0))
    for ax, (title, lines) in zip(axes, panels.items(), strict=True):
        for label, values in lines.items():
            i = order.index(label)
            ax.plot(x, values, DASHES[i % 4], color=PALETTE[i], label=label)
        ax.set(title=title, xlabel=xlabel)
        low, high = np.min([0, *map(np.min, lines.values())]), np.max([*lines.values()])
        ax.set_ylim(low - 0.05 * (high - low), high + 0.1 * (high - low))
        ax.locator_params(nbins=4)
    axes[0].legend()
    plt.show()


def dots(
    rows: Mapping[str, Mapping[str, float | tuple[float, float]]],
    xlabel: str,
    *,
    limits: tuple[float, float],
) -> None:
    """Draw named numbers on one logarithmic axis, a line for each row.

    rows maps the label of a line to named numbers, or to ranges (low, high), which
    are drawn as bars. What lies beyond the limits stands at that edge, as an arrow.
    """
    left, right = limits
    names = list(next(iter(rows.values())))
    colors = dict(zip(names, (WITH, WITHOUT, *PALETTE[2:]), strict=False))
    markers = dict(zip(names, "oDs^v", strict=False))
    _, ax = plt.subplots(figsize=(7, 1.2 + 0.27 * len(rows)))
    for line, values in enumerate(rows.values()):
        for name, value in values.items():
            style = {"color": colors[name], "label": "_" if line else name}
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


def heat_maps(
    panels: Mapping[str, np.ndarray],
    columns: Sequence[float],
    xlabel: str,
    ylabel: str,
    label: str,
    *,
    reach: float,
) -> None:
    """Draw positive matrices, two in a row, by their order of magnitude.

    panels maps a title to a matrix of shape (rows, len(columns)). A cell shows its
    power of ten, rounded, on a diverging color scale from -reach to reach, white at
    10⁰; what lies beyond has the last color. Row 1 is at the top.
    """
    lines = -(-len(panels) // 2)
    fig, axes = plt.subplots(
        lines, 2, figsize=(7, 0.4 + 3.4 * lines), sharex=True, sharey=True
    )
    for ax, (title, matrix) in zip(np.ravel(axes), panels.items(), strict=True):
        powers = np.log10(matrix)
        image = ax.imshow(powers, cmap="RdBu_r", vmin=-reach, vmax=reach, aspect="auto")
        for (row, column), power in np.ndenumerate(powers):
            ink = "white" if abs(power) > 0.6 * reach else "black"
            text = f"{round(power)}".replace("-", "−")
            ax.text(column, row, text, ha="center", va="center", size=10, color=ink)
        ax.set_title(title)
        ax.set_xticks(range(len(columns)), [f"{c:g}" for c in columns])
        ax.set_yticks(range(len(matrix)), range(1, len(matrix) + 1))
        ax.grid(False)
    fig.supxlabel(xlabel, size=12)
    fig.supylabel(ylabel, size=12)
    ticks = [-reach, -reach / 2, 0, reach / 2, reach]
    fig.colorbar(image, ax=axes, label=label, ticks=ticks, extend="both", aspect=30)
    plt.show()


#: The nodes of `batchnorm.graph`, where they stand, in inches.
_NODES = {
    "x": (1.0, 8.3, "$x$"),
    "mean": (4.3, 8.3, r"$\mu=\frac{1}{m}\sum x_i$"),
    "centered": (1.0, 6.8, r"$c=x-\mu$"),
    "squared": (4.3, 6.8, "$s=c^2$"),
    "var": (4.3, 5.6, r"$\sigma^2=\frac{1}{m}\sum s_i$"),
    "std": (4.3, 4.4, r"$\sigma_\epsilon=\sqrt{\sigma^2+\epsilon}$"),
    "inv_std": (4.3, 3.2, r"$v=1/\sigma_\epsilon$"),
    "x_hat": (1.0, 3.2, r"$\hat x=c\,v$"),
    "gamma": (4.3, 2.2, r"$\gamma$"),
    "scaled": (1.0, 2.2, r"$z=\gamma\,\hat x$"),
    "beta": (4.3, 1.2, r"$\beta$"),
    "y": (1.0, 1.2, r"$y=z+\beta$"),
    "loss": (1.0, 0.25, r"$\ell$"),
}
#: Its edges, each with the gradient, of `graph.Gradients`, that comes back along it.
_EDGES = {
    ("x", "mean"): "d_x_from_mean",
    ("x", "centered"): "d_x_from_centered",
    ("mean", "centered"): "d_mean",
    ("centered", "squared"): "d_centered_from_squared",
    ("centered", "x_hat"): "d_centered_from_x_hat",
    ("squared", "var"): "d_squared",
    ("var", "std"): "d_var",
    ("std", "inv_std"): "d_std",
    ("inv_std", "x_hat"): "d_inv_std",
    ("x_hat", "scaled"): "d_x_hat",
    ("gamma", "scaled"): "d_gamma",
    ("scaled", "y"): "d_scaled",
    ("beta", "y"): "d_beta",
    ("y", "loss"): "d_y",
}


def computational_graph(values, gradients=None) -> None:
    """Draw the graph of batch normalization with its numbers on the edges.

    values, gradients: of one feature, from `graph.forward` and `graph.backward`. On
    an edge stands the value that flows along it; below, in
    bold, behind a ∂, the gradient that comes back. The gradient of x is below x.
    """
    fig = plt.figure(figsize=(7, 8.9), layout="none")
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, 7), ylim=(0, 8.9))
    ax.axis("off")
    box = {"boxstyle": "round,pad=0.4", "facecolor": "white", "edgecolor": GRAY}
    nodes = {
        name: ax.text(x, y, text, size=14, ha="center", va="center", bbox=box)
        for name, (x, y, text) in _NODES.items()
    }
    for (tail, head), field in _EDGES.items():
        start, end = np.array(_NODES[tail][:2]), np.array(_NODES[head][:2])
        arrow = {
            "arrowstyle": "-|>",
            "color": GRAY,
            "linewidth": 1.5,
            "patchA": nodes[tail].get_bbox_patch(),
            "patchB": nodes[head].get_bbox_patch(),
        }
        ax.annotate("", end, start, arrowprops=arrow)
        x, y = (start + end) / 2
        if start[0] == end[0]:
            x, y, align, lift = x + 0.12, 0.6 * start[1] + 0.4 * end[1], "left", 0.0
        elif start[1] != end[1]:  # beside the line, where there is room
            x, y, align, lift = x + 0.4, y - 0.15, "left", 0.0
        else:
            align, lift = "center", 0.04
        _stacked(
            ax,
            (x, y, align, lift),
            getattr(values, tail),
            None if gradients is None else getattr(gradients, field),
        )
    if gradients is not None:
        x, y, _ = _NODES["x"]
        _stacked(ax, (x - 0.2, y + 0.5, "left", 0.0), None, gradients.d_x)
    plt.show()


def _stacked(ax, place, value, gradient):
    """Write a value above a place (x, y, alignment, lift) and a gradient below it."""
    x, y, align, lift = place
    if value is not None:
        text = _entries(value)
        ax.text(x, y + lift, text, color=BLUE, size=13, ha=align, va="bottom")
    if gradient is not None:
        text = "∂ " + _entries(gradient)
        ax.text(
            x,
            y - lift,
            text,
            color=VERMILION,
            size=13,
            weight="bold",
            ha=align,
            va="top",
        )


def _entries(array):
    """The entries of a column or scalar, as short as they are."""
    return "  ".join(f"{value:g}".replace("-", "−") for value in np.ravel(array))


def tangent_to_circle(batch, dy) -> None:
    """Draw a normalized batch of three, a gradient, and the part of it that passes.

    batch, dy: (3,). The direction of ones is drawn upright, so that the circle on
    which all normalized batches lie is level.
    """
    upright = np.ones(3) / np.sqrt(3)
    x_hat = (batch - batch.mean()) / np.std(batch)
    across = x_hat / np.sqrt(3)
    turn = np.stack([across, np.cross(upright, across), upright])  # to drawn axes
    tip, step = turn @ x_hat, turn @ dy
    along_one, along_x_hat = step * [0, 0, 1], step * [1, 0, 0]

    fig = plt.figure(figsize=(7, 4), layout="none")
    ax = fig.add_axes((-0.25, -0.42, 1.44, 1.9), projection="3d", proj_type="ortho")
    ax.view_init(elev=26, azim=14)
    ax.set_axis_off()
    angle = np.linspace(0, 2 * np.pi, 241)
    circle = np.sqrt(3) * np.stack([np.cos(angle), np.sin(angle), 0 * angle])
    ax.plot_trisurf(*(0.999 * circle), color=SKY, alpha=0.18, linewidth=0)
    ax.plot(*circle, color=SKY, linewidth=2)
    arrow = {"arrow_length_ratio": 0.1, "linewidth": 2.2}
    ax.quiver(0, 0, 0, 0, 0, 1.2, color=GRAY, **arrow)
    ax.quiver(0, 0, 0, *tip, color=GRAY, **arrow)
    ax.quiver(*tip, *step, color=VERMILION, **arrow)
    ax.quiver(
        *tip,
        *(step - along_one - along_x_hat),
        color=BLUE,
        **(arrow | {"linewidth": 4}),
    )
    corners = [tip + step, tip + step - along_one, tip + step - along_one - along_x_hat]
    ax.plot(*np.transpose(corners), "--", color=VERMILION, linewidth=1.5)
    labels = {
        r"$\mathbf{1}$": ([0.0, 0.06, 1.1], GRAY),
        r"$\hat x$": (0.55 * tip + [0, -0.25, 0], GRAY),
        r"$dy$": (tip + 0.6 * step + [0, -0.25, 0.1], VERMILION),
        "passes": (corners[2] + [0, 0.1, -0.1], BLUE),
    }
    for text, (place, color) in labels.items():
        ax.text(*place, text, color=color, size=15)
    ax.set(xlim=(-1.4, 1.8), ylim=(-1.6, 1.6), zlim=(-1.0, 1.6))
    ax.set_box_aspect((3.2, 3.2, 2.6))
    plt.show()


def percentiles(
    panels: Mapping[str, np.ndarray], xlabel: str, ylabel: str, *, x: np.ndarray
) -> None:
    """Draw low, middle and high percentiles over x, panels side by side on one scale.

    panels maps a title to values of shape (len(x), 3), in that order.
    """
    _, axes = plt.subplots(1, len(panels), figsize=(7, 3.2), sharey=True)
    for ax, (title, values) in zip(axes, panels.items(), strict=True):
        low, middle, high = values.T
        ax.fill_between(x, low, high, color=SKY, alpha=0.3)
        ax.plot(x, low, ":", x, high, ":", color=BLUE, linewidth=1.5)
        ax.plot(x, middle, color=BLUE)
        ax.set(title=title, xlabel=xlabel)
        ax.locator_params(axis="x", nbins=4)
    axes[0].set_ylabel(ylabel)
    plt.show()


def fits(
    points: Mapping[str, tuple[np.ndarray, np.ndarray]],
    lines: Mapping[str, np.ndarray],
    xlabel: str,
    ylabel: str,
    *,
    x: np.ndarray,
) -> None:
    """Draw clouds of points, each (x, y) with its own marker, and curves over one x."""
    dashes = ["-", "--", "-.", ":"]
    _, ax = plt.subplots()
    for i, (label, (across, up)) in enumerate(points.items()):
        style = {"color": PALETTE[5 - 2 * i], "alpha": 0.6, "markersize": 4}
        ax.plot(across, up, "o^s"[i], label=label, **style)
    colors = (GRAY, WITHOUT, WITH)
    for i, (label, values) in enumerate(lines.items()):
        ax.plot(x, values, dashes[i], color=colors[i], label=label)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.legend()
    plt.show()


def shared_means(panels: Mapping[str, np.ndarray]) -> None:
    """Draw a tensor, one example a row, one feature map a column, for each panel.

    panels maps a title to integers of shape (N, C, H, W): elements with the same
    number share a mean, and have the same color.
    """
    _, axes = plt.subplots(1, len(panels), figsize=(7, 4.4))
    for ax, (title, shared) in zip(axes, panels.items(), strict=True):
        n, c, h, w = shared.shape
        for (i, k, row, column), number in np.ndenumerate(shared):
            x, y = k * (w + 0.5) + column, i * (h + 0.5) + row
            color = PALETTE[number % len(PALETTE)]
            ax.add_patch(plt.Rectangle((x, y), 1, 1, color=color, alpha=0.3))
            text = {"ha": "center", "va": "center", "size": 10}
            ax.text(x + 0.5, y + 0.5, str(number + 1), **text)
        ax.set(xlim=(0, c * (w + 0.5) - 0.5), ylim=(n * (h + 0.5) - 0.5, 0))
        maps, examples = np.arange(c), np.arange(n)
        ax.set_xticks(maps * (w + 0.5) + w / 2, [f"map {k + 1}" for k in maps])
        ax.set_yticks(examples * (h + 0.5) + h / 2, examples + 1)
        ax.set(title=title, aspect="equal")
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        ax.grid(False)
    axes[0].set_ylabel("example")
    plt.show()


def arms(
    panels: Mapping[str, Mapping[str, np.ndarray]],
    xlabel: str,
    ylabel: str,
    *,
    x: np.ndarray,
    ylim: tuple[float, float],
) -> None:
    """Draw arms over x, two panels in a row: the median over seeds, and their range.

    panels maps a title to arms, each of shape (seeds, len(x)); the first two have the
    colors of without and with batch normalization.
    """
    lines = -(-len(panels) // 2)
    _, axes = plt.subplots(
        lines, 2, figsize=(7, 0.3 + 2.7 * lines), sharex=True, sharey=True
    )
    for ax, (title, bands) in zip(np.ravel(axes), panels.items(), strict=True):
        for (label, values), color, dash in zip(
            bands.items(), (WITHOUT, WITH), ("--", "-"), strict=True
        ):
            ax.fill_between(x, values.min(0), values.max(0), color=color, alpha=0.25)
            ax.plot(x, np.median(values, axis=0), dash, color=color, label=label)
        ax.set(title=title, ylim=ylim)
    for ax in np.atleast_2d(axes)[-1]:
        ax.set_xlabel(xlabel)
        ax.locator_params(axis="x", nbins=4)
    for ax in np.atleast_2d(axes)[:, 0]:
        ax.set_ylabel(ylabel)
    np.ravel(axes)[0].legend(loc="lower right")
    plt.show()


def share_maps(
    panels: Mapping[str, np.ndarray],
    rows: Sequence[float],
    columns: Sequence[float],
    xlabel: str,
    ylabel: str,
    label: str,
) -> None:
    """Draw shares between 0 and 1, each cell with its percentage, side by side.

    panels maps a title to a matrix of shape (len(rows), len(columns)). NaN counts
    as 0.
    """
    height = 1.5 + 0.42 * len(rows)
    fig, axes = plt.subplots(1, len(panels), figsize=(7, height), sharey=True)
    for ax, (title, matrix) in zip(axes, panels.items(), strict=True):
        shares = np.nan_to_num(matrix)
        image = ax.imshow(shares, cmap="cividis", vmin=0, vmax=1, aspect="auto")
        for (row, column), share in np.ndenumerate(shares):
            ink = "black" if share > 0.55 else "white"
            text = f"{100 * share:.0f}"
            ax.text(column, row, text, ha="center", va="center", size=11, color=ink)
        ax.set(title=title, xlabel=xlabel)
        ax.set_xticks(range(len(columns)), [f"{c:g}" for c in columns])
        ax.set_yticks(range(len(rows)), [f"{r:g}" for r in rows])
        ax.grid(False)
    axes[0].set_ylabel(ylabel)
    fig.colorbar(image, ax=axes, label=label, ticks=[0, 0.5, 1], aspect=25)
    plt.show()
