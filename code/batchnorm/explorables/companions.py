"""Companions: what an example leaves as depends on the batch it is in.

Above, a batch of at most six values on a line, with its mean and standard deviation;
below, on the same scale, what batch normalization makes of each.
"""

import itertools

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
    linear,
)
from batchnorm.figures.style import GRADIENT, RANGE, REFERENCE, VALUE

#: Statistics of inference, as if training had left them.
RUNNING_MEAN, RUNNING_VAR = 0.5, 2.25
USUAL = (-2.0, 0.5, 1.5, 4.0, -3.5, 3.0)
HEIGHT, ABOVE, BELOW = 330, 92, 238
SPAN, PIXELS = (-5.5, 5.5), (26, 674)
X = linear(SPAN, PIXELS)
BOX = (8, BELOW - 60, 692, BELOW + 60)  # of what leaves; beyond it are arrowheads

MODES = {"training": "training", "inference": "inference"}
LABEL = "A batch on a line, and where each of its examples leaves"
CONTROLS = [
    Choice("mode", "Statistics of", MODES, "training", "The layer"),
    Range("m", "examples", 1, 6, 1, 4, "", group="The layer"),
    Range("gamma", "γ", -2, 2, 0.1, 1, group="The layer"),
    Range("beta", "β", -2, 2, 0.1, 0, group="The layer"),
    Range("eps", "ε", -5, 1, 1, -5, power=True, group="The layer"),
    *(
        Range(f"x{i}", f"example {i}", -5, 5, 0.1, value, group="The batch")
        for i, value in enumerate(USUAL, 1)
    ),
]
GUESS = Guess(
    "In training, a batch holds two examples, 1 and 3, and the first leaves as −1. "
    "Now the first moves from 1 to 2.2, toward its companion. As what does it leave?",
    [
        "about −1, as before",
        "about 0.2: it moved up by 1.2",
        "about −0.4: it is nearer",
    ],
    0,
    "Each of two is one standard deviation from their mean, however near they are: "
    "only which one is larger is left.",
    {"mode": "training", "m": 2, "x1": 2.2, "x2": 3, "gamma": 1, "beta": 0, "eps": -5},
    [
        "",
        "the mean moved up by half as much, and the standard deviation shrank.",
        "the standard deviation shrank along with the distance.",
    ],
)
VISITS = {
    "before, at 1 and 3": {"m": 2, "x1": 1, "x2": 3},
    "a batch of one": {"m": 1},
    "an outlier": {"m": 6}
    | {"x1": -1.2, "x2": -0.6, "x3": 0, "x4": 5, "x5": 0.6, "x6": 1.2},
    "the same four in inference": {"mode": "inference"},
    "two equal examples": {"m": 2, "x1": 2, "x2": 2},
}


def batch(state) -> np.ndarray:
    """The batch, (m, 1)."""
    return np.array([[state[f"x{i + 1}"]] for i in range(state["m"])], dtype=float)


def refusal() -> str:
    """What the book says to a batch of one."""
    try:
        reference.forward(np.zeros((1, 1)), None, None)
    except ValueError as error:
        return str(error)
    raise AssertionError("a batch of one was not refused")


def values(state) -> dict:
    """Moments that are used, outputs, moments of the outputs; None if refused."""
    x, eps = batch(state), float(f"1e{state['eps']}")
    gamma, beta = (np.array([float(state[name])]) for name in ("gamma", "beta"))
    if state["mode"] == "inference":
        mean, var = np.array([RUNNING_MEAN]), np.array([RUNNING_VAR])
        y = reference.inference(x, gamma, beta, mean, var, eps=eps)
    elif len(x) == 1:
        return dict.fromkeys(("mean", "std", "y", "mean_out", "std_out"))
    else:
        y, cache = reference.forward(x, gamma, beta, eps=eps)
        mean, var = cache.mean, cache.var
    one = len(y) == 1
    out = y[0] if one else reference.batch_mean(y)
    spread = np.zeros(1) if one else np.sqrt(reference.batch_variance(y, out))
    return {
        "mean": float(mean[0]),
        "std": float(np.sqrt(var[0])),
        "y": y[:, 0].tolist(),
        "mean_out": float(out[0]),
        "std_out": float(spread[0]),
    }


def marks(state, values) -> dict:
    """Inputs, outputs, the feet of both means, the upper ends of both bands."""
    places = {f"x{i}": (X(v), ABOVE) for i, v in enumerate(batch(state)[:, 0], 1)}
    if values["y"] is None:
        return places
    for i, v in enumerate(values["y"], 1):
        head = beyond((X(v), BELOW), BOX)
        spot = (X(v), BELOW) if head is None else tuple(map(float, head[0]))
        places[f"y{i}" if head is None else f"off{i}"] = spot
    ends = values["mean"] + values["std"], values["mean_out"] + values["std_out"]
    return places | {
        "mean": (X(values["mean"]), ABOVE + 17),
        "mean_out": (X(values["mean_out"]), BELOW + 17),
        "band": (X(ends[0]), ABOVE),
        "band_out": (X(ends[1]), BELOW),
    }


