"""The evidence's part on MNIST: recorded as defined, shown as recorded."""

import re
from collections import Counter

import numpy as np
import pytest

from batchnorm import claims
from batchnorm.claims import ledger
from batchnorm.experiments.runs import RUNS, found
from booktools import evidence, evidence_mnist
from booktools.notebooks import ROOT, notebooks, read

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


LINKED = re.compile(
    r"\{ref\}`(−?[\d.]+)( percent| points?| times| settings) "
    r"\((−?[\d.]+) to (−?[\d.]+|∞)\) <(mnist-[\w-]+)>`"
)


def said_of_findings():
    texts = [path.read_text("utf-8") for path in sorted((ROOT / "back").glob("*.md"))]
    for path in notebooks():
        texts += [c.source for c in read(path).cells if c.cell_type == "markdown"]
    for text in texts:
        for value, unit, low, high, id in LINKED.findall(text):
            yield pytest.param(id, unit.strip(), (value, low, high), id=id)


@pytest.mark.parametrize(("id", "unit", "said"), [*said_of_findings()])
def test_an_interval_linked_to_a_finding_is_the_recorded_one(id, unit, said):
    for text, number in zip(said, FOUND[id].estimate, strict=True):
        number *= 1 if unit in ("times", "settings") else 100
        if text == "∞":
            assert np.isinf(number)
            continue
        half = 0.51 * 10.0 ** -len(text.partition(".")[2])
        assert float(text.replace("−", "-")) == pytest.approx(number, abs=half)


def test_chapters_link_no_finding_in_another_form():
    for path in notebooks():
        for cell in read(path).cells:
            if cell.cell_type == "markdown":
                links = re.findall(r"<(mnist-[\w-]+)>`", cell.source)
                assert len(links) == len(LINKED.findall(cell.source)), path.name
