"""What every claim has to bear: its controls, sources, tuning, and its place."""

import ast
import json
import math
import re
from functools import cache

import numpy as np
import pytest
from claim_helpers import Page, each

from batchnorm import claims
from batchnorm.claims import (
    clients,
    failures,
    ledger,
    networks,
    protocol,
    tuning,
)
from batchnorm.claims.registry import chapter, references
from booktools.notebooks import ROOT, chapters

EXPERIMENTS = [claim for claim in claims.claims() if claim.kind == "experiment"]
STEP = math.sqrt(10) * 1.02  # rates are kept in two digits: 0.1, 0.32, 1
#: Chapters whose controls bear seeds, too, that are not shown, tuned on or confirm.
ELSEWHERE = "saturation", "why", "workers"
#: Chapters that link to claims of others.
RETURNING = "first_look", "covariate_shift", "why", "failures"


# -------------------------------------------------------------------------- controls

SHARED = (networks, "_trained"), (clients, "learned"), (failures, "federated")


@pytest.fixture(scope="module", autouse=True)
def trained_once():
    """What several controls train alike is trained once; nothing writes to it."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in SHARED:
            function = getattr(module, name)
            function = getattr(function, "__wrapped__", function)  # has a small cache
            patch.setattr(module, name, cache(function))
        yield


RECORDS = ledger.read()
CONFIRMED = {claim.id: ledger.confirmation(claim, RECORDS) for claim in EXPERIMENTS}
#: Seconds of a confirmation up to which the controls are run here, too: two in three
#: claims, and a third of the time. ``claims --verify`` runs those of all.
QUICK = 30


def is_quick(claim):
    """Whether it took no longer, or is not confirmed yet."""
    kept = CONFIRMED[claim.id]
    return kept is None or kept["seconds"] <= QUICK


@each(EXPERIMENTS)
def test_controls_bear_the_claim_in_its_record(claim):
    """Absent, the effect was not found; planted, it was; a perfect rival turned it.

    By the code as it stands, or the claim would not be confirmed.
    """
    assert CONFIRMED[claim.id] is not None, "not confirmed as it stands: make claims"
    found = CONFIRMED[claim.id]["controls"]
    assert set(found) == {name for name in protocol.ASKED if getattr(claim, name)}
    assert all(protocol.as_asked(*control) for control in found.items()), found


QUICK_ONES = [claim for claim in EXPERIMENTS if is_quick(claim)]


@each(QUICK_ONES)
def test_controls_bear_the_claim(claim):
    assert protocol.faults_of_controls(claim, range(seeds_of(claim))) == []


def seeds_of(claim):
    """Ten, as in the records, or of a share as many as can support it."""
    if claim.estimator != "share":
        return 10
    return next(
        n for n in range(7, 200) if claim.judge(np.ones(n))[1] == claims.SUPPORTED
    )


@each([claim for claim in QUICK_ONES if chapter(claim) in ELSEWHERE])
def test_controls_bear_the_claim_on_other_seeds(claim):
    assert protocol.faults_of_controls(claim, range(300, 310)) == []


@each(EXPERIMENTS)
def test_a_control_changes_what_is_measured(claim):
    for name in ("negative", "positive", "oracle"):
        changed = getattr(claim, name)
        if changed is not None:
            assert claim.setting | changed != claim.setting, name


# ---------------------------------------------------------------- sources, identities


@each([*claims.claims(), *claims.identities()])
def test_sources_are_in_the_bibliography_and_have_a_place(claim):
    bibliography = (ROOT / "references.bib").read_text(encoding="utf-8")
    keys = set(re.findall(r"^@\w+\{(\S+),", bibliography, re.MULTILINE))
    for source in filter(None, (claim.source, getattr(claim, "claimed_by", None))):
        for key, place in references(source):
            assert key in keys, source
            assert place, source


@each(claims.claims())
def test_what_nobody_said_is_asked(claim):
    assert claim.question is None or claim.question.endswith("?")
    assert claim.question is None or claim.claimed is None


@each(claims.identities())
def test_an_identity_has_a_test(claim):
    path, _, function = claim.test.partition("::")
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    defined = [n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
    assert function.startswith("test_")
    assert function in defined
    assert claim.statement.endswith(".")


def test_identities_and_claims_stand_under_a_chapter():
    here = {identity.chapter for identity in claims.identities()}
    here |= {chapter(claim) for claim in claims.claims()}
    assert here <= {path.stem[3:] for path in chapters()}


@pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)
def test_a_chapter_shows_or_links_its_claims_and_shows_no_other(path):
    page, known = Page(path.stem), claims.claims()
    ours = {claim.id for claim in known if chapter(claim) == path.stem[3:]}
    assert page.shown <= ours <= page.shown | page.linked
    returning = path.stem[3:] in RETURNING
    assert page.linked <= ({claim.id for claim in known} if returning else ours)


# ---------------------------------------------------------------------------- tuning

STORED = json.loads(tuning.FILE.read_text("utf-8"))


def test_every_sweep_is_stored():
    assert set(STORED) == set(tuning.SWEEPS)


@pytest.mark.parametrize("name", tuning.SWEEPS)
def test_arms_are_tuned_on_one_grid_with_the_same_budget(name):
    sweep, stored = tuning.SWEEPS[name], STORED[name]
    for of in ("rates", "scales"):
        grid = np.array(getattr(sweep, of))
        assert stored[of] == grid.tolist()
        assert (grid[1:] / grid[:-1] <= STEP).all()
    assert stored["steps"] == sweep.steps
    assert tuple(stored["seeds"]) == protocol.TUNING_SEEDS
    arms = [[arm["norm"], arm["order"]] for arm in stored["arms"]]
    assert arms == json.loads(json.dumps(sweep.arms))
    for arm in stored["arms"]:
        assert np.shape(arm["scores"]) == (len(sweep.rates), len(sweep.scales))


@pytest.mark.parametrize("name", tuning.SWEEPS)
def test_the_best_of_a_sweep_is_on_no_edge(name):
    sweep = tuning.SWEEPS[name]
    for arm in STORED[name]["arms"]:
        best = tuning.chosen(np.array(arm["scores"]), sweep.rates, sweep.scales)
        assert best == (arm["rate"], arm["scale"], False), arm["norm"]


def test_an_optimum_on_an_edge_is_found():
    def chosen(at):
        return tuning.chosen(np.eye(9)[at].reshape(3, 3), (1, 2, 3), (4, 5, 6))

    assert all(edge for *_, edge in map(chosen, (1, 3, 5, 7)))
    assert chosen(4) == (2, 5, False)
