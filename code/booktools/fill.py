"""Sphinx extension: what pages get from the package, its ledger and the chapters.

Where a page of the back says ``% name``, a part goes that `evidence`, `mistakes`,
`paths` or `solutions` writes. In a chapter, the cell that shows claims gets a fold with
the code that measured them and a link to the entry of each, and the heading of the
exercises a link to their solutions.

The first two import the whole package. So they are imported where they are used, and
what they make is `kept`.
"""

import re

from docutils import nodes
from sphinx import addnodes

from booktools import paths, solutions
from booktools.kept import kept
from booktools.notebooks import CHAPTERS, ROOT, chapters, notebooks


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


def parts(docname: str) -> tuple[dict, list]:
    """What goes where a page says ``% name``, by the name, and the files it is from."""
    name = docname.rpartition("/")[2]
    if docname in ("back/evidence", "back/mistakes"):
        trial = ROOT / "docs" / "trial.md"
        files = [*(ROOT / "code").rglob("*.py"), *(ROOT / "code").rglob("*.json*")]
        made = kept("mistakes", mistakes)
        if name == "evidence":
            made = kept("evidence", evidence) | {"trial": made["trial"]}
        return made, [trial, *files]
    if docname == "back/paths":
        return {"map": paths.table(paths.needs())}, chapters()
    if docname == "back/solutions":
        return {"chapters": solutions.listed()}, notebooks()
    if docname.startswith("back/solutions/"):
        path = CHAPTERS / f"{name}.ipynb"
        return {"solutions": solutions.page(path)}, [path]
    if docname == "back/subjects":  # its index says what chapters say
        return {}, notebooks()
    return {}, []


def read_page(app, docname, source):
    """Put the parts where the page's comments stand."""
    made, files = parts(docname)
    for mark, text in made.items():
        source[0] = f"\n{source[0]}".replace(f"\n% {mark}\n", f"\n{text}\n")[1:]
    for path in files:
        app.env.note_dependency(str(path))


def link(target: str, words: str) -> addnodes.pending_xref:
    """A link to a label."""
    options = {"refdomain": "std", "reftype": "ref", "refexplicit": True}
    found = addnodes.pending_xref("", reftarget=target, **options)
    found += nodes.inline("", words, classes=["std", "std-ref"])
    return found


def link_solutions(app, doctree):
    """Below the heading of a chapter's exercises, link the page of their solutions."""
    folder, _, name = app.env.docname.rpartition("/")
    if folder != "chapters":
        return
    for section in doctree.findall(nodes.section):
        if isinstance(section[0], nodes.title) and section[0].astext() == "Exercises":
            label = solutions.title(CHAPTERS / f"{name}.ipynb")[1]
            line = nodes.paragraph("", "The solutions fold below, and stand ")
            line += [link(f"solutions-{label}", "on one page"), nodes.Text(" as well.")]
            section.insert(1, line)


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
    for name in ids:
        by_code.setdefault(kept("codes", codes)[name], []).append(name)
    for code, measured in by_code.items():
        line = nodes.paragraph("", "", nodes.Text("Evidence: "))
        for name in measured:
            line += [nodes.Text(", ")] if name != measured[0] else []
            line += link(f"claim-{name}", name)
        fold += line
        if code in printed:
            line += nodes.Text(f"; the code is that of {printed[code]}, above")
        else:
            printed[code] = measured[0]
            fold += nodes.literal_block(code, code, language="python")
    return fold


def setup(app):
    app.connect("source-read", read_page)
    app.connect("doctree-read", link_solutions)
    app.connect("doctree-read", fold_code)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
