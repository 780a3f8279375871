"""How fast the gradient of trained networks changes along itself."""

from functools import lru_cache

import numpy as np

from batchnorm.claims.networks import FACTOR, PERFECT, mini_batches, trained
from batchnorm.claims.tuning import best
from batchnorm.claims.types import above
from batchnorm.ensemble import Recorder, gradient, unpack

FRACTIONS = 0.5, 1.0, 2.0, 4.0  # of a step, from Santurkar et al., appendix A.2.2


@lru_cache(maxsize=8)
def sharpness(seeds, arm, net, relative=True):
    """Largest change of the gradient over the distance along it -> (S,).

    The geometric mean over four moments of the first 40 steps. Each layer's weights
    are measured by their length if ``relative``. A `PERFECT` landscape is a plane.
    """
    if arm == PERFECT:
        return np.full(len(seeds), 1e-9)
    keep = Recorder(every=(1, 10, 20, 40), quantities={"theta": _theta})
    run = trained(seeds, arm, net, steps=40, recorder=keep)
    found = [
        _sharpness(run.network, theta, arm.rate, batch, relative)
        for theta, batch in zip(
            np.moveaxis(run.records["theta"], 1, 0),
            mini_batches(seeds, 60, 4),
            strict=True,
        )
    ]
    return np.exp(np.mean(np.log(found), axis=0))


def _theta(state):
    return state.theta


def _sharpness(network, theta, rate, batch, relative):
    """At one place -> (S,)."""
    _, here = gradient(network, theta, *batch)
    layers = [layer.weight for layer in unpack(network, theta)]
    lengths = [
        np.linalg.norm(w, axis=(1, 2)) if relative else np.ones(len(w)) for w in layers
    ]

    def norm(vector, power):
        parts = (layer.weight for layer in unpack(network, vector))
        squares = [
            np.sum(part**2, axis=(1, 2)) * length ** (2 * power)
            for part, length in zip(parts, lengths, strict=True)
        ]
        return np.sqrt(np.sum(squares, axis=0))

    changes = []
    for fraction in FRACTIONS:
        step = fraction * rate * here
        _, there = gradient(network, theta - step, *batch)
        changes.append(norm(there - here, 1) / norm(step, -1))
    return np.max(changes, axis=0)


def smoothness(sweep):
    """Fields of a claim that the tuned arms of a sweep differ in smoothness."""
    without, normalized = best(sweep, None), best(sweep, "batch")
    return {
        "effect": "change of the gradient over a distance along it, in relative "
        "changes of the weights, without over with",
        "region": above(FACTOR),
        "claimed": "There is a clear improvement in all of these measures in networks "
        "with BatchNorm, indicating a more well-behaved loss landscape.",
        "claimed_by": "santurkar2018how, figure 4",
        "source": "santurkar2018how, figure 4; arora2019theoretical, section 2",
        "setting": {"without": without, "normalized": normalized, "net": sweep},
        "negative": {"normalized": without._replace(draw=1)},
        "positive": {
            "without": without._replace(
                scale=1.25 * without.scale, rate=without.rate / 10
            ),
            "normalized": without,
        },
        "oracle": {"without": PERFECT},
        "scale": "log",
        "seeds": 29,
    }
