"""Running averages: how far they lag behind the data, and how much they waver.

Above, the means of a hundred mini-batches, their running mean, and where theory has it.
Below, what leaves a mini-batch in training and in inference mode. The data are fixed
draws around a mean that jumps at half time.
"""

import itertools
from functools import lru_cache

import numpy as np

from batchnorm import reference
from batchnorm.explorables.kinds import Explorable, Guess, Range, fixed, linear
from batchnorm.figures.style import GRADIENT, RANGE, REFERENCE, VALUE
from batchnorm.statistics import RunningStatistics

STEPS, JUMP_AT, MOST, LEVEL = 100, 50, 32, 1.0
#: In hundredths, a row for each step: a mini-batch of m is the first m of a row.
DRAWS = np.rint(
    100 * np.random.default_rng(10).normal(size=(STEPS, MOST)), casting="unsafe"
).astype(int)
JUMPS = tuple(np.arange(-3, 3.5, 0.5).tolist())
EPS = 1e-5

HEIGHT = 404
X, Y = linear((0, STEPS), (46, 674)), linear((-3, 5), (226, 42))
TOP, BOTTOM = 42, 226
LEAVES, ROWS = linear((-6, 6), (46, 674)), {"train": 302, "eval": 366}
TRAIL = range(9, STEPS, 10)

CONTROLS = [
    Range("w", "momentum", 0.01, 1, 0.01, 0.1, group="The average"),
    Range("m", "batch size", 2, MOST, 1, 8, group="The data"),
    Range("jump", "jump", -3, 3, 0.5, 2, group="The data"),
    Range("k", "step", 1, STEPS, 1, 56, group="Look at"),
]
GUESS = Guess(
    "With the momentum w = 0.01 in place of 0.1, the average follows a jump ten times "
    "more slowly. How much smaller is its noise, once it has settled?",
    ["ten times", "about three times", "no smaller: the mini-batches are the same"],
    1,
    "The noise of the average is √(w/(2 − w)) of that of one mini-batch's mean: 0.23 "
    "becomes 0.07. Mini-batches of ten times the size buy nearly as much, without lag.",
    {"w": 0.01, "k": STEPS},
)
VISITS = {
    "only the last mini-batch": {"w": 1, "k": 80},
    "mini-batches of two": {"m": 2, "k": 100},
    "the step after the jump": {"k": JUMP_AT + 1},
    "no jump, slow": {"w": 0.01, "jump": 0, "k": 100},
}


def level(k: int, jump: float) -> float:
    """Mean of the data in step k, counted from 1."""
    return LEVEL + (jump if k > JUMP_AT else 0)


@lru_cache
def history(w: float, m: int):
    """Running mean, its noise-free self and running variance for every jump.

    Each is (STEPS, jumps); a jump is a feature.
    """
    running = RunningStatistics(2 * len(JUMPS), momentum=w)
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
    return (part[:, feature] for part in history(float(state["w"]), state["m"]))


def noise(w: float, m: int, k):
    """Standard deviation of the running mean after k steps, for σ = 1."""
    return np.sqrt(w / (2 - w) * (1 - (1 - w) ** (2 * k)) / m)


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
    return {"in": x, "train": train[:, 0], "eval": evaluated[:, 0]}


def values(state) -> dict:
    """The average, what theory says of it, and what leaves, after the step."""
    w, k = float(state["w"]), state["k"]
    mean, expected, var = course(state)
    leaves = leaving(state)
    return {
        "mean": float(mean[k - 1]),
        "var": float(var[k - 1]),
        "batch": float(leaves["in"].mean()),
        "expected": float(expected[k - 1]),
        "noise": float(noise(w, state["m"], k)),
        "missing": float((1 - w) ** moved(state)),
        "trail": mean[TRAIL].tolist(),
        "leaves": {
            mode: [float(v) for v in (y[0], y.mean(), y.std())]
            for mode, y in leaves.items()
            if mode != "in"
        },
    }


def inside(pixel: float, low: float, high: float) -> float:
    """What lies beyond an axis is shown at its end."""
    return min(max(pixel, low), high)


def height(value: float) -> float:
    """Pixel of a mean, above."""
    return inside(Y(value), TOP, BOTTOM)


def leave(value: float) -> float:
    """Pixel of an output, below."""
    return inside(LEAVES(value), 46, 674)


def marks(state, values) -> dict:
    """Average and mini-batch at the step, the last average, what leaves."""
    x = X(state["k"])
    places = {
        "mean": (x, height(values["mean"])),
        "batch": (x, height(values["batch"])),
        "course": (X(STEPS), height(values["trail"][-1])),
        "data": (X(STEPS), height(level(STEPS, state["jump"]))),
    }
    for mode, row in ROWS.items():
        first, middle, spread = values["leaves"][mode]
        places[f"first_{mode}"] = (leave(first), row)
        places[f"mean_{mode}"] = (leave(middle), row + 15)
        places[f"band_{mode}"] = (leave(middle + spread), row)
    return places


def said(values) -> tuple[str, str, str]:
    """The running mean, what theory expects and its noise, in words."""
    noise = fixed(values["noise"], 3)
    return fixed(values["mean"]), fixed(values["expected"]), noise


def sentence(state, values) -> str:
    """What the picture shows."""
    now = fixed(level(state["k"], state["jump"]))
    mean, expected, noise = said(values)
    since = "the start" if moved(state) == state["k"] else "the jump"
    train, evaluated = (fixed(values["leaves"][mode][1]) for mode in ROWS)
    return (
        f"After step {state['k']} the running mean is {mean}, the data's {now}; theory "
        f"expects {expected} ± {noise}. Of the way since {since}, "
        f"{fixed(100 * values['missing'], 0)} % is missing. The mini-batch leaves with "
        f"mean {train} in train, {evaluated} in eval."
    )


