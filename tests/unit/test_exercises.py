"""The verdicts: every planted mistake is caught and named, in eight lines."""

import dataclasses
import itertools
import re
import time

import numpy as np
import pytest
from torch import nn

from batchnorm import exercises, graph
from batchnorm.exercises import MISTAKES, TASKS, catching, check, diagnose, messages
from batchnorm.exercises.lines import combinable
from batchnorm.exercises.mistakes import graph as planted

PROGRAMS = {name: task for name, task in TASKS.items() if not task.answer}


def singles():
    for name, task in TASKS.items():
        for mistake in task.mistakes:
            yield pytest.param(task, mistake, id=f"{name}-{mistake.id}")


# ---------------------------------------------------------------------------
# Named


@pytest.mark.parametrize(("task", "mistake"), list(singles()))
def test_a_planted_mistake_is_named(task, mistake):
    found = diagnose(task.name, task.planted(mistake))
    assert not found.right
    assert found.mistake == mistake.id


@pytest.mark.parametrize("task", PROGRAMS.values(), ids=PROGRAMS)
def test_of_two_mistakes_at_least_one_is_named(task):
    parts = {mistake.id: {mistake.id, *mistake.joins} for mistake in task.mistakes}
    pairs = 0
    for first, second in itertools.combinations(task.mistakes, 2):
        if not combinable(first, second):
            continue
        found = diagnose(task.name, task.planted(first, second))
        assert not found.right, (first.id, second.id)
        named = set().union(*(parts[id] for id in (found.mistake or "").split("+")))
        assert named & {first.id, second.id}, (first.id, second.id, found.mistake)
        pairs += 1
    assert pairs > 20


def test_two_mistakes_are_joined_by_a_plus_and_told_one_at_a_time():
    task = TASKS["backward"]
    first = next(m for m in task.mistakes if m.id == "mean-constant")
    second = next(m for m in task.mistakes if m.id == "dgamma-from-x")
    found = diagnose("backward", task.planted(first, second))
    assert found.mistake == "mean-constant+dgamma-from-x"
    assert first.says.split(":")[0] in found.message
    assert second.says[:20] not in found.message
    assert "second mistake" in found.message


def test_a_mistake_is_named_though_the_input_is_written_to_as_well():
    def mine(x, gamma, beta, eps):
        x -= x.mean(0)
        return gamma * x / np.sqrt((x**2).sum(0) / (len(x) - 1) + eps) + beta

    assert diagnose("forward", mine).mistake == "variance-unbiased+writes-to-input"


def test_the_catalogue_is_as_large_as_promised():
    counted = [m for task in PROGRAMS.values() for m in task.mistakes]
    assert len(counted) >= 60
    assert len({m.id for m in counted}) >= 60
    for task in TASKS.values():
        ids = [m.id for m in task.mistakes]
        assert len(ids) == len(set(ids))
        assert list(MISTAKES[task.name]) == ids + [m.id for m in task.shown]
        for mistake in task.mistakes:
            assert set(mistake.joins) < set(ids)


# ---------------------------------------------------------------------------
# What is said


@pytest.mark.parametrize(("task", "mistake"), list(singles()))
def test_a_message_has_eight_lines_that_fit(task, mistake):
    message = diagnose(task.name, task.planted(mistake)).message
    lines = message.splitlines()
    assert len(lines) <= 8
    assert max(map(len, lines)) <= 88
    assert "…" not in message  # nothing had to be cut off
    assert "TASKS" not in message  # which a reader has not met
    joined = " ".join(message.split())
    assert mistake.says in joined
    assert mistake.training in joined
    assert ("right is" in joined) or mistake.damage or task.answer
    assert mistake.tempting.endswith(".")
    assert not mistake.source or re.fullmatch(r"[\w.-]+/[\w.-]+#\d+", mistake.source)


