"""Learning rates and initial scales on MNIST, chosen where nothing is reported.

As for the claims: both arms of a comparison get the same grid and the same seeds, in
steps of √10 for rates and of 2 for scales, on training images that nothing else reads
(`splits.to_tune`). Chosen is the cell with the highest accuracy, averaged over the run
("early") or after its last step ("final"), mean over seeds.
"""

import numpy as np

from batchnorm.claims.networks import Arm
from batchnorm.claims.protocol import TUNING_SEEDS
from batchnorm.ensemble import Adam
from batchnorm.experiments import conv, dense
from batchnorm.experiments.dense import Dense
from batchnorm.experiments.recorded import Cell, Recorded, values

SEEDS = TUNING_SEEDS[:3]


def rates(low, high):
    """Learning rates from 10^low to 10^high in steps of √10, two digits each."""
    return tuple(
        float(f"{10 ** (k / 2):.2g}")
        for k in range(round(2 * low), round(2 * high) + 1)
    )


def scales(low, high):
    """Initial scales from 2^low to 2^high in steps of 2."""
    return tuple(2.0**k for k in range(low, high + 1))


def label(norm, order="before"):
    """The name of an arm: "none", "batch", "ghost 8", "batch after"."""
    said = " ".join(map(str, norm)) if isinstance(norm, tuple) else norm or "none"
    return said if order == "before" else f"{said} {order}"


def dense_sweep(name, arms, grid, **setting):
    """A run that tunes fully connected networks, one cell for each arm and rate."""

    def cells(folder):
        return {
            f"{label(norm)} at {rate}": Cell(
                {"norm": norm, "rate": rate, "scales": grid[1], **setting}
            )
            for norm in arms
            for rate in grid[0]
        }

    about = f"Rates and scales of {name}, chosen on images that nothing else reads."
    name = f"tune-{name}"
    return Recorded(name, about, dense.tuning, cells, seeds=SEEDS, block=len(SEEDS))


def noise_sweep(name, arms, rates, **setting):
    """A run that tunes networks with noise, one cell for each arm."""

    def cells(folder):
        return {label(a): Cell({"norm": a, "rates": rates, **setting}) for a in arms}

    about = f"Rates of {name}, chosen on images that nothing else reads."
    name = f"tune-{name}"
    return Recorded(name, about, dense.noisy_tuning, cells, seeds=SEEDS, block=3)


def conv_sweep(name, arms, grid, **setting):
    """A run that tunes convolutional networks, one cell for each arm (norm, order)."""

    def cells(folder):
        given = {"rates": grid[0], "scales": grid[1], **setting}
        return {
            label(*arm): Cell({"norm": arm[0], "order": arm[1], **given})
            for arm in arms
        }

    about = f"Rates and scales of {name}, chosen on images that nothing else reads."
    name, tuning = f"tune-{name}", conv.tuning
    return Recorded(name, about, tuning, cells, seeds=SEEDS, block=3, gpu=True)


def scores(data, name, by):
    """What an arm of a sweep scored at each rate and scale, mean over seeds.

    Parameters
    ----------
    data : dict
        The sweep's result file.
    name : str
        `label` of the arm.
    by : {"early", "final"}

    Returns
    -------
    scores : array, shape (rates, scales)
    rates, scales : tuple of float
    """
    cells = [c for c in data["settings"] if c == name or c.startswith(f"{name} at ")]
    settings = [data["settings"][c] for c in cells]
    lr = [r for s in settings for r in s.get("rates", [s.get("rate")])]
    scale = settings[0].get("scales", [2**0.5])
    found = [values(data, c, by).mean(axis=0) for c in cells]
    return np.concatenate(found).reshape(len(lr), len(scale)), tuple(lr), tuple(scale)


def best(sweep, folder, norm, by="early", order="before"):
    """The arm that a sweep chose.

    Parameters
    ----------
    sweep : Recorded
    folder : Path
        Of result files.
    norm : str, tuple or None
    by : {"early", "final"}
    order : {"before", "after"}

    Returns
    -------
    Arm

    Raises
    ------
    ValueError
        If the sweep has no result file.
    """
    found, lr, scale = scores(sweep.load(folder), label(norm, order), by)
    at = np.unravel_index(np.argmax(found), found.shape)
    return Arm(norm, float(lr[at[0]]), float(scale[at[1]]), order)


