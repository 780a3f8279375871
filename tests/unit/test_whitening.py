import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from batchnorm import reference
from batchnorm.whitening import (
    condition_number,
    covariance,
    fit_pca,
    fit_standardize,
    fit_zca,
    zca_backward,
)

FITS = [fit_standardize, fit_pca, fit_zca]


@pytest.fixture
def x():
    rng = np.random.default_rng(0)
    return rng.normal(size=(50, 4)) @ rng.normal(size=(4, 4)) + rng.normal(size=4)


def test_standardize_equals_scikit_learn(x):
    other = x[:7] * 3
    expected = StandardScaler().fit(x).transform(other)
    np.testing.assert_allclose(fit_standardize(x)(other), expected, atol=1e-12)


def test_pca_equals_scikit_learn_up_to_sign_and_its_unbiased_variance(x):
    other = x[:7] * 3
    expected = PCA(whiten=True).fit(x).transform(other) * np.sqrt(50 / 49)
    got = fit_pca(x)(other)
    np.testing.assert_allclose(np.abs(got), np.abs(expected), atol=1e-10)


@pytest.mark.parametrize("fit", [fit_pca, fit_zca])
def test_whitened_data_has_identity_covariance(fit, x):
    np.testing.assert_allclose(covariance(fit(x)(x)), np.eye(4), atol=1e-12)


def test_zca_matrix_is_the_symmetric_root(x):
    w = fit_zca(x).matrix
    np.testing.assert_allclose(w, w.T, atol=1e-12)
    np.testing.assert_allclose(np.linalg.inv(w @ w), covariance(x), atol=1e-10)


def test_zca_moves_the_data_least(x):
    centered = x - x.mean(axis=0)
    rng = np.random.default_rng(1)
    moved = np.linalg.norm(fit_zca(x)(x) - centered)
    for _ in range(20):
        rotation = np.linalg.qr(rng.normal(size=(4, 4)))[0]
        assert moved <= np.linalg.norm(fit_zca(x)(x) @ rotation - centered)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_constant_column_becomes_zero_and_is_said(fit, offset):
    rng = np.random.default_rng(2)
    x = np.column_stack([rng.normal(size=30), np.full(30, 0.1) + offset])
    fitted = fit(x)
    assert fitted.rank == 1
    assert np.isfinite(fitted(x)).all()
    assert np.ptp(fitted(x), axis=0).min() < 1e-6 or fitted.matrix.shape[1] == 1


def test_dependent_column_is_left_out_by_pca_and_flattened_by_zca(x):
    dependent = np.column_stack([x, x[:, 0] + x[:, 1]])
    assert fit_pca(dependent)(dependent).shape == (50, 4)
    zca = fit_zca(dependent)
    assert zca.rank == 4
    eigenvalues = np.linalg.eigvalsh(covariance(zca(dependent)))
    np.testing.assert_allclose(eigenvalues, [0, 1, 1, 1, 1], atol=1e-10)


@pytest.mark.parametrize(("m", "d"), [(2, 20), (20, 20), (21, 20), (40, 20)])
def test_rank_of_a_batch_is_at_most_one_less_than_its_size(m, d):
    x = np.random.default_rng(m).normal(size=(m, d))
    assert fit_zca(x).rank == min(m - 1, d)


def test_badly_scaled_columns_are_not_taken_for_constant():
    x = np.random.default_rng(3).normal(size=(100, 2)) * [1.0, 1e5]
    assert fit_pca(x).rank == 2
    np.testing.assert_allclose(covariance(fit_zca(x)(x)), np.eye(2), atol=1e-9)


def correlated(seed):
    """Three columns, of which the third has the size 1e-20."""
    z = np.random.default_rng(seed).normal(size=(50, 3))
    z[:, 1:] += z[:, :1]
    return z * [1.0, 1.0, 1e-20]


