"""What a class gets: chapters without solutions that run, an assignment that grades."""

import ast
import builtins
import importlib.util
import json
import re
import subprocess
import sys

import nbformat
import pytest
from nbclient import NotebookClient

from batchnorm.exercises import GRADED, TASKS, diagnose
from booktools import assignment, handout
from booktools.notebooks import chapters, notebooks, read

CHAPTERS = chapters()

each = pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)


def markdown(nb):
    return "\n".join(c.source for c in nb.cells if c.cell_type == "markdown")


def code(nb):
    return [c.source for c in nb.cells if c.cell_type == "code"]


@each
def test_solutions_are_gone_and_tasks_and_hints_are_not(path):
    whole, given = read(path), handout.without_solutions(read(path))
    nbformat.validate(given)
    assert "solution-" not in markdown(given)
    assert "filled cell" not in markdown(given)
    assert markdown(given).count("{exercise}") == markdown(whole).count("{exercise}")
    hints = markdown(whole).count("{admonition} Hint")
    assert markdown(given).count("{admonition} Hint") == hints
    assert set(code(given)) < set(code(whole))


FOLDED = re.compile(r"^`{3,}\{admonition\} (.*)\n:class:.*dropdown", re.MULTILINE)


def test_of_what_is_folded_a_class_gets_hints_and_derivations_alone():
    gone, kept = set(), set()
    for path in notebooks():
        titles = set(FOLDED.findall(markdown(read(path))))
        left = set(FOLDED.findall(markdown(handout.without_solutions(read(path)))))
        kept |= left
        gone |= titles - left
    assert {title for title in kept if not title.startswith("Hint")} <= {
        "The rate of the growth, derived",
        "The error of a sum in pairs",
    } | {title for title in kept if title.endswith(", derived")}
    assert {"Solution", "The line", "The entry", "The filled cell"} <= gone
    assert not {title for title in gone if "Hint" in title}


@each
def test_what_is_left_needs_no_name_that_a_solution_defines(path):
    given = code(handout.without_solutions(read(path)))
    kept = ast.parse("\n".join(given))
    removed = [cell for cell in code(read(path)) if cell not in given]
    known = defined(kept) | set(dir(builtins))
    used = {n.id for n in ast.walk(kept) if isinstance(n, ast.Name)}
    assert not used & (defined(ast.parse("\n".join(removed))) - known)


def defined(tree):
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, ast.arg):
            names.add(node.arg)
    return names


def test_a_piece_of_markdown_may_end_one_solution_and_begin_another():
    cells = [
        "Text.\n\n```{exercise} A\n:label: ex-a\n\nDo it.\n```\n\n"
        "```{solution-start} ex-a\n:class: dropdown\n```\n\nThe answer.",
        "```{solution-end}\n```\n\n```{exercise} B\n:label: ex-b\n\nAgain.\n```\n\n"
        "```{solution-start} ex-b\n```\nNo.\n```{solution-end}\n```\n\nAfter.",
    ]
    cells = [nbformat.v4.new_markdown_cell(text) for text in cells]
    cells.insert(1, nbformat.v4.new_code_cell("print('the answer')"))
    given = handout.without_solutions(nbformat.v4.new_notebook(cells=cells))
    assert code(given) == []
    said = markdown(given)
    assert "answer" not in said
    assert "No." not in said
    assert all(words in said for words in ("Text.", "Do it.", "Again.", "After."))


def test_stubs_have_no_outputs_and_the_argument_keeps_its_own(tmp_path):
    path = next(p for p in CHAPTERS if p.stem == "06_backward_closed")
    given = handout.without_solutions(read(path))
    stubs = [c for c in given.cells if c.cell_type == "code" and "..." in c.source]
    assert not any(cell.outputs for cell in stubs)
    assert any(c.outputs for c in given.cells if c.cell_type == "code")


@pytest.mark.parametrize("names", [handout.ASSIGNED, tuple(assignment.ASKED)])
def test_the_assignment_runs_empty_and_says_so(names):
    nb = assignment.assignment(names)
    nbformat.validate(nb)
    NotebookClient(nb, timeout=100, kernel_name="python3").execute()
    outputs = [c.outputs for c in nb.cells if c.cell_type == "code" and c.outputs]
    said = ["".join(o.text for o in parts) for parts in outputs]  # a slow one has two
    assert len(said) == len(names)
    assert all("not filled in yet" in text for text in said)


