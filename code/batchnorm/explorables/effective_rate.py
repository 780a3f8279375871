r"""Effective rate: how long weights are, and how far a step turns them, by theory.

For ε = 0 and a gradient of the length G/‖w‖ at a right angle to the weights, a step
with rate η and decay λ makes of the length r the length
:math:`\sqrt{((1-\eta\lambda)\,r)^2 + (\eta G/r)^2}`, and turns the weights by the angle
between these two sides. Here G = 1. Nothing is trained.
"""

import itertools
import math

import numpy as np

from batchnorm.explorables.kinds import Guess, Range, fixed, linear
from batchnorm.figures.style import GRADIENT, REFERENCE, VALUE

STEPS, NEAR = 3000, 0.05
LABEL = "Length of the weights and angle of a step, by theory"
CONTROLS = [
    Range("rate", "rate η", 0.02, 1, 0.02, 0.1, group="Training"),
    Range("decay", "decay λ", 0, 0.1, 0.005, 0, group="Training"),
    Range("first", "first unit", 0.05, 2, 0.05, 0.15, group="Length at the start"),
    Range("second", "second unit", 1, 20, 0.5, 10, group="Length at the start"),
    Range("step", "at step", 0, STEPS, 5, 1000, group="What is read"),
]
GUESS = Guess(
    "So far λ is 0. It becomes 0.02, and growth and decay balance at the length 1.26. "
    "One unit starts at 0.15, about eight times shorter, the other at 10, eight times "
    "longer. Which is near the balance first?",
    ["the short one", "the long one", "both at about the same time"],
    0,
    "Short weights have a long gradient: the first step takes them from 0.15 to 0.68. "
    "Of long ones decay takes the share ηλ a step, here two in a thousand, however "
    "long they are: down to an eighth that takes about ln 8/(ηλ) = 1040 steps, and to "
    "within 5 % some more.",
    {"decay": 0.02},
    [
        "",
        "its steps are the small ones: a long weight has a short gradient.",
        "in logarithms both are equally far, but what moves them is not the same.",
    ],
)
VISITS = {
    "four times η, a quarter of λ": {"rate": 0.4, "decay": 0.005},
    "a start that is too short": {"decay": 0.02, "first": 0.05},
    "five times the decay": {"decay": 0.1},
    "the long one is first": {"rate": 1, "decay": 0.1, "first": 0.05},
}


def course(start, rate, decay) -> tuple[list, list]:
    """Length before each step, and the angle by which the step turns the weights."""
    lengths, angles, length = [], [], start
    for _ in range(STEPS + 1):
        kept, across = (1 - rate * decay) * length, rate / length
        lengths.append(length)
        angles.append(math.atan2(across, kept))
        length = math.sqrt(kept * kept + across * across)
    return lengths, angles


def arrival(lengths, balance) -> int | None:
    """The step from which on a length stays near the balance, if there is one."""
    after = 0
    for step, length in enumerate(lengths):
        if abs(length - balance) > NEAR * balance:
            after = step + 1
    return after if after <= STEPS else None


def values(state) -> dict:
    """Balance, what is read of both units, and when each is near the balance."""
    rate, decay = float(state["rate"]), float(state["decay"])
    starts = float(state["first"]), float(state["second"])
    both = [course(start, rate, decay) for start in starts]
    balance = math.sqrt(math.sqrt(rate / (2 * decay))) if decay else None
    at = state["step"]
    return {
        "balance": balance,
        "turn": math.sqrt(2 * rate * decay) if decay else None,
        "lengths": [lengths[at] for lengths, _ in both],
        "lengths_after_one": [lengths[1] for lengths, _ in both],
        "angles": [angles[at] for _, angles in both],
        "last": [[lengths[-1], angles[-1]] for lengths, angles in both],
        "near": [arrival(lengths, balance) if decay else None for lengths, _ in both],
    }


def sentence(state, values) -> str:
    """What the picture shows."""
    first, second = fixed(state["first"]), fixed(state["second"], 1)
    a, b = (fixed(angle, 4) for angle in values["angles"])
    read = f"Step {state['step']} turns the weights by {a} and {b}."
    if values["balance"] is None:
        a, b = (fixed(length) for length, _ in values["last"])
        return (
            f"Theory, with G = 1: without decay there is no balance. In {STEPS} steps "
            f"the length {first} becomes {a}, and {second} becomes {b}. {read}"
        )
    a, b = (
        f"after {near} steps" if near is not None else f"not in {STEPS} steps"
        for near in values["near"]
    )
    over = fixed(values["lengths_after_one"][0])
    return (
        f"Theory, with G = 1: balance at the length {fixed(values['balance'])}, with "
        f"steps that turn by √(2ηλ) = {fixed(values['turn'], 4)}. The start {first} is "
        f"at {over} after one step, and within 5 % of balance {a}; the start "
        f"{second} {b}. {read}"
    )


# ---------------------------------------------------------------------------
# In pixels

HEIGHT, PIXELS, HANDLE, CROWDED = 452, (74, 676), 404, 60
#: Of each panel: name, ends of the axis, ends in pixels, and ticks.
PANELS = {
    "length": ("length ‖w‖", (0.05, 20), (186, 44), (0.1, 1, 10)),
    "angle": ("angle of a step (radians)", (1e-4, 2), (390, 246), (1e-3, 0.01, 0.1, 1)),
}
TICKS = (0, 10, 100, 500, 1000, 2000, 3000)


