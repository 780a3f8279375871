"""The form of the notebooks: what a reader, nbval and the site rely on."""

import ast
import re
import statistics
from pathlib import Path

import nbformat
import pytest
import yaml
from pybtex.database import parse_file

from batchnorm import claims
from batchnorm.claims.registry import references
from booktools import landing
from booktools.images import SHARE, difference
from booktools.notebooks import (
    CHAPTERS,
    KERNELSPEC,
    ROOT,
    chapters,
    code_cells,
    normalize,
    notebooks,
    prose,
    read,
)

NOTEBOOKS = notebooks()
NUMBERED = chapters()
LISTED = [path for path in NOTEBOOKS if path.stem != "template"]
BACK = sorted((ROOT / "back").glob("*.md"))
PLAIN = {"text/plain", "image/png"}

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
each_chapter = pytest.mark.parametrize("path", NUMBERED, ids=lambda p: p.stem)


def cells_of_the_argument(path):
    """The code cells that are neither an exercise's own nor in a solution."""
    kept, inside = [], None
    for cell in read(path).cells:
        if cell.cell_type == "code":
            kept += [cell] if inside is None else []
        elif "\n## Exercises\n" in f"\n{cell.source}\n":
            inside = "exercises"
        elif "\n## Further reading\n" in f"\n{cell.source}\n":
            inside = None
        elif inside != "exercises":
            starts = cell.source.rfind("{solution-start}")
            ends = cell.source.rfind("{solution-end}")
            if max(starts, ends) >= 0:
                inside = "solution" if starts > ends else None
    return kept


def contents():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    return [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]


def is_figure(cell):
    return any("image/png" in output.get("data", {}) for output in cell.outputs)


def test_there_are_chapters():
    assert len(NUMBERED) >= 1
    assert set(NUMBERED) < set(LISTED)
    assert CHAPTERS / "template.ipynb" in NOTEBOOKS


def test_contents_list_every_chapter_in_order_and_not_the_template():
    listed = [file for file in contents() if file.startswith("chapters/")]
    assert listed == [f"chapters/{path.stem}" for path in LISTED]


def test_contents_exist():
    for file in contents():
        assert list(ROOT.glob(f"{file}.*")), file


LABEL = r"^\(([\w-]+)\)=$|^:label: ([\w-]+)$|^\$\$ \(([\w-]+)\)$|^:name: ([\w-]+)$"
LINK = r"\{(?:ref|eq|numref)\}`(?:[^`<]*<)?([\w-]+)>?`"


def sources():
    """Text of every page: chapters with the names of their figures, and the back."""
    for path in LISTED:
        named = [c.metadata.get("mystnb", {}) for c in code_cells(path)]
        figures = [m["figure"]["name"] for m in named if "name" in m.get("figure", {})]
        yield path, "\n".join([prose(path), *(f":name: {name}" for name in figures)])
    yield from ((path, prose(path)) for path in BACK)


def labels_in(text):
    return [
        label for found in re.findall(LABEL, text, re.M) for label in found if label
    ]


def test_links_lead_to_labels_that_stand_somewhere():
    pages = dict(sources())
    labels = {label for text in pages.values() for label in labels_in(text)}
    kinds = "claim|identity|mnist|solutions?|solved|mistakes?"
    made = re.compile(rf"({kinds})-|(gen|mod)index")
    missing = {
        (path.name, label)
        for path, text in pages.items()
        for label in re.findall(LINK, text)
        if label not in labels and not made.match(label)
    }
    assert not missing, "no label of that name in chapters/ or back/"


def faults_of_labels(text):
    """Labels that age: with a number, or of a section under another chapter's name.

    A chapter that moves keeps its label, `ch-subject`, and those of its sections,
    `ch-subject-section`.
    """
    labels = labels_in(text)
    aged = {label for label in labels if re.search(r"\d", label)}
    own = next((label for label in labels if label.startswith("ch-")), "ch-")
    sections = [label for label in labels if re.match(r"ch(?![a-z])", label)]
    return aged | {x for x in sections if x != own and not x.startswith(f"{own}-")}


def test_no_label_carries_a_chapters_number_or_another_chapters_name():
    found = {path.name: faults_of_labels(text) for path, text in sources()}
    assert not {name: faults for name, faults in found.items() if faults}


@pytest.mark.parametrize(
    "label", ["ch4-half", "ch-4-half", "eq-cf2", "ch-other-half", "ch-oneself"]
)
def test_a_label_that_ages_is_found(label):
    sound = "(ch-one)=\n# One\n\n(ch-one-half)=\n## Half\n\n$$ (eq-half)\n\n(when)=\n"
    assert not faults_of_labels(sound)
    assert faults_of_labels(f"{sound}\n({label})=\n") == {label}