def test_a_long_input_is_told_by_its_shape_and_spread():
    def one_for_all(x, gamma, beta, eps):
        return gamma * (x - x.mean()) / np.sqrt(x.var() + eps) + beta

    message = " ".join(diagnose("forward", one_for_all).message.split())
    x = TASKS["forward"].probes[3].arguments["x"]
    spread = f"from {x.std(axis=0).min():.2g} to {x.std(axis=0).max():.2g}"
    assert (
        f"At x of shape {x.shape}, whose columns have standard deviations {spread}, "
        "eps = 0.25: your y[0, 0] is" in message
    )
    assert "graph.d_s:" in diagnose("graph.d_squared", np.ones((4, 1))).message
    message = diagnose("graph", {"d_z": np.zeros((4, 1))}).message
    assert message.startswith("graph.d_z: not right yet")
    assert "d_scaled" not in message


def test_numbers_do_not_show_the_last_bit():
    assert messages._digits(0.1 + 0.2) == messages._digits(0.3) == "0.3"
    assert messages._digits(-1e-17) == "0"
    assert messages._digits(0.12345 * (1 + 1e-15)) == messages._digits(0.12345)


def test_check_prints_the_message(capsys):
    assert check("forward", TASKS["forward"].planted()) is None
    assert capsys.readouterr().out == "forward: right, to rounding, on 6 inputs.\n"


# ---------------------------------------------------------------------------
# What cannot be compared


def said(mine, task="forward"):
    found = diagnose(task, mine)
    assert (found.right, found.mistake) == (False, None)
    assert "Traceback" not in found.message
    assert len(found.message.splitlines()) <= 8
    return " ".join(found.message.split())


def test_bad_answers_get_a_sentence():
    assert "of type float; asked for is a function forward(x" in said(1.0)
    assert "None: is there a return?" in said(lambda *_: print(end=""))
    assert "2 results" in said(lambda x, *_: (x, x), "backward")
    assert "returns 2 results; asked for is y." in said(lambda x, *_: (x, "cache"))
    assert "1 result; asked for is (factor, shift)" in said(
        lambda *_: 1.0, "redrawn_noise"
    )
    assert "not filled in yet, not" in said(lambda *_: (..., 1), "redrawn_noise")
    assert "dgamma is None" in said(lambda dy, *_: (dy, None, dy), "backward")
    assert "dtype <U2" in said(lambda *_: "no")
    assert "cannot be read" in said(lambda *_: [[1.0], [1.0, 2.0]])
    assert "y has another shape" in said(lambda x, *_: x.T)
    assert "not finite" in said(lambda x, *_: x * np.nan)


def stub(*arguments):
    """What is asked for."""
    ...


class Stub(nn.Module):
    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        super().__init__()

    def forward(self, x): ...


@pytest.mark.parametrize("name", [*TASKS, "graph"])
def test_an_empty_answer_is_told_to_be_filled_in(name):
    answers = [..., None, *([Stub, nn.Module] if name == "module" else [])]
    if not name.startswith("graph"):
        answers += [stub, lambda *arguments: ...]
    for answer in answers:
        found = diagnose(name, answer)
        assert not found.right
        assert found.mistake is None
        assert found.message.startswith(f"{name}: not filled in yet; asked for is ")


def test_an_answer_that_is_filled_in_by_half_is_told_where():
    def half(x, gamma, beta, eps):
        mean = ...
        return x - mean

    def dots(dy, x, gamma, eps):
        return dy, ..., dy.sum(0)

    def refuses(x, gamma, beta, eps):
        raise NotImplementedError

    said = "forward: not filled in yet, not everywhere.\nIt is at your line: "
    assert diagnose("forward", half).message == said + "return x - mean"
    assert diagnose("forward", refuses).message == said + "raise NotImplementedError"
    said = "backward: dgamma is not filled in yet: it is still `...`."
    assert diagnose("backward", dots).message == said
    said = "graph.d_z: not filled in yet; asked for is an array."
    assert diagnose("graph", {"d_z": ...}).message == said


def test_an_answer_that_returns_nothing_is_not_taken_for_empty():
    def forgets(x, gamma, beta, eps):
        y = x  # noqa: F841

    class Inherits(nn.BatchNorm1d): ...

    assert "is there a return?" in diagnose("forward", forgets).message
    assert "not filled in" not in diagnose("forward", lambda *_: 0.0).message
    assert diagnose("module", Inherits).right


