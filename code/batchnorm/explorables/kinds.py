"""What an explorable is made of: its controls, its question, and the canvas it is on.

A state is a dict of the value of each control. Pixels are those of the picture, counted
from its upper left corner, in Python and in the script alike.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

WIDTH = 700  # pixels, as a figure of `style.WIDTH` inches is shown


@dataclass(frozen=True)
class Range:
    """A number that the reader sets."""

    name: str  # in the state
    label: str  # what the reader does
    low: float
    high: float
    step: float
    default: float  # in the static picture
    unit: str = ""  # written behind the value
    power: bool = False  # whether the value is an exponent of ten
    at: tuple = ()  # what each whole number from 0 on stands for, and reads as
    group: str = ""  # the heading of the controls that it stands among

    def reads(self, value) -> str:
        """The value as the page writes it."""
        if self.at:
            return f"{self.at[value]}{self.unit}"
        if self.power:
            return power_of_ten(value)
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
    """The question before the figure."""

    question: str
    options: list[str]
    right: int  # the place of the right option
    answer: str  # why it is right: one or two sentences, that may follow on any `why`
    reveal: dict  # what to change of the state for the figure to show the answer
    why: list[str]  # what is wrong with each option, after a colon; "" for the right


@dataclass(frozen=True)
class Explorable:
    """An interactive figure, as Python knows it; `of` reads it from a module.

    A state is turned into numbers by `values`; from a state and its values follow the
    rest: `marks`, `sentence` and, with axes in pixels before them, `draw`.
    """

    name: str  # as in ``_static/explorables/NAME.js``
    label: str  # what it is, for those who hear it
    height: int  # pixels; the width is that of every figure
    controls: list[Range | Choice]
    guess: Guess
    visits: dict[str, dict]  # states worth a visit, by the words of the link to each
    data: dict  # what else the script needs
    values: Callable  # -> dict of float, lists of float, and None where there is none
    marks: Callable  # -> dict of places, (x, y) in pixels, of what is drawn
    sentence: Callable  # -> what the picture shows, in words
    draw: Callable  # the static picture
    states: Callable  # () -> the states that the script is compared at, edges included

    @classmethod
    def of(cls, module):
        """The figure of a module: its LABEL, HEIGHT, ..., its values, marks, ..."""
        name = module.__name__.rpartition(".")[2].replace("_", "-")
        constants = ("label", "height", "controls", "guess", "visits", "data")
        functions = ("values", "marks", "sentence", "draw", "states")
        parts = {part: getattr(module, part.upper()) for part in constants}
        return cls(name, **parts, **{f: getattr(module, f) for f in functions})

    @property
    def default(self) -> dict:
        """The state of the static picture."""
        return {control.name: control.default for control in self.controls}


#: How titles and smaller words are written.
TITLE = {"size": 11.5, "va": "center", "weight": "bold"}
SMALL = {"size": 10.5, "va": "center"}
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def power_of_ten(exponent: int) -> str:
    """Write 10 with a raised exponent."""
    return "10" + str(exponent).translate(RAISED)


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
