"""Sphinx extension: the notebook that a page offers for download stands on its own.

Chapters import `batchnorm`, the package of the book. A page saved alone and opened
where only NumPy, torch and Matplotlib are lacks it, so the copy on the site begins with
one more cell, which installs the package from the repository that ``BOOK_REPOSITORY``
names (its branch: ``BOOK_BRANCH``). Where the site was built without that address,
the cell says in a line how the book is had. The sources in ``chapters/`` stay as they
are.
"""

import os
from pathlib import Path

import nbformat

from booktools.notebooks import read, write

ID = "needs-the-book"

INSTALL = """\
# Saved alone? Then this gets the book's own package; where it is, it does nothing.
import importlib.util

if importlib.util.find_spec("batchnorm") is None:
    %pip install --quiet "batchnorm-book @ {address}"
"""

SAY = """\
# Saved alone? Then this says how to get the package that the chapter imports.
import importlib.util

if importlib.util.find_spec("batchnorm") is None:
    raise SystemExit(
        "This chapter imports batchnorm, the package of the book{where}: "
        "get the whole book, and in its folder run `make lab`, "
        "or `pip install .` where this notebook runs."
    )
"""


def first_cell() -> str:
    """Source of the cell that gets the package, or says how to."""
    if repository := os.environ.get("BOOK_REPOSITORY", "").rstrip("/"):
        branch = os.environ.get("BOOK_BRANCH", "main")
        return INSTALL.format(address=f"git+{repository}@{branch}")
    site = os.environ.get("BOOK_URL", "")
    return SAY.format(where=f" at {site}" if site else "")


def standing_alone(nb: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook with that cell before all others, if it imports the package."""
    imports = any(
        "import batchnorm" in cell.source or "from batchnorm" in cell.source
        for cell in nb.cells
        if cell.cell_type == "code"
    )
    if imports and all(cell.get("id") != ID for cell in nb.cells):
        cell = nbformat.v4.new_code_cell(first_cell().rstrip(), id=ID)
        nb.cells.insert(0, cell)
    return nb


def rewrite(app, exception) -> None:
    """Give each notebook that the site offers its first cell."""
    if exception is None:
        for path in Path(app.outdir, "_sources").rglob("*.ipynb"):
            write(standing_alone(read(path)), path)


def setup(app):
    app.connect("build-finished", rewrite)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
