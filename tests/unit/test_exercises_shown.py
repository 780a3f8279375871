"""What a chapter shows as a fault has a name, there and for whoever writes it."""

import functools
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


# ---------------------------------------------------------------------------
# Chapters 13 and 16: programs by parts, and by one reading, of a reader's functions


def driver(chapter, name):
    """What a chapter calls a reader's functions with."""
    cells = code_cells(ROOT / "chapters" / chapter)
    source = next(c.source for c in cells if f"def {name}(" in c.source)
    page = {"np": np, "wraps": functools.wraps}
    exec(source.split("\n\n\ndef statistics")[0], page)
    return page[name]


def sent_by(part, ddof=0):
    return len(part), part.mean(0), part.var(0, ddof=ddof)


def shares(sent):
    counts, means, variances = map(np.array, zip(*sent, strict=True))
    return (counts / counts.sum())[:, None], means, variances


def apart(part, sent, eps):
    return part.mean(0), part.var(0) + eps


def stds(part, sent, eps):
    share, means, variances = shares(sent)
    return (share * means).sum(0), (share * variances**0.5).sum(0) ** 2 + eps


def stds_and_between(part, sent, eps):
    mean, var = stds(part, sent, eps)
    share, means, _ = shares(sent)
    return mean, var + (share * (means - mean) ** 2).sum(0)


def stds_with_eps(part, sent, eps):
    share, means, variances = shares(sent)
    return (share * means).sum(0), (share * (variances + eps) ** 0.5).sum(0) ** 2


def all_merged(part, sent, eps):
    share, means, variances = shares(sent)
    mean = (share * means).sum(0)
    return mean, (share * (variances + (means - mean) ** 2)).sum(0) + eps


@pytest.mark.parametrize(
    ("moments", "ddof", "name"),
    [
        (apart, 0, "parts-apart"),
        (stds, 0, "parts-std"),
        (stds_and_between, 0, "parts-std-and-between"),
        (stds_with_eps, 0, "parts-std-with-eps"),
        (all_merged, 1, "parts-unbiased"),
        (all_merged, 0, None),
    ],
)
@pytest.mark.filterwarnings("ignore:Degrees of freedom")
def test_a_slip_in_a_batch_by_parts_has_a_name(moments, ddof, name):
    def finish(part, sent, gamma, beta, eps):
        mean, var = moments(part, sent, eps)
        return gamma * (part - mean) / np.sqrt(var) + beta

    def send(part):
        return sent_by(part, ddof)

    found = diagnose("forward", driver("13_failures.ipynb", "by_parts")(send, finish))
    assert (found.right, found.mistake) == (name is None, name)


@pytest.mark.parametrize(
    ("moments", "name"),
    [
        (lambda s, off, squares: (off, squares - off**2), "mean-of-the-shifted"),
        (
            lambda s, off, squares: (s + off, squares),
            "variance-about-the-first",
        ),
        (lambda s, off, squares: (s, squares - off**2), "first-for-mean"),
        (lambda s, off, squares: (s, squares), "first-for-both"),
        (lambda s, off, squares: (s + off, squares - off**2), None),
    ],
)
def test_a_slip_in_a_shifted_reading_has_a_name(moments, name):
    def statistics(rows):
        first = next(rows)
        d = np.array([0 * first, *(row - first for row in rows)])
        return moments(first, d.mean(0), (d * d).mean(0))

    found = diagnose("forward", driver("16_machine.ipynb", "once")(statistics))
    assert (found.right, found.mistake) == (name is None, name)


def test_a_driver_of_empty_functions_is_told_to_be_filled_in():
    def empty(*_): ...

    for built in (
        driver("13_failures.ipynb", "by_parts")(empty, empty),
        driver("16_machine.ipynb", "once")(empty),
    ):
        found = diagnose("forward", built)
        assert found.message.startswith("forward: not filled in yet; asked for is ")


def test_whole_rows_are_not_sent():
    send, finish = lambda part: (len(part), *part), lambda part, *_: part
    found = diagnose("forward", driver("13_failures.ipynb", "by_parts")(send, finish))
    assert "more was sent than is allowed" in found.message


# ---------------------------------------------------------------------------
# Chapter 15: merging, and the backward pass of many workers


@pytest.mark.parametrize(
    ("within", "over", "name"),
    [
        (lambda n, var: n * var, False, "squares-not-divided"),
        (lambda n, var: var, True, "variance-for-squares"),
        (lambda n, var: n * var, True, None),
    ],
)
def test_a_slip_in_the_sums_of_squares_has_a_name(within, over, name):
    def merged(shards):
        total = sum(n for *_, n in shards)
        mean = sum(n * mu for mu, _, n in shards) / total
        squares = sum(within(n, v) + n * (mu - mean) ** 2 for mu, v, n in shards)
        return mean, squares / (total if over else 1), total

    found = diagnose("merge", merged)
    assert (found.right, found.mistake) == (name is None, name)


def test_a_forgotten_scale_has_a_name_across_workers():
    def mine(dy, x, gamma, eps):
        rows, n = np.concatenate(x), sum(map(len, x))
        std = np.sqrt(rows.var(0) + eps)
        hats = [(s - rows.mean(0)) / std for s in x]
        dbeta = sum(d.sum(0) for d in dy)
        dgamma = sum((d * h).sum(0) for d, h in zip(dy, hats, strict=True))
        pairs = zip(dy, hats, strict=True)
        dx = [(d - (dbeta + h * dgamma) / n) / std for d, h in pairs]
        return dx, dgamma, dbeta

    assert diagnose("sync_backward", mine).mistake == "gamma-missing"
