r"""Sphinx extension: the pages at the back of the book that are made from other files.

The evidence comes from the registry of claims and from ``chapters/evidence.json``, the
index from the glossary and from what chapters say. A page says where by a MyST comment
such as ``% claims``, which is replaced when the page is read, or, in the index, when
all pages have been.
"""

import html
import importlib
import inspect
import math
import re
from pathlib import Path

import numpy as np
from docutils import nodes
from sphinx import addnodes

from batchnorm import claims
from batchnorm.claims.__main__ import DATA_FILE
from booktools.notebooks import ROOT, notebooks, read

MODULES = (
    "reference",
    "graph",
    "statistics",
    "gradcheck",
    "layer",
    "folding",
    "whitening",
    "datasets",
    "mnist",
    "ensemble",
    "claims",
    "figures",
    "accuracy",
    "experiments.figure1",
)

# ---------------------------------------------------------------------------
# What the API reference documents


def members(module):
    """Names and objects that a module of the package documents, in their order."""
    module = importlib.import_module(f"batchnorm.{module}")
    names = getattr(module, "__all__", None) or vars(module)
    for name in names:
        thing = getattr(module, name)
        if name.startswith("_") or not _documented(thing):
            continue
        if hasattr(module, "__all__") or thing.__module__ == module.__name__:
            yield name, thing


def _documented(thing):
    written = inspect.isclass(thing) or inspect.isfunction(thing)
    return written and inspect.getdoc(thing)


def skip_member(app, what, name, thing, skip, options):
    """For autodoc: leave out fields of named tuples, which their class describes."""
    return True if type(thing).__name__ == "_tuplegetter" else None


# ---------------------------------------------------------------------------
# Evidence


def chapters():
    """Label, title and cells of every chapter of the book, in reading order."""
    contents = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    for path in notebooks():
        if f"chapters/{path.stem}" in contents:  # the template is not
            cells = read(path).cells
            head = re.match(r"\((ch-[\w-]+)\)=\n# (.+)", cells[0].source)
            yield head[1], head[2], cells


def shown():
    """Where the claims are shown: id -> (label of the chapter, name of the figure).

    The name is None where the chapter prints the verdict without a figure.
    """
    ids = {entry.id for entry in claims.claims()}
    found = {}
    for label, _, cells in chapters():
        for cell in cells:
            if cell.cell_type == "code":
                figure = cell.metadata.get("mystnb", {}).get("figure", {}).get("name")
                for id in re.findall(r'"([\w-]+)"', cell.source):
                    if id in ids:
                        found.setdefault(id, (label, figure))
    return found


def evidence(data):
    """All registered claims with what their record says, as Markdown.

    data: what `claims.load` returns. Those that refute a common statement come first.
    A record that is older than its claim is named, and its effects are left out.
    """
    stale, where = set(claims.stale(data["claims"])), shown()
    records = {r["id"]: r for r in data["claims"] if r["id"] not in stale}
    changed = {r["id"] for r in data["claims"]} & stale
    entries = claims.claims()
    refuted = [entry for entry in entries if entry.kind == "refuted"]
    rest = [entry for entry in entries if entry.kind != "refuted"]

    def written(chosen):
        return [
            _claim(c, records.get(c.id), c.id in changed, where.get(c.id))
            for c in chosen
        ]

    text = [_summary(data, records.values(), refuted, len(changed), len(stale))]
    text += ["(evidence-refuted)=\n## Often said, and not so here", *written(refuted)]
    for label, title, _ in chapters():
        here = [entry for entry in rest if where.get(entry.id, ("",))[0] == label]
        text += [f"## {title}", *written(here)] if here else []
    nowhere = [entry for entry in rest if entry.id not in where]
    text += ["## In no chapter", *written(nowhere)] if nowhere else []
    return "\n\n".join(text)


def _summary(data, records, refuted, changed, stale):
    versions = ", ".join(f"{name} {v}" for name, v in data["versions"].items())
    held = sum(record["holds"] for record in records)
    return (
        f"{len(records) + stale} claims are registered. {len(refuted)} of them answer "
        "a common statement that did not hold here; they come first. "
        f"{len(records)} are recorded as they stand, last on {data['date']} "
        f"({versions}, {data['machine']}), and {held} of these hold. "
        f"{changed} were changed since they were recorded, and {stale - changed} are "
        "not recorded: no effect is given there."
    )


