"""Running averages: how far they lag behind the data, and how much they waver.

Above, the means of a hundred mini-batches, their running mean, and where theory has it.
Below, what leaves a mini-batch in training and in inference mode. The data are fixed
draws around a mean that jumps at half time.
"""

import itertools
from functools import lru_cache

import numpy as np

from batchnorm import reference
from batchnorm.explorables.kinds import (
    SMALL,
    TITLE,
    Choice,
    Guess,
    Range,
    beyond,
    fixed,
    framed,
    linear,
    or_beyond,
)
from batchnorm.figures.style import GRADIENT, RANGE, REFERENCE, VALUE
from batchnorm.statistics import RunningStatistics

STEPS, JUMP_AT, MOST, LEVEL = 100, 50, 32, 1.0
#: In hundredths, a row for each step: a mini-batch of m is the first m of a row.
DRAWS = np.rint(
    100 * np.random.default_rng(10).normal(size=(STEPS, MOST)), casting="unsafe"
).astype(int)
#: By how many standard deviations a settled average is off at first, one draw.
START = round(float(np.random.default_rng(11).normal()), 2)
JUMPS = tuple(np.arange(-3, 3.5, 0.5).tolist())
EPS = 1e-5

HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 478, 46, 674, 66, 270
FRAME, LINE = (LEFT, TOP, RIGHT, BOTTOM), (LEFT, 0, RIGHT, HEIGHT)
X = linear((0, STEPS), (LEFT, RIGHT))
#: Of the means: interval and ticks.
SCALES = {
    "all": {"means": [-4, 6.5], "ticks": ["−4", "−2", "0", "2", "4", "6"]},
    "close": {"means": [0.5, 1.5], "ticks": ["0.5", "0.75", "1", "1.25", "1.5"]},
}
LEAVES, ROWS = linear((-6, 6), (LEFT, RIGHT)), {"training": 346, "inference": 410}
#: What is explained, and where.
ABOVE = [["mini-batches", 46], ["data", 222], ["average", 310]]
ABOVE += [["expected ±", 436], ["w = 0.1", 598]]
BELOW = [["example 1", 46], ["others", 204], ["mean", 320], ["± std", 430]]
TRAIL = range(9, STEPS, 10)
USUAL = 0.1
STARTED = {"zero": "now, at 0", "settled": "long ago"}
SHOWN = {"all": "from −4 to 6.5", "close": "from 0.5 to 1.5"}

LABEL = "A running mean, and what leaves in training and in inference mode"
CONTROLS = [
    Range("w", "momentum", 0.01, 1, 0.01, USUAL, group="The average"),
    Choice("start", "It started", STARTED, "zero", "The average"),
    Range("m", "batch size", 2, MOST, 1, 8, group="The data"),
    Range("jump", "jump", -3, 3, 0.5, 2, group="The data"),
    Range("k", "step", 1, STEPS, 1, 56, group="Look at"),
    Choice("axis", "Means", SHOWN, "all", "Look at"),
]
GUESS = Guess(
    "With the momentum w = 0.01 in place of 0.1, the average follows a jump ten times "
    "more slowly. How much smaller is its noise, once it has settled?",
    ["ten times", "about three times", "no smaller: the mini-batches are the same"],
    1,
    "The noise of the average is √(w/(2 − w)) of that of one mini-batch's mean: 0.07 "
    "of it and not 0.23, which are the band and the dashed lines. Mini-batches of ten "
    "times the size buy nearly as much, with no more lag.",
    {"w": 0.01, "k": STEPS, "jump": 0, "start": "settled", "axis": "close"},
    [
        "it averages ten times as many mini-batches, but the noise of a mean falls "
        "only with the root of how many.",
        "",
        "each is as noisy as before, but ten times as many are averaged.",
    ],
)
VISITS = {
    "only the last mini-batch": {"w": 1, "k": 80},
    "mini-batches of two": {"m": 2, "k": 100},
    "the step after the jump": {"k": JUMP_AT + 1},
    "no jump, w = 0.01, from 0": {"w": 0.01, "jump": 0, "k": 100},
    "no jump, close up": {"jump": 0, "start": "settled", "axis": "close"},
}


def level(k: int, jump: float) -> float:
    """Mean of the data in step k, counted from 1."""
    return LEVEL + (jump if k > JUMP_AT else 0)


