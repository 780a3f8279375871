"""Plots of what is a grid: images, and matrices as colors with numbers in them."""

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage

from batchnorm.figures.style import WIDTH, titled_panels


def image_rows(rows: Mapping[str, np.ndarray]) -> None:
    """Draw rows of small images, each row on a gray scale of its own.

    Parameters
    ----------
    rows : mapping of str to ndarray, shape (n, height, width)
        Label to images, n alike in all. The scale leaves out the most extreme
        hundredth, so that one pixel cannot make a whole row gray.
    """
    n = len(next(iter(rows.values())))
    size = (WIDTH, 0.15 + 0.8 * len(rows))
    _, axes = plt.subplots(len(rows), n, figsize=size, squeeze=False)
    for line, (label, images) in zip(axes, rows.items(), strict=True):
        low, high = np.quantile(images, [0.01, 0.99])
        for ax, image in zip(line, images, strict=True):
            ax.imshow(image, cmap="gray", vmin=low, vmax=high)
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
        line[0].set_ylabel(label, rotation=0, ha="right", va="center")
    plt.show()


def matrices(panels: Mapping[str, np.ndarray], label: str) -> None:
    """Draw matrices side by side, one diverging color scale centered at zero.

    Parameters
    ----------
    panels : mapping of str to ndarray, shape (rows, columns)
        Title to matrix.
    label : str
        What their entries are.
    """
    reach = max(np.abs(matrix).max() for matrix in panels.values())
    figure, axes = titled_panels(panels, 2.6)
    for ax, matrix in zip(axes.flat, panels.values(), strict=True):
        image = ax.imshow(matrix, cmap="RdBu_r", vmin=-reach, vmax=reach)
        ax.set(xticks=[], yticks=[])
        ax.grid(False)
    figure.colorbar(image, ax=axes, label=label, shrink=0.9)
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

    Parameters
    ----------
    panels : mapping of str to ndarray, shape (rows, len(columns))
        Title to matrix. A cell shows its power of ten, rounded. Row 1 is at the top.
    columns : sequence of float
        What the columns are.
    xlabel, ylabel, label : str
        What columns, rows and entries are.
    reach : float
        The colors go from -reach to reach, white at 10⁰; what lies beyond has the
        last one.
    """
    figure, axes = titled_panels(
        panels, 3.4, margin=0.4, columns=2, sharex=True, sharey=True
    )
    for ax, matrix in zip(axes.flat, panels.values(), strict=True):
        image = _annotated(
            ax,
            np.log10(matrix),
            (range(1, len(matrix) + 1), columns),
            entry=lambda power: f"{round(power)}".replace("-", "−"),
            dark=lambda power: abs(power) > 0.6 * reach,
            size=10,
            scale={"cmap": "RdBu_r", "vmin": -reach, "vmax": reach},
        )
    figure.supxlabel(xlabel, size=12)
    figure.supylabel(ylabel, size=12)
    ticks = [-reach, -reach / 2, 0, reach / 2, reach]
    figure.colorbar(image, ax=axes, label=label, ticks=ticks, extend="both", aspect=30)
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

    Parameters
    ----------
    panels : mapping of str to ndarray, shape (len(rows), len(columns))
        Title to matrix. NaN counts as 0.
    rows, columns : sequence of float
        What rows and columns are.
    xlabel, ylabel, label : str
        What columns, rows and entries are.
    """
    figure, axes = titled_panels(panels, 0.42 * len(rows), margin=1.5, sharey=True)
    for ax, matrix in zip(axes.flat, panels.values(), strict=True):
        image = _annotated(
            ax,
            np.nan_to_num(matrix),
            (rows, columns),
            entry=lambda share: f"{100 * share:.0f}",
            dark=lambda share: share <= 0.55,
            size=11,
            scale={"cmap": "cividis", "vmin": 0, "vmax": 1},
        )
        ax.set_xlabel(xlabel)
    axes[0, 0].set_ylabel(ylabel)
    figure.colorbar(image, ax=axes, label=label, ticks=[0, 0.5, 1], aspect=25)
    plt.show()


def _annotated(
    ax: Axes,
    matrix: np.ndarray,
    ticks: tuple[Sequence[float], Sequence[float]],
    *,
    entry: Callable[[float], str],
    dark: Callable[[float], bool],
    size: int,
    scale: Mapping[str, object],
) -> AxesImage:
    """Draw a matrix with its entries in the cells, white where the cell is dark.

    ticks says what rows and columns are, entry how a value is written, scale how it
    is colored.
    """
    image = ax.imshow(matrix, aspect="auto", **scale)
    for (row, column), value in np.ndenumerate(matrix):
        ink = "white" if dark(value) else "black"
        place = {"ha": "center", "va": "center"}
        ax.text(column, row, entry(value), size=size, color=ink, **place)
    rows, columns = ticks
    ax.set_xticks(range(len(columns)), [f"{column:g}" for column in columns])
    ax.set_yticks(range(len(rows)), [f"{row:g}" for row in rows])
    ax.grid(False)
    return image
