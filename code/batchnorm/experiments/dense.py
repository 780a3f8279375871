"""What is measured of fully connected networks on MNIST, many seeds at once.

Each function takes S seeds, a device and a setting, and returns arrays by name, with a
row for each seed. In a setting ``net`` is a `Dense`, ``arm`` an `Arm`, and options are
those of `ensemble.train`. Counts of right answers are of the 2,000 test images of a
seed. The ensemble runs on the CPU, whatever the device.
"""

from functools import cache, partial
from typing import NamedTuple

import numpy as np

from batchnorm.claims.failures import accumulation_law, input_gradient
from batchnorm.claims.networks import Arm
from batchnorm.ensemble import (
    Network,
    Recorder,
    evaluate,
    grid,
    init_parameters,
    moments_over,
    train,
    unpack,
)
from batchnorm.experiments.splits import LEARNED, TESTED, reported, to_tune

READ = (*range(5, 200, 5), *range(200, 801, 20))  # steps at which curves are read


class Dense(NamedTuple):
    """Fully connected layers on 28×28 pixels."""

    nonlinearity: str
    depth: int
    width: int = 100

    def network(self, norm, order="before"):
        """The `Network` with this norm."""
        hidden = (self.width,) * self.depth
        options = {"nonlinearity": self.nonlinearity, "norm": norm, "order": order}
        return Network((1, 28, 28), hidden, **options)


def count(accuracy):
    """Accuracies as counts of the test images."""
    return np.round(np.asarray(accuracy) * TESTED).astype(int)


def curves(seeds, device, *, net, arm, steps, at=READ, images=LEARNED, **options):
    """Train, and read the test images at these steps -> "right" (S, T).

    The last is after all steps; ``images`` says how many there are to learn from.
    """
    network = net.network(arm.norm, arm.order)
    run = train(
        network,
        partial(reported, images=images),
        seeds,
        theta=init_parameters(network, arm.draws(seeds), arm.scale),
        lr=arm.rate,
        steps=steps,
        recorder=Recorder(every=tuple(s for s in at if s <= steps)),
        dtype=np.float32,
        **options,
    )
    return {"right": count(run.accuracy)}


