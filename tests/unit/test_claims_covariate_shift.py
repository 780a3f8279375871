"""Claims and text of chapter 2: each test fails where the effect is not there.

A claim must not pass where a network learned nothing, nor on a difference that comes
from a unit which differs between the arms.
"""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from claim_helpers import FEW, Page, verdict

from batchnorm import claims, shifts
from batchnorm.claims import covariate_shift as chapter
from batchnorm.claims import shifted
from batchnorm.claims.networks import Arm
from batchnorm.claims.tuning import best
from batchnorm.claims.types import OPPOSED, SUPPORTED
from batchnorm.experiments.drift import movement
from booktools.notebooks import ROOT

PAGE = Page("02_covariate_shift")


# -------------------------------------------------------------------- outside a network


@pytest.mark.parametrize(
    "id", ["covariate-shift-slant", "covariate-shift-ink", "slant-costs-more-than-ink"]
)
def test_a_network_that_learned_nothing_says_nothing_of_shifts(id):
    unlearned = {"arm": Arm(None, 1e-9), "steps": 1}
    assert verdict(id, **unlearned) != SUPPORTED


def test_what_no_shift_can_cost_is_found_to_be_nothing():
    for name in ("by chance", "unchanged"):
        shift = shifted.SHIFTS[name](3)
        assert len(shift.x_train) == 256
        assert shift.x_test.shape == shift.x_target.shape == (83, 64)
    turned, slanted = shifted.turned(3), shifted.by_slant(3)
    upside_down = slanted.x_test.reshape(-1, 8, 8)[:, ::-1, ::-1]
    np.testing.assert_array_equal(turned.x_target.reshape(-1, 8, 8), upside_down)


@pytest.mark.parametrize("degree", [1, 3])
def test_fits_are_those_of_numpy(degree):
    found = shifted.excess_errors(4, "weighted", degree, examples=30, draws=5)
    data = shifts.cubic_shift(4, 150)
    for k, error in enumerate(found):
        x, y = data.x[30 * k : 30 * k + 30], data.y[30 * k : 30 * k + 30]
        fit = np.polyfit(x, y, degree, w=np.sqrt(shifts.density_ratio(x)))
        assert error == pytest.approx(shifts.excess_error(fit), rel=1e-6)


def test_weights_that_are_equal_neither_repair_nor_cost(monkeypatch):
    monkeypatch.setattr(shifts, "density_ratio", np.ones_like)
    assert verdict("importance-weights-repair") == OPPOSED
    assert verdict("importance-weights-not-needed") == OPPOSED


def test_the_excess_error_is_that_on_many_targets_without_noise():
    fit = np.array([0.5, 0.2, -1, 0.1])
    x = np.random.default_rng(0).normal(0, 0.3, 10**6)
    expected = np.mean((np.polyval(fit, x) - shifts.cubic(x)) ** 2)
    assert shifts.excess_error(fit) == pytest.approx(expected, rel=0.01)
    assert shifts.excess_error([1, 0, -1, 0]) == pytest.approx(0, abs=1e-30)
    two = shifts.excess_error([fit, [1, 0, -1, 0]])
    assert two[0] == shifts.excess_error(fit)


# --------------------------------------------------------------------- inside a network


def toy(seeds, spread):
    """Movement of means that move by 1 in both of two layers, of the given spreads."""
    mean = np.arange(4.0)[None, :, None, None] * np.ones((len(seeds), 4, 6, 5))
    deviation = np.asarray(spread)[:, None] + np.zeros(mean.shape)
    moments = np.stack([mean, deviation], axis=2)
    return movement(SimpleNamespace(records={"moments": moments}))


@pytest.mark.parametrize("spread", [0.3, 3.0])
def test_a_spread_that_differs_between_the_arms_is_no_movement(monkeypatch, spread):
    """The means move alike in both arms: no claim may read a difference off."""

    def moved(seeds, arm, net, steps, frozen):
        return toy(seeds, np.full(6, spread if frozen else 1.0))[..., frozen:]

    monkeypatch.setattr(chapter, "_all_moved", moved)
    effects = claims.get("drift-is-the-layers-own").run(FEW).effects
    np.testing.assert_allclose(effects, 1)
    assert verdict("drift-comes-from-below") != SUPPORTED


