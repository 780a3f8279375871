"""The notebooks: find them, run them, and store them in one normal form.

``python -m booktools.notebooks [PATH ...]`` runs the notebooks named, or all,
and rewrites each through a temporary file. A notebook that fails is left as it
was.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).parents[2]
CHAPTERS = ROOT / "chapters"

KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}
#: Cell metadata that means something to the book; the rest is an editor's.
CELL_METADATA = {"tags", "mystnb"}


def notebooks() -> list[Path]:
    """All notebooks of the book in reading order, the template included."""
    return sorted(CHAPTERS.glob("*.ipynb"))


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
    return nbformat.read(path, as_version=4)


def write(nb: nbformat.NotebookNode, path: Path) -> None:
    """Write through a temporary file: the notebook is the old one or the new one."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        nbformat.write(nb, partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def execute(path: Path) -> nbformat.NotebookNode:
    """Run a notebook from its own folder, as Jupyter does, and normalize it."""
    nb = read(path)
    client = NotebookClient(
        nb,
        timeout=300,
        kernel_name="python3",
        coalesce_streams=True,
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    return normalize(nb)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m booktools.notebooks")
    parser.add_argument("paths", nargs="*", type=Path, help="notebooks; default: all")
    failed = 0
    for path in parser.parse_args(argv).paths or notebooks():
        start = time.perf_counter()
        try:
            write(execute(path), path)
        except CellExecutionError as error:
            failed += 1
            print(f"{path.name}: failed, left as it was\n{error}", file=sys.stderr)
        else:
            print(f"{path.name}: {time.perf_counter() - start:.1f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
