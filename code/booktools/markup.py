"""Sphinx extension: how images, tables, sources and code are written as HTML."""

import re
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from docutils import nodes
from PIL import Image
from pygments import token
from pygments.formatters import HtmlFormatter
from sphinx.highlighting import PygmentsBridge
from sphinx.writers.html5 import HTML5Translator

# Color words for which an inverted figure would make its text untrue; gray stays gray.
NAMED_SHADE = re.compile(r"\b(black|white|dark|darker|light|lighter|pale)\b")
# Tokens of code that have no color of their own, most of them: without an element for
# each, a phone lays the page out in half the time.
PLAIN = {
    token.Name,
    token.Name.Builtin,
    token.Name.Builtin.Pseudo,
    token.Name.Namespace,
    token.Name.Variable.Magic,
    token.Operator,
    token.Punctuation,
    token.String.Interpol,
    token.Whitespace,
}


class Translator(HTML5Translator):
    """Writes a page; what may scroll can be reached from the keyboard."""

    def __init__(self, *args):
        super().__init__(*args)
        self._images = 0

    def visit_section(self, node):
        """Write a section with its length, as it is laid out when it comes near.

        Until then it is given the height of so many lines. Were that too little, its
        end would lie under the next section.
        """
        super().visit_section(node)
        if self.section_level == 2:
            style = f'<section style="--lines: {lines(node)}"'
            self.body[-1] = self.body[-1].replace("<section", style, 1)

    def visit_image(self, node):
        """Write an image with its size, so that nothing moves when it arrives.

        The file holds two pixels for each one shown, unless a width is given. All but
        the first on a page load when they are near.
        """
        if node["uri"] not in self.builder.images:
            return super().visit_image(node)
        self._images += 1
        path = Path(self.builder.srcdir, node["uri"])
        name = quote(self.builder.images[node["uri"]])
        width, height = shown_size(path, node.get("width", ""))
        inverts = is_drawing(path) and not names_shade(node)
        tag = self.emptytag(
            node,
            "img",
            "\n",
            src=str(PurePosixPath(self.builder.imgpath, name)),
            alt=node.get("alt", ""),
            CLASS="drawing" if inverts else "picture",
            width=width,
            height=height,
            decoding="async",
            **({"loading": "lazy"} if self._images > 1 else {}),
        )
        self.body.append(tag)
        return None

    def visit_table(self, node):
        self.body.append('<div class="scroll" tabindex="0">')
        super().visit_table(node)

    def depart_table(self, node):
        super().depart_table(node)
        self.body.append("</div>\n")

    def visit_entry(self, node):
        """Write a cell of a table; an empty one at the head is not the name of any."""
        at_head = isinstance(node.parent.parent, nodes.thead)
        if at_head and not node.astext().strip():
            node.parent.column += 1
            self.body.append("<td></td>\n")
            raise nodes.SkipNode
        super().visit_entry(node)

    def visit_citation(self, node):
        """Write a source as an item of the list of sources, which docutils opens."""
        if not isinstance(node.previous_sibling(), nodes.citation):
            self.body.append('<div role="list" class="citation-list">\n')
        self.body.append(
            self.starttag(node, "div", classes=["citation"], role="listitem")
        )


class Formatter(HtmlFormatter):
    """Writes code: an element only for a token with a color, and boxes in reach."""

    def format_unencoded(self, tokensource, outfile):
        tokens = ((token.Text if t in PLAIN else t, text) for t, text in tokensource)
        super().format_unencoded(tokens, outfile)

    def wrap(self, source):
        # An HTML parser takes the empty element, and not an empty first line, away.
        yield 0, '<pre tabindex="0"><span></span>'
        yield from source
        yield 0, "</pre>"


def lines(node: nodes.Element) -> int:
    """Lines, rather too many, of a section on a phone, where it is longest."""
    total, hidden = 0, 0
    for part in node.findall():
        if isinstance(part, nodes.raw):
            hidden += part.astext().startswith("<details")
            hidden -= part.astext().startswith("</details")
        elif hidden:
            continue
        elif isinstance(part, nodes.literal_block):
            total += part.astext().count("\n") + 4
        elif isinstance(part, (nodes.math_block, nodes.title)):
            total += 4
        elif isinstance(part, nodes.image):
            total += 14
        elif isinstance(part, nodes.TextElement):
            inside = isinstance(part.parent, nodes.TextElement)  # counted with it
            total += 0 if inside else len(part.astext()) // 32 + 2
    return total


def shown_size(path: Path, given: str) -> tuple[int, int]:
    """Width and height in pixels at which an image is shown.

    given: the width that its author asked for, in pixels, or "" for half its own.
    """
    with Image.open(path) as image:
        width, height = image.size
    asked = re.fullmatch(r"(\d+)(px)?", given)
    shown = int(asked[1]) if asked else width // 2
    return shown, round(shown * height / width)


def names_shade(image: nodes.image) -> bool:
    """Whether the text of an image, alternative or caption, has a word like "dark"."""
    figure = image.parent
    while figure is not None and not isinstance(figure, nodes.figure):
        figure = figure.parent
    caption = [] if figure is None else figure.findall(nodes.Text)
    words = " ".join([image.get("alt", ""), *caption])
    return bool(NAMED_SHADE.search(words.lower()))


def is_drawing(path: Path) -> bool:
    """Whether an image is a drawing on white: more than half is white or a light tint.

    A region of a strip of claims is such a tint.
    """
    with Image.open(path) as image:
        gray = image.convert("L").resize((200, 200))
    return sum(gray.histogram()[225:]) > 20_000


def setup(app):
    app.set_translator("html", Translator)
    PygmentsBridge.html_formatter = Formatter  # which Sphinx leaves open to be set
    return {"parallel_read_safe": True, "parallel_write_safe": True}
