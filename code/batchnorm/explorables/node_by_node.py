"""Node by node: the graph of batch normalization, walked forward and back.

Above, the inputs on a line, and where a step of descent would push each. Below, the
graph of the small batch: values over the gradients that come back. The pass is the
chapter's, or that of an author who has made one mistake.
"""

import itertools
import re

import numpy as np

from batchnorm import graph
from batchnorm.explorables.kinds import Choice, Guess, Range, arrow, fixed, linear
from batchnorm.figures.style import GRADIENT, REFERENCE, VALUE

USUAL, DY = (2.0, 6.0, 1.0, 3.0), (1.0, -1.0, 2.0, 2.0)
GAMMA, BETA, EPS = 2.0, 1.0, 0.5

# ---------------------------------------------------------------------------
# The nine nodes

#: Node: its equation and line of code, then those of the way back, in their order.
STEPS = {
    "mu": ("μ = Σ x / m", ["mu = x.mean(axis=0)"]),
    "c": ("c = x − μ", ["c = x - mu"]),
    "s": ("s = c²", ["s = c ** 2"]),
    "var": ("σ² = Σ s / m", ["var = s.mean(axis=0)"]),
    "std": ("std = √(σ² + ε)", ["std = (var + eps) ** 0.5"]),
    "v": ("v = 1/std", ["v = 1 / std"]),
    "x_hat": ("x̂ = c v", ["x_hat = c * v"]),
    "z": ("z = γ x̂", ["z = gamma * x_hat"]),
    "y": ("y = z + β", ["y = z + beta"]),
}
BACK = {
    "y": {"z": ("dz = dy", "dz = dy"), "beta": ("dβ = Σ dy", "dbeta = dy.sum(axis=0)")},
    "z": {
        "gamma": ("dγ = Σ dz x̂", "dgamma = (dz * g.x_hat).sum(axis=0)"),
        "x_hat": ("dx̂ = γ dz", "dx_hat = gamma * dz"),
    },
    "x_hat": {
        "v": ("dv = Σ dx̂ c", "dv = (dx_hat * g.c).sum(axis=0)"),
        "c_1": ("dc⁽¹⁾ = v dx̂", "dc_1 = g.v * dx_hat"),
    },
    "v": {"std": ("dstd = −dv/std²", "dstd = -dv / g.std**2")},
    "std": {"var": ("dσ² = dstd/(2 std)", "dvar = dstd / (2 * g.std)")},
    "var": {"s": ("ds = dσ²/m", "ds = dvar / m")},
    "s": {
        "c_2": ("dc⁽²⁾ = 2 c ds", "dc_2 = 2 * g.c * ds"),
        "c": ("dc = dc⁽¹⁾ + dc⁽²⁾", "dc = dc_1 + dc_2"),
    },
    "c": {
        "x_1": ("dx⁽¹⁾ = dc", "dx_1 = dc"),
        "mu": ("dμ = −Σ dc", "dmu = -dc.sum(axis=0)"),
    },
    "mu": {
        "x_2": ("dx⁽²⁾ = dμ/m", "dx_2 = dmu / m"),
        "x": ("dx = dx⁽¹⁾ + dx⁽²⁾", "dx = dx_1 + dx_2"),
    },
}
ORDER, LAST = [*STEPS, *BACK], 2 * len(STEPS)
#: The gradient that each author spoils, and by which factor.
FAULTS = {"P": ("std", -1.0), "Q": ("s", 4.0), "R": ("x_2", 0.0)}
#: Where the package keeps the gradients.
FIELDS = {
    "z": "scaled", "c": "centered", "s": "squared", "v": "inv_std", "mu": "mean",
    "c_1": "centered_from_x_hat", "c_2": "centered_from_squared",
    "x_1": "x_from_centered", "x_2": "x_from_mean",
}  # fmt: skip

PASSES = {"right": "the chapter"} | {name: f"author {name}" for name in FAULTS}
LABEL = "The graph of a batch of four, walked forward and back"
CONTROLS = [
    Range("step", "step", 0, LAST, 1, LAST, group="The walk"),
    Choice("pass", "Way back by", PASSES, "P", "The walk"),
    *(
        Range(f"x{i}", f"example {i}", -4, 8, 0.25, value, group="The batch")
        for i, value in enumerate(USUAL, 1)
    ),
]
GUESS = Guess(
    "The way back in the picture is author P’s. The dx that comes out is 0.5, −3.5, 2, "
    "1, where −0.5, −0.5, 0, 1 would be right. One gradient is computed wrongly, and "
    "what follows from it is wrong as well. Going back from dy, which is the first "
    "wrong one?",
    ["dx̂", "dstd", "ds", "dc"],
    1,
    "dv = −16 is right. From it dstd = −dv/std² = 16/4 is 4, and P has −4: the sign of "
    "the inverse is lost. What follows is wrong too, and correctly computed from it. "
    "In the graph the wrong ones are underlined.",
    {"step": 13},
    [
        "γ dz is 2 dy, and that is what P has.",
        "",
        "it is a quarter of dσ², which was wrong before it.",
        "dc⁽²⁾, a part of it, was wrong before it.",
    ],
)
VISITS = {
    "the chapter’s way back": {"pass": "right", "step": 10},
    "author Q": {"pass": "Q"},
    "author R": {"pass": "R"},
    "inputs that hide P’s fault": {"x2": 2},
    "four equal inputs": {"pass": "right", "x1": 2, "x2": 2, "x3": 2, "x4": 2},
}


