"""What the site is made of, and that the check of the site can fail."""

import os
from types import SimpleNamespace

import pytest
from docutils import nodes
from PIL import Image

from booktools import check_site, site

PAGE = """<!DOCTYPE html>
<html lang="en"><head><title>A page</title>{head}</head>
<body><nav id="contents"><a href="#main">Contents</a></nav>
<main id="main"><h1>A page</h1><p>Text to read.</p>{body}</main></body></html>
"""


@pytest.fixture
def drawing(tmp_path):
    """A drawing on white, two pixels for each one shown."""
    path = tmp_path / "drawing.png"
    image = Image.new("RGB", (1400, 600), "white")
    image.paste("#0072B2", (100, 100, 300, 200))
    image.save(path)
    return path


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


def test_links_of_a_known_repository(monkeypatch):
    monkeypatch.setenv("BOOK_REPOSITORY", "https://github.com/someone/book/")
    monkeypatch.setenv("BOOK_BRANCH", "next")
    found = {label: address for label, address, _ in site.links("c/a.ipynb", "x")}
    assert found["Edit"] == "https://github.com/someone/book/edit/next/c/a.ipynb"
    assert found["Run on Binder"].endswith(
        "gh/someone/book/next?urlpath=lab/tree/c/a.ipynb"
    )
    monkeypatch.setenv("BOOK_REPOSITORY", "https://git.example/someone/book")
    assert "Run on Binder" not in {label for label, *_ in site.links("c/a.ipynb", "x")}


def test_number_of_an_equation_is_the_link_to_it():
    body = (
        '<span class="eqno">(1.2)<a class="headerlink" href="#equation-a" '
        'title="Permalink to this equation">#</a></span>'
    )
    assert site.number_links(body) == '<a class="eqno" href="#equation-a">(1.2)</a>'


def test_images_get_their_size_and_all_but_the_first_load_late(drawing):
    body = '<img alt="a" src="x/drawing.png" style="width: 350px; height: 9px;" />' * 2
    first, second = site.size_images(body, lambda _: drawing).split("<img")[1:]
    assert 'width="350" height="150"' in first
    assert "style" not in first
    assert "lazy" not in first
    assert 'loading="lazy"' in second


def test_image_without_a_width_is_shown_at_half_its_pixels(drawing):
    sized = site.size_images('<img alt="a" src="drawing.png">', lambda _: drawing)
    assert 'width="700" height="300"' in sized


def test_drawing_is_inverted_in_the_dark_unless_its_text_names_a_shade(drawing):
    def kind(html):
        sized = site.size_images(html, lambda _: drawing)
        return "drawing" if 'class="drawing"' in sized else "picture"

    image = '<img alt="{}" src="drawing.png">'
    caption = "<figcaption><p>{}</p></figcaption></figure>"
    assert kind(image.format("Two blue lines.")) == "drawing"
    assert kind(image.format("A black line.")) == "picture"
    assert kind(image.format("A line.") + caption.format("The gray band")) == "picture"
    assert kind(image.format("A line.") + "<p>white noise</p>") == "drawing"


def test_photograph_is_not_inverted(tmp_path):
    path = tmp_path / "dark.png"
    Image.new("L", (100, 100), 30).save(path)
    assert not site.is_drawing(path)


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


def test_links_that_lead_nowhere_are_found(tmp_path):
    links = (
        '<a href="b.html">x</a><a href="b.html#no">x</a><a href="c.html">x</a>'
        '<a href="https://example.org/">x</a><a href="#main">x</a>'
    )
    (tmp_path / "a.html").write_text(PAGE.format(head="", body=links))
    (tmp_path / "b.html").write_text(PAGE.format(head="", body=""))
    found = list(check_site.check_links(tmp_path, check_site.read(tmp_path)))
    assert found == [
        ("a.html", "link to b.html#no, an anchor that is not there"),
        ("a.html", "link to c.html, which is not there"),
    ]