@each_notebook
def test_valid_and_in_normal_form(path):
    nb = read(path)
    nbformat.validate(nb)
    assert normalize(nb) == nb, "run `make run` to normalize the notebook"
    assert path.read_text(encoding="utf-8").endswith("}\n")
    assert nb.metadata.kernelspec == KERNELSPEC


@each_notebook
def test_run_in_order_with_ids(path):
    cells = code_cells(path)
    assert [c.execution_count for c in cells] == list(range(1, len(cells) + 1))
    ids = [c.id for c in read(path).cells]
    assert len(set(ids)) == len(ids)


@each_notebook
def test_code_fits_the_page(path):
    for cell in code_cells(path):
        for line in cell.source.splitlines():
            assert len(line) <= 72, line


@each_notebook
def test_outputs_are_plain(path):
    for cell in code_cells(path):
        for output in cell.outputs:
            assert output.output_type != "error", cell.source
            assert output.get("name") != "stderr", output
            kinds = set(output.get("data", {}))
            assert kinds <= PLAIN, f"{kinds - PLAIN} in the output of\n{cell.source}"


#: Draws that differ with the vector width or the version: all but NumPy's Generator.
FOREIGN_DRAW = re.compile(
    r"torch\.(?:rand|normal|bernoulli|multinomial|manual_seed)"
    r"|np\.random\.(?!default_rng|Generator)\w+|random_state=|import random\b"
)
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w.]*\d)")


def fragile_numbers(text):
    """Numbers that another processor may print otherwise.

    More than four significant digits, a rounding error (unless it is the bound of a
    verdict, "below 1e-13"), or a zero with a sign.
    """
    found = []
    for match in NUMBER.finditer(text):
        number = match[0]
        if "." not in number and "e" not in number:
            continue  # an integer is exact
        mantissa, _, exponent = number.partition("e")
        digits = mantissa.replace(".", "").lstrip("-0")
        bound = re.search(r"(?:below|to|<|≤) $", text[: match.start()])
        tiny = exponent and int(exponent) < -12 and not bound
        if len(digits) > 4 or tiny or re.fullmatch(r"-0\.?0*", mantissa):
            found.append(number)
    return found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("loss 2.302585", ["2.302585"]),  # a float32 loss
        ("mean: 1.3e-17", ["1.3e-17"]),
        ("[0.5 -0.0]", ["-0.0"]),
        ("20 of 20, ratio 3.454, below 1e-13: True, 50000 steps, v2.13.0", []),
    ],
)
def test_fragile_numbers_are_found(text, found):
    assert fragile_numbers(text) == found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("x = torch.randn(3)", True),
        ("np.random.seed(0)", True),
        ("rng = np.random.default_rng(0)", False),
    ],
)
def test_foreign_draws_are_found(source, found):
    assert bool(FOREIGN_DRAW.search(source)) == found


@each_notebook
def test_outputs_come_out_the_same_on_another_processor(path):
    for cell in code_cells(path):
        assert not FOREIGN_DRAW.search(cell.source), cell.source
        for output in cell.outputs:
            text = output.get("text") or output.get("data", {}).get("text/plain", "")
            assert fragile_numbers(text) == [], text


@each_notebook
def test_nothing_is_hidden_from_nbval(path):
    for cell in code_cells(path):
        tags = set(cell.metadata.get("tags", []))
        assert not {t for t in tags if t.startswith("nbval") or t == "raises-exception"}
        assert not re.search(r"#\s*(NBVAL|PYTEST_VALIDATE)", cell.source, re.IGNORECASE)


@each_notebook
def test_no_path_is_patched(path):
    for cell in code_cells(path):
        assert "sys.path" not in cell.source


@each_notebook
def test_a_cell_that_draws_has_its_figure(path):
    draws = re.compile(
        r"figures\.(?!use_style)[a-z]\w*\(|plt\.show\(\)|(claims|explorables)\.show\("
    )
    for cell in code_cells(path):
        assert is_figure(cell) == bool(draws.search(cell.source)), cell.source


@each_notebook
def test_figures_have_name_caption_and_alt_text(path):
    for cell in filter(is_figure, code_cells(path)):
        meta = cell.metadata.get("mystnb", {})
        figure, alt = meta.get("figure", {}), meta.get("image", {}).get("alt", "")
        assert figure.get("name", "").startswith("fig-"), cell.source
        assert len(figure.get("caption", "").split()) >= 8, cell.source
        assert len(alt.split()) >= 8, cell.source


@each_chapter
def test_cells_are_short(path):
    lines = [len(cell.source.splitlines()) for cell in code_cells(path)]
    assert max(lines) <= 25
    assert statistics.median(lines) < 8
    assert 20 <= len(cells_of_the_argument(path)) <= 35


