"""Images made to be misread; merged clients, halves of streams, and one rate."""

import numpy as np
import pytest
import torch
from claim_helpers import is_best_of_its_grid

from batchnorm import claims, datasets
from batchnorm.claims import clients, fine_tuning, fooled, networks, streams, tuning
from batchnorm.claims.networks import Arm, Mlp, trained
from batchnorm.ensemble import evaluate, moments_over, unpack_statistics
from batchnorm.statistics import merge

FEW = tuple(range(3))
SMALL = {"net": Mlp("relu", 2, 16), "steps": 30}
SHORT = {**clients.CLIENTS, "rounds": 2}

# ------------------------------------------------------------------- made to be misread


@pytest.mark.parametrize("arm", [Arm("batch", 0.1), Arm(None, 0.1)])
def test_folded_networks_are_those_of_inference(arm):
    run = trained(FEW, arm, **SMALL)
    x, y = networks.testing_part(FEW)
    found = fooled.right(fooled.folded(run), x, y).mean(1)
    expected = evaluate(run.network, run.theta, x, y, run.running).accuracy
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("steps", [1, 10])
def test_a_linear_classifier_of_two_classes_is_attacked_along_the_signs(steps):
    rng = np.random.default_rng(0)
    weight, x = rng.normal(size=(1, 2, 6)), rng.uniform(0.2, 0.8, (1, 5, 6))
    layers = [(torch.tensor(weight), torch.zeros(1, 2, dtype=torch.float64))]
    y = np.array([[0, 1, 0, 1, 1]])
    away = np.sign(weight[0, 1 - y[0]] - weight[0, y[0]])
    found = fooled.attacked(layers, x, y, 0.1, steps)
    np.testing.assert_allclose(found[0], x[0] + 0.1 * away, atol=1e-12)


def test_changed_images_stay_near_and_in_the_range():
    run = trained(FEW, Arm("batch", 0.1), **SMALL)
    x, y = networks.testing_part(FEW)
    layers = fooled.folded(run)
    attacked = fooled.attacked(layers, x, y, 0.1, 5)
    noisy = fooled.random_signs(FEW, x, 0.1)
    for images in (attacked, noisy):
        assert np.abs(images - x).max() <= 0.1 + 1e-12
        assert images.min() >= 0
        assert images.max() <= 1
    read = [fooled.right(layers, images, y).mean() for images in (x, noisy, attacked)]
    assert read[2] < read[1] - 0.05


def test_nobody_misreads_what_is_not_changed():
    arm = Arm("batch", 0.1)
    given = {**SMALL, "size": 0.0, "times": 2}
    (found,) = fooled.misread(FEW, [(arm, arm)], **given)
    np.testing.assert_array_equal(found, 0)


# ------------------------------------------------------------------------------ clients


@pytest.mark.parametrize("reading", ["averaged", "own"])
def test_what_is_read_is_what_federated_reads(reading):
    way = clients.AVERAGED if reading == "averaged" else clients.LOCAL
    found = clients.read_by_clients(FEW, way, reading, **SHORT)
    np.testing.assert_array_equal(found, clients.federated(FEW, way, **SHORT))


def test_the_server_merges_by_the_law_of_total_variance():
    network, theta, x = clients.learned(FEW, clients.AVERAGED, **SHORT)
    own = moments_over(network, theta, x)
    found = clients.at_the_server(own, 4, merged=True)
    shards = [(mean, var, x.shape[1]) for mean, var in own[:4]]
    mean, var, _ = merge(shards)
    np.testing.assert_allclose(found[2], [mean, var])
    # The first layer of all clients' networks is the same, and what enters it too.
    union = clients.layer_by_layer(network, theta, x, 4)
    first = [unpack_statistics(network, s)[0] for s in (found, union)]
    np.testing.assert_allclose(*first)


def test_clients_apart_have_writers_of_their_own():
    split = datasets.digits(0)
    drawn = datasets.writers(split.x_train)
    assert set(drawn).isdisjoint(datasets.writers(split.x_test))
    assert len(set(drawn)) == 6
    same = {**SHORT, "kinds": clients.SAME}
    for apart, few in ((True, 3), (False, 6)):
        _, _, x = clients.learned([0], clients.AVERAGED, apart=apart, **same)
        assert {len(set(datasets.writers(images))) <= few for images in x} == {True}
    assert {len(set(datasets.writers(images))) for images in x} == {6}


def test_what_is_no_digit_has_no_writer():
    with pytest.raises(ValueError, match="row 1"):
        datasets.writers(np.stack([datasets.digits(0).x_test[0], np.ones(64)]))


# ----------------------------------------------------------- halves, and another rate


def test_a_half_is_read_by_the_statistics_that_are_named():
    given = {**streams.READER, "kind": "blur", "classes": 10, "steps": 20}
    found = {
        of: streams.read_halves(FEW, of, **given) for of in ("own", "other", "stored")
    }
    run = trained(FEW, given["arm"], given["net"], steps=20)
    ((x, y),) = streams.streams(FEW, "blur", 10)
    given = run.network, run.theta
    own, other = (moments_over(*given, half) for half in (x[:, :125], x[:, 125:]))
    for of, moments in {"own": own, "other": other, "stored": run.running}.items():
        expected = evaluate(*given, x[:, :125], y[:, :125], moments).accuracy
        np.testing.assert_allclose(found[of], expected)


def test_renewed_statistics_are_those_of_the_new_images():
    given = {**fine_tuning.TUNE, "kind": "left", "batch": 2, "more": 1}
    found = fine_tuning.renewed_on(FEW, 0.0, **given)
    run = trained(FEW, given["arm"], given["net"], steps=given["steps"])
    train = np.stack([datasets.digits(seed).x_train for seed in FEW])
    new = moments_over(run.network, run.theta, clients.shaded(train, "left"))
    x, y = networks.testing_part(FEW)
    x = clients.shaded(x, "left")
    expected = evaluate(run.network, run.theta, x, y, new).accuracy
    np.testing.assert_allclose(found, expected)


# -------------------------------------------------------------------------------- rates


@pytest.mark.parametrize("arm", [fooled.NORMALIZED, fooled.PLAIN])
def test_the_rates_of_the_attacked_are_the_best_of_their_grid(arm):
    given = {key: fooled.ATTACK[key] for key in ("net", "steps")}
    given["data"] = datasets.digits_to_tune

    def score(rate):
        run = trained(claims.TUNING_SEEDS, arm._replace(rate=rate), **given)
        return run.accuracy[:, -1].mean()

    assert is_best_of_its_grid(arm.rate, score)


def test_the_rate_of_renewed_networks_is_the_best_of_its_grid():
    given = {**fine_tuning.TUNE, "kind": "inverted", "batch": 2}
    given["data"] = datasets.digits_to_tune

    def score(rate):
        return fine_tuning.renewed_on(claims.TUNING_SEEDS, rate, **given).mean()

    assert is_best_of_its_grid(fine_tuning.RENEWED["inverted", 2], score)


def test_tuned_arms_may_have_options():
    assert tuning.tuned("cnn", "batch") == tuning.best("cnn", "batch")
    assert tuning.tuned("noise", ("noisy", 1.0)).norm == ("noisy", 1.0)
    with pytest.raises(ValueError, match="no such arm"):
        tuning.tuned("noise", ("noisy", 2.0))
