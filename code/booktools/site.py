"""Sphinx extension: what about the site needs Python to decide.

A page is `_templates/layout.html` with `_static/book.css`; it loads what it uses
and nothing from another host. `markup` and `katex` write its text. Addresses are not
written down anywhere: where the book is published, ``BOOK_URL`` is the address of the
site and ``BOOK_REPOSITORY`` that of the repository, and only there appear the
canonical addresses, social cards and links that need them. ``BOOK_BRANCH`` is the
branch, and ``BOOK_HUB`` the address of a JupyterHub.
"""

import base64
import hashlib
import html
import io
import os
import re
from pathlib import Path
from urllib.parse import urlencode

from docutils import nodes
from PIL import Image

from booktools import explorables
from booktools.explorables import raw

#: Name of the book as one PDF below the root of the site, if there is one;
#: `booktools.build` sets it.
PDF = ""

# Fonts of every formula, of every page. They are asked for before the style sheet is
# read, formulas first: a formula moves when its font comes late, text does not.
MATH_FONTS = ("Main-Regular", "Math-Italic")
TEXT_FONTS = ("400-normal", "400-italic", "600-normal")
SHORT_FORMULA = 12  # characters of TeX
OPENING, CLOSING = re.compile(r"[(\[“‘]*$"), re.compile(r"[,.;:!?)\]’”]*")
FIGURE_BYTES = 60 * 1024
# What a page may load: what is served, or lies on the disk, beside it. Formulas have
# attributes of style, and the search asks for the pages that it quotes.
POLICY = (
    "default-src 'none'; script-src 'self' {hash}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self'; font-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'"
)


def policy(script: str) -> str:
    """Content security policy of a page, with its one script that is not a file."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return POLICY.format(hash=f"'sha256-{digest}'")


def published(app, config) -> None:
    """Take the address of the site from ``BOOK_URL``."""
    address = os.environ.get("BOOK_URL", "")
    if address:
        config.html_baseurl = config.ogp_site_url = address.rstrip("/") + "/"
        config.ogp_site_name = config.html_title
        config.ogp_enable_meta_description = False  # the layout writes it
        config.ogp_social_cards = {"image_mini": "_static/icon.png"}
        config.sitemap_url_scheme = "{link}"  # there is one language and one version
        config.sitemap_excludes = ["search.html"]


def drop_shared_names(app, doctree, docname) -> None:
    """Take away the ids that all exercises of a page share; nothing refers to them."""
    shared = {"exercise-content", "solution-content"}
    for section in doctree.findall(nodes.section):
        section["ids"] = [name for name in section["ids"] if name not in shared]


def fold(app, doctree, docname) -> None:
    """Turn each block of class ``dropdown`` into a <details>, which needs no script."""
    for block in list(doctree.findall(nodes.Element)):
        if "dropdown" not in block.get("classes", ()):
            continue
        title, *content = block.children
        for link in list(title.findall(nodes.reference)):
            link.replace_self(link.children)
        name = html.escape(" ".join(block["ids"]))
        at = block.parent.index(block)
        block.parent[at : at + 1] = [
            raw(f'<details class="fold" id="{name}"><summary>'),
            nodes.inline("", "", *title.children),
            raw("</summary>"),
            *content,
            raw("</details>"),
        ]


def join(app, doctree, docname) -> None:
    """Put a short formula and its punctuation into an element of class ``joined``.

    Browsers break a line at a formula even where they would not break it at a word. In
    such an element they do not; a long formula has to be broken somewhere.
    """
    for formula in list(doctree.findall(nodes.math)):
        if len(formula.astext()) > SHORT_FORMULA:
            continue
        parent, at = formula.parent, formula.parent.index(formula)
        near = {
            i: part for i, part in enumerate(parent) if isinstance(part, nodes.Text)
        }
        before, after = near.get(at - 1, ""), near.get(at + 1, "")
        opening, closing = OPENING.search(before)[0], CLOSING.match(after)[0]
        if opening or closing:
            around = nodes.Text(opening), formula.deepcopy(), nodes.Text(closing)
            parent[at] = nodes.inline("", "", *around, classes=["joined"])
            if closing:
                parent[at + 1] = nodes.Text(after[len(closing) :])
            if opening:
                parent[at - 1] = nodes.Text(before[: -len(opening)])


def clone(app, doctree, docname) -> None:
    """Where the repository is known, say how to clone it: with no "ADDRESS" to look up.

    The README has "ADDRESS" for it, in a block of code and in a paragraph that says
    where to find it; that paragraph goes.
    """
    address = os.environ.get("BOOK_REPOSITORY", "").rstrip("/")
    if docname != app.config.root_doc or not address:
        return
    for block in doctree.findall(nodes.literal_block):
        text = re.sub(r"(?<=git clone )ADDRESS\b", address, block.astext())
        block.rawsource, block[:] = text, [nodes.Text(text)]
    for paragraph in list(doctree.findall(nodes.paragraph)):
        if paragraph.astext().startswith("ADDRESS is "):
            paragraph.parent.remove(paragraph)


def describe(doctree: nodes.document, length: int = 160) -> str:
    """First paragraphs of the page, cut between words to at most ``length``."""
    text = ""
    for paragraph in doctree.findall(nodes.paragraph):
        text = f"{text} {' '.join(paragraph.astext().split())}".strip()
        if len(text) >= length / 2:
            break
    if len(text) <= length:
        return text
    return text[: length - 1].rsplit(" ", 1)[0].rstrip(" ,;:") + "…"


def links(source: str, download: str) -> list[tuple[str, str, bool]]:
    """Label, address and whether to download, of what can be done with a page."""
    actions = []
    notebook = source.endswith(".ipynb")
    if notebook:
        actions.append(("Download the notebook", download, True))
    repository = os.environ.get("BOOK_REPOSITORY", "").rstrip("/")
    branch = os.environ.get("BOOK_BRANCH", "main")
    if repository and source:
        if notebook:
            actions += [(*run, False) for run in hosts(repository, branch, source)]
        change = f"{repository}/edit/{branch}/{source}"
        actions.append(("Suggest a change", change, False))
        actions.append(("Report a problem", f"{repository}/issues/new", False))
    return actions


def hosts(repository: str, branch: str, source: str):
    """Yield label and address of each place where a notebook can be run.

    Binder and Colab take it from GitHub. A JupyterHub, whose address is ``BOOK_HUB``,
    takes it from anywhere with nbgitpuller.
    """
    github = repository.removeprefix("https://github.com/")
    if github != repository:
        hub = f"https://mybinder.org/v2/gh/{github}/{branch}"
        yield "Run on Binder", f"{hub}?urlpath=lab/tree/{source}"
        colab = "https://colab.research.google.com/github"
        yield "Run on Colab", f"{colab}/{github}/blob/{branch}/{source}"
    hub = os.environ.get("BOOK_HUB", "").rstrip("/")
    if hub:
        folder = repository.rpartition("/")[2]
        query = {"repo": repository, "branch": branch}
        query["urlpath"] = f"lab/tree/{folder}/{source}"
        yield (
            "Run on JupyterHub",
            f"{hub}/hub/user-redirect/git-pull?{urlencode(query)}",
        )


def citation(config, pagename: str, title: str) -> str:
    """BibTeX of a chapter, or of the book for its first page."""
    book, fields = config.html_title, {"author": f"{{{config.author}}}"}
    if pagename == config.root_doc:
        key, kind, fields["title"] = "batch-normalization", "book", book
    else:
        key = f"batch-normalization-{pagename.rpartition('/')[2].partition('_')[0]}"
        kind, fields["title"], fields["booktitle"] = "incollection", title, book
    fields["year"] = config.copyright
    if config.html_baseurl:
        fields["url"] = f"{config.html_baseurl}{pagename}.html"
    lines = [f"  {name} = {{{text}}}" for name, text in fields.items()]
    return f"@{kind}{{{key},\n" + ",\n".join(lines) + "\n}"


def use(context, doctree) -> None:
    """Leave on a page the style sheets, scripts and fonts that it uses."""
    used = {"_static/book.css", "_static/book.js"}
    faces = TEXT_FONTS if doctree is not None else TEXT_FONTS[:1] + TEXT_FONTS[2:]
    context["fonts"] = [f"fonts/source-serif-4-latin-{f}.woff2" for f in faces]
    if doctree is not None and any(doctree.findall(_is_formula)):
        used.add("_static/katex/katex.min.css")
        context["fonts"][:0] = [f"katex/fonts/KaTeX_{f}.woff2" for f in MATH_FONTS]
    if doctree is not None and any(doctree.findall(_is_design)):
        used.add("_static/sphinx-design.min.css")
    used |= explorables.files(doctree)
    for kind in ("css_files", "script_files"):
        files = {str(file.filename): file for file in context[kind]}
        context[kind] = [file for name, file in files.items() if name in used]


def _is_formula(node) -> bool:
    return isinstance(node, (nodes.math, nodes.math_block))


def _is_design(node) -> bool:
    """Whether a node is one of sphinx-design's: a card, a tab, a grid."""
    classes = node.get("classes", ()) if isinstance(node, nodes.Element) else ()
    return any(name.startswith("sd-") for name in classes)


