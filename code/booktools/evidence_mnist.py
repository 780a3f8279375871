"""The page of evidence, its part on MNIST: what the recorded runs say of the claims."""

from collections import Counter
from functools import cache

import numpy as np

from batchnorm import claims
from batchnorm.claims import ledger
from batchnorm.claims.show import short
from batchnorm.claims.types import VERDICTS
from batchnorm.experiments import chosen
from batchnorm.experiments.recorded import CARRIED, FOLDER
from batchnorm.experiments.runs import RUNS, found


@cache
def _whole():
    """Runs that have been recorded as they are defined, which takes a hash of each."""
    return [run for run in RUNS.values() if run.whole()]


def recorded():
    """All findings whose run has been recorded as it is defined -> list of Found."""
    return [one for run in _whole() if run.findings for one in found(run)]


def missing():
    """Names of the runs with findings that are not recorded as they are defined."""
    kept = _whole()
    return [run.name for run in RUNS.values() if run.findings and run not in kept]


def beside():
    """For each claim that was asked again: its finding on MNIST -> dict of Found."""
    return {one.finding.beside: one for one in recorded() if one.finding.beside}


def entry(one):
    """The line that stands in the entry of a claim -> Markdown."""
    return (
        f"*On MNIST, recorded:* **{one.verdict}**, {_number(one)} on {one.seeds} "
        f"seeds; asked {one.finding.region} ({{ref}}`its row <{one.finding.id}>`)."
    )


def page(records):
    """The table, digits beside MNIST, and what is not recorded -> Markdown."""
    every = recorded()
    rows = [_row("Asked", "on the digits", "on MNIST", "smallest effect there")]
    rows += [_of(one, records) for one in every]
    counted = Counter(one.verdict for one in every)
    said = ", ".join(f"{counted[verdict]} {verdict}" for verdict in VERDICTS)
    cores, gpu = (_seconds(on_gpu) for on_gpu in (False, True))
    text = [
        f"Of {len(every)} questions, {said}. With the choice of settings the runs of "
        f"this table took {cores / 60:.0f} minutes of a core and {gpu / 60:.0f} of a "
        "GPU.",
        ":::{list-table}\n:header-rows: 1\n:widths: 46 18 22 14\n\n"
        + "\n".join(rows)
        + "\n:::",
        _edges(),
    ]
    if absent := missing():
        text.append(f"*Not recorded yet:* {', '.join(f'`{name}`' for name in absent)}.")
    if carried := sum(run.carried() for run in _whole()):
        text.append(
            f"*Carried over:* {carried} runs, which were not run again as their "
            f"fingerprints came to cover less on {CARRIED['date']}: {CARRIED['why']}. "
            "The code that they reach now is word for word what it was: under the "
            "names that it had, and together with the sources that are reached no "
            "longer, which are kept, it gives the fingerprint in each file, and the "
            "seeds are drawn from that."
        )
    return "\n\n".join(text)


def _row(first, *cells, label=""):
    """A row of a list-table; a label stands before its first cell."""
    label = f"({label})=\n    " if label else ""
    return "\n".join([f"* - {label}{first}", *(f"  - {cell}" for cell in cells)])


def _of(one, records):
    """The row of a finding, with the outcome on the digits where there is one."""
    digits, name = "not asked", one.finding.beside
    if name:
        claim = claims.get(name)
        kept = ledger.confirmation(claim, records)
        estimate = short(ledger.number(kept["estimate"]), claim.kind)
        digits = f"{kept['verdict']}, {{ref}}`{estimate} <claim-{name}>`"
    there = f"**{one.verdict}**, {_number(one)}{_controls(one)}"
    asked = f"{one.finding.region}, {one.seeds} seeds"
    return _row(one.finding.statement, digits, there, asked, label=one.finding.id)


def _seconds(on_gpu):
    """Seconds of all tasks on MNIST but figure 1, whose were not recorded."""
    runs = [run for run in _whole() if run.name != "figure1"]
    records = [record for run in runs for record in run.load()["records"]]
    return sum(r["seconds"] for r in records if (r["device"] != "cpu") == on_gpu)


def _number(one):
    """Estimate and interval, as the claims write them."""
    kind = "prediction" if one.finding.of == "over-law" else "experiment"
    return short(np.array(one.estimate), kind)


def _controls(one):
    """What a reader has to know of controls that did not come out as they have to."""
    said = []
    if one.controls.get("negative") == "supported":
        said.append("negative control supported")
    if one.controls.get("positive", "supported") != "supported":
        said.append(f"positive control {one.controls['positive']}")
    return f" ({'; '.join(said)})" if said else ""


def _edges():
    """Compared arms whose best rate or scale lies on an edge of the grid, in words."""
    on_edge = []
    for run in RUNS.values():
        arms = [cell.setting.get("arm") for cell in run.cells(FOLDER).values()]
        for sweep in (RUNS[name] for name in run.needs):
            on_edge += [
                f"`{run.name}`, {arm.norm}" for arm in arms if _edge(sweep, arm)
            ]
    if not on_edge:
        return "No rate or scale of a compared arm lies on an edge of its grid."
    return (
        "On an edge of its grid lies the best rate or scale of: "
        f"{'; '.join(on_edge)}. A wider grid might serve these arms better."
    )


def _edge(sweep, arm):
    """Whether a sweep chose this arm, on an edge of its grid."""
    data, name = sweep.load(), chosen.label(arm.norm, arm.order)
    kinds = [by for by in ("early", "final") if by in data["records"][0]]
    names = {cell.partition(" at ")[0] for cell in data["settings"]}
    return name in names and any(
        chosen.edges(data, [name], by)
        for by in kinds
        if chosen.best(sweep, FOLDER, arm.norm, by, arm.order) == arm
    )
