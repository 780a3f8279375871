"""Sphinx extension: figures that come alive, and what their scripts are compared with.

A cell whose metadata say ``"mystnb": {"explorable": NAME}`` draws the static picture of
`batchnorm.explorables`. Around that picture a page gets the question, native
inputs and what the script needs, as JSON: all of it hidden where no script runs, so
that the picture stands alone.

``python -m booktools.explorables [NAME ...]`` writes ``tests/site/vectors/NAME.json``:
states, and what Python makes of each.
"""

import argparse
import html
import json
import sys
from typing import TYPE_CHECKING

from docutils import nodes

from booktools.kept import kept
from booktools.notebooks import ROOT

if TYPE_CHECKING:  # the package imports PyTorch: only where it is used
    from batchnorm.explorables.kinds import Explorable, Range

VECTORS = ROOT / "tests" / "site" / "vectors"
FOLDER = "explorables"  # below _static
DATA_KIB = 30

# ---------------------------------------------------------------------------
# Markup


def around(figure: "Explorable") -> tuple[str, str]:
    """HTML before and after the static picture."""
    before = (
        f'<div class="explorable" id="try-{figure.name}" '
        f'data-explorable="{figure.name}">'
        f'{_question(figure)}<div class="stage">'
    )
    state = figure.default
    sentence = figure.sentence(state, figure.values(state))
    after = (
        f'</div><div class="panel"><p class="live" aria-live="polite">'
        f"{html.escape(sentence)}</p>{_controls(figure)}</div>"
        f'<script type="application/json">{data(figure)}</script></div>'
    )
    return before, after


def _question(figure: "Explorable") -> str:
    guess = figure.guess
    options = "".join(
        f'<label><input type="radio" name="{figure.name}-guess" value="{i}" required> '
        f"{html.escape(option)}</label>"
        for i, option in enumerate(guess.options)
    )
    return (
        f'<form class="guess"><fieldset><legend><b>Guess first.</b> '
        f"{html.escape(guess.question)}</legend>{options}"
        f'<div class="commit"><button type="submit">Show me</button>'
        f'<p class="verdict" aria-live="polite"></p>'
        f'<p class="waits" aria-live="polite"></p></div></fieldset></form>'
    )


def _controls(figure: "Explorable") -> str:
    from batchnorm.explorables.kinds import Choice

    groups: dict[str, list[str]] = {}
    for control in figure.controls:
        write = _choice if isinstance(control, Choice) else _range
        groups.setdefault(control.group, []).append(write(figure.name, control))
    inside = "".join(
        f'<div class="group" role="group" aria-label="{html.escape(name)}">'
        f"<p>{html.escape(name)}</p>{''.join(controls)}</div>"
        for name, controls in groups.items()
    )
    visits = " ".join(
        f'<a href="#try-{figure.name}?{_query(figure, visit)}">{html.escape(words)}</a>'
        for words, visit in figure.visits.items()
    )
    return (
        f'<fieldset class="controls" disabled><legend>{html.escape(figure.label)}'
        f'</legend>{inside}<p class="visits">Try {visits}'
        f'<button type="button" class="reset">Reset</button></p></fieldset>'
    )


def _query(figure: "Explorable", changes: dict) -> str:
    """The part of an address that sets a state."""
    usual = figure.default
    return html.escape(
        "&".join(f"{k}={v}" for k, v in changes.items() if usual[k] != v)
    )


def _range(figure: str, control: "Range") -> str:
    name = f"{figure}-{control.name}"
    return (
        f'<div class="control"><label for="{name}">{html.escape(control.label)}</label>'
        f'<input type="range" id="{name}" data-control="{control.name}" '
        f'min="{control.low}" max="{control.high}" step="{control.step}" '
        f'value="{control.default}" autocomplete="off" '
        f'aria-valuetext="{control.reads(control.default)}">'
        f'<output for="{name}">{control.reads(control.default)}</output></div>'
    )


def _choice(figure: str, control) -> str:
    options = "".join(
        f'<label><input type="radio" name="{figure}-{control.name}" value="{value}" '
        f'data-control="{control.name}" autocomplete="off"'
        f"{' checked' if value == control.default else ''}> {html.escape(words)}"
        "</label>"
        for value, words in control.options.items()
    )
    return (
        f'<div class="control choice" role="radiogroup" '
        f'aria-label="{html.escape(control.label)}"><span>{html.escape(control.label)}'
        f"</span>{options}</div>"
    )