def _claim(entry, record, changed, where):
    """A definition list of one entry: the statement, and below it what was measured."""
    said = [] if entry.claimed is None else [f"**Measured here.** {entry.statement}"]
    if changed:
        said += ["Changed since it was recorded."]
    elif record is None:
        said += ["Not recorded yet."]
    else:
        said += [strip(entry, record["effects"]), _outcome(entry, record)]
    place = "in no chapter"
    if where is not None:
        label, figure = where
        place = f"in {{ref}}`{label}`" + (f", {{numref}}`{figure}`" if figure else "")
    setting = "; ".join(f"{k} {_short(v)}" for k, v in entry.setting.items())
    said += [
        f"*Shown* {place}. *Source:* {entry.source}. *Setting:* {setting}. "
        f"*Id:* `{entry.id}`"
    ]
    below = "\n\n  ".join(said)
    return f"(claim-{entry.id})=\n{entry.claimed or entry.statement}\n: {below}"


def _outcome(entry, record):
    effects = _numbers(record["effects"])
    seeds, held = len(record["seeds"]), record["held"]
    asked = "" if record["needed"] == seeds else f" ({record['needed']} asked)"
    verdict = "**Held**" if record["holds"] else "**Did not hold:** only"
    low, high = (_short(v) for v in (effects.min(), effects.max()))
    return (
        f"{verdict} in {held} of {seeds} seeds{asked}. *Effect:* {entry.effect}; "
        f"median {_short(np.median(effects))}, from {low} to {high}; "
        f"asked {record['condition']}."
    )


def _numbers(effects):
    return np.array([np.nan if effect is None else effect for effect in effects])


def _short(value):
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_short, value))
    text = f"{value:.3g}" if isinstance(value, float) else str(value)
    return text.replace("e+0", "e").replace("e+", "e").replace("e-0", "e-")


def strip(entry, effects):
    """One dot a seed on a line, the condition dashed, as an SVG that has no script."""
    values, bounds = _numbers(effects), np.array(entry.condition.thresholds)
    map_ = np.log10 if entry.scale == "log" else np.asarray
    with np.errstate(invalid="ignore", divide="ignore"):
        dots, dashes = map_(values), map_(bounds)
    finite = np.concatenate([dots, dashes])
    finite = finite[np.isfinite(finite)]
    low, high = finite.min(), finite.max()
    width = (high - low) or 1.0

    def at(value):
        return f"{4 + 92 * (value - low) / width:.1f}%"

    places = sorted({at(dot) for dot in dots if math.isfinite(dot)})
    marks = "".join(f'<circle cx="{place}" cy="8" r="4"/>' for place in places)
    lines = "".join(
        f'<line x1="{at(dash)}" x2="{at(dash)}" y2="16" stroke-width="2" '
        'stroke-dasharray="4 2"/>'
        for dash in dashes
    )
    low, high = (_short(value) for value in (np.nanmin(values), np.nanmax(values)))
    said = html.escape(
        f"One dot for each seed, from {low} to {high}; asked {entry.condition}, dashed."
    )
    return (
        f'<svg role="img" aria-label="{said}" width="100%" height="16" '
        f'stroke="currentColor" fill="currentColor" fill-opacity=".45">{lines}{marks}'
        "</svg>"
    )


# ---------------------------------------------------------------------------
# Index

MOST = 5  # sections listed for an entry: those that say the word most often
ENDS = ("Summary", "Exercises", "Further reading")  # repeat what others say


def fill_index(app, doctree, docname):
    """Fill the two lists of the index page: words of the glossary, names in code."""
    if docname != "back/subjects":
        return
    chapters = sorted(d for d in app.env.found_docs if d.startswith("chapters/"))
    sections = [
        (chapter, section)
        for chapter in chapters
        for section in app.env.get_doctree(chapter).findall(_is_section)
    ]
    listed = [pair for pair in sections if _is_listed(pair[1])]

    def uri(target, anchor):
        return f"{app.builder.get_relative_uri(docname, target)}#{anchor}"

    objects = app.env.get_domain("std").objects
    prose = {id(s): (_own_text(s, nodes.Text), _terms(s)) for _, s in sections}
    words = nodes.bullet_list()
    for word in sorted((n for kind, n in objects if kind == "term"), key=str.lower):
        found = _most(_uses(word, listed, prose), listed)
        found = found or _most(_uses(word, sections, prose), sections)
        words += _entry(nodes.Text(word), uri(*objects["term", word]), found, uri)

    python = app.env.get_domain("py").objects
    code = [_own_text(section, nodes.literal_block) for _, section in listed]
    imported = {chapter: _imports(app.env.get_doctree(chapter)) for chapter in chapters}
    names = nodes.bullet_list()
    documented = [(m, name) for m in MODULES for name, _ in members(m)]
    for module, name in sorted(documented, key=lambda pair: ".".join(pair).lower()):
        full = f"batchnorm.{module}.{name}"
        if module == "figures":  # what draws is in every section
            continue
        counts = []
        for (chapter, _), text in zip(listed, code, strict=True):
            pattern = rf"\b{re.escape(module)}\.{name}\("
            if full in imported[chapter]:
                pattern += rf"|(?<![\w.]){name}\("
            counts.append(len(re.findall(pattern, text)))
        if any(counts):
            home, word = (
                uri(python[full].docname, full),
                nodes.literal("", f"{module}.{name}"),
            )
            names += _entry(word, home, _most(counts, listed), uri)

    for mark in list(doctree.findall(nodes.comment)):
        mark.replace_self({"words": words, "names": names}[mark.astext()])


