"""Stacked convolutional networks: each is what it is alone, on any device."""

from functools import partial

import numpy as np
import pytest
import torch
from oracles import assert_close
from torch.nn import functional as F

from batchnorm.claims.networks import Arm
from batchnorm.experiments import conv, splits

NORMS = (None, "batch", "per-activation", "layer", "group")


def networks(net, norm, order="before", seeds=(3, 4), device="cpu"):
    scale = np.full(len(seeds), 2**0.5)
    return conv.Ensemble(net, norm, order, seeds, scale, device)


def test_a_convolution_is_that_of_torch():
    rng = torch.Generator().manual_seed(0)
    h = torch.randn(2, 3, 5, 8, 7, generator=rng)
    for k in (1, 3):
        weight = torch.randn(2, 4, 3, k, k, generator=rng)
        ours = conv.convolve(h, weight)
        for one, w, out in zip(h, weight, ours, strict=True):
            theirs = F.conv2d(one.transpose(0, 1), w, padding=k // 2)
            assert_close(out.transpose(0, 1), theirs, 1e-5)


@pytest.mark.parametrize("norm", NORMS[1:])
def test_moments_are_those_of_torchs_norms(norm):
    h = torch.randn(1, 8, 6, 5, 5, generator=torch.Generator().manual_seed(1))
    mean, var = conv.moments(h, norm)
    ours = ((h - mean) * (var + conv.EPS).rsqrt())[0].transpose(0, 1)
    x = h[0].transpose(0, 1)
    by_batch = partial(F.batch_norm, running_mean=None, running_var=None, training=True)
    theirs = {
        "batch": lambda: by_batch(x),
        "per-activation": lambda: by_batch(x.flatten(1)).view_as(x),
        "layer": lambda: F.layer_norm(x, x.shape[1:]),
        "group": lambda: F.group_norm(x, 4),
    }[norm]()
    assert_close(ours, theirs, 1e-5)


@pytest.mark.parametrize("net", [conv.Shallow((4, 8)), conv.Residual(4)])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.usefixtures("small_mnist")
def test_a_network_is_the_same_alone_as_beside_others(net, norm):
    setting = {"net": net, "steps": 4, "batch": 16, "at": (4,)}
    setting["arm"] = Arm(norm, 0.1)
    both = conv.curves([3, 4], "cpu", **setting)
    alone = conv.curves([4], "cpu", **setting)
    for key, found in both.items():
        # A sum may round differently, and an image or two of 100 turn over.
        assert np.abs(found[1] - alone[key][0]).max() <= 2


@pytest.mark.usefixtures("small_mnist")
def test_a_network_that_diverges_spoils_itself_only():
    data = conv.Data(splits.reported, [3, 4], 16, 8, "cpu")
    nets = networks(conv.Shallow((4, 8)), "batch")
    conv.descend(nets, data, [0.1, 1e30], 8, (8,))
    weight = nets.weight[0].detach()
    assert weight[0].isfinite().all()
    assert not weight[1].isfinite().all()


@pytest.mark.usefixtures("small_mnist")
@pytest.mark.parametrize("norm", ["batch", "group"])
def test_networks_learn(norm):
    setting = {"net": conv.Residual(8), "steps": 80, "batch": 16, "at": (1, 80)}
    right = conv.curves([3, 4], "cpu", arm=Arm(norm, 0.1), **setting)["right"]
    assert (right[:, 0] < 40).all()
    assert (right[:, 1] > 80).all()


@pytest.mark.usefixtures("small_mnist")
def test_tuning_has_a_score_for_each_rate_and_scale():
    setting = {"net": conv.Shallow((4, 8)), "norm": "batch", "order": "after"}
    grid = {"rates": (1e-6, 0.1), "scales": (0.5, 1.0, 2.0)}
    found = conv.tuning((3, 4), "cpu", steps=20, batch=16, **grid, **setting)
    assert found["final"].shape == (2, 6)
    assert found["final"][:, :3].mean() < found["final"][:, 3:].mean()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")
@pytest.mark.parametrize("net", [conv.Shallow(), conv.Residual()])
@pytest.mark.parametrize("norm", NORMS)
def test_a_gpu_returns_what_the_cpu_does(net, norm):
    """To float32's rounding: a step is 1e-4 of itself apart at most."""
    draw = np.random.default_rng(0)
    x = torch.tensor(draw.random((2, 1, 16, 28, 28)), dtype=torch.float32)
    y = torch.tensor(draw.integers(10, size=(2, 16)))
    moved = []
    for device in ("cpu", "cuda"):
        nets = networks(net, norm, device=device)
        before = [p.detach().clone() for p in nets.parameters]
        lr = torch.full((2,), 0.1, device=device)
        nets.step(x.to(device), y.to(device), lr)
        pairs = zip(nets.parameters, before, strict=True)
        moved.append([(p.detach() - b).cpu() for p, b in pairs])
    for cpu, gpu in zip(*moved, strict=True):
        assert (cpu - gpu).norm() <= 1e-4 * cpu.norm() + 1e-7
