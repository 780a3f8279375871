"""The central training claims, asked again on MNIST: cells, and what is asked of them.

What was tuned on small digits is tuned anew here (`chosen`). Bars are those of the
claims, but for accuracies after learning from 10,000 images: there half a point is the
smallest difference of interest, about a fifth of the errors, as two points are on the
small digits.
"""

from batchnorm.claims.types import above, below
from batchnorm.ensemble import Adam
from batchnorm.experiments import dense
from batchnorm.experiments.chosen import (
    BATCH,
    BESIDE,
    DROPOUTS,
    FEW,
    GHOSTS,
    MORE,
    NETS,
    STEPS,
    SWEEPS,
    WRONG,
    best,
    label,
    rates,
    scores,
)
from batchnorm.experiments.dense import READ
from batchnorm.experiments.findings import Finding
from batchnorm.experiments.recorded import Cell, Recorded

POINTS, AS_BEFORE, POINT = 0.005, 0.02, 0.01  # of accuracy
CONTROLS = 10  # seeds of a control


def redrawn(arm):
    """The same from other initial weights: nothing but chance sets it apart."""
    return arm._replace(draw=1)


def slowed(arm, by):
    """The same at a rate so many times smaller."""
    return arm._replace(rate=arm.rate / by)


def arm_cells(arms, few=(), **given):
    """Cells by name of arms, on all seeds, and of those in few, the controls."""
    cells = {name: Cell({"arm": arm, **given}) for name, arm in arms.items()}
    controls = {n: Cell({"arm": a, **given}, CONTROLS) for n, a in dict(few).items()}
    return cells | controls


# ---------------------------------------------------------------------------
# Steps to an accuracy, and accuracy in the end


def against_plain(name, said, also=(), **options):
    """A network with batch normalization and without, rate and scale tuned for both."""
    sweep, net = SWEEPS[name], NETS[name]

    def cells(folder):
        plain, normed = (best(sweep, folder, norm) for norm in (None, "batch"))
        few = {"redrawn": redrawn(plain), "slowed": slowed(plain, 10)}
        ends = {
            f"{label(norm)}, for the end": best(sweep, folder, norm, "final")
            for norm in ((None, "batch") if also else ())
        }
        given = {"net": net, "steps": STEPS, "batch": BATCH, "at": READ, **options}
        cells = arm_cells({"none": plain, "batch": normed}, few, **given)
        return cells | arm_cells(ends, **given)

    steps = Finding(
        f"mnist-{name}-steps",
        f"{name}-steps",
        f"{said} reach 90 % in fewer steps with batch normalization, learning rate and "
        "initial scale tuned for both.",
        "steps to 90 %, without over with",
        above(1.25),
        "steps",
        "none",
        "batch",
        negative={"second": "redrawn"},
        positive={"first": "slowed"},
    )
    return Recorded(
        f"mnist-{name}",
        f"{said}, without and with batch normalization, on MNIST.",
        dense.curves,
        cells,
        needs=(sweep.name,),
        findings=(steps, *also),
    )


def in_the_end(name, said, beside):
    """That a network is more accurate with batch normalization after the last step."""
    return Finding(
        f"mnist-{name}-final",
        beside,
        f"After {STEPS} steps {said} are more accurate with batch normalization, "
        "learning rate and initial scale tuned for both.",
        f"accuracy with, less that without, after {STEPS} steps",
        above(POINTS),
        "final",
        "batch, for the end",
        "none, for the end",
        negative={"first": "redrawn", "second": "none"},
        positive={"second": "slowed"},
    )


FIRST = (
    against_plain(
        "sigmoid",
        "Three sigmoid layers",
        (in_the_end("sigmoid", "three sigmoid layers", "final-accuracy"),),
    ),
    against_plain(
        "relu", "Six ReLU layers", (in_the_end("relu", "six ReLU layers", ""),)
    ),
    against_plain("tanh", "Four tanh layers"),
    against_plain("adam", "With Adam, three ReLU layers", optimizer=Adam()),
)

# ---------------------------------------------------------------------------
# Which settings train


