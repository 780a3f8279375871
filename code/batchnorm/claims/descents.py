"""Gradient descent on least squares, as it is or split into length and direction."""

import numpy as np

RATES = tuple(float(f"{10 ** (k / 4):.3g}") for k in range(-8, 13))
SPLIT = "one rate", "solved"


def _sum(values):
    return np.sum(values, axis=-1, keepdims=True)


def steps_of_descent(seeds, way, *, kappa, inputs, steps):
    """Steps to 1e-6 of the loss at each rate -> (S, rates), infinite if not reached."""
    draw = 2**32 if way == "redrawn" else 0
    drawn = [
        np.random.default_rng(seed + draw).normal(size=(2, inputs)) for seed in seeds
    ]
    target, w = np.stack(drawn, axis=1)[:, :, None]
    w = np.repeat(w, len(RATES), axis=1)
    scale = np.geomspace(1, 1 / (2 if way == "conditioned" else kappa), inputs)
    rates, arrived = np.array(RATES)[:, None], np.full(w.shape[:2], np.inf)
    gamma, start, split = np.ones((*w.shape[:2], 1)), None, way in SPLIT
    with np.errstate(all="ignore"):
        for step in range(steps):
            unit = w / np.sqrt(_sum(scale * w**2))
            if way == "solved":
                gamma = _sum(scale * unit * target)
            v = gamma * unit if split else w
            slope = scale * (v - target)
            loss = _sum(slope * (v - target))[:, :, 0]
            start = loss if start is None else start
            arrived[(loss <= 1e-6 * start) & np.isinf(arrived)] = step
            if split:
                along = _sum(unit * slope)
                length = np.sqrt(_sum(scale * w**2))
                w = w - rates * gamma / length * (slope - along * scale * unit)
                gamma = gamma - rates * along
            else:
                w = w - rates * slope
    return arrived
