"""What the tests of claims share: a chapter's page, verdicts, and the grid of rates."""

import ast
import re
from operator import attrgetter

import numpy as np
import pytest

from batchnorm import claims
from booktools.notebooks import CHAPTERS, code_cells, prose

FEW = tuple(range(10))
#: The rates that arms were chosen from: two to each power of ten, in two digits.
GRID = [float(f"{10 ** (k / 2):.2g}") for k in range(-10, 3)]


def each(entries):
    """Run a test of a ``claim`` for each of these."""
    return pytest.mark.parametrize("claim", entries, ids=attrgetter("id"))


def verdict(id, **changed):
    """That of a claim on a few seeds, with some of its setting changed."""
    return claims.get(id).run(FEW, **changed).verdict


def is_best_of_its_grid(rate, score):
    """Whether the rates beside it have a lower score."""
    at = GRID.index(rate)
    return np.argmax([score(near) for near in GRID[at - 1 : at + 2]]) == 1


class Page:
    """What a chapter says, computes and prints."""

    def __init__(self, name):
        path = CHAPTERS / f"{name}.ipynb"
        self.code, self.prose = code_cells(path), prose(path)
        self.linked = set(re.findall(r"<claim-([\w-]+)>", self.prose))

    def cell(self, text):
        """The one code cell that contains the text."""
        (found,) = [cell for cell in self.code if text in cell.source]
        return found

    def printed(self, text):
        """What the one code cell that contains the text prints."""
        return printed(self.cell(text))

    @property
    def shown(self):
        """The claims whose statement a cell prints."""
        text = "".join("".join(map(printed, self.code)).split())
        every = claims.claims()
        return {c.id for c in every if "".join(c.statement.split()) in text}

    def defined(self, *names):
        """Functions as cells define them, with what the cells import, by name."""
        tree = ast.parse("\n".join(cell.source for cell in self.code))
        needed = ast.Import, ast.ImportFrom
        tree.body = [
            node
            for node in tree.body
            if isinstance(node, needed) or getattr(node, "name", None) in names
        ]
        space = {}
        exec(compile(tree, "<chapter>", "exec"), space)
        return space


def printed(cell):
    return "".join(out.get("text", "") for out in cell.outputs)
