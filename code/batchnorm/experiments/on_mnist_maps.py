"""MNIST once more: convolutional networks, ways to read, accumulated gradients."""

from batchnorm.claims.networks import Arm
from batchnorm.claims.types import above, within
from batchnorm.experiments import conv, dense
from batchnorm.experiments.chosen import (
    BATCH,
    DEEP,
    DEEP_OF_4,
    NETS,
    SHALLOW,
    SWEEPS,
    best,
    label,
)
from batchnorm.experiments.findings import Finding
from batchnorm.experiments.on_mnist import (
    AS_BEFORE,
    POINTS,
    arm_cells,
    redrawn,
    slowed,
)
from batchnorm.experiments.recorded import Cell, Recorded

ON_GPU = {"seeds": 20, "block": 10, "gpu": True}

# ---------------------------------------------------------------------------
# Feature maps


def of_maps(folder):
    """Two convolutions: no norm, one mean per map, behind the ReLU, per activation."""
    given = {**SHALLOW, "at": tuple(range(20, 201, 20))}

    def tuned(norm, by, order="before"):
        return best(SWEEPS["cnn"], folder, norm, by, order)

    arms = {
        "none": tuned(None, "early"),
        "batch": tuned("batch", "early"),
        "batch, for the end": tuned("batch", "final"),
        "after, for the end": tuned("batch", "final", "after"),
        "per-activation, for the end": tuned("per-activation", "final"),
    }
    few = {
        "none, redrawn": redrawn(arms["none"]),
        "none, slowed": slowed(arms["none"], 100),
        "batch, redrawn": redrawn(arms["batch, for the end"]),
        "after, slowed": slowed(arms["after, for the end"], 100),
        "per-activation, slowed": slowed(arms["per-activation, for the end"], 100),
    }
    return arm_cells(arms, few, **given)


def _maps(id, beside, statement, effect, second, keys=("right", "right")):
    return Finding(
        f"mnist-{id}",
        beside,
        statement,
        effect,
        above(POINTS),
        "final",
        "batch, for the end",
        f"{second}, for the end",
        negative={"second": "batch, redrawn"},
        positive={"second": f"{second}, slowed"},
        keys=keys,
    )


MAPS = Recorded(
    "mnist-maps",
    "A small convolutional network, without normalization and with it, on MNIST.",
    conv.curves,
    of_maps,
    needs=("tune-cnn",),
    **ON_GPU,
    findings=(
        Finding(
            "mnist-cnn-early-accuracy",
            "cnn-early-accuracy",
            "Over its first 200 steps, a small convolutional network is on average "
            "more accurate with batch normalization, learning rate and initial scale "
            "tuned for both.",
            "mean accuracy of steps 20 to 200, with less without",
            above(POINTS),
            "early",
            "batch",
            "none",
            negative={"first": "none, redrawn", "second": "none"},
            positive={"second": "none, slowed"},
        ),
        _maps(
            "order-with-nonlinearity",
            "order-with-nonlinearity",
            "The network is more accurate after 200 steps with batch normalization "
            "before the ReLU than after it, learning rate and initial scale tuned for "
            "both.",
            "accuracy after 200 steps, normalized before the ReLU less after it",
            "after",
        ),
        _maps(
            "per-map-accuracy",
            "per-map-accuracy",
            "The network is more accurate after 200 steps with one mean per feature "
            "map than with one per activation, learning rate and initial scale tuned "
            "for both.",
            "accuracy after 200 steps, one mean per map less one per activation",
            "per-activation",
        ),
        _maps(
            "per-map-accuracy-moved",
            "per-map-accuracy-moved",
            "The network reads digits moved by three pixels to either side better with "
            "one mean per feature map than with one per activation, learning rate and "
            "initial scale tuned for both.",
            "accuracy on digits moved by three pixels, one mean per map less one per "
            "activation",
            "per-activation",
            ("moved", "moved"),
        ),
    ),
)

# ---------------------------------------------------------------------------
# Residual networks


