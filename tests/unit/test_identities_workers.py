"""What a mini-batch on several workers has in common with one in one place."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from batchnorm import claims, reference
from batchnorm.claims import workers
from batchnorm.statistics import batch_statistics, merge

few = settings(max_examples=20)
seeds = st.integers(0, 2**32 - 1)
sizes = st.lists(st.integers(0, 7), min_size=2, max_size=5).filter(lambda n: sum(n) > 1)
close = {"rtol": 1e-12, "atol": 1e-12}


def shards(seed, sizes):
    """x and dy, whole and cut."""
    rng = np.random.default_rng(seed)
    x, dy = rng.normal(rng.normal(0, 5, 3), 2, (2, sum(sizes), 3))
    cuts = np.cumsum(sizes)[:-1]
    return (x, np.split(x, cuts)), (dy, np.split(dy, cuts))


@few
@given(seeds, sizes)
def test_merged_shards_are_the_batch(seed, sizes):
    (x, parts), _ = shards(seed, sizes)
    several = [(p.mean(0), p.var(0), len(p)) for p in parts if len(p)]
    mean, var, count = merge(several)
    expected = batch_statistics(x)
    np.testing.assert_allclose(mean, expected[0], **close)
    np.testing.assert_allclose(var, expected[1], **close)
    assert count == len(x)


@few
@given(seeds, sizes)
def test_two_sums_are_enough(seed, sizes):
    (x, parts), (dy, slopes) = shards(seed, sizes)
    gamma = np.array([0.5, -1.0, 2.0])
    _, cache = reference.forward(x, gamma, np.zeros(3))
    expected = reference.backward(dy, cache)[0]
    std = np.sqrt(cache.var + 1e-5)
    pairs = [(d, (p - cache.mean) / std) for d, p in zip(slopes, parts, strict=True)]
    sums = sum(d.sum(0) for d, _ in pairs) / len(x)
    along = sum((d * h).sum(0) for d, h in pairs) / len(x)
    scale = gamma / std
    found = np.concatenate([scale * (d - sums - h * along) for d, h in pairs])
    tolerance = {"rtol": 1e-10, "atol": 1e-12 * np.abs(scale).max()}
    np.testing.assert_allclose(found, expected, **tolerance)


@few
@given(seeds, st.sampled_from([1, 2, 4]))
def test_parameter_gradients_add_up(seed, count):
    """The claims' network, its workers an axis, against the reference on all rows."""
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=(1, *shape)) for shape in ((3, 4), (4, 2))]
    x, labels = rng.normal(size=(8, 3)), rng.integers(2, size=8)
    parts = x.reshape(1, count, -1, 3), labels.reshape(1, count, -1)
    found = workers.gradient(weights, *parts, "all", "all")
    y, cache = reference.forward(x @ weights[0][0], None, None)
    h = np.maximum(y, 0)
    logits = h @ weights[1][0]
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    d = (p - np.eye(2)[labels]) / 8
    dz = reference.backward((d @ weights[1][0].T) * (y > 0), cache)[0]
    np.testing.assert_allclose(found[1][0], h.T @ d, **close)
    np.testing.assert_allclose(found[0][0], x.T @ dz, rtol=1e-9, atol=1e-11)


def test_a_wrong_law_of_disagreement_would_be_seen():
    claim = claims.get("workers-disagree")
    setting = {**claim.setting, "steps": 1000}
    predicted, measured = claim.measure(range(300, 304), **setting)
    assert abs(measured.mean(0) / predicted - 1).max() < 0.15
    without = predicted / 2  # as if only one of the two workers varied
    assert (measured.mean(0) / without > 1.5).all()
