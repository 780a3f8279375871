"""The figures as files: all of them, under their numbers, with what is said of them."""

import base64
import re
import shutil
from html.parser import HTMLParser

import pytest

from booktools import figures
from booktools.notebooks import CHAPTERS, ROOT, chapters, isolated, read


def described():
    """What the cells say: name, caption, alternative text and picture, in order."""
    for path in chapters():
        for cell in read(path).cells:
            said = cell.metadata.get("mystnb", {})
            if "figure" in said:
                (data,) = (
                    o.data for o in cell.outputs if "image/png" in o.get("data", ())
                )
                png = base64.b64decode(data["image/png"])
                words = said["figure"]["name"], said["figure"]["caption"]
                yield path, *words, said["image"]["alt"], png


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    (folder / "old.png").touch()
    figures.write(folder)
    return folder


def test_every_figure_is_a_file_with_its_number_and_its_stored_picture(folder):
    count = {}
    expected = {}
    for path, name, _, _, png in described():
        number = path.stem[:2]
        count[number] = count.get(number, 0) + 1
        file = f"{number}-{count[number]:02}-{name.removeprefix('fig-')}.png"
        expected[file] = png
    assert len(expected) > 100
    also = {f"05-{n}-wide.svg" for n in ("01-graph-forward", "02-graph-both")}
    assert {file.name for file in folder.iterdir()} == {"index.html", *also, *expected}
    for file, png in expected.items():
        assert (folder / file).read_bytes() == png


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.images, self.figures = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.images.append(dict(attributes))
        if tag == "figure":
            self.figures.append("")

    def handle_data(self, data):
        if self.figures:
            self.figures[-1] += data


def test_the_list_says_all_of_each_figure(folder):
    page = Page((folder / "index.html").read_text("utf-8"))
    license = re.search(r"CC BY 4.0\), (\S+);", (ROOT / "LICENSE").read_text("utf-8"))[
        1
    ]
    every = list(described())
    every += [row for row in every if row[1] in ("fig-graph-forward", "fig-graph-both")]
    rows = zip(page.images, page.figures, every, strict=True)
    for image, text, (path, name, caption, alt, _) in rows:
        title = re.search(r"^# (.*)$", read(path).cells[0].source, re.MULTILINE)[1]
        assert image["alt"] == alt
        assert (folder / image["src"]).is_file()
        for said in (caption, alt, name, title, "CC BY 4.0", license):
            assert said in text, (name, said)
        chapter, place = map(int, image["src"].split("-")[:2])
        assert f"Fig. {chapter}.{place} " in text
        assert f"Figure {chapter}.{place} of “{figures.BOOK}”" in text


def test_a_chapter_that_is_run_is_drawn_as_svg(tmp_path):
    path = tmp_path / "20_short.ipynb"
    shutil.copy(CHAPTERS / "template.ipynb", path)
    with isolated():
        nb = figures.drawn(path)
    (png,), (svg,) = figures.of(path, read(path)), figures.of(path, nb)
    assert png.picture.startswith(b"\x89PNG")
    assert b"<svg" in svg.picture
    assert svg.file == png.file.replace(".png", ".svg")
    assert svg.file == "20-01-template.svg"


def test_a_figure_without_a_picture_and_an_unknown_chapter_are_refused(capsys):
    nb = read(chapters()[0])
    next(c for c in nb.cells if "figure" in c.metadata.get("mystnb", {})).outputs = []
    with pytest.raises(ValueError, match="has no picture; run its notebook"):
        list(figures.of(chapters()[0], nb))
    assert figures.main(["77"]) == 1
    assert "there is no chapter 77; allowed are 00, 01" in capsys.readouterr().err