def settings_that_train(folder):
    """Five rates at the tuned scale, or five scales at the tuned rate, of each arm."""
    given = {"net": NETS["relu"], "least": 0.7, "steps": 150, "batch": BATCH}
    cells = {}
    for norm in (None, "batch"):
        arm = best(SWEEPS["relu"], folder, norm)
        of_rates = {"rates": rates(-2, 0), "factors": (1.0,)}
        of_scales = {"rates": (arm.rate,), "factors": (0.1, 0.32, 1.0, 3.2, 10.0)}
        for what, axes in (("rates", of_rates), ("scales", of_scales)):
            cells[f"{what} {label(norm)}"] = Cell({"arm": arm, **axes, **given})
            if norm is None:
                again = {"arm": redrawn(arm), **axes, **given}
                cells[f"{what} redrawn"] = Cell(again, CONTROLS)
                tiny = axes | {"rates": (1e-6,) * len(axes["rates"])}
                cells[f"{what} planted"] = Cell({"arm": arm, **tiny, **given}, CONTROLS)
    return cells


def _trains(what, said):
    return Finding(
        f"mnist-{what}-that-train",
        f"{what}-that-train",
        f"Six ReLU layers reach 70 % within 150 steps at more {said}.",
        f"{what} that train, with less without",
        above(0.5),
        "trained",
        f"{what} batch",
        f"{what} none",
        negative={"first": f"{what} redrawn"},
        positive={"second": f"{what} planted"},
    )


SETTINGS = Recorded(
    "mnist-settings",
    "Learning rates and initial scales at which six ReLU layers train, on MNIST.",
    dense.trained,
    settings_that_train,
    needs=("tune-relu",),
    findings=(
        _trains(
            "rates",
            "of the learning rates from 0.01 to 1, in steps of √10, with "
            "batch normalization, each arm at the scale tuned for it",
        ),
        _trains(
            "scales",
            "initial scales with batch normalization, of the one tuned "
            "for each arm and 3.2 and 10 times as large or as small",
        ),
    ),
)

# ---------------------------------------------------------------------------
# Small batches, and relatives


