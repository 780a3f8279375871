"""The notebooks: find them, run them, and store them in one normal form.

``python -m booktools.notebooks [PATH ...]`` runs the notebooks named, or all,
and rewrites each through a temporary file. A notebook that fails, or in which a figure
is missing, is left as it was; a sentence says why, and the next one is run.
"""

import argparse
import contextlib
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from booktools import isolation

ROOT = Path(__file__).parents[2]
CHAPTERS = ROOT / "chapters"

KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}
#: Cell metadata that means something to the book; the rest is an editor's.
CELL_METADATA = {"tags", "mystnb"}


def notebooks() -> list[Path]:
    """All notebooks of the book in reading order, the template included."""
    return [path for path in sorted(CHAPTERS.glob("*.ipynb")) if is_chapter(path)]


def is_chapter(path: Path) -> bool:
    """Whether a notebook is named as one of the book; editors leave others behind."""
    return re.fullmatch(r"\d\d_[a-z0-9_]+|misbehaves|template", path.stem) is not None


def chapters() -> list[Path]:
    """The chapters in reading order: the notebooks whose name starts with a number."""
    return [path for path in notebooks() if path.stem[0].isdigit()]


def normalize(nb: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return the notebook in the one form in which it is stored.

    Cells count 1 to n, keep their ids and only the metadata the book reads;
    outputs keep text and PNG, and of their metadata only the size of a figure.
    What changes from run to run or from editor to editor (time stamps, the
    kernel's version) is gone, so that a diff shows what an author changed.
    """
    nb = nbformat.from_dict(nb)
    nb.metadata = nbformat.from_dict(
        {"kernelspec": KERNELSPEC, "language_info": {"name": "python"}}
    )
    nb.nbformat, nb.nbformat_minor = 4, 5
    count = 0
    for cell in nb.cells:
        cell.metadata = nbformat.from_dict(
            {k: v for k, v in sorted(cell.metadata.items()) if k in CELL_METADATA}
        )
        if cell.cell_type != "code":
            continue
        count += 1
        cell.execution_count = count
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = count
            if "metadata" in output:
                output.metadata = nbformat.from_dict(
                    {k: v for k, v in output.metadata.items() if k == "image/png"}
                )
    return nb


def read(path: Path) -> nbformat.NotebookNode:
    """The notebook; a ValueError says in a sentence why a file is none."""
    text = path.read_text(encoding="utf-8")
    try:
        return nbformat.reads(text, as_version=4)
    except Exception as error:
        conflict = re.search(r"^<{7} ", text, re.MULTILINE)
        why = (
            f"line {text.count(chr(10), 0, conflict.start()) + 1} holds the marker of "
            "a merge conflict"
            if conflict
            else " ".join(str(error).split())[:120]
        )
        raise ValueError(f"no notebook can be read from it ({why})") from error


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    """The cells of code of a notebook."""
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def prose(path: Path) -> str:
    """Text of a page: a file of Markdown, or what a notebook holds of it."""
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    cells = read(path).cells
    return "\n\n".join(c.source for c in cells if c.cell_type == "markdown")


def write(nb: nbformat.NotebookNode, path: Path) -> None:
    """Write through a temporary file: the notebook is the old one or the new one."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        nbformat.write(nb, partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def run(nb: nbformat.NotebookNode, folder: Path) -> None:
    """Run a notebook from a folder, as Jupyter does; its outputs are put into it."""
    NotebookClient(
        nb,
        kernel_manager_class=isolation.OwnManager,
        timeout=300,
        coalesce_streams=True,
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    ).execute()


def execute(path: Path) -> nbformat.NotebookNode:
    """Run a notebook from its own folder and normalize it."""
    nb = read(path)
    stored = [figures(cell) for cell in nb.cells]
    run(nb, path.parent)
    for number, (cell, before) in enumerate(zip(nb.cells, stored, strict=True)):
        expected = max(before, int("figure" in cell.metadata.get("mystnb", {})))
        if figures(cell) < expected:
            raise ValueError(
                f"cell {number} ({cell.id}) has lost a figure: {expected} before, "
                f"{figures(cell)} now; clear its output if none is meant"
            )
    return normalize(nb)


def figures(cell: nbformat.NotebookNode) -> int:
    """How many pictures a cell has among its outputs."""
    outputs = cell.get("outputs", ())
    return sum("image/png" in output.get("data", ()) for output in outputs)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m booktools.notebooks")
    parser.add_argument("paths", nargs="*", type=Path, help="notebooks; default: all")
    named, failed = parser.parse_args(argv).paths, 0
    if not named:
        for path in sorted(set(CHAPTERS.glob("*.ipynb")) - set(notebooks())):
            print(f"{path.name}: passed over, its name is not that of a chapter")
    if said := isolation.foreign(Path.cwd()):
        print(said, file=sys.stderr)
        return 1
    with isolated():
        for path in named or notebooks():
            failed += not _run(path)
    return 1 if failed else 0


def _run(path: Path) -> bool:
    """Run one and store it; whether that went well."""
    start = time.perf_counter()
    try:
        write(execute(path), path)
    except CellExecutionError as error:
        print(f"{path.name}: failed, left as it was\n{error}", file=sys.stderr)
    except Exception as error:  # a dead kernel, no notebook, a folder without write
        said = " ".join(str(error).split()) or type(error).__name__
        print(f"{path.name}: failed, left as it was: {said}", file=sys.stderr)
    else:
        print(f"{path.name}: {time.perf_counter() - start:.1f} s")
        return True
    return False


@contextlib.contextmanager
def isolated():
    """The environment without the user's settings, and back."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(
        prefix="notebooks-", ignore_cleanup_errors=True
    ) as folder:
        isolation.isolate(folder)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


if __name__ == "__main__":
    sys.exit(main())
