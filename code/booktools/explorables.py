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
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
from docutils import nodes

from booktools.kept import kept
from booktools.notebooks import ROOT

if TYPE_CHECKING:  # the package imports PyTorch: only where it is used
    from batchnorm.explorables.kinds import Explorable

VECTORS = ROOT / "tests" / "site" / "vectors"
FOLDER = "explorables"  # below _static
TEMPLATE = Path(__file__).with_name("explorable.html")
DATA_KIB = 30

# ---------------------------------------------------------------------------
# Markup


def around(figure: "Explorable") -> tuple[str, str]:
    """HTML before and after the static picture, from `explorable.html`."""
    lines = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    lines.filters["e"] = html.escape
    state, groups = figure.default, {}
    for control in figure.controls:
        groups.setdefault(control.group, []).append(control)
    made = lines.from_string(TEMPLATE.read_text("utf-8")).render(
        figure=figure,
        sentence=figure.sentence(state, figure.values(state)),
        groups=groups,
        visits=[(words, _query(state, to)) for words, to in figure.visits.items()],
        data=data(figure),
    )
    made = re.sub(r"(?<=>)\n\s*|\n\s*(?=<)", "", made.strip())
    before, after = re.sub(r"\n\s*", " ", made).split("PICTURE")
    return before, after


def _query(usual: dict, changes: dict) -> str:
    """The part of an address that sets a state."""
    return "&".join(f"{k}={v}" for k, v in changes.items() if usual[k] != v)


def data(figure: "Explorable") -> str:
    """What the script needs, as JSON that can stand in a page."""
    from batchnorm.explorables.kinds import WIDTH

    told = ("options", "right", "why", "answer", "reveal")
    needed = {
        "width": WIDTH,
        "height": figure.height,
        "label": figure.label,
        "controls": [_needed(control) for control in figure.controls],
        "guess": {name: getattr(figure.guess, name) for name in told},
    } | figure.data
    text = json.dumps(needed, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _needed(control) -> dict:
    fields = ("name", "label", "options", "low", "high", "step", "default", "unit")
    fields = [f for f in (*fields, "power") if hasattr(control, f)]
    at = {"at": control.at} if getattr(control, "at", ()) else {}
    return {name: getattr(control, name) for name in fields} | at


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
            image.parent[at : at + 1] = [raw(before), image, raw(after)]
            doctree.setdefault("explorables", []).append(name)


def raw(text: str) -> nodes.raw:
    """A piece of HTML among the nodes of a page."""
    return nodes.raw("", text, format="html")


def files(doctree) -> set[str]:
    """Addresses, below the root of the site, of the files that a page needs."""
    names = [] if doctree is None else doctree.get("explorables", [])
    found = [f"{name}.js" for name in ("core", *names)] + ["explorables.css"]
    return {f"_static/{FOLDER}/{name}" for name in found} if names else set()


def setup(app):
    app.connect("doctree-read", wrap)
    app.add_css_file(f"{FOLDER}/explorables.css")
    # In this order, at the end of the page.
    for name in ("core", *kept("explorables", markup)):
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
