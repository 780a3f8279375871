"""Each explorable, in a browser, against Python; and that this comparison can fail.

The page is made as the site makes it, around the same scripts.
"""

import gzip
import json
import math
import shutil
import time
from contextlib import contextmanager

import matplotlib.pyplot as plt
import numpy as np
import pytest

from batchnorm import figures
from batchnorm.explorables import EXPLORABLES, show
from batchnorm.explorables.kinds import Choice, Range, canvas, fixed
from booktools import check_site, explorables
from booktools.notebooks import ROOT

STATIC = ROOT / "_static"
NAMES = sorted(EXPLORABLES)
each = pytest.mark.parametrize("name", NAMES)
SCREEN = {"width": 1280, "height": 900}
USUAL_MEDIA = {"media": "screen", "color_scheme": "light", "forced_colors": "none"}
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>A page</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'self'; img-src 'self'
 data:; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'">
<script>document.documentElement.dataset.theme = "auto"</script>
<link rel="icon" href="data:,"><link rel="stylesheet" href="_static/book.css">
<link rel="stylesheet" href="_static/explorables/explorables.css">
<script defer src="_static/explorables/core.js"></script>
<script defer src="_static/explorables/{name}.js"></script></head>
<body><div class="page"><nav id="contents" popover></nav><div class="column">
<main id="main"><section><h1>A page</h1><section><h2 id="s">A section</h2>
<p>To <a href="#try-{name}">the figure</a>, to <a href="#s">the section</a>.</p>
<div class="cell"><div class="cell_output"><figure>{before}
<img src="{name}.png" alt="A picture" width="700" height="{height}" class="drawing">
{after}<figcaption><p>A caption.</p></figcaption></figure></div></div></section>
</section></main></div></div></body></html>
"""
# What a browser computes, draws and says in each state of a figure.
RUN = """(() => {
  const svg = figure.stage.svg;
  const place = (e) => {
    const screen = svg.getScreenCTM().inverse();
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
    const marks = {};
    for (const e of svg.querySelectorAll("[data-mark]"))
      if (!e.closest("[hidden]")) marks[e.dataset.mark] = [place(e).x, place(e).y];
    const values = figure.spec.values(state, figure.data);
    return { values, marks, sentence: figure.live.textContent };
  });
})()"""


def build(root, name):
    """Write a page with one explorable into a folder, with all that it loads."""
    shutil.copytree(STATIC, root / "_static", dirs_exist_ok=True)
    figure = EXPLORABLES[name]
    before, after = explorables.around(figure)
    page = PAGE.format(name=name, before=before, after=after, height=figure.height)
    (root / "index.html").write_text(page, encoding="utf-8")
    with plt.rc_context():
        figures.use_style()
        state = figure.default
        figure.draw(canvas(figure.height), state, figure.values(state))
        plt.rcParams["figure.constrained_layout.use"] = False  # the axes are placed
        plt.savefig(root / f"{name}.png", dpi=200)
        plt.close()


class Figure:
    """An explorable on a page, and what Python knows of it."""

    def __init__(self, name, visit, address, folder=None):
        self.name, self.visit, self.address = name, visit, address
        self.page, self.folder = visit.page, folder
        self.python = EXPLORABLES[name]

    def fresh(self, hash="", **media):
        """Load the page anew."""
        self.page.set_viewport_size(media.pop("viewport", SCREEN))
        self.page.emulate_media(**(USUAL_MEDIA | media))
        self.page.goto("about:blank")
        self.page.goto(self.address + hash)
        self.page.locator("[data-alive]").wait_for()

    @contextmanager
    def planted(self, file, right, wrong):
        """The page with a fault in one of its scripts."""
        path = f"_static/explorables/{file}"
        text = (self.folder / path).read_text(encoding="utf-8")
        assert text.count(right) == 1, right
        text = text.replace(right, wrong)
        served = {"body": text, "content_type": "text/javascript"}
        self.page.route(f"**/{path}", lambda route: route.fulfill(**served))
        self.fresh()
        yield
        self.page.unroute(f"**/{path}")
        self.visit.problems.clear()

    def run(self, script, argument=None):
        """Evaluate a script in which `figure` is the explorable."""
        given = f"((figure, argument) => {script})"
        return self.page.evaluate(
            f"(argument) => {given}(explorable.figures['{self.name}'], argument)",
            argument,
        )

    def until(self, script, argument=None):
        """Wait until a script is true."""
        end = time.monotonic() + 10
        while not self.run(script, argument):
            assert time.monotonic() < end, f"never: {script}"
            time.sleep(0.02)

    def guess(self):
        """Commit to the first option, and wait until the address has it."""
        self.page.locator("form.guess input").first.check()
        self.page.locator("form.guess button").click()
        self.until("location.hash.includes('guess=0')")

    def says(self, **changes):
        """The sentence of a state, from Python."""
        state = self.python.default | changes
        return self.python.sentence(state, self.python.values(state))

    @property
    def live(self):
        return self.page.locator(".live").text_content()

    @property
    def locked(self):
        return self.run("figure.panel.disabled")


@pytest.fixture(scope="module", params=NAMES)
def shared(request, browser, tmp_path_factory):
    """One page for each explorable, which its tests share."""
    folder = tmp_path_factory.mktemp(request.param)
    build(folder, request.param)
    with (
        check_site.serve(folder) as origin,
        check_site.Visit(browser, f"{origin}/index.html", viewport=SCREEN) as visit,
    ):
        yield Figure(request.param, visit, f"{origin}/index.html", folder)


@pytest.fixture
def figure(shared):
    """The page, on which nothing may go wrong during a test."""
    shared.visit.problems.clear()
    yield shared
    assert shared.visit.problems == []


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
        ("and ${fixed(across)}", "and ${fixed(-across)}", "sentence"),
    ],
    "companions": [
        ("(v - mean) / Math.sqrt", "(v + mean) / Math.sqrt", "values"),
        (
            "const y = at(values.y[i - 1]);",
            "const y = 3 + at(values.y[i - 1]);",
            "mark",
        ),
        ("fixed(state.x1, 1)", "fixed(state.x2, 1)", "sentence"),
    ],
}


def test_every_explorable_has_planted_faults():
    assert set(PLANTED) == set(EXPLORABLES)
    for faults in PLANTED.values():
        assert {kind for *_, kind in faults} == {"values", "mark", "sentence"}


def test_planted_faults_are_found(figure):
    vectors = stored(figure.name)[::7]
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
    for width in (1280, 390, 320):
        figure.fresh(viewport={"width": width, "height": 900})
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
# Hands on


def moves(across, up):
    """Each key, which control it moves, and which way."""
    return [
        ("ArrowRight", across, 1),
        ("ArrowLeft", across, -1),
        ("ArrowUp", up, 1),
        ("ArrowDown", up, -1),
        ("PageUp", up, 1),
        ("PageDown", up, -1),
        ("End", across, math.inf),
        ("Home", across, -math.inf),
    ]


def keys_that_err(figure, most=99):
    """Press keys on handles, all, and on inputs; list what went the wrong way."""
    wrong = []
    controls = {c.name: c for c in figure.python.controls if isinstance(c, Range)}
    handles = figure.run("figure.stage.handles.map((h) => h.controls)")
    every = figure.page.locator(".handle")
    targets = [
        (every.nth(i), moves(names[0], names[-1])) for i, names in enumerate(handles)
    ]
    # An input is the browser's own: one key says that it is wired the right way.
    targets += [
        (figure.page.locator(f"[data-control={name}]"), moves(name, name)[:1])
        for name in controls
    ]
    figure.run("figure.change(argument)", figure.python.default)
    usable = [t for t in targets if t[0].is_visible() and t[0].is_enabled()]
    for target, keys in usable[:most]:
        figure.run("figure.change(argument)", figure.python.default)
        for key, name, direction in keys:
            control = controls[name]
            low, high = control.low, control.high
            half = low + control.step * (round((high - low) / control.step) // 2)
            before = figure.run("(figure.change(argument), figure.state)", {name: half})
            target.focus()
            figure.page.keyboard.press(key)
            now = figure.run("figure.state[argument]", name)
            figure.page.keyboard.press("Escape")
            after = figure.run("figure.state[argument]", name)
            edge = high if direction > 0 else low
            far = math.isinf(direction)
            if not (now == edge if far else (now - half) * direction > 0):
                wrong.append(f"{key}: {name} from {half} to {now}")
            if after != before[name]:
                wrong.append(f"Escape after {key}: {name} is {after}, not {half}")
            figure.run("document.activeElement.blur()")
    return wrong


def test_keys_go_the_right_way(figure):
    figure.fresh()
    figure.guess()
    assert keys_that_err(figure) == []


PLANTED_KEYS = [
    ("Right: () => by(across, 1)", "Right: () => by(across, -1)", "ArrowRight"),
    ("PageUp: () => by(up, 10)", "PageUp: () => by(up, -10)", "PageUp"),
    ("this.change(this.before)", "this.change({})", "Escape"),
]


def test_planted_directions_of_keys_are_found(figure):
    for right, wrong, key in PLANTED_KEYS:
        with figure.planted("core.js", right, wrong):
            figure.guess()
            assert any(key in fault for fault in keys_that_err(figure, 1)), wrong


def test_handles_follow_the_pointer(figure):
    figure.fresh()
    figure.guess()
    figure.page.locator(".reset").click()
    python, page = figure.python, figure.page
    usual = python.marks(python.default, python.values(python.default))
    handles = page.locator(".handle:visible")
    for i in range(handles.count()):
        handles.nth(i).scroll_into_view_if_needed()
        mark = handles.nth(i).get_attribute("data-mark")
        box = handles.nth(i).locator(".target").bounding_box()
        assert min(box["width"], box["height"]) >= 24
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x - 21, y - 4)
        page.mouse.up()
        state = figure.run("figure.state")
        place = python.marks(state, python.values(state))[mark]
        scale = figure.run("figure.stage.k")
        assert abs(place[0] - usual[mark][0] + 21 * scale) < 8, mark
        page.locator(".reset").click()


def test_guess_comes_first_and_back_undoes(figure):
    control = next(c for c in figure.python.controls if isinstance(c, Range))
    figure.fresh(f"#try-{figure.name}?{control.name}={control.high}")
    # Whatever the address says, the picture answers nothing before the guess.
    assert figure.live == figure.says()
    assert figure.locked
    assert figure.page.locator(".handle[tabindex='0']").count() == 0
    figure.guess()
    reveal = figure.python.guess.reveal
    first = {control.name: control.high} | reveal
    assert figure.live == figure.says(**first)
    assert figure.python.guess.answer in figure.page.locator(".verdict").text_content()
    figure.page.locator(".reset").click()
    figure.until("location.hash === argument", f"#try-{figure.name}?guess=0")
    assert figure.live == figure.says()
    figure.page.go_back()
    assert figure.live == figure.says(**first)
    figure.page.reload()
    figure.page.locator("[data-alive]").wait_for()
    assert figure.live == figure.says(**first)
    figure.page.go_back()
    figure.until("figure.panel.disabled")


def test_links_set_the_state(figure):
    figure.fresh()
    figure.guess()
    page = figure.page
    for words, visited in figure.python.visits.items():
        page.locator(".visits a", has_text=words).first.click()
        figure.until("figure.live.textContent === argument", figure.says(**visited))
    page.get_by_text("the section").click()
    assert figure.live == figure.says(**visited)
    page.go_back()
    page.go_back()
    assert not figure.locked


FOCUSED = """(({ dataset, className }) => dataset.control ?? dataset.mark ?? className)(
  document.activeElement)"""


def test_by_keyboard_alone(figure):
    figure.fresh()
    page = figure.page
    page.get_by_text("the section").focus()
    for key in ("Tab", "Space", "ArrowDown", "Tab", "Enter"):
        page.keyboard.press(key)
    figure.until("location.hash.includes('guess=1')")
    assert page.locator(".verdict").text_content()
    reached, wanted = set(), {"reset"}
    wanted |= {
        name
        for name in figure.python.default
        if figure.run("figure.shows(argument)", name)
    }
    for handle in page.locator(".handle:visible").all():
        wanted.add(handle.get_attribute("data-mark"))
    page.get_by_text("the section").focus()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(figure.run(FOCUSED))
    assert wanted <= reached


# ---------------------------------------------------------------------------
# Every reader

READERS = {
    "light and dark": {},
    "at 320 pixels": {"viewport": {"width": 320, "height": 700}},
    "at 400 % zoom": {"viewport": {"width": 320, "height": 225}},
    "forced colors": {"forced_colors": "active"},
}
SMALL = """[...document.querySelectorAll(
    ".explorable :is(input, button, a), .handle .target")]
  .filter((e) => e.checkVisibility({ visibilityProperty: true }))
  .filter((e) => !e.closest("[hidden]"))
  .map((e) => [e, (e.closest("label") ?? e).getBoundingClientRect()])
  .filter(([, box]) => Math.min(box.width, box.height) < 24)
  .map(([e]) => e.outerHTML.slice(0, 80))"""
SHOWN = """["img", "svg", "form.guess", ".panel"].filter((part) => document
  .querySelector(`.explorable ${part}`)
  .checkVisibility({ visibilityProperty: true }))"""


@pytest.mark.parametrize("reader", READERS)
def test_axe_and_targets_after_interaction(figure, reader):
    figure.fresh(**READERS[reader])
    figure.guess()
    figure.page.locator(".handle:visible").first.focus()
    figure.page.keyboard.press("ArrowRight")
    assert figure.run(SMALL) == []
    figure.visit.check()
    assert figure.visit.problems == []


def test_on_paper_the_picture_stands_alone(figure):
    figure.fresh()
    figure.guess()
    assert figure.run(SHOWN) == ["svg", "form.guess", ".panel"]
    figure.page.emulate_media(media="print")
    assert figure.run(SHOWN) == ["img"]


def test_without_a_script_the_picture_stands_alone(browser, figure):
    address = (figure.folder / "index.html").as_uri()
    with check_site.Visit(browser, address, java_script_enabled=False) as visit:
        parts = (".stage img", "form.guess", ".panel")
        seen = [p for p in parts if visit.page.locator(p).is_visible()]
        assert seen == [".stage img"]
        assert visit.problems == []


def test_from_a_disk_it_works(browser, figure):
    address = (figure.folder / "index.html").as_uri()
    with check_site.Visit(browser, address, offline=True, viewport=SCREEN) as visit:
        there = Figure(figure.name, visit, address)
        there.page.locator("[data-alive]").wait_for()
        there.guess()
        there.page.locator(".reset").click()
        there.until("location.hash === argument", f"#try-{figure.name}?guess=0")
        there.page.go_back()
        assert there.live == there.says(**there.python.guess.reveal)
        assert visit.problems == []


@each
def test_nothing_moves_by_itself(name):
    script = (STATIC / "explorables" / f"{name}.js").read_text(encoding="utf-8")
    style = (STATIC / "explorables" / "explorables.css").read_text(encoding="utf-8")
    for word in ("setInterval", "requestAnimationFrame", "setTimeout", "animate("):
        assert word not in script
    for word in ("transition", "animation"):
        assert word not in style


def test_unseen_it_rests(figure):
    figure.fresh()
    figure.guess()
    before = figure.live
    figure.run("document.body.style.paddingBottom = '9000px'")
    figure.run("scrollTo(0, 8000)")
    figure.until("!figure.seen")
    figure.run("figure.change(argument)", figure.python.default)
    assert figure.live == before
    figure.run("scrollTo(0, 0)")
    figure.until("figure.live.textContent === argument", figure.says())


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
