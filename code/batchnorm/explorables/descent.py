"""Descent: gradient descent in the bowl of two columns, one of them in any unit.

On the left level curves of the loss and the path of the error. On the right the factor
by which a step multiplies the error, along the valley and across it, at every rate.
"""

import itertools

import numpy as np
from matplotlib.patches import Rectangle

from batchnorm.datasets import used_cars
from batchnorm.explorables.kinds import SMALL, TITLE, Guess, Range, arrow, fixed, linear
from batchnorm.figures.style import GRADIENT, LEVELS, REFERENCE, VALUE
from batchnorm.whitening import condition_number, covariance

#: Standard deviations of the cars: years, and thousands of kilometers.
YEARS, KILOMETERS = np.sqrt(np.diag(covariance(used_cars(seed=0).x))) / (1, 1000)
TOLERANCE, MOST = 1e-6, 40

HEIGHT, VIEW = 356, 1.25
W1, W2 = linear((-VIEW, VIEW), (26, 316)), linear((-VIEW, VIEW), (316, 26))
RATE, FACTOR = linear((0, 0.25), (400, 670)), linear((0, 1.6), (316, 36))
LEVEL = (0.12, 0.3, 0.48, 0.66, 0.84, 1.02)  # half-widths of the level curves

LABEL = "Gradient descent in a bowl, and the factor of a step at every rate"
CONTROLS = [
    Range("unit", "unit in km", 10, 100, 1, 50, "k", group="The cars"),
    Range("rho", "correlation", -0.95, 0.95, 0.05, 0.65, group="The cars"),
    Range("eta", "rate η", 0.01, 0.25, 0.001, 0.165, group="The descent"),
    Range("e1", "error in w₁", -1.2, 1.2, 0.1, 0.3, group="The descent"),
    Range("e2", "error in w₂", -1.2, 1.2, 0.1, 1, group="The descent"),
]
GUESS = Guess(
    "With kilometers in units of 50,000 and the best rate for them, 0.165, the loss "
    "falls to a millionth in 35 steps. In units of 25,000 the bowl is rounder: κ falls "
    "from 10 to 5. The rate stays. How many steps are needed now?",
    [
        "about half as many",
        "about as many, as the rate is the same",
        "it never arrives",
    ],
    2,
    "The numbers in the column are now larger, and so is λmax. The rate lies above "
    "2/\u2060λmax, and the error across the valley grows with each step.",
    {"unit": 25},
    [
        "half as many it would be at the best rate of the new unit.",
        "a step multiplies an error by 1 − ηλ, and λ is not the same.",
        "",
    ],
)
VISITS = {
    "50,000 km, half the rate": {"eta": 0.082},
    "25,000 km at its best rate": {"unit": 25, "eta": 0.11},
    "no correlation": {"rho": 0, "unit": 23, "eta": 0.1},
    "10,000 km at its best rate": {"unit": 10, "eta": 0.033},
}


def hessian(state) -> np.ndarray:
    """Covariance of the columns, were they correlated so."""
    spread = np.array([YEARS, KILOMETERS / state["unit"]])
    return np.outer(spread, spread) * [[1, state["rho"]], [state["rho"], 1]]


def values(state) -> dict:
    """Eigenvalues, factors, path and steps; None for steps that never arrive."""
    h, eta = hessian(state), float(state["eta"])
    low, high = np.linalg.eigvalsh(h)
    along, across = 1 - eta * low, 1 - eta * high
    q = max(abs(along), abs(across))
    error = np.array([state["e1"], state["e2"]], dtype=float)
    path = [error]
    while len(path) <= MOST and np.abs(path[-1]).max() < 2 * VIEW:
        path.append(path[-1] - eta * h @ path[-1])
    counted = predicted = None
    if q < 1 and error.any():
        counted = steps(h, error, eta)
        predicted = int(np.ceil(np.log(TOLERANCE) / (2 * np.log(q))))
    return {
        "low": float(low),
        "high": float(high),
        "kappa": float(condition_number(h)),
        "limit": float(2 / high),
        "best": float(2 / (low + high)),
        "along": float(along),
        "across": float(across),
        "path": np.array(path).tolist(),
        "counted": counted,
        "predicted": predicted,
    }


