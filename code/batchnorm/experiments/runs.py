"""All recorded runs by name, the most central ones first, and what was found."""

from dataclasses import replace
from typing import NamedTuple

from batchnorm import _checks
from batchnorm.claims.estimates import Estimate
from batchnorm.experiments import (
    figure1,
    figure1_tuned,
    on_mnist,
    on_mnist_maps,
    on_mnist_more,
)
from batchnorm.experiments.chosen import SWEEPS
from batchnorm.experiments.findings import Finding, effects_of, judge
from batchnorm.experiments.recorded import FOLDER, values

RUNS = {
    run.name: run
    for run in (
        *SWEEPS.values(),
        figure1_tuned.SWEEP,
        *on_mnist_more.MORE_SWEEPS,
        *on_mnist.FIRST,
        on_mnist.BATCHES,
        on_mnist.GHOST_RUN,
        *on_mnist.DROPOUT_RUNS,
        on_mnist.SETTINGS,
        on_mnist_maps.READINGS,
        on_mnist_maps.ACCUMULATED,
        on_mnist_maps.RESIDUAL,
        on_mnist_maps.RESIDUAL_OF_4,
        on_mnist_maps.MAPS,
        figure1_tuned.RUN,
        *on_mnist_more.RUNS,
        figure1.RUN,
    )
}


def get(name):
    """The run of that name, or a `ValueError` if there is none."""
    return RUNS[_checks.one_of("name", name, tuple(RUNS))]


class Found(NamedTuple):
    """A finding with its verdict, the number of seeds and those of its controls."""

    finding: Finding
    estimate: Estimate
    verdict: str
    seeds: int
    controls: dict


def found(run, folder=FOLDER):
    """What a run says about what was asked of it -> list of Found.

    A `ValueError` says that its result file is not in the folder, or not whole.
    """
    data = run.load(folder)
    results = []
    for finding in run.findings:
        effects = _effects(data, finding)
        controls = {}
        for name in ("negative", "positive"):
            if (changed := getattr(finding, name)) is not None:
                other = replace(finding, **changed)
                controls[name] = judge(other, _effects(data, other))[1]
        said = judge(finding, effects)
        results.append(Found(finding, *said, len(effects), controls))
    return results


def _effects(data, finding):
    first, second = (_cell(data, name) for name in (finding.first, finding.second))
    shared = min(first["seeds"], second["seeds"])
    cells = [
        {k: v if k in ("at", "seeds") else v[:shared] for k, v in cell.items()}
        for cell in (first, second)
    ]
    return effects_of(finding)(finding, *cells)


def _cell(data, name):
    """What was measured in a cell, the steps of its readings, how many seeds."""
    records = [r for r in data["records"] if r["cell"] == name]
    about = {"cell", "seeds", "seconds", "device", "date", "versions", "machine"}
    cell = {k: values(data, name, k) for k in records[0] if k not in about}
    cell["seeds"] = sum(len(r["seeds"]) for r in records)
    return cell | {"at": data["settings"][name].get("at")}
