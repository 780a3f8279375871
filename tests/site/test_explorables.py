"""Each explorable, in a browser, against Python; and that this comparison can fail."""

import gzip
import json
import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
from explorable_page import NAMES, STATIC

from batchnorm.explorables import EXPLORABLES, show
from batchnorm.explorables.kinds import Choice, canvas, fixed
from booktools import explorables

each = pytest.mark.parametrize("name", NAMES)
# What a browser computes, draws and says in each state of a figure.
RUN = """(() => {
  const svg = figure.stage.svg;
  let screen;
  const place = (e) => {
    if (e.tagName === "path") {
      const length = e.getTotalLength();
      const end = length ? e.getPointAtLength(length) : DOMPoint.fromPoint(e.getBBox());
      return end.matrixTransform(screen.multiply(e.getScreenCTM()));
    }
    const box = (e.querySelector(".dot") ?? e).getBoundingClientRect();
    const x = (box.left + box.right) / 2, y = (box.top + box.bottom) / 2;
    return new DOMPoint(x, y).matrixTransform(screen);
  };
  return argument.map((state) => {
    figure.guess = 0;
    figure.state = { ...state };
    figure.show();
    screen = svg.getScreenCTM().inverse();
    const marks = {};
    for (const e of svg.querySelectorAll("[data-mark]")) {
      if (e.closest("[hidden]")) continue;
      const { x, y } = place(e);
      marks[e.dataset.mark] = [x, y];
    }
    const values = figure.spec.values(state, figure.data);
    return { values, marks, sentence: figure.live.textContent };
  });
})()"""


def differences(python, script, where=""):
    """Yield the places at which the numbers of Python and of the script differ."""
    if isinstance(python, dict):
        if set(python) != set(script):
            yield f"{where}: {sorted(set(python) ^ set(script))} only on one side"
        for key in set(python) & set(script):
            yield from differences(python[key], script[key], f"{where}.{key}")
    elif isinstance(python, list):
        if not isinstance(script, list) or len(python) != len(script):
            yield f"{where}: {python} and {script}"
        else:
            for i, pair in enumerate(zip(python, script, strict=True)):
                yield from differences(*pair, f"{where}[{i}]")
    elif isinstance(python, float) and script is not None:
        if not abs(python - script) <= 1e-12 * max(1, abs(python)):
            yield f"{where}: {python!r} and {script!r}"
    elif python != script:
        yield f"{where}: {python!r} and {script!r}"


def compare(vectors, found):
    """All that differs between the vectors and what the browser found."""
    faults = []
    for vector, here in zip(vectors, found, strict=True):
        faults += [f"values{f}" for f in differences(vector["values"], here["values"])]
        if vector["sentence"] != here["sentence"]:
            faults.append(f"sentence: {vector['sentence']} and {here['sentence']}")
        if set(vector["marks"]) != set(here["marks"]):
            faults.append(f"marks: {set(vector['marks']) ^ set(here['marks'])}")
        for name in set(vector["marks"]) & set(here["marks"]):
            off = math.dist(vector["marks"][name], here["marks"][name])
            if off > 0.1:
                faults.append(f"mark {name}: {off:.2f} pixels off")
    return faults


def stored(name):
    path = explorables.VECTORS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))


# ---------------------------------------------------------------------------
# The same mathematics


@each
def test_vectors_are_what_the_command_writes(name):
    figure = EXPLORABLES[name]
    text = explorables.as_text(explorables.vectors(figure))
    now, before = json.loads(text), stored(name)
    assert len(before) >= 200
    assert [v["state"] for v in now] == [v["state"] for v in before]
    assert compare(now, before) == []
    known = {control.name for control in figure.controls}
    for vector in before:
        assert set(vector["state"]) == known


@each
def test_vectors_reach_the_edges_of_every_control(name):
    states = [vector["state"] for vector in stored(name)]
    for control in EXPLORABLES[name].controls:
        seen = {state[control.name] for state in states}
        edges = (
            set(control.options)
            if isinstance(control, Choice)
            else {control.low, control.high}
        )
        assert edges <= seen, control.name


def test_the_script_computes_draws_and_says_what_python_does(figure, capsys):
    vectors = stored(figure.name)
    figure.fresh()
    assert compare(vectors, figure.run(RUN, [v["state"] for v in vectors])) == []
    with capsys.disabled():
        marks = sum(len(vector["marks"]) for vector in vectors)
        says = f"{len(vectors)} states, {marks} places, equal to Python's"
        print(f"\n{figure.name}: {says}")