def walk(dy, g, spoiled="", factor=1.0) -> dict:
    """Gradients by name, in the order of the way back; one may have a wrong factor."""
    found = {}

    def node(name, gradient):
        found[name] = (factor if name == spoiled else 1) * gradient
        return found[name]

    each = g.x.shape
    dz = node("z", dy)
    node("beta", dy.sum(axis=0))
    node("gamma", (dz * g.x_hat).sum(axis=0))
    dx_hat = node("x_hat", g.gamma * dz)
    dv = node("v", (dx_hat * g.centered).sum(axis=0))
    dc_1 = node("c_1", g.inv_std * dx_hat)
    dstd = node("std", -dv / g.std**2)
    dvar = node("var", dstd / (2 * g.std))
    ds = node("s", np.broadcast_to(dvar / each[0], each))
    dc = node("c", dc_1 + node("c_2", 2 * g.centered * ds))
    dx_1 = node("x_1", dc)
    dmu = node("mu", -dc.sum(axis=0))
    node("x", dx_1 + node("x_2", np.broadcast_to(dmu / each[0], each)))
    return found


def values(state) -> dict:
    """Values, the gradients of the pass, the right ones, and the first that is off."""
    x = np.array([[state[f"x{i}"]] for i in range(1, 5)], dtype=float)
    g = graph.forward(x, np.array([GAMMA]), np.array([BETA]), eps=EPS)
    dy = np.array(DY)[:, None]
    found = walk(dy, g, *FAULTS.get(state["pass"], ()))
    asked = graph.backward(dy, g)
    right = {name: getattr(asked, f"d_{FIELDS.get(name, name)}") for name in found}
    off = [n for n in names() if np.abs(found[n] - right[n]).max() > 1e-9]
    lists = {
        "values": {name: getattr(g, FIELDS.get(name, name)) for name in STEPS},
        "gradients": found,
        "right": right,
    }
    return {
        kind: {name: np.ravel(array).tolist() for name, array in arrays.items()}
        for kind, arrays in lists.items()
    } | {"first": off[0] if off else None}


def names() -> list[str]:
    """Names of the gradients, in the order in which they are computed."""
    return [name for back in BACK.values() for name in back]


# ---------------------------------------------------------------------------
# In words


def brief(numbers) -> str:
    """Numbers of two digits after the point at most."""
    return ", ".join(re.sub(r"\.?0+$", "", fixed(number)) for number in numbers)


def said(name) -> str:
    """What a gradient is called: the left side of its equation."""
    equations = {name: eq for back in BACK.values() for name, (eq, _) in back.items()}
    return equations[name].partition(" = ")[0]


def title(step) -> str:
    """The equation of a step, or those of its way back."""
    if step == 0:
        return "Given: x, γ, β, and dy"
    node = ORDER[step - 1]
    if step <= 9:
        return f"Forward {step} of 9: {STEPS[node][0]}"
    back = ", ".join(eq for eq, _ in BACK[node].values())
    return f"Back {step - 9} of 9: {back}"


def code(step) -> list[str]:
    """The lines of a step in the chapter's program."""
    if step == 0:
        return []
    node = ORDER[step - 1]
    return STEPS[node][1] if step <= 9 else [line for _, line in BACK[node].values()]


def sentence(state, values) -> str:
    """What the step gives, and whether it is right."""
    step = state["step"]
    if step == 0:
        x = brief(state[f"x{i}"] for i in range(1, 5))
        return f"The batch is {x}. Nothing is computed yet."
    node = ORDER[step - 1]
    if step <= 9:
        return f"{title(step)}, which gives {brief(values['values'][node])}."
    parts = [judged(name, state, values) for name in BACK[node]]
    text = f"Back {step - 9} of 9, through {STEPS[node][0]}: {'; '.join(parts)}."
    if step < LAST:
        return text
    text += f" The entries of dx sum to {brief([sum(values['gradients']['x'])])}."
    if state["pass"] != "right" and values["first"] is None:
        text += f" At these inputs nothing shows what {state['pass']} did wrong."
    return text


