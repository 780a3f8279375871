"""Every plot, drawn once and looked at: its axes, labels, artists and their data."""

import re
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgba
from numpy.testing import assert_array_equal

from batchnorm import figures
from batchnorm.figures import style
from batchnorm.figures.style import (
    BLUE,
    DASHES,
    FAULT,
    GREEN,
    PALETTE,
    REFERENCE,
    RIGHT,
    SOURCE,
    TARGET,
    VALUE,
    WITH,
    WITHOUT,
    colors,
)

X = np.array([1.0, 2.0, 4.0])
A, B, C = np.array([[3.0, 1.0, 2.0], [5.0, 4.0, 6.0], [9.0, 7.0, 8.0]])


def scaled(ax):
    """The images of a panel that a color bar explains."""
    return [image for image in ax.images if image.colorbar]


def line(ax, label):
    """The one line of that label."""
    (found,) = [line for line in ax.lines if line.get_label() == label]
    return found


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def hex_of(color):
    return to_hex(color).upper()


def looks(ax, label):
    """Color and dash of a line."""
    return hex_of(line(ax, label).get_color()), line(ax, label).get_linestyle()


def labels(ax):
    return ax.get_xlabel(), ax.get_ylabel()


def titles(axes):
    return [ax.get_title(loc="left") for ax in axes]


def written(ax):
    return [text.get_text() for text in ax.texts]


# -------------------------------------------------------------------------------- Style


def test_the_palette_is_that_of_the_style_file():
    text = style.STYLE.read_text(encoding="utf-8")
    (cycle,) = re.findall(r"^axes.prop_cycle: .*\[(.*)\]", text, re.MULTILINE)
    assert [f"#{color}" for color in re.findall(r"\w{6}", cycle)] == list(PALETTE)
    assert len(set(PALETTE)) == len(PALETTE) == 7


def test_use_style_loads_the_file():
    with mpl.rc_context():
        figures.use_style()
        assert mpl.rcParams["figure.figsize"] == [style.WIDTH, 3.4]
        assert mpl.rcParams["axes.prop_cycle"].by_key()["color"] == list(PALETTE)


def test_no_other_file_spells_a_color_of_the_palette():
    spelled = "|".join(color.removeprefix("#") for color in PALETTE)
    for path in style.STYLE.parent.glob("*.py"):
        assert not re.search(spelled, path.read_text(encoding="utf-8"), re.I), path


def test_figures_import_nothing_above_them():
    """A fresh process, for what this one has imported says nothing."""
    asked = (
        "import sys, batchnorm.figures\n"
        "print(*sorted(n for n in sys.modules if n.startswith('batchnorm.')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, check=True
    )
    for name in done.stdout.split():
        assert name.startswith("batchnorm.figures"), name


@pytest.mark.parametrize(
    ("names", "settings", "expected"),
    [
        (["a", "b", "c"], {}, PALETTE[:3]),
        (["with", "without"], {}, (WITH, WITHOUT)),
        (["without", "with"], {}, (WITHOUT, WITH)),
        (["a", "without", "b"], {}, (BLUE, WITHOUT, GREEN)),
        (["a", "b", "c"], {"baseline": "b"}, (BLUE, WITHOUT, GREEN)),
        (["a", "b", "c"], {"reference": "a"}, (REFERENCE, *PALETTE[:2])),
        (["target", "source"], {}, (TARGET, SOURCE)),
        (["layer", "batch", "group"], {}, (GREEN, WITH, PALETTE[3])),
        (["batch", "layer", "without"], {}, (WITH, GREEN, WITHOUT)),
    ],
)
def test_a_color_goes_by_meaning_not_by_place(names, settings, expected):
    assert tuple(colors(names, **settings).values()) == expected


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: colors("abcdefgh"), "labels has 8 entries; allowed are at most 7"),
        (lambda: colors("ab", baseline="c"), "baseline is 'c'; allowed are a, b"),
        (lambda: colors("ab", reference="c"), "reference is 'c'; allowed are a, b"),
        (
            lambda: figures.fits({"source": (A, B)}, {"a": A}, "n", "v", x=X),
            "reference is 'the rule'; allowed are a",
        ),
        (
            lambda: figures.arms({"B": ARMS}, "n", "v", x=X, ylim=(0, 1)),
            "has a, b; allowed are without and with",
        ),
        (
            lambda: figures.histograms(
                {"a": {"b": A[:, None]}}, "v", limit=2, arm="both"
            ),
            "arm is 'both'; allowed are without and with",
        ),
    ],
    ids=["too many", "baseline", "reference", "rule", "arms", "arm of histograms"],
)
def test_refusals(draw, call, says):
    with pytest.raises(ValueError, match=says):
        call()


