"""Figures that come alive on the site: what Python knows of each.

A module holds the controls of one, its question, its numbers (computed by `batchnorm`),
the places of what is drawn, its sentence and its static picture. The script that moves
it, ``_static/explorables/NAME.js``, is compared with all of them in a browser.
"""

import matplotlib.pyplot as plt

from batchnorm.explorables import (
    cannot_pass,
    companions,
    descent,
    effective_rate,
    figure_one,
    node_by_node,
    running_averages,
    saturation,
    shared_means,
)
from batchnorm.explorables.kinds import Explorable, canvas

MODULES = (
    companions, cannot_pass, node_by_node, effective_rate, descent, saturation,
    running_averages, figure_one, shared_means,
)  # fmt: skip
EXPLORABLES = {figure.name: figure for figure in map(Explorable.of, MODULES)}


def show(name: str) -> None:
    """Draw the static picture of a figure, which comes alive on the site.

    The name is one of `EXPLORABLES`, or a `ValueError` says so. The metadata of the
    cell name it too: ``"mystnb": {"explorable": name}``.
    """
    if name not in EXPLORABLES:
        raise ValueError(f"name is {name!r}; allowed are {', '.join(EXPLORABLES)}")
    figure = EXPLORABLES[name]
    state = figure.default
    figure.draw(canvas(figure.height), state, figure.values(state))
    plt.show()