def test_an_unknown_task_is_refused():
    with pytest.raises(ValueError, match=r"task is 'backwards'; allowed are 'forward'"):
        diagnose("backwards", None)
    with pytest.raises(ValueError, match="task is None"):
        check(None, None)
    with pytest.raises(ValueError, match=r"task is 'graph.d_var'"):
        exercises.catch("graph.d_var", None)


def test_an_error_is_told_with_the_readers_own_line():
    def mine(x, gamma, beta, eps):
        return gamma @ undefined_name  # noqa: F821

    assert "NameError: name 'undefined_name'" in said(mine)
    assert "at your line: return gamma @ undefined_name" in said(mine)

    def inside_numpy(x, gamma, beta, eps):
        return np.linalg.inv(gamma)

    assert "LinAlgError" in said(inside_numpy)
    assert "at your line: return np.linalg.inv(gamma)" in said(inside_numpy)
    assert "called as forward(x, gamma, beta, eps)" in said(lambda x: x)


def test_leaving_the_interpreter_is_an_error_like_any_other():
    def mine(*_):
        raise SystemExit

    assert "SystemExit" in said(mine)


def test_an_endless_loop_is_cut(monkeypatch):
    monkeypatch.setattr(exercises.calls, "LIMIT", 0.3)
    turns = []

    def mine(x, *_):
        while True:
            turns.append(1)

    message = said(mine)
    assert "no result after" in message
    assert "at your line: " in message
    count = len(turns)
    time.sleep(0.2)
    assert len(turns) == count, "it still runs"


# ---------------------------------------------------------------------------
# What has no name


@pytest.mark.parametrize(
    ("task", "mine", "words"),
    [
        ("forward", lambda x, g, b, e: x - x.mean(0) + b + 0.1, "sum of each channel"),
        (
            "forward",
            lambda x, g, b, e: b + np.vander(np.linspace(-1, 1, len(x)), 2)[:, :1],
            "the results of the others move by",
        ),
        (
            "backward",
            lambda dy, x, g, e: (dy, dy.sum(0), dy.sum(0)),
            "dx sums to 0 in each channel",
        ),
        (
            "inference",
            lambda x, g, b, m, v, e: (x - x.mean(0)) * g + b,
            "do not move",
        ),
        (
            "redrawn_noise",
            lambda r, m, d: r.normal(1, 0.1, (2, m, d)),
            "of a unit have",
        ),
        ("redrawn_noise", lambda r, m, d: r.normal(1, 0.1, 2), "Each unit draws"),
        (
            "redrawn_noise",
            lambda r, m, d: r.uniform(1, 1.3, (2, d)),
            "between 1 and 1.25",
        ),
        (
            "redrawn_noise",
            lambda r, m, d: (r.random(d) / 4 + 1, r.random(d)),
            "−0.5",
        ),
        (
            "redrawn_noise",
            lambda r, m, d: (1 + r.random(d) / 4, r.triangular(-0.5, 0, 0.5, d)),
            "spread evenly",
        ),
    ],
)
def test_without_a_name_the_first_property_that_fails_is_told(task, mine, words):
    message = said(mine, task)
    assert "has no name here" in message
    assert words in message


@pytest.mark.parametrize("task", PROGRAMS.values(), ids=PROGRAMS)
@pytest.mark.parametrize("off", [1 + 1e-3, 1 - 1e-6, -1, 3])
def test_what_is_not_planted_gets_no_name(task, off):
    program = task.adapt(task.planted())

    def mine(*arguments):
        results = program(*arguments)
        first, *others = results if isinstance(results, tuple) else (results,)
        return (first * off, *others) if others else first * off

    plain = dataclasses.replace(task, adapt=lambda program: program)
    found = exercises.diagnosis.examine(plain, mine)
    if off == 1 - 1e-6:  # the fourth digit is right, and float32 has no more
        assert found.right
        assert "float32" in found.message
    else:
        half_a_turn = (task.name, off) == ("whiten", -1)  # which leaves white what is
        name = "rotated" if half_a_turn else None
        assert (found.right, found.mistake) == (False, name)


