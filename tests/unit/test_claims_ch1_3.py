"""Corrections of chapters 1 and 2: each test fails on the statement that it replaced.

A claim must not pass where its effect is absent, nor where a perfect method would make
its opposite true; a comparison must not come from a unit that differs between the arms.
"""

import inspect
import re
from types import SimpleNamespace

import numpy as np
import pytest

from batchnorm import claims, datasets
from batchnorm.claims import drift, inputs, shift, training
from booktools.notebooks import ROOT, notebooks, read

CHAPTERS = [path for path in notebooks() if path.stem[:2] in ("01", "02")]
MODULES = "inputs", "shift"
MINE = [
    entry
    for entry in claims.claims()
    if entry.measure.__module__.split(".")[-1] in MODULES
    or entry.id in ("covariate-shift-colors", "percentiles-steadier")
]
FEW = (0, 1, 2)


def cells(stem, kind):
    (path,) = [path for path in CHAPTERS if path.stem.startswith(stem)]
    return [cell for cell in read(path).cells if cell.cell_type == kind]


def prose(stem):
    return "\n\n".join(cell.source for cell in cells(stem, "markdown"))


def back(name):
    return (ROOT / "back" / name).read_text(encoding="utf-8")


def holds(id, seeds=FEW):
    return claims.run(id, seeds).holds


# ------------------------------------------------------------------------- chapter 1


def test_the_conditioning_of_hidden_features_sees_their_means(monkeypatch):
    """Moved away from zero, features are worse conditioned: a covariance is blind."""
    (before,) = claims.run("standardizing-conditions-hidden-features", [0]).effects
    features = inputs.hidden_features
    monkeypatch.setattr(inputs, "hidden_features", lambda s, **k: features(s, **k) + 10)
    (after,) = claims.run("standardizing-conditions-hidden-features", [0]).effects
    assert after > 100 * before


def test_conditioning_is_that_of_the_least_squares_problem_with_intercept():
    x = np.random.default_rng(0).normal(3, [1, 2, 5], size=(40, 3))
    found = inputs.conditioning(x)
    design = np.column_stack([np.ones(40), x])
    eigenvalues = np.linalg.eigvalsh(design.T @ design / 40)
    assert found["raw"] == pytest.approx(eigenvalues[-1] / eigenvalues[0])
    correlation = np.linalg.eigvalsh(np.corrcoef(x.T))
    # Standardized columns are orthogonal to the ones, whose eigenvalue is 1.
    expected = correlation[-1] / correlation[0]
    assert found["standardized"] == pytest.approx(expected)


def test_the_exercise_on_the_ones_is_posed_where_only_direction_is_left():
    """Centered, the ones cost a unit of their own in raw columns only."""
    x = datasets.used_cars(0).x
    centered = x - x.mean(axis=0)
    for columns, factor in ((centered, 5.77), (centered / x.std(axis=0), 1.0)):
        ones = np.ones((len(x), 1))
        with_ones = np.linalg.cond(np.hstack([ones, columns])) ** 2
        assert with_ones / np.linalg.cond(columns) ** 2 == pytest.approx(
            factor, rel=1e-2
        )
    text = prose("01")
    exercise = text[text.index(":label: ex-ones") :].split("```")[0]
    assert "Divide each column" in exercise
    assert "nearly the\nsame direction" not in text


# ------------------------------------------------------------------------- chapter 2


def test_a_perfect_weighted_fit_would_refuse_that_weights_are_not_needed(monkeypatch):
    """With the true cubic in place of the weighted fit, the weights would be needed."""
    assert holds("importance-weights-not-needed")
    fit = np.polyfit

    def oracle(x, y, degree, w):
        true = [0] * (degree - 3) + [1, 0, -1, 0]
        return fit(x, y, degree, w=w) if np.ptp(w) == 0 else np.array(true)

    monkeypatch.setattr(np, "polyfit", oracle)
    assert not holds("importance-weights-not-needed")


def test_useless_weights_would_refuse_that_they_repair(monkeypatch):
    assert holds("importance-weights-repair")
    monkeypatch.setattr(datasets, "density_ratio", np.ones_like)
    assert not holds("importance-weights-repair")


def test_the_excess_error_is_that_on_many_targets_without_noise():
    fit = np.array([0.5, 0.2, -1, 0.1])
    x = np.random.default_rng(0).normal(0, 0.3, 10**6)
    expected = np.mean((np.polyval(fit, x) - datasets.cubic(x)) ** 2)
    assert shift.excess_error(fit) == pytest.approx(expected, rel=0.01)
    assert shift.excess_error([1, 0, -1, 0]) == pytest.approx(0, abs=1e-30)


def toy_run(movement, deviation):
    """A run of 4 records, two layers, 5 units, whose means move by the same."""
    mean = np.arange(4.0)[None, :, None, None] * movement * np.ones((3, 4, 2, 5))
    return SimpleNamespace(
        records={"mean": mean, "deviation": np.full(mean.shape, deviation)}
    )


def test_movement_has_both_units():
    raw, in_spreads = drift.movement(toy_run(0.6, 3.0))
    np.testing.assert_allclose(raw, np.full((3, 2), 0.6))
    np.testing.assert_allclose(in_spreads, np.full((3, 2), 0.2))


@pytest.mark.parametrize("spread", [0.3, 3.0])
def test_a_spread_that_differs_between_the_arms_is_no_movement(monkeypatch, spread):
    """The means move alike in both arms: no claim may read a difference off."""

    def arms(seeds, *, frozen=0, **setting):
        return toy_run(1.0, spread if frozen else 1.0)

    monkeypatch.setattr(shift, "record_moments", arms)
    np.testing.assert_allclose(claims.run("drift-is-the-layers-own", FEW).effects, 1)
    assert not holds("drift-comes-from-below")