def data(figure: "Explorable") -> str:
    """What the script needs, as JSON that can stand in a page."""
    from batchnorm.explorables.kinds import WIDTH

    guess = figure.guess
    needed = {
        "width": WIDTH,
        "height": figure.height,
        "label": figure.label,
        "controls": [_needed(control) for control in figure.controls],
        "guess": {
            "options": guess.options,
            "right": guess.right,
            "why": guess.why,
            "answer": guess.answer,
            "reveal": guess.reveal,
        },
    } | figure.data
    text = json.dumps(needed, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _needed(control) -> dict:
    from batchnorm.explorables.kinds import Choice

    if isinstance(control, Choice):
        return {
            "name": control.name,
            "label": control.label,
            "options": control.options,
            "default": control.default,
        }
    fields = ("name", "label", "low", "high", "step", "default", "unit", "power")
    needed = {name: getattr(control, name) for name in fields}
    return needed | ({"at": control.at} if control.at else {})


# ---------------------------------------------------------------------------
# The page


def markup() -> dict[str, tuple[str, str]]:
    """HTML around the static picture of each explorable, by its name."""
    from batchnorm.explorables import EXPLORABLES

    return {name: around(figure) for name, figure in EXPLORABLES.items()}


def wrap(app, doctree) -> None:
    """Put the markup of an explorable around the picture of its cell."""
    for cell in list(doctree.findall(nodes.container)):
        metadata = dict(cell.get("cell_metadata", {})).get("mystnb", {})
        name = metadata.get("explorable")
        if name is None:
            continue
        for image in list(cell.findall(nodes.image)):
            before, after = kept("explorables", markup)[name]
            image["classes"].append("no-scaled-link")  # a link under the drawing
            at = image.parent.index(image)
            image.parent[at : at + 1] = [_raw(before), image, _raw(after)]
            doctree.setdefault("explorables", []).append(name)


def _raw(text: str) -> nodes.raw:
    return nodes.raw("", text, format="html")


def files(doctree) -> set[str]:
    """Addresses, below the root of the site, of the files that a page needs."""
    names = [] if doctree is None else doctree.get("explorables", [])
    found = [f"{name}.js" for name in ("core", *names)] + ["explorables.css"]
    return {f"_static/{FOLDER}/{name}" for name in found} if names else set()


def setup(app):
    app.connect("doctree-read", wrap)
    app.add_css_file(f"{FOLDER}/explorables.css")
    for name in (
        "core",
        *kept("explorables", markup),
    ):  # in this order, at the end of the page
        app.add_js_file(f"{FOLDER}/{name}.js")
    return {"parallel_read_safe": True, "parallel_write_safe": True}


# ---------------------------------------------------------------------------
# Vectors


def vectors(figure: "Explorable") -> list[dict]:
    """States of a figure: its numbers, the places of what is drawn, its sentence."""
    found = []
    for state in figure.states():
        values = figure.values(state)
        marks = figure.marks(state, values)
        places = {name: [round(v, 2) for v in place] for name, place in marks.items()}
        sentence = figure.sentence(state, values)
        found.append(
            {"state": state, "values": values, "marks": places, "sentence": sentence}
        )
    return found


def as_text(found: list[dict]) -> str:
    """Vectors as JSON, a state a line."""
    lines = (json.dumps(vector, ensure_ascii=False) for vector in found)
    return "[\n" + ",\n".join(lines) + "\n]\n"


def main(argv: list[str] | None = None) -> int:
    """Write the vectors of the figures named, or of all."""
    from batchnorm.explorables import EXPLORABLES

    parser = argparse.ArgumentParser(prog="python -m booktools.explorables")
    parser.add_argument("names", nargs="*", help="default: all")
    for name in parser.parse_args(argv).names or EXPLORABLES:
        found = vectors(EXPLORABLES[name])
        path = VECTORS / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(as_text(found), encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: {len(found)} states")
    return 0


if __name__ == "__main__":
    sys.exit(main())