def edges(data, names, by):
    """Arms of a sweep whose best rate or scale lies on an edge of its grid.

    Parameters
    ----------
    data : dict
        The sweep's result file.
    names : iterable of str
        `label` of each arm.
    by : {"early", "final"}

    Returns
    -------
    list of str
    """
    on_edge = []
    for name in names:
        found, *_ = scores(data, name, by)
        at = np.unravel_index(np.argmax(found), found.shape)
        ends = zip(at, found.shape, strict=True)
        if any(n > 1 and i in (0, n - 1) for i, n in ends):
            on_edge.append(name)
    return on_edge


# ---------------------------------------------------------------------------
# The sweeps

BOTH = (None, "batch")
RELU_GRID = rates(-3, 0.5), scales(-4, 2)
NETS = {
    "sigmoid": Dense("sigmoid", 3),
    "tanh": Dense("tanh", 4),
    "relu": Dense("relu", 6),
    "adam": Dense("relu", 3),
    "batches": Dense("relu", 2),
    "noise": Dense("relu", 3),
}
RELATIVES = "batch", "layer", ("group", 4)
STEPS, BATCH = 800, 60
FEW = {"images": 1000, "wrong": 0.0, "steps": 480, "batch": 64}
WRONG, MORE = FEW | {"wrong": 0.3}, FEW | {"images": 8000, "steps": 800}
GHOSTS = tuple(("ghost", size) for size in (2, 4, 8, 16, 64))
DROPOUTS = tuple(("dropout", p) for p in (0.2, 0.5))
BESIDE = tuple(("batch-dropout", p) for p in (0.0, 0.2, 0.5))
NOISE_RATES = rates(-3.5, 0.5)
SHALLOW = {"net": conv.Shallow(), "steps": 200, "batch": 32}
DEEP = {"net": conv.Residual(), "steps": 600, "batch": 64}
DEEP_OF_4 = {"net": conv.Residual(), "steps": 1200, "batch": 4}


def _of_relus(size, steps):
    setting = {"net": NETS["batches"], "steps": steps, "batch": size}
    grid = rates(-3, 0) if size == 2 else rates(-2, 0.5), scales(-2, 2)
    return dense_sweep(f"batches-of-{size}", RELATIVES, grid, **setting)


FULL = {"steps": STEPS, "batch": BATCH}
SWEEPS = {
    "sigmoid": dense_sweep(
        "sigmoid", BOTH, (rates(-1, 2), scales(-1, 4)), net=NETS["sigmoid"], **FULL
    ),
    "relu": dense_sweep("relu", BOTH, RELU_GRID, net=NETS["relu"], **FULL),
    "tanh": dense_sweep(
        "tanh", BOTH, (rates(-2, 1), scales(-2, 4)), net=NETS["tanh"], **FULL
    ),
    "adam": dense_sweep(
        "adam",
        BOTH,
        (rates(-4, -1), scales(-5, 2)),
        net=NETS["adam"],
        **FULL,
        optimizer=Adam(),
    ),
    "batches-of-2": _of_relus(2, 1600),
    "batches-of-32": _of_relus(32, 600),
    "ghosts": noise_sweep("ghosts", GHOSTS, NOISE_RATES, net=NETS["noise"], **WRONG),
    "dropout-few": noise_sweep(
        "dropout-few", (None, *DROPOUTS, *BESIDE), NOISE_RATES, net=NETS["noise"], **FEW
    ),
    "dropout-more": noise_sweep(
        "dropout-more",
        (None, *DROPOUTS, *BESIDE),
        NOISE_RATES,
        net=NETS["noise"],
        **MORE,
    ),
    "cnn": conv_sweep(
        "cnn",
        (
            (None, "before"),
            ("batch", "before"),
            ("batch", "after"),
            ("per-activation", "before"),
        ),
        (rates(-2, 0.5), scales(-4, 2)),
        **SHALLOW,
    ),
    "residual": conv_sweep(
        "residual",
        tuple((norm, "before") for norm in (None, "batch", "group", "layer")),
        (rates(-2, 0.5), scales(-2, 4)),
        **DEEP,
    ),
    "residual-of-4": conv_sweep(
        "residual-of-4",
        tuple((norm, "before") for norm in ("batch", "group", "layer")),
        (rates(-3, -0.5), scales(-2, 4)),
        **DEEP_OF_4,
    ),
}
