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
    SMALL,
    TITLE,
    Choice,
    Guess,
    Range,
    fixed,
    framed,
    linear,
    or_beyond,
)
from batchnorm.figures.style import RANGE, REFERENCE, WITH, WITHOUT

RECORDED = figure1.load()
STEPS = tuple(RECORDED["steps"])
LAST = len(STEPS) - 1
ARMS = {"without": "none", "with": "batch"}
COLORS = {"without": WITHOUT, "with": WITH}

HEIGHT, TOP, BOTTOM, ROW = 396, 44, 244, 334
LEFT, RIGHT = 52, 660
FRAME, LINE = (LEFT, TOP, RIGHT, BOTTOM), (LEFT, 0, RIGHT, HEIGHT)
#: Of accuracy and of lead, in percent and in points: interval and ticks.
SCALES = {
    "all": {"accuracy": [0, 100], "ticks": [0, 25, 50, 75, 100]}
    | {"lead": [-10, 70], "leads": [0, 20, 40, 60]},
    "top": {"accuracy": [90, 100], "ticks": [90, 95, 100]}
    | {"lead": [-2, 6], "leads": [-2, 0, 2, 4, 6]},
}
ACCURACIES = {"all": "from 0 %", "top": "from 90 %"}
SETTINGS = {
    name: f"{name}: std {s['scale']:g}{'/√fan-in' * s['fan_in']}, rate {s['lr']:g}"
    for name, s in RECORDED["settings"].items()
}
SHOWN = [0, 1000, 5000, 10_000, 20_000, 30_000, 50_000]

