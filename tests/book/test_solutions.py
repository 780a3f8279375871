"""The pages of solutions: every exercise once, unfolded, with links both ways."""

import re
from types import SimpleNamespace

import pytest
import yaml
from docutils import nodes
from sphinx import addnodes

from booktools import fill, solutions
from booktools.notebooks import ROOT, chapters, prose

CHAPTERS = chapters()

each = pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)


@each
def test_every_exercise_stands_on_its_page_with_its_solution(path):
    asked = re.findall(r"^`{3,}\{exercise\}.*\n:label: (\S+)", prose(path), re.M)
    found = solutions.exercises(path)
    assert [exercise.label for exercise in found] == asked
    for exercise in found:
        assert exercise.title
        assert exercise.task
        assert "".join(exercise.solution).strip(), exercise.label


@each
def test_a_page_has_no_label_of_the_chapter_and_no_hint(path):
    page = solutions.page(path)
    labels = re.findall(r"^\(([\w-]+)\)=", page, re.M)
    assert all(name.startswith(("solutions-", "solved-")) for name in labels)
    assert not re.search(r"^\$\$ \(eq-", page, re.M)
    assert "{admonition} Hint" not in page
    assert "solution-start" not in page
    assert "dropdown" not in page


def test_every_chapter_with_exercises_has_a_page_in_the_contents():
    names = [path.stem for path in solutions.chapters()]
    pages = sorted((ROOT / "back" / "solutions").glob("*.md"))
    assert [page.stem for page in pages] == names
    assert all(page.read_text() == "% solutions\n" for page in pages)
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text())
    entries = [entry for part in contents["parts"] for entry in part["chapters"]]
    (entry,) = [entry for entry in entries if entry["file"] == "back/solutions"]
    listed = [section["file"] for section in entry["sections"]]
    assert listed == [f"back/solutions/{name}" for name in names]


def test_a_notebook_is_taken_apart(tmp_path, monkeypatch):
    import nbformat

    cells = [
        nbformat.v4.new_markdown_cell(
            "## Exercises\n\n### Write it\n\n````{exercise} A name\n:label: ex-a\n\nDo "
            "[this](05_x.ipynb).\n```python\nx\n```\n````\n\n```{admonition} Hint 1\n"
            ":class: dropdown\n\nLook.\n```"
        ),
        nbformat.v4.new_code_cell("y = ..."),
        nbformat.v4.new_markdown_cell(
            "```{solution-start} ex-a\n:class: dropdown\n```\n\n(eq-a)=\nSo:\n\n$$\nz\n"
            "$$ (eq-z)\n"
        ),
        nbformat.v4.new_code_cell(
            "y = 1", outputs=[nbformat.v4.new_output("stream", text="one\n")]
        ),
        nbformat.v4.new_markdown_cell(
            "```{solution-end}\n```\n\n## Further reading\nB"
        ),
        nbformat.v4.new_code_cell("z = 2"),
    ]
    path = tmp_path / "01_a.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    (found,) = solutions.exercises(path)
    assert (found.title, found.label) == ("A name", "ex-a")
    assert found.task == [
        "Do [this](../../chapters/05_x.ipynb).\n```python\nx\n```",
        "```python\ny = ...\n```",
    ]
    assert found.solution == [
        "So:\n\n$$\nz\n$$",
        "```python\ny = 1\n```",
        "```text\none\n```",
    ]


def test_a_chapter_links_its_page():
    section = nodes.section("", nodes.title("", "Exercises"), nodes.paragraph())
    document = SimpleNamespace(findall=lambda kind: [section])
    app = SimpleNamespace(env=SimpleNamespace(docname="chapters/06_backward_closed"))
    fill.link_solutions(app, document)
    (link,) = section[1].findall(addnodes.pending_xref)
    assert link["reftarget"] == "solutions-ch-closed-form"
