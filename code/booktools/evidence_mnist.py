"""The page of evidence, its part on MNIST: what the recorded runs say of the claims."""

from collections import Counter

import numpy as np

from batchnorm import claims
from batchnorm.claims import ledger
from batchnorm.claims.show import short
from batchnorm.experiments import chosen
from batchnorm.experiments.runs import RUNS, found


def recorded():
    """All findings whose run has been recorded as it is defined -> list of Found."""
    whole = [run for run in RUNS.values() if run.findings and run.whole()]
    return [one for run in whole for one in found(run)]


def missing():
    """Names of the runs with findings that have not been recorded as they are defined.

    Returns
    -------
    list of str
    """
    return [run.name for run in RUNS.values() if run.findings and not run.whole()]


def beside():
    """For each claim that was asked again: its finding on MNIST.

    Returns
    -------
    dict of str to Found
    """
    return {one.finding.beside: one for one in recorded() if one.finding.beside}


def entry(one):
    """The line that stands in the entry of a claim -> Markdown."""
    return (
        f"*On MNIST, recorded:* **{one.verdict}**, {_number(one)} on {one.seeds} seeds; "
        f"asked {one.finding.region} ({{ref}}`the table <evidence-mnist>`)."
    )


def page(records):
    """The table, digits beside MNIST, and what is not recorded.

    Parameters
    ----------
    records : list of dict
        The ledger.

    Returns
    -------
    str
        Markdown.
    """
    rows = ["| | digits | MNIST | asked there |", "| --- | --- | --- | --- |"]
    every = recorded()
    for one in every:
        digits, id = "not asked", one.finding.beside
        if id:
            claim = claims.get(id)
            kept = ledger.confirmation(claim, records)
            estimate = short(ledger.number(kept["estimate"]), claim.kind)
            digits = f"{kept['verdict']}, {{ref}}`{estimate} <claim-{id}>`"
        bad = _controls(one)
        rows.append(
            f"| {one.finding.statement} | {digits} | **{one.verdict}**, {_number(one)}"
            f"{bad} | {one.finding.region} |"
        )
    counted = Counter(one.verdict for one in every)
    said = ", ".join(f"{count} {verdict}" for verdict, count in counted.items())
    seconds = sum(_seconds(run) for run in RUNS.values() if run.whole())
    text = [
        f"Of {len(every)} questions: {said}. The runs took {seconds / 3600:.1f} hours "
        "of one core or one GPU in all, the choice of settings included.",
        "\n".join(rows),
        _edges(),
    ]
    if absent := missing():
        text.append(f"*Not recorded yet:* {', '.join(f'`{name}`' for name in absent)}.")
    return "\n\n".join(filter(None, text))


def _seconds(run):
    return sum(record.get("seconds", 0) for record in run.load()["records"])


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
    """Arms whose best rate or scale lies on an edge of the grid, in a sentence."""
    found_ = []
    for name, sweep in chosen.SWEEPS.items():
        if sweep.whole():
            data = sweep.load()
            arms = dict.fromkeys(cell.partition(" at ")[0] for cell in data["settings"])
            for by in ("early", "final"):
                if by in data["records"][0]:
                    on_edge = chosen.edges(data, arms, by)
                    found_ += [f"{name}, {arm} ({by})" for arm in on_edge]
    if not found_:
        return "No arm's best rate or scale lies on an edge of its grid."
    return (
        "On an edge of their grids lie the best rate or scale of: "
        f"{'; '.join(found_)}. A wider grid might serve these arms better."
    )
