"""The digits and the used cars: what they promise."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LinearRegression

from batchnorm.datasets import digits, digits_to_tune, used_cars
from batchnorm.shifts import (
    colored_digits,
    cubic_shift,
    digits_by_style,
    relabeled_digits,
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


DRAWN = (digits, digits_to_tune, used_cars, cubic_shift, colored_digits)
DRAWN += digits_by_style, relabeled_digits


@pytest.mark.parametrize("draw", DRAWN)
@pytest.mark.parametrize("seed", [None, -1, 1.5, "1", True, [1, 2]])
def test_a_seed_is_an_integer_from_0_on(draw, seed):
    """None would draw other data in every run."""
    with pytest.raises(ValueError, match=r"seed is .*; allowed are integers from 0 on"):
        draw(seed, *([["red"]] * 2 if draw is colored_digits else []))
