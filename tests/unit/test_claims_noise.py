"""Claims and text of the chapter on noise: tests fail where no effect is."""

import numpy as np
import pytest
from claim_helpers import FEW, each

from batchnorm import claims
from batchnorm.claims import noise as chapter
from batchnorm.claims import noise_arms as arms
from batchnorm.claims import noise_controls
from batchnorm.claims.noise_arms import CLEAN, MORE, RIGHT, WRONG, Noisy, scores, tuned
from batchnorm.claims.types import OPPOSED, SUPPORTED
from batchnorm.datasets import digits, digits_to_tune
from batchnorm.ensemble import evaluate, init_parameters, moments_over, train

AHEAD = [c for c in claims.claims() if c.measure is chapter.ahead]

# ------------------------------------------------------------------- what is learned


@pytest.mark.parametrize("data", [digits, digits_to_tune])
def test_a_share_of_the_training_labels_is_drawn_and_no_test_label(data):
    changed = []
    for seed in range(40):
        whole, task = data(seed), WRONG.split(seed, data)
        assert task.y_train.shape == (192,)
        assert np.array_equal(task.x_train, whole.x_train[:192])
        assert np.array_equal(task.y_test, whole.y_test)
        changed.append(np.sum(task.y_train != whole.y_train[:192]))
    assert max(changed) <= 58  # drawn, of which a tenth are right by chance
    assert np.mean(changed) == pytest.approx(58 * 0.9, abs=2)
    assert np.array_equal(CLEAN.split(0).y_train, digits(0).y_train[:192])
    assert len(MORE.split(0).y_train) == 576


@pytest.mark.parametrize("arm", [Noisy(None, 0.5), Noisy(4), Noisy(64, 0.5)])
def test_noise_is_off_where_networks_are_read(arm):
    """The scores are those of plain inference, written out here."""
    arm, task, seeds = arm._replace(rate=0.1, steps=12), CLEAN, (3, 4)
    found = scores(seeds, arm, task)
    network = arms.NET.network(arm.norm(seeds))
    theta = init_parameters(network, seeds, arms.SCALE)
    options = {"theta": theta, "optimizer": arms.rounded(arm.ghost)}
    run = train(network, task.split, seeds, lr=0.1, steps=12, batch=64, **options)
    twin = arms.NET.network(None if arm.ghost is None else "batch")
    for k, seed in enumerate(seeds):
        split, one = task.split(seed), run.theta[k : k + 1]
        known = moments_over(twin, one, split.x_train)
        score = evaluate(twin, one, split.x_test, split.y_test, known)
        assert found.accuracy[k, -1] == score.accuracy[0]
        assert found.loss[k, -1] == pytest.approx(score.loss[0], abs=1e-10)


# ----------------------------------------------------------------------------- arms


def test_all_arms_are_tuned_on_one_grid_and_no_rate_is_on_its_edge():
    assert set(arms.stored()) == {arms.key(task, arm) for task, arm in arms.ARMS}
    assert (np.diff(np.log10(arms.RATES)) < 0.51).all()
    for task, arm in arms.ARMS:
        accuracy = np.array(arms.stored()[arms.key(task, arm)])
        assert accuracy.shape == (len(arms.RATES), len(arms.STOPS))
        chosen = tuned(task, arm.ghost, arm.p)
        assert chosen.rate not in (arms.RATES[0], arms.RATES[-1]), (task, arm)
        assert chosen.steps == arms.STEPS
        best = accuracy[arms.RATES.index(chosen.rate), -1]
        assert best == accuracy[:, -1].max()


def test_a_stopped_arm_is_the_best_of_all_rates_and_stops():
    for ghost in (4, 64):
        arm = tuned(WRONG, ghost, stopped=True)
        accuracy = np.array(arms.stored()[arms.key(WRONG, Noisy(ghost))])
        at = arms.RATES.index(arm.rate), arms.STOPS.index(arm.steps)
        assert accuracy[at] == accuracy.max()


def test_the_best_probability_of_dropout_is_one_that_was_tried():
    for task in (CLEAN, MORE):
        for ghost in (None, 64):
            arm = tuned(task, ghost, "best")
            tried = [arms.tuned_accuracy(task, ghost, p) for p in arms.DROPOUTS]
            assert arm.p in arms.DROPOUTS
            assert arms.tuned_accuracy(task, ghost, arm.p) == max(tried)


# ----------------------------------------------------------------------- experiments


@pytest.fixture
def planted(monkeypatch):
    """Arms are their final accuracies, the same on all seeds but a little."""

    def final(seeds, arm, task):
        return arm + 0.002 * np.sin(np.arange(len(seeds)))

    monkeypatch.setattr(chapter, "final", final)