@lru_cache
def history(w: float, m: int, start: str):
    """Running mean, its noise-free self and running variance for every jump.

    Each is (STEPS, jumps); a jump is a feature.
    """
    running = RunningStatistics(2 * len(JUMPS), momentum=w)
    if start == "settled":
        off = START * noise(w, m, 1, start)
        running.mean = LEVEL + np.repeat([off, 0], len(JUMPS))
    means, variances = [], []
    for k, draws in enumerate(DRAWS[:, :m, None] / 100, 1):
        levels = np.array([level(k, jump) for jump in JUMPS])
        running.update(np.hstack([levels + draws, levels + 0 * draws]))
        means.append(running.mean)
        variances.append(running.var[: len(JUMPS)])
    noisy, smooth = np.split(np.array(means), 2, axis=1)
    return noisy, smooth, np.array(variances)


def course(state):
    """Running mean, what is expected of it and running variance, (STEPS,) each."""
    feature = JUMPS.index(state["jump"])
    parts = history(float(state["w"]), state["m"], state["start"])
    return (part[:, feature] for part in parts)


def noise(w: float, m: int, k, start: str):
    """Standard deviation of the running mean after k steps, for σ = 1."""
    grown = 1 - (1 - w) ** (2 * k) if start == "zero" else 1 + 0 * k
    return np.sqrt(w / (2 - w) * grown / m)


def moved(state) -> int:
    """Steps since the mean that is followed now came up: the jump, or the start."""
    jumped = state["jump"] and state["k"] > JUMP_AT
    return state["k"] - JUMP_AT if jumped else state["k"]


def leaving(state) -> dict:
    """The mini-batch of the step in, and what leaves in both modes, (m,) each."""
    mean, _, var = (part[state["k"] - 1] for part in course(state))
    x = level(state["k"], state["jump"]) + DRAWS[state["k"] - 1, : state["m"]] / 100
    train, _ = reference.forward(x[:, None], None, None, eps=EPS)
    running = np.array([[mean], [var]])
    one, zero = np.ones(1), np.zeros(1)
    evaluated = reference.inference(x[:, None], one, zero, *running, eps=EPS)
    return {"in": x, "training": train[:, 0], "inference": evaluated[:, 0]}


def values(state) -> dict:
    """The average, what theory says of it, and what leaves, after the step."""
    w, k, m, start = float(state["w"]), state["k"], state["m"], state["start"]
    mean, expected, var = course(state)
    leaves = leaving(state)
    _, usual, _ = course(state | {"w": USUAL})
    return {
        "mean": float(mean[k - 1]),
        "var": float(var[k - 1]),
        "batch": float(leaves["in"].mean()),
        "expected": float(expected[k - 1]),
        "noise": float(noise(w, m, k, start)),
        "usual": [float(usual[k - 1]), float(noise(USUAL, m, k, start))],
        "past": float((1 - w) ** moved(state)),
        "trail": mean[TRAIL].tolist(),
        "leaves": {
            mode: [float(v) for v in (y[0], y.mean(), y.std())]
            for mode, y in leaves.items()
            if mode != "in"
        },
    }


def height(state, value):
    """Pixel of a mean, above, also beyond the axis."""
    return linear(SCALES[state["axis"]]["means"], (BOTTOM, TOP))(value)


def marks(state, values) -> dict:
    """Average and mini-batch at the step, the last average, what leaves."""
    x, end = X(state["k"]), STEPS - 1
    _, usual, _ = course(state | {"w": USUAL})
    places = {
        "course": (X(STEPS), height(state, values["trail"][-1])),
        "data": (X(STEPS), height(state, level(STEPS, state["jump"]))),
    }
    if state["w"] != USUAL:
        wide = noise(USUAL, state["m"], STEPS, state["start"])
        places["usual"] = (X(STEPS), float(height(state, usual[end] + wide)))
    for name in ("mean", "batch"):
        or_beyond(places, name, (x, height(state, values[name])), FRAME)
    # The handle stays in reach.
    places["mean"] = places.get("mean") or places["mean_beyond"]
    for mode, row in ROWS.items():
        y = leaving(state)[mode]
        first, middle, spread = values["leaves"][mode]
        or_beyond(places, f"first_{mode}", (LEAVES(first), row), LINE)
        or_beyond(places, f"mean_{mode}", (LEAVES(middle), row + 15), LINE)
        places[f"band_{mode}"] = (LEAVES(middle + spread), row)
        for name, far in (("least", y.min()), ("most", y.max())):
            head = beyond((LEAVES(far), row), LINE)
            if head is not None:
                places[f"{name}_{mode}"] = tuple(head[0].tolist())
    return places