#: A fault in the mathematics of each, and an offset of three pixels.
PLANTED = {
    "cannot-pass": [
        ("[0, share, 1]", "[0, -share, 1]", "values"),
        ("arrow(foot, end, 11)", "arrow(foot, [end[0] + 3, end[1]], 11)", "mark"),
        ("x̂, ${fixed(across)}, are", "x̂, ${fixed(-across)}, are", "sentence"),
    ],
    "companions": [
        ("(v - mean) / Math.sqrt", "(v + mean) / Math.sqrt", "values"),
        (
            "const y = to(values.y[i - 1]);",
            "const y = 3 + to(values.y[i - 1]);",
            "mark",
        ),
        ("fixed(state.x1, 1)", "fixed(state.x2, 1)", "sentence"),
    ],
    "effective-rate": [
        ("(1 - rate * decay) * length", "(1 + rate * decay) * length", "values"),
        ("cx: x, cy", "cx: x + 3, cy", "mark"),
        ("= ${fixed(turn, 4)}", "= ${fixed(turn, 3)}", "sentence"),
    ],
    "node-by-node": [
        ("[-dv / std ** 2]", "[dv / std ** 2]", "values"),
        ("to(x - gradients.x[i])", "to(x - gradients.x[i]) + 3", "mark"),
        ("sum to ${this.brief", "sum to −${this.brief", "sentence"),
    ],
    "descent": [
        ("across = 1 - eta * high", "across = 1 + eta * high", "values"),
        (
            "const to = rate(values[name]);",
            "const to = 3 + rate(values[name]);",
            "mark",
        ),
        ("${fixed(across)} across", "${fixed(-across)} across", "sentence"),
    ],
    "saturation": [
        ("(made[i][0] - mean) ** 2", "(made[i][0] + mean) ** 2", "values"),
        ("cx, cy });", "cx: cx + 3, cy });", "mark"),
        ("names[f]} is flat", "names[f]} is steep", "sentence"),
    ],
    "figure-one": [
        ("(v - without[i]) / 100", "(v + without[i]) / 100", "values"),
        ("place(batch, { cx: x,", "place(batch, { cx: x + 3,", "mark"),
        ("from ${low} to", "from ${high} to", "sentence"),
    ],
    "running-averages": [
        ("w * m / (m - 1) *", "w *", "values"),
        ("cx: at, cy: up(values.batch)", "cx: at + 3, cy: up(values.batch)", "mark"),
        ("± ${fixed(noise, 3)}", "± ${fixed(-noise, 3)}", "sentence"),
    ],
    "shared-means": [
        ("* hat + beta", "* hat - beta", "values"),
        ("translate(${x} ${y})", "translate(${x + 3} ${y})", "mark"),
        ("${explorable.fixed(gap)}", "${explorable.fixed(2 * gap)}", "sentence"),
    ],
}


def test_every_explorable_has_planted_faults():
    assert set(PLANTED) == set(EXPLORABLES)
    for faults in PLANTED.values():
        assert {kind for *_, kind in faults} == {"values", "mark", "sentence"}


def test_planted_faults_are_found(figure):
    vectors = stored(figure.name)[::15]
    for right, wrong, kind in PLANTED[figure.name]:
        with figure.planted(f"{figure.name}.js", right, wrong):
            found = figure.run(RUN, [v["state"] for v in vectors])
        faults = compare(vectors, found)
        assert any(fault.startswith(kind) for fault in faults), wrong


def test_numbers_are_written_alike(figure):
    # Ties, also one that a rounding error hides; a zero without a sign.
    numbers = [0.125, -0.125, -0.001, 2.5, 0.15000000000000002, 0.1 + 0.05, 1234.5678]
    cases = [(number, digits) for number in numbers for digits in (0, 1, 2, 3)]
    texts = figure.run("argument.map(([v, d]) => explorable.fixed(v, d))", cases)
    assert texts == [fixed(*case) for case in cases]
    assert fixed(0.125) == "0.13"
    assert fixed(-0.001) == "0.00"


# ---------------------------------------------------------------------------
# The picture


@each
def test_static_picture_has_the_marked_points_at_their_places(name):
    figure, state = EXPLORABLES[name], EXPLORABLES[name].default
    values = figure.values(state)
    ax = canvas(figure.height)
    figure.draw(ax, state, values)
    drawn = [line.get_xydata() for line in ax.lines]
    drawn += [patch.get_path().vertices for patch in ax.patches]
    drawn = ax.transData.transform(np.concatenate(drawn))
    drawn = (drawn - (0, ax.figure.bbox.height)) * (1, -1) * 100 / ax.figure.dpi
    plt.close()
    for mark, place in figure.marks(state, values).items():
        nearest = np.abs(drawn - place).max(axis=1).min()
        assert nearest < 2, mark


def test_the_drawing_lies_on_the_picture(figure):
    figure.fresh()
    for width in (1280, 390, 320):
        figure.page.set_viewport_size({"width": width, "height": 900})
        boxes = figure.run(
            "['img', 'svg'].map((tag) => { const b = document.querySelector("
            "`.stage ${tag}`).getBoundingClientRect();"
            "return [b.left, b.top, b.width, b.height]; })"
        )
        assert np.allclose(*boxes, atol=0.5), width


def test_nothing_moves_when_it_comes_alive(figure):
    figure.fresh()
    moved = figure.run(
        """new Promise((done) => {
          let sum = 0;
          new PerformanceObserver((list) => {
            for (const entry of list.getEntries()) sum += entry.value;
          }).observe({ type: "layout-shift", buffered: true });
          setTimeout(() => done(sum), 100);
        })"""
    )
    assert moved == 0


@each
def test_sizes(name):
    def packed(file):
        return len(gzip.compress((STATIC / "explorables" / file).read_bytes(), 9))

    assert packed("core.js") <= 16 * 1024
    assert packed(f"{name}.js") <= 6 * 1024
    data = explorables.data(EXPLORABLES[name]).encode()
    assert len(data) <= explorables.DATA_KIB * 1024


# ---------------------------------------------------------------------------
# What an author may get wrong


def test_unknown_name_is_refused():
    with pytest.raises(ValueError, match="allowed are"):
        show("gears")


@each
def test_definition_is_complete(name):
    figure = EXPLORABLES[name]
    guess, usual = figure.guess, figure.default
    assert figure.name == name
    assert len(usual) == len(figure.controls)
    assert 0 <= guess.right < len(guess.options) >= 2
    for changes in ({}, guess.reveal, *figure.visits.values()):
        assert set(changes) <= set(usual)
        for control in figure.controls:
            value = (usual | changes)[control.name]
            if isinstance(control, Choice):
                assert value in control.options
            else:
                steps = (value - control.low) / control.step
                assert control.low <= value <= control.high
                assert abs(steps - round(steps)) < 1e-9