def steps(h, error, eta) -> int:
    """Count steps until a millionth of the loss is left, in the axes of the bowl."""
    eigenvalues, axes = np.linalg.eigh(h)
    parts = eigenvalues * (axes.T @ error) ** 2
    shrink, start, count = (1 - eta * eigenvalues) ** 2, parts.sum(), 0
    while parts.sum() > TOLERANCE * start:
        parts, count = parts * shrink, count + 1
    return count


def at(point) -> tuple[float, float]:
    """Pixel of an error, also outside the frame, where nothing is drawn."""
    x, y = point
    return float(W1(x)), float(W2(y))


def leaves(path) -> tuple[float, float] | None:
    """Where the last step crosses the frame, if it does."""
    start, end = np.array(path[-2:])
    if np.abs(end).max() <= VIEW:
        return None
    with np.errstate(divide="ignore"):
        share = np.where(end == start, np.inf, (np.copysign(VIEW, end - start) - start))
        share = np.min(share / np.where(end == start, 1, end - start))
    return at(start + share * (end - start))


def factors(eigenvalue: float) -> list[tuple[float, float]]:
    """Pixels of |1 − ηλ| over the rate η, as far as it is shown."""
    last = min(0.25, 2.6 / eigenvalue)
    rates = [0, 1 / eigenvalue, last] if last > 1 / eigenvalue else [0, last]
    return [(RATE(r), FACTOR(abs(1 - r * eigenvalue))) for r in rates]


def marks(state, values) -> dict:
    """Start, path, rate, both factors at it and their lines, the best and the limit."""
    rate = RATE(state["eta"])
    found = {
        "start": at(values["path"][0]),
        "path": at(values["path"][-1]),
        "rate": (rate, FACTOR(0)),
        "best": (RATE(values["best"]), FACTOR(0) - 20),
        "limit": (RATE(values["limit"]), FACTOR(1) - 12),
    }
    if np.abs(values["path"][1]).max() <= VIEW:
        found["first"] = at(values["path"][1])
    if leaves(values["path"]):
        found["leaves"] = leaves(values["path"])
    for name, eigenvalue in (("along", values["low"]), ("across", values["high"])):
        found[name] = (rate, FACTOR(min(abs(values[name]), 1.6)))
        found[f"{name}_line"] = factors(eigenvalue)[-1]
    return found


def sentence(state, values) -> str:
    """What the picture shows."""
    kappa, along, across = (fixed(values[k]) for k in ("kappa", "along", "across"))
    bowl = (
        f"κ is {kappa}. A step multiplies the error by {along} along the valley and by "
        f"{across} across it."
    )
    if values["path"][0] == [0, 0]:
        return f"{bowl} The descent starts at the minimum."
    rate, limit = fixed(state["eta"], 3), fixed(values["limit"], 3)
    if values["counted"] is None:
        return (
            f"{bowl} It never arrives: the rate {rate} is above 2/\u2060λmax = {limit}."
        )
    drawn = f", of which {MOST} are drawn" if values["counted"] > MOST else ""
    return (
        f"{bowl} The loss falls to a millionth in {values['counted']} steps{drawn}; "
        f"at most {values['predicted']} are predicted. "
        f"The rate must stay below {limit}."
    )


def ellipse(h, half: float) -> np.ndarray:
    """Pixels of a level curve, given its half-width across the valley."""
    (low, high), axes = np.linalg.eigh(h)
    angle = np.linspace(0, 2 * np.pi, 145)
    across, along = half * np.cos(angle), half * np.sqrt(high / low) * np.sin(angle)
    x, y = axes @ [along, across]
    return np.array([W1(x), W2(y)])