@pytest.mark.parametrize(
    ("attributes", "fault"),
    [
        ('width="2" height="2"', "alternative text"),
        ('alt=" " width="2" height="2"', "alternative text"),
        ('alt="a" width="2"', "width and height"),
    ],
)
def test_images_without_text_or_size_are_found(tmp_path, attributes, fault):
    image = f'<img src="drawing.png" {attributes}>'
    (tmp_path / "a.html").write_text(PAGE.format(head="", body=image))
    ((name, problem),) = check_site.check_images(tmp_path, check_site.read(tmp_path))
    assert name == "a.html"
    assert fault in problem


def test_heavy_image_is_found(tmp_path):
    (tmp_path / "big.png").write_bytes(os.urandom(61 * 1024))
    image = '<img src="big.png" alt="a" width="2" height="2">'
    (tmp_path / "a.html").write_text(PAGE.format(head="", body=image))
    ((_, problem),) = check_site.check_images(tmp_path, check_site.read(tmp_path))
    assert "61 KiB" in problem


def test_missing_browser_is_one_sentence(tmp_path, monkeypatch, capsys):
    (tmp_path / "index.html").write_text(PAGE.format(head="", body=""))
    monkeypatch.setattr(check_site, "HTML", tmp_path)
    monkeypatch.setenv("CHROMIUM", str(tmp_path / "no-such-browser"))
    assert check_site.main() == 1
    assert capsys.readouterr().err.strip() == check_site.NO_BROWSER


@pytest.fixture(scope="module")
def browser():
    executable = check_site.find_browser()
    if executable is None:
        pytest.skip(check_site.NO_BROWSER)
    with check_site.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=check_site.FLAGS
        )
        yield browser
        browser.close()


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
    "wide": ("", '<div style="width: 3000px">x</div>', "scrolls sideways"),
}


@pytest.mark.parametrize("name", ["none", *PLANTED])
def test_browser_sees_what_was_planted(browser, tmp_path, drawing, name):
    head, body, fault = PLANTED.get(name, ("", "", None))
    (tmp_path / "a.html").write_text(
        PAGE.format(head='<link rel="icon" href="data:,">' + head, body=body)
    )
    size = {"width": 390, "height": 900}
    with (
        check_site.serve(tmp_path) as origin,
        check_site.Visit(browser, f"{origin}/a.html", viewport=size) as visit,
    ):
        visit.check()
    if fault is None:
        assert visit.problems == []
    else:
        assert any(fault in problem for problem in visit.problems), visit.problems


def test_page_keeps_only_the_files_that_it_uses():
    files = [
        SimpleNamespace(filename=f"_static/{n}") for n in ("book.css", "basic.css")
    ]
    context = {
        "body": "<p>no mathematics</p>",
        "css_files": files,
        "script_files": [SimpleNamespace(filename="_static/doctools.js")],
    }
    app = SimpleNamespace(builder=SimpleNamespace(images={}), srcdir="")
    site.page(app, "search", "search.html", context, None)
    assert context["css_files"] == files[:1]
    assert context["script_files"] == []
    assert not any("KaTeX" in font for font in context["fonts"])


def test_plain_tokens_of_code_lose_their_element_and_keywords_keep_theirs():
    code = '<span class="k">for</span> <span class="n">x</span><span class="p">(</span>'
    context = {"body": f"<pre>{code}</pre>", "css_files": [], "script_files": []}
    app = SimpleNamespace(builder=SimpleNamespace(images={}), srcdir="")
    site.page(app, "search", "search.html", context, None)
    assert context["body"] == '<pre tabindex="0"><span class="k">for</span> x(</pre>'


def test_punctuation_stays_with_its_formula():
    long = nodes.math("", r"\hat x = (x - \mu) / \sigma")
    parts = [
        "of (",
        nodes.math("", "x"),
        "), ",
        nodes.math("", "y"),
        " and ",
        long,
        ".",
    ]
    parts = [nodes.Text(part) if isinstance(part, str) else part for part in parts]
    paragraph = nodes.paragraph("", "", *parts)
    site.join(None, paragraph, "page")
    assert paragraph.astext() == r"of (x), y and \hat x = (x - \mu) / \sigma."
    (joined,) = paragraph.findall(nodes.inline)
    assert joined.astext() == "(x),"
