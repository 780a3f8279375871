"""Two questions of Part V that the digits left open, asked again on MNIST.

Group normalization at batches of 32, and ghosts where all labels are right. Each is one
comparison of two tuned arms.
"""

from batchnorm.claims.types import above
from batchnorm.experiments import dense
from batchnorm.experiments.chosen import (
    FEW,
    GHOSTS,
    NETS,
    NOISE_RATES,
    SWEEPS,
    best,
    noise_sweep,
)
from batchnorm.experiments.findings import Finding
from batchnorm.experiments.on_mnist import (
    AS_BEFORE,
    POINTS,
    arm_cells,
    ghosts,
    redrawn,
    slowed,
)
from batchnorm.experiments.recorded import Recorded


def versus(first, second, reference, by=100, **given):
    """Cells of a comparison: two arms, the reference drawn anew, the second slowed."""
    few = {"redrawn": redrawn(reference), "slowed": slowed(second, by)}
    return arm_cells({"first": first, "second": second}, few, **given)


def _ahead(beside, statement, effect, least, reference="first"):
    """The one finding of such a comparison."""
    same = {"first": "redrawn"}
    if reference == "first":
        same["second"] = "first"
    return Finding(
        f"mnist-{beside}",
        beside,
        statement,
        effect,
        above(least),
        "final",
        "first",
        "second",
        negative=same,
        positive={"second": "slowed"},
    )


# ---------------------------------------------------------------------------
# Group normalization at batches of 32


def at_32(folder):
    """Two ReLU layers with batch normalization, or groups of 25 units."""
    chosen = [
        best(SWEEPS["batches-of-32"], folder, norm, "final")
        for norm in ("batch", ("group", 4))
    ]
    given = {"net": NETS["batches"], "batch": 32, "steps": 600, "at": (150, 300, 600)}
    return versus(*chosen, chosen[0], **given)


AT_32 = Recorded(
    "mnist-group-at-32",
    "Two ReLU layers with batch and group normalization, in mini-batches of 32, on "
    "MNIST.",
    dense.curves,
    at_32,
    needs=("tune-batches-of-32",),
    findings=(
        _ahead(
            "batch-norm-before-group-at-32",
            "In mini-batches of 32, two ReLU layers are more accurate after 600 steps "
            "with batch normalization than with group normalization, four groups of 25 "
            "units, learning rate and initial scale tuned for both.",
            "accuracy with mini-batches of 32, batch less group normalization",
            POINTS,
        ),
    ),
)

# ---------------------------------------------------------------------------
# Ghosts where all labels are right

CLEAN_SWEEP = noise_sweep("ghosts-clean", GHOSTS, NOISE_RATES, net=NETS["noise"], **FEW)


def clean(folder):
    """1000 right labels: the best ghosts, and one mean for all 64."""
    arms = ghosts(CLEAN_SWEEP, folder)
    return versus(*arms, arms[1], by=1000, net=NETS["noise"], **FEW)


CLEAN = Recorded(
    "mnist-ghosts-clean",
    "Three ReLU layers that learn from 1000 images, all labels right, normalized in "
    "ghosts or as one batch of 64, on MNIST.",
    dense.noisy,
    clean,
    needs=(CLEAN_SWEEP.name,),
    findings=(
        _ahead(
            "ghosts-read-clean-labels",
            "With all of 1000 labels right and the rate tuned for both, networks with "
            "the ghosts that were best when tuned read more of the test images after "
            "480 steps than with one mean for all 64.",
            "accuracy with ghosts, less that with all 64, each at its rate",
            AS_BEFORE,
            reference="second",
        ),
    ),
)

MORE_SWEEPS = (CLEAN_SWEEP,)
RUNS = AT_32, CLEAN