@pytest.mark.parametrize("task", PROGRAMS.values(), ids=PROGRAMS)
def test_the_right_program_has_all_properties(task):
    assert (
        exercises.diagnosis._broken_property(task, task.adapt(task.planted())) is None
    )


# ---------------------------------------------------------------------------
# The graph


def all_nodes():
    values = graph.forward(planted.X, planted.GAMMA, planted.BETA, eps=planted.EPS)
    return graph.backward(planted.DY, values)._asdict()


def test_the_first_wrong_node_is_named():
    right = {name: np.array(v) for name, v in all_nodes().items() if name != "d_y"}
    assert diagnose("graph", right).right
    wrong = right | {"d_var": 2 * right["d_var"], "d_x": right["d_x"] * 3}
    assert diagnose("graph", wrong).mistake == "d_var:half-missing"
    noise = right | {"d_var": right["d_var"] * (1 + 1e-13)}
    assert diagnose("graph", noise).right, "rounding is no error"
    shaped = right | {"d_beta": right["d_beta"][None]}
    assert diagnose("graph", shaped).mistake == "d_beta:keeps-axis"
    short = {"d_z": right["d_scaled"]}
    assert diagnose("graph", short).message.startswith("graph: d_beta is missing")
    assert "no node 'd_q'" in diagnose("graph", {"d_q": 1}).message
    assert "of type list" in diagnose("graph", []).message
    assert diagnose("graph.d_mu", right["d_mean"]).right
    message = diagnose("graph.d_x", lambda: 1).message
    assert "real numbers" in " ".join(message.split())


# ---------------------------------------------------------------------------
# The reverse


def usual_test(program):
    """The test that most courses make: mean 0 and deviation 1 of the output."""
    x = np.random.default_rng(0).normal(3, 2, size=(200, 5))
    y = program(x, np.ones(5), np.zeros(5), 1e-5)
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(y.std(0), 1, atol=1e-2)


def test_an_empty_test_is_told_to_be_filled_in():
    for empty in (..., None, stub):
        found = catching.judge(TASKS["forward"], empty)
        assert found.message.startswith("forward: not filled in yet; asked for is a ")


def test_the_usual_test_misses_most(capsys):
    caught = catching.judge(TASKS["forward"], usual_test)
    assert caught.accused == ()
    assert {"gamma-missing", "variance-unbiased", "eps-missing"} <= set(caught.missed)
    assert 0 < len(caught.found) < len(caught.missed)
    exercises.catch("forward", usual_test)
    said = capsys.readouterr().out
    total = len(caught.found) + len(caught.missed)
    assert f"finds {len(caught.found)} of {total} planted" in said
    assert len(said.splitlines()) <= 8


@pytest.mark.parametrize("task", PROGRAMS.values(), ids=PROGRAMS)
def test_a_test_by_diagnosis_finds_all_and_accuses_none(task):
    caught = catching.judge(task, lambda program: diagnose(task.name, program).right)
    assert caught.missed == ()
    assert caught.accused == ()


def test_a_long_list_of_what_a_test_misses_is_cut_and_the_verdict_is_not():
    message = catching.judge(TASKS["backward"], lambda program: True).message
    assert "finds 0 of 27 planted mistakes" in message
    assert "accepts all" in message
    assert "and 18 more." in message
    assert len(message.splitlines()) <= 8


def test_the_answer_at_a_node_is_not_given_away():
    message = diagnose("graph.d_var", np.array([2.0])).message
    assert "your d_var[0] is 2, which is wrong." in message


def test_a_test_that_accuses_is_told_so():
    def strict(program):
        assert False, "no program is good enough"  # noqa: B011, PT015

    caught = catching.judge(TASKS["forward"], strict)
    assert len(caught.accused) == 4
    assert "refuses 4 of 4 right programs" in caught.message
    assert "no program is good enough" in caught.message
    assert "of type float" in catching.judge(TASKS["forward"], 1.0).message
