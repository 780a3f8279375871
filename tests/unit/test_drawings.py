"""Every drawing, drawn once and looked at: its axes, labels, artists and their data."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.text import Annotation
from numpy.testing import assert_allclose, assert_array_equal

from batchnorm import figures, graph
from batchnorm.figures.style import GRADIENT, PALETTE, RIGHT, VALUE, WITH


def written(ax):
    return [text.get_text() for text in ax.texts]


def one_feature():
    """Values of one feature of three examples, and their gradients, no two equal."""
    x, dy = np.array([[2.0], [6.0], [3.0]]), np.array([[1.0], [-2.0], [4.0]])
    values = graph.forward(x, np.array([3.0]), np.array([1.0]), eps=0.5)
    return values, graph.backward(dy, values)


def shortened(column):
    return tuple(float(f"{number:g}") for number in np.ravel(column))


def entries(text):
    """The numbers of a text; a gradient stands behind a ∂."""
    return tuple(
        float(number.replace("−", "-"))
        for number in text.get_text().removeprefix("in all ").strip("∂ ").split()
    )


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("backward", [False, True])
def test_computational_graph(draw, backward, wide):
    values, gradients = one_feature()
    given = (values, gradients) if backward else (values,)
    (ax,) = draw(figures.computational_graph, *given, wide=wide)
    drawn = [text for text in ax.texts if not isinstance(text, Annotation)]
    nodes = [text for text in drawn if text.get_bbox_patch()]
    arrows = [text for text in ax.texts if isinstance(text, Annotation)]
    assert (len(nodes), len(arrows)) == (13, 14)
    assert all(isinstance(arrow.arrow_patch, FancyArrowPatch) for arrow in arrows)
    forward = [text for text in drawn if text.get_color() == VALUE]
    back = [text for text in drawn if text.get_color() == GRADIENT]
    assert len(forward) == 14
    assert len(back) == (15 if backward else 0)
    flowing = [field for name, field in values._asdict().items() if name != "eps"]
    assert set(map(entries, forward)) == set(map(shortened, flowing))
    if backward:
        assert set(map(entries, back)) == set(map(shortened, gradients))


@pytest.mark.parametrize("wide", [False, True])
def test_no_number_of_the_graph_lies_on_another_or_outside(draw, wide):
    x, dy = (
        np.array([[2.0], [6.0], [1.0], [3.0]]),
        np.array([[1.0], [-1.0], [2.0], [2.0]]),
    )
    values = graph.forward(x, np.array([2.0]), np.array([1.0]), eps=0.5)
    (ax,) = draw(
        figures.computational_graph, values, graph.backward(dy, values), wide=wide
    )
    texts = [text for text in ax.texts if not isinstance(text, Annotation)]
    ax.figure.canvas.draw()
    boxes = [text.get_window_extent().shrunk(0.98, 0.8) for text in texts]
    for i, box in enumerate(boxes):
        assert ax.bbox.x0 <= box.x0
        assert box.x1 <= ax.bbox.x1
        for j in range(i):
            assert not box.overlaps(boxes[j]), (texts[i], texts[j])


def test_a_gradient_to_be_found_is_drawn_as_a_question(draw):
    values, gradients = one_feature()
    asked = graph.Gradients(gradients.d_y, *[None] * 15)
    (ax,) = draw(figures.computational_graph, values, asked)
    back = [text for text in ax.texts if text.get_color() == GRADIENT]
    questions = [text for text in back if text.get_text().endswith("∂ ?")]
    (given,) = set(back) - set(questions)
    assert len(questions) == 14
    assert entries(given) == shortened(gradients.d_y)


def test_tangent_to_circle(draw):
    (ax,) = draw(
        figures.tangent_to_circle, np.array([3.0, 0.0, 1.5]), np.array([1.6, 0.6, -0.4])
    )
    one, x_hat = r"$\mathbf{1}$", r"$\hat x$"
    off = [f"off: along {one}", f"off: along {x_hat}"]
    assert written(ax) == [one, f"{x_hat}, length √3", "$dy$", "passes", *off]
    circle, dashed = ax.lines
    assert_allclose(np.hypot(*circle.get_data_3d()[:2]), np.sqrt(3))
    _, *arrows = ax.collections
    assert len(arrows) == 4
    one, x_hat, dy, passes = (arrow._segments3d[0][::-1] for arrow in arrows)
    assert_allclose(one, [[0, 0, 0], [0, 0, 1.2]])
    assert_allclose(x_hat, [[0, 0, 0], [np.sqrt(3), 0, 0]], atol=1e-12)
    assert_allclose(dy[0], x_hat[1], atol=1e-12)
    assert_allclose(np.linalg.norm(dy[1] - dy[0]) ** 2, 1.6**2 + 0.52)
    along = passes[1] - passes[0]
    assert_allclose(along[[0, 2]], 0, atol=1e-12)  # tangent and level
    assert_allclose(
        np.transpose(dashed.get_data_3d())[[0, -1]], [dy[1], passes[1]], atol=1e-12
    )


def test_weight_paths(draw):
    paths = np.random.default_rng(0).normal(size=(5, 3, 2))
    free, held = draw(figures.weight_paths, {"free": (paths, None), "held": (paths, 2)})
    assert [len(ax.lines) for ax in (free, held)] == [3 + 3 + 2, 3 + 3 + 3]
    for start, level in zip(paths[0], free.lines[:3], strict=True):
        assert_allclose(np.hypot(*level.get_data()), np.linalg.norm(start))
    for i, line in enumerate(free.lines[3:6]):
        assert_array_equal(np.transpose(line.get_data()), paths[:, i])
    assert_array_equal(np.transpose(free.lines[6].get_data()), paths[0])
    assert_allclose(np.hypot(*held.lines[7].get_data()), 2)
    assert np.abs(paths).max() < held.get_xlim()[1] == free.get_ylim()[1]


def test_cubes(draw):
    layer, batch = np.zeros((2, 3, 2, 4), bool)
    layer[0], batch[:, 0] = True, True
    axes = draw(figures.cubes, {"layer": layer, "batch": batch})
    assert [ax.get_title() for ax in axes] == ["layer", "batch"]
    assert {ax.get_zlabel() for ax in axes} == {"N"}
    for ax, colored in zip(axes, (layer, batch), strict=True):
        # Only what can be seen from outside is drawn: 3 × 2 × 4 has no inside.
        assert len(ax.collections) == colored.size
        colors = [to_hex(c.get_facecolor()[0]).upper() for c in ax.collections]
        assert colors.count(WITH.upper()) == colored.sum()


def test_shared_means(draw):
    shape = (3, 2, 2, 2)
    maps = np.broadcast_to(np.arange(2)[:, None, None], shape)
    each = np.broadcast_to(np.arange(8).reshape(2, 2, 2), shape)
    axes = draw(figures.shared_means, {"map": maps, "activation": each})
    assert [ax.get_title(loc="left") for ax in axes] == ["map", "activation"]
    assert [ax.get_ylabel() for ax in axes] == ["example", ""]
    for ax, shared in zip(axes, (maps, each), strict=True):
        assert written(ax) == [str(number + 1) for number in shared.ravel()]
        assert len(ax.patches) == shared.size
        assert all(isinstance(patch, Rectangle) for patch in ax.patches)
        assert [t.get_text() for t in ax.get_xticklabels()] == ["map 1", "map 2"]
        assert [t.get_text() for t in ax.get_yticklabels()] == ["1", "2", "3"]
        colors = [to_hex(patch.get_facecolor()).upper() for patch in ax.patches]
        assert colors == [PALETTE[number % 7] for number in shared.ravel()]


def test_descent(draw):
    bowl, valley = np.eye(2), np.diag([1.0, 9.0])
    path = np.array([[1.0, 2.0], [0.5, -1.0], [0.0, 0.5]])
    panels = {"bowl": (bowl, path), "valley": (valley, 3 * path)}
    axes = draw(figures.descent, panels, "first", "second")
    assert [ax.get_title(loc="left") for ax in axes] == ["bowl", "valley"]
    assert [(ax.get_xlabel(), ax.get_ylabel()) for ax in axes] == [
        ("first", "second"),
        ("first", ""),
    ]
    for ax, (hessian, steps) in zip(axes, panels.values(), strict=True):
        walked, minimum = ax.lines
        assert_array_equal(walked.get_xydata(), steps)
        assert_array_equal(minimum.get_xydata(), [[0, 0]])
        assert (walked.get_color(), minimum.get_color()) == (GRADIENT, RIGHT)
        assert ax.get_aspect() == 1
        (levels,) = ax.collections
        at_start = levels.get_paths()[list(levels.levels).index(levels.levels[4])]
        losses = np.einsum("ni,ij,nj->n", at_start.vertices, hessian, at_start.vertices)
        start = steps[0] @ hessian @ steps[0]
        assert_allclose(losses, start, rtol=1e-2)


def test_every_function_is_drawn_by_a_test():
    files = Path(__file__).parent.glob("test_*.py")
    tests = "".join("".join(path.read_text("utf-8").split()) for path in files)
    for name in set(figures.__all__) - {"use_style"}:
        assert f"draw(figures.{name}," in tests, name


def test_roofline(draw):
    work = {"low": 0.5, "high": 100.0}
    (ax,) = draw(figures.roofline, work, {"a": (2.0, 10.0), "b": (1.0, 1e3)})
    assert written(ax) == ["a", "b"]
    marks = {line.get_label(): line.get_ydata() for line in ax.lines}
    assert_allclose(marks["low"], [1.0, 0.5])  # both below their ridge, at 5 and 1000
    assert_allclose(marks["high"], [10.0, 100.0])
