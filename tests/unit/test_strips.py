"""The strip of claims: what it draws of a run, and that it finds room."""

import warnings
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from batchnorm import figures
from batchnorm.claims.types import Experiment, Prediction, Result, above, within
from batchnorm.figures.style import FAULT, REFERENCE, RIGHT, WIDTH

LONG = "steps to an accuracy of 85 %, without batch normalization over with it, " * 2


ASKED = above(1)


def entry(region=ASKED, effect="steps", **fields):
    return Experiment("toy", "Toys play.", "", effect, region, measure=None, **fields)


def result(effects, **fields):
    effects = np.asarray(effects, dtype=float)
    return Result(entry(**fields), tuple(range(len(effects))), effects)


def dots(ax):
    """Filled and open dots, as pairs of the effect and the height."""
    filled, hollow = [], []
    for line in ax.lines:
        if line.get_marker() == "o":
            into = hollow if line.get_markerfacecolor() == "none" else filled
            into += line.get_xydata().tolist()
    return filled, hollow


@pytest.mark.parametrize(
    ("effects", "verdict", "color"),
    [
        (np.linspace(2, 3, 9), "supported", RIGHT),
        (np.linspace(0.2, 0.9, 9), "opposed", FAULT),
        (np.linspace(0.5, 2, 9), "undecided", REFERENCE),
    ],
)
def test_a_row_has_every_seed_the_interval_and_the_verdict(
    draw, effects, verdict, color
):
    run = result(effects)
    (ax,) = draw(figures.strips, [run])
    filled, hollow = dots(ax)
    assert [x for x, _ in filled] == effects.tolist()
    assert hollow == []
    assert len({height for _, height in filled}) == len(effects)
    bar, tick = ax.lines[-2:]
    assert bar.get_xdata().tolist() == list(run.estimate[1:])
    assert tick.get_xdata() == [run.estimate.value]
    assert (ax.get_title("left"), ax.get_title("right")) == ("toy", verdict)
    assert to_rgba(bar.get_color()) == to_rgba(color)
    (shaded,) = ax.patches
    assert shaded.get_x() == max(1, ax.get_xlim()[0])


def test_a_run_that_did_not_arrive_is_an_open_dot_at_the_edge(draw):
    ends = [[2, 2]] * 8 + [[3, np.inf]]
    (ax,) = draw(figures.strips, [result(ends)])
    filled, hollow = dots(ax)
    assert len(filled) == 8
    assert [x for x, _ in hollow] == [ax.get_xlim()[1]]


def test_a_prediction_has_a_dot_for_each_value_and_says_what_it_draws(draw):
    claim = Prediction("toy", "Toys play.", "", "size", "m", 0.1, measure=None)
    effects = np.random.default_rng(0).normal(1, 0.01, (8, 3))
    (ax,) = draw(figures.strips, [Result(claim, tuple(range(8)), effects, np.ones(3))])
    assert len(dots(ax)[0]) == 24
    assert ax.get_xlabel() == "measured over predicted: size"


@pytest.mark.parametrize(
    ("low", "high"),
    # Of strips in the book, whose 1, 2 and 5 are one number, two, and four.
    [(1.22, 3.5), (0.8, 1.25), (1.75, 3.8), (0.33, 1.24), (1.25, 8.6), (1.8, 40)],
)
def test_a_logarithmic_row_has_at_least_three_labels(draw, low, high):
    effects = np.geomspace(low, high, 9)
    asked = within(low, high)
    (ax,) = draw(figures.strips, [result(effects, region=asked, scale="log")])
    ax.figure.canvas.draw()
    least, most = ax.get_xlim()
    labels = [
        (place, label.get_text())
        for which in ("major", "minor")
        for place, label in zip(
            ax.get_xticks(minor=which == "minor"),
            ax.get_xticklabels(which=which),
            strict=True,
        )
        if least <= place <= most and label.get_text()
    ]
    assert len(labels) >= 3
    assert all(float(text) == pytest.approx(place) for place, text in labels)
    assert least == pytest.approx(low, rel=0.15)
    assert most == pytest.approx(high, rel=0.2)


@pytest.mark.parametrize("rows", [1, 2, 5])
@pytest.mark.parametrize("effect", ["steps", LONG.strip()])
def test_rows_have_room_for_what_is_written(draw, rows, effect):
    runs = [
        result(np.linspace(1.5, 3, 9), effect=effect, scale="log"),
        result([[2, 2]] * 8 + [[3, np.inf]], effect=effect, region=within(0.5, 4)),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a layout that fails warns only
        axes = draw(figures.strips, [runs[i % 2] for i in range(rows)])
    figure = axes[0].figure
    renderer = figure.canvas.get_renderer()
    boxes = [ax.get_tightbbox(renderer) for ax in axes]
    for upper, lower in pairwise(boxes):
        assert upper.y0 >= lower.y1 - 1
    for box in boxes:
        assert box.x0 >= -1
        assert box.x1 <= WIDTH * figure.dpi + 1
    assert min(ax.get_position().height * figure.get_figheight() for ax in axes) > 0.5
