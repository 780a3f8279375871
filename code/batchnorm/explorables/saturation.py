"""Saturation: what a layer's inputs do to the gradient, and what normalizing them does.

On the left what a layer receives, its nonlinearity, and what leaves, as histograms. On
the right the factor by which a layer shrinks the gradient, as ceiling times slope, and
what is left of the gradient at each layer below. All of it is the theory of wide random
networks; the chapter holds measured ones against it.
"""

import itertools

import numpy as np
from scipy.special import expit

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
    power_of_ten,
)
from batchnorm.figures.style import GRADIENT, RANGE, REFERENCE, VALUE

#: Quantiles of a standard normal variable, odd multiples of 1/128: none meets a kink.
NODES = (2 * np.arange(-512, 512) + 1) / 128
WEIGHTS = np.exp(-(NODES**2) / 2) / np.exp(-(NODES**2) / 2).sum()

NAMES = {"sigmoid": "sigmoid", "tanh": "tanh", "relu": "ReLU"}
PEAK = {"sigmoid": 0.25, "tanh": 1.0, "relu": 1.0}
#: Where a function is flat: its slope is below 7.1 % of the largest.
FLAT = {"sigmoid": (-4, 4), "tanh": (-2, 2), "relu": (0, 1e99)}
WHERE = {"sigmoid": "beyond ±4", "tanh": "beyond ±2", "relu": "below 0"}
SHOWN = {"sigmoid": (0, 1), "tanh": (-1, 1), "relu": (0, 8)}

HEIGHT, REACH, BINS_IN, BINS_OUT = 388, 8, 32, 14
BASE, FOOT, WALL, LONGEST = 322, 340, 326, 50
Z, UP = linear((-REACH, REACH), (32, 300)), (170, 30)
LOG, LAYER = linear((-2, 1), (500, 640)), linear((1, 20), (500, 680))
POWER = linear((4, -12), (200, 322))
BARS, FRAME = (500, 0, 640, HEIGHT), (500, 200, 680, 322)
#: The outermost bars count all that lies beyond.
TICKS = {-8: "≤ −8", -4: "−4", 0: "0", 4: "4", 8: "≥ 8"}
SIGNS = {"ceiling": "ceiling", "slope": "× slope", "factor": "= factor"}
ROWS = {"ceiling": 44, "slope": 74, "factor": 104}

LABEL = "What a layer receives, and how much of the gradient it passes on"
CONTROLS = [
    Choice("f", "Nonlinearity", NAMES, "sigmoid", "The layers"),
    Choice("norm", "Normalization", {"off": "off", "on": "on"}, "off", "The layers"),
    Range("s", "scale s", 0.1, 10, 0.1, 1, group="The layers"),
    Range("b", "bias b", -6, 6, 0.5, 0, group="The layers"),
    Range("layers", "layers", 2, 20, 1, 10, group="The layers"),
]
GUESS = Guess(
    "These sigmoids have hardly left the middle: their slope is 94 % of the best, and "
    "two millionths of the gradient arrive. Batch normalization would spread their "
    "inputs twice as wide, and take the slope down to 85 %. How much would arrive?",
    ["less than two millionths", "ten times as much", "about all of it"],
    2,
    "What leaves a normalized layer spreads by only 0.208 over the batch, and batch "
    "normalization divides by that on the way up and on the way down: the ceiling is "
    "0.25 / 0.208 = 1.20, and times the slope 1.02 a layer.",
    {"norm": "on"},
    [
        "so it would be if only the slope changed, from 0.94 to 0.85 a layer; it was "
        "never the trouble.",
        "over nine layers that is a factor of 1.3 a layer, and the ceiling alone "
        "rises by nearly five.",
        "",
    ],
)
VISITS = {
    "scale 10: half are flat": {"s": 10},
    "a bias of 6": {"b": 6},
    "tanh at scale 1": {"f": "tanh"},
    "ReLU at scale 1.4": {"f": "relu", "s": 1.4},
    "ReLU, normalized": {"f": "relu", "norm": "on"},
}


def function(name: str, z) -> tuple[np.ndarray, np.ndarray]:
    """A nonlinearity and its slope, with all digits also where it is flat."""
    if name == "sigmoid":
        return expit(z), expit(z) * expit(-z)
    if name == "tanh":
        return np.tanh(z), 4 * expit(2 * z) * expit(-2 * z)
    return np.maximum(z, 0), (z > 0) * 1.0