def test_a_tiny_column_is_standardized_but_is_no_axis():
    x = correlated(0)
    alone = fit_standardize(x[:, 2:])
    assert fit_standardize(x).rank == 3
    assert fit_standardize(x).matrix[2, 2] == alone.matrix[0, 0]
    for fit in (fit_pca, fit_zca):
        assert fit(x).rank == 2
        standardized = fit_standardize(x)(x)
        whitened = fit(standardized)
        assert whitened.rank == 3
        left = covariance(whitened(standardized))
        np.testing.assert_allclose(left, np.eye(3), atol=1e-12)


def test_an_axis_below_the_rounding_of_the_widest_would_be_rounding():
    off = []
    for seed in range(20):
        x = correlated(seed)
        x = x - x.mean(axis=0)
        _, s, vt = np.linalg.svd(x, full_matrices=False)
        off.append(np.abs(covariance(x @ (vt.T / s * 50**0.5)) - np.eye(3)).max())
    assert np.median(off) > 1e-3  # whitened in name only


@pytest.mark.parametrize(("diagonal", "number"), [([1, 4, 2], 4), ([1, 0], np.inf)])
def test_condition_number(diagonal, number):
    assert condition_number(np.diag(np.array(diagonal, dtype=float))) == number


def test_zca_backward_equals_finite_differences(x):
    rng = np.random.default_rng(4)
    dy, along = rng.normal(size=(2, *x.shape))
    h = 1e-5

    def loss(x):
        return np.sum(dy * fit_zca(x)(x))

    slope = (loss(x + h * along) - loss(x - h * along)) / (2 * h)
    assert np.sum(zca_backward(dy, x) * along) == pytest.approx(slope, rel=1e-7)


def test_zca_backward_equals_autograd(x):
    dy = np.random.default_rng(5).normal(size=x.shape)
    xt = torch.tensor(x, requires_grad=True)
    centered = xt - xt.mean(0)
    values, axes = torch.linalg.eigh(centered.T @ centered / len(x))
    (centered @ (axes * values.rsqrt()) @ axes.T).backward(torch.tensor(dy))
    np.testing.assert_allclose(zca_backward(dy, x), xt.grad, rtol=1e-8, atol=1e-10)


def test_in_one_dimension_zca_backward_is_that_of_batch_normalization(x):
    x = x[:, :1]
    dy = np.random.default_rng(6).normal(size=x.shape)
    _, cache = reference.forward(x, None, None, eps=1e-300)
    expected, _, _ = reference.backward(dy, cache)
    np.testing.assert_allclose(zca_backward(dy, x), expected, atol=1e-12)


@pytest.mark.parametrize("fit", [*FITS, covariance])
@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (np.ones(3), r"x has shape \(3,\)"),
        (np.ones((0, 3)), r"x has shape \(0, 3\)"),
        (np.array([[1.0, np.nan]]), "NaN or infinity"),
        (np.ones((2, 2), dtype=complex), "x has dtype complex128"),
        (np.ma.masked_less(np.eye(3), 1), "x is a masked array"),
        ([[1.0, 2.0], [3.0]], "x is ragged"),
    ],
    ids=["1-d", "empty", "NaN", "complex", "masked", "ragged"],
)
def test_refusals(fit, bad, says):
    with pytest.raises(ValueError, match=says):
        fit(bad)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda x: fit_zca(x)(x[:, :3]), r"x has shape \(50, 3\).*\(n, 4\)"),
        (lambda x: condition_number(x[:2, :3]), r"matrix has shape \(2, 3\)"),
        (lambda x: condition_number([[2, 1], [0, 2]]), r"matrix is 1\.0 at \(0, 1\)"),
        (lambda x: zca_backward(x[:3], x), "dy has shape"),
        (
            lambda x: zca_backward(np.ones((50, 5)), np.column_stack([x, x[:, 0]])),
            "x varies in 4 directions",
        ),
    ],
    ids=[
        "other columns",
        "not square",
        "not symmetric",
        "other rows",
        "dependent columns",
    ],
)
def test_what_does_not_fit_is_refused(x, call, says):
    with pytest.raises(ValueError, match=says):
        call(x)