def said(values) -> tuple[str, str, str]:
    """The running mean, what theory expects and its noise, in words."""
    noise = fixed(values["noise"], 3)
    return fixed(values["mean"]), fixed(values["expected"]), noise


def past(state, values) -> str:
    """How much the average has of what it was."""
    weight = f"still has the weight {fixed(100 * values['past'], 0)} %"
    if moved(state) < state["k"]:
        return f"What it was at step {JUMP_AT} {weight}"
    if state["start"] == "zero":
        return f"The 0 that it started with {weight}"
    return "It had settled long before step 1"


def sentence(state, values) -> str:
    """What the picture shows."""
    now = fixed(level(state["k"], state["jump"]))
    mean, expected, noise = said(values)
    other = ""
    if state["w"] != USUAL:
        usual = fixed(values["usual"][0]), fixed(values["usual"][1], 3)
        other = f" (with w = 0.1, {usual[0]} ± {usual[1]})"
    training, inference = (fixed(values["leaves"][mode][1]) for mode in ROWS)
    return (
        f"After step {state['k']} the running mean is {mean}, the data's {now}; theory "
        f"expects {expected} ± {noise}{other}. {past(state, values)}. The mini-batch "
        f"leaves with mean {training} in training mode, {inference} in inference mode, "
        f"which divides by the root of the running variance, {fixed(values['var'])}."
    )


def draw(ax, state, values) -> None:
    """The static picture."""
    _above(ax, state, values)
    _below(ax, state, values)


def _above(ax, state, values) -> None:
    at, m, w = marks(state, values), state["m"], float(state["w"])
    mean, expected, _ = course(state)
    k, inside = np.arange(1, STEPS + 1), {"clip_path": framed(ax, FRAME)}
    spread = noise(w, m, k, state["start"])
    ends = [height(state, expected + sign * spread) for sign in (1, -1)]
    style = {"color": RANGE, "alpha": 0.35, "linewidth": 0}
    ax.fill_between(X(k), *ends, **style, **inside)
    if w != USUAL:
        _, usual, _ = course(state | {"w": USUAL})
        spread = noise(USUAL, m, k, state["start"])
        for edge in (usual - spread, usual + spread):
            style = {"color": VALUE, "linewidth": 1, **inside}
            ax.plot(X(k), height(state, edge), "--", **style)
    jump = [level(step, state["jump"]) for step in (1, JUMP_AT, JUMP_AT + 1, STEPS)]
    steps = X(np.array([0, JUMP_AT + 0.5, JUMP_AT + 0.5, STEPS]))
    levels = height(state, np.array(jump))
    ax.plot(steps, levels, color=REFERENCE, linewidth=1.8, **inside)
    for step in k:
        of = level(step, state["jump"]) + DRAWS[step - 1, :m].mean() / 100
        style = {"color": REFERENCE, "markersize": 3.5, "alpha": 0.55, **inside}
        ax.plot(X(step), height(state, of), "o", **style)
    ax.plot(X(k), height(state, mean), color=VALUE, linewidth=1.6, **inside)
    ax.plot((X(0), X(STEPS)), (BOTTOM + 2,) * 2, color=REFERENCE, linewidth=1)
    for step in range(0, STEPS + 1, 25):
        ax.text(X(step), BOTTOM + 15, str(step), ha="center", **SMALL)
    for text in SCALES[state["axis"]]["ticks"]:
        y = height(state, float(text.replace("−", "-")))
        ax.text(36, y, text, ha="right", **SMALL)
    ax.plot((at["mean"][0],) * 2, (TOP, BOTTOM + 2), ":", color=REFERENCE, linewidth=1)
    if "batch" in at:
        ax.plot(*at["batch"], "o", color=REFERENCE, markersize=7)
    ax.plot(*at["mean"], "o", color=VALUE, markersize=10)
    ax.text(46, 20, "running mean", **TITLE)
    ax.text(674, 20, legend(state, values), size=11.5, ha="right", va="center")
    _legend(ax, ABOVE if w != USUAL else ABOVE[:-1], 44)


def legend(state, values) -> str:
    """What is written above."""
    mean, expected, noise = said(values)
    return f"step {state['k']}: {mean}, expected {expected} ± {noise}"


