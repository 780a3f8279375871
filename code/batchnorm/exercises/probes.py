"""The inputs that programs are tried on: designed, not drawn, so that mistakes show.

What an ordinary probe hides, these show: γ is not 1, β not 0, ε large and never a
default; standard deviations from 0.001 to 10, one channel is constant; all extents
differ, but for one case in which two agree; dy is neither constant nor along x̂. One
case lies so far from zero (2²⁷) that a one-pass variance is exactly 0 there, in any
order of summation. All numbers are binary fractions with few digits, so that they are
the same in float32, but for that case.

`tests/unit/test_exercises_probes.py` proves that no two mistakes of a task, nor a
mistake and the truth, agree on all of them.
"""

import copy
from dataclasses import dataclass

import numpy as np

FAR = 2.0**27


@dataclass(frozen=True, eq=False)
class Probe:
    """One input.

    Parameters
    ----------
    arguments : dict
        By name, in the order of the signature.
    far : bool
        Whether float32 cannot hold it.
    """

    arguments: dict
    far: bool = False

    def fresh(self, **changed):
        """Copies of the arguments, some of them changed, as a list.

        Parameters
        ----------
        **changed
            Other values for some arguments.

        Returns
        -------
        list
        """
        return [copy.deepcopy(v) for v in {**self.arguments, **changed}.values()]

    @property
    def size(self):
        """How many numbers it holds."""
        return sum(_size(value) for value in self.arguments.values())


def _size(value):
    if isinstance(value, (list, tuple)):
        return sum(map(_size, value))
    return np.size(value)


def _column(*entries):
    return np.array(entries, dtype=float)[:, None]


def _wide(m, d, seed):
    """(m, d), standard deviations from 0.001 to 10; a fourth channel is constant."""
    rng = np.random.default_rng(seed)
    steps = rng.permuted(np.tile(np.arange(m) ** 2, (d, 1)), axis=1).T - m
    varied = d - (d > 3)
    spreads = np.zeros(d)
    spreads[:varied] = 2.0 ** np.linspace(-12, 1, varied).round()
    centers = 0.25 * (1 + np.arange(d)) * (-1.0) ** np.arange(d)
    return centers + spreads * steps


def _vector(d, first, step):
    return first + step * np.arange(d)


def _learned(d):
    """γ and β of d features, far from their defaults."""
    return {"gamma": _vector(d, 2.0, -0.75), "beta": _vector(d, -1.0, 0.625)}


def _stored(d):
    """Mean and variance of d features; each deviation is an eighth of the last."""
    return {"mean": _vector(d, 3.0, -0.5), "var": 2.0 ** (2 - 6 * np.arange(d))}


def _rows():
    """x, gamma, beta, eps, dy for matrices, from the smallest on."""
    rng = np.random.default_rng(8)
    cases = [
        (_column(1, 4), 0.5, _column(1, 3)),
        (_column(1, 2, 6), 0.5, _column(1, -1, 2)),
        (FAR + _column(1, -1), 0.5, _column(1, 3)),
        (_wide(4, 3, 1), 0.25, None),
        (_wide(3, 3, 2), 0.125, None),
        (_wide(5, 4, 3), 2.0**-10, None),
    ]
    for x, eps, dy in cases:
        d = x.shape[1]
        gamma, beta = _vector(d, 2.0, -0.75), _vector(d, -1.0, 0.625)
        if dy is None:
            dy = rng.integers(-16, 17, size=x.shape) / 8
        yield x, gamma, beta, eps, dy


def rows():
    """Cases for a transform of rows: x, gamma, beta, eps.

    Returns
    -------
    list of Probe
    """
    return [
        Probe({"x": x, "gamma": gamma, "beta": beta, "eps": eps}, _is_far(x))
        for x, gamma, beta, eps, _ in _rows()
    ]


def gradients():
    """Cases for its backward pass: dy, x, gamma, eps.

    Returns
    -------
    list of Probe
    """
    return [
        Probe({"dy": dy, "x": x, "gamma": gamma, "eps": eps}, _is_far(x))
        for x, gamma, _, eps, dy in _rows()
    ]


def _is_far(x):
    return bool(np.abs(x).max() > 1e6)


def examples():
    """Cases for one example at a time: x, gamma, beta, eps, features along axis 1.

    Returns
    -------
    list of Probe
    """
    cases = [
        (np.array([[1.0, 4.0]]), 0.5),
        (np.array([[1.0, 2.0, 6.0]]), 0.5),
        (FAR + np.array([[1.0, -1.0]]), 0.5),
        (_wide(4, 3, 1).T.copy(), 0.25),
        (_wide(3, 3, 2).T.copy(), 0.125),
        (_wide(5, 4, 3).T.copy(), 2.0**-10),
    ]
    probes = []
    for x, eps in cases:
        d = x.shape[1]
        gamma, beta = _vector(d, 2.0, -0.75), _vector(d, -1.0, 0.625)
        case = {"x": x, "gamma": gamma, "beta": beta, "eps": eps}
        probes.append(Probe(case, _is_far(x)))
    return probes


def maps():
    """Cases for feature maps: x (N, C, H, W), gamma, beta, eps.

    Returns
    -------
    list of Probe
    """
    two = np.array([1.0, 4.0]).reshape(2, 1, 1, 1)
    four = np.array([1.0, 2.0, 6.0, 8.0]).reshape(2, 1, 1, 2)
    far = (FAR + np.array([1.0, -1.0])).reshape(1, 1, 1, 2)
    cases = [(two, 0.5), (four, 0.5), (far, 0.5)]
    for shape, seed, eps in [
        ((1, 2, 3, 4), 5, 0.25),
        ((2, 3, 4, 3), 6, 0.125),
        ((5, 4, 3, 2), 7, 2.0**-10),
    ]:
        n, c, h, w = shape
        x = _wide(n * h * w, c, seed).reshape(n, h, w, c).transpose(0, 3, 1, 2)
        cases.append((x.copy(), eps))
    probes = []
    for x, eps in cases:
        d = x.shape[1]
        gamma, beta = _vector(d, 2.0, -0.75), _vector(d, -1.0, 0.625)
        case = {"x": x, "gamma": gamma, "beta": beta, "eps": eps}
        probes.append(Probe(case, _is_far(x)))
    return probes