@pytest.mark.usefixtures("planted")
@each(AHEAD)
def test_a_lead_is_judged_by_its_bound_and_its_sign(claim):
    (bound,) = claim.region.bounds
    above = np.isfinite(claim.region.low)
    for lead in (-0.1, 0.1):
        said = claim.run(FEW, first=0.5 + bound + lead, second=0.5).verdict
        assert said == (SUPPORTED if above == (lead > 0) else OPPOSED)


@pytest.mark.usefixtures("planted")
def test_the_inverted_u_needs_both_ends():
    claim = claims.get("ghosts-inverted-u")
    for ends, said in (((0.6, 0.6), SUPPORTED), ((0.6, 0.8), OPPOSED)):
        for least, most in (ends, ends[::-1]):
            changed = {"between": 0.7, "least": least, "most": most}
            assert claim.run(FEW, **changed).verdict == said


def test_a_network_that_is_right_without_training_has_no_loss():
    found = scores(FEW, RIGHT, CLEAN)
    assert (found.accuracy == 1).all()
    assert (found.train_loss == 0).all()


# -------------------------------------------------------------------------- controls


def test_errors_of_its_own_make_the_network_of_ghosts_before_it_learns():
    """One forward pass, two gradients: the first step parts the two."""
    found = {}
    for name in ("ghosts", "own errors"):
        arm = noise_controls.ARMS[name]._replace(steps=2)
        network = arms.NET.network(arm.norm(FEW))
        theta = init_parameters(network, FEW, arms.SCALE)
        found[name] = arms.noisy_run(FEW, arm, WRONG, lr=0.1, every=None, theta=theta)
    ghosts, put_in = (run.train_loss for run in found.values())
    np.testing.assert_allclose(ghosts[:, 0], put_in[:, 0])
    assert (np.abs(ghosts[:, 1] - put_in[:, 1]) > 1e-3).all()


def test_a_factor_on_the_logits_is_found_again():
    rng = np.random.default_rng(0)
    right = np.log(rng.dirichlet(np.ones(10), size=(2, 4000)))
    each = np.exp(right).cumsum(axis=2) > rng.random((2, 4000, 1))
    labels = each.argmax(axis=2)
    for factor in (0.25, 3.0):
        found = noise_controls.best_factor(right / factor, labels)
        np.testing.assert_allclose(found, factor, rtol=0.2)
        rescaled = noise_controls.loss_of(found * right / factor, labels)
        np.testing.assert_allclose(
            rescaled, noise_controls.loss_of(right, labels), rtol=0.01
        )


def test_a_rescaled_lead_that_is_only_one_of_scale_is_opposed(monkeypatch):
    def reading(seeds, arm, task):
        same = np.ones(len(seeds)) + 0.01 * np.sin(np.arange(len(seeds)))
        return noise_controls.Reading(same, same, same)

    monkeypatch.setattr(noise_controls, "reading", reading)
    for id in ("ghosts-lead-with-rescaled-logits", "repair-with-rescaled-logits"):
        assert claims.get(id).run(FEW).verdict == OPPOSED


# ----------------------------------------------------------------------- predictions


@pytest.mark.parametrize("kurtosis", [1.8, 3.0])
def test_the_law_of_the_deviation_is_that_of_drawn_distributions(kurtosis):
    rng = np.random.default_rng(0)
    z = rng.uniform(size=(4000, 4)) if kurtosis < 3 else rng.normal(size=(4000, 4))
    mean, std = chapter.statistics_of_batches(z, 128, 2000, rng)
    assert np.mean(mean.var(axis=0) / z.var(axis=0)) == pytest.approx(1 / 128, rel=0.1)
    law = (kurtosis - 1) / (4 * 128)
    assert np.mean(std.var(axis=0) / z.var(axis=0)) == pytest.approx(law, rel=0.1)


def test_laws_with_the_wrong_exponent_are_opposed(monkeypatch):
    def wrong(z, m, draws, rng):
        batches = z[rng.integers(len(z), size=(draws, m * m // 2))]
        return batches.mean(axis=1), batches.std(axis=1)

    setting = {"m": (4, 8, 16), "draws": 50}
    for id in ("noise-of-the-mean", "noise-of-the-deviation"):
        monkeypatch.setattr(chapter, "statistics_of_batches", wrong)
        assert claims.get(id).run(FEW, **setting).verdict == OPPOSED


def test_the_law_of_dropout_is_the_variance_of_a_product():
    h, p = np.array([0.0, 1.0, 5.0]), 0.3
    values = np.concatenate([0 * h] * 3 + [h / 0.7] * 7)  # the mask's own distribution
    predicted = h.var() + p / (1 - p) * np.mean(h**2)
    assert values.var() == pytest.approx(predicted)
