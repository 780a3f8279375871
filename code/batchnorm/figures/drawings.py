"""Drawings of one thing each: graph, circle, shared means, descent, roofline."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from batchnorm.figures.style import (
    GRADIENT,
    LEVELS,
    PALETTE,
    RANGE,
    REFERENCE,
    RIGHT,
    VALUE,
    WIDE,
    WIDTH,
    titled_panels,
)

# ---------------------------------------------------------------------------
# The computational graph

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
#: The same on a slide, which is wider than high.
_WIDE = {
    "x": (0.8, 4.6),
    "mean": (0.8, 0.6),
    "centered": (3.6, 4.6),
    "squared": (3.6, 2.6),
    "var": (3.6, 0.6),
    "std": (6.5, 0.6),
    "inv_std": (6.5, 2.6),
    "x_hat": (6.5, 4.6),
    "gamma": (10.8, 4.6),
    "scaled": (9.0, 4.6),
    "beta": (10.8, 2.6),
    "y": (9.0, 2.6),
    "loss": (9.0, 0.6),
}
#: Its edges, each with the field of `graph.Gradients` that comes back along it.
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


def computational_graph(values, gradients=None, *, wide=False) -> None:
    """Draw the graph of batch normalization with its numbers on the edges.

    On an edge stands the value that flows along it; below, in bold, behind a ∂, the
    gradient that comes back. The gradient of x, in all, is above x.

    Parameters
    ----------
    values : Values
        Of one feature, from `graph.forward`.
    gradients : Gradients, optional
        Of the same feature, from `graph.backward`. A field that is None is one to be
        found: a question mark stands in its place.
    wide : bool
        Whether it is laid out for a slide, in twice the width of its height.
    """
    width, height = (WIDE, 5.4) if wide else (WIDTH, 8.9)
    places = _WIDE if wide else {name: (x, y) for name, (x, y, _) in _NODES.items()}
    figure = plt.figure(figsize=(width, height), layout="none")
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width), ylim=(0, height))
    ax.axis("off")
    box = {"boxstyle": "round,pad=0.4", "facecolor": "white", "edgecolor": REFERENCE}
    nodes = {
        name: ax.text(*places[name], text, size=14, ha="center", va="center", bbox=box)
        for name, (_, _, text) in _NODES.items()
    }
    for (tail, head), field in _EDGES.items():
        start, end = np.array(places[tail]), np.array(places[head])
        arrow = {
            "arrowstyle": "-|>",
            "color": REFERENCE,
            "linewidth": 1.5,
            "patchA": nodes[tail].get_bbox_patch(),
            "patchB": nodes[head].get_bbox_patch(),
        }
        ax.annotate("", end, start, arrowprops=arrow)
        place = _beside(start, end, wide)
        _write_value(ax, place, getattr(values, tail))
        if gradients is not None:
            _write_gradient(ax, place, getattr(gradients, field))
    if gradients is not None:
        x, y = places["x"]
        place = (x - 0.4, y + 0.5, "left", 0.0)
        _write_gradient(ax, place, gradients.d_x, before="in all ")
    plt.show()


def _beside(start, end, wide):
    """Where the numbers of an edge stand: x, y, alignment, lift off the line."""
    x, y = (start + end) / 2
    if start[0] == end[0]:
        upright = 0.6 * start[1] + 0.4 * end[1]
        if wide:  # near the start, where no other edge crosses
            upright = start[1] + 0.75 * np.sign(end[1] - start[1])
        return x + 0.12, upright, "left", 0.0
    if start[1] != end[1]:  # beside the line, where there is room
        return x + 0.4, y - 0.15, "left", 0.0
    return x, y, "center", 0.04


def _write_value(ax: Axes, place, value) -> None:
    """Write a value above a place (x, y, alignment, lift)."""
    x, y, align, lift = place
    text = _entries(value)
    ax.text(x, y + lift, text, color=VALUE, va="bottom", ha=align, size=13)


def _write_gradient(ax: Axes, place, gradient, before="") -> None:
    """Write a gradient below a place, or a question mark where it is None."""
    x, y, align, lift = place
    text = before + "∂ " + ("?" if gradient is None else _entries(gradient))
    style = {"color": GRADIENT, "weight": "bold", "size": 13}
    ax.text(x, y - lift, text, va="top", ha=align, **style)


def _entries(array) -> str:
    """The entries of a column or scalar, as short as they are."""
    return "  ".join(f"{value:g}".replace("-", "−") for value in np.ravel(array))


# ---------------------------------------------------------------------------
# The circle of normalized batches


def tangent_to_circle(batch: np.ndarray, dy: np.ndarray) -> None:
    """Draw a normalized batch of three, a gradient, and the part of it that passes.

    The direction of ones is drawn upright, so that the circle on which all
    normalized batches lie is level.

    Parameters
    ----------
    batch : ndarray, shape (3,)
        The values, not yet normalized.
    dy : ndarray, shape (3,)
        The gradient with respect to the normalized ones.
    """
    upright = np.ones(3) / np.sqrt(3)
    x_hat = (batch - batch.mean()) / np.std(batch)
    across = x_hat / np.sqrt(3)
    turn = np.stack([across, np.cross(upright, across), upright])  # to drawn axes
    tip, step = turn @ x_hat, turn @ dy
    along_one, along_x_hat = step * [0, 0, 1], step * [1, 0, 0]
    passes = step - along_one - along_x_hat

    ax = _level_circle()
    arrow = {"arrow_length_ratio": 0.1, "linewidth": 2.2}
    ax.quiver(0, 0, 0, 0, 0, 1.2, color=REFERENCE, **arrow)
    ax.quiver(0, 0, 0, *tip, color=REFERENCE, **arrow)
    ax.quiver(*tip, *step, color=GRADIENT, **arrow)
    ax.quiver(*tip, *passes, color=RIGHT, **(arrow | {"linewidth": 4}))
    corners = [tip + step, tip + step - along_one, tip + step - along_one - along_x_hat]
    ax.plot(*np.transpose(corners), "--", color=GRADIENT, linewidth=1.5)
    labels = {
        r"$\mathbf{1}$": ([0.0, 0.06, 1.1], REFERENCE),
        r"$\hat x$, length √3": (0.6 * tip + [0, -1.05, 0], REFERENCE),
        r"$dy$": (tip + 0.6 * step + [0, -0.25, 0.1], GRADIENT),
        "passes": (corners[2] + [0, 0.1, 0.0], RIGHT),
        r"off: along $\mathbf{1}$": (
            corners[0] - along_one / 4 + [0, 0.06, 0],
            GRADIENT,
        ),
        r"off: along $\hat x$": (corners[1] + [0, 0.14, 0.04], GRADIENT),
    }
    for text, (place, color) in labels.items():
        ax.text(*place, text, color=color, size=15)
    ax.set(xlim=(-1.4, 1.8), ylim=(-1.6, 1.6), zlim=(-1.0, 1.6))
    ax.set_box_aspect((3.2, 3.2, 2.6))
    plt.show()


def _level_circle() -> Axes:
    """Axes in three dimensions, with a disk of radius √3 in the plane z = 0."""
    figure = plt.figure(figsize=(WIDTH, 4), layout="none")
    ax = figure.add_axes((-0.25, -0.42, 1.44, 1.9), projection="3d", proj_type="ortho")
    ax.view_init(elev=26, azim=14)
    ax.set_axis_off()
    angle = np.linspace(0, 2 * np.pi, 241)
    circle = np.sqrt(3) * np.stack([np.cos(angle), np.sin(angle), 0 * angle])
    ax.plot_trisurf(*(0.999 * circle), color=RANGE, alpha=0.18, linewidth=0)
    ax.plot(*circle, color=RANGE, linewidth=2)
    return ax


# ---------------------------------------------------------------------------
# Shared means


def shared_means(panels: Mapping[str, np.ndarray]) -> None:
    """Draw a tensor, one example a row, one feature map a column, for each panel.

    Parameters
    ----------
    panels : mapping of str to ndarray of int, shape (N, C, H, W)
        Title to the numbers of the means: elements with the same number share a
        mean, and have the same color.
    """
    _, axes = titled_panels(panels, 4.4)
    for ax, shared in zip(axes.flat, panels.values(), strict=True):
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
        ax.set_aspect("equal")
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        ax.grid(False)
    axes[0, 0].set_ylabel("example")
    plt.show()


# ---------------------------------------------------------------------------
# Descent


def descent(
    panels: Mapping[str, tuple[np.ndarray, np.ndarray]], xlabel: str, ylabel: str
) -> None:
    """Draw level curves of quadratic losses with a path of gradient descent on each.

    Each panel is scaled to its own path; within a panel both axes have one scale,
    so that a round bowl is drawn round.

    Parameters
    ----------
    panels : mapping of str to pair of ndarray, of shape (2, 2) and (steps, 2)
        Title to a Hessian and a path of deviations from the minimum.
    xlabel, ylabel : str
        What the axes are.
    """
    _, axes = titled_panels(panels, 3.0)
    for ax, (hessian, path) in zip(axes.flat, panels.values(), strict=True):
        reach = 1.25 * np.abs(path).max()
        grid = np.linspace(-reach, reach, 201)
        w = np.stack(np.meshgrid(grid, grid), axis=-1)
        loss = np.einsum("...i,ij,...j->...", w, hessian, w) / 2
        start = path[0] @ hessian @ path[0] / 2
        levels = start * np.array([0.02, 0.1, 0.25, 0.5, 1.0, 2.0])
        ax.contour(grid, grid, loss, levels=levels, colors=LEVELS, linewidths=1)
        ax.plot(*path.T, ".-", color=GRADIENT, linewidth=1.3, markersize=4)
        ax.plot(0, 0, "*", color=RIGHT, markersize=11)
        ax.set_xlabel(xlabel)
        ax.set_aspect("equal")
        ax.grid(False)
        ax.locator_params(nbins=4)
    axes[0, 0].set_ylabel(ylabel)
    plt.show()


# ---------------------------------------------------------------------------
# Weights on their way


def weight_paths(panels: Mapping[str, tuple[np.ndarray, float | None]]) -> None:
    """Draw the ways of two weights in their plane, and a circle they may settle on.

    Parameters
    ----------
    panels : mapping of str to pair of ndarray, shape (steps, starts, 2), and float
        Title to the weights at each step, from each start, and the radius of a dashed
        circle about the origin, or None for no circle. All panels have one scale.
    """
    _, axes = titled_panels(panels, 3.6, sharex=True, sharey=True)
    reach = 1.05 * max(np.abs(paths).max() for paths, _ in panels.values())
    angle = np.linspace(0, 2 * np.pi, 241)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    for ax, (paths, radius) in zip(axes.flat, panels.values(), strict=True):
        for start in paths[0]:
            ax.plot(*(np.linalg.norm(start) * circle), color=LEVELS, linewidth=0.8)
        for path in paths.transpose(1, 2, 0):
            ax.plot(*path, color=VALUE, linewidth=1)
        ax.plot(*paths[0].T, "o", color=GRADIENT, markersize=6)
        if radius is not None:
            ax.plot(*(radius * circle), "--", color=REFERENCE, linewidth=2)
        ax.plot(0, 0, "+", color=REFERENCE, markersize=9)
        ax.set(xlabel="first weight", xlim=(-reach, reach), ylim=(-reach, reach))
        ax.set_aspect("equal")
        ax.grid(False)
    axes[0, 0].set_ylabel("second weight")
    plt.show()


# ---------------------------------------------------------------------------
# What a machine can do


def roofline(
    work: Mapping[str, float],
    machines: Mapping[str, tuple[float, float]],
    second: Mapping[str, tuple[float, float]] | None = None,
) -> None:
    """Draw the operations a second that machines reach, over operations per byte.

    Each machine is a roof, the smaller of bandwidth times intensity and its rate; each
    piece of work is a mark on every roof. Second roofs are dashed, and bear no marks.

    Parameters
    ----------
    work : mapping of str to float
        Name to arithmetic intensity, operations per byte.
    machines : mapping of str to pair of float
        Name to bandwidth, bytes a second, and rate, operations a second.
    second : mapping of str to pair of float, optional
        The same of roofs that hold for a part of the machine: another memory, other
        units.
    """
    _, ax = plt.subplots(figsize=(WIDTH, 4.0))
    reach = np.geomspace(0.05, 3000, 200)
    for name, (bandwidth, rate) in (second or {}).items():
        roof = np.minimum(bandwidth * reach, rate)
        ax.plot(reach, roof, "--", color=REFERENCE, linewidth=1.2, zorder=1)
        ax.plot(rate / bandwidth, rate, "|", color=REFERENCE, markersize=10)
        shared = any(rate == other for _, other in machines.values())
        place = (4, 4) if shared else (8, -14)  # beside the slope that goes on
        at = rate / bandwidth, rate
        ax.annotate(name, at, place, textcoords="offset points")
    for name, (bandwidth, rate) in machines.items():
        ax.plot(reach, np.minimum(bandwidth * reach, rate), color=REFERENCE, zorder=1)
        ax.annotate(
            name, (reach[-1], rate), (-4, 4), textcoords="offset points", ha="right"
        )
        ax.plot(rate / bandwidth, rate, "|", color=REFERENCE, markersize=14)
    roofs = np.array(list(machines.values())).T
    for color, marker, (name, intensity) in zip(
        PALETTE * 2, "osD^v<>PX*", work.items(), strict=False
    ):
        reached = np.minimum(roofs[0] * intensity, roofs[1])
        at = np.full(len(reached), intensity)
        ax.plot(at, reached, marker, color=color, label=name, markersize=8)
    ax.set(xscale="log", yscale="log", xlabel="operations per byte")
    ax.set(ylabel="operations a second", xlim=(0.05, 3000))
    ax.set_ylim(roofs[0].min() * 0.05, roofs[1].max() * 4)
    ax.legend(loc="upper left")
    plt.show()