def judged(name, state, values) -> str:
    """A gradient in numbers and, of an author's, whether it is right."""
    mine, asked = values["gradients"][name], values["right"][name]
    text = f"{said(name)} = {brief(mine)}"
    if state["pass"] == "right":
        return text
    if all(abs(a - b) <= 1e-9 for a, b in zip(mine, asked, strict=True)):
        return f"{text}, which is right"
    return f"{text}, where {brief(asked)} is right"


# ---------------------------------------------------------------------------
# In pixels

HEIGHT, LINE, LANES = 620, 42, (69, 79, 89, 99)
SPAN, PIXELS = (-4, 10), (62, 652)
X = linear(SPAN, PIXELS)
BOX = (46, 0, 672, 112)  # of the pushes; beyond it are arrowheads
ROWS = [142 + 55 * i for i in range(7)]
LEFT, RIGHT = 40, 375
SLOTS = {LEFT: (104, 170, 236, 302), RIGHT: (436, 505, 574, 643)}
NODES = {
    "x": ("x", LEFT, 0), "mu": ("μ", RIGHT, 0), "c": ("c", LEFT, 1),
    "s": ("s", RIGHT, 1), "var": ("σ²", RIGHT, 2), "std": ("std", RIGHT, 3),
    "v": ("v", RIGHT, 4), "x_hat": ("x̂", LEFT, 4), "gamma": ("γ", RIGHT, 5),
    "z": ("z", LEFT, 5), "beta": ("β", RIGHT, 6), "y": ("y", LEFT, 6),
}  # fmt: skip
PLACES = {name: (x, ROWS[row]) for name, (_, x, row) in NODES.items()}
RADIUS, STRIP = 19, (541, 571, 599)
LEGEND = [
    ("value", "above: values, forward", 246),
    ("gradient", "below: gradients, back", 275),
    ("", "m = 4, ε = 0.5", 304),
]


def _edges() -> list:
    """Head of each edge, and the points that it passes."""
    straight = [
        ("x", "mu"), ("c", "s"), ("s", "var"), ("var", "std"), ("std", "v"),
        ("c", "x_hat"), ("v", "x_hat"), ("gamma", "z"), ("x_hat", "z"),
        ("beta", "y"), ("z", "y"),
    ]  # fmt: skip
    found = []
    for tail, head in straight:
        a, b = np.array(PLACES[tail]), np.array(PLACES[head])
        by = np.sign(b - a) * (RADIUS + 1)
        found.append((head, [(a + by).tolist(), (b - by).tolist()]))
    (x, above), (_, below) = PLACES["x"], PLACES["c"]
    over = below - RADIUS
    found.append(("c", [[x - 8, above + RADIUS], [x - 8, over]]))
    way = [(RIGHT, above + RADIUS + 1), (RIGHT, 169), (x + 8, 169), (x + 8, over)]
    return [*found, ("c", [list(map(int, point)) for point in way])]


EDGES = _edges()
#: From which step on a value and a gradient are there.
FORWARD = dict.fromkeys(NODES, 0) | {name: i for i, name in enumerate(STEPS, 1)}
BACKWARD = {
    n: i for i, back in enumerate(BACK.values(), 10) for n in back if n in NODES
}
BACKWARD["y"] = 0


def numbers(name, state, values) -> tuple:
    """Value and gradient of a node as far as the walk has come; None before."""
    given = {"x": [state[f"x{i}"] for i in range(1, 5)], "gamma": [GAMMA]}
    given |= {"beta": [BETA]}
    value = given.get(name) or values["values"][name]
    gradient = list(DY) if name == "y" else values["gradients"][name]
    step = state["step"]
    return (
        value if step >= FORWARD[name] else None,
        gradient if step >= BACKWARD[name] else None,
    )


def push(x, gradient) -> float:
    """Pixel to which a step of descent with rate 1 would move an input."""
    return X(x - gradient)


def marks(state, values) -> dict:
    """Inputs on the line, tips of the pushes, and the node that is lit."""
    found = {f"x{i}": (X(state[f"x{i}"]), LINE) for i in range(1, 5)}
    if state["step"]:
        found["lit"] = PLACES[ORDER[state["step"] - 1]]
    if state["step"] == LAST:
        for i, gradient in enumerate(values["gradients"]["x"], 1):
            found[f"push{i}"] = push(state[f"x{i}"], gradient), LANES[i - 1]
    return found


