r"""Sphinx extension: the pages at the back of the book that are made from other files.

The evidence comes from the registry of claims and from ``chapters/evidence.json``, the
API reference and the list of refusals from docstrings, the index from the glossary and
from what chapters say. A page says where by a MyST comment such as ``% claims``, which
is replaced when the page is read, or, in the index, when all pages have been.

Docstrings are Markdown: code between backticks, formulas between $ or $$. autodoc hands
them on as reStructuredText, which `to_rst` writes.
"""

import importlib
import inspect
import re
from functools import cache
from pathlib import Path

from docutils import nodes
from sphinx import addnodes

from batchnorm import claims
from batchnorm.claims.__main__ import DATA_FILE
from booktools.notebooks import ROOT, notebooks

MODULES = (
    "reference",
    "statistics",
    "gradcheck",
    "layer",
    "folding",
    "whitening",
    "datasets",
    "ensemble",
    "claims",
    "figures",
    "accuracy",
    "experiments.figure1",
)

# ---------------------------------------------------------------------------
# Docstrings

_TOKEN = re.compile(
    r"\$\$(?P<block>.+?)\$\$|\$(?P<math>[^$]+?)\$|``(?P<literal>.+?)``|`(?P<code>[^`]+)`",
    re.DOTALL,
)
_LEAD = re.compile(r"^(Returns|Raises|Source:) ", re.MULTILINE)


def to_rst(docstring, known=lambda name: None):
    """A docstring of this package as reStructuredText.

    known: function of a name between single backticks to the full name of what it
    documents, or None if that is nothing on these pages.
    """
    blocks = [_block(block, known) for block in _blocks(docstring)]
    return "\n\n".join(blocks)


def _blocks(docstring):
    """Paragraphs; what is returned, raised and cited in paragraphs of their own."""
    for block in re.split(r"\n\s*\n", docstring.strip("\n")):
        yield from re.split(r"\n(?=(?:Returns|Raises|Source:) )", block)


def _block(block, known):
    if block.startswith(">>>"):
        return block
    if block.startswith("    "):
        return f"::\n\n{block}"
    return _LEAD.sub(r"**\1** ", _text(block, known)).strip()


def _text(text, known):
    parts, end = [], 0
    for match in _TOKEN.finditer(text):
        parts += [_escaped(text[end : match.start()]), _token(match, known)]
        end = match.end()
    return "".join([*parts, _escaped(text[end:])])


def _escaped(text):
    return re.sub(r"([\\*_|`])", r"\\\1", re.sub(r"\\([*_|])", r"\1", text))


def _token(match, known):
    if match["block"]:
        lines = "\n".join(f"   {line.strip()}" for line in match["block"].splitlines())
        return f"\n\n.. math::\n\n{lines}\n\n"
    if match["math"]:
        return f":math:`{' '.join(match['math'].split())}`\\ "
    name = match["literal"] or match["code"]
    target = known(name) if match["code"] else None
    return f":py:obj:`{name} <{target}>`" if target else f"``{name}``"


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


@cache  # asked for with every docstring
def known_names():
    """Full names of all that the API reference documents, by what ends them."""
    found = {}
    for module in MODULES:
        found[f"batchnorm.{module}"] = f"batchnorm.{module}"
        for name, _ in members(module):
            found[f"batchnorm.{module}.{name}"] = f"batchnorm.{module}.{name}"
    return found


def resolve(name, module, found):
    """Full name of what a docstring of a module calls by a short name, or None."""
    name = name.removesuffix("()")
    for full in (name, f"{module}.{name}", f"batchnorm.{name}"):
        if full in found:
            return full
    return None


def process_docstring(app, what, name, thing, options, lines):
    """For autodoc: rewrite the lines of a docstring in place."""
    parts = name.split(".")
    module = name if what == "module" else ".".join(parts[:-1])
    if what in ("method", "property", "attribute"):
        module = ".".join(parts[:-2])
    found = known_names()
    text = to_rst("\n".join(lines), lambda short: resolve(short, module, found))
    lines[:] = [*text.split("\n"), ""]


def skip_member(app, what, name, thing, skip, options):
    """For autodoc: leave out fields of named tuples, which their class describes."""
    return True if type(thing).__name__ == "_tuplegetter" else None


def refusals():
    """Every documented refusal of the package, as Markdown tables, one a module."""
    text = []
    for module in MODULES:
        rows = [
            f"* - {{py:obj}}`{name} <batchnorm.{module}.{name}>`\n  - {said}"
            for name, said in _refusals(module)
        ]
        if rows:
            table = "\n".join(["```{list-table}", ":widths: 30 70", "", *rows, "```"])
            text += [f"### {module}", table]
    return "\n\n".join(text)


def _refusals(module):
    for name, thing in members(module):
        documented = {name: thing}
        if inspect.isclass(thing):
            methods = inspect.getmembers(thing, inspect.isfunction)
            documented |= {
                f"{name}.{method}": function
                for method, function in methods
                if not method.startswith("_") and method in vars(thing)
            }
        for full, part in documented.items():
            said = raised(part.__doc__ or "")
            if said:
                yield full, said


def raised(docstring):
    """What a docstring says after "Raises", as one line, or None."""
    match = re.search(
        r"^Raises (.+?)(?=\n\s*\n|\nSource:|\nReturns |\Z)",
        inspect.cleandoc(docstring),
        re.DOTALL | re.MULTILINE,
    )
    return " ".join(match[1].split()) if match else None


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
    for full in sorted(known_names(), key=str.lower):
        module, _, name = full.removeprefix("batchnorm.").rpartition(".")
        if not module or module == "figures":  # what draws is in every section
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

GENERATED = {
    ("back/api", "% refusals"): refusals,
}


def read_page(app, docname, source):
    """Put the generated parts of a page where their comments stand."""
    if docname not in {page for page, _ in GENERATED} | {"back/subjects"}:
        return
    for (page, mark), generate in GENERATED.items():
        if page == docname:
            source[0] = source[0].replace(f"\n{mark}\n", f"\n{generate()}\n")
    code = Path(claims.__file__).parents[1]
    for path in (ROOT / DATA_FILE, *notebooks(), *code.rglob("*.py")):
        app.env.note_dependency(str(path))


def setup(app):
    app.connect("source-read", read_page)
    app.connect("doctree-resolved", fill_index)
    app.connect("autodoc-process-docstring", process_docstring)
    app.connect("autodoc-skip-member", skip_member)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