def updates():
    """Cases for running averages: mean, var, x, momentum.

    Returns
    -------
    list of Probe
    """
    cases = [
        (_column(1, 4), 0.25),
        (_column(1, 2, 6), 0.125),
        (_wide(4, 3, 1), 0.25),
        (_wide(5, 4, 3), 0.0625),
    ]
    probes = []
    for x, momentum in cases:
        d = x.shape[1]
        mean, var = _vector(d, 3.0, -0.5), _vector(d, 2.0, 1.5)
        case = {"mean": mean, "var": var, "x": x, "momentum": momentum}
        probes.append(Probe(case))
    return probes


def populations():
    """Cases for inference: x, gamma, beta, mean, var, eps; one batch of one.

    Returns
    -------
    list of Probe
    """
    cases = [
        (_column(1), 0.5),
        (_column(1, 4), 0.5),
        (_wide(4, 3, 1), 0.25),
        (_wide(3, 3, 2), 0.125),
        (_wide(5, 4, 3), 2.0**-10),
    ]
    probes = []
    for x, eps in cases:
        d = x.shape[1]
        case = {
            "x": x,
            **_learned(d),
            **_stored(d),
            "eps": eps,
        }
        probes.append(Probe(case))
    return probes


def layers():
    """Cases for folding: weight (d_out, d_in), bias, gamma, beta, mean, var, eps.

    Returns
    -------
    list of Probe
    """
    rng = np.random.default_rng(9)
    probes = []
    for out, inside, eps in [
        (1, 1, 0.5),
        (2, 3, 0.25),
        (3, 3, 0.125),
        (4, 2, 2.0**-10),
    ]:
        case = {
            "weight": rng.integers(-16, 17, size=(out, inside)) / 8 + 0.0625,
            "bias": _vector(out, 4.0, -1.25),
            **_learned(out),
            **_stored(out),
            "eps": eps,
        }
        probes.append(Probe(case))
    return probes


def unions():
    """Cases for merging: shards of unequal counts, one of them of a single value.

    Returns
    -------
    list of Probe
    """
    cases = [
        [(3.0, 1.0, 2), (7.0, 4.0, 6)],
        [(0.5, 0.0, 1), (4.0, 2.0, 3), (-2.0, 0.25, 12)],
    ]
    probes = [
        Probe({"shards": [(np.array([m]), np.array([v]), n) for m, v, n in case]})
        for case in cases
    ]
    wide = [
        (_vector(3, k - 1.5, 0.5 * k), 4.0 ** (k - np.arange(3)), n)
        for k, n in enumerate([5, 2, 7, 16])
    ]
    return [*probes, Probe({"shards": wide})]


def sessions():
    """Cases for a module: two batches, dy, gamma, beta, eps, momentum.

    Returns
    -------
    list of Probe
    """
    cases = [
        (_column(1, 4), _column(2, 8), 0.5, 0.25),
        (_column(1, 2, 6), _column(0, 5), 0.5, 0.125),
        (_wide(4, 3, 1), _wide(5, 3, 4), 0.25, 0.25),
        (_wide(5, 4, 3), _wide(3, 4, 5), 2.0**-10, 0.0625),
    ]
    rng = np.random.default_rng(10)
    probes = []
    for x, then, eps, momentum in cases:
        d = x.shape[1]
        case = {
            "x": x,
            "then": then,
            "dy": rng.integers(-8, 9, size=x.shape) / 4 + 0.125,
            **_learned(d),
            "eps": eps,
            "momentum": momentum,
        }
        probes.append(Probe(case))
    return probes


def workers():
    """Cases for workers: lists of dy and x, of uneven length, then gamma and eps.

    Returns
    -------
    list of Probe
    """
    rng = np.random.default_rng(11)
    cases = [
        ([_column(1), _column(4, 8)], 0.5),
        ([_column(1, 2, 6), _column(3, 5)], 0.5),
        ([_wide(4, 3, 1), _wide(2, 3, 4) + 1, _wide(5, 3, 5) - 2], 0.25),
        ([_wide(5, 4, 3), _wide(3, 4, 6)], 2.0**-10),
    ]
    probes = []
    for x, eps in cases:
        dy = [rng.integers(-16, 17, size=rows.shape) / 8 for rows in x]
        gamma = _vector(x[0].shape[1], 2.0, -0.75)
        probes.append(Probe({"dy": dy, "x": x, "gamma": gamma, "eps": eps}))
    return probes


def clouds():
    """Cases for whitening: x (m, d) that varies in all directions, correlated.

    Returns
    -------
    list of Probe
    """
    small = np.array([[1.0, 0.0], [2.0, 1.0], [6.0, 2.0]])
    probes = [Probe({"x": small})]
    for m, d, seed in [(5, 2, 1), (7, 3, 2), (9, 4, 3)]:
        rng = np.random.default_rng(seed)
        base = rng.integers(-16, 17, size=(m, d)) / 4
        mixed = base @ (np.eye(d) + np.triu(np.ones((d, d)), 1) / 2)
        probes.append(Probe({"x": mixed * 2.0 ** -np.arange(d) + 3}))
    return probes
