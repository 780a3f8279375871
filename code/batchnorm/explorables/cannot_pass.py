"""What cannot pass: a gradient for a batch of three, and what is left of it.

On the left the three dimensions of the batch, 1 upright: x̂ lies on a circle, dy starts
at its tip, and what is left of dy is tangent to the circle. On the right the same in
numbers, by direction and by example.
"""

import itertools

import numpy as np

from batchnorm import reference
from batchnorm.explorables.kinds import TITLE, Guess, Range, arrow, fixed, linear
from batchnorm.figures.style import GRADIENT, RANGE, REFERENCE, RIGHT

BATCH = np.array([3.0, 0.0, 1.5])
VAR = 1.5
LENGTH = 1.5
#: Upright, along x̂ and tangent to the circle: unit vectors, one a row.
ONE = np.ones(3) / np.sqrt(3)
X_HAT = np.array([1.0, -1.0, 0.0]) / np.sqrt(2)
BASIS = np.stack([ONE, X_HAT, np.cross(ONE, X_HAT)])

HEIGHT, CENTER, UNIT = 350, (160, 196), 72
TURN, TILT = np.radians(50), np.radians(24)
ROWS = {"one": 62, "x_hat": 94, "tangent": 126}
ROWS |= {"example_1": 218, "example_2": 250, "example_3": 282}
BAR = linear((-LENGTH, LENGTH), (510, 674))

LABEL = "A gradient for a batch of three, and what is left of it"
CONTROLS = [
    Range("phi", "turn dy", -180, 180, 5, 50, "°", group="The gradient"),
    Range("theta", "lift dy", -90, 90, 5, 35, "°", group="The gradient"),
    Range("eps", "ε (σ² is 1.5)", 0, 6, 0.1, 0, group="The layer"),
]
GUESS = Guess(
    "For one batch of three, with ε = 0, every dy of the length 1.5 is tried. Their "
    "tips lie all over a sphere. Where do the tips of what is left of them lie?",
    ["in a ball", "on a disk", "on a line"],
    2,
    "Off goes the part along 1, and the part along x̂: two directions of three. What is "
    "left lies on a piece of the line along the tangent, and the rank is 1.",
    {},
    [
        "they would fill a ball only if something of all three directions passed.",
        "that would be so if only the mean went off.",
        "",
    ],
)
VISITS = {
    "dy along 1": {"theta": 90},
    "dy along x̂": {"phi": 0, "theta": 0},
    "dy along the tangent": {"phi": 90, "theta": 0},
    "ε as large as σ²": {"eps": 1.5},
}


def gradient(state) -> np.ndarray:
    """dy, turned and lifted."""
    phi, theta = np.radians(state["phi"]), np.radians(state["theta"])
    flat = np.cos(theta)
    return LENGTH * np.array(
        [np.sin(theta), flat * np.cos(phi), flat * np.sin(phi)]
    ).dot(BASIS)


def passed(dy, eps) -> np.ndarray:
    """What is left of gradients, one a column, but for the factor γ/√(σ² + ε)."""
    # For the reference ε is positive; the smallest one changes no digit of σ² + ε.
    x = np.repeat(BATCH[:, None], dy.shape[1], axis=1)
    _, cache = reference.forward(x, None, None, eps=eps or 5e-324)
    dx, _, _ = reference.backward(dy, cache)
    return dx * np.sqrt(cache.var + eps)


def values(state) -> dict:
    """dy and what is left, by example and by direction; share, length and rank."""
    dy, eps = gradient(state), float(state["eps"])
    left = passed(dy[:, None], eps)[:, 0]
    return {
        "dy": dy.tolist(),
        "left": left.tolist(),
        "dy_along": BASIS.dot(dy).tolist(),
        "left_along": BASIS.dot(left).tolist(),
        "share": eps / (VAR + eps),
        "length": float(np.sqrt(left.dot(left))),
        "rank": int(np.linalg.matrix_rank(passed(np.eye(3), eps), tol=1e-9)),
    }


def project(along) -> tuple[float, float]:
    """Pixel of a point, given along 1, x̂ and the tangent."""
    up, across, tangent = along
    right = np.cos(TURN) * across + np.sin(TURN) * tangent
    depth = np.cos(TURN) * tangent - np.sin(TURN) * across
    lift = np.cos(TILT) * up + np.sin(TILT) * depth
    return float(CENTER[0] + UNIT * right), float(CENTER[1] - UNIT * lift)


def places(values) -> dict:
    """Points in space: tips of the arrows, and the corner between what is taken off."""
    tip = np.array([0, np.sqrt(3), 0])
    dy, left = np.array(values["dy_along"]), np.array(values["left_along"])
    corners = {"x_hat": tip, "dy": tip + dy, "corner": tip + dy * [0, 1, 1]}
    return {k: project(v) for k, v in corners.items()} | {"left": project(tip + left)}


def marks(state, values) -> dict:
    """Tips and corner, and the end of each bar."""
    found = places(values) | {"one": project((1.5, 0, 0))}
    found["dy_tip"] = found["dy"]
    given = [*values["dy_along"], *values["dy"]]
    left = [*values["left_along"], *values["left"]]
    for name, v, w in zip(ROWS, given, left, strict=True):
        found[f"given_{name}"] = (BAR(v), ROWS[name] - 5)
        found[f"left_{name}"] = (BAR(w), ROWS[name] + 6)
    return found


