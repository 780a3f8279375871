"""Measures of chapter 1 against other oracles, and the page against the package."""

import numpy as np
import pytest
from claim_helpers import Page
from scipy import stats
from sklearn.preprocessing import StandardScaler

from batchnorm import datasets
from batchnorm.claims import whitening as measures
from batchnorm.whitening import covariance, fit_zca, zca_backward

PAGE = Page("01_whitening")


def page(*names):
    """Functions as the chapter defines them."""
    space = PAGE.defined(*names)
    return [space[name] for name in names]


# ------------------------------------------------------------------ steps of descent


def loop(design, y, tolerance):
    """Steps of gradient descent for a least-squares fit, taken one by one."""
    hessian = design.T @ design / len(y)
    values = np.linalg.eigvalsh(hessian)
    rate = 2 / (values[0] + values[-1])
    best = np.linalg.solve(hessian, design.T @ y / len(y))
    w, steps = np.zeros(len(best)), 0
    start = best @ hessian @ best
    while (w - best) @ hessian @ (w - best) > tolerance * start:
        w = w - rate * (hessian @ w - design.T @ y / len(y))
        steps += 1
    return steps


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_descent_counts_the_steps_that_a_loop_takes(seed):
    data = datasets.used_cars(seed)
    y = data.y - data.y.mean()
    x = (data.x - data.x.mean(axis=0)) / [1, 10_000]
    (counted,) = measures._steps([x], [data], 1e-6)
    assert counted == loop(x, y, 1e-6)


def test_many_bowls_at_once_take_the_steps_of_each():
    rng = np.random.default_rng(0)
    hessian = np.array([covariance(rng.normal(size=(9, 3))) for _ in range(5)])
    error = rng.normal(size=(5, 3))
    together = measures.steps_of_descent(hessian, error, 1e-4)
    alone = [
        measures.steps_of_descent(h[None], e[None], 1e-4)[0]
        for h, e in zip(hessian, error, strict=True)
    ]
    assert together.tolist() == alone
    assert len(set(alone)) > 1


@pytest.mark.parametrize("unit", [1, 10_000])
def test_the_covariance_of_the_cars_is_that_of_many(unit):
    drawn = covariance(datasets.used_cars(3, 2_000_000).x / [1, unit])
    np.testing.assert_allclose(measures.cars_covariance(unit), drawn, rtol=0.01)


# -------------------------------------------------------------------- fresh examples


@pytest.mark.parametrize("d", [1, 7, 30])
def test_the_mean_square_of_fresh_examples_is_that_of_hotelling(d):
    """(m − d)/(m + 1) of it is F with d and m − d degrees of freedom."""
    m = 40
    setting = {"d": (d,), "batch": m, "fresh": 2, "draws": 1}
    predicted, _ = measures.fresh_mean_square([0], **setting)
    assert predicted[0] == pytest.approx((m + 1) / (m - d) * stats.f(d, m - d).mean())


def test_normalized_is_scikit_learns_scaler_and_the_books_zca():
    rng = np.random.default_rng(0)
    known = rng.normal(size=(50, 4)) @ rng.normal(size=(4, 4)) + 3
    unseen = rng.normal(size=(6, 4))
    scaled = StandardScaler().fit(known).transform(unseen)
    for how, expected in (("alone", scaled), ("jointly", fit_zca(known)(unseen))):
        found = measures.normalized(known, unseen, how, 0.0)
        np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("how", ["jointly", "alone"])
def test_epsilon_is_added_to_the_variance(how):
    known = np.array([[1.0], [3.0]])  # mean 2, variance 1
    found = measures.normalized(known, np.array([[6.0]]), how, 3.0)
    assert found.item() == pytest.approx(2.0)


def test_the_page_measures_what_the_claims_do():
    features, square = page("hidden_features", "fresh_square")
    rows = features(seed=4)
    assert np.array_equal(rows, measures.hidden_features(4, 100))
    for how in ("jointly", "alone"):
        theirs = measures.fresh_squares(rows, how, batch=60, fresh=250, epsilon=1e-5)
        assert square(rows, 60, how == "jointly") == pytest.approx(theirs.mean())
    intercept, versions = page("with_intercept", "versions_of")
    for name, version in versions(rows).items():
        if name != "divided":
            expected = measures.conditioning(rows, name)
            assert intercept(version) == pytest.approx(expected)


def test_the_gradients_that_the_page_writes_are_those_of_the_package():
    names = "whitening_backward", "standardize_backward"
    whitening_backward, standardize_backward = page(*names)
    x, dy = np.random.default_rng(0).normal(2, [1, 3, 9], size=(2, 11, 3))
    assert whitening_backward(dy, x) == pytest.approx(zca_backward(dy, x))
    for column, gradient in zip(x.T, dy.T, strict=True):
        alone = zca_backward(gradient[:, None], column[:, None])[:, 0]
        assert standardize_backward(gradient, column) == pytest.approx(alone)


# ------------------------------------------------------------------ hidden features


def test_conditioning_is_that_of_the_least_squares_problem_with_intercept():
    x = np.random.default_rng(0).normal(3, [1, 2, 5], size=(40, 3))
    design = np.column_stack([np.ones(40), x])
    found = measures.conditioning(x, "raw")
    assert found == pytest.approx(np.linalg.cond(design) ** 2)
    correlation = np.linalg.eigvalsh(np.corrcoef(x.T))
    # Standardized columns are orthogonal to the ones, whose eigenvalue is 1.
    expected = correlation[-1] / correlation[0]
    assert measures.conditioning(x, "standardized") == pytest.approx(expected)
    assert measures.conditioning(x, "whitened") == pytest.approx(1)


def test_a_feature_that_never_varies_is_left_out():
    x = np.random.default_rng(0).normal(3, 1, size=(40, 3))
    more = np.column_stack([x, np.zeros(40)])
    for version in ("raw", "centered", "standardized", "whitened"):
        expected = pytest.approx(measures.conditioning(x, version))
        assert measures.conditioning(more, version) == expected


def test_moved_away_from_zero_features_are_worse_conditioned():
    """A covariance would be blind to it."""
    setting = {"width": 100, "first": "raw", "second": "centered"}
    (before,) = measures.conditioning_ratio([0], **setting)
    (after,) = measures.conditioning_ratio([0], **setting, shift=10.0)
    assert after > 100 * before


def test_the_exercise_on_the_ones_is_posed_where_only_direction_is_left():
    """Centered, the ones cost a unit of their own in raw columns only."""
    x = datasets.used_cars(0).x
    centered = x - x.mean(axis=0)
    for columns, factor in ((centered, 5.77), (centered / x.std(axis=0), 1.0)):
        ones = np.ones((len(x), 1))
        with_ones = np.linalg.cond(np.hstack([ones, columns]))
        without = np.linalg.cond(columns)
        assert (with_ones / without) ** 2 == pytest.approx(factor, rel=1e-2)
    exercise = PAGE.prose.partition(":label: ex-ones")[2].split("```")[0]
    assert "Divide each column" in exercise
    assert "nearly the\nsame direction" not in PAGE.prose
