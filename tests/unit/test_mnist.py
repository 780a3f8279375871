"""What chapter 8 says of MNIST, where MNIST is; `test_figure1` has chapter 7's part."""

import ast

import pytest

from batchnorm import mnist
from booktools.notebooks import CHAPTERS, read


def defined(chapter, *names):
    """Functions that the cells of a chapter define, with what they import."""
    cells = [
        cell for cell in read(CHAPTERS / chapter).cells if cell.cell_type == "code"
    ]
    tree = ast.parse("\n".join(cell.source for cell in cells))
    needed = (ast.Import, ast.ImportFrom)
    tree.body = [
        node
        for node in tree.body
        if isinstance(node, needed) or getattr(node, "name", None) in names
    ]
    found = {}
    exec(compile(tree, chapter, "exec"), found)
    return [found[name] for name in names]


@pytest.mark.usefixtures("needs_mnist")
def test_the_network_of_chapter_8_reads_mnist():
    small_network, train_network, read_right = defined(
        "09_feature_maps.ipynb", "small_network", "train_network", "read_right"
    )
    data, reader = mnist.load(), small_network(pixels=28).float()
    assert read_right(reader, data) < 0.5
    train_network(reader, data, steps=150, lr=0.1)
    assert read_right(reader, data) >= 0.9


@pytest.mark.parametrize(
    ("folder", "outcome", "says"),
    [
        ("", pytest.skip.Exception, "no MNIST, so nothing was compared"),
        ("/nowhere", pytest.fail.Exception, "'/nowhere', which does not hold MNIST"),
    ],
    ids=["not set", "wrong"],
)
def test_nothing_passes_that_compared_nothing(
    request, monkeypatch, folder, outcome, says
):
    monkeypatch.setenv(mnist.DIRECTORY, folder)
    monkeypatch.setattr(mnist, "available", lambda: False)
    with pytest.raises(outcome, match=says):
        request.getfixturevalue("needs_mnist")
