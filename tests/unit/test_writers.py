"""The digits by writer: no hand is in two parts of a split, nor in two splits."""

from difflib import SequenceMatcher
from itertools import pairwise

import numpy as np
import pytest

from batchnorm import datasets
from batchnorm.datasets import REPORTED_SHEETS, SHEETS, TUNING_SHEETS

X, Y = datasets._all_digits()
ROW = {image.tobytes(): row for row, image in enumerate(X)}
SHEET = np.searchsorted(SHEETS, np.arange(len(X)), side="right") - 1
FORM = Y[:130].tolist()  # of the first sheet, which is whole


def rows_of(images):
    """Rows of the file that images come from."""
    return np.array([ROW[image.tobytes()] for image in images])


def sheets_of(images):
    return set(SHEET[rows_of(images)].tolist())


def images_of(split):
    """Both parts of a split."""
    return np.concatenate([split.x_train, split.x_test])


def nearest(test, train):
    """For each image, the row of the nearest one of others, by the squared distance."""
    distance = (test**2).sum(1)[:, None] + (train**2).sum(1) - 2 * test @ train.T
    return distance.argmin(axis=1)


def corrections(labels):
    """Labels to put in or leave out to make the form of a sequence."""
    matcher = SequenceMatcher(None, FORM, labels, autojunk=False)
    changes = [op for op in matcher.get_opcodes() if op[0] != "equal"]
    return sum(max(a1 - a0, b1 - b0) for _, a0, a1, b0, b1 in changes)


def test_no_two_images_are_alike():
    assert len(ROW) == len(X) == 1797


# ---------------------------------------------------- sheets, from the labels alone


def test_every_sheet_follows_the_same_form():
    assert FORM[:30] == [*range(10)] * 3
    sheets = [Y[a:b].tolist() for a, b in pairwise(SHEETS)]
    assert len(sheets) == 14
    # Eight images at most are missing from a sheet, and one has another label.
    assert all(corrections(labels) <= 8 for labels in sheets)
    assert sum(corrections(labels) == 0 for labels in sheets) == 8


def test_sheets_begin_with_two_runs_of_ten():
    run = [*range(10)] * 2
    labels = Y.tolist()
    found = {i for i in range(len(labels)) if labels[i : i + 20] == run}
    starts = {start for start in SHEETS[:-1] if start in found}
    # In the other two an image of the first runs is missing.
    assert len(starts) == 12
    assert {i for i in found if SHEETS[SHEET[i]] not in starts} <= {915}


@pytest.mark.parametrize("k", range(1, 14))
def test_a_boundary_moved_by_an_image_or_more_fits_the_form_worse(k):
    before, at, after = SHEETS[k - 1 : k + 2]

    def both(boundary):
        parts = Y[before:boundary], Y[boundary:after]
        return sum(corrections(part.tolist()) for part in parts)

    assert all(both(at) < both(at + move) for move in (-10, -3, -2, -1, 1, 2, 3, 10))


# ---------------------------------------------------------------------------- splits


@pytest.mark.parametrize("split", [datasets.digits, datasets.digits_to_tune])
@pytest.mark.parametrize("seed", range(12))
def test_no_sheet_is_in_both_parts_of_a_split(split, seed):
    parts = split(seed)
    assert not sheets_of(parts.x_train) & sheets_of(parts.x_test)


def test_settings_are_chosen_on_other_sheets_than_all_else():
    assert sorted(TUNING_SHEETS + REPORTED_SHEETS) == list(range(14))
    for split, sheets in (
        (datasets.digits, REPORTED_SHEETS),
        (datasets.digits_to_tune, TUNING_SHEETS),
    ):
        seen = (sheets_of(images_of(split(seed))) for seed in range(40))
        assert set.union(*seen) == set(sheets)


def test_digits_and_digits_to_tune_share_no_image():
    splits = datasets.digits, datasets.digits_to_tune
    reported, tuned = (set(rows_of(images_of(split(0))).tolist()) for split in splits)
    assert not reported & tuned


def test_a_split_by_image_would_test_on_hands_that_it_has_seen():
    """The leak: more than half of all images have their nearest on their own sheet."""
    distance = (X**2).sum(1)[:, None] + (X**2).sum(1) - 2 * X @ X.T
    np.fill_diagonal(distance, np.inf)
    leaked = np.mean(SHEET[distance.argmin(axis=1)] == SHEET)
    by_chance = np.mean(SHEET[np.random.default_rng(0).permutation(len(X))] == SHEET)
    assert leaked > 0.5
    assert by_chance < 0.1


@pytest.mark.parametrize("seed", range(3))
def test_a_split_by_sheet_does_not(seed):
    parts = datasets.digits(seed)
    test, train = rows_of(parts.x_test), rows_of(parts.x_train)
    same = SHEET[train[nearest(parts.x_test, parts.x_train)]] == SHEET[test]
    assert not same.any()
