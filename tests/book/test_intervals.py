"""An interval in the text that links its claim or finding is the recorded one."""

import re

import numpy as np
import pytest

from batchnorm import claims
from batchnorm.claims import ledger
from batchnorm.experiments.runs import RUNS, found
from booktools.notebooks import ROOT, notebooks, read

RECORDED = [run for run in RUNS.values() if run.findings]
RECORDS = ledger.read()
FINDINGS = {one.finding.id: one for run in RECORDED for one in found(run)}
LINKED = re.compile(
    r"\{ref\}`(−?[\d.]+)( percent| points?| times| settings) "
    r"\((−?[\d.]+) to (−?[\d.]+|∞)\) <(claim-[\w-]+|mnist-[\w-]+)>`"
)


def texts():
    """Every piece of text of the back and of the notebooks, with the file's name."""
    for path in sorted((ROOT / "back").glob("*.md")):
        yield path.name, path.read_text("utf-8")
    for path in notebooks():
        for cell in read(path).cells:
            if cell.cell_type == "markdown":
                yield path.name, cell.source


def said():
    for _, text in texts():
        for value, unit, low, high, label in LINKED.findall(text):
            whole = unit.strip() in ("times", "settings")
            id = label.removeprefix("claim-")
            yield pytest.param(label, 1 if whole else 100, (value, low, high), id=id)


def estimate(label):
    """Estimate and interval of a claim, as confirmed, or of a finding."""
    if label in FINDINGS:
        return FINDINGS[label].estimate
    kept = ledger.confirmation(claims.get(label.removeprefix("claim-")), RECORDS)
    if kept is None:
        pytest.skip("not confirmed as it stands, which another test says")
    return ledger.number(kept["estimate"])


@pytest.mark.parametrize(("label", "unit", "said"), [*said()])
def test_an_interval_that_links_its_record_is_the_recorded_one(label, unit, said):
    for text, number in zip(said, estimate(label), strict=True):
        if text == "∞":
            assert np.isinf(number)
            continue
        half = 0.51 * 10.0 ** -len(text.partition(".")[2])
        assert float(text.replace("−", "-")) == pytest.approx(unit * number, abs=half)


def test_the_errata_give_the_numbers_of_the_confirmations_alone():
    text = " ".join((ROOT / "back" / "errata.md").read_text("utf-8").split())
    assert len(LINKED.findall(text)) >= 20
    assert not re.search(r"\b(20|twenty) (seeds|networks|layers)", text)


def test_chapters_link_no_finding_in_another_form():
    for name, text in texts():
        if name.endswith(".ipynb"):
            links = re.findall(r"<(mnist-[\w-]+)>`", text)
            said = [found[-1] for found in LINKED.findall(text)]
            assert links == [label for label in said if label in FINDINGS], name
