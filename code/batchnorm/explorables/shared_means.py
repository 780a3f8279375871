"""Who shares a mean: which elements of a tensor, and whether the layer follows a shift.

On the left a small tensor, three examples of four channels of 3×3 pixels, and the
elements whose statistics a chosen one shares. On the right the example it is of:
shifted before the layer, shifted after it, the difference, and the γ, which is not
shifted.
"""

import itertools
from functools import lru_cache

import numpy as np

from batchnorm import reference, relatives
from batchnorm.explorables.kinds import SMALL, TITLE, Choice, Guess, Range, fixed
from batchnorm.figures.style import FAULT, REFERENCE, VALUE

SHAPE = N, C, H, W = 3, 4, 3, 3
GROUPS = 2


def _hundredths(seed: int, shape, mean: float, std: float) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(100 * mean, 100 * std, size=shape)
    return np.rint(drawn).astype(int)


#: None is 0, which would hide that it has a share in a mean square.
X = _hundredths(5, SHAPE, 1, 1.5)
#: One entry an element of an example; a layer with one a channel has the first of it.
GAMMA, BETA = _hundredths(1, SHAPE[1:], 1, 0.3), _hundredths(2, SHAPE[1:], 0, 0.4)
EPS = 1e-5

HEIGHT, PITCH, TILE = 410, 22, 78
SHEETS, TOPS = {"tensor": 24, "layer": 376}, (52, 146, 240, 334)
RESULTS = ("shift, then layer", "layer, then shift", "difference")
SQUARE = {"marker": "s", "markersize": 14.4, "markeredgewidth": 0}
#: What is drawn in full color: the size of a value, and how far γ is from 1.
FULL, FULL_GAMMA = 2.5, 0.6
#: Where the colors are explained, by the share of the full one.
SWATCHES = {-1: ("−2.5", "0.4"), -0.5: ("", ""), 0: ("0", "1"), 0.5: ("", "")}
SWATCHES |= {1: ("2.5", "1.6")}

NAMES = {
    "batch": "batch",
    "activation": "batch, per activation",
    "instance": "instance",
    "layer": "layer",
    "group": "group, two groups",
    "rms": "RMS",
}
AFFINE = {"own": "the layer's own", "none": "1 and 0"}
LABEL = "Which elements share a mean, and an example shifted before and after"
CONTROLS = [
    Choice("norm", "Normalization", NAMES, "batch", "The layer"),
    Choice("affine", "γ and β", AFFINE, "own", "The layer"),
    Range("n", "example", 1, N, 1, 2, group="The element"),
    Range("c", "channel", 1, C, 1, 2, group="The element"),
    Range("h", "row", 1, H, 1, 2, group="The element"),
    Range("w", "column", 1, W, 1, 2, group="The element"),
    Range("shift", "shift", 0, W - 1, 1, 1, " px", group="Its example"),
]
GUESS = Guess(
    "Layer normalization takes one mean over all channels and pixels of an image. Its "
    "γ and β have an entry for each of them, as PyTorch's LayerNorm has it. The image "
    "is shifted by a pixel; what goes out on the right comes in on the left. Does the "
    "output shift with it?",
    [
        "yes",
        "no, for its mean and its variance change",
        "no, for γ and β stay at their places",
    ],
    2,
    "Mean and variance are the same for the shifted image. But each value now meets "
    "the γ and β of its neighbor: the lowest row of the picture stays where it is.",
    {"norm": "layer", "affine": "own", "shift": 1},
    [
        "so it would with one γ and one β for a whole channel; here each pixel has "
        "its own.",
        "they are taken over all pixels, and a shift only puts these in other places.",
        "",
    ],
)
VISITS = {
    "layer, γ = 1 and β = 0": {"norm": "layer", "affine": "none"},
    "per activation, γ = 1 and β = 0": {"norm": "activation", "affine": "none"},
    "two groups, channel 3": {"norm": "group", "c": 3},
    "RMS": {"norm": "rms"},
}
SHARED = {
    "batch": "the marked element's channel in all examples",
    "activation": "the marked element's channel and pixel in all examples",
    "instance": "the marked element's channel in its example",
    "layer": "the marked element's whole example",
    "group": "two channels of the marked element's example",
    "rms": "the marked element's whole example",
}
STAYS = {
    "activation": "each place keeps statistics of its own",
    "layer": "γ and β stay at their places",
    "rms": "γ stays at its place",
}


