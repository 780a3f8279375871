"""Claims of the chapter on failures, against planted worlds and other computations."""

import numpy as np
import pytest
import torch
from claim_helpers import is_best_of_its_grid
from scipy import ndimage

from batchnorm import claims, datasets
from batchnorm.claims import clients, fine_tuning, networks, streams
from batchnorm.claims import failures as chapter
from batchnorm.claims.networks import trained
from batchnorm.ensemble import Network, evaluate, init_parameters, moments_over, unpack

FEW = tuple(range(3))


@pytest.mark.parametrize("m", [8, 16, 48])
def test_the_law_of_accumulation_is_that_of_normal_inputs(m):
    rng = np.random.default_rng(m)
    dy, z = rng.normal(size=(2, 1, 96, 20_000))
    whole = chapter.input_gradient(dy, z, 96)
    apart = np.square(chapter.input_gradient(dy, z, m) - whole).sum()
    found = apart / np.square(whole).sum()
    assert found == pytest.approx(chapter.accumulation_law(96, m), rel=0.02)


def test_the_gradient_in_parts_is_that_of_autograd():
    dy, z = np.random.default_rng(0).normal(size=(2, 1, 12, 5))
    leaf = torch.tensor(z, requires_grad=True)
    parts = leaf[0].split(4), torch.tensor(dy)[0].split(4)
    for part, arrives in zip(*parts, strict=True):
        y = (part - part.mean(0)) / part.var(0, correction=0).sqrt()
        (y * arrives).sum().backward()
    np.testing.assert_allclose(chapter.input_gradient(dy, z, 4), leaf.grad, atol=1e-12)


def test_a_blur_is_the_mean_of_nine():
    x = np.random.default_rng(0).random((2, 64))
    each = [ndimage.uniform_filter(v, 3, mode="constant") for v in x.reshape(2, 8, 8)]
    found = streams.changed(x, "blur").reshape(2, 8, 8)
    np.testing.assert_allclose(found, each, atol=1e-12)


def test_all_of_its_own_statistics_are_those_of_training_mode():
    run = trained(FEW, **{k: streams.READER[k] for k in ("arm", "net")}, steps=3)
    x, y = networks.testing_part(FEW)
    given = run.network, run.theta, x
    own = streams.mixed_statistics(*given, run.running, 1.0)
    np.testing.assert_allclose(own, moments_over(*given), rtol=1e-9)
    none = streams.mixed_statistics(*given, run.running, 0.0)
    np.testing.assert_array_equal(none, run.running)
    assert evaluate(*given, y, none).accuracy.shape == (3,)


def test_streams_hold_their_classes_and_no_image_twice():
    found = list(streams.streams(FEW, "as they are", 2))
    assert len(found) == 5
    for k in range(3):
        kept = [set(y[k]) for _, y in found]
        assert all(len(pair) == 2 for pair in kept)
        assert set.union(*kept) == set(range(10))


def test_what_stays_at_a_client_is_gamma_and_beta():
    network = Network((64,), (4, 3), norm="batch")
    theta = init_parameters(network, [0])
    stays = ~clients.averaged(network, clients.LOCAL)
    marked = unpack(network, np.where(stays, np.nan, theta))
    for layer in marked[:-1]:
        assert np.isnan(layer.gamma).all()
        assert np.isnan(layer.beta).all()
        assert np.isfinite(layer.weight).all()
    assert stays.sum() == 2 * (4 + 3)
    assert clients.averaged(network, clients.AVERAGED).all()


@pytest.mark.parametrize("frozen", [True, False])
def test_fine_tuning_moves_statistics_unless_they_are_frozen(frozen):
    run = trained(FEW, **{k: streams.READER[k] for k in ("arm", "net")}, steps=3)
    x, y = networks.testing_part(FEW)
    draws = [np.random.default_rng(seed) for seed in FEW]
    options = {"rate": 0.01, "steps": 2, "batch": 8, "frozen": frozen}
    parts, stored = fine_tuning.fine_tuned(run, x, y, draws, **options)
    before = run.running[:, 0, :64]
    assert np.array_equal(stored[0][0].numpy(), before) == frozen
    weight = unpack(run.network, run.theta)[0].weight
    assert not np.array_equal(parts[0][0].detach().numpy(), weight)


@pytest.mark.parametrize("id", ["two-class-stream", "adapted-to-blur"])
def test_the_other_way_round_is_opposed(id):
    claim = claims.get(id)
    first, second = claim.setting["first"], claim.setting["second"]
    assert claim.run(range(10), first=second, second=first).verdict == claims.OPPOSED


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize(("kind", "batch"), [("as they are", 2), ("inverted", 32)])
def test_the_rates_of_fine_tuning_are_the_best_of_their_grid(kind, batch, frozen):
    given = {**fine_tuning.TUNE, "kind": kind, "batch": batch}
    given["data"] = datasets.digits_to_tune

    def score(rate):
        return fine_tuning.tuned_on(claims.TUNING_SEEDS, rate, frozen, **given).mean()

    assert is_best_of_its_grid(fine_tuning.CELLS[kind, batch, frozen], score)


@pytest.mark.parametrize("way", [clients.AVERAGED, clients.LOCAL])
def test_the_rates_of_the_clients_are_the_best_of_their_grid(way):
    given = {**clients.CLIENTS, "data": datasets.digits_to_tune}

    def score(rate):
        arm = way._replace(rate=rate)
        return clients.federated(claims.TUNING_SEEDS, arm, **given).mean()

    assert is_best_of_its_grid(way.rate, score)
