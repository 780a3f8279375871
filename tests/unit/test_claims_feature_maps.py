"""Claims and text of chapter 8: each test fails where the effect is not there."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from claim_helpers import FEW, Page, each, verdict
from plain_networks import in_evaluation
from scipy import ndimage

from batchnorm import claims, datasets
from batchnorm.claims import feature_maps as chapter
from batchnorm.claims import networks
from batchnorm.claims.tuning import SWEEPS, best
from batchnorm.claims.types import OPPOSED, SUPPORTED
from batchnorm.ensemble import Recorder

PAGE = Page("09_feature_maps")
IDS = [c.id for c in claims.claims() if c.measure.__module__ == chapter.__name__]
OPTIONS = dict(claims.get("per-map-accuracy").setting)
ARMS = {name: OPTIONS.pop(name) for name in ("first", "second")}


# ------------------------------------------------------------------------ the claims


@pytest.mark.parametrize("id", IDS)
def test_a_network_that_learned_nothing_supports_no_claim(id):
    first, second = (claims.get(id).setting[name] for name in ("first", "second"))
    unlearned = {"first": first._replace(rate=1e-9)}
    assert verdict(id, **unlearned) == OPPOSED
    assert verdict(id, **unlearned, second=second._replace(rate=1e-9)) != SUPPORTED


@pytest.mark.parametrize("id", IDS)
def test_the_other_way_round_is_no_support(id):
    first, second = (claims.get(id).setting[name] for name in ("first", "second"))
    there = claims.get(id).run(FEW)
    back = claims.get(id).run(FEW, first=second, second=first)
    np.testing.assert_allclose(back.effects, -there.effects, atol=1e-12)
    found = there.verdict, back.verdict
    assert SUPPORTED not in found or found == (SUPPORTED, OPPOSED)


@pytest.mark.parametrize(
    ("id", "effect"),
    [
        ("cnn-early-accuracy", 0.1 * (1 + 2 + 3 + 4 + 5 + 6) / 6),
        ("per-map-accuracy", 0.6),
        ("order-with-nonlinearity", 0.6),
    ],
)
def test_effects_are_read_from_the_steps_they_name(monkeypatch, id, effect):
    """At step 10k the first arm leads by k tenths, and at step 0 it is far behind."""
    first = claims.get(id).setting["first"]

    def accuracies(seeds, arm, **options):
        assert options["recorder"].wanted(60) == set(range(0, 61, 10))
        lead = np.arange(7) / 10 if arm == first else np.zeros(7)
        lead[0] = -9 if arm == first else 0
        return np.tile(lead, (len(seeds), 1)), np.arange(0, 61, 10)

    monkeypatch.setattr(chapter, "accuracies", accuracies)
    np.testing.assert_allclose(claims.get(id).run(FEW).effects, effect)


@pytest.mark.parametrize("lead", [-0.03, 0.0, 0.019, 0.03])
def test_a_lead_of_less_than_two_points_supports_nothing(monkeypatch, lead):
    def accuracies(seeds, arm, **options):
        noise = 0.001 * np.random.default_rng(0).normal(size=(len(seeds), 7))
        return noise + (lead if arm == ARMS["first"] else 0.0), np.arange(0, 61, 10)

    monkeypatch.setattr(chapter, "accuracies", accuracies)
    for id in ("cnn-early-accuracy", "per-map-accuracy"):
        assert (verdict(id, **ARMS) == SUPPORTED) == (lead > 0.02)


def test_what_is_called_tuned_is_what_was_tuned():
    plain, per_map = best("cnn", None), best("cnn", "batch")
    per_activation, after = best("cnn", "per-activation"), best("cnn", "batch", "after")
    expected = {
        "cnn-early-accuracy": (per_map, plain),
        "per-map-accuracy": (per_map, per_activation),
        "order-with-nonlinearity": (per_map, after),
        "per-map-accuracy-moved": (per_map, per_activation),
    }
    assert set(expected) == set(IDS)
    for id, arms in expected.items():
        setting = claims.get(id).setting
        assert (setting["first"], setting["second"]) == arms
        sweep = SWEEPS["cnn"]
        assert (setting["net"], setting["steps"]) == (sweep.net, sweep.steps)
        assert dict(sweep.options).items() <= setting.items()


# -------------------------------------------------------------------- digits moved


@pytest.mark.parametrize("pixels", [-8, -3, -1, 0, 1, 2, 7])
def test_moved_images_are_those_of_scipy(pixels):
    x = np.random.default_rng(3).uniform(size=(2, 5, 64))
    expected = ndimage.shift(x.reshape(2, 5, 8, 8), (0, 0, 0, pixels), order=0)
    found = chapter.moved(x, pixels).reshape(2, 5, 8, 8)
    np.testing.assert_array_equal(found, expected)


def by_torch(run, x):
    """Classes that the first network of a run reads, all of it by torch."""
    model = in_evaluation(run.network, run.theta[0], run.running[0])
    return model(torch.tensor(x.reshape(-1, 1, 8, 8))).argmax(1).numpy()


@pytest.mark.parametrize("arm", [chapter.PER_MAP, chapter.PER_ACTIVATION])
def test_moved_digits_are_read_as_torch_reads_them(arm):
    run = networks.trained([5], arm, recorder=Recorder(every=10), **OPTIONS)
    data = datasets.digits(5)
    scores = []
    for pixels in (-1, 1):
        images = data.x_test.reshape(-1, 8, 8)
        rolled = np.roll(images, pixels, axis=-1)
        rolled[:, :, 0 if pixels > 0 else -1] = 0
        scores.append(np.mean(by_torch(run, rolled) == data.y_test))
    found = chapter.read_moved([5], arm, 1, **OPTIONS)
    np.testing.assert_allclose(found, np.mean(scores))
    still = np.mean(by_torch(run, data.x_test) == data.y_test)
    np.testing.assert_allclose(run.accuracy[0, -1], still)
    assert still > found[0] + 0.1


def test_digits_moved_by_nothing_are_read_as_they_are():
    given = ARMS | OPTIONS
    np.testing.assert_allclose(
        chapter.per_map_accuracy_moved(FEW, first_by=0, second_by=0, **given),
        chapter.final_difference(FEW, **given),
    )


@pytest.mark.parametrize(("lead", "expected"), [(0.1, SUPPORTED), (-0.1, OPPOSED)])
def test_who_reads_moved_digits_better_decides(monkeypatch, lead, expected):
    """Whatever they read of digits that stand in their place."""

    def evaluate(network, theta, images, labels, statistics):
        still = np.array_equal(images, networks.testing_part(FEW)[0])
        right = 0.5 + (lead if network.norm == "batch" else 0) - 5 * still
        return SimpleNamespace(accuracy=np.full(len(FEW), right))

    monkeypatch.setattr(chapter, "evaluate", evaluate)
    assert verdict("per-map-accuracy-moved") == expected
    assert (chapter.read_moved(FEW, networks.PERFECT, 1, **OPTIONS) == 1).all()


# ----------------------------------------------------------------------------- the page


def test_both_sides_of_the_shift_are_printed_and_equal():
    lines = PAGE.printed("intercept").splitlines()
    per_map, per_activation = (re.findall(r"\d+\.\d+", line) for line in lines)
    assert per_map == ["0.000", "0.000"]
    assert per_activation[0] == per_activation[1]
    assert float(per_activation[0]) > 1


def test_the_bias_changes_neither_loss_nor_gradient_on_the_page():
    lines = PAGE.printed("biases").splitlines()
    without, with_bias = (line.split("loss")[1] for line in lines)
    assert without == with_bias
    assert without.endswith("bias 0.0000")


def test_the_page_trains_what_the_claims_do():
    """The accuracies that the cell prints are those of the claims' networks."""
    printed = PAGE.printed("seeds_against(runs")
    lines = re.findall(r"^.*? +steps 10 to 60: (.*)$", printed, re.M)
    arms = chapter.PLAIN, chapter.PER_MAP, chapter.PER_ACTIVATION, chapter.AFTER
    for arm, said in zip(arms, lines, strict=True):
        read = chapter.read(claims.CHAPTER_SEEDS, arm, **OPTIONS)
        assert said == f"{read.mean():.2f}, after 60: {read[:, -1].mean():.3f}"