def _legend(ax, entries, y) -> None:
    """What each kind of drawing stands for."""
    drawn = {
        "mini-batches": {"marker": "o", "color": REFERENCE, "markersize": 3.5},
        "data": {"color": REFERENCE, "linewidth": 1.8},
        "average": {"color": VALUE, "linewidth": 1.6},
        "w = 0.1": {"color": VALUE, "linewidth": 1, "linestyle": "--"},
        "example 1": {"marker": "o", "color": GRADIENT, "markersize": 7},
        "others": {"marker": "o", "color": VALUE, "markersize": 4.5},
    }
    usual = {"color": RANGE, "alpha": 0.35, "linewidth": 9, "solid_capstyle": "butt"}
    for words, x in entries:
        style, ends = drawn.get(words, usual), ((x, x + 18), (y, y))
        if words == "mean":
            style, ends = {"color": REFERENCE}, ((x + 9,) * 2, (y - 8, y + 8))
        if "marker" in style:
            ends = (x + 9, y)
        ax.plot(*ends, **style)
        ax.text(x + 24, y, words, **SMALL)


def _below(ax, state, values) -> None:
    at, leaves, inside = marks(state, values), leaving(state), framed(ax, LINE)
    for mode, row in ROWS.items():
        ax.plot((LEFT, RIGHT), (row, row), color=REFERENCE, linewidth=1.2, zorder=1)
        ax.text(LEFT, row - 26, f"leaves in {mode}", **TITLE)
        said = moments(mode, values)
        ax.text(RIGHT, row - 26, said, size=11.5, ha="right", va="center")
        middle, spread = (values["leaves"][mode][i] for i in (1, 2))
        style = {"color": RANGE, "alpha": 0.35, "solid_capstyle": "butt"}
        ends = LEAVES(middle - spread), at[f"band_{mode}"][0]
        ax.plot(ends, (row,) * 2, linewidth=18, zorder=0, clip_path=inside, **style)
        style = {"color": REFERENCE, "linewidth": 2, "zorder": 2, "clip_path": inside}
        ax.plot((LEAVES(middle),) * 2, (row - 15, row + 15), **style)
        for i, v in enumerate(leaves[mode]):
            color, size = (GRADIENT, 7) if i == 0 else (VALUE, 4.5)
            style = {"zorder": 4 if i == 0 else 3, "clip_path": inside}
            ax.plot(LEAVES(v), row, "o", color=color, markersize=size, **style)
    for tick in range(-6, 7, 2):
        ax.plot((LEAVES(tick),) * 2, (row, row + 6), color=REFERENCE, linewidth=1)
        ax.text(LEAVES(tick), row + 26, fixed(tick, 0), ha="center", **SMALL)
    _legend(ax, BELOW, 464)


def moments(mode, values) -> str:
    """Mean and standard deviation of what leaves, and the variance divided by."""
    text = " ± ".join(fixed(v) for v in values["leaves"][mode][1:])
    divided = f"running variance {fixed(values['var'])}: "
    return divided + text if mode == "inference" else text


def states():
    """Edges, steps around the jump, and draws."""
    usual = {control.name: control.default for control in CONTROLS}
    yield from (usual | visit for visit in ({}, GUESS.reveal, *VISITS.values()))
    steps = (1, 2, 25, JUMP_AT, JUMP_AT + 1, 75, STEPS)
    for k, jump, (w, m) in itertools.product(
        steps, (-3.0, 0.0, 3.0), ((0.01, 2), (0.1, 8), (1, MOST))
    ):
        start, axis = ("settled", "close") if k % 2 else ("zero", "all")
        yield {"w": w, "m": m, "jump": jump, "k": k, "start": start, "axis": axis}
    rng = np.random.default_rng(0)
    # The average of a hundred steps takes long, so few of them are drawn.
    pairs = [(0.01, MOST), (0.02, 5), (0.25, 3), (0.5, 16), (0.93, 2)]
    for _ in range(140):
        w, m = pairs[rng.integers(len(pairs))]
        jump, k = float(rng.choice(JUMPS)), int(rng.integers(1, STEPS + 1))
        start, axis = str(rng.choice(["zero", "settled"])), str(rng.choice([*SCALES]))
        yield {"w": w, "m": m, "jump": jump, "k": k, "start": start, "axis": axis}


#: What else the script needs.
DATA = {"draws": DRAWS.tolist(), "eps": EPS, "rows": ROWS}
DATA |= {"steps": STEPS, "jumpAt": JUMP_AT, "level": LEVEL, "first": START}
DATA |= {"scales": SCALES, "frame": FRAME, "line": LINE, "usual": USUAL}
DATA |= {"above": ABOVE, "below": BELOW}
