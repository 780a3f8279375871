"""What the site is made of, and that the check of the site can fail."""

import os
import re
from contextlib import ExitStack
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest
from docutils import nodes
from myst_nb.sphinx_ import visit_HideCellInput
from PIL import Image
from pybtex.database import parse_string

from booktools import check_site, site
from booktools.notebooks import ROOT

PAGE = """<!DOCTYPE html>
<html lang="en"><head><title>A page</title>{head}</head>
<body><nav id="contents"><a href="#main">Contents</a></nav>
<main id="main"><h1>A page</h1><p>Text to read.</p>{body}</main></body></html>
"""


@pytest.fixture
def write(tmp_path):
    """Write a page, beside a drawing, and read all pages that are there."""
    Image.new("RGB", (1400, 600), "white").save(tmp_path / "drawing.png")

    def write_page(name="a", head="", body=""):
        text = PAGE.format(head=head, body=body)
        (tmp_path / f"{name}.html").write_text(text, "utf-8")
        return check_site.read(tmp_path)

    return write_page


@pytest.fixture
def visit(browser, tmp_path, write):
    """Open a page with this head and body, so many pixels wide."""
    with ExitStack() as stack:

        def open_page(head, body, width):
            write(head=f'<link rel="icon" href="data:,">{head}', body=body)
            address = stack.enter_context(check_site.serve(tmp_path)) + "/a.html"
            size = {"width": width, "height": 900}
            opened = check_site.Visit(browser, address, viewport=size)
            return stack.enter_context(opened)

        yield open_page


def document(*paragraphs):
    return nodes.section("", *(nodes.paragraph(text, text) for text in paragraphs))


def test_description_is_the_first_paragraph_in_full_when_it_is_short():
    text = "One paragraph that is long enough to describe the page, and not too long."
    assert len(text) < 160
    assert site.describe(document(text + "\nAnd more.")) == text + " And more."


def test_description_is_cut_between_words():
    text = site.describe(document("normalization " * 40))
    assert len(text) <= 160
    assert text.endswith("normalization…")


def test_links_without_a_repository_only_download(monkeypatch):
    monkeypatch.delenv("BOOK_REPOSITORY", raising=False)
    assert site.links("chapters/a.ipynb", "a.ipynb") == [
        ("Download the notebook", "a.ipynb", True)
    ]
    assert site.links("README.md", "README.md") == []


@pytest.mark.parametrize("pdf", ["", "book.pdf"])
@pytest.mark.parametrize("name", ["index", "back/notation"])
def test_the_first_page_offers_the_book_as_a_pdf_if_there_is_one(
    name, pdf, monkeypatch
):
    monkeypatch.setattr(site, "PDF", pdf)
    monkeypatch.delenv("BOOK_REPOSITORY", raising=False)
    fields = ("html_title", "author", "copyright", "html_baseurl")
    config = SimpleNamespace(root_doc="index", **dict.fromkeys(fields, ""))
    titles = {name: document("Book")}
    env = SimpleNamespace(titles=titles, toc_num_entries={name: 1})
    context = {"css_files": [], "script_files": [], "sourcename": "a.md"}
    context["pathto"] = lambda *_: "a.md"
    app = SimpleNamespace(config=config, env=env)
    site.page(app, name, "page.html", context, document("Text."))
    offered = [("The book as a PDF", pdf, True)]
    there = pdf and name == "index"
    assert context["actions"] == (offered if there else [])


