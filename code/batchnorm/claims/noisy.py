"""Networks with noise behind their normalization: arms, movement, accuracy."""

import numpy as np

from batchnorm import datasets
from batchnorm.claims.networks import PERFECT, accuracies
from batchnorm.ensemble import Recorder, forward, init_parameters, train, unpack


def seeded(arm, seeds):
    """The arm, its noise drawn from the seeds of its networks."""
    if isinstance(arm.norm, tuple):
        return arm._replace(norm=(*arm.norm, tuple(int(seed) for seed in seeds)))
    return arm


def shift(seeds, arm, net, steps):
    """Movement of mean inputs in one step, as it is and in spreads -> (2, S)."""
    arm = seeded(arm, seeds)
    x = np.stack([datasets.digits(seed).x_test[:100] for seed in seeds])
    network = net.network(arm.norm)

    def moments(state):
        z = [layer.preactivation for layer in forward(network, state.theta, x)[:-1]]
        return np.stack([(h.mean(axis=1), h.std(axis=1)) for h in z], axis=2)

    run = train(
        network,
        datasets.digits,
        seeds,
        theta=init_parameters(network, arm.draws(seeds), arm.scale),
        lr=arm.rate,
        steps=steps,
        recorder=Recorder(
            every=1, quantities={"moments": lambda s: np.moveaxis(moments(s), 0, 1)}
        ),
    )
    mean, deviation = np.moveaxis(run.records["moments"], 2, 0)
    moved = np.abs(np.diff(mean, axis=1))
    # A unit that is the same for all images has no spread, and moves by none.
    in_spreads = moved / np.maximum(deviation[:, :-1], 1e-12)
    return np.stack([moved.mean(axis=(1, 2, 3)), np.median(in_spreads, (1, 2, 3))])


def early(seeds, arm, net, steps):
    """Test accuracy, mean over every fifth step -> (S,)."""
    options = {"steps": steps, "recorder": Recorder(every=5)}
    found, _ = accuracies(seeds, seeded(arm, seeds), net, **options)
    return found[:, 1:].mean(axis=1) if arm != PERFECT else found[:, 0]


def early_exact(seeds, arm, net, steps, shrink=1.0):
    """Test accuracy, mean over every fifth step, by exact statistics -> (S,).

    Running averages begin at a variance of 1, and would lag behind where the hidden
    weights, drawn and then times ``shrink``, are short.
    """
    network = net.network(arm.norm)
    theta = init_parameters(network, arm.draws(seeds), arm.scale)
    for layer in unpack(network, theta)[:-1]:
        layer.weight[...] *= shrink
    recorder = Recorder(every=5, statistics="population")
    options = {"theta": theta, "steps": steps, "recorder": recorder}
    run = train(network, datasets.digits, seeds, lr=arm.rate, **options)
    return run.accuracy[:, 1:].mean(axis=1)