def forward(x, norm: str, affine: str):
    """One of the layers, (N, C, H, W), and its cache."""
    gamma, beta = (None, None) if affine == "none" else (GAMMA / 100, BETA / 100)
    if norm == "rms":
        return relatives.rms_norm(x, gamma, trailing=3, eps=EPS)
    if norm == "layer":
        return relatives.layer_norm(x, gamma, beta, trailing=3, eps=EPS)
    if norm == "activation":
        flat = (None if p is None else p.ravel() for p in (gamma, beta))
        y, cache = reference.forward(x.reshape(len(x), -1), *flat, eps=EPS)
        return y.reshape(x.shape), cache
    columns = [None if p is None else p[:, 0, 0] for p in (gamma, beta)]
    if norm == "batch":
        return reference.forward(x, *columns, eps=EPS)
    if norm == "instance":
        return relatives.instance_norm(x, *columns, eps=EPS)
    return relatives.group_norm(x, GROUPS, *columns, eps=EPS)


def gains(norm: str, affine: str) -> np.ndarray:
    """What multiplies each element of an example, (C, H, W)."""
    if affine == "none":
        return np.ones(SHAPE[1:])
    gamma = GAMMA / 100
    per_element = norm in ("activation", "layer", "rms")
    return gamma if per_element else gamma[:, :1, :1] * np.ones(SHAPE[1:])


def chosen(state) -> tuple[int, int, int, int]:
    """The place of the element in the tensor."""
    return tuple(state[name] - 1 for name in ("n", "c", "h", "w"))


@lru_cache
def members(norm: str, place) -> list[int]:
    """Elements on which the output there depends, as its gradient has it."""
    _, cache = forward(X / 100, norm, "none")
    dy = np.zeros(SHAPE)
    dy[place] = 1
    dy = dy.reshape(N, -1) if norm == "activation" else dy
    through = reference if norm in ("batch", "activation") else relatives
    dx, _, _ = through.backward(dy, cache)
    return np.flatnonzero(dx).tolist()


@lru_cache
def results(norm: str, affine: str, n: int, shift: int) -> np.ndarray:
    """Example n, shifted before the layer and after it, (2, C, H, W)."""
    before = X / 100
    before[n] = np.roll(before[n], shift, axis=-1)
    after, _ = forward(X / 100, norm, affine)
    first, _ = forward(before, norm, affine)
    return np.stack([first[n], np.roll(after[n], shift, axis=-1)])


def values(state) -> dict:
    """Who shares the statistics, what leaves, and how far the two orders differ."""
    place = chosen(state)
    first, last = results(state["norm"], state["affine"], place[0], state["shift"])
    return {
        "members": members(state["norm"], place),
        "shifted": first.ravel().tolist(),
        "gap": float(np.abs(first - last).max()),
        "gamma": gains(state["norm"], state["affine"]).ravel().tolist(),
    }


def center(sheet: str, row: int, c: int, h: int, w: int) -> tuple[float, float]:
    """Pixel of an element, in a row of tiles counted from above."""
    x = SHEETS[sheet] + c * TILE + w * PITCH + PITCH / 2
    return x, TOPS[row] + h * PITCH + PITCH / 2


def in_tensor(place) -> tuple[float, float]:
    """Pixel of an element of the tensor, whose first example is the lowest."""
    n, c, h, w = place
    return center("tensor", N - 1 - n, c, h, w)


def marks(state, values) -> dict:
    """The chosen element, and all that share its statistics."""
    places = {
        f"cell_{i}": in_tensor(np.unravel_index(i, SHAPE)) for i in values["members"]
    }
    places["chosen"] = in_tensor(chosen(state))
    return {name: (float(x), float(y)) for name, (x, y) in places.items()}


def verdict(state, values) -> str:
    """Whether the two orders agree, and why not."""
    if state["shift"] == 0:
        return "agree: nothing has moved"
    if values["gap"] < 1e-9:
        return "agree: the layer follows the shift"
    return f"differ by up to {fixed(values['gap'])}: {STAYS[state['norm']]}"


def shared(state) -> str:
    """What it is that the elements share."""
    return "mean square" if state["norm"] == "rms" else "mean"


