"""The blanks of chapters: stored empty, and right with the lines of the fold."""

import contextlib
import io
import re

import matplotlib.pyplot as plt
import pytest

from booktools.notebooks import notebooks, read

BLANK = re.compile(r"(?:, |return )\.\.\.")
EMPTY = "not filled in yet"
FILLED = re.compile(
    r"^(`{4,})\{admonition\} [^\n]*filled cell\n:class: dropdown\n.*?"
    r"^```python\n(.*?)^```\n\1$",
    re.MULTILINE | re.DOTALL,
)


def with_blanks_filled(cells):
    """Sources of the code cells, and which of them were filled from a fold."""
    sources, filled = [], set()
    for cell in cells:
        if cell.cell_type == "code":
            sources.append(cell.source)
            continue
        for _, lines in FILLED.findall(cell.source):
            blank = max(i for i, s in enumerate(sources) if BLANK.search(s))
            assert blank not in filled, lines
            sources[blank] = lines
            filled.add(blank)
    return sources, filled


CHAPTERS = [
    path
    for path in notebooks()
    if any(FILLED.search(cell.source) for cell in read(path).cells)
]


def run(sources, names):
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        for source in sources:
            exec(source, names)
    return output.getvalue()


@pytest.fixture(scope="module", params=CHAPTERS, ids=lambda path: path.stem)
def filled_chapter(request):
    """What a chapter with its blanks filled prints, and its names, up to the last."""
    sources, filled = with_blanks_filled(read(request.param).cells)
    names = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plt, "show", lambda: None)
        # The cell behind the last blank may be the one that judges it.
        printed = run(sources[: max(filled) + 3], names)
    plt.close("all")
    return request.param, printed, names


def test_a_blank_is_right_with_the_folded_lines(filled_chapter):
    path, printed, _ = filled_chapter
    cells = read(path).cells
    stored = "".join(
        output.get("text", "")
        for cell in cells
        for output in cell.get("outputs", ())
        if output.output_type == "stream"
    )
    blanks = sum(len(FILLED.findall(cell.source)) for cell in cells)
    assert stored.count(EMPTY) >= blanks
    assert EMPTY not in printed
    assert "not right" not in printed
    assert "wrong" not in printed
    assert printed.count(": right") >= blanks


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ('compare("var", 2.0)', "dvar: not right yet. The ½ is missing: √u"),
        ('compare("beta", dy)', "dbeta: not right yet. It has a row for each"),
        ('compare("s", dvar / m)', "ds: right"),
        ("judge((dx_off, *theirs[1:]), theirs)", "dx: wrong; first entry"),
    ],
)
def test_a_wrong_answer_is_told_what_is_wrong(filled_chapter, call, said):
    path, _, names = filled_chapter
    assert path.stem == "05_backward_graph", "no test of this chapter's wrong answers"
    names = names | {"dx_off": names["theirs"][0] + 1}
    assert said in run([call], names)