def sentence(state, values) -> str:
    """What the picture shows."""
    one, across, _ = values["dy_along"]
    length = f"dy is {fixed(LENGTH)} long, and what is left {fixed(values['length'])}"
    if state["eps"] == 0:
        return (
            f"The parts of dy along 1, {fixed(one)}, and along x̂, {fixed(across)}, are "
            f"taken off. {length}. Two of three directions are lost: the rank is "
            f"{values['rank']}."
        )
    return (
        f"The part of dy along 1, {fixed(one)}, is taken off. Of that along x̂, "
        f"{fixed(across)}, the share ε/(σ² + ε) = {fixed(values['share'])} passes. "
        f"{length}. One of three directions is lost: the rank is {values['rank']}."
    )


def draw(ax, state, values) -> None:
    """The static picture."""
    _space(ax, places(values))
    _bars(ax, marks(state, values))


def _space(ax, at) -> None:
    angle = np.linspace(0, 2 * np.pi, 121)
    circle = np.sqrt(3) * np.stack([0 * angle, np.cos(angle), np.sin(angle)], axis=1)
    rim = np.transpose([project(point) for point in circle])
    ax.fill(*rim, color=RANGE, alpha=0.18, linewidth=0)
    ax.plot(*rim, color=RANGE, linewidth=2)
    origin, up = project((0, 0, 0)), project((1.5, 0, 0))
    arrow(ax, origin, up, REFERENCE, 2)
    arrow(ax, origin, at["x_hat"], REFERENCE, 2)
    corners = np.transpose([at["dy"], at["corner"], at["left"]])
    ax.plot(*corners, "--", color=GRADIENT, linewidth=1.4)
    arrow(ax, at["x_hat"], at["dy"], GRADIENT, 2)
    arrow(ax, at["x_hat"], at["left"], RIGHT, 4)
    ax.plot(*at["dy"], "o", color=GRADIENT, markersize=11)
    middle = (origin[0] + at["x_hat"][0]) / 2 - 12, (origin[1] + at["x_hat"][1]) / 2
    bold = {"size": 12, "va": "center", "weight": "bold"}
    ax.text(up[0], up[1] - 14, "1", ha="center", **bold)
    ax.text(middle[0], middle[1] + 8, "x̂", ha="center", **bold)
    for text, (x, y) in labels(at).items():
        ax.text(x, y, text, size=11, va="center", color=GRADIENT)


def labels(at) -> dict:
    """Where the names of what is taken off stand: beside the dashed lines."""
    (x, y), (_, foot), left = at["dy"], at["corner"], at["left"]
    return {
        "along 1": (x + 8, (y + foot) / 2),
        "along x̂": ((x + left[0]) / 2 - 8, (foot + left[1]) / 2 + 20),
    }


def _bars(ax, at) -> None:
    names = {"one": "along 1", "x_hat": "along x̂", "tangent": "tangent"}
    for name, y in ROWS.items():
        text = names.get(name, name.replace("_", " "))
        ax.text(500, y, text, size=11, ha="right", va="center")
        for kind, color, lift in (("given", GRADIENT, -5), ("left", RIGHT, 6)):
            ends = (BAR(0), at[f"{kind}_{name}"][0])
            style = {"color": color, "linewidth": 6, "solid_capstyle": "butt"}
            ax.plot(ends, (y + lift,) * 2, **style)
    for rows in (("one", "tangent"), ("example_1", "example_3")):
        ends = ROWS[rows[0]] - 14, ROWS[rows[1]] + 14
        ax.plot((BAR(0),) * 2, ends, color=REFERENCE, linewidth=1.2)
    for title, y in (("By direction", 26), ("By example", 186)):
        ax.text(500, y, title, ha="right", **TITLE)
        ax.text(BAR(0) - 7, y, "dy", color=GRADIENT, ha="right", **TITLE)
        ax.text(BAR(0) + 7, y, "left", color=RIGHT, ha="left", **TITLE)


def states():
    """Edges, a grid of directions, and draws."""
    usual = {control.name: control.default for control in CONTROLS}
    yield from (usual | visit for visit in ({}, *VISITS.values()))
    grid = (-180, -90, 0, 45, 90, 180), (-90, -45, 0, 30, 90), (0, 0.1, 1.5, 6)
    for phi, theta, eps in itertools.product(*grid):
        yield {"phi": phi, "theta": theta, "eps": eps}
    rng = np.random.default_rng(0)
    for _ in range(90):
        yield {
            "phi": int(rng.integers(-36, 37)) * 5,
            "theta": int(rng.integers(-18, 19)) * 5,
            "eps": round(float(rng.integers(0, 61)) * 0.1, 1),
        }


#: What else the script needs.
DATA = {"var": VAR, "norm": LENGTH, "basis": BASIS.tolist()}
DATA |= {"center": CENTER, "unit": UNIT, "view": [TURN, TILT]}
DATA |= {"rows": ROWS, "bar": [510, 674]}
