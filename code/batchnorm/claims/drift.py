"""How far the inputs of a network's units move while it trains, all or part of it."""

from dataclasses import replace

import numpy as np

from batchnorm import datasets
from batchnorm.ensemble import Network, forward, init_parameters, train


def movement(run):
    r"""How far the means of the units' inputs move from one record to the next.

    $|\mu(t + 10) - \mu(t)|$, as it is and over $\sigma(t)$, each a mean over units and
    time. Two networks whose spreads differ can be equal in one and not in the other.

    Parameters
    ----------
    run : Run
        What `record_moments` returns.

    Returns
    -------
    array of shape (2, S, layers)
        The movement as it is, then in units of the inputs' spread (the drift).
    """
    step = np.abs(np.diff(run.records["mean"], axis=1))
    in_spreads = step / run.records["deviation"][:, :-1]
    return np.stack([step.mean(axis=(1, 3)), in_spreads.mean(axis=(1, 3))])


def drift_by_layer(seeds, **setting):
    """Movement of the means in units of the spread, by layer -> (S, depth - frozen).

    setting: as in `record_moments`.
    """
    return movement(record_moments(seeds, **setting))[1]


def record_moments(
    seeds, *, nonlinearity, depth, width, steps, best, norm=None, frozen=0
):
    """Train on the digits and record what enters the units, every ten steps.

    Parameters
    ----------
    seeds : sequence of int
        S seeds, of the data and of the weights.
    nonlinearity, depth, width, norm
        The network, as in `Network`: `depth` hidden layers of `width` units.
    steps : int
        Steps of gradient descent.
    best : pair of float
        Learning rate and initial scale.
    frozen : int
        The number of layers, from the first, that do not learn.

    Returns
    -------
    Run
        Its records "mean" and "deviation" have shape (S, T, depth - frozen, width):
        those of $W u + b$, before any normalization, over 100 test images.
    """
    network = Network((64,), (width,) * depth, nonlinearity=nonlinearity, norm=norm)
    rate, scale = best
    theta = init_parameters(network, seeds, scale)
    data = {seed: datasets.digits(seed) for seed in seeds}
    if frozen:
        network, theta, data = freeze(network, theta, data, frozen)
    x = np.stack([split.x_test[:100] for split in data.values()])
    return train(
        network,
        data.get,
        seeds,
        theta=theta,
        lr=rate,
        steps=steps,
        every=10,
        record={
            "mean": lambda state: input_moments(network, state.theta, x)[:, 0],
            "deviation": lambda state: input_moments(network, state.theta, x)[:, 1],
        },
    )


def freeze(network, theta, data, layers):
    """The upper part of K networks, fed with what the lower part makes of the data.

    network: fully connected, without normalization; theta: (K, P); data: a dict of K
    splits by seed, in the same order; layers: how many belong to the lower part.
    Returns network, parameters and data of the upper part.
    """
    if network.norm is not None:
        raise ValueError(f"network must have norm None to freeze, got {network.norm!r}")
    if not 0 < layers < len(network.hidden):
        raise ValueError(
            f"layers must lie between 1 and {len(network.hidden) - 1}, got {layers}"
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

    network: fully connected, with layers of one width, normalized before the
    nonlinearity or not at all; theta: (K, P); x: as in `forward`.
    Returns (K, 2, layers, width): means, then standard deviations.
    """
    moments = []
    for layer in forward(network, theta, x)[:-1]:
        if network.norm:
            moments.append((layer.mean, np.sqrt(layer.var)))
        else:
            z = layer.preactivation
            moments.append((z.mean(axis=1), z.std(axis=1)))
    return np.stack([np.stack(pair, axis=1) for pair in moments], axis=2)
