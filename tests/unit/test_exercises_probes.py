"""The probes are proved: on them no two programs that differ give the same."""

import itertools

import numpy as np
import pytest

from batchnorm.exercises import TASKS, compare
from batchnorm.exercises.tasks import as_arrays

# Two programs are apart only if they are by much more than float32's rounding.
APART = 10 * compare.SINGLE


def differ(task, first, second, like=tuple):
    """Whether two programs differ on a probe that both precisions can see."""
    for probe, a, b in zip(task.probes, first, second, strict=True):
        if probe.far:
            continue
        if isinstance(a, str) or isinstance(b, str):
            if a != b:
                return True
            continue
        if any(x.shape != y.shape for x, y in zip(a, b, strict=True)):
            return True
        if not compare.all_agree(like(a), like(b), APART):
            return True
    return False


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_no_two_mistakes_and_no_mistake_and_the_truth_agree_on_all_probes(task):
    # In this order a program is compared with them, with each in its own way.
    programs = [("the truth", task.truths, tuple)]
    programs += [
        (c.id, c.outputs, c.like or tuple) for c in task.candidates if "+" not in c.id
    ]
    for (a, first, like), (b, second, _) in itertools.combinations(programs, 2):
        if (a, b) == ("the truth", "one-pass-variance"):
            continue  # in float32 it is the rounding that is wrong: next test
        assert differ(task, first, second, like), f"{a} and {b} agree"


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_pair_is_not_the_truth(task):
    for candidate in task.candidates:
        apart = differ(task, candidate.outputs, task.truths)
        assert apart or "one-pass-variance" in candidate.id, candidate.id


@pytest.mark.parametrize("name", ["forward", "backward", "feature_maps", "layer_norm"])
def test_one_pass_shows_far_from_zero_and_nowhere_else(name):
    task = TASKS[name]
    one_pass = next(c for c in task.candidates if c.id == "one-pass-variance")
    verdicts = [
        compare.all_agree(got, asked, compare.DOUBLE)
        for got, asked in zip(one_pass.outputs, task.truths, strict=True)
    ]
    assert verdicts == [not probe.far for probe in task.probes]
    assert verdicts.count(False) == 1


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_the_program_by_lines_is_the_books(task):
    for probe, asked in zip(task.probes, task.truths, strict=True):
        got = as_arrays(task.adapt(task.planted())(*probe.fresh()))
        assert compare.all_agree(got, asked, 1e-12)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_the_smallest_probe_comes_first_and_fits_a_line(task):
    sizes = [probe.size for probe in task.probes if not probe.far]
    assert sizes[0] == min(sizes)
    assert sizes[0] <= 12


def test_probes_are_the_same_in_float32_but_for_the_far_ones():
    for task in TASKS.values():
        for probe in task.probes:
            for value in probe.arguments.values():
                if isinstance(value, np.ndarray):
                    same = np.array_equal(value, value.astype(np.float32))
                    assert same or probe.far


def test_probes_are_what_they_are_said_to_be():
    probes = TASKS["backward"].probes
    assert {len(p.arguments["x"]) for p in probes} >= {2, 3, 4, 5}
    widest = probes[-1].arguments["x"]
    spreads = widest.std(0)
    assert spreads[-1] == 0
    assert spreads[:-1].min() < 2e-3
    assert spreads[:-1].max() > 8
    for probe in probes:
        values = probe.arguments
        assert not (values["gamma"] == 1).any()
        assert values["eps"] not in (1e-5, 1e-3)
        assert (values["dy"].std(0) > 0).all()
        if len(values["x"]) > 2:  # with two examples every dy is along x̂
            angles = [
                np.corrcoef(a, b)[0, 1]
                for a, b in zip(values["x"].T, values["dy"].T, strict=True)
                if a.std() > 0
            ]
            assert np.abs(angles).max() < 0.999