# -------------------------------------------------------------------------------- Lines


@pytest.mark.parametrize("log", ["", "x", "y", "xy"])
def test_curves(draw, log):
    (ax,) = draw(figures.curves, {"a": A, "b": B, "with": C}, "n", "v", x=X, log=log)
    assert labels(ax) == ("n", "v")
    assert legend(ax) == ["a", "b", "with"]
    assert len(ax.lines) == 3
    for label, values in {"a": A, "b": B, "with": C}.items():
        assert_array_equal(line(ax, label).get_xydata(), np.transpose([X, values]))
    assert (ax.get_xscale(), ax.get_yscale()) == tuple(
        "log" if axis in log else "linear" for axis in "xy"
    )
    assert looks(ax, "with") == (WITH, DASHES[2])


def test_curves_count_from_one(draw):
    (ax,) = draw(figures.curves, {"a": A}, "n", "v")
    assert_array_equal(line(ax, "a").get_xdata(), [1, 2, 3])


def test_curve_panels(draw):
    panels = {"f": {"a": A, "b": -B}, "g": {"b": C, "c": A}}
    axes = draw(figures.curve_panels, panels, "n", x=X)
    assert titles(axes) == ["f", "g"]
    assert [labels(ax) for ax in axes] == [("n", ""), ("n", "")]
    assert legend(axes[0]) == ["a", "b"]
    assert axes[1].get_legend() is None
    assert [len(ax.lines) for ax in axes] == [2, 2]
    assert looks(axes[0], "b") == looks(axes[1], "b") == (PALETTE[1], DASHES[1])
    assert_array_equal(line(axes[1], "b").get_ydata(), C)
    for ax in axes:
        low, high = ax.get_ylim()
        assert low < 0 < high


def test_fits(draw):
    points = {"target": (A, B), "source": (B, C)}
    lines = {"plain": A, "law": B, "weighted": C}
    (ax,) = draw(figures.fits, points, lines, "n", "v", x=X, rule="law")
    assert labels(ax) == ("n", "v")
    assert legend(ax) == ["target", "source", "plain", "law", "weighted"]
    assert_array_equal(line(ax, "source").get_xydata(), np.transpose([B, C]))
    assert_array_equal(line(ax, "law").get_xydata(), np.transpose([X, B]))
    assert looks(ax, "source")[0] == SOURCE
    assert looks(ax, "target")[0] == TARGET
    assert line(ax, "source").get_marker() != line(ax, "target").get_marker()
    assert looks(ax, "law") == (REFERENCE, DASHES[1])
    assert looks(ax, "plain") == (FAULT, DASHES[0])
    assert looks(ax, "weighted") == (RIGHT, DASHES[2])


# -------------------------------------------------------------------------------- Bands


ARMS = {"a": np.stack([A, B, C]), "b": np.stack([C, C, A])}


@pytest.mark.parametrize(
    ("baseline", "expected"),
    [(None, (WITHOUT, WITH)), ("b", (WITH, WITHOUT))],
    ids=["the first", "named"],
)
def test_seeds_against(draw, baseline, expected):
    (ax,) = draw(figures.seeds_against, X, ARMS, "n", "v", log="x", baseline=baseline)
    assert labels(ax) == ("n", "v")
    assert legend(ax) == ["a", "b"]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "linear")
    assert len(ax.lines) == 2 * (3 + 1)
    for (label, values), color in zip(ARMS.items(), expected, strict=True):
        median = line(ax, label)
        assert_array_equal(median.get_xydata(), np.transpose([X, np.median(values, 0)]))
        assert looks(ax, label)[0] == color
        thin = [other for other in ax.lines if other.get_alpha() == 0.25]
        thin = [other for other in thin if hex_of(other.get_color()) == color]
        assert_array_equal([seed.get_ydata() for seed in thin], values)


