"""The data: what they promise."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LinearRegression, LogisticRegression

from batchnorm import datasets
from batchnorm.datasets import (
    colored_digits,
    cubic,
    cubic_shift,
    density_ratio,
    digits,
    digits_by_style,
    digits_to_tune,
    ink,
    relabeled_digits,
    slant,
    used_cars,
)

# ---------------------------------------------------------------------- digits, cars


@pytest.mark.parametrize(
    ("split", "train", "test"), [(digits, 768, 250), (digits_to_tune, 639, 123)]
)
@pytest.mark.parametrize("seed", [0, 3, 11])
def test_digits_are_scikit_learns_without_overlap(split, train, test, seed):
    parts = split(seed)
    assert parts.x_train.shape == (train, 64)
    assert parts.x_test.shape == (test, 64)
    assert parts.x_train.dtype == np.float64
    both = np.concatenate([parts.x_train, parts.x_test])
    labels = np.concatenate([parts.y_train, parts.y_test])
    source = load_digits()
    ours = set(map(bytes, np.column_stack([both * 16, labels])))
    theirs = set(map(bytes, np.column_stack([source.data, source.target])))
    assert len(ours) == train + test  # no two images of the file are alike
    assert ours <= theirs
    assert (both.min(), both.max()) == (0, 1)
    assert set(parts.y_train) == set(parts.y_test) == set(range(10))
    image = parts.images(parts.x_test)[7, 0]
    assert np.array_equal(image.ravel(), parts.x_test[7])
    assert parts.images(parts.x_test).shape == (test, 1, 8, 8)


def test_digits_depend_on_the_seed_alone():
    assert np.array_equal(digits(1).x_train, digits(1).x_train)
    assert not np.array_equal(digits(1).x_train, digits(2).x_train)


def test_changing_a_split_changes_no_later_one():
    before = digits(0).x_train.copy()
    digits(0).x_train[:] = 7
    assert np.array_equal(digits(0).x_train, before)


def condition(x: np.ndarray) -> float:
    return np.linalg.cond(x.T @ x / len(x))


@pytest.mark.parametrize("seed", range(5))
def test_used_cars_are_plausible_and_badly_scaled(seed):
    cars = used_cars(seed)
    assert cars.x.shape == (500, 2)
    age, km = cars.x.T
    assert age.min() >= 1
    assert age.max() <= 12
    assert km.min() > 0
    assert (cars.y > 0).all()
    correlation = np.corrcoef(age, km)[0, 1]
    assert 0.5 < correlation < 0.8
    standard = (cars.x - cars.x.mean(0)) / cars.x.std(0)
    # For two standardized features κ = (1 + r)/(1 − r).
    wanted = (1 + correlation) / (1 - correlation)
    assert abs(condition(standard) - wanted) < 1e-9
    raw = np.column_stack([np.ones(500), cars.x])
    assert 3e10 < condition(raw) < 3e11
    assert (LinearRegression().fit(cars.x, cars.y).coef_ < 0).all()


def test_used_cars_refuses_too_few():
    with pytest.raises(ValueError, match="n is 2; allowed are integers from 3 on"):
        used_cars(0, n=2)


# ---------------------------------------------------------------- shifted distributions


def scores(shift) -> tuple[float, float]:
    """Accuracy of a linear classifier, trained on the source, on test and target."""
    model = LogisticRegression(max_iter=3000).fit(shift.x_train, shift.y_train)
    return (
        model.score(shift.x_test, shift.y_test),
        model.score(shift.x_target, shift.y_target),
    )


def test_colored_digits_change_color_and_nothing_else():
    shift = colored_digits(0)
    plain = digits(0)
    red, green, blue = np.moveaxis(shift.images(shift.x_test), 1, 0)
    assert np.array_equal(red.reshape(250, 64), plain.x_test)
    assert not green.any()
    assert not blue.any()
    target = shift.images(shift.x_target)
    assert np.array_equal(target.max(1).reshape(250, 64), plain.x_test)
    lit = target.any((2, 3))
    assert {tuple(row) for row in lit.tolist()} == {
        (False, True, False),
        (False, False, True),
        (True, True, False),
    }
    assert np.array_equal(shift.y_target, plain.y_test)
    test, met = scores(shift)
    assert test > 0.85
    assert met < test - 0.2


def test_colored_digits_refuse_an_unknown_color():
    with pytest.raises(ValueError, match="color is 'mauve'; allowed are 'red'"):
        colored_digits(0, target=("mauve",))


@pytest.mark.parametrize(("style", "measure"), [("ink", ink), ("slant", slant)])
def test_digits_by_style_are_selected_by_x_alone(style, measure):
    shift = digits_by_style(0, style)
    source = np.concatenate([shift.x_train, shift.x_test])
    assert measure(source).max() <= measure(shift.x_target).min()
    # A third of 768 to train on, of 250 to test on, and of these 250 the target.
    assert len(shift.x_train) == 256
    assert len(shift.x_test) == len(shift.x_target) == 83
    everything = {
        bytes(row): label for row, label in zip(*datasets._all_digits(), strict=True)
    }
    labels = np.concatenate([shift.y_train, shift.y_test, shift.y_target])
    rows = np.concatenate([source, shift.x_target])
    assert len({bytes(row) for row in rows}) == len(rows)
    assert [everything[bytes(row)] for row in rows] == list(labels)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_slant_that_was_not_learned_is_read_worse(seed):
    """Of the ink nothing is promised: digits with more of it are often read better."""
    test, met = scores(digits_by_style(seed, "slant"))
    assert met < test - 0.1


def test_slant_measures_the_lean():
    upright, right = np.zeros((2, 8, 8))
    upright[:, 3] = 1
    right[np.arange(8), 7 - np.arange(8)] = 1
    found = slant(np.stack([upright, right]).reshape(2, 64))
    assert np.allclose(found, [0, 1], atol=1e-15)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"style": "font"}, "style is 'font'; allowed are 'ink', 'slant'"),
        ({"share": 0.6}, "share"),
        ({"share": 0.0}, "share"),
    ],
)
def test_digits_by_style_refuses(settings, message):
    with pytest.raises(ValueError, match=message):
        digits_by_style(0, **settings)


def test_relabeled_digits_leave_the_images_alone():
    shift = relabeled_digits(0, pairs=[(1, 7)])
    assert np.array_equal(shift.x_test, shift.x_target)
    changed = shift.y_test != shift.y_target
    assert set(shift.y_test[changed]) == {1, 7}
    assert np.array_equal(changed, np.isin(shift.y_test, [1, 7]))
    assert (shift.y_test[changed] + shift.y_target[changed] == 8).all()


@pytest.mark.parametrize("pairs", [[(1, 7), (7, 3)], [(3, 10)], [(4, 4)]])
def test_relabeled_digits_refuse(pairs):
    with pytest.raises(ValueError, match="pairs"):
        relabeled_digits(0, pairs)


def test_density_ratio_is_the_ratio_of_the_two_normals():
    x = np.linspace(-2, 2, 41)

    def normal(mean, std):
        return np.exp(-(((x - mean) / std) ** 2) / 2) / (std * np.sqrt(2 * np.pi))

    wanted = normal(*datasets.TARGET) / normal(*datasets.SOURCE)
    assert np.allclose(density_ratio(x), wanted, rtol=1e-13)


def test_weighted_fit_repairs_the_shift():
    """On average over draws; the population slopes are exact integrals."""
    plain, weighted = [], []
    for seed in range(40):
        data = cubic_shift(seed, n=400)
        assert data.x.shape == data.y_target.shape == (400,)
        for slopes, weights in ((plain, None), (weighted, density_ratio(data.x))):
            fit = LinearRegression().fit(data.x[:, None], data.y, weights)
            slopes.append(fit.coef_[0])

    # cov(x, −x + x³)/var(x) = −1 + 3(μ² + σ²) for x ~ N(μ, σ²)
    def slope(mean, std):
        return -1 + 3 * (mean**2 + std**2)

    assert abs(np.mean(plain) - slope(*datasets.SOURCE)) < 0.1
    assert abs(np.mean(weighted) - slope(*datasets.TARGET)) < 0.1


def test_cubic_shift_draws_what_it_says():
    data = cubic_shift(0, n=20_000)
    assert np.allclose(
        [data.x.mean(), data.x.std(), data.x_target.mean(), data.x_target.std()],
        [*datasets.SOURCE, *datasets.TARGET],
        atol=0.02,
    )
    assert abs((data.y - cubic(data.x)).std() - datasets.NOISE) < 0.01
    with pytest.raises(ValueError, match="n is 1; allowed are integers from 2 on"):
        cubic_shift(0, n=1)