def of_sizes(folder):
    """Two ReLU layers with each norm, in mini-batches of 2 and of 32."""
    cells = {}
    for size, steps in ((2, 1600), (32, 600)):
        given = {"net": NETS["batches"], "batch": size, "steps": steps}
        given["at"] = tuple(range(steps // 4, steps + 1, steps // 4))
        arms = {
            label(norm): best(SWEEPS[f"batches-of-{size}"], folder, norm, "final")
            for norm in ("batch", "layer", ("group", 4))
        }
        first, second = ("layer", "batch") if size == 2 else ("batch", "layer")
        few = {"redrawn": redrawn(arms[first]), "slowed": slowed(arms[second], 100)}
        made = arm_cells(arms, few, **given)
        cells |= {f"{size}: {name}": cell for name, cell in made.items()}
    return cells


def _of_size(size, steps, first, second, beside):
    better, other = first.split()[0], second.split()[0]
    return Finding(
        f"mnist-{better}-over-{other}-at-{size}",
        beside,
        f"In mini-batches of {size}, two ReLU layers are more accurate after {steps} "
        f"steps with {better} normalization than with {other} normalization, learning "
        "rate and initial scale tuned for both.",
        f"accuracy with mini-batches of {size}, {better} less {other} normalization",
        above(POINTS),
        "final",
        f"{size}: {first}",
        f"{size}: {second}",
        negative={
            "first": f"{size}: {'layer' if size == 2 else 'batch'}",
            "second": f"{size}: redrawn",
        },
        positive={"second": f"{size}: slowed"},
    )


BATCHES = Recorded(
    "mnist-batches",
    "Two ReLU layers with batch, layer and group normalization, in mini-batches of 2 "
    "and of 32, on MNIST.",
    dense.curves,
    of_sizes,
    needs=("tune-batches-of-2", "tune-batches-of-32"),
    findings=(
        _of_size(2, 1600, "layer", "batch", "layer-norm-at-batches-of-2"),
        _of_size(2, 1600, "group 4", "batch", ""),
        _of_size(32, 600, "batch", "layer", "batch-norm-at-batches-of-32"),
    ),
)

# ---------------------------------------------------------------------------
# Noise: ghosts and dropout


def noisiest(folder):
    """30 % of 1000 labels wrong: the best ghosts, and one mean for all 64."""
    small, whole = ghosts(SWEEPS["ghosts"], folder)
    few = {"redrawn": redrawn(whole), "slowed": slowed(whole, 1000)}
    arms = {"small": small, "whole": whole}
    return arm_cells(arms, few, net=NETS["noise"], **WRONG)


def ghosts(sweep, folder):
    """The best ghosts of a sweep, and one mean for all 64."""
    small = _best_of(sweep, folder, GHOSTS[:-1])
    return [best(sweep, folder, norm, "final") for norm in (small, GHOSTS[-1])]


def _best_of(sweep, folder, norms):
    """The norm that was most accurate when tuned, each at its best rate."""
    data = sweep.load(folder)
    return max(norms, key=lambda norm: scores(data, label(norm), "final")[0].max())


GHOST_RUN = Recorded(
    "mnist-ghosts",
    "Three ReLU layers that learn from 1000 images, 30 % of the labels random, "
    "normalized in ghosts or as one batch of 64, on MNIST.",
    dense.noisy,
    noisiest,
    needs=("tune-ghosts",),
    findings=(
        Finding(
            "mnist-ghosts-read-noisy-labels",
            "ghosts-read-noisy-labels",
            "With 30 % of 1000 labels random and the rate tuned for both, networks "
            "with the ghosts that were best when tuned read more of the test images "
            "after 480 steps than with one mean for all 64.",
            "accuracy with ghosts, less that with all 64, each at its rate",
            above(AS_BEFORE),
            "final",
            "small",
            "whole",
            negative={"first": "redrawn"},
            positive={"second": "slowed"},
        ),
    ),
)


def with_dropout(name, setting):
    """Cells of networks with and without dropout and batch normalization."""

    sweep = SWEEPS[name]

    def cells(folder):
        norms = {
            "none": None,
            "dropout": _best_of(sweep, folder, DROPOUTS),
            "batch": BESIDE[0],
            "both": _best_of(sweep, folder, BESIDE[1:]),
        }
        arms = {k: best(sweep, folder, norm, "final") for k, norm in norms.items()}
        few = {
            f"{k}, slowed": slowed(arms[k], 1000)
            for k in ("none", "batch", "both", "dropout")
        }
        return arm_cells(arms, few, net=NETS["noise"], **setting)

    return cells


def _dropout(name, setting):
    layers = f"ReLU layers that learn from {setting['images']:,} images"
    rest = "rate and probability tuned"
    return Recorded(
        f"mnist-dropout-{name}",
        f"Three {layers}, with dropout, batch normalization, both or neither, on "
        "MNIST.",
        dense.noisy,
        with_dropout(f"dropout-{name}", setting),
        needs=(f"tune-dropout-{name}",),
        findings=(
            Finding(
                f"mnist-dropout-without-{name}",
                f"dropout-without-{name}",
                f"Without normalization three {layers} read more of the test images "
                f"with dropout, {rest}.",
                "accuracy with dropout, less that without, no normalization",
                above(POINT),
                "final",
                "dropout",
                "none",
                negative={"first": "none", "second": "none"},
                positive={"second": "none, slowed"},
            ),
            Finding(
                f"mnist-dropout-beside-{name}",
                f"dropout-beside-{name}",
                f"With batch normalization three {layers} gain less than a point of "
                f"accuracy by dropout, {rest}.",
                "accuracy with dropout, less that without, both normalized",
                below(POINT),
                "final",
                "both",
                "batch",
                negative={"second": "batch, slowed"},
                positive={"first": "both, slowed"},
            ),
            Finding(
                f"mnist-normalized-or-dropout-{name}",
                f"normalized-or-dropout-{name}",
                f"Three {layers} read no fewer of the test images, within a point, "
                f"with batch normalization alone than with dropout alone, {rest}.",
                "accuracy with normalization, less that with dropout",
                above(-POINT),
                "final",
                "batch",
                "dropout",
                negative={"first": "batch, slowed"},
                positive={"second": "dropout, slowed"},
            ),
        ),
    )


DROPOUT_RUNS = _dropout("few", FEW), _dropout("more", MORE)
