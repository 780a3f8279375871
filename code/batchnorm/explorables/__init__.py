"""Figures that come alive on the site: what Python knows of each.

A module holds the controls of one, its question, its numbers (computed by `batchnorm`),
the places of what is drawn, its sentence and its static picture. The script that moves
it, ``_static/explorables/NAME.js``, is compared with all of them in a browser.
"""

import matplotlib.pyplot as plt

from batchnorm.explorables.cannot_pass import CANNOT_PASS
from batchnorm.explorables.companions import COMPANIONS
from batchnorm.explorables.descent import DESCENT
from batchnorm.explorables.effective_rate import EFFECTIVE_RATE
from batchnorm.explorables.figure_one import FIGURE_ONE
from batchnorm.explorables.kinds import Explorable, canvas
from batchnorm.explorables.node_by_node import NODE_BY_NODE
from batchnorm.explorables.running_averages import RUNNING_AVERAGES
from batchnorm.explorables.saturation import SATURATION
from batchnorm.explorables.shared_means import SHARED_MEANS

EXPLORABLES: dict[str, Explorable] = {
    figure.name: figure
    for figure in (
        COMPANIONS,
        CANNOT_PASS,
        NODE_BY_NODE,
        EFFECTIVE_RATE,
        DESCENT,
        SATURATION,
        RUNNING_AVERAGES,
        FIGURE_ONE,
        SHARED_MEANS,
    )
}


def show(name: str) -> None:
    """Draw the static picture of a figure, which comes alive on the site.

    Parameters
    ----------
    name : str
        One of `EXPLORABLES`. The metadata of the cell name it too:
        ``"mystnb": {"explorable": name}``.

    Raises
    ------
    ValueError
        If there is no explorable of that name.
    """
    if name not in EXPLORABLES:
        raise ValueError(f"name is {name!r}; allowed are {', '.join(EXPLORABLES)}")
    figure = EXPLORABLES[name]
    state = figure.default
    figure.draw(canvas(figure.height), state, figure.values(state))
    plt.show()