def page(app, pagename, templatename, context, doctree) -> None:
    """Give the layout what it shows of a page."""
    use(context, doctree)
    context["policy"] = policy
    if doctree is None:
        return
    source = context["sourcename"]
    download = context["pathto"](f"_sources/{source}", 1)
    if pagename == app.config.root_doc:
        source = "README.md"
    context["description"] = describe(doctree)
    context["actions"] = links(source, download)
    if pagename == app.config.root_doc and PDF:
        context["actions"].insert(0, ("The book as a PDF", PDF, True))
    if pagename == app.config.root_doc or pagename.startswith("chapters/"):
        title = " ".join(app.env.titles[pagename].astext().split())
        context["citation"] = citation(app.config, pagename, title)
    several = app.env.toc_num_entries[pagename] > 2
    context["local_toc"] = context["toc"] if several else ""


def shrink(path: Path, limit: int = FIGURE_BYTES) -> None:
    """Store a PNG with as many colors as fit ``limit`` bytes, 256 at most.

    A figure is flat areas and smoothed edges: it looks the same with 64 colors. The
    method is the one that keeps flat areas flat, and white white.
    """
    with Image.open(path) as image:
        if image.mode == "P" and path.stat().st_size <= limit:
            return  # by an earlier build
        picture = image.convert("RGB")
    for colors in (256, 128, 64, 32):
        packed = io.BytesIO()
        few = picture.quantize(
            colors, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
        )
        few.save(packed, "PNG", optimize=True)
        if packed.tell() <= limit:
            break
    if packed.tell() < path.stat().st_size:
        path.write_bytes(packed.getvalue())


def shrink_all(app, exception) -> None:
    if exception is None:
        for path in Path(app.outdir, "_images").glob("*.png"):
            shrink(path)


def setup(app):
    if os.environ.get("BOOK_URL"):
        app.setup_extension("sphinx_sitemap")
        app.setup_extension("sphinxext.opengraph")
    app.connect("config-inited", published)
    app.connect("doctree-resolved", drop_shared_names)
    app.connect("doctree-resolved", clone)
    app.connect("doctree-resolved", fold)
    app.connect("doctree-resolved", join)
    app.connect("html-page-context", page, priority=900)
    app.connect("build-finished", shrink_all)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