@pytest.mark.parametrize("id", ["drift-grows-with-depth", "normalized-small-change"])
def test_a_spread_that_differs_between_layers_is_no_growth(monkeypatch, id):
    """Neither a wide first layer nor a narrow last one makes a claim of growth hold."""
    flat = np.ones((3, 10))

    for spread in (np.linspace(1, 9, 10), np.linspace(9, 1, 10)):

        def run(seeds, *, spread=spread, **setting):
            made = toy_run(1.0, 1.0)
            made.records["deviation"] = spread[[0, -1]][:, None] + np.zeros(
                (3, 4, 2, 5)
            )
            return made

        def change(seeds, *, norm, spread=spread, **setting):
            return flat, flat * (spread if norm else 1.0)

        monkeypatch.setattr(shift, "record_moments", run)
        monkeypatch.setattr(shift, "small_change_and_spread", change)
        assert not holds(id)


def test_a_wider_spread_alone_does_not_make_percentiles_steadier(monkeypatch):
    """Medians that wander alike, and a band four times as wide with the norm."""

    def trained(seeds, norm, best, *, record, **options):
        width = 4.0 if norm else 1.0
        median = np.tile(np.arange(5.0)[:, None], (3, 1, 4))
        p = np.stack([median - width, median, median + width], axis=-1)
        return SimpleNamespace(records={"p": p})

    monkeypatch.setattr(training, "_train", trained)
    assert not holds("percentiles-steadier")


def test_what_is_called_tuned_is_what_was_tuned():
    sigmoids = claims.get("sigmoid-steps").setting
    relus = claims.get("relu-steps").setting
    assert shift.PAPERS["best"] == sigmoids["without"]
    assert relus["without"] == shift.WITHOUT
    assert relus["normalized"] == shift.NORMALIZED
    entry = claims.get("percentiles-steadier").setting
    assert entry["without"] == sigmoids["without"]
    assert entry["normalized"] == sigmoids["normalized"]
    for cell in cells("02", "code"):
        if "record_moments(" in cell.source and "tanhs" not in cell.source:
            assert not re.search(r"best=\(", cell.source), cell.source
        if "def watch" in cell.source:
            assert 'get("sigmoid-steps")' in cell.source
            assert not re.search(r'"(lr|scale)": [\d.]', cell.source)


def test_a_rule_that_changed_in_a_nuisance_is_repaired_without_labels():
    """The sentence "no such repair exists" has a counterexample on the page."""
    assert "no such repair exists" not in prose("02")
    (cell,) = [c for c in cells("02", "code") if "nuisance" in c.source]
    both, alone = cell.outputs[0]["text"].splitlines()
    before, after = (int(n) for n in re.findall(r"(\d+)%", both))
    assert before - after > 30
    before, after = (int(n) for n in re.findall(r"(\d+)%", alone))
    assert abs(before - after) <= 2


def test_internal_covariate_shift_is_the_papers():
    """The paper's definition has the layer's own weights in it."""
    entry = re.search(
        r"^internal covariate shift\n((?:  .*\n)+)", back("glossary.md"), re.M
    )
    said = " ".join(entry[1].split())
    assert "the layer's own" in said
    assert "because the parameters of the layers below it change" not in said


# ------------------------------------------------------------------- sources, wording


def places(source):
    return [part.strip().split(", ", 1) for part in source.split(";")]


@pytest.mark.parametrize("entry", MINE, ids=lambda entry: entry.id)
def test_sources_are_in_the_bibliography_and_have_a_place(entry):
    bibliography = (ROOT / "references.bib").read_text(encoding="utf-8")
    keys = re.findall(r"^@\w+\{(\S+),", bibliography, re.MULTILINE)
    for source in filter(None, (entry.source, entry.claimed_by)):
        for key, place in places(source):
            assert key in keys, source
            assert place, source


@pytest.mark.parametrize("entry", MINE, ids=lambda entry: entry.id)
def test_what_nobody_said_is_asked(entry):
    assert entry.question is None or entry.question.endswith("?")


def test_nothing_is_often_said_by_nobody():
    words = re.compile(
        r"often said|tutorials|lecture notes|usual story|is often called", re.IGNORECASE
    )
    for stem in ("01", "02"):
        assert not words.search(prose(stem)), stem
        for cell in cells(stem, "code"):
            for output in cell.outputs:
                assert "Often said" not in output.get("text", "")


def test_an_erratum_of_these_chapters_quotes_with_a_source_or_asks():
    """A heading in quotation marks is followed by who wrote it, and where."""
    labels = set()
    for stem in ("01", "02"):
        labels |= set(
            re.findall(r"\((eq-[\w-]+)\)$|^\((ch\d-[\w-]+)\)=", prose(stem), re.M)
        )
    labels = {label for pair in labels for label in pair if label}
    for entry in re.findall(r"^(\S.*\n: (?:.*\n)+?)(?=\n|\Z)", back("errata.md"), re.M):
        heading, text = entry.split("\n: ", 1)
        ids = re.findall(r"<claim-([\w-]+)>", text)
        mine = set(ids) & {c.id for c in MINE} or any(
            f"`{label}`" in text for label in labels
        )
        if mine and heading.startswith('"'):
            assert re.match(r"\{cite:t\}`\w+`, section [\d.]+", text), heading
        elif mine:
            assert heading.endswith("?"), heading


def test_claims_of_these_chapters_keep_their_measure_in_sight():
    """An effect that is the least or most of several arms says so in its words."""
    for entry in MINE:
        source = inspect.getsource(entry.measure)
        if re.search(r"\.min\(axis=0\)|np\.minimum|\.max\(axis=0\)\n", source):
            assert re.search(
                r"less|lower|most|further|of both|smallest", entry.effect
            ), entry.id