@pytest.mark.parametrize(
    "expected",
    [{"frozen": BLUE, "without": WITHOUT}, {"batch": WITH, "group": GREEN}],
    ids=["without at any place", "no norm held against batch normalization"],
)
def test_bands_have_the_colors_of_their_meaning(draw, expected):
    bands = dict(zip(expected, ARMS.values(), strict=True))
    (ax,) = draw(figures.seeds_against, X, bands, "n", "v")
    assert {name: looks(ax, name)[0] for name in bands} == expected


@pytest.mark.parametrize("plot", [figures.curves, figures.seeds_against])
def test_a_logarithmic_axis_takes_ticks(draw, plot):
    data = {"lines": {"a": A}} if plot is figures.curves else {"bands": ARMS}
    options = {"x": X, "log": "xy", "ticks": {"x": [1, 2, 4], "y": [3, 5]}}
    (ax,) = draw(plot, xlabel="n", ylabel="v", **data, **options)
    for axis, at in ((ax.xaxis, "1 2 4"), (ax.yaxis, "3 5")):
        assert " ".join(tick.get_text() for tick in axis.get_ticklabels()) == at
        assert len(axis.get_ticklocs(minor=True)) == 0


def test_seeds_against_of_one_arm(draw):
    (ax,) = draw(figures.seeds_against, X, {"20 draws": ARMS["a"]}, "n", "v")
    assert looks(ax, "20 draws") == (BLUE, DASHES[0])


def test_seeds_against_marks_places_on_the_axis(draw):
    marks = {"m = 2": 2, "d = 3": 3}
    (ax,) = draw(figures.seeds_against, X, ARMS, "n", "v", marks=marks)
    assert written(ax) == list(marks)
    assert [text.get_position()[0] for text in ax.texts] == [2, 3]
    upright = [other for other in ax.lines if len(set(other.get_xdata())) == 1]
    assert [other.get_xdata()[0] for other in upright] == [2, 3]
    assert {hex_of(other.get_color()) for other in upright} == {REFERENCE}
    assert legend(ax) == ["a", "b"]


@pytest.mark.parametrize("order", [("without", "with"), ("with", "without")])
def test_arms(draw, order):
    arms = {"with": ARMS["a"], "without": ARMS["b"]}
    panels = {title: {name: arms[name] for name in order} for title in "ABCD"}
    axes = draw(figures.arms, panels, "n", "v", x=X, ylim=(0, 10))
    assert titles(axes) == list("ABCD")
    assert [labels(ax) for ax in axes] == [("", "v"), ("", ""), ("n", "v"), ("n", "")]
    assert set(legend(axes[0])) == {"with", "without"}
    for ax in axes:
        assert ax.get_ylim() == (0, 10)
        assert looks(ax, "with") == (WITH, "-")
        assert looks(ax, "without") == (WITHOUT, "--")
        assert len(ax.lines) == len(ax.collections) == 2
        for name, band in zip(order, ax.collections, strict=True):
            assert_array_equal(line(ax, name).get_ydata(), np.median(arms[name], 0))
            corners = band.get_paths()[0].vertices
            for end in (arms[name].min(0), arms[name].max(0)):
                assert set(zip(X, end, strict=True)) <= set(map(tuple, corners))


def test_percentiles(draw):
    values = np.stack([A, B, C], axis=1)
    axes = draw(figures.percentiles, {"a": values, "b": -values}, "n", "v", x=X)
    assert titles(axes) == ["a", "b"]
    assert [labels(ax) for ax in axes] == [("n", "v"), ("n", "")]
    for ax, sign in zip(axes, (1, -1), strict=True):
        columns = sign * np.stack([A, C, B])
        assert_array_equal([drawn.get_ydata() for drawn in ax.lines], columns)
        assert [drawn.get_linestyle() for drawn in ax.lines] == [":", ":", "-"]
        assert len(ax.collections) == 1