def test_links_of_a_known_repository(monkeypatch):
    monkeypatch.setenv("BOOK_REPOSITORY", "https://github.com/someone/book/")
    monkeypatch.setenv("BOOK_BRANCH", "next")
    found = {label: address for label, address, _ in site.links("c/a.ipynb", "x")}
    assert found["Suggest a change"] == (
        "https://github.com/someone/book/edit/next/c/a.ipynb"
    )
    assert found["Run on Binder"].endswith(
        "gh/someone/book/next?urlpath=lab/tree/c/a.ipynb"
    )
    assert found["Run on Colab"].endswith("/github/someone/book/blob/next/c/a.ipynb")
    assert "Run on JupyterHub" not in found
    monkeypatch.setenv("BOOK_REPOSITORY", "https://git.example/someone/book")
    monkeypatch.setenv("BOOK_HUB", "https://hub.example/")
    found = {label: address for label, address, _ in site.links("c/a.ipynb", "x")}
    assert "Run on Binder" not in found
    assert "Run on Colab" not in found
    hub = urlsplit(found["Run on JupyterHub"])
    assert hub.netloc == "hub.example"
    assert parse_qs(hub.query) == {
        "repo": ["https://git.example/someone/book"],
        "branch": ["next"],
        "urlpath": ["lab/tree/book/c/a.ipynb"],
    }
    pages = {label for label, *_ in site.links("back/notation.md", "x")}
    assert pages == {"Suggest a change", "Report a problem"}


@pytest.mark.parametrize("address", ["", "https://git.example/someone/book"])
def test_first_page_says_how_to_clone_the_book(monkeypatch, address):
    monkeypatch.setenv("BOOK_REPOSITORY", address and f"{address}/")
    readme = (ROOT / "README.md").read_text("utf-8")
    section = readme.partition("## On your machine")[2]
    lines = re.search(r"```sh\n(.*?)\n```", section, re.DOTALL)[1]
    assert lines.startswith("git clone ADDRESS book\ncd book\nmake book")
    (said,) = (p for p in section.split("\n\n") if p.startswith("`ADDRESS` is "))
    said = said.replace("`", "")
    block = nodes.literal_block(lines, lines)
    page = nodes.section("", block, nodes.paragraph(said, said))
    app = SimpleNamespace(config=SimpleNamespace(root_doc="index"))
    site.clone(app, page, "index")
    # Sphinx highlights a block only if its source is its text.
    assert block.rawsource == block.astext()
    assert page.astext().count("ADDRESS") == (0 if address else 2)
    assert block.astext() == lines.replace("ADDRESS", address or "ADDRESS")
    site.clone(app, other := nodes.section("", nodes.paragraph("", "ADDRESS is")), "a")
    assert other.astext()


def test_a_chapter_and_the_book_say_how_to_cite_them():
    config = SimpleNamespace(
        html_title="The Book",
        author="Someone",
        copyright="2026",
        root_doc="index",
        html_baseurl="https://book.example/",
    )
    text = site.citation(config, "chapters/05_graph", "Node by node")
    parsed = parse_string(text, "bibtex").entries["batch-normalization-05"]
    assert parsed.type == "incollection"
    assert parsed.fields["title"] == "Node by node"
    assert parsed.fields["booktitle"] == "The Book"
    assert parsed.fields["url"] == "https://book.example/chapters/05_graph.html"
    config.html_baseurl = ""
    book = parse_string(site.citation(config, "index", "x"), "bibtex")
    assert book.entries["batch-normalization"].fields == {
        "title": "The Book",
        "year": "2026",
    }


def test_images_shrink_below_the_limit_and_keep_their_size(tmp_path):
    path = tmp_path / "noise.png"
    Image.effect_noise((300, 300), 60).convert("RGB").save(path)
    before = path.stat().st_size
    site.shrink(path, limit=60_000)
    assert path.stat().st_size <= 60_000 < before
    with Image.open(path) as image:
        assert image.size == (300, 300)


def test_dropdown_becomes_details_with_its_title_as_summary():
    title = nodes.title("", "", nodes.reference("", "Solution", refuri="#x"))
    block = nodes.admonition("", title, nodes.paragraph("", "Text"), ids=["s"])
    block["classes"] = ["dropdown"]
    doctree = nodes.section("", block)
    site.fold(None, doctree, "page")
    markup = [n.astext() for n in doctree.children]
    assert markup == [
        '<details class="fold" id="s"><summary>',
        "Solution",
        "</summary>",
        "Text",
        "</details>",
    ]
    assert not list(doctree.findall(nodes.reference))


