"""Each figure of the chapters as a file, for slides.

``python -m booktools.figures`` writes the stored pictures into ``_build/figures``,
named by number and label. Beside them ``index.html`` says of each its number and
caption, the text for those who do not see it, its chapter and its license. ``--svg``
runs the chapters and draws them as SVG, which takes minutes; ``--svg 05 06`` runs two.
The graph of chapter 5 is written in a wide form as well.
"""

import argparse
import base64
import dataclasses
import html
import io
import re
import shutil
import sys
import warnings

import matplotlib.pyplot as plt
import nbformat

from batchnorm import graph
from batchnorm.exercises.mistakes.graph import passes
from batchnorm.figures import computational_graph, use_style
from booktools.notebooks import ROOT, chapters, isolated, read, run

FIGURES = ROOT / "_build" / "figures"
BOOK = "Batch Normalization, Derived and Measured"
LICENSE = "CC BY 4.0, https://creativecommons.org/licenses/by/4.0/"

#: The figures that are drawn in a wide form too, and whether as a worksheet.
WIDE = {"graph-forward": True, "graph-both": False}

# Chapters choose their format by `figures.use_style`, so this is in force before.
SVG = """\
from matplotlib_inline import backend_inline

_choose = backend_inline.set_matplotlib_formats
backend_inline.set_matplotlib_formats = lambda *_, **how: _choose("svg", **how)
"""


@dataclasses.dataclass(frozen=True)
class Figure:
    """A figure of a chapter, as its cell describes it.

    Parameters
    ----------
    chapter, place : int
        The chapter's number, and which of its figures it is, from 1 on.
    title : str
        The chapter's.
    name, caption, alt : str
        Its label without "fig-", and what its cell says.
    picture : bytes
        PNG or SVG.
    """

    chapter: int
    place: int
    title: str
    name: str
    caption: str
    alt: str
    picture: bytes

    @property
    def number(self):
        """As the site counts, such as 5.1."""
        return f"{self.chapter}.{self.place}"

    @property
    def file(self):
        """The name of its file; files stand in the order of the book."""
        kind = "png" if self.picture.startswith(b"\x89PNG") else "svg"
        return f"{self.chapter:02}-{self.place:02}-{self.name}.{kind}"


def of(path, nb=None):
    """The figures of a chapter, in order.

    Parameters
    ----------
    path : Path
        Its notebook, named by the chapter's number.
    nb : NotebookNode, optional
        The notebook with other outputs than the stored ones.

    Yields
    ------
    Figure
    """
    nb = read(path) if nb is None else nb
    title = re.search(r"^# (.*)$", nb.cells[0].source, re.MULTILINE)[1]
    cells = [cell for cell in nb.cells if "figure" in cell.metadata.get("mystnb", {})]
    for place, cell in enumerate(cells, start=1):
        said = cell.metadata["mystnb"]
        name = said["figure"]["name"].removeprefix("fig-")
        words = name, said["figure"]["caption"], said["image"]["alt"]
        yield Figure(int(path.stem[:2]), place, title, *words, _picture(cell))


def _picture(cell):
    data = [output.get("data", {}) for output in cell.outputs]
    for each in data:
        if "image/png" in each:
            return base64.b64decode(each["image/png"])
        if "image/svg+xml" in each:
            return each["image/svg+xml"].encode("utf-8")
    raise ValueError(f"cell {cell.id} has no picture; run its notebook")


def drawn(path):
    """The notebook, run with its figures drawn as SVG.

    Parameters
    ----------
    path : Path

    Returns
    -------
    NotebookNode
    """
    nb = read(path)
    nb.cells.insert(1, nbformat.v4.new_code_cell(SVG))
    run(nb, path.parent)
    return nb


def wide(figure):
    """A figure of the graph of chapter 5, laid out for a slide.

    Parameters
    ----------
    figure : Figure
        One of those named in `WIDE`.

    Returns
    -------
    Figure
        The same numbers, as SVG.
    """
    values, gradients = passes()
    if WIDE[figure.name]:
        gradients = graph.Gradients(gradients.d_y, *[None] * 15)
    with plt.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # there is no window in which to show it
        plt.switch_backend("svg")
        use_style()
        computational_graph(values, gradients, wide=True)
        file = io.BytesIO()
        plt.savefig(file, format="svg")
        plt.close()
    name = f"{figure.name}-wide"
    return dataclasses.replace(figure, name=name, picture=file.getvalue())


def index(figures):
    """The list of the figures, as a page.

    Parameters
    ----------
    figures : list of Figure

    Returns
    -------
    str
        HTML that refers to the files beside it.
    """
    rows = []
    for figure in figures:
        caption, alt, title = map(
            html.escape, (figure.caption, figure.alt, figure.title)
        )
        rows.append(f"""\
<figure>
<img src="{figure.file}" alt="{alt}" width="700" loading="lazy">
<figcaption><b>Fig. {figure.number}</b> {caption}
<dl><dt>File</dt><dd>{figure.file}</dd><dt>Label</dt><dd>fig-{figure.name}</dd>
<dt>Text in place of the picture</dt><dd>{alt}</dd>
<dt>To quote</dt><dd>Figure {figure.number} of “{BOOK}”, {title}. {LICENSE}</dd></dl>
</figcaption>
</figure>""")
    return (
        "<!doctype html>\n<html lang='en'><meta charset='utf-8'>\n"
        f"<title>Figures of {BOOK}</title>\n<h1>Figures of “{BOOK}”</h1>\n"
        + "\n".join(rows)
        + "\n</html>\n"
    )


def write(folder=FIGURES, paths=None, svg=False):
    """Write the figures and their list.

    Parameters
    ----------
    folder : Path
        Made anew.
    paths : list of Path, optional
        Chapters; all if none are named.
    svg : bool
        Whether the chapters are run and drawn as SVG.

    Returns
    -------
    list of Figure
    """
    figures = []
    for path in chapters() if paths is None else paths:
        figures += of(path, drawn(path) if svg else None)
    figures += [wide(figure) for figure in figures if figure.name in WIDE]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for figure in figures:
        (folder / figure.file).write_bytes(figure.picture)
    (folder / "index.html").write_text(index(figures), encoding="utf-8")
    return figures


def main(arguments=None):
    """Write them and say where they are."""
    parser = argparse.ArgumentParser(prog="booktools.figures", description=__doc__)
    parser.add_argument("--svg", action="store_true", help="run and draw as SVG")
    parser.add_argument("numbers", nargs="*", metavar="NN", help="default: all")
    given = parser.parse_args(arguments)
    known = {path.stem[:2]: path for path in chapters()}
    if unknown := [number for number in given.numbers if number not in known]:
        print(
            f"figures: there is no chapter {unknown[0]}; allowed are "
            f"{', '.join(known)}",
            file=sys.stderr,
        )
        return 1
    paths = [known[number] for number in given.numbers] or None
    with isolated():
        figures = write(FIGURES, paths, given.svg)
    print(f"{len(figures)} figures, and index.html which lists them, are at {FIGURES}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