def values(state) -> dict:
    """What the last layer receives and passes on; the gradient at each layer below."""
    name, scale, bias = state["f"], float(state["s"]), float(state["b"])
    normed, rms = state["norm"] == "on", 1.0  # of what comes in
    factors = []
    for _ in range(state["layers"]):
        spread = scale * rms
        z = NODES if normed else bias + spread * NODES
        h, slope = function(name, z)
        rms, mean = float(np.sqrt(WEIGHTS @ h**2)), float(WEIGHTS @ h)
        left = float(np.sqrt(WEIGHTS @ slope**2))
        # Going back, a norm divides by the standard deviation of what W makes of h.
        std = float(np.sqrt(WEIGHTS @ (h - mean) ** 2))
        weight = 1 / std if normed else scale
        factors.append(weight * left)
    low, high = FLAT[name]
    with np.errstate(divide="ignore"):
        powers = np.cumsum([0, *np.log10(factors[-2::-1])])[::-1]
    return {
        "spread": spread,
        "std": std,
        "flat": float(WEIGHTS @ outside(z, 1 if normed else spread, low, high)),
        "ceiling": weight * PEAK[name],
        "slope": left / PEAK[name],
        "factor": factors[-1],
        "arrives": float(np.prod(factors[:-1])),
        "powers": [float(p) if np.isfinite(p) else None for p in powers],
        "received": heap(z, -REACH, REACH, BINS_IN),
        "left": heap(h, *SHOWN[name], BINS_OUT),
    }


def outside(z, spread, low, high) -> np.ndarray:
    """Share of each input's cell, as wide as its quantile, that is not in between."""
    half = max(spread / 128, 1e-9)
    below = np.clip((low - z + half) / (2 * half), 0, 1)
    return below + np.clip((z + half - high) / (2 * half), 0, 1)


def heap(x, low, high, bins) -> list[float]:
    """Shares of a histogram; what lies beyond is counted at its edges."""
    place = np.clip(np.floor((x - low) / (high - low) * bins), 0, bins - 1)
    return np.bincount(place.astype(int), WEIGHTS, bins).tolist()


def decades(value) -> float:
    """Pixel of a factor on its logarithmic axis, also beyond."""
    return float(LOG(np.log10(value) if value > 0 else -99))


def line(values) -> list[tuple[float, float]]:
    """Pixels of the gradient, from the last layer down to the first, also beyond."""
    powers = [-99 if p is None else p for p in values["powers"]]
    return [(LAYER(i), POWER(p)) for i, p in enumerate(powers, start=1)][::-1]


def marks(state, values) -> dict:
    """Ends of all bars, the band of z, and what arrives."""
    found = {"b": (Z(state["b"]), FOOT)}
    found["band"] = (Z(min(state["b"] + values["spread"], REACH)), FOOT)
    most = max(values["received"]), max(values["left"])
    for i, share in enumerate(values["received"]):
        found[f"in_{i}"] = (Z(-7.75 + i / 2), BASE - 110 * share / most[0])
    for i, share in enumerate(values["left"]):
        y = UP[0] - (UP[0] - UP[1]) * (i + 0.5) / BINS_OUT
        found[f"out_{i}"] = (WALL + LONGEST * share / most[1], y)
    for name, y in ROWS.items():
        spot = (decades(values[name]), y)
        found[name] = (max(spot[0], BARS[0]), y)
        or_beyond(found, f"end_{name}", spot, BARS)
    or_beyond(found, "arrives", line(values)[-1], FRAME)
    if state["norm"] == "off":
        found["s"] = found.pop("end_ceiling")
    return found


def amount(value: float) -> str:
    """A number with two digits after the point, or as a power of ten."""
    if 0.05 <= value < 1000 or value == 0:
        return fixed(value)
    power = int(np.floor(np.log10(value) + 1e-9))
    digits = fixed(value / 10.0**power, 1)
    if digits == "10.0":
        digits, power = "1.0", power + 1
    return f"{digits}·{power_of_ten(power)}"


def sentence(state, values) -> str:
    """What the picture shows."""
    layer, name, std = state["layers"], state["f"], fixed(values["std"], 3)
    has = f"that spread by {amount(values['spread'])} around {fixed(state['b'], 1)}"
    parts = [amount(values[part]) for part in ROWS]
    why = ""
    if state["norm"] == "on":
        has = "normalized to spread by 1 around 0"
        why = f" The ceiling is {fixed(PEAK[name])} / {std}: normalization divides by "
        why += f"the spread over the batch of what leaves, {std}."
    return (
        f"Layer {layer} has inputs {has}; {fixed(100 * values['flat'], 0)} % lie where "
        f"{NAMES[name]} is flat ({WHERE[name]}). It passes on {parts[0]} × {parts[1]} "
        f"= {parts[2]} of the gradient.{why} Layer 1 gets {amount(values['arrives'])} "
        f"times what layer {layer} has."
    )


def draw(ax, state, values) -> None:
    """The static picture."""
    at = marks(state, values)
    _layer(ax, state, values, at)
    _gradient(ax, values, at)


def curve(name: str) -> list[tuple[float, float]]:
    """Pixels of the nonlinearity."""
    z = np.linspace(-REACH, REACH, 129)
    height = linear(SHOWN[name], UP)
    return [(Z(x), height(y)) for x, y in zip(z, function(name, z)[0], strict=True)]


