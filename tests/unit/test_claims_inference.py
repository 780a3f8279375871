"""The claims of the chapter on inference: planted worlds, independent oracles."""

import io
import re
from copy import deepcopy
from dataclasses import replace
from types import MethodType

import numpy as np
import pytest
import torch
from claim_helpers import Page
from plain_networks import in_evaluation
from torch import nn
from torch.optim.swa_utils import update_bn

from batchnorm import claims, datasets
from batchnorm.claims import batches, frozen, inference, reading
from batchnorm.claims.batches import Training
from batchnorm.claims.networks import PERFECT, Arm, Mlp
from batchnorm.claims.reading import EXACT, RUNNING, SLOW, Way
from batchnorm.ensemble import unpack, unpack_statistics
from batchnorm.experiments import domains

READER = {"arm": Arm("batch", 0.1), "net": Mlp("relu", 2, 16), "steps": 30}
SEEDS = (3, 4)
PAGE = Page("10_inference")


def in_torch(run, k):
    """Network k of a run, as torch has it, in float64."""
    return in_evaluation(run.network, run.theta[k], run.running[k])


def right(model, x, y):
    with torch.no_grad():
        return (model(torch.tensor(x)).argmax(1).numpy() == y).mean()


# ----------------------------------------------------------------- ways of reading


def test_a_network_reads_as_it_does_in_torch():
    run = reading.readers(SEEDS, **READER)
    for k, seed in enumerate(SEEDS):
        split, model = datasets.digits(seed), in_torch(run, k)
        x, y = split.x_test, split.y_test
        assert reading.accuracy(SEEDS, RUNNING, **READER)[k] == right(model, x, y)
        order = np.argsort(y, kind="stable")
        grouped = Way("batch", batch=10, order="sorted")
        found = reading.accuracy(SEEDS, grouped, **READER)[k]
        model.train()
        pieces = [right(model, x[r], y[r]) for r in np.split(order, 25)]
        assert found == pytest.approx(np.mean(pieces))
        # One pass of everything through it, at momentum 1: its exact statistics, but
        # for Bessel's correction of 1/768.
        for norm in model[1::3]:
            norm.momentum = 1.0
        model(torch.tensor(split.x_train))
        for norm in model[1::3]:
            norm.running_var *= 767 / 768
        found = reading.accuracy(SEEDS, EXACT, **READER)[k]
        assert found == right(model.eval(), x, y)


def test_estimates_anew_are_those_of_torch():
    run = reading.readers(SEEDS, **READER)
    found = reading.estimated_anew(SEEDS, run, 60, 10)
    means, variances = zip(*unpack_statistics(run.network, found), strict=True)
    model = in_torch(run, 1)
    x = torch.tensor(datasets.digits(SEEDS[1]).x_train[:600])
    update_bn(x.split(60), model)
    for layer, norm in enumerate(model[1::3]):
        np.testing.assert_allclose(means[layer][1], norm.running_mean, rtol=1e-8)
        np.testing.assert_allclose(variances[layer][1], norm.running_var, rtol=1e-8)


def test_the_momentum_of_the_statistics_trains_nothing():
    a, b = (reading.readers(SEEDS, **READER, momentum=w) for w in (0.1, 0.01))
    np.testing.assert_array_equal(a.theta, b.theta)
    assert not np.allclose(a.running, b.running)


@pytest.mark.parametrize("order", ["shuffled", "sorted"])
def test_images_keep_their_labels_in_another_order(order):
    y = np.array([[2, 0, 1, 0], [1, 1, 0, 2]])
    x = np.stack([y, 10 + y], axis=2)
    images, labels = reading.in_order(x, y, order)
    np.testing.assert_array_equal(images[..., 0], labels)
    np.testing.assert_array_equal(np.sort(labels), np.sort(y))
    assert (np.diff(labels) >= 0).all() == (order == "sorted")