def draw(ax, state, values) -> None:
    """The static picture."""
    found = marks(state, values)
    corner, side = (W1(-VIEW), W2(VIEW)), W1(VIEW) - W1(-VIEW)
    frame = Rectangle(corner, side, side, fill=False, color=REFERENCE, linewidth=1.2)
    ax.add_patch(frame)
    for half in LEVEL:
        (curve,) = ax.plot(*ellipse(hessian(state), half), color=LEVELS, linewidth=1)
        curve.set_clip_path(frame)
    path = np.transpose([at(point) for point in values["path"]])
    (line,) = ax.plot(*path, ".-", color=GRADIENT, linewidth=1.6, markersize=6)
    line.set_clip_path(frame)
    if "leaves" in found:
        arrow(ax, path[:, -2], found["leaves"], GRADIENT, 1.6, 11)
    ax.plot(*found["start"], "o", color=GRADIENT, markersize=11)
    ax.plot(W1(0), W2(0), "+", color=REFERENCE, markersize=10, markeredgewidth=2)
    ax.text(26, 12, "error of the two weights", **TITLE)
    ax.text(400, 12, "factor", **TITLE)
    ax.text(500, 12, "along", color=VALUE, **TITLE)
    ax.text(590, 12, "across", color=GRADIENT, **TITLE)
    _factors(ax, state, values, found)


def _factors(ax, state, values, found) -> None:
    axis = {"color": REFERENCE, "linewidth": 1.2}
    ax.plot((RATE(0), RATE(0.25)), (FACTOR(0),) * 2, **axis)
    ax.plot((RATE(0), RATE(0)), (FACTOR(0), FACTOR(1.6)), **axis)
    ax.plot((RATE(0), RATE(0.25)), (FACTOR(1),) * 2, "--", **axis)
    for factor in (0, 1):
        ax.text(RATE(0) - 14, FACTOR(factor), str(factor), ha="center", **SMALL)
    for rate in ("0.1", "0.2"):
        ax.text(RATE(float(rate)), FACTOR(0) + 28, rate, ha="center", **SMALL)
    ax.text(RATE(0), FACTOR(0) + 28, "rate", ha="left", **SMALL)
    for name, part, color in (("along", "low", VALUE), ("across", "high", GRADIENT)):
        ax.plot(*np.transpose(factors(values[part])), color=color, linewidth=2)
        ax.plot(*found[name], "o", color=color, markersize=8)
    ax.plot((found["rate"][0],) * 2, (FACTOR(0), FACTOR(1.6)), ":", **axis)
    for name, factor in (("best", 0), ("limit", 1)):
        x, y = found[name]
        ax.plot((x, x), (FACTOR(factor), y), color=REFERENCE, linewidth=2)
        ax.text(x - 6, y, name, ha="right", **SMALL)
    ax.plot(*found["rate"], "o", color=REFERENCE, markersize=11)


def states():
    """Edges, a grid, and draws."""
    usual = {control.name: control.default for control in CONTROLS}
    yield from (usual | visit for visit in ({}, GUESS.reveal, *VISITS.values()))
    yield usual | {"e1": 0, "e2": 0}
    for unit, rho, eta in itertools.product(
        (10, 23, 50, 100), (-0.95, 0, 0.5, 0.95), (0.01, 0.05, 0.12, 0.25)
    ):
        yield usual | {"unit": unit, "rho": rho, "eta": eta}
    for e1, e2 in itertools.product((-1.2, 0, 1.2), repeat=2):
        yield usual | {"e1": e1, "e2": e2, "eta": 0.1}
    rng = np.random.default_rng(0)
    for _ in range(140):
        yield {
            "unit": int(rng.integers(10, 101)),
            "rho": round(float(rng.integers(-19, 20)) * 0.05, 2),
            "eta": round(float(rng.integers(10, 200)) * 0.001, 3),
            "e1": round(float(rng.integers(-12, 13)) * 0.1, 1),
            "e2": round(float(rng.integers(-12, 13)) * 0.1, 1),
        }


#: What else the script needs.
DATA = {"spread": [float(YEARS), float(KILOMETERS)], "levels": LEVEL}
