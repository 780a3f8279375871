"""The book as one PDF: its pages in one outline, its links inside, nothing folded."""

import re

import pikepdf
import pytest

from booktools import check_site, pdf

INDEX = """<!doctype html><html lang="en"><title>A book</title>
<style>@media print { nav { display: none } }</style><body>
<nav id="contents"><a href="one.html">One</a><a href="two.html">Two</a>
<a href="back/api.html">API</a></nav><main><h1>A book</h1><p>Welcome.</p></main>"""
ONE = """<!doctype html><html lang="en"><title>One</title><body><main>
<section id="one"><h1>One</h1><p>See <a href="two.html#box">the box</a> and
<a href="back/api.html">the API</a>.</p>
<details><summary>Solution</summary><p>Folded in the browser.</p></details>
</section></main>"""
TWO = """<!doctype html><html lang="en"><title>Two</title><body><main>
<section id="two"><h1>Two</h1><p id="box">The box.</p></section></main>"""


def printed_from(browser, folder, **pages):
    """Print a site of three pages and one that is left out; return the open PDF."""
    for name, text in ({"index": INDEX, "one": ONE, "two": TWO} | pages).items():
        (folder / f"{name}.html").write_text(text)
    path = folder / "book.pdf"
    assert pdf.write(browser, folder, path) == 3
    return pikepdf.open(path)


@pytest.fixture(scope="module")
def printed(browser, tmp_path_factory):
    with printed_from(browser, tmp_path_factory.mktemp("book")) as read:
        yield read


def objects(printed, kind):
    kinds = (pikepdf.Dictionary, pikepdf.Stream)
    found = (o for o in printed.objects if isinstance(o, kinds))
    return [o for o in found if o.get("/Type") == kind]


def test_outline_has_the_pages_in_their_order(printed):
    with printed.open_outline() as outline:
        assert [item.title for item in outline.root] == ["A book", "One", "Two"]


def test_each_page_of_the_site_begins_a_page_of_paper(printed):
    assert len(printed.pages) == 3


def test_links_lead_inside_and_never_to_what_was_left_out(printed):
    links = [
        note
        for page in printed.pages
        for note in page.get("/Annots", [])
        if note.Subtype == "/Link"
    ]
    assert len(links) == 1
    assert "two--box" in str(links[0].Dest)


def test_small_objects_are_compressed(printed):
    assert objects(printed, "/ObjStm")


def test_fonts_are_embedded(printed):
    descriptors = objects(printed, "/FontDescriptor")
    assert descriptors
    assert all("/FontFile2" in o or "/FontFile3" in o for o in descriptors)


def test_details_stand_open(browser, tmp_path):
    folded = ONE.replace("Solution", "Code of a claim")
    sizes = []
    for text in (ONE, folded):  # what is left out shows that the other is printed
        with printed_from(browser, tmp_path, one=text) as read:
            sizes.append(len(read.pages[1].Contents.read_bytes()))
    assert sizes[0] > sizes[1]


def test_without_a_browser_it_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(check_site, "find_browser", lambda: None)
    with pytest.raises(SystemExit, match=re.escape(check_site.NO_BROWSER)):
        pdf.main(["--out", str(tmp_path)])
    assert list(tmp_path.iterdir()) == []