def tuning(seeds, device, *, net, norm, rate, scales, steps, **options):
    """Train at one rate from each scale, on the images that are for this.

    Returns "early" (S, scales), the mean accuracy at twenty steps of the run, and
    "final", that after the last.
    """
    each, scale = grid(seeds, scales)
    network = net.network(norm)
    run = train(
        network,
        to_tune,
        each,
        theta=init_parameters(network, each, scale),
        lr=rate,
        steps=steps,
        recorder=Recorder(every=tuple(range(steps // 20, steps + 1, steps // 20))),
        dtype=np.float32,
        **options,
    )
    return _scores(run.accuracy, len(seeds))


def _scores(accuracy, seeds):
    scores = {"early": accuracy.mean(axis=1), "final": accuracy[:, -1]}
    return {k: v.reshape(seeds, -1).round(5) for k, v in scores.items()}


# ---------------------------------------------------------------------------
# Which settings train


def trained(seeds, device, *, net, arm, rates, factors, least, steps, **options):
    """How many settings bring an arm to the accuracy ``least`` -> "trained" (S,).

    The settings are pairs of a rate and a factor of the arm's scale.
    """
    each, lr, factor = grid(seeds, rates, factors)
    network = net.network(arm.norm, arm.order)
    theta = init_parameters(network, arm.draws(each), arm.scale * factor)
    options |= {"lr": lr, "theta": theta, "steps": steps, "dtype": np.float32}
    run = train(network, reported, each, **options)
    right = (run.accuracy[:, -1] >= least).reshape(len(seeds), -1)
    return {"trained": right.sum(axis=1)}


# ---------------------------------------------------------------------------
# Noise: ghosts and dropout


def noisy(seeds, device, *, net, arm, images, wrong, steps, batch):
    """Train with noise; read without it, by population statistics -> "right" (S, 1).

    The norm of the arm is None, ("ghost", size), ("dropout", p) or ("batch-dropout",
    p), and ``wrong`` the share of wrong labels. Read is after the last step.
    """
    data = partial(reported, images=images, wrong=wrong)
    given = {"steps": steps, "batch": batch}
    right = _without_noise(seeds, arm.draws(seeds), arm, net, data, arm.rate, given)
    return {"right": count(right)[:, None]}


def noisy_tuning(seeds, device, *, net, norm, rates, images, wrong, steps, batch):
    """As `noisy` at several rates, on the images that are for this.

    Returns "final" (S, rates), accuracies.
    """
    each, lr = grid(seeds, rates)
    data = partial(to_tune, images=images, wrong=wrong)
    given = {"steps": steps, "batch": batch}
    right = _without_noise(each, each, Arm(norm, 0.0), net, data, lr, given)
    return {"final": right.reshape(len(seeds), -1).round(5)}


def _without_noise(seeds, draws, arm, net, data, lr, options):
    """Accuracy of trained networks by their twins that make no noise, (K,)."""
    kind = arm.norm[0] if arm.norm else None
    norm = (*arm.norm, tuple(map(int, seeds))) if "dropout" in str(kind) else arm.norm
    network = net.network(norm)
    twin = net.network(None if kind in (None, "dropout") else "batch")  # of the same θ
    data = cache(data)
    theta = init_parameters(network, draws, arm.scale)
    options = {**options, "lr": lr, "theta": theta, "dtype": np.float32}
    run = train(network, data, seeds, **options)
    found = []
    for theta, seed in zip(run.theta, seeds, strict=True):
        split = data(int(seed))
        known = moments_over(twin, theta[None], split.x_train)
        found.append(evaluate(twin, theta[None], split.x_test, split.y_test, known)[0])
    return np.concatenate(found)


# ---------------------------------------------------------------------------
# Ways to read, and accumulated gradients


def readings(seeds, device, *, net, arm, steps, momentum, batch=60):
    """Train, and read the test images in six ways, each (S, 1).

    "running", "exact" and "anew" (averages over ten mini-batches), in inference mode;
    "eights" and "sorted" in training mode in mini-batches of 8, shuffled or sorted by
    class, "whole" all together. ``momentum`` is that of the running averages.
    """
    network, data = net.network(arm.norm), cache(reported)
    theta = init_parameters(network, arm.draws(seeds), arm.scale)
    options = {"steps": steps, "momentum": momentum, "batch": batch, "theta": theta}
    run = train(network, data, seeds, lr=arm.rate, dtype=np.float32, **options)
    found = {}
    for k, seed in enumerate(seeds):
        split, theta = data(int(seed)), run.theta[k : k + 1]
        by_class = np.argsort(split.y_test, kind="stable")
        parts = split.x_train[: 10 * batch].reshape(10, batch, -1)
        anew = np.mean([moments_over(network, theta, x) for x in parts], axis=0)
        anew[:, 1] *= batch / (batch - 1)
        exact = moments_over(network, theta, split.x_train)
        test = split.x_test, split.y_test
        given = network, theta
        for name, score in {
            "running": evaluate(*given, *test, run.running[k : k + 1]),
            "exact": evaluate(*given, *test, exact),
            "anew": evaluate(*given, *test, anew),
            "eights": evaluate(*given, *test, batch=8),
            "sorted": evaluate(*given, *(v[by_class] for v in test), batch=8),
            "whole": evaluate(*given, *test, batch=TESTED),
        }.items():
            found.setdefault(name, []).append(count(score.accuracy))
    return {name: np.array(right) for name, right in found.items()}


def accumulated(seeds, device, *, net, arm, n, m):
    """How far gradients accumulated over parts of m are from those of one batch of n.

    Returns "over-law" (S, sizes), for each size in ``m`` the relative difference of the
    gradients at the inputs of the first layer's normalization, over what the law for
    normal inputs says.
    """
    network = net.network(arm.norm)
    theta = init_parameters(network, arm.draws(seeds), arm.scale)
    x = np.stack([reported(seed, n).x_train for seed in seeds]).astype(float)
    z = x @ unpack(network, theta)[0].weight.mT
    draws = [np.random.default_rng([seed, 13]) for seed in seeds]
    dy = np.stack([rng.normal(size=z[0].shape) for rng in draws])
    whole, found = input_gradient(dy, z, n), []
    for size in m:
        apart = np.square(input_gradient(dy, z, size) - whole).sum((1, 2))
        relative = np.sqrt(apart / np.square(whole).sum((1, 2)))
        found.append(relative / accumulation_law(n, size) ** 0.5)
    return {"over-law": np.stack(found, axis=1).round(5)}
