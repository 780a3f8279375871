"""What chapters 7 to 9 and their claims say: each test fails where it was false."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from batchnorm import claims
from batchnorm.claims import training
from booktools.notebooks import CHAPTERS, ROOT, read

MODULES = ("training", "convolution")
OTHERS = ("covariate-shift-colors", "percentiles-steadier")  # chapter 2's
OURS = [
    entry
    for entry in claims.claims()
    if entry.measure.__module__.rpartition(".")[2] in MODULES and entry.id not in OTHERS
]
STEPS = [entry for entry in OURS if entry.effect.startswith("steps to")]


def prose(number):
    (path,) = CHAPTERS.glob(f"{number:02}_*.ipynb")
    cells = [c.source for c in read(path).cells if c.cell_type == "markdown"]
    return "\n\n".join(cells)


def holds(id, effects):
    """Whether a claim would hold with these effects."""
    return claims.Result(claims.get(id), tuple(effects), np.array(effects), 0.0).holds


# ------------------------------------------------------------------ steps to a target


@pytest.fixture
def runs(monkeypatch):
    """Training that returns what a test prescribes, and the options it was given."""
    given = SimpleNamespace(steps={}, options=[])

    def fake(seeds, norm, best, **options):
        given.options.append(options)
        reached = np.full(len(seeds), given.steps[norm])
        return SimpleNamespace(steps_to=lambda target: reached)

    monkeypatch.setattr(training, "_train", fake)
    cache = getattr(training._train_once, "cache_clear", None)
    cache and cache()
    yield given
    cache and cache()


@pytest.mark.parametrize("entry", STEPS, ids=lambda entry: entry.id)
def test_steps_are_read_at_every_step(entry, runs):
    runs.steps = {None: 60.0, "batch": 30.0}
    assert entry.measure((7,), **entry.setting) == [2.0]
    assert [options["every"] for options in runs.options] == [1, 1]


@pytest.mark.parametrize("entry", STEPS, ids=lambda entry: entry.id)
@pytest.mark.parametrize("arm", [None, "batch"])
def test_a_run_that_never_arrives_counts_for_no_claim(entry, arm, runs):
    runs.steps = {None: 60.0, "batch": 30.0} | {arm: np.inf}
    (effect,) = entry.measure((7,), **entry.setting)
    assert np.isnan(effect)
    assert not entry.condition([effect]).any()


def test_what_is_called_tuned_records_its_grid_or_is_named_as_borrowing():
    said = prose(7)
    for entry in OURS:
        if "rate and initial scale tuned" in entry.statement:
            assert {"rates", "scales", "without", "normalized"} <= set(entry.setting)
        elif "rate and scale" in entry.statement and "rates" not in entry.setting:
            assert f"<claim-{entry.id}>" in said, entry.id
    borrowed = said[said.index("records the answers, the grid included") :][:500]
    assert "claim-figure-1a-tuned" in borrowed
    assert "claim-final-accuracy" in borrowed


def test_no_best_value_lies_on_the_edge_of_its_grid():
    for entry in STEPS:
        for arm in ("without", "normalized"):
            rate, scale = entry.setting[arm]
            assert min(entry.setting["rates"]) < rate < max(entry.setting["rates"])
            assert min(entry.setting["scales"]) < scale < max(entry.setting["scales"])


# ------------------------------------------------------------------ what a claim tells


@pytest.mark.parametrize(
    "id", ["final-accuracy", "per-map-accuracy", "order-with-nonlinearity"]
)
def test_a_comparison_does_not_hold_without_a_difference_nor_the_other_way(id):
    sign = 1 if claims.get(id).condition([1e-9]).all() else -1
    assert holds(id, [sign * 0.01] * 20)
    assert not holds(id, [0.0] * 20)
    assert not holds(id, [-sign * 0.01] * 20)


def test_how_much_of_figure_1a_is_rate_and_scale_depends_on_the_step():
    setting = dict(claims.get("figure-1a-tuned").setting)
    share = {
        at: np.median(training.figure_1a_tuned(range(4), **setting | {"at": at}))
        for at in (25, 100)
    }
    assert share[25] < 0.5
    assert share[100] > 0.8


def test_what_claims_answer_is_asked_or_quoted():
    for entry in OURS:
        assert entry.question is None or entry.question.endswith("?"), entry.id
        assert (entry.claimed is None) == (entry.claimed_by is None), entry.id


def test_sources_are_keys_of_the_bibliography_with_a_place():
    known = re.findall(r"^@\w+\{(\S+),", (ROOT / "references.bib").read_text(), re.M)
    for entry in OURS:
        for source in filter(None, (entry.source, entry.claimed_by)):
            for part in source.split("; "):
                key, _, place = part.partition(", ")
                assert key in known, entry.id
                assert place, entry.id


UNSUPPORTED = (
    r"made\s+the\s+method\s+famous",
    r"most\s+asked",
    r"[Oo]ften\s+(?:said|quoted|put)",
    r"Every\s+claim\s+of\s+this\s+book\s+records",
    r"Both\s+ends\s+moved",
    r"hardly\s+train\s+at\s+any\s+rate",
    r"would\s+drop\s+everything",
    r"full\s+steps\s+on\s+rounding",
    r"nothing\s+is\s+subtracted",
    r"a\s+pooling\s+does",
)
BAR = r"(?:more|less|fewer) than (?:\d+ points|a fifth|two thirds)"


@pytest.mark.parametrize("number", [7, 8])
def test_running_text_states_effects_and_nothing_unsupported(number):
    text = prose(number)
    for words in UNSUPPORTED:
        assert not re.search(words, text), words
    bars = [m for m in re.finditer(BAR, text) if "<claim-" not in text[m.end() :][:80]]
    assert not bars, [m[0] for m in bars]


def test_exercises_of_chapter_7_use_the_symbols_of_its_equations():
    formulas, exercises = prose(7).split("## Exercises")
    symbol = r"(?<![A-Za-z\\])[A-Z]_l"
    assert set(re.findall(symbol, exercises)) <= set(re.findall(symbol, formulas))


# ------------------------------------------------------------------ what PyTorch does


def test_behind_a_frozen_layer_the_running_mean_is_subtracted_and_a_bias_learns():
    norm = nn.BatchNorm1d(3).double().eval()
    norm.running_mean = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    x = torch.zeros(4, 3, dtype=torch.float64)
    assert (norm(x) < 0).all()
    bias = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(norm(x + bias).sum(), bias)
    assert (gradient != 0).all()
