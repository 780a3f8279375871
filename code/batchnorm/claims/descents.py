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


def arrivals(seeds, way, lengths=(1.0,), *, kappa, inputs, steps):
    """Steps to 1e-6 of the loss, infinite if not reached -> (S, lengths, rates).

    As `steps_of_descent`, with the start of w times each of the lengths, and with one
    way more: a "line search" takes the plain step that lowers the loss most, and has
    no rate.
    """
    draw = 2**32 if "redrawn" in way else 0
    drawn = [
        np.random.default_rng(seed + draw).normal(size=(2, inputs)) for seed in seeds
    ]
    target, w = (u[:, None, None] for u in np.stack(drawn, axis=1))
    scale = np.geomspace(1, 1 / (2 if way == "conditioned" else kappa), inputs)
    search = "search" in way
    rates = np.ones((1, 1)) if search else np.array(RATES)[:, None]
    w = w * np.ones_like(rates) * np.array(lengths)[:, None, None]
    arrived, start = np.full(w.shape[:3], np.inf), None
    gamma = np.ones((*w.shape[:3], 1))
    with np.errstate(all="ignore"):
        for step in range(steps):
            length = np.sqrt(_sum(scale * w**2))
            unit = w / length
            if way == "solved":
                gamma = _sum(scale * unit * target)
            error = (gamma * unit if way in SPLIT else w) - target
            slope = scale * error
            loss = _sum(slope * error)[..., 0]
            start = loss if start is None else start
            arrived[(loss <= 1e-6 * start) & np.isinf(arrived)] = step
            if way in SPLIT:
                along = _sum(unit * slope)
                w = w - rates * gamma / length * (slope - along * scale * unit)
                gamma = gamma - rates * along
            elif search:
                w = w - _sum(slope**2) / _sum(scale * slope**2) * slope
            else:
                w = w - rates * slope
    return arrived
