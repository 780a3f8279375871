"""The content security policy of a page: what it refuses, and that the page works."""

import shutil

import pytest

from booktools import check_site, site
from booktools.notebooks import ROOT
from tools import python

CONFIG = f"""
project = "A book"
extensions = [f"booktools.{{name}}" for name in ("katex", "markup", "site", "find")]
templates_path = [{str(ROOT / "_templates")!r}]
html_static_path = [{str(ROOT / "_static")!r}]
html_css_files, html_js_files = ["book.css"], ["book.js"]
html_theme, html_use_index = "basic", False
html_math_renderer, katex_prerender = "prerendered", True
katex_css_path = "katex/katex.min.css"
"""
PAGE = r"""
Normalization
=============

Text of normalization, and :math:`x`.

.. code-block:: python

   x = 1
"""


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """Folder of a small book, made with the templates of this one."""
    folder = tmp_path_factory.mktemp("book")
    (folder / "conf.py").write_text(CONFIG)
    (folder / "index.rst").write_text(PAGE)
    python("sphinx", "-q", "-b", "html", folder, folder / "html", check=True)
    return folder / "html"


@pytest.fixture(scope="module", params=["served", "from a disk"])
def root(request, book):
    """Address of the small book."""
    if request.param == "served":
        with check_site.serve(book) as origin:
            yield origin
    else:
        yield book.as_uri()


def test_every_page_has_a_policy_before_all_that_loads(book):
    pages = check_site.read(book)
    assert set(pages) == {"index.html", "search.html"}
    assert list(check_site.check_policies(pages)) == []


@pytest.mark.parametrize("name", ["index", "search"])
def test_the_page_works_and_refuses_other_hosts(browser, root, name):
    with check_site.Visit(browser, f"{root}/{name}.html") as visit:
        visit.use()
        visit.plant()
        assert visit.problems == []


def test_the_search_works(browser, root):
    assert list(check_site.search(browser, root)) == []


#: A hole in the policy, and what comes through it.
HOLES = {
    "no policy": (None, "script-src-elem"),
    "img-src 'self'": ("img-src *", "img-src"),
    "connect-src 'self'": ("connect-src https:", "connect-src"),
    "font-src 'self'": ("font-src 'self' https://example.org", "font-src"),
    "default-src 'none'": ("frame-src *; default-src 'none'", "frame-src"),
}


@pytest.mark.parametrize("right", HOLES)
def test_a_hole_in_the_policy_is_found(browser, tmp_path, right):
    wrong, kind = HOLES[right]
    policy = site.policy("")
    assert wrong is None or policy.count(right) == 1
    text = "" if wrong is None else policy.replace(right, wrong)
    meta = f'<meta http-equiv="Content-Security-Policy" content="{text}">'
    (tmp_path / "a.html").write_text(f"<!DOCTYPE html>{meta}<title>A</title><p>A")
    with check_site.Visit(browser, (tmp_path / "a.html").as_uri()) as visit:
        visit.plant()
    assert any(problem.endswith(f"pass: {kind}") for problem in visit.problems)
    if wrong:
        assert len(visit.problems) == 1


def test_a_script_that_is_not_in_a_file_does_not_run(browser, book, tmp_path):
    text = (book / "index.html").read_text(encoding="utf-8")
    planted = text.replace("</body>", "<script>window.planted = 1</script></body>")
    (book / "planted.html").write_text(planted, encoding="utf-8")
    with check_site.Visit(browser, (book / "planted.html").as_uri()) as visit:
        assert visit.page.evaluate("window.planted") is None
        assert visit.page.evaluate("document.documentElement.dataset.theme") == "auto"
    (book / "planted.html").unlink()


def test_the_report_has_a_line_for_each_page_and_names_what_is_wrong(
    book, tmp_path, capsys
):
    if check_site.find_browser() is None:
        pytest.skip(check_site.NO_BROWSER)
    html = shutil.copytree(book, tmp_path / "html")
    text = (html / "index.html").read_text(encoding="utf-8")
    wide = text.replace("</main>", '<p style="width: 3000px">Wide.</p></main>')
    (html / "wide.html").write_text(wide, encoding="utf-8")
    assert check_site.report(html) == 1
    _, *lines = capsys.readouterr().out.splitlines()
    pages = [line.split()[0] for line in lines if ": " not in line]
    assert set(pages) == set(check_site.read(html))
    assert len(pages) == 3
    faults = [line for line in lines if "scrolls sideways" in line]
    assert [line.split()[0] for line in faults] == ["wide.html:"] * 2
