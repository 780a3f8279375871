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
    """One input."""

    arguments: dict  # by name, in the order of the signature
    far: bool = False  # whether float32 cannot hold it

    def fresh(self, **changed):
        """Copies of the arguments, some of them changed, as a list."""
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


def _normalized(x, eps):
    """A case of a transform: x, gamma, beta, eps, with the channels along axis 1."""
    return Probe({"x": x, **_learned(x.shape[1]), "eps": eps}, _is_far(x))


def _is_far(x):
    return bool(np.abs(x).max() > 1e6)


# x and ε for matrices, from the smallest on.
_MATRICES = [
    (_column(1, 4), 0.5),
    (_column(1, 2, 6), 0.5),
    (FAR + _column(1, -1), 0.5),
    (_wide(4, 3, 1), 0.25),
    (_wide(3, 3, 2), 0.125),
    (_wide(5, 4, 3), 2.0**-10),
]


# ---------------------------------------------------------------------------
# The cases of each task, each a list of `Probe`


def rows():
    """Cases for a transform of rows: x, gamma, beta, eps."""
    return [_normalized(x, eps) for x, eps in _MATRICES]


def gradients():
    """Cases for its backward pass: dy, x, gamma, eps."""
    rng = np.random.default_rng(8)
    small = [_column(1, 3), _column(1, -1, 2), _column(1, 3)]
    large = [rng.integers(-16, 17, size=x.shape) / 8 for x, _ in _MATRICES[3:]]
    probes = []
    for dy, (x, eps) in zip([*small, *large], _MATRICES, strict=True):
        gamma = _learned(x.shape[1])["gamma"]
        case = {"dy": dy, "x": x, "gamma": gamma, "eps": eps}
        probes.append(Probe(case, _is_far(x)))
    return probes


def examples():
    """Cases for one example at a time: x, gamma, beta, eps, features along axis 1."""
    return [_normalized(x.T.copy(), eps) for x, eps in _MATRICES]


def gradients_by_example():
    """Cases for its backward pass: dy, x, gamma, eps, features along axis 1."""
    probes = []
    for given in gradients():
        dy, x, _, eps = given.fresh()
        gamma = _learned(len(x))["gamma"]
        case = {"dy": dy.T.copy(), "x": x.T.copy(), "gamma": gamma, "eps": eps}
        probes.append(Probe(case, given.far))
    return probes


def maps():
    """Cases for feature maps: x (N, C, H, W), gamma, beta, eps."""
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
    return [_normalized(x, eps) for x, eps in cases]


def updates():
    """Cases for running averages: mean, var, x, momentum."""
    probes = []
    for x, momentum in [
        (_column(1, 4), 0.25),
        (_column(1, 2, 6), 0.125),
        (_wide(4, 3, 1), 0.25),
        (_wide(5, 4, 3), 0.0625),
    ]:
        d = x.shape[1]
        before = {"mean": _vector(d, 3.0, -0.5), "var": _vector(d, 2.0, 1.5)}
        probes.append(Probe({**before, "x": x, "momentum": momentum}))
    return probes


def populations():
    """Cases for inference: x, gamma, beta, mean, var, eps; one batch of one."""
    probes = []
    for x, eps in [
        (_column(1), 0.5),
        (_column(1, 4), 0.5),
        (_wide(4, 3, 1), 0.25),
        (_wide(3, 3, 2), 0.125),
        (_wide(5, 4, 3), 2.0**-10),
    ]:
        d = x.shape[1]
        probes.append(Probe({"x": x, **_learned(d), **_stored(d), "eps": eps}))
    return probes


def layers():
    """Cases for folding: weight (d_out, d_in), bias, gamma, beta, mean, var, eps."""
    rng = np.random.default_rng(9)
    probes = []
    for out, inside, eps in [
        (1, 1, 0.5),
        (2, 3, 0.25),
        (3, 3, 0.125),
        (4, 2, 2.0**-10),
    ]:
        weight = rng.integers(-16, 17, size=(out, inside)) / 8 + 0.0625
        layer = {"weight": weight, "bias": _vector(out, 4.0, -1.25)}
        probes.append(Probe({**layer, **_learned(out), **_stored(out), "eps": eps}))
    return probes


def unions():
    """Cases for merging: shards of unequal counts, one of them of a single value."""
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
    """Cases for a module: two batches, dy, gamma, beta, eps, momentum."""
    rng = np.random.default_rng(10)
    probes = []
    for x, then, eps, momentum in [
        (_column(1, 4), _column(2, 8), 0.5, 0.25),
        (_column(1, 2, 6), _column(0, 5), 0.5, 0.125),
        (_wide(4, 3, 1), _wide(5, 3, 4), 0.25, 0.25),
        (_wide(5, 4, 3), _wide(3, 4, 5), 2.0**-10, 0.0625),
    ]:
        dy = rng.integers(-8, 9, size=x.shape) / 4 + 0.125
        batches = {"x": x, "then": then, "dy": dy, **_learned(x.shape[1])}
        probes.append(Probe({**batches, "eps": eps, "momentum": momentum}))
    return probes


def workers():
    """Cases for workers: lists of dy and x, of uneven length, then gamma and eps."""
    rng = np.random.default_rng(11)
    probes = []
    for x, eps in [
        ([_column(1), _column(4, 8)], 0.5),
        ([_column(1, 2, 6), _column(3, 5)], 0.5),
        ([_wide(4, 3, 1), _wide(2, 3, 4) + 1, _wide(5, 3, 5) - 2], 0.25),
        ([_wide(5, 4, 3), _wide(3, 4, 6)], 2.0**-10),
    ]:
        dy = [rng.integers(-16, 17, size=rows.shape) / 8 for rows in x]
        gamma = _learned(x[0].shape[1])["gamma"]
        probes.append(Probe({"dy": dy, "x": x, "gamma": gamma, "eps": eps}))
    return probes


def draws():
    """Cases for noise: the seed of a generator, examples, and many units."""
    sizes = [(1, 3, 4000), (2, 2, 5000)]
    return [Probe({"seed": s, "examples": m, "units": d}) for s, m, d in sizes]


def clouds():
    """Cases for whitening: x (m, d) that varies in all directions, correlated."""
    small = np.array([[1.0, 0.0], [2.0, 1.0], [6.0, 2.0]])
    probes = [Probe({"x": small})]
    for m, d, seed in [(5, 2, 1), (7, 3, 2), (9, 4, 3)]:
        rng = np.random.default_rng(seed)
        base = rng.integers(-16, 17, size=(m, d)) / 4
        mixed = base @ (np.eye(d) + np.triu(np.ones((d, d)), 1) / 2)
        probes.append(Probe({"x": mixed * 2.0 ** -np.arange(d) + 3}))
    return probes