def test_a_tenth_of_the_errors_is_a_unit_that_both_ways_share(monkeypatch):
    read_right = {EXACT: 0.9, RUNNING: 0.89, SLOW: 0.8}

    def planted(seeds, way):
        return np.full(len(seeds), read_right[way])

    monkeypatch.setattr(inference, "accuracy", planted)
    for way, errors in ((RUNNING, 0.1), (SLOW, 1.0)):
        effects = inference.in_errors((0, 1), first=EXACT, second=way)
        np.testing.assert_allclose(effects, errors)


# ------------------------------------------------------------- what cannot support


@pytest.mark.parametrize(
    "id", ["companions-decide", "forgotten-eval", "forgotten-eval-sorted"]
)
def test_an_untrained_network_is_no_evidence(id):
    claim = claims.get(id)
    untrained = claim.setting["arm"]._replace(rate=1e-6)
    assert claim.run(range(10), arm=untrained).verdict != "supported"


@pytest.mark.parametrize("id", ["running-average-default", "reestimated-statistics"])
@pytest.mark.parametrize("errors", [-0.15, 0.15])
def test_a_difference_either_way_is_no_equivalence(id, errors):
    rng = np.random.default_rng(0)
    entry = claims.get(id)
    assert entry.judge(rng.normal(0, 0.03, 59))[1] == "supported"
    assert entry.judge(rng.normal(errors, 0.03, 59))[1] == "opposed"


def test_a_network_that_is_lost_at_both_rates_is_not_counted(monkeypatch):
    entry = claims.get("frozen-at-the-old-rate")
    seeds = range(3)
    ends = {0.3: np.array([0.0, 0.1, 0.9]), 0.03: np.array([0.0, 0.9, 0.9])}
    monkeypatch.setattr(inference, "go_on_frozen", lambda s, run, rate, *_: ends[rate])
    run = reading.readers(seeds, entry.setting["arm"], READER["net"], 30)
    run = replace(run, accuracy=np.full((3, 1), 0.9))
    monkeypatch.setattr(inference, "readers", lambda *_, **__: run)
    setting = entry.setting | {"lower": 0.03}
    assert entry.measure(seeds, **setting).tolist() == [False, True, False]


# ---------------------------------------------------------------- Bessel's correction


@pytest.mark.parametrize("law", [lambda p: p / p, lambda p: p**2, lambda p: p**0.5])
def test_another_factor_is_not_supported(law):
    entry = claims.get("bessel-first-layer")
    predicted, measured = entry.measure(range(6), **entry.setting)
    assert entry.judge(measured / predicted)[1] != "opposed"
    assert entry.judge(measured / law(predicted))[1] == "opposed"


def test_the_share_between_mini_batches_is_that_of_a_division():
    """Within and between add up to the total, over all that was given to the layer."""
    setting = {"layers": (0,), "batch": 4, "of": "inputs", **READER}
    found = inference.bessel_third_layer(SEEDS, **setting)
    run = reading.readers(SEEDS, **READER)
    for k, seed in enumerate(SEEDS):
        weight = unpack(run.network, run.theta)[0].weight[k]
        z = datasets.digits(seed).x_train @ weight.T
        means = z.reshape(-1, 4, z.shape[1]).mean(axis=1)
        share = means.var(axis=0).sum() / z.var(axis=0).sum()
        assert found[k] == pytest.approx(4 * share)
        assert found[k] == pytest.approx(1, abs=0.2)


def test_in_the_chapter_both_layers_behind_a_normalization_are_asked():
    entry = claims.get("bessel-third-layer")
    first, second, both = (
        entry.measure(SEEDS, **entry.setting | {"layers": layers})
        for layers in ((1,), (2,), entry.setting["layers"])
    )
    np.testing.assert_allclose(both, np.maximum(first, second))


# -------------------------------------------------- mini-batches that are no draws