def draw(ax, state, values) -> None:
    """The static picture."""
    _line(ax, state, marks(state, values))
    _graph(ax, state, values)
    for kind, text, y in LEGEND:
        color = {"value": VALUE, "gradient": GRADIENT}.get(kind, "black")
        ax.text(70, y, text, size=11, va="center", color=color)
    box = np.array([[12, 519], [688, 519], [688, 615], [12, 615]])
    ax.fill(*box.T, color="#f6f7f8")
    style = {"va": "center", "size": 11.5}
    ax.text(26, STRIP[0], title(state["step"]), weight="bold", **style)
    if state["pass"] != "right" and state["step"] > 9:
        ax.text(674, STRIP[2], "the right code", ha="right", **style)
    for line, y in zip(code(state["step"]), STRIP[1:], strict=False):
        ax.text(26, y, line, family="monospace", **style)


def _line(ax, state, at) -> None:
    ax.plot(PIXELS, (LINE, LINE), color=REFERENCE, linewidth=1.2, zorder=1)
    style = {"size": 11, "ha": "center", "va": "center"}
    for tick in range(SPAN[0], SPAN[1] + 1, 2):
        ax.plot((X(tick),) * 2, (LINE, LINE - 6), color=REFERENCE, linewidth=1)
        ax.text(X(tick), 13, fixed(tick, 0), **style)
    ax.text(26, LINE, "x", weight="bold", **style)
    ax.text(26, (LANES[1] + LANES[2]) / 2, "−dx", color=GRADIENT, **style)
    for i in range(1, 5):
        x, y = at[f"x{i}"]
        if f"push{i}" in at:
            arrow(ax, (x, LANES[i - 1]), at[f"push{i}"], GRADIENT, 1.6, 7)
        ax.plot(x, y, "o", color=VALUE, markersize=16, zorder=3)
        white = style | {"color": "white", "size": 10, "weight": "bold"}
        ax.text(x, y + 0.5, f"{i}", zorder=4, **white)


def _graph(ax, state, values) -> None:
    step = state["step"]
    lit = ORDER[step - 1] if step else None
    color = VALUE if step <= 9 else GRADIENT
    for head, way in EDGES:
        style = (color, 2.6) if head == lit else (REFERENCE, 1)
        if head == lit and step > 9:
            way = way[::-1]  # what comes along it comes back
        ax.plot(*np.transpose(way[:-1]), color=style[0], linewidth=style[1])
        arrow(ax, way[-2], way[-1], *style, 7)
    for name, (x, y) in PLACES.items():
        on = name == lit
        face, edge = (color, color) if on else ("white", REFERENCE)
        style = {"markerfacecolor": face, "markeredgecolor": edge, "markersize": 27}
        ax.plot(x, y, "o", zorder=3, **style)
        style = {"size": 11.5, "ha": "center", "va": "center", "zorder": 4}
        weight, ink = ("bold", "white") if on else ("normal", "black")
        ax.text(x, y, NODES[name][0], color=ink, weight=weight, **style)
        value, gradient = numbers(name, state, values)
        rows = ((value, VALUE, -13, "normal"), (gradient, GRADIENT, 14, "bold"))
        for found, ink, lift, weight in rows:
            for slot, number in zip(SLOTS[x], found or [], strict=False):
                style = {"size": 11, "ha": "center", "va": "center", "weight": weight}
                ax.text(slot, y + lift, brief([number]), color=ink, **style)


def states():
    """Every step of every pass, edges, and draws."""
    usual = {control.name: control.default for control in CONTROLS}
    yield from (usual | visit for visit in ({}, GUESS.reveal, *VISITS.values()))
    for step, author in itertools.product(range(LAST + 1), PASSES):
        yield usual | {"step": step, "pass": author}
    for control, author in itertools.product(CONTROLS[2:], PASSES):
        for value in (control.low, control.high):
            yield usual | {control.name: value, "pass": author}
    rng = np.random.default_rng(0)
    for _ in range(110):
        state = {"step": int(rng.integers(LAST + 1))}
        state["pass"] = str(rng.choice(list(PASSES)))
        for i in range(1, 5):
            state[f"x{i}"] = float(rng.integers(-16, 33)) / 4
        yield state


#: What else the script needs.
DATA = {
    "given": {"dy": DY, "gamma": [GAMMA], "beta": [BETA], "eps": EPS},
    "order": ORDER,
    "titles": [title(step) for step in range(LAST + 1)],
    "code": [code(step) for step in range(LAST + 1)],
    "equations": {name: equation for name, (equation, _) in STEPS.items()},
    "back": {node: list(back) for node, back in BACK.items()},
    "said": {name: said(name) for name in names()},
    "faults": FAULTS,
    "forward": FORWARD,
    "backward": BACKWARD,
    "nodes": {name: [NODES[name][0], *PLACES[name]] for name in NODES},
    "slots": [SLOTS[LEFT], SLOTS[RIGHT]],
    "edges": EDGES,
    "line": [LINE, *SPAN, *PIXELS],
    "lanes": LANES,
    "box": BOX,
    "strip": STRIP,
    "legend": LEGEND,
}
