"""Figure 1 of the paper, run again: four settings, ten seeds, both arms.

Above, test accuracy over 50,000 steps, median and range over the seeds, as recorded by
``python -m batchnorm.experiments figure1``; below, by how much each seed leads with
batch normalization at the step that is pointed at.
"""

import itertools
from functools import lru_cache

import numpy as np

from batchnorm.experiments import figure1
from batchnorm.explorables.kinds import (
    Choice,
    Explorable,
    Guess,
    Range,
    fixed,
    linear,
)
from batchnorm.figures.style import RANGE, REFERENCE, WITH, WITHOUT

RECORDED = figure1.load()
STEPS = tuple(RECORDED["steps"])
ARMS = {"without": "none", "with": "batch"}
COLORS = {"without": WITHOUT, "with": WITH}

HEIGHT, TOP, BOTTOM, ROW = 384, 44, 244, 334
LEFT, RIGHT = 52, 674
#: Of accuracy and of lead, in percent and in points: interval and ticks.
SCALES = {
    "all": {"accuracy": [0, 100], "ticks": [0, 25, 50, 75, 100]}
    | {"lead": [-10, 70], "leads": [0, 20, 40, 60]},
    "top": {"accuracy": [90, 100], "ticks": [90, 95, 100]}
    | {"lead": [-2, 6], "leads": [-2, 0, 2, 4, 6]},
}
SHOWN = [0, 1000, 5000, 10_000, 20_000, 30_000, 50_000]

CONTROLS = [
    Choice(
        "setting",
        "Setting",
        {
            name: f"{name}: std {s['scale']:g}{'/√fan-in' * s['fan_in']}, "
            f"rate {s['lr']:g}"
            for name, s in RECORDED["settings"].items()
        },
        "C",
        "The networks",
    ),
    Range("step", "step", 0, STEPS[-1], 1000, 5000, group="Look at"),
    Choice(
        "scale",
        "Accuracy",
        {"all": "from 0 %", "top": "from 90 %"},
        "all",
        "Look at",
    ),
]
GUESS = Guess(
    "The picture is of setting C: initial weights of std 0.1, learning rate 3. Setting "
    "A has the same weights and the rate 0.1. By how much does batch normalization "
    "lead there after 1000 steps?",
    ["by 1 or 2 points, as at C", "by about 10 points", "by about 40 points"],
    2,
    "With the rate 0.1 the network without it reads half of the images, at C nine of "
    "ten. With batch normalization it is nine of ten at both rates.",
    {"setting": "A", "step": 1000},
)
VISITS = {
    "the paper's picture": {"setting": "B", "step": 10_000},
    "the end of it": {"setting": "B", "step": 50_000, "scale": "top"},
    "a scale made for sigmoids": {"setting": "D", "step": 1000},
    "C, close up": {"scale": "top"},
}


@lru_cache
def correct(setting: str, arm: str) -> np.ndarray:
    """Right answers on the 10,000 test images, (seeds, steps)."""
    return figure1.select(RECORDED, "correct", setting, ARMS[arm])


def summary(percent) -> list[float]:
    """Least, median and largest over the seeds."""
    parts = percent.min(axis=0), np.median(percent, axis=0), percent.max(axis=0)
    return [part.tolist() for part in parts]


def values(state) -> dict:
    """Both arms at the step, the lead seed by seed, and when the other got there."""
    at = STEPS.index(state["step"])
    arms = {arm: correct(state["setting"], arm) for arm in ARMS}
    lead = (arms["with"][:, at] - arms["without"][:, at]) / 100
    goal = np.median(arms["without"][:, at])
    there = np.median(arms["with"], axis=0) >= goal
    return {arm: summary(counts[:, at] / 100) for arm, counts in arms.items()} | {
        "lead": summary(lead),
        "seeds": lead.tolist(),
        "there": STEPS[there.argmax()] if there.any() else None,
    }


def across(step):
    """Pixel of a step: on a scale of roots, for most happens early."""
    return LEFT + np.sqrt(np.asarray(step) / STEPS[-1]) * (RIGHT - LEFT)


def height(state, percent):
    """Pixel of an accuracy; what lies below the axis is shown at its end."""
    to = linear(SCALES[state["scale"]]["accuracy"], (BOTTOM, TOP))
    return np.minimum(to(np.asarray(percent)), BOTTOM)


def lead_at(state, points):
    """Pixel of a lead; what lies beyond the line is shown at its end."""
    to = linear(SCALES[state["scale"]]["lead"], (LEFT, RIGHT))
    return np.clip(to(np.asarray(points)), LEFT, RIGHT)


def marks(state, values) -> dict:
    """Medians at the step and at the end, when the other got there, leads."""
    x = across(state["step"])
    places = {}
    for arm in ARMS:
        last = np.median(correct(state["setting"], arm)[:, -1]) / 100
        places[arm] = (x, height(state, values[arm][1]))
        places[f"end_{arm}"] = (RIGHT, height(state, last))
    if values["there"] is not None:
        places["there"] = (across(values["there"]), places["without"][1])
    for i, points in enumerate(values["seeds"]):
        places[f"seed_{i}"] = (lead_at(state, points), ROW)
    places["lead"] = (lead_at(state, values["lead"][1]), ROW + 15)
    return {name: (float(x), float(y)) for name, (x, y) in places.items()}