def sentence(state, values) -> str:
    """What the picture shows."""
    if values["y"] is None:
        return (
            f"Refused: {refusal()}. The one value is its own mean, and would leave "
            "as β, whatever it is."
        )
    moments = {
        name: f"mean {fixed(values[mean])}, standard deviation {fixed(values[std])}"
        for name, mean, std in (("in", "mean", "std"), ("out", "mean_out", "std_out"))
    }
    whose = {
        "training": f"In training the batch has {moments['in']}",
        "inference": f"In inference the statistics are training’s: {moments['in']}",
    }[state["mode"]]
    first = f"Example 1 enters at {fixed(state['x1'], 1)} and leaves at"
    return (
        f"{whose}. What leaves has {moments['out']}. {first} {fixed(values['y'][0])}."
    )


def titles(state, values) -> tuple[str, str]:
    """What is written beside each line."""
    if values["y"] is None:
        return "", "nothing: refused"
    moments = values["mean"], values["std"], values["mean_out"], values["std_out"]
    mean, std, mean_out, std_out = map(fixed, moments)
    used = "running mean" if state["mode"] == "inference" else "mean"
    return f"{used} {mean}, std {std}", f"mean {mean_out}, std {std_out}"


def draw(ax, state, values) -> None:
    """The static picture."""
    places = marks(state, values)
    lines = (ABOVE, -1, "x comes in"), (BELOW, 1, "y leaves")
    said = titles(state, values)
    for (y, side, name), moments in zip(lines, said, strict=True):
        ax.plot(PIXELS, (y, y), color=REFERENCE, linewidth=1.2, zorder=1)
        ax.text(PIXELS[0], y + side * 64, name, **TITLE)
        right = {"ha": "right", "va": "center", "size": 11.5}
        ax.text(PIXELS[1], y + side * 64, moments, **right)
        for tick in range(-5, 6):
            ax.plot((X(tick),) * 2, (y, y + side * 6), color=REFERENCE, linewidth=1)
            ax.text(X(tick), y + side * 32, fixed(tick, 0), ha="center", **SMALL)
    for band, mean, y in (("band", "mean", ABOVE), ("band_out", "mean_out", BELOW)):
        half = places[band][0] - places[mean][0]
        ends = places[mean][0] - half, places[mean][0] + half
        style = {"color": RANGE, "alpha": 0.35, "solid_capstyle": "butt"}
        ax.plot(ends, (y, y), linewidth=18, zorder=0, **style)
        bar = (y - 17, y + 17)
        ax.plot((places[mean][0],) * 2, bar, color=REFERENCE, linewidth=2, zorder=2)
    for i in range(1, state["m"] + 1):
        (x, above), (y, below) = places[f"x{i}"], (X(values["y"][i - 1]), BELOW)
        color = GRADIENT if i == 1 else VALUE
        ax.plot((x, y), (above, below), color=color, linewidth=1.6, zorder=1)
        for place in ((x, above), (y, below)):
            ax.plot(*place, "o", color=color, markersize=16, zorder=3)
            style = {"color": "white", "size": 10, "weight": "bold", "zorder": 4}
            ax.text(*place, str(i), ha="center", va="center_baseline", **style)


def states():
    """Edges, every size in both modes, and draws."""
    usual = {control.name: control.default for control in CONTROLS}
    yield from (usual | visit for visit in ({}, GUESS.reveal, *VISITS.values()))
    for mode, m, eps in itertools.product(MODES, range(1, 7), (-5, 0, 1)):
        yield usual | {"mode": mode, "m": m, "eps": eps}
    for control in CONTROLS[2:]:
        for value in (control.low, control.high):
            yield usual | {control.name: value, "m": 6}
    for mode, m, far in itertools.product(MODES, (2, 5, 6), (-5, 5)):
        yield usual | {"mode": mode, "m": m} | {f"x{i}": far for i in range(1, 7)}
    rng = np.random.default_rng(0)
    for _ in range(140):
        state = {"mode": str(rng.choice(list(MODES))), "m": int(rng.integers(1, 7))}
        for control in CONTROLS[2:]:
            steps = rng.integers(round((control.high - control.low) / control.step) + 1)
            value = round(control.low + steps * control.step, 1)
            state[control.name] = int(value) if control.power else float(value)
        yield state


#: What else the script needs.
DATA = {"running": [RUNNING_MEAN, RUNNING_VAR], "refusal": refusal()}
DATA |= {"span": SPAN, "pixels": PIXELS, "above": ABOVE, "below": BELOW, "box": BOX}
