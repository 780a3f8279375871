"""What chapter 1 derives, on random input."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchnorm.whitening import (
    condition_number,
    covariance,
    fit_pca,
    fit_standardize,
    fit_zca,
)

seeds = st.integers(0, 2**32 - 1)


def columns(seed, d, scales=3):
    """40 samples of d dependent columns whose units differ by powers of ten."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(40, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d)
    return x * 10 ** rng.uniform(-scales, scales, size=d)


def descent(x, t, w, rate):
    """Excess loss of a linear fit before and after each of five steps, as it is run."""
    x, t = x - x.mean(axis=0), t - t.mean()
    best = np.linalg.lstsq(x, t, rcond=None)[0]
    losses = []
    for _ in range(6):
        losses.append(np.mean((x @ (w - best)) ** 2) / 2)
        w = w - rate * x.T @ (x @ w - t) / len(x)
    return np.array(losses)


@given(seeds, st.integers(2, 6))
def test_two_columns_shrink_by_q_squared_at_every_step(seed, d):
    x = columns(seed, d, scales=0)
    rng = np.random.default_rng(seed)
    t, w = rng.normal(size=40), rng.normal(size=d)
    values = np.linalg.eigvalsh(covariance(x))
    kappa = values[-1] / values[0]
    q = (kappa - 1) / (kappa + 1)
    excess = descent(x, t, w, 2 / (values[0] + values[-1]))
    shrunk = excess[1:] / excess[:-1]
    assert (shrunk <= q**2 * (1 + 1e-6)).all()
    if d == 2:
        assert shrunk == pytest.approx(q**2, rel=1e-6)


@given(seeds, st.integers(2, 6))
def test_standardizing_leaves_the_correlation(seed, d):
    x = columns(seed, d)
    left = covariance(fit_standardize(x)(x))
    np.testing.assert_allclose(left, np.corrcoef(x.T), atol=1e-12)
    rho = abs(np.corrcoef(x[:, :2].T)[0, 1])
    kappa = condition_number(covariance(fit_standardize(x[:, :2])(x[:, :2])))
    # Its relative rounding error grows with κ itself.
    assert kappa == pytest.approx((1 + rho) / (1 - rho), rel=1e-13 * kappa + 1e-12)


@given(seeds)
def test_two_columns_over_their_variances_are_as_badly_conditioned(seed):
    x = columns(seed, 2, scales=1)
    raw = condition_number(covariance(x))
    divided = condition_number(covariance((x - x.mean(axis=0)) / x.var(axis=0)))
    assert divided == pytest.approx(raw, rel=1e-12 * raw + 1e-11)


@pytest.mark.parametrize("fit", [fit_pca, fit_zca])
@given(seed=seeds, d=st.integers(2, 6))
def test_whitened_inputs_take_one_step(fit, seed, d):
    x = columns(seed, d, scales=1)
    rng = np.random.default_rng(seed)
    t, w = rng.normal(size=40), rng.normal(size=d)
    excess = descent(fit(x)(x), t, w, 1.0)
    assert excess[1] < 1e-9 * excess[0]


def exact_rank(rows):
    """Rank by elimination without rounding."""
    rows, rank = [[Fraction(int(v)) for v in row] for row in rows], 0
    for column in range(len(rows[0])):
        pivot = next((r for r in rows[rank:] if r[column]), None)
        if pivot is None:
            continue
        rows.remove(pivot)
        rows.insert(rank, pivot)
        for r in rows[rank + 1 :]:
            factor, pairs = r[column] / pivot[column], zip(r, pivot, strict=True)
            r[:] = [a - factor * b for a, b in pairs]
        rank += 1
    return rank


@given(seed=seeds, m=st.integers(2, 7), d=st.integers(1, 7), largest=st.integers(1, 9))
def test_the_covariance_of_a_batch_has_rank_m_less_one(seed, m, d, largest):
    rng = np.random.default_rng(seed)
    x = rng.integers(-largest, largest, size=(m, d), endpoint=True)
    # m² times the covariance, in whole numbers.
    centered = m * x - x.sum(axis=0)
    rank = exact_rank((centered.T @ centered).tolist())
    assert rank <= min(m - 1, d)
    # So many values that points in a special position do not occur.
    x = rng.integers(-(10**6), 10**6, size=(m, d))
    centered = m * x - x.sum(axis=0)
    whole = centered.T.astype(object)
    exact = (whole @ whole.T).tolist()
    assert exact_rank(exact) == min(m - 1, d)