@pytest.mark.parametrize(
    "path", [*NUMBERED, CHAPTERS / "template.ipynb"], ids=lambda p: p.stem
)
def test_has_the_parts_of_a_chapter(path):
    text = prose(path)
    headings = re.findall(r"^##? (.+)$", text, re.MULTILINE)
    assert len(re.findall(r"^# .+$", text, re.MULTILINE)) == 1
    for heading in ["In practice", "Summary", "Exercises", "Further reading"]:
        assert heading in headings
    for part in ["**After this chapter you can**", "**You need**", "**Time:**"]:
        assert part in text


@each_chapter
def test_exercises_have_solutions_that_run(path):
    text = prose(path)
    exercises = re.findall(r"```\{exercise\}[^\n]*\n:label: (\S+)", text)
    solved = re.findall(r"```\{solution-start\} (\S+)", text)
    assert exercises == solved
    assert 3 <= len(exercises) <= 8
    cells = read(path).cells
    text = "".join("CODE" if c.cell_type == "code" else c.source for c in cells)
    solutions = r"\{solution-start\}(.*?)\{solution-end\}"
    run = ["CODE" in said for said in re.findall(solutions, text, re.DOTALL)]
    assert run == [True] * len(exercises), "a solution without a code cell"


def overwritten(sources):
    """Functions of a page whose name an empty stub takes: what follows would break."""
    seen, taken = set(), []
    for source in sources:
        for node in ast.parse(source).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                stub = "# your line" in ast.get_source_segment(source, node)
                taken += [node.name] * (stub and node.name in seen)
                seen.add(node.name)
    return taken


@each_notebook
def test_a_stub_has_a_name_of_its_own(path):
    assert not overwritten(cell.source for cell in code_cells(path))


def test_a_stub_under_the_name_of_a_function_is_found():
    page, stub = "def f(x):\n    return x", "def f(x):\n    # your lines here\n    ..."
    assert overwritten([page, stub]) == ["f"]
    assert not overwritten([page, stub.replace("f(", "my_f(")])


@each_notebook
def test_equations_have_labels(path):
    for display in re.findall(r"\$\$.*?\$\$[^\n]*", prose(path), re.DOTALL):
        assert re.search(r"\(eq-[\w-]+\)$", display), display


@each_notebook
def test_links_inside_the_book_resolve(path):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", prose(path)):
        if not re.match(r"\w+:", target):
            assert (path.parent / target).exists(), target


def test_labels_are_unique_in_the_book():
    written = r"\$\$ \((eq-[\w-]+)\)", r"^:label: (\S+)", r"^\(([\w-]+)\)=$"
    labels = []
    for path in LISTED:
        for label in written:
            labels += re.findall(label, prose(path), re.MULTILINE)
        drawn = filter(is_figure, code_cells(path))
        labels += [cell.metadata["mystnb"]["figure"]["name"] for cell in drawn]
    assert len(labels) == len(set(labels)), sorted(labels)


def test_the_bibliography_is_read_by_what_builds_the_book():
    """An entry that lost its brace swallows the next, and no pattern sees it."""
    file = ROOT / "references.bib"
    keys = re.findall(r"^@\w+\{(\S+),", file.read_text("utf-8"), re.MULTILINE)
    assert list(parse_file(str(file)).entries) == keys


def test_every_source_is_cited_and_the_list_is_complete():
    text = "\n".join(map(prose, [*LISTED, *BACK]))
    entries = re.findall(r"^@\w+\{(\S+),", (ROOT / "references.bib").read_text(), re.M)
    cited = set()
    for keys in re.findall(r"\{cite:\w+\}`([^`]+)`", text):
        cited |= {key.strip() for key in keys.split(",")}
    for entry in claims.claims():
        for source in filter(None, (entry.source, entry.claimed_by)):
            cited |= {key for key, _ in references(source)}
    assert sorted(entries) == entries, "references.bib is sorted by key"
    assert cited == set(entries)


def test_the_landing_figure_is_the_one_that_its_chapter_draws():
    drawn = landing.stored(landing.NAME)
    shown = landing.LANDING.read_bytes()
    assert difference(shown, drawn) <= SHARE, "run `make landing`"


def test_landing_refuses_a_figure_that_no_chapter_draws():
    with pytest.raises(ValueError, match="name is 'fig-none'; allowed are"):
        landing.stored("fig-none")


def test_landing_writes_the_figure(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(landing, "ROOT", tmp_path)
    monkeypatch.setattr(landing, "LANDING", tmp_path / "landing.png")
    assert landing.main() == 0
    assert capsys.readouterr().out == f"landing.png: {landing.NAME}\n"
    assert (tmp_path / "landing.png").read_bytes() == landing.stored(landing.NAME)


def test_readme_names_every_chapter():
    readme = Path(ROOT / "README.md").read_text(encoding="utf-8")
    for path in LISTED:
        assert f"chapters/{path.name}" in readme