# ------------------------------------------------------------------------ Distributions


@pytest.mark.parametrize("arm", ["with", "without"])
def test_histograms(draw, arm):
    units = np.array([[-9.0, 0.1], [0.1, 0.1], [0.1, 9.0], [1.9, 9.0]])
    rows = {"start": {"layer 1": units, "layer 2": -units}}
    rows["end"] = {"layer 1": 0 * units, "layer 2": units}
    axes = draw(figures.histograms, rows, "v", limit=2, arm=arm)
    assert titles(axes) == ["layer 1", "layer 2", "", ""]
    assert [ax.get_ylabel() for ax in axes] == ["start", "", "end", ""]
    assert axes[0].figure.get_supxlabel() == "v"
    drawn = [values for row in rows.values() for values in row.values()]
    for ax, values in zip(axes, drawn, strict=True):
        assert ax.get_xlim() == (-2, 2)
        outlines = ax.patches[1::2]
        found = {hex_of(patch.get_edgecolor()) for patch in outlines}
        assert found == {{"with": WITH, "without": WITHOUT}[arm]}
        for patch, unit in zip(outlines, values.T, strict=True):
            heights, edges, _ = patch.get_data()
            # A unit's values one by one, each in the bin that holds it.
            inside = np.clip(unit, -2, 2 - 1e-9)
            bins = np.floor((inside + 2) / (edges[1] - edges[0]) + 1e-9).astype(int)
            assert_array_equal(np.bincount(bins, minlength=len(heights)), heights)


def test_rows_of_histograms_may_be_of_two_arms(draw):
    rows = {"a": {"layer": A[:, None]}, "b": {"layer": A[:, None]}}
    axes = draw(figures.histograms, rows, "v", limit=2, arm=("without", "with"))
    found = [hex_of(ax.patches[1].get_edgecolor()) for ax in axes]
    assert found == [WITHOUT, WITH]


# ------------------------------------------------------------------------------- Points


@pytest.mark.parametrize("shade", [None, A], ids=["plain", "shaded"])
def test_scatter(draw, shade):
    points = np.stack([A, B], axis=1)
    panels = {"a": points, "b": -points}
    axes = draw(figures.scatter, panels, "n", "v", limit=10, shade=shade)
    assert titles(axes) == ["a", "b"]
    assert [labels(ax) for ax in axes] == [("n", "v"), ("n", "")]
    for ax, drawn in zip(axes, panels.values(), strict=True):
        assert ax.get_xlim() == ax.get_ylim() == (-10, 10)
        (cloud,) = ax.collections
        assert_array_equal(cloud.get_offsets(), drawn)
        if shade is None:
            assert_array_equal(cloud.get_facecolor(), [to_rgba(VALUE)])
        else:
            assert_array_equal(cloud.get_array(), shade)


def test_spread(draw):
    rows = {"right": np.ones(3), "wrong": np.array([0.2, 0.4, 0.9])}
    (ax,) = draw(figures.spread, rows, "cosine", limits=(0, 1.1))
    assert labels(ax) == ("cosine", "")
    assert [tick.get_text() for tick in ax.get_yticklabels()] == list(rows)
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first row is at the top
    assert ax.get_xlim() == (0, 1.1)
    dots, medians = ax.lines[::2], ax.lines[1::2]
    for line, (values, drawn) in enumerate(zip(rows.values(), dots, strict=True)):
        assert_array_equal(drawn.get_xydata(), np.c_[values, np.full(3, line)])
    assert [bar.get_xydata().tolist() for bar in medians] == [[[1, 0]], [[0.4, 1]]]