def _layer(ax, state, values, at) -> None:
    name, bar = state["f"], {"linewidth": 6, "solid_capstyle": "butt"}
    low, high = FLAT[name]
    for i in range(BINS_IN):
        x, y = at[f"in_{i}"]
        color = VALUE if low < -7.75 + i / 2 < high else GRADIENT
        ax.plot((x, x), (BASE, y), color=color, **bar)
    for i in range(BINS_OUT):
        x, y = at[f"out_{i}"]
        ax.plot((WALL, x), (y, y), color=VALUE, **bar)
    ends = (Z(max(state["b"] - values["spread"], -REACH)), at["band"][0])
    style = {"color": RANGE, "alpha": 0.35, "solid_capstyle": "butt"}
    ax.plot(ends, (FOOT, FOOT), linewidth=18, **style)
    ax.plot(*at["b"], "o", color=VALUE, markersize=11)
    ax.plot(*np.transpose(curve(name)), color=REFERENCE, linewidth=2)
    axis = {"color": REFERENCE, "linewidth": 1.2}
    ax.plot((Z(-REACH), Z(REACH)), (BASE, BASE), **axis)
    ax.plot((WALL, WALL), UP, **axis)
    for tick, words in TICKS.items():
        ax.text(Z(tick), 374, words, ha="center", **SMALL)
    for end, y in zip(SHOWN[name], UP, strict=True):
        ax.text(WALL - 6, y, fixed(end, 0), ha="right", **SMALL)
    ax.text(Z(-REACH), 194, "receives", **TITLE)
    ax.text(Z(-REACH), 14, NAMES[name], **TITLE)
    ax.text(WALL, 14, "leaves", **TITLE)


def _gradient(ax, values, at) -> None:
    bar = {"linewidth": 6, "solid_capstyle": "butt"}
    colors = {"ceiling": VALUE, "slope": GRADIENT, "factor": REFERENCE}
    right = {"size": 11, "ha": "right", "va": "center"}
    for name, y in ROWS.items():
        ax.plot((LOG(0), at[name][0]), (y, y), color=colors[name], **bar)
        ax.plot(*at[name], "o", color=colors[name], markersize=6)
        ax.text(480, y, SIGNS[name], **right)
        ax.text(698, y, amount(values[name]), **right)
    ax.plot(*at["ceiling"], "o", color=VALUE, markersize=11)
    axis = {"color": REFERENCE, "linewidth": 1.2}
    ax.plot((LOG(0), LOG(0)), (28, 120), **axis)
    for power, text in ((-2, "0.01"), (0, "1"), (1, "10")):
        ax.plot((LOG(power),) * 2, (116, 120), **axis)
        ax.text(LOG(power), 134, text, ha="center", **SMALL)
    ax.plot((LAYER(1), LAYER(20)), (POWER(0), POWER(0)), **axis)
    style = {"color": GRADIENT, "linewidth": 2, "clip_path": framed(ax, FRAME)}
    ax.plot(*np.transpose(line(values)), **style)
    ax.plot(*at["arrives"], "o", color=GRADIENT, markersize=11)
    for power, text in ((0, "1"), (-6, "10⁻⁶"), (-12, "10⁻¹²")):
        ax.text(480, POWER(power), text, **right)
    for layer in (1, 10, 20):
        ax.text(LAYER(layer), 344, str(layer), ha="center", **SMALL)
    ax.text(440, 14, "ceiling × slope", **TITLE)
    ax.text(440, 174, "gradient, by layer", **TITLE)


def states():
    """Edges, a grid, and draws."""
    usual = {control.name: control.default for control in CONTROLS}
    yield from (usual | visit for visit in ({}, GUESS.reveal, *VISITS.values()))
    yield usual | {"f": "relu", "s": 0.1, "b": -6}  # dead
    grid = NAMES, ("off", "on"), (0.1, 1, 3, 10), (-6, 0, 2.5, 6)
    for f, norm, s, b in itertools.product(*grid):
        yield usual | {"f": f, "norm": norm, "s": s, "b": b}
    for f, layers in itertools.product(NAMES, (2, 3, 20)):
        yield usual | {"f": f, "layers": layers}
    rng = np.random.default_rng(0)
    for _ in range(90):
        yield {
            "f": str(rng.choice(list(NAMES))),
            "norm": str(rng.choice(["off", "on"])),
            "s": round(float(rng.integers(1, 101)) * 0.1, 1),
            "b": float(rng.integers(-12, 13)) / 2,
            "layers": int(rng.integers(2, 21)),
        }


#: What else the script needs.
DATA = {"names": NAMES, "peak": PEAK, "flat": FLAT, "shown": SHOWN, "where": WHERE}
DATA |= {"signs": SIGNS, "rows": ROWS, "bars": BARS, "frame": FRAME}
