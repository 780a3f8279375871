"""Each explorable in the hands of readers: keys, pointer, address, paper, no script."""

import math
from urllib.parse import urlencode

import pytest
from explorable_page import NAMES, SCREEN, STATIC, Figure

from batchnorm.explorables.kinds import Range
from booktools import check_site

each = pytest.mark.parametrize("name", NAMES)

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


#: Puts a control into the middle of its range and takes hold of it, for one key after
#: the other; notes what the key and then Escape make of it.
WATCH = """(() => {
  const { plan, usual } = argument, found = window.found = [];
  const next = () => {
    document.activeElement.blur();
    const now = plan[found.length];
    if (!now) return;
    figure.change({ ...usual, [now.control]: now.half });
    const target = now.handle === null
      ? document.querySelector(`[data-control=${now.control}]`)
      : figure.stage.handles[now.handle].made;
    target.focus();
  };
  let moved;
  window.onkeyup = ({ key }) => {
    const value = figure.state[plan[found.length]?.control];
    if (key !== "Escape") return void (moved = value);
    found.push([moved, value]);
    next();
  };
  next();
})()"""


def keys_that_err(figure, most=99):
    """Press keys on handles, all, and on inputs; list what went the wrong way."""
    wrong, plan = [], []
    controls = {c.name: c for c in figure.python.controls if isinstance(c, Range)}
    handles = figure.run("figure.stage.handles.map((h) => h.controls)")
    every = figure.page.locator(".handle")
    targets = [
        (every.nth(i), i, moves(names[0], names[-1])) for i, names in enumerate(handles)
    ]
    # An input is the browser's own: one key says that it is wired the right way.
    targets += [
        (figure.page.locator(f"[data-control={name}]"), None, moves(name, name)[:1])
        for name in controls
    ]
    figure.run("figure.change(argument)", figure.python.default)
    usable = [t for t in targets if t[0].is_visible() and t[0].is_enabled()]
    for _, handle, keys in usable[:most]:
        for key, name, direction in keys:
            control = controls[name]
            low, high = control.low, control.high
            half = low + control.step * (round((high - low) / control.step) // 2)
            half = round(half, 9)
            of = {"handle": handle, "control": name, "half": half}
            plan.append(of | {"key": key, "direction": direction > 0})
    figure.run(WATCH, {"plan": plan, "usual": figure.python.default})
    for step in plan:
        figure.page.keyboard.press(step["key"])
        figure.page.keyboard.press("Escape")
    found = figure.run("window.found")
    for step, (now, after) in zip(plan, found, strict=True):
        key, name, half = step["key"], step["control"], step["half"]
        control, sign = controls[name], 1 if step["direction"] else -1
        edge = control.high if step["direction"] else control.low
        if not (now == edge if key in ("Home", "End") else (now - half) * sign > 0):
            wrong.append(f"{key}: {name} from {half} to {now}")
        if abs(after - half) > 1e-9:
            wrong.append(f"Escape after {key}: {name} is {after}, not {half}")
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
    """One in each page: the keys are in the core, which all share."""
    right, wrong, key = PLANTED_KEYS[NAMES.index(figure.name) % len(PLANTED_KEYS)]
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
    assert not figure.page.locator(".live").is_visible()
    assert figure.page.locator(".handle[tabindex='0']").count() == 0
    figure.guess()
    reveal = figure.python.guess.reveal
    # And not what the link asks for, which waits.
    assert figure.live == figure.says(**reveal)
    end = control.low if control.default == control.high else control.high
    first = reveal | {control.name: end}
    figure.run("figure.change(argument)", first)
    figure.until("location.hash.includes(argument)", f"{control.name}={end}")
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
    figure.until("figure.live.textContent === argument", figure.says(**reveal))
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
    "at 320 pixels, which is 400 % zoom": {"viewport": {"width": 320, "height": 225}},
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
# A link before the guess, and after it


def test_a_link_before_the_guess_says_that_it_waits(figure):
    visited = next(iter(figure.python.visits.values()))
    figure.fresh()
    waits = figure.page.locator(".waits")
    assert not waits.is_visible()
    figure.run("figure.visit(argument)", urlencode(visited))
    assert waits.is_visible()
    assert figure.live == figure.says()
    figure.guess()
    assert figure.live == figure.says(**figure.python.guess.reveal)
    waits.locator("a").click()
    figure.until("figure.live.textContent === argument", figure.says(**visited))
    assert not waits.is_visible()


def test_after_the_guess_the_keys_go_on_from_what_is_chosen(figure):
    figure.fresh()
    figure.guess()
    focused = (
        "document.activeElement.matches('[data-control]:is(:checked, [type=range])')"
    )
    assert figure.run(focused)


def test_a_verdict_meets_each_wrong_choice(figure):
    guess = figure.python.guess
    assert len(guess.why) == len(guess.options)
    assert [not why for why in guess.why].index(True) == guess.right
    figure.fresh()
    for i, why in enumerate(guess.why):
        figure.run("(figure.guess = argument, figure.show())", i)
        verdict = figure.page.locator(".verdict").text_content()
        assert why in verdict
        assert verdict.startswith("Right.") == (i == guess.right)
        assert guess.answer in verdict
