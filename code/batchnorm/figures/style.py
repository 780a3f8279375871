"""The style of every figure: its colors, each by what it means, dashes and panels.

The colors themselves stand in ``book.mplstyle`` alone.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

STYLE = Path(__file__).with_name("book.mplstyle")
_CYCLE = mpl.rc_params_from_file(STYLE, use_default_template=False)["axes.prop_cycle"]

BLUE, VERMILION, GREEN, PINK, ORANGE, SKY, GRAY = PALETTE = tuple(
    _CYCLE.by_key()["color"]
)
#: With and without batch normalization, or whatever else is held against a baseline.
WITH, WITHOUT = BLUE, VERMILION
#: What is right, or satisfies what was asked, and what does not.
RIGHT, FAULT = BLUE, VERMILION
#: What flows forward through a network, and what comes back.
VALUE, GRADIENT = BLUE, VERMILION
#: Where values lie: from the low ones to the high ones.
RANGE = SKY
#: What is given and not measured: thresholds, axes, the rule behind made-up data.
REFERENCE = GRAY
#: Level curves, of which there are many: lighter than the palette.
LEVELS = "#9a9a9a"
#: The distribution that is learned from, and the one that is met.
SOURCE, TARGET = SKY, PINK

#: Labels that mean the same in every figure.
MEANINGS = {"with": WITH, "without": WITHOUT, "source": SOURCE, "target": TARGET}
MEANINGS |= {"batch": WITH}  # beside other norms it goes by its name

#: A line has a dash too, never a color alone. This is their order.
DASHES = ("-", "--", ":", "-.")

#: Inches; a page shows them as 700 pixels.
WIDTH = 7
#: The same of a figure that is laid out for a slide.
WIDE = 11.2


def use_style() -> None:
    """Load the style of the book; in a notebook, draw for screens of 2x density."""
    plt.style.use(STYLE)
    try:
        from IPython import get_ipython
        from matplotlib_inline.backend_inline import set_matplotlib_formats
    except ImportError:  # outside a notebook IPython is not needed
        return
    if get_ipython() is not None:
        # bbox_inches=None keeps the size of the style file; the default crops.
        set_matplotlib_formats("retina", bbox_inches=None)


def colors(
    labels: Iterable[str], *, baseline: str | None = None, reference: str | None = None
) -> dict[str, str]:
    """Give each label its color: by its meaning, or else the next of the palette.

    Parameters
    ----------
    labels : iterable of str
        What the legend says, at most seven. A label in `MEANINGS` has that color.
        Beside one that has the color of `WITH`, no other norm gets that of `WITHOUT`
        as long as there is another.
    baseline : str, optional
        The label of what the others are held against; it has the color of `WITHOUT`.
    reference : str, optional
        The label of what is given rather than measured.

    Returns
    -------
    dict
        The color of each label, in the order of the labels.

    Raises
    ------
    ValueError
        If there are more labels than colors, or baseline or reference is none of them.
    """
    labels = list(labels)
    if len(labels) > len(PALETTE):
        raise ValueError(
            f"labels has {len(labels)} entries; allowed are at most {len(PALETTE)}"
        )
    for name, label in {"baseline": baseline, "reference": reference}.items():
        if label is not None and label not in labels:
            raise ValueError(f"{name} is {label!r}; allowed are {', '.join(labels)}")
    meant = MEANINGS | {baseline: WITHOUT, reference: REFERENCE}
    chosen = {label: meant[label] for label in labels if label in meant}
    rest = [color for color in PALETTE if color not in chosen.values()]
    if WITH in chosen.values():
        rest.sort(key=lambda color: color == WITHOUT)  # which comes last
    others = iter(rest)
    return {label: chosen.get(label) or next(others) for label in labels}


def dashes(labels: Iterable[str]) -> dict[str, str]:
    """Give each label its dash, in the order of `DASHES`.

    Parameters
    ----------
    labels : iterable of str
        What the legend says.

    Returns
    -------
    dict
        The dash of each label; a fifth has that of the first.
    """
    return {label: DASHES[i % len(DASHES)] for i, label in enumerate(labels)}


def logarithmic(ax: Axes, which: str, ticks: Iterable[float] | None = None) -> None:
    """Make an axis logarithmic, with ticks at these numbers, or as Matplotlib has them.

    Parameters
    ----------
    ax : Axes
    which : {"x", "y"}
    ticks : iterable of float, optional
        Where ticks stand; each is labeled with the number itself.
    """
    ax.set(**{f"{which}scale": "log"})
    if ticks is not None:
        axis = getattr(ax, f"{which}axis")
        axis.set_ticks([*ticks], [f"{tick:g}" for tick in ticks])
        axis.set_minor_locator(NullLocator())


def titled_panels(
    panels: Mapping[str, object],
    row_height: float,
    *,
    margin: float = 0,
    columns: int | None = None,
    **shared: bool,
) -> tuple[plt.Figure, np.ndarray]:
    """Make a figure with a panel under each title.

    Parameters
    ----------
    panels : mapping
        Its keys are the titles.
    row_height, margin : float
        Inches of a row of panels, and beside all rows.
    columns : int, optional
        Panels in a row. By default all of them.
    **shared
        ``sharex``, ``sharey``: whether the panels have one scale.

    Returns
    -------
    figure : Figure
    axes : ndarray of Axes, shape (rows, columns)
    """
    columns = columns or len(panels)
    rows = -(-len(panels) // columns)
    size = (WIDTH, margin + row_height * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, **shared)
    for ax, title in zip(axes.flat, panels, strict=True):
        ax.set_title(title)
    return figure, axes