def test_every_program_can_be_assigned_and_nothing_else():
    programs = {name for name, task in TASKS.items() if not task.answer}
    assert set(assignment.ASKED) == programs | set(GRADED) | {"graph"}
    for wrong in ("graph.d_var", "ex-forward", ""):
        with pytest.raises(ValueError, match="allowed are backward, feature_maps"):
            assignment.assigned(["forward", wrong])
    with pytest.raises(ValueError, match="named twice"):
        assignment.assigned(["forward", "forward"])
    with pytest.raises(SystemExit, match="no task 'forwards'"):
        handout.main(["forwards"])
    contributing = (handout.ROOT / "CONTRIBUTING.md").read_text("utf-8")
    teachers = contributing.split("## For teachers")[1].split("\n## ")[0]
    assert set(assignment.ASKED) <= set(re.findall(r"`(\w+)`", teachers))


def test_a_task_is_the_exercise_whose_number_it_gives():
    sources = {int(p.stem[:2]): [c.source for c in read(p).cells] for p in CHAPTERS}
    for name, text in assignment.ASKED.items():
        for chapter, number in re.findall(r"Exercise (\d+)\.(\d+)", text):
            parts = "\n".join(sources[int(chapter)]).split("```{exercise}")
            assert f'check("{name}", ' in parts[int(number)], name


def test_no_chapter_defines_what_is_graded():
    for path in notebooks():
        assert "group_backward" not in "\n".join(code(read(path)))


RIGHT = """def forward(x, gamma, beta, eps):
    c = x - x.mean(0)
    return gamma * c / np.sqrt((c**2).mean(0) + eps) + beta"""
WRONG = """def backward(dy, x, gamma, eps):
    v = 1 / np.sqrt(x.var(0) + eps)
    h = (x - x.mean(0)) * v
    return gamma * v * (dy - dy.mean(0)), (dy * h).sum(0), dy.sum(0)"""

BORROWED = """def group_backward(dy, x, gamma, groups, eps):
    from batchnorm import relatives

    _, cache = relatives.group_norm(x, groups, gamma, gamma, eps=eps)
    return relatives.backward(dy, cache)"""


def test_otter_grades_a_right_a_wrong_and_a_borrowed_answer(tmp_path):
    if importlib.util.find_spec("otter") is None:
        pytest.skip("otter-grader is not installed: pip install '.[grader]'")
    handout.write(tmp_path / "handout")
    grader = tmp_path / "handout" / "grader"
    nb = nbformat.read(grader / "assignment.ipynb", as_version=4)
    for cell in nb.cells:
        answers = {"forward": RIGHT, "backward": WRONG, "group-backward": BORROWED}
        cell.source = answers.get(cell.id, cell.source)
    nbformat.write(nb, grader / "submission.ipynb")
    (grader / "results").mkdir()
    for line in handout.README.split("\n"):
        if line.startswith("    otter "):
            otter = [sys.executable, "-m", *line.split()]
            subprocess.run(otter, cwd=grader, check=True, capture_output=True)
    results = json.loads((grader / "results" / "results.json").read_text())["tests"]
    scores = {test["name"]: test for test in results}
    assert scores["forward"]["score"] == 1
    assert scores["backward"]["score"] == 0
    assert "The variance is taken as a constant" in scores["backward"]["output"]
    assert scores["group_backward"]["score"] == 0
    assert "calls batchnorm.relatives" in scores["group_backward"]["output"]


def test_the_tests_for_otter_say_what_diagnose_says(monkeypatch):
    """The same without otter: its decorator only marks a function."""
    module = type(sys)("otter.test_files")
    module.test_case = lambda **_: lambda function: function
    monkeypatch.setitem(sys.modules, "otter", type(sys)("otter"))
    monkeypatch.setitem(sys.modules, "otter.test_files", module)
    space = {}
    exec(assignment.test("forward"), space)
    with pytest.raises(AssertionError, match="not filled in yet"):
        space["test_forward"](...)
    names = {}
    exec("import numpy as np\n" + RIGHT, names)
    assert diagnose("forward", names["forward"]).right
    space["test_forward"](names["forward"])
    exec(BORROWED, names)
    exec(assignment.test("group_backward"), space)
    assert diagnose("group_backward", names["group_backward"]).right
    with pytest.raises(AssertionError, match="without the package"):
        space["test_group_backward"](names["group_backward"])


def test_students_get_the_versions_of_the_stored_outputs_and_the_grader():
    lines = handout.requirements().split()
    assert {line.split("==")[0] for line in lines} == set(handout.NEEDED)
    student = handout.README.split("For a teacher")[0]
    assert "-r requirements.txt" in student
    assert "otter-grader" in student
    assert "--torch-backend cpu" in student