def test_links_that_lead_nowhere_are_found(tmp_path, write):
    links = (
        '<a href="b.html">x</a><a href="b.html#no">x</a><a href="c.html">x</a>'
        '<a href="https://example.org/">x</a><a href="#main">x</a>'
        '<a href="#main?m=2">x</a>'
    )
    write("b")
    found = list(check_site.check_links(tmp_path, write("a", body=links)))
    assert found == [
        ("a.html", "link to b.html#no, an anchor that is not there"),
        ("a.html", "link to c.html, which is not there"),
    ]


def test_what_loads_before_a_policy_is_found(write):
    policy = f'<meta http-equiv="Content-Security-Policy" content="{site.policy("")}">'
    script, style = "<script></script>", "<style></style>"
    heads = {"a": "", "b": script + policy, "c": style + policy, "d": policy + script}
    for name, head in heads.items():
        pages = write(name, head)
    found = list(check_site.check_policies(pages))
    assert [(name, words.split()[0]) for name, words in found] == [
        ("a.html", "page"),
        ("b.html", "script"),
        ("c.html", "style"),
    ]


@pytest.mark.parametrize(
    ("attributes", "fault"),
    [
        ('width="2" height="2"', "alternative text"),
        ('alt=" " width="2" height="2"', "alternative text"),
        ('alt="a" width="2"', "width and height"),
    ],
)
def test_images_without_text_or_size_are_found(tmp_path, write, attributes, fault):
    pages = write(body=f'<img src="drawing.png" {attributes}>')
    ((name, problem),) = check_site.check_images(tmp_path, pages)
    assert name == "a.html"
    assert fault in problem


def test_heavy_image_is_found(tmp_path, write):
    (tmp_path / "big.png").write_bytes(os.urandom(61 * 1024))
    pages = write(body='<img src="big.png" alt="a" width="2" height="2">')
    ((_, problem),) = check_site.check_images(tmp_path, pages)
    assert "61 KiB" in problem


def test_missing_browser_is_one_sentence(tmp_path, write, monkeypatch):
    write("index")
    monkeypatch.setattr(check_site, "HTML", tmp_path)
    monkeypatch.setenv("CHROMIUM", str(tmp_path / "no-such-browser"))
    with pytest.raises(SystemExit) as end:
        check_site.main()
    assert end.value.code == check_site.NO_BROWSER


PLANTED = {
    "script": ('<script src="https://example.org/x.js"></script>', "", "another host"),
    "error": ("<script>nothing.here()</script>", "", "script error"),
    "missing": ('<link rel="stylesheet" href="no.css">', "", "status 404"),
    "contrast": ("<style>p { color: #bbb }</style>", "", "color-contrast light"),
    "dark": (
        "<style>@media (prefers-color-scheme: dark) { p { color: #bbb } }</style>",
        "",
        "color-contrast dark",
    ),
    "contrast, first of its color unseen": (
        "<style>i { color: #bbb; display: block }</style>",
        '<i hidden>No.</i><i style="position: fixed; top: -9rem">No.</i><i>Yes.</i>',
        "color-contrast light",
    ),
    "alt": ("", '<img src="drawing.png">', "image-alt"),
    "explorable": ("", '<div data-explorable="gears">Dead.</div>', "gears does not"),
    "wide": ("", '<div style="width: 3000px">x</div>', "scrolls sideways"),
    "targets": (
        "",
        '<p style="line-height: 1"><a href="#a">1</a><br><a href="#b">2</a></p>',
        "target-size",
    ),
    "theme": ("", '<button class="theme">Dark</button>', "theme switch does nothing"),
    "copy": ("", '<button class="copy">Copy</button>', "copy button does nothing"),
    "formula that does not show that it goes on": (
        "<style>.katex-display { display: block; overflow: auto; width: 9rem }</style>",
        '<span class="katex-display" tabindex="0">a=bbbbbbbbbbbbbbbbbbbbbbbbbbb</span>',
        "does not show that it goes on, formula",
    ),
}
CUT = {
    "formula": '<span class="katex-display">a=bbbbbbbbbbbbbbbbbbbbbbbbbbb</span>',
    "code": "<pre>a = bbbbbbbbbbbbbbbbbbbbbbbbbbb</pre>",
}


