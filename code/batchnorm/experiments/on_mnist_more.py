"""Three questions of Part V that the digits left open, asked again on MNIST.

Group normalization at batches of 32, ghosts where all labels are right, and networks of
which only γ and β learn. Each is one comparison of two tuned arms.
"""

from batchnorm.claims.types import above
from batchnorm.ensemble import Only
from batchnorm.experiments import dense
from batchnorm.experiments.chosen import (
    BATCH,
    FEW,
    GHOSTS,
    NETS,
    NOISE_RATES,
    SWEEPS,
    best,
    dense_sweep,
    label,
    noise_sweep,
    rates,
    scales,
    scores,
)
from batchnorm.experiments.findings import Finding
from batchnorm.experiments.on_mnist import (
    AS_BEFORE,
    CONTROLS,
    POINTS,
    redrawn,
    slowed,
)
from batchnorm.experiments.recorded import Cell, Recorded


def versus(folder, first, second, reference, by=100, **given):
    """Cells of a comparison: two arms, the reference drawn anew, the second slowed."""
    cells = {
        "first": Cell({"arm": first}),
        "second": Cell({"arm": second}),
        "redrawn": Cell({"arm": redrawn(reference)}, CONTROLS),
        "slowed": Cell({"arm": slowed(second, by)}, CONTROLS),
    }
    return {k: Cell({**c.setting, **given}, c.seeds) for k, c in cells.items()}


def _ahead(beside, statement, effect, least, reference="first"):
    """The one finding of such a comparison."""
    same = {"first": "redrawn", "second": "first"}
    if reference == "second":
        same = {"first": "redrawn"}
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
    return versus(folder, *chosen, chosen[0], **given)


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
    data = CLEAN_SWEEP.load(folder)
    small = max(
        GHOSTS[:-1], key=lambda norm: scores(data, label(norm), "final")[0].max()
    )
    arms = [best(CLEAN_SWEEP, folder, norm, "final") for norm in (small, GHOSTS[-1])]
    return versus(folder, *arms, arms[1], by=1000, net=NETS["noise"], **FEW)


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

# ---------------------------------------------------------------------------
# Only γ and β learn

PART_STEPS = 400
PARTS = {
    part: dense_sweep(
        f"{part}-only",
        ("batch",),
        (rates(-3, 0), scales(-3, 3)),
        net=NETS["adam"],
        steps=PART_STEPS,
        batch=BATCH,
        optimizer=Only(part, NETS["adam"].network("batch")),
    )
    for part in ("norms", "output")
}


def parts(folder):
    """Three ReLU layers of which only γ and β learn, or only the output layer."""
    norms, output = (best(PARTS[p], folder, "batch", "final") for p in PARTS)
    given = {"net": NETS["adam"], "steps": PART_STEPS, "batch": BATCH}
    given["at"] = (100, 200, PART_STEPS)
    cells = versus(folder, norms, output, norms, by=1000, **given)
    of_norms = {"first", "redrawn"}
    return {
        name: Cell(
            {
                **cell.setting,
                "optimizer": Only(
                    "norms" if name in of_norms else "output",
                    NETS["adam"].network("batch"),
                ),
            },
            cell.seeds,
        )
        for name, cell in cells.items()
    }


ONLY = Recorded(
    "mnist-norms-only",
    "Three ReLU layers of which only γ and β learn, or only the output layer, on "
    "MNIST.",
    dense.curves,
    parts,
    needs=tuple(sweep.name for sweep in PARTS.values()),
    findings=(
        _ahead(
            "norms-learn-more-than-the-output",
            "With all weights frozen as they were drawn, the γ and β of three layers "
            f"of 100 ReLUs learn in {PART_STEPS} steps of Adam to read more digits "
            "than the output layer alone does, rate and scale tuned for both.",
            f"accuracy after {PART_STEPS} steps of Adam, only γ and β learning less "
            "only the output layer learning",
            POINTS,
        ),
    ),
)

MORE_SWEEPS = CLEAN_SWEEP, *PARTS.values()
RUNS = AT_32, CLEAN, ONLY
