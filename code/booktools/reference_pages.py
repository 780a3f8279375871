"""Sphinx extension: the API reference and the index at the back of the book.

The index comes from the glossary and from what chapters say; it is filled when all
pages have been read.
"""

import importlib
import inspect
import re

from docutils import nodes
from sphinx import addnodes

from booktools.kept import kept

MODULES = (
    "reference",
    "graph",
    "relatives",
    "renormalization",
    "statistics",
    "gradcheck",
    "layer",
    "parallel",
    "workers",
    "folding",
    "whitening",
    "datasets",
    "shifts",
    "mnist",
    "ensemble",
    "claims",
    "figures",
    "accuracy",
    "accuracy_relatives",
    "cost",
    "exercises",
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


def documented():
    """Every module and name that the API reference documents, by the name."""
    pairs = [(module, name) for module in MODULES for name, _ in members(module)]
    return sorted(pairs, key=lambda pair: ".".join(pair).lower())


def _documented(thing):
    written = inspect.isclass(thing) or inspect.isfunction(thing)
    return written and inspect.getdoc(thing)


def skip_member(app, what, name, thing, skip, options):
    """For autodoc: leave out fields of named tuples, which their class describes."""
    return True if type(thing).__name__ == "_tuplegetter" else None


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
    for module, name in kept("documented", documented):
        full = f"batchnorm.{module}.{name}"
        if module == "figures":  # what draws is in every section
            continue
        counts = []
        for (chapter, _), text in zip(listed, code, strict=True):
            pattern = rf"\b{re.escape(module)}\.{name}\("
            if full in imported[chapter]:
                pattern += rf"|(?<![\w.]){name}\("
            # To look for the name first takes a tenth of the time.
            counts.append(f"{name}(" in text and len(re.findall(pattern, text)))
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
    # To look for the word first takes a tenth of the time.
    return [
        (word.lower() in text.lower() and len(pattern.findall(text)))
        + terms.count(word)
        for text, terms in own
    ]


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
    number = re.search(r"/0*(\d+)", chapter)
    title = re.sub(r"[ ,]+,", ",", "".join(words)).strip(" ,")
    return f"{title} ({number[1]})" if number else title


def _is_math(node):
    return isinstance(node, nodes.math)


def setup(app):
    app.connect("doctree-resolved", fill_index)
    app.connect("autodoc-skip-member", skip_member)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