def sentence(state, values) -> str:
    """What the picture shows."""
    without, batch = (fixed(values[arm][1], 1) for arm in ARMS)
    low, middle, high = (fixed(v, 1) for v in values["lead"])
    there = values["there"]
    when = "is not reached" if there is None else f"is reached after {there} steps"
    return (
        f"Setting {state['setting']}, after {state['step']} steps: the median seed "
        f"reads {without} % without batch normalization, {batch} % with it. Seed by "
        f"seed it leads by {middle} points, from {low} to {high}. With it, "
        f"{without} % {when}."
    )


def draw(ax, state, values) -> None:
    """The static picture."""
    at, scale = marks(state, values), SCALES[state["scale"]]
    ax.text(LEFT, 20, "test accuracy", size=11.5, weight="bold", va="center")
    for arm, x in (("without", 540), ("with", RIGHT)):
        text = f"{arm} {fixed(values[arm][1], 1)} %"
        style = {"ha": "right", "va": "center", "weight": "bold"}
        ax.text(x, 20, text, size=11.5, color=COLORS[arm], **style)
    _axes(ax, state, scale)
    for arm, color in COLORS.items():
        counts = summary(correct(state["setting"], arm) / 100)
        low, middle, high = (height(state, part) for part in counts)
        x = across(STEPS)
        ax.fill_between(x, low, high, color=color, alpha=0.16, linewidth=0)
        dash = "--" if arm == "without" else "-"
        ax.plot(x, middle, dash, color=color, linewidth=1.6)
    x = at["without"][0]
    ax.plot((x, x), (TOP, BOTTOM), ":", color=REFERENCE, linewidth=1)
    if "there" in at:
        ends = np.transpose([at["without"], at["there"]])
        ax.plot(*ends, ":", color=REFERENCE, linewidth=1)
        ax.plot(*at["there"], "o", color=REFERENCE, markersize=5)
    for arm, color in COLORS.items():
        ax.plot(*at[arm], "o", color=color, markersize=10)
    _leads(ax, at, values)


def _axes(ax, state, scale) -> None:
    small = {"size": 10.5, "va": "center"}
    ax.plot((LEFT, RIGHT), (BOTTOM, BOTTOM), color=REFERENCE, linewidth=1)
    for step in SHOWN:
        ax.text(across(step), BOTTOM + 16, str(step), ha="center", **small)
    for tick in scale["ticks"]:
        ax.text(LEFT - 8, height(state, tick), str(tick), ha="right", **small)
    ax.plot((LEFT, RIGHT), (ROW, ROW), color=REFERENCE, linewidth=1.2, zorder=1)
    for tick in scale["leads"]:
        x = lead_at(state, tick)
        ax.plot((x, x), (ROW, ROW + 6), color=REFERENCE, linewidth=1)
        ax.text(x, ROW + 28, f"{tick}".replace("-", "−"), ha="center", **small)


def lead_said(values) -> str:
    """The lead, as it is written above its line."""
    low, middle, high = (fixed(v, 1) for v in values["lead"])
    return f"median {middle} points, {low} to {high}"


def _leads(ax, at, values) -> None:
    ax.text(LEFT, ROW - 28, "lead of each seed", size=11.5, weight="bold", va="center")
    right = {"ha": "right", "va": "center", "size": 11.5}
    ax.text(RIGHT, ROW - 28, lead_said(values), **right)
    ends = at["lead"][0], at["lead"][0]
    ax.plot(ends, (ROW - 15, ROW + 15), color=REFERENCE, linewidth=2, zorder=2)
    for i in range(len(values["seeds"])):
        ax.plot(*at[f"seed_{i}"], "o", color=RANGE, markersize=6, zorder=3)


def states():
    """Every setting on both scales at many steps, both ends among them."""
    usual = {control.name: control.default for control in CONTROLS}
    yield from (usual | visit for visit in ({}, GUESS.reveal, *VISITS.values()))
    early = (*range(0, 8000, 1000), 10_000, 15_000, 20_000, 30_000, 43_000, STEPS[-1])
    settings = RECORDED["settings"]
    for setting, scale, step in itertools.product(settings, SCALES, early):
        yield {"setting": setting, "step": step, "scale": scale}
    rng = np.random.default_rng(0)
    for _ in range(90):
        setting, scale = str(rng.choice([*settings])), str(rng.choice([*SCALES]))
        step = 1000 * int(rng.integers(51))
        yield {"setting": setting, "step": step, "scale": scale}


FIGURE_ONE = Explorable(
    name="figure-one",
    label="Test accuracy over the steps, with and without batch normalization",
    height=HEIGHT,
    controls=CONTROLS,
    guess=GUESS,
    visits=VISITS,
    values=values,
    marks=marks,
    sentence=sentence,
    draw=draw,
    states=states,
    data={
        "steps": STEPS,
        "correct": {
            setting: {arm: correct(setting, arm).tolist() for arm in ARMS}
            for setting in RECORDED["settings"]
        },
        "scales": SCALES,
        "shown": SHOWN,
    },
)
