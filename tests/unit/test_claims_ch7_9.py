"""What chapters 8 and 9 and their claims say: each test fails where it was false."""

import io
import re
from copy import deepcopy
from types import MethodType

import numpy as np
import pytest
import torch
from torch import nn

from batchnorm import claims, datasets, reference
from batchnorm.ensemble import Network, init_parameters, train
from booktools.notebooks import CHAPTERS, ROOT, read

MODULES = ("convolution", "inference", "batches")
OURS = [
    entry
    for entry in claims.claims()
    if entry.measure.__module__.rpartition(".")[2] in MODULES
]


def prose(number):
    (path,) = CHAPTERS.glob(f"{number:02}_*.ipynb")
    cells = [c.source for c in read(path).cells if c.cell_type == "markdown"]
    return "\n\n".join(cells)


def holds(id, effects):
    """Whether a claim would hold with these effects."""
    return claims.Result(claims.get(id), tuple(effects), np.array(effects), 0.0).holds


# ------------------------------------------------------------------ what a claim tells


@pytest.mark.parametrize("id", ["per-map-accuracy", "order-with-nonlinearity"])
def test_a_comparison_does_not_hold_without_a_difference_nor_the_other_way(id):
    sign = 1 if claims.get(id).condition([1e-9]).all() else -1
    assert holds(id, [sign * 0.01] * 20)
    assert not holds(id, [0.0] * 20)
    assert not holds(id, [-sign * 0.01] * 20)


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
    r"most\s+asked",
    r"[Oo]ften\s+(?:said|quoted|put)",
    r"There\s+are\s+three\s+causes",
    r"would\s+drop\s+everything",
    r"full\s+steps\s+on\s+rounding",
    r"nothing\s+is\s+subtracted",
    r"a\s+pooling\s+does",
)
BAR = r"(?:more|less|fewer) than (?:\d+ points|a fifth|two thirds)"


@pytest.mark.parametrize("number", [8, 9])
def test_running_text_states_effects_and_nothing_unsupported(number):
    text = prose(number)
    for words in UNSUPPORTED:
        assert not re.search(words, text), words
    bars = [m for m in re.finditer(BAR, text) if "<claim-" not in text[m.end() :][:80]]
    assert not bars, [m[0] for m in bars]


def test_the_diagnoses_start_from_four_numbers():
    table = prose(9).split("### Diagnoses, one line each")[1]
    rows = re.findall(r"^\| .*$", table, re.MULTILINE)[2:]
    assert "four numbers" in rows[0]


# ---------------------------------------------------------------- Bessel's correction


def test_behind_a_normalization_the_examples_are_apart_by_construction():
    """Any two of m normalized values correlate by −1/(m − 1), not by 0."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(5, 20_000))  # one channel a mini-batch of five
    x_hat, _ = reference.forward(values, None, None, eps=1e-12)
    products = (x_hat[:, None] * x_hat[None]).mean(axis=-1)
    np.testing.assert_allclose(products[~np.eye(5, dtype=bool)], -1 / 4, atol=0.02)
    np.testing.assert_allclose(np.trace(products), 5, rtol=1e-9)


def test_there_is_nothing_to_correct_behind_a_normalization():
    from batchnorm.claims.inference import divided_variance

    network = Network((64,), (64, 64, 64), norm="batch")
    theta = init_parameters(network, [0, 1, 2], 2**0.5)
    run = train(network, datasets.digits, [0, 1, 2], theta=theta, lr=0.1, steps=50)
    for layer, share, factor in ((0, 1 / 4, 1.0), (2, 0.0, 4 / 3)):
        within, between, exact = divided_variance(run, layer, batch=4)
        total = within + between
        assert np.median(between / total) == pytest.approx(share, abs=0.02)
        assert np.median(4 / 3 * within / total) == pytest.approx(factor, rel=0.03)
        np.testing.assert_allclose(
            within / exact, (within / total) * (total / exact), rtol=1e-12
        )


# ------------------------------------------ mini-batches that are no random draws


def test_single_class_batches_teach_nothing_in_either_mode():
    """It is no case of "worse in eval()": training mode is at chance as well."""
    entry = claims.get("single-class-batches")
    assert "training mode" in entry.effect
    assert max(claims.run(entry.id, [0, 1]).effects) < 0.25


def test_one_domain_a_batch_is_worse_in_inference_mode_alone_and_mixing_repairs_it():
    from batchnorm.claims import batches

    setting = dict(claims.get("one-domain-batches").setting) | {"steps": 120}
    assert min(batches.one_domain_batches((0, 1), **setting)) > 0.25
    mixed = batches._train_on_domains((0, 1), batches.mixed_domains, **setting)
    gap = batches.domain_accuracy(mixed, batch=32) - mixed.accuracy[:, -1]
    assert max(gap) < 0.05  # the negative control
    assert min(mixed.accuracy[:, -1]) > 0.8


def test_mini_batches_of_domains_hold_one_domain_or_all():
    from batchnorm.claims.batches import mixed_domains, one_domain

    labels, rng = np.zeros(4 * 50, dtype=int), np.random.default_rng(0)
    domain = one_domain(labels, 8, 6, rng) // 50
    assert (domain == np.array([0, 1, 2, 3, 0, 1])[:, None]).all()
    counts = [
        np.bincount(r, minlength=4) for r in mixed_domains(labels, 8, 6, rng) // 50
    ]
    assert (np.array(counts) == 2).all()


# ------------------------------------------------------------------ what PyTorch does


def test_a_frozen_network_at_the_old_rate_is_lost_and_the_oracle_is_not():
    from batchnorm.claims.inference import _train, go_on_frozen

    run = _train((0, 1), depth=3, width=64, rate=0.3, steps=150, every=None)
    before = run.theta.copy()
    assert max(go_on_frozen(run, 0.3, 100, 32)) < 0.5
    assert min(go_on_frozen(run, 0.03, 100, 32)) > 0.9
    # Without a step, the frozen network is the one that was trained.
    np.testing.assert_allclose(go_on_frozen(run, 0.3, 0, 32), run.accuracy[:, -1])
    np.testing.assert_array_equal(run.theta, before)


def test_behind_a_frozen_layer_the_running_mean_is_subtracted_and_a_bias_learns():
    norm = nn.BatchNorm1d(3).double().eval()
    norm.running_mean = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    x = torch.zeros(4, 3, dtype=torch.float64)
    assert (norm(x) < 0).all()
    bias = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(norm(x + bias).sum(), bias)
    assert (gradient != 0).all()


def test_a_train_bound_to_the_instance_survives_a_copy_and_is_lost_by_state_dict():
    def keep_frozen(self, mode=True):
        type(self).train(self, mode)
        self[1].eval()
        return self

    def new():
        return nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))

    model = new()
    model.train = MethodType(keep_frozen, model)
    copy = deepcopy(model)
    assert not copy.train()[1].training
    assert copy.train.__self__ is copy
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    loaded = new()
    loaded.load_state_dict(torch.load(file))
    assert loaded.train()[1].training
