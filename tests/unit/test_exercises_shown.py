"""What a chapter shows as a fault has a name, there and for whoever writes it."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pytest

from batchnorm.exercises import TASKS, diagnose
from booktools.notebooks import ROOT, chapters, code_cells, prose

PAGE = ROOT / "chapters" / "05_backward_graph.ipynb"
SHOWN = [
    pytest.param(task, mistake, id=f"{task.name}-{mistake.id}")
    for task in TASKS.values()
    for mistake in task.shown
]


@pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)
def test_no_verdict_that_a_chapter_stores_is_without_a_name(path):
    said = "\n".join(
        output.get("text", "") for cell in code_cells(path) for output in cell.outputs
    )
    assert "has no name here" not in " ".join(said.split())


@pytest.mark.parametrize(("task", "mistake"), SHOWN)
def test_a_mistake_that_a_chapter_shows_is_named_in_eight_lines(task, mistake):
    found = diagnose(task.name, task.planted(mistake))
    assert (found.right, found.mistake) == (False, mistake.id)
    lines = found.message.splitlines()
    assert len(lines) <= 8
    assert "…" not in found.message
    joined = " ".join(found.message.split())
    assert mistake.says in joined
    assert mistake.training in joined
    assert mistake.tempting.endswith(".")


def test_what_is_shown_is_not_planted_for_a_readers_test():
    for task in TASKS.values():
        planted = {mistake.id for mistake in task.mistakes}
        assert not planted & {mistake.id for mistake in task.shown}


# ---------------------------------------------------------------------------
# Chapter 5: its table of faults, and the programs of its exercises


@pytest.fixture(scope="module")
def chapter():
    """What the cells of chapter 5 define up to its hunt, and its six equations."""
    page, cells = {}, [cell.source for cell in code_cells(PAGE)]
    last = next(k for k, source in enumerate(cells) if "faults = [" in source)
    wanted = next(s for s in cells if "def six_equations(dy, g, power" in s)
    for source in [*cells[: last + 1], wanted]:
        exec(source, page)
    plt.close("all")
    return page


# The faults of the table, in its order: the node at which each is seen, and its name
# there and in the whole pass.
HUNT = [
    ("s", "variance-constant", "variance-constant"),
    ("x_2", "mean-constant", "mean-constant"),
    ("s", "not-divided", "variance-term-summed"),
    ("std", "sign-missing", "wrong-sign-variance"),
    ("x_hat", "gamma-missing", "gamma-missing"),
    ("var", "eps-missing", "eps-missing-in-root"),
    ("c", "second-path-only", "direct-path-missing"),
]


def test_every_fault_of_the_table_stands_in_the_list(chapter):
    rows = re.findall(r"^\| [^|]+ \| `[^|]+ \| `(\w+)` \| [^|]+ \|$", prose(PAGE), re.M)
    spoiled = [next(iter(fault)) for fault in chapter["faults"]]
    assert rows == spoiled
    assert len(HUNT) == len(rows) == 7


@pytest.mark.parametrize("row", range(7))
def test_a_fault_of_the_table_has_a_name_at_its_node(chapter, row):
    node, name, _ = HUNT[row]
    factors = chapter["faults"][row]
    gradients = chapter["node_by_node"](chapter["dy"], chapter["g"], **factors)
    assert diagnose(f"graph.d_{node}", getattr(gradients, node)).mistake == name


@pytest.mark.parametrize("row", range(7))
def test_a_fault_of_the_table_has_a_name_in_the_whole_pass(chapter, row):
    def mine(dy, x, gamma, eps):
        g = chapter["forward"](x, gamma, np.zeros_like(gamma), eps)
        written = [{"s": 0}, {"x_2": 0}, {"s": len(x)}, {"std": -1}]
        written += [{"x_hat": 1 / gamma}, {"var": g.std / g.var**0.5}, {"c_1": 0}]
        found = chapter["node_by_node"](dy, g, **written[row])
        return found.x, found.gamma, found.beta

    assert diagnose("backward", mine).mistake == HUNT[row][2]


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        (lambda g, dv: g.v**3 / 2 * dv, "sign"),
        (lambda g, dv: -(g.v**3) * dv, "half-missing"),
        (lambda g, dv: -(g.var**-1.5) / 2 * dv, "eps-missing-twice"),
    ],
)
def test_the_merged_node_written_wrongly_has_a_name(chapter, wrong, name):
    assert diagnose("graph.d_var", wrong(chapter["g"], chapter["dv"])).mistake == name


@pytest.mark.parametrize(
    ("off", "name"),
    [
        ({"power": 1}, "power-of-root"),
        ({"through_mean": 0}, "mean-constant"),
    ],
)
def test_the_papers_equations_written_wrongly_have_a_name(chapter, off, name):
    def mine(dy, x, gamma, eps):
        g = chapter["forward"](x, gamma, np.zeros_like(gamma), eps)
        return chapter["six_equations"](dy, g, **off)

    assert diagnose("backward", mine).mistake == name


@pytest.mark.parametrize(
    ("var", "name"),
    [
        (lambda g, dv: -dv / 2 / g.var / g.std, "eps-missing-in-inverse"),
        (lambda g, dv: -dv / 2 * g.var**-1.5, "eps-missing-in-both"),
    ],
)
def test_a_forgotten_eps_has_a_name_in_the_whole_pass(chapter, var, name):
    def mine(dy, x, gamma, eps):
        g = chapter["forward"](x, gamma, np.zeros_like(gamma), eps)
        right = chapter["node_by_node"](dy, g)
        dvar = var(g, right.v)
        dc = right.c_1 + 2 * g.c * dvar / len(x)
        return dc - dc.mean(axis=0), right.gamma, right.beta

    with np.errstate(all="ignore"):
        assert diagnose("backward", mine).mistake == name


# ---------------------------------------------------------------------------
# Chapter 6: two of its three colleagues


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("v * (dy - dy.mean(0) - x_hat * (dy * x_hat).sum(0))", "variance-term-summed"),
        ("v * (dy - x_hat * (dy * x_hat).mean(0))", "mean-constant"),
        ("v * ((dy - dy.mean(0)) - x_hat * ((dy - dy.mean(0)) * x_hat).mean(0))", None),
    ],
)
def test_a_line_of_the_three_colleagues_has_a_name_or_is_right(line, name):
    assert f"`{line}`" in prose(ROOT / "chapters" / "06_backward_closed.ipynb")

    def mine(dy, x, gamma, eps):
        v = 1 / np.sqrt(x.var(0) + eps)
        x_hat = v * (x - x.mean(0))
        known = {"v": v, "dy": dy, "x_hat": x_hat}
        return gamma * eval(line, known), (dy * x_hat).sum(0), dy.sum(0)

    found = diagnose("backward", mine)
    assert (found.right, found.mistake) == (name is None, name)