def draw(ax, state, values) -> None:
    """The static picture."""
    _above(ax, state, values)
    _below(ax, state, values)


def _above(ax, state, values) -> None:
    at, m = marks(state, values), state["m"]
    mean, expected, _ = course(state)
    k = np.arange(1, STEPS + 1)
    spread = noise(float(state["w"]), m, k)
    ends = [[height(v) for v in expected + sign * spread] for sign in (1, -1)]
    ax.fill_between(X(k), *ends, color=RANGE, alpha=0.35, linewidth=0)
    levels = [level(step, state["jump"]) for step in (1, JUMP_AT, JUMP_AT + 1, STEPS)]
    steps = X(np.array([0, JUMP_AT + 0.5, JUMP_AT + 0.5, STEPS]))
    ax.plot(steps, [height(v) for v in levels], color=REFERENCE, linewidth=1.8)
    for step in k:
        of = level(step, state["jump"]) + DRAWS[step - 1, :m].mean() / 100
        ax.plot(X(step), height(of), "o", color=REFERENCE, markersize=3.5, alpha=0.55)
    ax.plot(X(k), [height(v) for v in mean], color=VALUE, linewidth=1.6)
    ax.plot((X(0), X(STEPS)), (BOTTOM + 2,) * 2, color=REFERENCE, linewidth=1)
    for step in range(0, STEPS + 1, 25):
        ax.text(X(step), BOTTOM + 15, str(step), size=10.5, ha="center", va="center")
    for value in (-2, 0, 2, 4):
        text = f"{value}".replace("-", "−")
        ax.text(36, Y(value), text, size=10.5, ha="right", va="center")
    ax.plot((at["mean"][0],) * 2, (TOP, BOTTOM + 2), ":", color=REFERENCE, linewidth=1)
    ax.plot(*at["batch"], "o", color=REFERENCE, markersize=7)
    ax.plot(*at["mean"], "o", color=VALUE, markersize=10)
    ax.text(46, 20, "running mean", size=11.5, weight="bold", va="center")
    ax.text(674, 20, legend(state, values), size=11.5, ha="right", va="center")


def legend(state, values) -> str:
    """What is written above."""
    mean, expected, noise = said(values)
    return f"step {state['k']}: {mean}, expected {expected} ± {noise}"


def _below(ax, state, values) -> None:
    at, leaves = marks(state, values), leaving(state)
    for mode, row in ROWS.items():
        ax.plot((46, 674), (row, row), color=REFERENCE, linewidth=1.2, zorder=1)
        title = f"leaves in {mode}"
        ax.text(46, row - 26, title, size=11.5, weight="bold", va="center")
        moments = " ± ".join(fixed(v) for v in values["leaves"][mode][1:])
        ax.text(674, row - 26, moments, size=11.5, ha="right", va="center")
        middle, end = at[f"mean_{mode}"][0], at[f"band_{mode}"][0]
        style = {"color": RANGE, "alpha": 0.35, "solid_capstyle": "butt"}
        ends = 2 * middle - end, end
        ax.plot(ends, (row, row), linewidth=18, zorder=0, **style)
        style = {"color": REFERENCE, "linewidth": 2, "zorder": 2}
        ax.plot((middle, middle), (row - 15, row + 15), **style)
        for i, v in enumerate(leaves[mode]):
            color, size = (GRADIENT, 7) if i == 0 else (VALUE, 4.5)
            zorder = 4 if i == 0 else 3
            ax.plot(leave(v), row, "o", color=color, markersize=size, zorder=zorder)
    for tick in range(-6, 7, 2):
        ax.plot((LEAVES(tick),) * 2, (366, 372), color=REFERENCE, linewidth=1)
        text = f"{tick}".replace("-", "−")
        ax.text(LEAVES(tick), 392, text, size=10.5, ha="center", va="center")


def states():
    """Edges, steps around the jump, and draws."""
    usual = {control.name: control.default for control in CONTROLS}
    yield from (usual | visit for visit in ({}, GUESS.reveal, *VISITS.values()))
    steps = (1, 2, 25, JUMP_AT, JUMP_AT + 1, 75, STEPS)
    for k, jump, (w, m) in itertools.product(
        steps, (-3.0, 0.0, 3.0), ((0.01, 2), (0.1, 8), (1, MOST))
    ):
        yield {"w": w, "m": m, "jump": jump, "k": k}
    rng = np.random.default_rng(0)
    # The average of a hundred steps takes long, so few of them are drawn.
    pairs = [(0.01, MOST), (0.02, 5), (0.25, 3), (0.5, 16), (0.93, 2)]
    for _ in range(140):
        w, m = pairs[rng.integers(len(pairs))]
        jump, k = float(rng.choice(JUMPS)), int(rng.integers(1, STEPS + 1))
        yield {"w": w, "m": m, "jump": jump, "k": k}


RUNNING_AVERAGES = Explorable(
    name="running-averages",
    label="A running mean, and what leaves in training and in inference mode",
    height=HEIGHT,
    controls=CONTROLS,
    guess=GUESS,
    visits=VISITS,
    values=values,
    marks=marks,
    sentence=sentence,
    draw=draw,
    states=states,
    data={"draws": DRAWS.tolist(), "eps": EPS, "rows": ROWS}
    | {"steps": STEPS, "jumpAt": JUMP_AT, "start": LEVEL},
)