@pytest.mark.parametrize("what", CUT)
def test_what_is_cut_off_on_a_wide_page_is_found(visit, what):
    style = "<style>.katex-display, pre { display: block; overflow: auto; width: 9rem }"
    opened = visit(f"{style}</style>", CUT[what], 1280)
    opened.check()
    assert any(f"cut off, {what} of" in problem for problem in opened.problems)


@pytest.mark.parametrize("name", ["none", *PLANTED])
def test_browser_sees_what_was_planted(visit, name):
    head, body, fault = PLANTED.get(name, ("", "", None))
    opened = visit(head, body, 390)
    opened.explore()
    opened.use()
    opened.check()
    if fault is None:
        assert opened.problems == []
    else:
        assert any(fault in problem for problem in opened.problems), opened.problems


@pytest.mark.parametrize("style", ["", (ROOT / "_static" / "book.css").read_text()])
def test_a_folded_cell_shows_one_of_its_labels(visit, style):
    node = {"classes": [], "prompt_show": "Show it", "prompt_hide": "Hide it"}
    visit_HideCellInput(builder := SimpleNamespace(body=[]), node)
    cell = "".join(['<div class="cell">', *builder.body, "The code.</details></div>"])
    page = visit(f"<style>{style}</style>", cell, 1280).page

    def labels():
        found = page.locator("summary p").all()
        return [label.inner_text() for label in found if label.is_visible()]

    closed = labels()
    page.locator("details").evaluate("cell => { cell.open = true }")
    seen = [closed, labels()]
    both = ["Show it", "Hide it"]
    assert seen == ([["Show it"], ["Hide it"]] if style else [both, both])


def test_page_keeps_only_the_files_that_it_uses():
    names = ("book.css", "basic.css", "doctools.js")
    *files, script = [SimpleNamespace(filename=f"_static/{name}") for name in names]
    context = {"css_files": files, "script_files": [script]}
    site.use(context, None)
    assert context["css_files"] == files[:1]
    assert context["script_files"] == []
    assert not any("KaTeX" in font for font in context["fonts"])
    assert not any("italic" in font for font in context["fonts"])  # search has none


def test_page_with_a_formula_or_a_card_gets_what_they_need():
    katex, design = "_static/katex/katex.min.css", "_static/sphinx-design.min.css"
    formula = nodes.section("", nodes.paragraph("", "", nodes.math("", "x")))
    card = nodes.section("", nodes.container("", classes=["sd-card"]))
    for doctree, needed in [(formula, katex), (card, design)]:
        files = [SimpleNamespace(filename=name) for name in (katex, design)]
        context = {"css_files": files, "script_files": []}
        site.use(context, doctree)
        assert [file.filename for file in context["css_files"]] == [needed]


def test_punctuation_stays_with_its_formula():
    long = nodes.math("", r"\hat x = (x - \mu) / \sigma")
    x, y = nodes.math("", "x"), nodes.math("", "y")
    parts = ["of (", x, "), ", y, " and ", long, "."]
    parts = [nodes.Text(part) if isinstance(part, str) else part for part in parts]
    paragraph = nodes.paragraph("", "", *parts)
    site.join(None, paragraph, "page")
    assert paragraph.astext() == r"of (x), y and \hat x = (x - \mu) / \sigma."
    (joined,) = paragraph.findall(nodes.inline)
    assert joined.astext() == "(x),"
