"""For a class: the chapters without solutions, and an assignment that grades itself.

``python -m booktools.handout`` writes into ``_build/handout``:

- the notebooks, in which stubs and hints stay; what solutions said is gone, and so is
  what stubs printed;
- the package ``batchnorm`` as one file to install, ``requirements.txt`` and
  ``README.txt``, which says how;
- ``grader/``, an assignment for otter-grader whose tests call `diagnose`.

``python -m booktools.handout forward running module`` assigns these tasks in place of
the usual ones; `booktools.assignment` says which there are.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat

from booktools.assignment import assigned, assignment, test
from booktools.notebooks import ROOT, notebooks, read

HANDOUT = ROOT / "_build" / "handout"
ASSIGNED = ("forward", "backward", "group_backward")  # back/paths, "For a class"

SOLUTION = re.compile(r"(`{3,})\{(solution-start|solution-end)\}.*")
FOLDED = re.compile(r"(`{3,})\{admonition\} (.*)\n:class:.*\bdropdown\b")
# What a class gets of what is folded; all else may be an answer, and goes.
KEPT = re.compile(r"Hint( \d)?|.*, derived|The error of a sum.*")
NEEDED = ("numpy", "torch", "matplotlib", "jupyterlab", "jupyterlab_myst")

README = """\
Batch Normalization, Derived and Measured: the chapters without solutions

For a student, in an empty folder with these files (Python 3.11 or newer):

    python -m venv .venv
    .venv/bin/python -m pip install -r requirements.txt {wheel} 'otter-grader>=7'
    .venv/bin/jupyter lab

On Windows, .venv\\Scripts stands in place of .venv/bin. On Linux the usual build of
PyTorch brings gigabytes of CUDA, which nothing here needs. The build for the CPU comes
with these two lines, before the second above:

    .venv/bin/python -m pip install uv
    .venv/bin/python -m uv pip install --torch-backend cpu {torch}

Open a chapter, run it from the top, and write your lines where the three dots are. The
last line of such a cell, check(...), says "right", or what is wrong. Hints fold below
each exercise. What you hand in is grader/assignment.ipynb. To run its tests:

    cd grader
    ../.venv/bin/otter check assignment.ipynb -t tests

For a teacher, with a notebook that was handed in as submission.ipynb:

    cd grader
    otter generate -t tests -o autograder.zip --no-requirements --no-environment
    mkdir results
    otter run -a autograder.zip -o results submission.ipynb

The result of each test is in results/results.json, and its message is what check(...)
says. A program that calls the package batchnorm is refused. The page "Paths through the
book", under "For a class", says what is graded by hand, and for what.
"""


def without_solutions(nb):
    """The notebook of a chapter as a class gets it."""
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
    lines = source.split("\n")
    kept, fence = [], ""
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        directive = SOLUTION.fullmatch(line)
        folded = FOLDED.fullmatch(f"{line}\n{following}")
        if fence:
            fence = "" if line == fence else fence
        elif directive:
            fence, inside = directive[1], directive[2] == "solution-start"
        elif folded and not KEPT.fullmatch(folded[2]):
            fence = folded[1]
        elif not inside:
            kept.append(line)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip(), inside


def requirements():
    """The versions that the stored outputs were made with, of what a class installs."""
    pinned = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    lines = [line for line in pinned if line.split("==")[0] in NEEDED]
    return "\n".join(lines) + "\n"


def write(folder=HANDOUT, names=ASSIGNED):
    """Write all of it but the package into a new folder, and assign these tasks."""
    names = assigned(names)
    shutil.rmtree(folder, ignore_errors=True)
    tests = folder / "grader" / "tests"
    tests.mkdir(parents=True)
    for path in notebooks():
        if path.stem != "template":
            nbformat.write(without_solutions(read(path)), folder / path.name)
    (folder / "requirements.txt").write_text(requirements(), encoding="utf-8")
    nbformat.write(assignment(names), folder / "grader" / "assignment.ipynb")
    for name in names:
        (tests / f"{name}.py").write_text(test(name), encoding="utf-8")


def package(folder=HANDOUT):
    """Put the package beside the notebooks, as a wheel, and the text that says how."""
    build = ["--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", str(folder)]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel"]
    with tempfile.TemporaryDirectory() as copy:  # a build leaves files where it runs
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, copy)
        skip = shutil.ignore_patterns("*.egg-info", "__pycache__")
        shutil.copytree(ROOT / "code", Path(copy, "code"), ignore=skip)
        subprocess.run([*pip, *build, copy], check=True)
    (wheel,) = Path(folder).glob("*.whl")
    (torch,) = (line for line in requirements().split() if line.startswith("torch=="))
    text = README.format(wheel=wheel.name, torch=torch)
    (folder / "README.txt").write_text(text, encoding="utf-8")
    return wheel


def main(arguments=None):
    """Write the handout and say where it is."""
    parser = argparse.ArgumentParser(prog="booktools.handout", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="TASK", help="what to assign")
    names = parser.parse_args(arguments).names or ASSIGNED
    try:
        write(names=names)
    except ValueError as error:
        raise SystemExit(f"handout: {error}") from None
    package()
    print(f"the handout is at {HANDOUT}")


if __name__ == "__main__":
    main()