LABEL = "Test accuracy over the steps, with and without batch normalization"
CONTROLS = [
    Choice("setting", "Setting", SETTINGS, "C", "The networks"),
    Range("record", "step", 0, LAST, 1, STEPS.index(5000), at=STEPS, group="Look at"),
    Choice("scale", "Accuracy", ACCURACIES, "all", "Look at"),
]
GUESS = Guess(
    "The picture is of setting C: initial weights of std 0.1, learning rate 3. Setting "
    "A has the same weights and the rate 0.1. By how much does batch normalization "
    "lead there after 1000 steps?",
    ["by 1 or 2 points, as at C", "by about 10 points", "by about 40 points"],
    2,
    "After 1000 steps with the rate 0.1 the network without batch normalization reads "
    "half of the images right, at C nine of ten. With batch normalization it is nine "
    "of ten at both rates.",
    {"setting": "A", "record": STEPS.index(1000)},
    [
        "at C the rate is the best for the network without batch normalization, and a "
        "thirtieth of it is not.",
        "so it is after 2000 steps; after 1000 the other is only beginning to rise.",
        "",
    ],
)
VISITS = {
    "A after 250 steps": {"setting": "A", "record": STEPS.index(250)},
    "B after 10000 steps": {"setting": "B", "record": STEPS.index(10_000)},
    "B at the end, from 90 %": {"setting": "B", "record": LAST, "scale": "top"},
    "D, a scale made for sigmoids": {"setting": "D", "record": STEPS.index(1000)},
    "C from 90 %": {"scale": "top"},
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
    at = state["record"]
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
    """Pixel of an accuracy, also beyond the axis."""
    to = linear(SCALES[state["scale"]]["accuracy"], (BOTTOM, TOP))
    return to(np.asarray(percent))


def lead_at(state, points):
    """Pixel of a lead, also beyond the line."""
    to = linear(SCALES[state["scale"]]["lead"], (LEFT, RIGHT))
    return to(np.asarray(points))


def seed_row(i: int) -> float:
    """Pixel of a seed: each has a row, so that none hides another."""
    return ROW - 13 + 2.6 * i


def median(state, arm, step):
    """Pixel of the median of an arm at a recorded step."""
    counts = correct(state["setting"], arm)[:, STEPS.index(step)]
    return across(step), height(state, np.median(counts) / 100)


def marks(state, values) -> dict:
    """Medians at the step and at the end, when the other got there, leads."""
    step = STEPS[state["record"]]
    places = {}
    for arm in ARMS:
        places[f"end_{arm}"] = median(state, arm, STEPS[-1])
        or_beyond(places, arm, median(state, arm, step), FRAME)
    if values["there"] is not None:
        or_beyond(places, "there", median(state, "with", values["there"]), FRAME)
    for i, points in enumerate(values["seeds"]):
        spot = (lead_at(state, points), seed_row(i))
        or_beyond(places, f"seed_{i}", spot, LINE)
    or_beyond(places, "lead", (lead_at(state, values["lead"][1]), ROW + 16), LINE)
    # The handle stays in reach.
    places["without"] = places.get("without") or places["without_beyond"]
    return {name: (float(x), float(y)) for name, (x, y) in places.items()}


def sentence(state, values) -> str:
    """What the picture shows."""
    without, batch = (fixed(values[arm][1], 1) for arm in ARMS)
    low, middle, high = (fixed(v, 1) for v in values["lead"])
    there = values["there"]
    when = f"never has {without} %"
    if there is not None:
        when = f"has {without} % by step {there}"
    when += ", the first record after the start" if there == STEPS[1] else ""
    return (
        f"Setting {state['setting']}, after {STEPS[state['record']]} steps: the median "
        f"seed reads {without} % of the images right without batch normalization, "
        f"{batch} % with it. The leads of batch normalization, seed by seed, have the "
        f"median {middle} points, from {low} to {high}. With batch normalization the "
        f"median seed {when}."
    )


def draw(ax, state, values) -> None:
    """The static picture."""
    at, scale = marks(state, values), SCALES[state["scale"]]
    ax.text(LEFT, 20, "test accuracy", **TITLE)
    for arm, x in (("without", 505), ("with", RIGHT)):
        text = f"{arm} {fixed(values[arm][1], 1)} %"
        ax.text(x, 20, text, color=COLORS[arm], ha="right", **TITLE)
    _axes(ax, state, scale)
    frame = framed(ax, FRAME)
    for arm, color in COLORS.items():
        counts = summary(correct(state["setting"], arm) / 100)
        low, middle, high = (height(state, part) for part in counts)
        x = across(STEPS)
        style = {"color": color, "clip_path": frame}
        ax.fill_between(x, low, high, alpha=0.16, linewidth=0, **style)
        dash = "--" if arm == "without" else "-"
        ax.plot(x, middle, dash, linewidth=1.4, **style)
        ax.plot(x, middle, "o", markersize=2.6, markeredgewidth=0, **style)
    x = at["without"][0]
    ax.plot((x, x), (TOP, BOTTOM), ":", color=REFERENCE, linewidth=1)
    if "there" in at:
        there, level = at["there"][0], at["without"][1]
        corner = (x, there, there), (level, level, at["there"][1])
        ax.plot(*corner, ":", color=REFERENCE, linewidth=1)
        ax.plot(*at["there"], "o", color=REFERENCE, markersize=5)
    for arm, color in COLORS.items():
        ax.plot(*at[arm], "o", color=color, markersize=10)
    _leads(ax, at, values)


def _axes(ax, state, scale) -> None:
    ax.plot((LEFT, RIGHT), (BOTTOM, BOTTOM), color=REFERENCE, linewidth=1)
    for step in SHOWN:
        ax.text(across(step), BOTTOM + 16, str(step), ha="center", **SMALL)
    for tick in scale["ticks"]:
        ax.text(LEFT - 8, height(state, tick), str(tick), ha="right", **SMALL)
    y = ROW + 18
    ax.plot((LEFT, RIGHT), (y, y), color=REFERENCE, linewidth=1.2, zorder=1)
    for tick in scale["leads"]:
        x = lead_at(state, tick)
        ax.plot((x, x), (y, y + 6), color=REFERENCE, linewidth=1)
        ax.text(x, y + 22, fixed(tick, 0), ha="center", **SMALL)


def lead_said(values) -> str:
    """The lead, as it is written above its line."""
    low, middle, high = (fixed(v, 1) for v in values["lead"])
    return f"median {middle} points, {low} to {high}"


def _leads(ax, at, values) -> None:
    ax.text(LEFT, ROW - 34, "lead of each seed", **TITLE)
    ax.text(RIGHT, ROW - 34, lead_said(values), size=11.5, ha="right", va="center")
    ends = at["lead"][0], at["lead"][0]
    ax.plot(ends, (ROW - 18, ROW + 16), color=REFERENCE, linewidth=2, zorder=2)
    for i in range(len(values["seeds"])):
        ax.plot(*at[f"seed_{i}"], "o", color=RANGE, markersize=5, zorder=3)


def states():
    """Every setting on both scales at many steps, both ends among them."""
    usual = {control.name: control.default for control in CONTROLS}
    yield from (usual | visit for visit in ({}, GUESS.reveal, *VISITS.values()))
    records = (*range(4), 4, 8, 12, 16, 19, 25, 30, 40, 58, LAST)
    settings = RECORDED["settings"]
    for setting, scale, record in itertools.product(settings, SCALES, records):
        yield {"setting": setting, "record": record, "scale": scale}
    rng = np.random.default_rng(0)
    for _ in range(90):
        setting, scale = str(rng.choice([*settings])), str(rng.choice([*SCALES]))
        record = int(rng.integers(len(STEPS)))
        yield {"setting": setting, "record": record, "scale": scale}


#: What else the script needs.
DATA = {
    "steps": STEPS,
    "correct": {
        setting: {arm: correct(setting, arm).tolist() for arm in ARMS}
        for setting in RECORDED["settings"]
    },
    "scales": SCALES,
    "shown": SHOWN,
    "frame": FRAME,
    "line": LINE,
}
