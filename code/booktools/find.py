"""Sphinx extension: what the search of the site looks through.

One record for each section, claim, symptom, word of the glossary and function: its
title, its place and its words. Sphinx's own index knows pages only, and no symbols. The
script `_static/search.js` searches the records; a formula is written there as it is
read, so that γ, gamma and a formula that has it are the same.
"""

import json
import re
from pathlib import Path

from docutils import nodes
from sphinx import addnodes

FILE = "_static/search-index.js"
SKIPPED = ("back/solutions/", "back/subjects")  # repeat what stands elsewhere
#: The summary of a function, not all parameters; what a claim says and what was found,
#: not its setting and its earlier draws.
SUMMARIZED = ("function", "claim")
#: Sections that list what earlier claims said, and what earlier versions had wrong; of
#: them the beginning is enough.
HISTORY = ("bars-that-were-moved-and-what-else-was-changed", "no-claims-any-more")
WRONG = "-had-wrong"  # what anchors of the latter end with
BEGINNING = 600  # characters
#: First word over a table of symptoms, whose rows lead to where each is shown.
SYMPTOMS = "what you see"
GREEK = {
    **{"alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε"},
    **{"varepsilon": "ε", "eta": "η", "theta": "θ", "kappa": "κ", "lambda": "λ"},
    **{"mu": "μ", "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ", "phi": "φ"},
    **{"chi": "χ", "omega": "ω", "Sigma": "Σ", "Delta": "Δ", "ell": "ℓ"},
    **{"partial": "∂", "sum": "Σ"},
}
PACKED = {"ensure_ascii": False, "separators": (",", ":")}
# Commands of TeX that say how something looks, not what it is.
LOOKS = re.compile(
    r"\\(mathcal|mathrm|mathbf|mathbb|text|operatorname|left|right|[bB]igg?[lr]?|quad"
    r"|qquad|begin|end|aligned|frac|tfrac|dfrac|label|nonumber)\b|aligned|cases"
)


def spoken(tex: str) -> str:
    r"""A formula of TeX as words: ``\gamma \hat x_i`` as "γ hat x i"."""
    words = re.sub(
        r"\\([a-zA-Z]+)",
        lambda found: f" {GREEK.get(found[1], found[1])} ",
        LOOKS.sub(" ", tex),
    )
    return " ".join(re.sub(r"[^\w.,=+*/-]|_", " ", words).split())


def words(node) -> str:
    """Text of a node without what stands in records of its own."""
    if record(node) or isinstance(node, (nodes.raw, nodes.comment, nodes.target)):
        return ""
    if "cell_output" in _classes(node) or _is_code_of_claim(node):
        return ""
    if isinstance(node, (nodes.math, nodes.math_block)):
        return f" {spoken(node.astext())} "
    if isinstance(node, nodes.literal_block):
        return " " + " ".join(
            dict.fromkeys(re.findall(r"[A-Za-z_]\w{3,}", node.astext()))
        )
    if isinstance(node, nodes.Text):
        return str(node)
    text = "".join(map(words, node.children))
    alone = isinstance(node, nodes.TextElement) and not isinstance(node, nodes.Inline)
    return f" {text} " if alone else text


def record(node) -> tuple | None:
    """Kind, anchor, title and parts of what has a record of its own.

    The anchor of a symptom is the label of the section that shows it.
    """
    if "claim" in _classes(node):
        before = node.previous_sibling()
        label = before["refid"] if isinstance(before, nodes.target) else ""
        anchor = _anchor(node) or label
        return "claim", anchor, anchor.removeprefix("claim-"), node.children
    if isinstance(node, nodes.section) and isinstance(node[0], nodes.title):
        return "section", _anchor(node), words(node[0]), node[1:]
    if isinstance(node, nodes.row) and (shown := _leads(node)) is not None:
        return "symptom", shown["reftarget"], node[0].astext(), node[1:]
    if isinstance(node, nodes.definition_list_item) and _anchor(node[0]):
        return "term", _anchor(node[0]), node[0].astext(), node[-1].children
    if isinstance(node, addnodes.desc) and _anchor(node[0]):
        title = node[0].get("fullname", "")
        return "function", _anchor(node[0]), title, node[-1].children
    return None


def _anchor(node) -> str:
    return node["ids"][0] if node["ids"] else ""


def _leads(row):
    """Where a row of a table of symptoms leads, or None."""
    head = row.parent.parent.next_node(nodes.thead)
    named = head is not None and head.astext().startswith(SYMPTOMS)
    inside = named and row.parent is not head
    return row.next_node(addnodes.pending_xref) if inside else None


def _classes(node):
    return node.get("classes", ()) if isinstance(node, nodes.Element) else ()


def _is_code_of_claim(node) -> bool:
    """Whether a block folds away the code of a claim, which stands there anyway."""
    if "dropdown" not in _classes(node):
        return False
    return node[0].astext().startswith(("How this was measured", "Code of"))


def records(doctree) -> list[tuple[str, str, str, str]]:
    """Kind, anchor, title and words of each part of a page that has a record."""
    found = []
    for kind, anchor, title, parts in filter(None, map(record, doctree.findall())):
        between = " · " if kind == "symptom" else " "
        text = " ".join(between.join(map(words, parts)).split())
        if kind in SUMMARIZED or anchor in HISTORY or anchor.endswith(WRONG):
            text = text[:BEGINNING]
        found.append((kind, anchor, " ".join(title.split()), text))
    return found


# ---------------------------------------------------------------------------
# Sphinx


def remember(app, doctree):
    """When a page is read: keep its records."""
    docname = app.env.docname
    if not docname.startswith(SKIPPED):
        _kept(app.env)[docname] = records(doctree)


def _kept(env) -> dict:
    if not hasattr(env, "book_records"):
        env.book_records = {}
    return env.book_records


def forget(app, env, docname):
    _kept(env).pop(docname, None)


def merge(app, env, docnames, other):
    _kept(env).update({name: _kept(other)[name] for name in docnames})


def begin(app):
    """Leave Sphinx's own index out."""
    app.builder.search = False


def page(app):
    yield "search", {}, "search.html"


def write(app, exception) -> None:
    """Write the records of all pages, in the order of the book."""
    if exception is not None or app.builder.format != "html":
        return
    env, lines = app.env, []
    labels = env.get_domain("std").anonlabels
    for docname in _in_order(env, app.config.root_doc):
        for kind, anchor, name, text in _kept(env).get(docname, ()):
            at = labels[anchor] if kind == "symptom" else (docname, anchor)
            address = f"{app.builder.get_target_uri(at[0])}#{at[1]}"
            title = env.titles[at[0]].astext()
            lines.append(json.dumps([kind, address, title, name, text], **PACKED))
    path = Path(app.outdir, FILE)
    path.parent.mkdir(exist_ok=True)
    text = ",\n".join(lines)
    path.write_text(f"window.RECORDS = [\n{text}\n];\n", "utf-8")


def _in_order(env, docname):
    yield docname
    for child in env.toctree_includes.get(docname, ()):
        yield from _in_order(env, child)


def setup(app):
    app.connect("builder-inited", begin)
    app.connect("doctree-read", remember, priority=800)
    app.connect("env-purge-doc", forget)
    app.connect("env-merge-info", merge)
    app.connect("html-collect-pages", page)
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