def residual_cells(sweep, norms, setting, reference):
    """Cells of residual networks with these norms; controls are of the reference."""

    def cells(folder):
        steps = setting["steps"]
        given = {**setting, "at": tuple(range(steps // 10, steps + 1, steps // 10))}
        arms = {label(n): best(SWEEPS[sweep], folder, n, "final") for n in norms}
        few = {"redrawn": redrawn(arms[reference])}
        others = [name for name in arms if name != reference]
        few |= {f"{name}, slowed": slowed(arms[name], 100) for name in others}
        return arm_cells(arms, few, **given)

    return cells


def _residual(first, second, size, steps, beside=""):
    than = "without" if second == "none" else f"with {second} normalization"
    return Finding(
        f"mnist-residual-{first}-over-{second}-at-{size}",
        beside,
        f"In mini-batches of {size}, a residual network of eight layers is more "
        f"accurate after {steps} steps with {first} normalization than {than}, "
        "learning rate and initial scale tuned for both.",
        f"accuracy with mini-batches of {size}, {first} less {second} normalization",
        above(POINTS),
        "final",
        first,
        second,
        negative={"second": "redrawn"},
        positive={"second": f"{second}, slowed"},
    )


RESIDUAL = Recorded(
    "mnist-residual",
    "A residual convolutional network with batch, group, layer or no normalization, in "
    "mini-batches of 64, on MNIST.",
    conv.curves,
    residual_cells("residual", (None, "batch", "group", "layer"), DEEP, "batch"),
    needs=("tune-residual",),
    **ON_GPU,
    findings=tuple(
        _residual("batch", second, 64, DEEP["steps"])
        for second in ("none", "group", "layer")
    ),
)
RESIDUAL_OF_4 = Recorded(
    "mnist-residual-of-4",
    "A residual convolutional network with batch, group or layer normalization, in "
    "mini-batches of 4, on MNIST.",
    conv.curves,
    residual_cells("residual-of-4", ("batch", "group", "layer"), DEEP_OF_4, "group"),
    needs=("tune-residual-of-4",),
    **ON_GPU,
    findings=tuple(
        _residual("group", second, 4, DEEP_OF_4["steps"])
        for second in ("batch", "layer")
    ),
)

# ---------------------------------------------------------------------------
# Ways to read


def ways(folder):
    """Three normalized ReLU layers at the rate of the claims, as they are read."""
    given = {"net": NETS["noise"], "arm": Arm("batch", 0.1), "batch": BATCH}
    return {
        "trained": Cell({**given, "steps": 400, "momentum": 0.1}),
        "young": Cell({**given, "steps": 50, "momentum": 0.01}),
        "quick": Cell({**given, "steps": 50, "momentum": 0.1}),
    }


def _read(id, statement, effect, of, region, keys, cell="trained", **controls):
    asked = statement, effect, region, of, cell, cell
    return Finding(f"mnist-{id}", id, *asked, keys=keys, **controls)


READINGS = Recorded(
    "mnist-readings",
    "Networks read by running averages, exact statistics, and those of mini-batches, "
    "on MNIST.",
    dense.readings,
    ways,
    findings=(
        _read(
            "running-average-default",
            "After 400 steps, running averages of momentum 0.1 classify as well as the "
            "exact statistics of the training set.",
            "accuracy with exact statistics, less that with running ones, over the "
            "errors with exact ones",
            "errors",
            within(-0.1, 0.1),
            ("exact", "running"),
            negative={"first": "young", "second": "young"},
            positive={"keys": ("exact", "exact")},
        ),
        _read(
            "reestimated-statistics",
            "After 50 steps, statistics estimated anew from 10 mini-batches of 60 "
            "classify as well as the exact ones.",
            "accuracy with exact statistics, less that with re-estimated ones, over "
            "the errors with exact ones",
            "errors",
            within(-0.1, 0.1),
            ("exact", "anew"),
            cell="young",
            negative={"keys": ("exact", "running")},
            positive={"keys": ("exact", "exact")},
        ),
        _read(
            "running-average-lags",
            "With momentum 0.01, running averages have not arrived after 50 steps: the "
            "same networks read more test images with the exact statistics.",
            "accuracy with exact statistics, less that with running ones",
            "final",
            above(AS_BEFORE),
            ("exact", "running"),
            cell="young",
            negative={"first": "quick", "second": "quick"},
            positive={"keys": ("exact", "sorted")},
        ),
        _read(
            "forgotten-eval",
            "Evaluated in training mode, in shuffled mini-batches of 8, a network "
            "reads fewer test images than in inference mode.",
            "accuracy in inference mode, less that in training mode",
            "final",
            above(POINTS),
            ("running", "eights"),
            negative={"keys": ("running", "whole")},
            positive={"keys": ("running", "sorted")},
        ),
        _read(
            "forgotten-eval-sorted",
            "In training mode, in mini-batches of 8, a network reads fewer test images "
            "if they are sorted by class.",
            "accuracy in training mode, test set shuffled, less that with it sorted by "
            "class",
            "final",
            above(AS_BEFORE),
            ("eights", "sorted"),
            negative={"keys": ("eights", "eights")},
            positive={"keys": ("running", "sorted")},
        ),
    ),
)


def parts(folder):
    """An untrained network of three ReLU layers, and parts of a batch of 96."""
    given = {"net": NETS["noise"], "arm": Arm("batch", 0.1), "n": 96}
    return {"normalized": Cell({**given, "m": (8, 12, 16, 24, 32, 48)})}


ACCUMULATED = Recorded(
    "mnist-accumulated",
    "How far gradients accumulated over parts are from those of the batch, on MNIST.",
    dense.accumulated,
    parts,
    findings=(
        Finding(
            "mnist-accumulated-gradient",
            "accumulated-gradient",
            "Normalized in parts of m and not as one batch of 96, the first layer of "
            "an untrained network returns another gradient, and by as much as the law "
            "for normal inputs says.",
            "relative difference of the gradients at the layer's inputs, over the law",
            within(0.9, 1.1),
            "over-law",
            "normalized",
            "normalized",
        ),
    ),
)