def test_dots(draw):
    rows = {
        "float32": {"ours": 2.0, "textbook": (3.0, 50.0)},
        "float64": {"ours": 0.01, "textbook": 1e9},
    }
    (ax,) = draw(figures.dots, rows, "error", limits=(1, 100))
    assert labels(ax) == ("error", "")
    assert legend(ax) == ["ours", "textbook"]
    assert ax.get_xscale() == "log"
    assert [tick.get_text() for tick in ax.get_yticklabels()] == list(rows)
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first row is at the top
    drawn = [(*map(float, dot.get_xydata()[0]), dot.get_marker()) for dot in ax.lines]
    assert drawn == [(2.0, 0.0, "o"), (1.0, 1.0, "<"), (100.0, 1.0, ">")]
    (bar,) = ax.patches
    assert (bar.get_x(), bar.get_width()) == (3, 47)


# ------------------------------------------------------------------ Images and matrices


def test_image_rows(draw):
    ramp = np.linspace(0, 1, 2 * 4 * 5).reshape(2, 4, 5)
    axes = draw(figures.image_rows, {"a": ramp, "b": 10 * ramp, "c": -ramp})
    assert len(axes) == 6
    assert [ax.get_ylabel() for ax in axes] == ["a", "", "b", "", "c", ""]
    assert_array_equal(axes[3].images[0].get_array(), 10 * ramp[1])
    low, high = axes[3].images[0].get_clim()
    assert 0 < low < high < 10
    assert not any(ax.get_xticks().size for ax in axes)


def test_matrices(draw):
    panels = {"a": np.outer(A, B), "b": -2 * np.outer(B, C)}
    axes = draw(figures.matrices, panels, "error")
    assert titles(axes) == ["a", "b"]
    for ax, matrix in zip(axes, panels.values(), strict=True):
        (image,) = ax.images
        assert_array_equal(image.get_array(), matrix)
        assert image.get_clim() == (-108, 108)  # 2 × 6 × 9
    assert scaled(axes[1])[0].colorbar.ax.get_ylabel() == "error"


def test_heat_maps(draw):
    powers = np.array([[-9.0, 0.4, 5.0], [7.0, -0.6, 1.0]])
    panels = {"a": 10**powers, "b": 10**-powers}
    axes = draw(figures.heat_maps, panels, [0.1, 1, 30], "n", "v", "size", reach=10)
    assert titles(axes) == ["a", "b"]
    assert written(axes[0]) == ["−9", "0", "5", "7", "−1", "1"]
    ink = [text.get_color() for text in axes[0].texts]
    assert ink == ["white", "black", "black", "white", "black", "black"]
    places = [text.get_position() for text in axes[0].texts[:3]]
    assert places == [(0, 0), (1, 0), (2, 0)]
    assert [tick.get_text() for tick in axes[0].get_xticklabels()] == ["0.1", "1", "30"]
    assert [tick.get_text() for tick in axes[0].get_yticklabels()] == ["1", "2"]
    figure = axes[0].figure
    assert (figure.get_supxlabel(), figure.get_supylabel()) == ("n", "v")
    np.testing.assert_allclose(axes[1].images[0].get_array(), -powers, rtol=1e-12)
    assert axes[1].images[0].get_clim() == (-10, 10)
    assert scaled(axes[1])[0].colorbar.ax.get_ylabel() == "size"


def test_share_maps(draw):
    shares = np.array([[0.0, 1.0], [np.nan, 0.504]])
    panels = {"a": shares, "b": 1 - shares}
    axes = draw(figures.share_maps, panels, [5, 10], [0.1, 3], "n", "v", "share")
    assert titles(axes) == ["a", "b"]
    assert [labels(ax) for ax in axes] == [("n", "v"), ("n", "")]
    assert written(axes[0]) == ["0", "100", "0", "50"]
    ink = [text.get_color() for text in axes[0].texts]
    assert ink == ["white", "black", "white", "white"]
    assert [tick.get_text() for tick in axes[0].get_xticklabels()] == ["0.1", "3"]
    assert [tick.get_text() for tick in axes[0].get_yticklabels()] == ["5", "10"]
    assert axes[0].images[0].get_clim() == (0, 1)
    assert scaled(axes[1])[0].colorbar.ax.get_ylabel() == "share"
