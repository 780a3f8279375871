"""Sphinx extension: what pages get from the package, its registry and its ledger.

The comments ``% name`` on the pages of evidence and of mistakes say where the parts of
them go that `evidence` and `mistakes` write. In a chapter, the cell that shows claims
gets a fold with the code that measured them and a link to the entry of each.

Both modules import the whole package. So they are imported where they are used, and
what they make is `kept`.
"""

import re

from docutils import nodes
from sphinx import addnodes

from booktools.kept import kept
from booktools.notebooks import ROOT


def evidence() -> dict:
    """The parts of the page of evidence, as Markdown."""
    from booktools import evidence

    return evidence.parts()


def mistakes() -> dict:
    """The parts of the page of mistakes, as Markdown; every program is run for them."""
    # Programs run in threads that are stopped after a while. PyTorch imports this when
    # it needs it, and an import that was stopped leaves half a module.
    import torch.fx.experimental.symbolic_shapes  # noqa: F401

    from booktools import mistakes

    return mistakes.parts()


def codes() -> dict:
    """The code that measured each claim, by its id."""
    from booktools import evidence

    return evidence.codes()


PAGES = {"back/evidence": evidence, "back/mistakes": mistakes}


def read_page(app, docname, source):
    """Put the parts where the page's comments stand."""
    if docname not in PAGES:
        return
    parts = kept(docname.rpartition("/")[2], PAGES[docname])
    if docname == "back/evidence":
        parts["trial"] = kept("mistakes", mistakes)["trial"]
    for mark, text in parts.items():
        source[0] = source[0].replace(f"\n% {mark}\n", f"\n{text}\n")
    for path in (ROOT / "docs" / "trial.md", *(ROOT / "code").rglob("*.py")):
        app.env.note_dependency(str(path))
    for path in (*(ROOT / "code").rglob("*.jsonl"), *(ROOT / "code").rglob("*.json")):
        app.env.note_dependency(str(path))


def fold_code(app, doctree):
    """Put the code and the entries of the claims that a cell shows below it.

    Claims that one function measures share its code; a page prints it once.
    """
    printed = {}
    for block in list(doctree.findall(nodes.literal_block)):
        shown = re.findall(r"claims\.show\(([^)]*)\)", block.astext())
        ids = re.findall(r'"([\w-]+)"', ",".join(shown))
        if ids:
            cell = block
            while "cell" not in cell.get("classes", ()) and cell.parent is not doctree:
                cell = cell.parent
            cell.parent.insert(cell.parent.index(cell) + 1, _fold(ids, printed))


def _fold(ids, printed):
    """The fold of some claims -> admonition.

    printed: code that the page has printed, to the first claim that it stands under;
    what this fold prints is added.
    """
    fold = nodes.admonition("", classes=["dropdown"])
    fold += nodes.title("", "How this was measured")
    by_code = {}
    for id in ids:
        by_code.setdefault(kept("codes", codes)[id], []).append(id)
    for code, measured in by_code.items():
        line = nodes.paragraph("", "", nodes.Text("Evidence: "))
        for id in measured:
            options = {"refdomain": "std", "reftype": "ref", "refexplicit": True}
            link = addnodes.pending_xref("", reftarget=f"claim-{id}", **options)
            link += nodes.inline("", id, classes=["std", "std-ref"])
            line += [nodes.Text(", "), link] if id != measured[0] else [link]
        fold += line
        if code in printed:
            line += nodes.Text(f"; the code is that of {printed[code]}, above")
        else:
            printed[code] = measured[0]
            fold += nodes.literal_block(code, code, language="python")
    return fold


def setup(app):
    app.connect("source-read", read_page)
    app.connect("doctree-read", fold_code)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