POINT = r"(−?\d+(?:\.\d)?)"


@pytest.mark.parametrize(
    ("id", "says", "signs"),
    [
        (
            "cnn-early-accuracy",
            rf"the lead is {POINT} points \(on this page's twenty, {POINT} to {POINT};",
            (1, 1, 1),
        ),
        (
            "per-map-accuracy",
            rf"{POINT} point behind, and the interval goes from {POINT} behind to "
            rf"{POINT} ahead",
            (-1, -1, 1),
        ),
        (
            "per-map-accuracy-moved",
            rf"{POINT} points ahead, with an interval from {POINT} behind to {POINT}",
            (1, -1, 1),
        ),
        (
            "order-with-nonlinearity",
            rf"is {POINT} point, and its interval goes from {POINT} to {POINT}\.",
            (1, 1, 1),
        ),
    ],
)
def test_the_text_says_what_twenty_networks_show(id, says, signs):
    said = re.search(says, " ".join(PAGE.prose.split())).groups()
    estimate = claims.get(id).run(claims.CHAPTER_SEEDS).estimate
    for number, sign, measured in zip(said, signs, estimate, strict=True):
        digits = len(number.partition(".")[2])
        assert sign * float(number.replace("−", "-")) == pytest.approx(
            100 * measured, abs=0.51 * 10**-digits
        )


UNSUPPORTED = (
    r"[Oo]ften\s+(?:said|quoted|put)",
    r"would\s+drop\s+everything",
    r"full\s+steps\s+on\s+rounding",
    r"nothing\s+is\s+subtracted",
    r"a\s+pooling\s+does",
    r"of 20 seeds",
)


@pytest.mark.parametrize("words", UNSUPPORTED)
def test_what_was_wrong_does_not_come_back(words):
    assert not re.search(words, PAGE.prose)


@each([one for one in claims.identities() if one.chapter == "feature_maps"])
def test_every_identity_is_linked(claim):
    assert f"<identity-{claim.id}>" in PAGE.prose
