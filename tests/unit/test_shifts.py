"""The data that shift: what they promise."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from batchnorm import datasets, shifts
from batchnorm.datasets import digits
from batchnorm.shifts import colored_digits, digits_by_style, relabeled_digits


def scores(shift) -> tuple[float, float]:
    """Accuracy of a linear classifier, trained on the source, on test and target."""
    model = LogisticRegression(max_iter=3000).fit(shift.x_train, shift.y_train)
    parts = (shift.x_test, shift.y_test), (shift.x_target, shift.y_target)
    return tuple(model.score(*part) for part in parts)


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


@pytest.mark.parametrize(
    ("style", "measure"), [("ink", shifts.ink), ("slant", shifts.slant)]
)
def test_digits_by_style_are_selected_by_x_alone(style, measure):
    shift = digits_by_style(0, style)
    source = np.concatenate([shift.x_train, shift.x_test])
    assert measure(source).max() <= measure(shift.x_target).min()
    # A third of 768 to train on, of 250 to test on, and of these 250 the target.
    assert len(shift.x_train) == 256
    assert len(shift.x_test) == len(shift.x_target) == 83
    digits = zip(*datasets._all_digits(), strict=True)
    everything = {bytes(row): label for row, label in digits}
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
    found = shifts.slant(np.stack([upright, right]).reshape(2, 64))
    assert np.allclose(found, [0, 1], atol=1e-15)


def test_relabeled_digits_leave_the_images_alone():
    shift = relabeled_digits(0, pairs=[(1, 7)])
    assert np.array_equal(shift.x_test, shift.x_target)
    changed = shift.y_test != shift.y_target
    assert set(shift.y_test[changed]) == {1, 7}
    assert np.array_equal(changed, np.isin(shift.y_test, [1, 7]))
    assert (shift.y_test[changed] + shift.y_target[changed] == 8).all()


def test_density_ratio_is_the_ratio_of_the_two_normals():
    x = np.linspace(-2, 2, 41)

    def normal(mean, std):
        return np.exp(-(((x - mean) / std) ** 2) / 2) / (std * np.sqrt(2 * np.pi))

    wanted = normal(*shifts.TARGET) / normal(*shifts.SOURCE)
    assert np.allclose(shifts.density_ratio(x), wanted, rtol=1e-13)


def test_weighted_fit_repairs_the_shift():
    """On average over draws; the population slopes are exact integrals."""
    plain, weighted = [], []
    for seed in range(40):
        data = shifts.cubic_shift(seed, n=400)
        assert data.x.shape == data.y_target.shape == (400,)
        for slopes, weights in (
            (plain, None),
            (weighted, shifts.density_ratio(data.x)),
        ):
            fit = LinearRegression().fit(data.x[:, None], data.y, weights)
            slopes.append(fit.coef_[0])

    # cov(x, −x + x³)/var(x) = −1 + 3(μ² + σ²) for x ~ N(μ, σ²)
    def slope(mean, std):
        return -1 + 3 * (mean**2 + std**2)

    assert abs(np.mean(plain) - slope(*shifts.SOURCE)) < 0.1
    assert abs(np.mean(weighted) - slope(*shifts.TARGET)) < 0.1


def test_cubic_shift_draws_what_it_says():
    data = shifts.cubic_shift(0, n=20_000)
    for x, law in ((data.x, shifts.SOURCE), (data.x_target, shifts.TARGET)):
        assert np.allclose([x.mean(), x.std()], law, atol=0.02)
    assert abs((data.y - shifts.cubic(data.x)).std() - shifts.NOISE) < 0.01


@pytest.mark.parametrize(
    ("make", "settings", "message"),
    [
        (colored_digits, {"target": ("mauve",)}, "color is 'mauve'; allowed are 'red'"),
        (
            digits_by_style,
            {"style": "font"},
            "style is 'font'; allowed are 'ink', 'slant'",
        ),
        (digits_by_style, {"share": 0.6}, "share"),
        (digits_by_style, {"share": 0.0}, "share"),
        (relabeled_digits, {"pairs": [(1, 7), (7, 3)]}, "pairs"),
        (relabeled_digits, {"pairs": [(3, 10)]}, "pairs"),
        (relabeled_digits, {"pairs": [(4, 4)]}, "pairs"),
        (shifts.cubic_shift, {"n": 1}, "n is 1; allowed are integers from 2 on"),
    ],
)
def test_refusals(make, settings, message):
    with pytest.raises(ValueError, match=message):
        make(0, **settings)