def _imports(doctree):
    """Full names that the code of a chapter imports from the package."""
    found = set()
    for block in doctree.findall(nodes.literal_block):
        for module, names in re.findall(
            r"^from (batchnorm[\w.]*) import (\([^)]*\)|.*)$", block.astext(), re.M
        ):
            found |= {f"{module}.{name}" for name in re.findall(r"\w+", names)}
    return found


def _most(counts, sections):
    """The sections with the highest counts, in reading order."""
    floor = max(sorted(counts, reverse=True)[:MOST][-1], 1)
    pairs = zip(counts, sections, strict=True)
    return [section for count, section in pairs if count >= floor][:MOST]


def _is_section(node):
    """Whether a node is a section of the page; exercises hold some without a title."""
    return isinstance(node, nodes.section) and isinstance(node[0], nodes.title)


def _is_listed(node):
    return _is_section(node) and node[0].astext() not in ENDS


def _own_nodes(section, kind):
    """Nodes of a section that are not in a section below it."""
    for child in section.children:
        if not _is_section(child):
            yield from child.findall(kind)


def _own_text(section, kind):
    """Text of a section without its subsections; of Text nodes, what is not code."""
    parts, last = [], None
    for node in _own_nodes(section, kind):
        within = node.parent
        if not (isinstance(within, nodes.literal_block) or _is_math(within)):
            block = within
            while isinstance(block, nodes.Inline):
                block = block.parent
            # Words of two paragraphs are two words.
            parts += [node.astext()] if block is last else [" ", node.astext()]
            last = block
    return "".join(parts).replace("’", "'").replace("\n", " ")


def _terms(section):
    """The terms of the glossary that a section links to, under whatever words."""
    links = _own_nodes(section, addnodes.pending_xref)
    return [link["reftarget"] for link in links if link["reftype"] == "term"]


def _uses(word, sections, prose):
    """How often each section says a word or links to it."""
    pattern = re.compile(rf"\b{re.escape(word)}(s|es)?\b", re.IGNORECASE)
    own = [prose[id(section)] for _, section in sections]
    return [len(pattern.findall(text)) + terms.count(word) for text, terms in own]


def _entry(word, home, sections, uri):
    line = nodes.paragraph("", "", nodes.reference("", "", word, refuri=home))
    for number, (chapter, section) in enumerate(sections):
        line += nodes.Text(": " if number == 0 else "; ")
        address = uri(chapter, section["ids"][0])
        line += nodes.reference("", _title(chapter, section), refuri=address)
    return nodes.list_item("", line)


def _title(chapter, section):
    """Title of a section without its formulas, and the number of the chapter."""
    words = [t for t in section[0].findall(nodes.Text) if not _is_math(t.parent)]
    number = re.search(r"/0*(\d+)", chapter)[1]
    title = re.sub(r"[ ,]+,", ",", "".join(words)).strip(" ,")
    return f"{title} ({number})"


def _is_math(node):
    return isinstance(node, nodes.math)


# ---------------------------------------------------------------------------
# Sphinx


def read_page(app, docname, source):
    """Put the claims where the comment of the page of evidence stands."""
    if docname == "back/evidence":
        made = evidence(claims.load(ROOT / DATA_FILE))
        source[0] = source[0].replace("\n% claims\n", f"\n{made}\n")
    elif docname != "back/subjects":
        return
    code = Path(claims.__file__).parents[1]
    for path in (ROOT / DATA_FILE, *notebooks(), *code.rglob("*.py")):
        app.env.note_dependency(str(path))


def setup(app):
    app.connect("source-read", read_page)
    app.connect("doctree-resolved", fill_index)
    app.connect("autodoc-skip-member", skip_member)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
