"""Corrections of chapters 1 to 3: each test fails on the statement that it replaced.

A claim must not pass where its effect is absent, nor where a perfect method would make
its opposite true; a comparison must not come from a unit that differs between the arms.
"""

import inspect
import re
from dataclasses import replace

import numpy as np
import pytest

from batchnorm import claims, datasets
from batchnorm.claims import depth, inputs
from batchnorm.ensemble import Network, init_parameters, train
from booktools.notebooks import ROOT, notebooks, read

CHAPTERS = [path for path in notebooks() if path.stem[:2] in ("01", "02", "03")]
MODULES = "inputs", "depth"
MINE = [
    entry
    for entry in claims.claims()
    if entry.measure.__module__.split(".")[-1] in MODULES
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


# ------------------------------------------------------------------------- chapter 3


@pytest.mark.parametrize(("tanh", "relu"), [(0.9, 8.0), (8.0, 0.9), (0.1, 1.0)])
def test_a_gradient_that_explodes_in_one_arm_does_not_survive(monkeypatch, tanh, relu):
    def gradients(seeds, nonlinearity, scale, **net):
        ratio = tanh if nonlinearity == "tanh" else relu
        return np.tile([ratio, 1.0], (len(seeds), 1)), None

    monkeypatch.setattr(depth, "_gradients", gradients)
    assert not holds("gradients-survive-without-normalization")


def test_of_several_arms_the_furthest_counts():
    found = depth._furthest([[0.9, 0.5, 1.0], [8.0, 1.9, 1.0]])
    np.testing.assert_allclose(found, [8.0, 0.5, 1.0])


def test_nothing_is_said_of_each_layer_that_holds_of_their_mean():
    """Single sigmoid layers exceed the quarter, single normalized layers fall short."""
    seeds = range(4)
    gradients, _ = depth._gradients(seeds, "sigmoid", 1.0, norm=None, **depth.DEEP)
    factors = gradients[:, :-1] / gradients[:, 1:]
    assert (factors > 0.25).mean() > 0.05  # so "each layer" would be false
    said = [entry.statement for entry in MINE] + [back("errata.md")]
    for stem in ("02", "03"):
        said.append(prose(stem))
        for cell in cells(stem, "code"):
            figure = cell.metadata.get("mystnb", {}).get("figure", {})
            said.append(figure.get("caption", ""))
    # An exercise may suppose it.
    each = re.compile(
        r"(?<!Suppose )\beach\s+(?:normalized\s+)?layer\s+(?:still\s+)?"
        r"(?:shrinks|grows)"
        r"|through each\s+normalized layer"
    )
    assert [text for text in said if each.search(text)] == []
    for id in ("vanishing-without-saturation", "normalized-relu-gradients-grow"):
        assert "geometric mean" in claims.get(id).effect


def test_the_growth_of_gradients_is_that_of_large_batches_without_skips():
    """At a batch of 4 the growth is far from 1.21, so the batch has to be said."""
    net = {"depth": 12, "width": 64}
    small, large = (
        depth.normalized_relu_grows([0], **net, batch=batch)[0] for batch in (4, 256)
    )
    assert small > 1.5
    assert large < 1.3
    for text in (
        claims.get("normalized-relu-gradients-grow").statement,
        back("errata.md").partition("exploding")[2].split("\n\n")[0],
    ):
        said = " ".join(text.split())
        assert "skip connections" in said
        assert "initialization" in said
        assert re.search(r"batch (of 256|is large)", said)


def test_saturating_networks_are_slow_and_learn():
    """Neither "cannot be used" nor the bare "they can" would be true of both arms."""
    setting = claims.get("saturating-nonlinearities-train").setting
    hidden = (setting["width"],) * setting["depth"]
    network = Network((64,), hidden, nonlinearity="tanh")
    sigmoids, theta = depth.as_sigmoid(network, init_parameters(network, FEW[:2]))
    normed = replace(sigmoids, norm="batch")
    options = {"steps": 100, "every": None, "lr": setting["sigmoid"]}
    plain = train(sigmoids, datasets.digits, FEW[:2], theta=theta, **options)
    norm = train(normed, datasets.digits, FEW[:2], **options)
    assert (plain.accuracy[:, -1] > 0.2).all()  # chance is 0.1
    assert (norm.accuracy[:, -1] - plain.accuracy[:, -1] > 0.2).all()
    entry = back("errata.md").partition("tanh be used in deep networks")[2]
    statement = claims.get("saturating-nonlinearities-train").statement
    for text in (entry.split("\n\n")[0], statement, prose("03")):
        assert "slow" in text


def test_the_spectrum_is_worse_at_one_scale_and_better_at_others():
    entry = claims.get("jacobian-spectrum")
    others = [{**entry.setting, "scale": scale} for scale in (0.3, 3.0)]
    assert (entry.measure(FEW, **entry.setting) < 0).all()
    for setting in others:
        assert (np.array(entry.measure(FEW, **setting)) > 0.1).all()
    assert "Xavier's scale" in entry.statement
    erratum = back("errata.md").partition("singular values close to 1")[2]
    assert "scale more" in " ".join(erratum.split("\n\n")[0].split())


def test_all_singular_values_are_drawn():
    (cell,) = [c for c in cells("03", "code") if "spectra = {" in c.source]
    printed = "".join(out.get("text", "") for out in cell.outputs)
    assert printed.count("64 values") == 4
    assert "[:-1]" not in cell.source


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
    for stem in ("01", "02", "03"):
        assert not words.search(prose(stem)), stem
        for cell in cells(stem, "code"):
            for output in cell.outputs:
                assert "Often said" not in output.get("text", "")


def test_an_erratum_of_these_chapters_quotes_with_a_source_or_asks():
    """A heading in quotation marks is followed by who wrote it, and where."""
    labels = set()
    for stem in ("01", "02", "03"):
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
        if re.search(
            r"\.min\(axis=0\)|np\.minimum|\.max\(axis=0\)\n|_furthest", source
        ):
            assert re.search(
                r"less|lower|most|further|of both|smallest", entry.effect
            ), entry.id
