"""For a class: the chapters without solutions, and an assignment that grades itself.

``python -m booktools.handout`` writes into ``_build/handout``:

- the notebooks, in which stubs and hints stay; what solutions said is gone, and so is
  what stubs printed;
- the package ``batchnorm`` as one file to install, and ``README.txt``, which says how;
- ``grader/``, an assignment for otter-grader whose tests call `diagnose`.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat

from batchnorm.exercises import TASKS
from booktools.notebooks import KERNELSPEC, ROOT, notebooks, read

HANDOUT = ROOT / "_build" / "handout"
ASSIGNED = ("forward", "backward", "running", "inference")  # the example assignment

SOLUTION = re.compile(r"(`{3,})\{(solution-start|solution-end)\}.*")
FILLED = re.compile(r"(`{3,})\{admonition\} .*filled cell.*")

README = """\
Batch Normalization, Derived and Measured: the chapters without solutions

For a student, in an empty folder with these files (Python 3.11 or newer):

    python -m venv .venv
    .venv/bin/python -m pip install {wheel} jupyterlab jupyterlab-myst
    .venv/bin/jupyter lab

On Windows, .venv\\Scripts stands in place of .venv/bin. Open a chapter, run it from the
top, and write your lines where the three dots are. The last line of such a cell,
check(...), says "right", or what is wrong. Hints fold below each exercise.

For a teacher: grader/ holds an assignment for otter-grader (pip install otter-grader).

    cd grader
    otter generate -t tests -o autograder.zip --no-requirements --no-environment
    mkdir results
    otter run -a autograder.zip -o results submission.ipynb

The result of each test is in results/results.json, and its message is what check(...)
says. A student runs the same tests with: otter check assignment.ipynb -t tests
"""

TEST = '''\
"""Whether {name} is right, and else what is wrong with it."""

from otter.test_files import test_case

OK_FORMAT = False

name = "{name}"
points = 1


@test_case(points=1)
def test_{name}({name}):
    from batchnorm.exercises import diagnose

    found = diagnose("{name}", {name})
    assert found.right, found.message
'''


def without_solutions(nb):
    """The notebook as a class gets it.

    Parameters
    ----------
    nb : NotebookNode
        A chapter.

    Returns
    -------
    NotebookNode
    """
    kept, inside, in_exercises = [], False, False
    for cell in nb.cells:
        cell = nbformat.from_dict(cell)
        if cell.cell_type == "code":
            if in_exercises or "..." in cell.source:
                cell.outputs, cell.execution_count = [], None
            kept += [] if inside else [cell]
            continue
        in_exercises |= "\n## Exercises" in f"\n{cell.source}"
        cell.source, inside = _without_solution(cell.source, inside)
        kept += [cell] if cell.source else []
        in_exercises &= "\n## Further reading" not in f"\n{cell.source}"
    nb = nbformat.from_dict(nb)
    nb.cells = kept
    return nb


def _without_solution(source, inside):
    """Markdown without what solutions say, and whether one is open at its end."""
    kept, fence = [], ""
    for line in source.split("\n"):
        directive = SOLUTION.fullmatch(line)
        if fence:
            fence = "" if line == fence else fence
        elif directive:
            fence, inside = directive[1], directive[2] == "solution-start"
        elif FILLED.fullmatch(line):
            fence = FILLED.fullmatch(line)[1]
        elif not inside:
            kept.append(line)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip(), inside


def assignment():
    """A notebook with a stub for each assigned task.

    Returns
    -------
    NotebookNode
    """
    text = (
        "# An assignment\n\nWrite your lines in place of the dots, and run all cells."
    )
    cells = [nbformat.v4.new_markdown_cell(text, id="title")]
    imports = "import numpy as np\n\nfrom batchnorm.exercises import check"
    cells.append(nbformat.v4.new_code_cell(imports, id="imports"))
    for name in ASSIGNED:
        called, gives = TASKS[name].signature.split(" -> ")
        stub = f"def {called}:\n    ...  # returns {gives}"
        cells.append(
            nbformat.v4.new_code_cell(f'{stub}\n\n\ncheck("{name}", {name})', id=name)
        )
    nb = nbformat.v4.new_notebook(cells=cells)
    nb.metadata.kernelspec = nbformat.from_dict(KERNELSPEC)
    return nb


def write(folder=HANDOUT):
    """Write all of it but the package.

    Parameters
    ----------
    folder : Path
        Made anew.
    """
    shutil.rmtree(folder, ignore_errors=True)
    tests = folder / "grader" / "tests"
    tests.mkdir(parents=True)
    for path in notebooks():
        if path.stem != "template":
            nbformat.write(without_solutions(read(path)), folder / path.name)
    nbformat.write(assignment(), folder / "grader" / "assignment.ipynb")
    for name in ASSIGNED:
        text = TEST.format(name=name)
        (tests / f"{name}.py").write_text(text, encoding="utf-8")


def package(folder=HANDOUT):
    """Put the package, as a file to install, and the text that says how.

    Parameters
    ----------
    folder : Path
        With the notebooks.

    Returns
    -------
    Path
        The wheel.
    """
    build = ["--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", str(folder)]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel"]
    with tempfile.TemporaryDirectory() as copy:  # a build leaves files where it runs
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, copy)
        skip = shutil.ignore_patterns("*.egg-info", "__pycache__")
        shutil.copytree(ROOT / "code", Path(copy, "code"), ignore=skip)
        subprocess.run([*pip, *build, copy], check=True)
    (wheel,) = Path(folder).glob("*.whl")
    text = README.format(wheel=wheel.name)
    (folder / "README.txt").write_text(text, encoding="utf-8")
    return wheel


def main():
    """Write the handout and say where it is."""
    write()
    package()
    print(f"the handout is at {HANDOUT}")


if __name__ == "__main__":
    main()
