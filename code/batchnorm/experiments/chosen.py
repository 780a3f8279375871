"""Learning rates and initial scales on MNIST, chosen where nothing is reported.

As for the claims: both arms of a comparison get the same grid and the same seeds, in
steps of √10 for rates and of 2 for scales, on training images that nothing else reads
(`splits.to_tune`). Chosen is the cell with the highest accuracy, averaged over the run
("early") or after its last step ("final"), mean over seeds.
"""

import numpy as np

from batchnorm.claims.networks import Arm
from batchnorm.claims.protocol import TUNING_SEEDS
from batchnorm.claims.tuning import rates
from batchnorm.ensemble import Adam
from batchnorm.experiments import conv, dense
from batchnorm.experiments.dense import Dense
from batchnorm.experiments.recorded import Cell, Recorded, values

SEEDS = TUNING_SEEDS[:3]


def scales(low, high):
    """Initial scales from 2^low to 2^high in steps of 2."""
    return tuple(2.0**k for k in range(low, high + 1))


def label(norm, order="before"):
    """The name of an arm: "none", "batch", "ghost 8", "batch after"."""
    said = " ".join(map(str, norm)) if isinstance(norm, tuple) else norm or "none"
    return said if order == "before" else f"{said} {order}"


def _sweep(name, chosen, measure, settings, gpu=False):
    """A run that tunes; its settings by name depend on no other run."""
    cells = {cell: Cell(setting) for cell, setting in settings.items()}
    about = f"{chosen} of {name}, chosen on images that nothing else reads."
    options = {"seeds": SEEDS, "block": len(SEEDS), "gpu": gpu}
    return Recorded(f"tune-{name}", about, measure, lambda folder: cells, **options)


def dense_sweep(name, arms, grid, **setting):
    """A run that tunes fully connected networks, one cell for each arm and rate."""
    rates, scales = grid
    settings = {
        f"{label(norm)} at {rate}": {"norm": norm, "rate": rate, "scales": scales}
        for norm in arms
        for rate in rates
    }
    settings = {cell: given | setting for cell, given in settings.items()}
    return _sweep(name, "Rates and scales", dense.tuning, settings)


def noise_sweep(name, arms, rates, **setting):
    """A run that tunes networks with noise, one cell for each arm."""
    settings = {label(a): {"norm": a, "rates": rates, **setting} for a in arms}
    return _sweep(name, "Rates", dense.noisy_tuning, settings)


def conv_sweep(name, arms, grid, **setting):
    """A run that tunes convolutional networks, one cell for each arm (norm, order)."""
    given = {"rates": grid[0], "scales": grid[1], **setting}
    settings = {label(*a): {"norm": a[0], "order": a[1], **given} for a in arms}
    return _sweep(name, "Rates and scales", conv.tuning, settings, gpu=True)


def scores(data, name, by):
    """What an arm of a sweep scored, mean over seeds -> (rates, scales), rates, scales.

    data is the sweep's result file, name the `label` of the arm, and by "early" or
    "final".
    """
    cells = [c for c in data["settings"] if c == name or c.startswith(f"{name} at ")]
    settings = [data["settings"][c] for c in cells]
    lr = [r for s in settings for r in s.get("rates", [s.get("rate")])]
    scale = settings[0].get("scales", [2**0.5])
    found = [values(data, c, by).mean(axis=0) for c in cells]
    return np.concatenate(found).reshape(len(lr), len(scale)), tuple(lr), tuple(scale)


def best(sweep, folder, norm, by="early", order="before"):
    """The `Arm` that a sweep chose for a norm and order, by "early" or "final".

    folder is that of result files; a `ValueError` says that the sweep's is not there.
    """
    found, lr, scale = scores(sweep.load(folder), label(norm, order), by)
    at = np.unravel_index(np.argmax(found), found.shape)
    return Arm(norm, float(lr[at[0]]), float(scale[at[1]]), order)


def edges(data, names, by):
    """Arms whose best rate or scale lies on an edge of the sweep's grid -> list of str.

    data is the sweep's result file, and names are the `label` of each arm.
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


def _before(*norms):
    """Arms with these norms, before the ReLU."""
    return tuple((norm, "before") for norm in norms)


def _of_relus(size, steps):
    setting = {"net": NETS["batches"], "steps": steps, "batch": size}
    grid = rates(-3, 0) if size == 2 else rates(-2, 0.5), scales(-2, 2)
    return dense_sweep(f"batches-of-{size}", RELATIVES, grid, **setting)


def _with_dropout(name, **setting):
    arms = None, *DROPOUTS, *BESIDE
    return noise_sweep(name, arms, NOISE_RATES, net=NETS["noise"], **setting)


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
    "dropout-few": _with_dropout("dropout-few", **FEW),
    "dropout-more": _with_dropout("dropout-more", **MORE),
    "cnn": conv_sweep(
        "cnn",
        (*_before(None, "batch"), ("batch", "after"), *_before("per-activation")),
        (rates(-2, 0.5), scales(-4, 2)),
        **SHALLOW,
    ),
    "residual": conv_sweep(
        "residual",
        _before(None, "batch", "group", "layer"),
        (rates(-2, 0.5), scales(-2, 4)),
        **DEEP,
    ),
    "residual-of-4": conv_sweep(
        "residual-of-4",
        _before("batch", "group", "layer"),
        (rates(-3, -0.5), scales(-2, 4)),
        **DEEP_OF_4,
    ),
}