def X(step) -> float:
    """Pixel of a step; the first ones get more room, as the root has it."""
    return linear((0, math.sqrt(STEPS)), PIXELS)(math.sqrt(step))


def up(panel, value) -> float:
    """Pixel of a value on the logarithmic axis of a panel, its ends at most."""
    _, ends, pixels, _ = PANELS[panel]
    y = linear([math.log10(end) for end in ends], pixels)(math.log10(value))
    return min(max(y, pixels[1]), pixels[0])


def marks(state, values) -> dict:
    """Ends of the curves, what is read, the balance, and where it is reached."""
    x, right = X(state["step"]), PIXELS[1]
    found = {"step": (x, HANDLE)}
    if values["balance"] is not None:
        found["balance_length"] = right, up("length", values["balance"])
        found["balance_angle"] = right, up("angle", values["turn"])
    for i, which in enumerate(("first", "second")):
        length, angle = values["last"][i]
        found[f"{which}_length"] = right, up("length", length)
        found[f"{which}_angle"] = right, up("angle", angle)
        found[f"read_{which}_length"] = x, up("length", values["lengths"][i])
        found[f"read_{which}_angle"] = x, up("angle", values["angles"][i])
        if values["near"][i] is not None:
            found[f"near_{which}"] = X(values["near"][i]), PANELS["length"][2][0]
    return found


def said(values, i) -> tuple[float, float]:
    """Place of the number at an arrival; the second is higher where both are near."""
    x, (low, _) = X(values["near"][i]), PANELS["length"][2]
    near = values["near"][1 - i]
    crowded = i == 1 and near is not None and abs(x - X(near)) < CROWDED
    return min(x, PIXELS[1] - 24), low - (44 if crowded else 24)


def draw(ax, state, values) -> None:
    """The static picture."""
    at = marks(state, values)
    _axes(ax, state)
    (x, y), top = at["step"], PANELS["length"][2][1]
    ax.plot((x, x), (y, top), ":", color=REFERENCE, linewidth=1)
    ax.plot(x, y, "o", color=REFERENCE, markersize=16)
    if "balance_length" in at:
        for panel, name in (("length", "balance"), ("angle", "√(2ηλ)")):
            y = at[f"balance_{panel}"][1]
            ax.plot(PIXELS, (y, y), color=REFERENCE, linewidth=1.2)
            ax.text(PIXELS[1], y - 12, name, size=11, ha="right", va="center")
    styles = {"first": (VALUE, "-"), "second": (GRADIENT, "--")}
    for i, (which, (color, dash)) in enumerate(styles.items()):
        both = course(float(state[which]), float(state["rate"]), float(state["decay"]))
        for panel, curve in zip(PANELS, both, strict=True):
            steps = [*range(50), *range(50, STEPS + 1, 25)]
            ys = [up(panel, curve[step]) for step in steps]
            ax.plot([X(step) for step in steps], ys, dash, color=color, linewidth=1.8)
            ax.plot(*at[f"read_{which}_{panel}"], "o", color=color, markersize=6)
        if f"near_{which}" in at:
            x, foot = at[f"near_{which}"]
            ax.plot((x, x), (foot - 14, foot), color=color, linewidth=3)
            style = {"size": 11, "ha": "center", "va": "center"}
            ax.text(*said(values, i), str(values["near"][i]), color=color, **style)


def _axes(ax, state) -> None:
    style = {"size": 11, "va": "center"}
    for panel, (name, _, (low, high), ticks) in PANELS.items():
        ax.text(8, high - 22, f"{name}, by theory", weight="bold", **style)
        for tick in ticks:
            y = up(panel, tick)
            ax.plot((PIXELS[0] - 5, PIXELS[0]), (y, y), color=REFERENCE, linewidth=1)
            ax.text(PIXELS[0] - 9, y, f"{tick:g}", ha="right", **style)
        corner = (PIXELS[0], PIXELS[0], PIXELS[1]), (high, low, low)
        ax.plot(*corner, color=REFERENCE, linewidth=1.2)
    for step in TICKS:
        ax.text(X(step), 437, f"{step}", ha="center", **style)
        for _, _, (low, _), _ in PANELS.values():
            ax.plot((X(step),) * 2, (low, low + 5), color=REFERENCE, linewidth=1)
    right = {"ha": "right", "weight": "bold"} | style
    y = PANELS["length"][2][1] - 22
    ax.text(PIXELS[1] - 160, y, f"from {fixed(state['first'])}", color=VALUE, **right)
    ax.text(PIXELS[1], y, f"from {fixed(state['second'], 1)}", color=GRADIENT, **right)


def states():
    """Edges, a grid, and draws."""
    usual = {control.name: control.default for control in CONTROLS}
    yield from (usual | visit for visit in ({}, *VISITS.values()))
    for rate, decay in itertools.product((0.02, 0.1, 1), (0, 0.005, 0.02, 0.1)):
        for first, second in ((0.05, 1), (2, 20)):
            lengths = {"first": first, "second": second}
            for step in (0, 100, STEPS):
                yield {"rate": rate, "decay": decay, "step": step} | lengths
    rng = np.random.default_rng(0)
    for _ in range(125):
        state = {}
        for control in CONTROLS:
            count = rng.integers(round((control.high - control.low) / control.step) + 1)
            state[control.name] = round(float(control.low + count * control.step), 3)
        yield state | {"step": int(state["step"])}


#: What else the script needs.
DATA = {"steps": STEPS, "near": NEAR, "pixels": PIXELS, "ticks": TICKS}
DATA |= {"crowded": CROWDED, "handle": HANDLE, "panels": PANELS}
