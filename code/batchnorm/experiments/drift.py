"""How far the inputs of a network's units move: as it trains, or if one layer changes.

    run = record_moments(network, theta, seeds, lr=0.1, steps=100)
    as_it_is, in_spreads = movement(run)            # each (S, layers)
    change, spread = small_change(network, seeds, images=100)

All layers may learn, or those from one on, so that their own movement can be told
from what the layers below send up.
"""

from dataclasses import replace

import numpy as np

from batchnorm import datasets
from batchnorm.ensemble import Recorder, forward, init_parameters, train, unpack

IMAGES = 100  # test images over which the moments are taken


def movement(run):
    r"""How far the means of the units' inputs move from one record to the next.

    .. math:: |\mu(t + 10) - \mu(t)| \quad\text{and}\quad |\mu(t + 10) - \mu(t)| /
        \sigma(t)

    run is what `record_moments` returns. The movement as it is, then in units of the
    inputs' spread (the drift), (2, S, layers), each a mean over units and time. Two
    networks whose spreads differ can be equal in one and not in the other.
    """
    mean, deviation = np.moveaxis(run.records["moments"], 2, 0)
    step = np.abs(np.diff(mean, axis=1))
    in_spreads = step / deviation[:, :-1]
    return np.stack([step.mean(axis=(1, 3)), in_spreads.mean(axis=(1, 3))])


def record_moments(network, theta, seeds, *, lr, steps, frozen=0):
    """Train on the digits and record what enters the units, every ten steps -> Run.

    theta is (S, P), for S seeds of the data and of the mini-batches; the hidden layers
    have one width, and the first ``frozen`` layers do not learn. The record "moments",
    (S, T, 2, depth - frozen, width), has the mean and the standard deviation of
    :math:`W u + b`, before any normalization, over 100 test images.
    """
    data = {seed: datasets.digits(seed) for seed in seeds}
    if frozen:
        network, theta, data = freeze(network, theta, data, frozen)
    x = np.stack([split.x_test[:IMAGES] for split in data.values()])
    return train(
        network,
        data.get,
        seeds,
        theta=theta,
        lr=lr,
        steps=steps,
        recorder=Recorder(
            quantities={"moments": lambda s: input_moments(network, s.theta, x)}
        ),
    )


def freeze(network, theta, data, layers):
    """The upper part of networks, fed with what the lower part makes of the data.

    theta is (K, P), and data has K splits by seed, in its order; so many layers belong
    to the lower part. Returns network, theta and data of the upper part. Refused are a
    normalized network, and parts without a hidden layer.
    """
    if network.norm is not None:
        raise ValueError(
            f"network has norm {network.norm!r}; allowed is None, for a frozen part"
        )
    if not 0 < layers < len(network.hidden):
        raise ValueError(
            f"layers is {layers}; allowed is 1 to {len(network.hidden) - 1}"
        )
    width = network.hidden[layers - 1]
    top = replace(network, shape=(width,), hidden=network.hidden[layers:])

    def outputs(k, x):
        return forward(network, theta[k : k + 1], x)[layers - 1].output[0]

    fed = {
        seed: replace(
            split,
            x_train=outputs(k, split.x_train),
            x_test=outputs(k, split.x_test),
            shape=(width,),
        )
        for k, (seed, split) in enumerate(data.items())
    }
    # The layers lie in theta one after the other.
    return top, theta[:, -top.parameters :], fed


def input_moments(network, theta, x):
    """Mean and standard deviation of W u + b of every hidden unit over the examples.

    The layers are fully connected, of one width, and normalized before the nonlinearity
    or not at all. From theta (K, P) and x, (n, d) or (K, n, d), to (K, 2, layers,
    width): means, then standard deviations.
    """
    moments = []
    for layer in forward(network, theta, x)[:-1]:
        if network.norm:
            moments.append((layer.mean, np.sqrt(layer.var)))
        else:
            z = layer.preactivation
            moments.append((z.mean(axis=1), z.std(axis=1)))
    return np.stack([np.stack(pair, axis=1) for pair in moments], axis=2)


def small_change(network, seeds, *, scale, images=IMAGES, size=0.01, weights=None):
    """How much all layers' inputs change if the first layer's weights do, and vary.

    The untrained networks are drawn at a scale from ``weights``, S seeds, those of the
    digits if None; the first layer's weights then move by the share ``size`` of an
    independent draw of them. Returns change and spread, (S, depth): the root mean
    square of the change of what enters the nonlinearities, behind any normalization,
    and of its standard deviation over so many test images.
    """
    x = np.stack([datasets.digits(seed).x_test[:images] for seed in seeds])
    weights = np.asarray(seeds if weights is None else weights)
    theta = init_parameters(network, weights, scale)
    other = init_parameters(network, weights + 2**40, scale)
    moved = theta.copy()
    unpack(network, moved)[0].weight[...] += size * unpack(network, other)[0].weight

    def inputs(theta):
        return np.array(
            [layer.preactivation for layer in forward(network, theta, x)[:-1]]
        )

    before = inputs(theta)
    change = np.square(inputs(moved) - before).mean(axis=(2, 3))
    return np.sqrt(change).T, np.sqrt(before.var(axis=2).mean(axis=2)).T