def sentence(state, values) -> str:
    """What the picture shows."""
    count = len(values["members"])
    return (
        f"{count} elements share one {shared(state)}: {SHARED[state['norm']]}. Example "
        f"{state['n']} is shifted by {state['shift']} px, before the layer and after "
        f"it; the other examples stay. The results {verdict(state, values)}."
    )


def draw(ax, state, values) -> None:
    """The static picture."""
    at = marks(state, values)
    count = f"{len(values['members'])} share one {shared(state)}"
    ax.text(SHEETS["tensor"], 14, count, **TITLE)
    ax.text(SHEETS["layer"], 14, f"example {state['n']} leaves", **TITLE)
    ax.text(SHEETS["layer"], TOPS[3] - 12, gamma_said(state), **SMALL)
    for row, top in enumerate(TOPS[:3]):
        ax.text(SHEETS["tensor"], top - 12, f"example {N - row}", **SMALL)
        ax.text(SHEETS["layer"], top - 12, RESULTS[row], **SMALL)
    for place in np.ndindex(SHAPE):
        ax.plot(*in_tensor(place), color=REFERENCE, alpha=0.13, **SQUARE)
    for i in values["members"]:
        ax.plot(*at[f"cell_{i}"], color=REFERENCE, **SQUARE)
    ax.plot(*at["chosen"], "o", color="white", markersize=7)
    where = chosen(state)[0], state["shift"]
    first, last = results(state["norm"], state["affine"], *where)
    gamma = (gains(state["norm"], state["affine"]) - 1) / FULL_GAMMA
    rows = first / FULL, last / FULL, (first - last) / FULL, gamma
    for row, shown in enumerate(rows):
        for c, h, w in np.ndindex(shown.shape):
            _colored(ax, center("layer", row, c, h, w), shown[c, h, w])
    _swatches(ax)


def gamma_said(state) -> str:
    """What stands above the tiles of γ."""
    if state["affine"] == "none":
        return "γ = 1"
    each = "element" if state["norm"] in ("activation", "layer", "rms") else "channel"
    return f"γ, one per {each}: stays"


def _colored(ax, spot, share) -> None:
    """A tile: blue above zero, orange below, by the share of the full color."""
    ax.plot(*spot, color=REFERENCE, alpha=0.13, **SQUARE)
    color, alpha = (VALUE if share > 0 else FAULT), min(abs(share), 1)
    ax.plot(*spot, color=color, alpha=alpha, **SQUARE)


def _swatches(ax) -> None:
    """The colors on the right, and the values that they stand for."""
    ax.text(SHEETS["tensor"], TOPS[3] - 12, "colors on the right", **SMALL)
    for y, words in ((372, "values"), (396, "γ")):
        ax.text(SHEETS["tensor"], y, words, **SMALL)
    for i, (share, said) in enumerate(SWATCHES.items()):
        x = SHEETS["tensor"] + 100 + 44 * i
        _colored(ax, (x, TOPS[3] + PITCH / 2), share)
        for y, words in zip((372, 396), said, strict=True):
            ax.text(x, y, words, ha="center", **SMALL)


def states():
    """Every layer at the corners of the tensor and in the middle, and draws."""
    usual = {control.name: control.default for control in CONTROLS}
    yield from (usual | visit for visit in ({}, GUESS.reveal, *VISITS.values()))
    ends = [(1, 1, 1, 1, 0), (N, C, H, W, 2), (2, 3, 1, 3, 1)]
    names = ("n", "c", "h", "w", "shift")
    for norm, affine, end in itertools.product(NAMES, ("own", "none"), ends):
        yield {"norm": norm, "affine": affine} | dict(zip(names, end, strict=True))
    rng = np.random.default_rng(0)
    for _ in range(160):
        state = {"norm": str(rng.choice([*NAMES]))}
        state["affine"] = str(rng.choice(["own", "none"]))
        for control in CONTROLS[2:]:
            state[control.name] = int(rng.integers(control.low, control.high + 1))
        yield state


#: What else the script needs.
DATA = {"shape": SHAPE, "groups": GROUPS, "eps": EPS, "full": FULL}
DATA |= {"x": X.tolist(), "gamma": GAMMA.tolist(), "beta": BETA.tolist()}
DATA |= {"sheets": SHEETS, "tops": TOPS, "pitch": PITCH, "tile": TILE}
DATA |= {"fullGamma": FULL_GAMMA, "swatches": list(SWATCHES.values())}
DATA |= {"results": RESULTS, "shared": SHARED, "stays": STAYS}
