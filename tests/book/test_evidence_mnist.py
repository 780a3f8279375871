"""The evidence's part on MNIST: recorded as defined, shown as recorded."""

import re
from collections import Counter

import pytest

from batchnorm import claims
from batchnorm.claims import ledger
from batchnorm.experiments.runs import RUNS, found
from booktools import evidence, evidence_mnist
from booktools.notebooks import ROOT

ASKED = [run for run in RUNS.values() if run.findings]
FOUND = {one.finding.id: one for run in ASKED for one in found(run)}


@pytest.mark.parametrize("name", RUNS)
def test_every_run_is_recorded_as_it_is_defined(name):
    assert RUNS[name].whole(), f"run python -m batchnorm.experiments {name}"


@pytest.mark.parametrize("name", RUNS)
def test_every_task_says_what_made_it(name):
    run, data = RUNS[name], RUNS[name].load()
    tasks = [(cell, list(seeds)) for cell, seeds in run.tasks()]
    assert [(r["cell"], r["seeds"]) for r in data["records"]] == tasks
    for record in data["records"]:
        assert {"versions", "machine", "device", "date"} <= set(record)
        assert {"python", "numpy", "torch"} <= set(record["versions"])


@pytest.mark.parametrize("id", FOUND)
def test_the_controls_bear_what_was_found(id):
    controls = FOUND[id].controls
    assert controls.get("negative") != "supported"
    assert controls.get("positive", "supported") == "supported"


def test_what_was_asked_on_the_digits_is_a_claim_of_the_book():
    beside = [one.finding.beside for one in FOUND.values() if one.finding.beside]
    assert len(beside) == len(set(beside)) >= 25
    for id in beside:
        claims.get(id)


def test_the_table_has_a_row_for_each_question_whatever_came_out():
    page = evidence_mnist.page(ledger.read())
    assert re.findall(r"^\* - \((mnist-[\w-]+)\)=$", page, re.MULTILINE) == [*FOUND]
    for one in FOUND.values():
        row = page[page.index(f"({one.finding.id})=") :].split("\n* - ", 1)[0]
        assert one.finding.statement in row
        assert f"**{one.verdict}**" in row
    assert "Not recorded yet" not in page
    assert "No rate or scale of a compared arm lies on an edge of its grid." in page


def test_readme_counts_the_verdicts_on_mnist():
    counted = Counter(one.verdict for one in FOUND.values())
    readme = " ".join((ROOT / "README.md").read_text("utf-8").split())
    assert (
        f"Of {len(FOUND)} questions put to MNIST the verdicts are "
        f"{counted['supported']} supported, {counted['opposed']} opposed and "
        f"{counted['undecided']} undecided."
    ) in readme


def test_the_entry_of_a_claim_names_its_verdict_on_mnist():
    page = evidence.page(ledger.read())
    said = page[page.index("(claim-tanh-steps)=") :].split("\n(", 1)[0]
    verdict = FOUND["mnist-tanh-steps"].verdict
    assert f"*On MNIST, recorded:* **{verdict}**" in said
