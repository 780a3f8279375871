"""Tasks to be graded: named mistakes, and programs that borrow the answer."""

import itertools

import numpy as np
import pytest
import torch

from batchnorm import reference, relatives
from batchnorm.exercises import GRADED, TASKS, diagnose
from batchnorm.exercises.borrowing import borrowed
from batchnorm.exercises.tasks import as_arrays
from batchnorm.layer import BatchNorm

MISTAKES = [(task, m) for task in GRADED.values() for m in task.mistakes]
NAMES = [m.id for _, m in MISTAKES]


def by_loops(dy, x, gamma, groups, eps):
    dx, dgamma, dbeta = np.zeros(x.shape), np.zeros(gamma.shape), dy.sum((0, 2, 3))
    size = x.shape[1] // groups
    for k, first in itertools.product(range(len(x)), range(0, x.shape[1], size)):
        mine = slice(first, first + size)
        part = x[k, mine]
        std = np.sqrt(part.var() + eps)
        x_hat = (part - part.mean()) / std
        g = gamma[mine, None, None] * dy[k, mine]
        dx[k, mine] = (g - g.mean() - x_hat * (g * x_hat).mean()) / std
        dgamma[mine] += (dy[k, mine] * x_hat).sum((1, 2))
    return dx, dgamma, dbeta


def by_torch(dy, x, gamma, groups, eps):
    leaf, scale = (torch.tensor(a, requires_grad=True) for a in (x, gamma))
    shift = torch.zeros_like(scale, requires_grad=True)
    y = torch.nn.functional.group_norm(leaf, groups, scale, shift, eps)
    found = torch.autograd.grad(y, (leaf, scale, shift), torch.tensor(dy))
    return tuple(each.numpy() for each in found)


@pytest.mark.parametrize("program", [by_loops, by_torch])
def test_right_programs_are_right_and_borrow_nothing(program):
    found = diagnose("group_backward", program)
    assert found.right, found.message
    assert borrowed("group_backward", program) == ""


@pytest.mark.parametrize(("task", "mistake"), MISTAKES, ids=NAMES)
def test_a_planted_mistake_is_named_in_eight_lines(task, mistake):
    found = diagnose(task.name, task.planted(mistake))
    assert found.mistake == mistake.id, found.message
    assert "…" not in found.message
    assert len(found.message.splitlines()) <= 8


@pytest.mark.parametrize("task", GRADED.values(), ids=GRADED)
def test_no_two_programs_give_the_same(task):
    assert task.name not in TASKS
    programs = [c.outputs for c in task.candidates if "+" not in c.id]
    for a, b in itertools.combinations([*programs, task.truths], 2):
        same = (
            x.shape == y.shape and np.allclose(x, y, rtol=1e-4)
            for p, q in zip(a, b, strict=True)
            for x, y in zip(p, q, strict=True)
        )
        assert not all(same)
    for probe, asked in zip(task.probes, task.truths, strict=True):
        for x, y in zip(as_arrays(task.planted()(*probe.fresh())), asked, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-12)


def through_a_helper(x, gamma, beta, eps):
    return helper(x, gamma, beta, eps)


def helper(x, gamma, beta, eps):
    from batchnorm import reference as mine

    return mine.forward(x, gamma, beta, eps=eps)[0]


def groups_of_the_package(dy, x, gamma, groups, eps):
    _, cache = relatives.group_norm(x, groups, gamma, 0 * gamma, eps=eps)
    return relatives.backward(dy, cache)


class Borrowed(torch.nn.Module):
    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        super().__init__()
        self.inside = BatchNorm(num_features, eps=eps, momentum=momentum)

    def forward(self, x):
        return self.inside(x)


@pytest.mark.parametrize(
    ("task", "program", "module"),
    [
        ("forward", through_a_helper, "batchnorm.reference"),
        ("forward", lambda *a: reference.forward(*a[:3], eps=a[3])[0], "reference"),
        ("group_backward", groups_of_the_package, "batchnorm.relatives"),
        ("module", Borrowed, "batchnorm.layer"),
    ],
)
def test_what_a_program_calls_of_the_package_is_found(task, program, module):
    assert module in borrowed(task, program)


def test_an_answer_that_runs_nothing_borrows_nothing():
    assert borrowed("forward", ...) == ""
    assert borrowed("forward", lambda *_: 1 / 0) == ""