def test_mini_batches_of_domains_hold_one_domain_or_all():
    labels, rng = np.zeros(4 * 50, dtype=int), np.random.default_rng(0)
    domain = domains.one_domain(labels, 8, 6, rng) // 50
    assert (domain == np.array([0, 1, 2, 3, 0, 1])[:, None]).all()
    rows = domains.mixed_domains(labels, 8, 6, rng)
    counts = [np.bincount(row, minlength=4) for row in rows // 50]
    assert (np.array(counts) == 2).all()


def test_four_domains_are_the_digits_four_times():
    plain, four = datasets.digits(5), domains.four_domains(5)
    parts = zip(np.split(four.x_test, 4), np.split(four.y_test, 4), strict=True)
    for (x, y), (a, b) in zip(parts, domains.DOMAINS, strict=True):
        np.testing.assert_array_equal(x, a * plain.x_test + b)
        np.testing.assert_array_equal(y, plain.y_test)
    assert len(four.x_train) == 4 * len(plain.x_train)


def test_a_healthy_network_passes_for_no_failure_in_single_class_batches():
    """It reads them no better, and yet it has learned: another mode shows it."""
    healthy = Training("shuffled", steps=80).run(SEEDS)
    x, y = inference.training_part(SEEDS)
    assert batches.class_by_class(healthy, x, y, 32).max() < 0.3
    assert batches.best_of_modes(SEEDS, healthy, 32).min() > 0.9


def test_mixed_batches_leave_no_gap_between_the_modes():
    run = Training("mixed domains", steps=120).run(SEEDS)
    gap = batches.domain_by_domain(SEEDS, run, 32) - run.accuracy[:, -1]
    assert gap.max() < 0.05


def test_a_perfect_training_reads_all():
    assert batches.in_inference(SEEDS, PERFECT).tolist() == [1, 1]


# ------------------------------------------------------------------ frozen networks


def test_a_frozen_network_learns_as_in_torch():
    run = reading.readers(SEEDS, **READER)
    before = run.theta.copy()
    for rate, steps in ((1e-12, 1), (0.05, 5)):
        found = frozen.go_on_frozen(SEEDS, run, rate, steps, 32)
        model = in_torch(run, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=rate)
        for x, y in frozen.mini_batches(SEEDS, 32, steps):
            optimizer.zero_grad()
            answers = torch.tensor(y[1])
            nn.functional.cross_entropy(model(torch.tensor(x[1])), answers).backward()
            optimizer.step()
        split = datasets.digits(SEEDS[1])
        assert found[1] == right(model, split.x_test, split.y_test)
    np.testing.assert_array_equal(run.theta, before)


def test_an_overflow_counts_as_wrong():
    run = reading.readers(SEEDS, **READER)
    assert frozen.go_on_frozen(SEEDS, run, 1e6, 20, 32).tolist() == [0, 0]


def test_not_frozen_it_goes_on_as_the_ensemble_trains():
    run = reading.readers(SEEDS, **READER)
    kept = frozen.go_on(SEEDS, run, 1e-9, 60, 32)
    np.testing.assert_allclose(kept, run.accuracy[:, -1], atol=0.04)


# ------------------------------------------------------------------------- the page


def test_the_page_estimates_anew_as_the_claim_does():
    space = PAGE.defined("by_mini_batch", "algorithm_2")
    run = reading.readers(SEEDS, **READER)
    x, _ = inference.training_part(SEEDS)
    space |= {"run": run, "network": run.network, "x_train": x}
    found, expected = space["algorithm_2"], reading.estimated_anew(SEEDS, run, 60, 10)
    np.testing.assert_allclose(found(60, 10), expected)


UNSUPPORTED = (
    r"made\s+the\s+method\s+famous",
    r"[Oo]ften\s+(?:said|quoted|put)",
    r"There\s+are\s+three\s+causes",
    r"refuted|in\s+every\s+seed",
    r"(?:more|less|fewer) than (?:\d+ points|a fifth|two thirds)",
)


@pytest.mark.parametrize("words", UNSUPPORTED)
def test_running_text_states_effects_and_nothing_unsupported(words):
    assert not re.search(words, PAGE.prose)


def test_the_diagnoses_start_from_four_numbers():
    table = Page("misbehaves").prose.split("(symptoms)=")[1]
    rows = re.findall(r"^\| .*$", table, re.MULTILINE)[2:]
    assert "four_numbers" in rows[0]


# ------------------------------------------------------------------ what PyTorch does


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
