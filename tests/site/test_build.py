"""A build after the first makes the site that a build from nothing makes."""

import os
import re
import shutil

import pytest

from booktools import build
from tools import python, write_settings

INDEX = """# A book

It begins with {ref}`ch-one`.
"""
ONE = """(ch-one)=
# Chapter one

A word, as {ref}`the second chapter <ch-two>` says in {eq}`eq-second`.

$$ a = b $$ (eq-first)

## A section of one

{ref}`sec-two` explains it.
"""
TWO = """(ch-two)=
# Chapter two

$$ c = d $$ (eq-second)

(sec-two)=
## A section of two

Text. By {eq}`eq-first` it is so.
"""
TOC = """format: jb-book
root: index
parts:
  - caption: All
    numbered: true
    chapters: [{file: chapters/one}, {file: chapters/two}]
"""
#: What an author changes in chapter one: before and after.
EDITS = {
    "a sentence": [("A word,", "Another word,")],
    "what others show": [
        ("# Chapter one", "# The first"),
        ("## A section", "## New\n\nText.\n\n## A section"),
        ("A word", "$$ x = y $$ (eq-new)\n\nA word"),
    ],
}


def make(root, *options):
    """Build as the recipe does; return the exit status and what was said."""
    done = python("booktools.build", *options, cwd=root)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A book of two chapters with our settings, built once."""
    root = tmp_path_factory.mktemp("book")
    write_settings(root, TOC)
    (root / "chapters").mkdir()
    pages = {"index": INDEX, "chapters/one": ONE, "chapters/two": TWO}
    for name, text in pages.items():
        (root / f"{name}.md").write_text(text)
    status, said = make(root)
    assert status == 0, said
    return root


@pytest.fixture
def book(first, tmp_path):
    """The same, to change; its path stays, because pages know it."""
    shutil.copytree(first, tmp_path / "kept", copy_function=shutil.copy2)
    yield first
    shutil.rmtree(first)
    shutil.copytree(tmp_path / "kept", first, copy_function=shutil.copy2)


def tree(folder):
    """Content of each file of a site."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def edit(book, before, after):
    """Change chapter one, and give it an old date, as a copied file may have."""
    page = book / "chapters" / "one.md"
    text = page.read_text("utf-8")
    assert before in text
    page.write_text(text.replace(before, after, 1), "utf-8")
    os.utime(page, (1e9, 1e9))


@pytest.mark.parametrize("name", EDITS)
def test_after_an_edit_the_site_is_the_one_from_nothing(book, name):
    for before, after in EDITS[name]:
        edit(book, before, after)
    status, said = make(book)
    assert (status, "built pages" in said) == (0, True), said
    again = tree(book / "_build" / "html")
    assert make(book, "--anew")[0] == 0
    anew = tree(book / "_build" / "html")
    assert sorted(again) == sorted(anew)
    assert [name for name in anew if again[name] != anew[name]] == []


def test_nothing_is_done_if_nothing_has_changed(book, capsys, monkeypatch):
    monkeypatch.setattr(build, "run_sphinx", None)
    assert build.build(book, book / "_build") == 0
    assert "nothing has changed" in capsys.readouterr().out


def test_a_style_that_changes_is_known_to_all_pages(book):
    page = book / "_build" / "html" / "chapters" / "two.html"
    before = re.findall(r"book\.css\?v=\w+", page.read_text("utf-8"))
    with (book / "_static" / "book.css").open("a") as style:
        style.write("/* more */\n")
    assert make(book)[0] == 0
    after = re.findall(r"book\.css\?v=\w+", page.read_text("utf-8"))
    assert len(before) == len(after) == 1
    assert before != after


def test_a_warning_takes_the_site_away_until_it_is_mended(book):
    edit(book, "ch-two", "ch-none")
    status, said = make(book)
    assert (status, "ch-none" in said) == (1, True)
    assert not (book / "_build" / "html").exists()
    # Once more: Sphinx would not warn of a page that it does not read again.
    assert make(book)[0] == 1
    edit(book, "ch-none", "ch-two")
    assert make(book)[0] == 0
    assert (book / "_build" / "html" / "index.html").is_file()


@pytest.mark.parametrize(
    ("changed", "todo"),
    [
        ({}, "nothing"),
        ({"chapters/one.md": "b"}, "pages"),
        ({"_static/book.css": "b"}, "style"),
        ({"_static/book.css": "b", "chapters/one.md": "b"}, "style"),
        ({"chapters/new.md": "b"}, "everything"),
        ({"chapters/one.md": None}, "everything"),
        ({"code/batchnorm/layer.py": "b"}, "everything"),
        ({"_toc.yml": "b"}, "everything"),
        ({"$BOOK_URL": "b"}, "everything"),
    ],
)
def test_what_has_to_be_done(changed, todo):
    names = ("chapters/one.md", "_static/book.css", "_toc.yml", "$BOOK_URL")
    before = dict.fromkeys((*names, "code/batchnorm/layer.py"), "a")
    now = {k: v for k, v in {**before, **changed}.items() if v is not None}
    assert build.plan(before, now) == todo
    assert build.plan({}, now) == "everything"