@pytest.mark.parametrize("spread", [np.linspace(1, 9, 6), np.linspace(9, 1, 6)])
def test_a_spread_that_differs_between_layers_is_no_growth(monkeypatch, spread):
    """Neither a wide first layer nor a narrow last one makes a claim of growth hold."""
    monkeypatch.setattr(chapter, "_all_moved", lambda seeds, *arm: toy(seeds, spread))
    assert verdict("drift-grows-with-depth") != SUPPORTED
    # Where the spread shrinks, the movement does grow in its unit.
    expected = SUPPORTED if spread[-1] > spread[0] else OPPOSED
    assert verdict("normalized-drift-does-not-grow") == expected


@pytest.mark.parametrize("widest", [0, 9])
def test_a_spread_that_differs_between_layers_is_no_growing_change(monkeypatch, widest):
    flat = np.ones((len(FEW), 10))
    spread = flat.copy()
    spread[:, widest] = 9

    def change(network, seeds, **options):
        return flat, spread if network.norm else flat

    monkeypatch.setattr(chapter, "small_change", change)
    assert verdict("normalized-small-change") != SUPPORTED


def test_a_wider_spread_alone_does_not_make_percentiles_steadier(monkeypatch):
    """Medians that wander alike, and a band four times as wide with the norm."""

    def trained(network, data, seeds, **options):
        width = 4.0 if network.norm else 1.0
        median = np.tile(np.arange(5.0)[:, None], (len(seeds), 1, 4))
        q = np.stack([median - width, median, median + width], axis=-1)
        return SimpleNamespace(records={"q": q})

    monkeypatch.setattr(chapter, "train", trained)
    assert verdict("percentiles-steadier") == OPPOSED


def test_what_is_called_tuned_is_what_was_tuned():
    assert claims.get("sigmoid-steps").setting["without"] == best("sigmoid", None)
    assert chapter.THIRD.arm == best("sigmoid", None)
    assert chapter.SIXTH.arm == chapter.FIRST.arm == best("relu", None)
    assert chapter.SIXTH_NORMALIZED.arm == best("relu", "batch")
    for cell in PAGE.code:
        if "record_moments(" in cell.source and "tanhs" not in cell.source:
            assert re.search(r'"lr": arm\.rate', cell.source), cell.source
        if "watch_moments(*" in cell.source:
            assert 'arm = sigmoids["without"]' in cell.source
            assert "(*parts, arm.rate)" in cell.source
        if "def watch(" in cell.source:
            assert 'get("sigmoid-steps")' in cell.source
            assert not re.search(r'"(lr|scale)": [\d.]', cell.source)


# ----------------------------------------------------------------------------- the page


def test_both_sides_of_the_exchange_are_printed_and_equal():
    lines = PAGE.printed("relabeled_digits(seed)").splitlines()
    assert len(lines) == 4
    for line in lines:
        numbers = re.findall(r"\d\.\d+", line)
        assert numbers[0] == numbers[-1]


def test_a_rule_that_changed_in_a_nuisance_is_repaired_without_labels():
    """The sentence "no such repair exists" has a counterexample on the page."""
    assert "no such repair exists" not in PAGE.prose
    before, after, before_alone, after_alone = (
        int(n) for n in re.findall(r"(\d+)%", PAGE.printed("nuisance"))
    )
    assert before - after > 30
    assert abs(before_alone - after_alone) <= 2


def test_the_judge_is_asked_about_inputs_of_the_same_writers():
    """Against the training set it finds other writers where nothing has changed."""
    lines = PAGE.printed("judge.sc")
    told = dict(re.findall(r"^(\w+ \w+) .*: (True|False)$", lines, re.M))
    assert told["new rule"] == "False"
    assert told["new writers"] == told["new slant"] == told["more ink"] == "True"


def test_internal_covariate_shift_is_the_papers():
    """The paper's definition has the layer's own weights in it."""
    glossary = (ROOT / "back" / "glossary.md").read_text(encoding="utf-8")
    entry = re.search(r"^internal covariate shift\n((?:  .*\n)+)", glossary, re.M)
    said = " ".join(entry[1].split())
    assert "the layer's own" in said
    assert "because the parameters of the layers below it change" not in said
