"""What an explorable is made of: its controls, its question, and the canvas it is on.

A state is a dict of the value of each control. Pixels are those of the picture, counted
from its upper left corner, in Python and in the script alike.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

WIDTH = 700  # pixels, as a figure of `style.WIDTH` inches is shown


@dataclass(frozen=True)
class Range:
    """A number that the reader sets.

    Parameters
    ----------
    name, label : str
        What the state calls it, and what the reader does.
    low, high, step, default : float
        The values it can have, and the one in the static picture.
    unit : str
        Written behind the value.
    power : bool
        Whether the value is an exponent of ten.
    at : tuple
        What each whole number from 0 on stands for, and reads as.
    group : str
        The heading of the controls that it stands among.
    """

    name: str
    label: str
    low: float
    high: float
    step: float
    default: float
    unit: str = ""
    power: bool = False
    at: tuple = ()
    group: str = ""

    def reads(self, value) -> str:
        """The value as the page writes it."""
        if self.at:
            return f"{self.at[value]}{self.unit}"
        if self.power:
            return "10" + str(value).translate(str.maketrans("-0123456789", RAISED))
        digits = len(str(self.step).partition(".")[2])
        return fixed(value, digits) + self.unit


@dataclass(frozen=True)
class Choice:
    """One of several words; `options` maps each to what the reader sees."""

    name: str
    label: str
    options: dict[str, str]
    default: str
    group: str = ""


@dataclass(frozen=True)
class Guess:
    """The question before the figure.

    Parameters
    ----------
    question : str
    options : list of str
    right : int
        The place of the right one.
    answer : str
        Why it is, in one or two sentences. It may follow on any of `why`.
    reveal : dict
        What to change of the state when the reader has committed, so that the figure
        shows the answer.
    why : list of str
        For each option, what is wrong with the reasoning that leads to it: a sentence,
        which follows a colon. Empty for the right one.
    """

    question: str
    options: list[str]
    right: int
    answer: str
    reveal: dict
    why: list[str]


@dataclass(frozen=True)
class Explorable:
    """An interactive figure, as Python knows it.

    Parameters
    ----------
    name : str
        As in ``_static/explorables/NAME.js``.
    label : str
        What it is, for those who hear it.
    height : int
        Pixels; the width is that of every figure.
    controls : list of Range and Choice
    guess : Guess
    visits : dict
        States worth a visit, by the words of the link to each.
    values : callable
        From a state to its numbers, computed by `batchnorm`: a dict of float, of lists
        of float, and of None where there is none.
    marks : callable
        From a state and its values to the places, (x, y) in pixels, of what is drawn.
    sentence : callable
        From a state and its values to what the picture shows, in words.
    draw : callable
        From axes in pixels, a state and its values: draws the static picture.
    states : callable
        The states that the script is compared at, edges included.
    data : dict
        What else the script needs.
    """

    name: str
    label: str
    height: int
    controls: list
    guess: Guess
    visits: dict[str, dict]
    values: Callable
    marks: Callable
    sentence: Callable
    draw: Callable
    states: Callable
    data: dict = field(default_factory=dict)

    @property
    def default(self) -> dict:
        """The state of the static picture."""
        return {control.name: control.default for control in self.controls}


RAISED = "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"


def fixed(value: float, digits: int = 2) -> str:
    """Write a number with so many digits after the point, as the script writes it.

    Ties go away from zero, also those that a rounding error hides; there is no −0.
    """
    whole = math.floor(abs(value) * 10**digits + 0.5 + 1e-9)
    sign = "−" if value < 0 and whole else ""
    integer, rest = divmod(whole, 10**digits)
    return f"{sign}{integer}" + (f".{rest:0{digits}}" if digits else "")


def linear(domain, pixels):
    """Return the function that takes an interval of values to one of pixels."""
    (a, b), (p, q) = domain, pixels
    return lambda value: p + (value - a) / (b - a) * (q - p)


def arrow(ax: Axes, start, tip, color: str, width: float, size: float = 9) -> None:
    """Draw an arrow as the script does: a shaft, and barbs unless it is too short."""
    style = {"color": color, "linewidth": width, "solid_capstyle": "round"}
    start, tip = np.array(start), np.array(tip)
    length = np.hypot(*(tip - start))
    ax.plot(*np.transpose([start, tip]), **style)
    if length >= size:
        u, v = (tip - start) / length * size
        barbs = [tip - (u, v) + (v / 2, -u / 2), tip, tip - (u, v) - (v / 2, -u / 2)]
        ax.plot(*np.transpose(barbs), solid_joinstyle="round", **style)


def beyond(point, box, size: float = 13):
    """Return the corners of the arrowhead for a point beyond a box, or None inside it.

    The box is (left, top, right, bottom); the first corner is the tip, on its edge.
    """
    left, top, right, bottom = box
    tip = np.array([min(max(point[0], left), right), min(max(point[1], top), bottom)])
    out = np.array(point, dtype=float) - tip
    far = np.hypot(*out)
    if far < 0.01:
        return None
    u, v = out / far * size
    return np.array(
        [tip, tip - (u, v) + (v / 2, -u / 2), tip - (u, v) - (v / 2, -u / 2)]
    )


def or_beyond(places: dict, name: str, point, box) -> None:
    """Note a place, or that of the arrowhead for what lies beyond its box."""
    head = beyond(point, box)
    found = point if head is None else head[0]
    places[name if head is None else f"{name}_beyond"] = tuple(map(float, found))


def framed(ax: Axes, box) -> Rectangle:
    """Return what a line is clipped by, so that it ends where it leaves a box."""
    left, top, right, bottom = box
    size = right - left, bottom - top
    return Rectangle((left, top), *size, transform=ax.transData)


def canvas(height: int) -> Axes:
    """Axes as large as a figure of that height, whose units are pixels of the page."""
    figure = plt.figure(figsize=(WIDTH / 100, height / 100), layout="none")
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, WIDTH), ylim=(height, 0))
    ax.axis("off")
    return ax
