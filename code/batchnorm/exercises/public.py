"""The checks of public exercises as tests for `catch`: how many mistakes each finds.

Each is written anew after what the exercise's own check does: its shapes, its γ, β and
ε, its tolerance; the numbers are drawn anew. Where a course only prints numbers for the
student to look at, they are looked at to three digits here. A check that asks for more
than a task has (a counter of batches, another name) is left out.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from batchnorm import reference
from batchnorm.exercises import catching
from batchnorm.exercises.tasks import TASKS

EPS = 1e-5
ARENA = "https://github.com/callummcdougall/ARENA_2.0/blob/a654576bc112468c998415be4bc0da3e10b0c0d9/chapter0_fundamentals/exercises/part3_resnets/tests.py"
CS231N = "https://cs231n.github.io/assignments2024/assignment2/"
TINY = "https://github.com/MLSysBook/TinyTorch/blob/c2d6a8987637b967915b2749edd01f5e5ddbb318/src/09_spatial/09_spatial.py"
DEEP_ML = "https://github.com/Open-Deep-ML/DML-OpenProblem/blob/10115b4d191dc31c749989893ebc60ffb614d460/build/115.json"
MAKEMORE = "https://github.com/karpathy/nn-zero-to-hero/blob/master/lectures/makemore/makemore_part4_backprop.ipynb"


@dataclass(frozen=True)
class PublicCheck:
    """The check of one public exercise."""

    course: str  # who asks it
    source: str  # its address
    task: str  # the task here that it fits
    says: str  # what it does, in a few words
    test: Callable  # for `catch`: takes a program, returns whether it passes

    def judge(self):
        """What the check finds among the planted mistakes of the task: a `Caught`."""
        return catching.judge(TASKS[self.task], self.test)


def _is_standard(y, axes, within, correction=0):
    """Whether means are 0 and deviations 1."""
    means, stds = y.mean(axes), y.std(axes, ddof=correction)
    return bool((abs(means) < within[0]).all() and (abs(stds - 1) < within[1]).all())


def cs231n_forward(program):
    """Means near β and deviations near γ, of what two random layers give."""
    rng = np.random.default_rng(231)
    hidden = np.maximum(0, rng.normal(size=(200, 50)) @ rng.normal(size=(50, 60)))
    x = hidden @ rng.normal(size=(60, 3))
    plain = program(x.copy(), np.ones(3), np.zeros(3), EPS)
    gamma, beta = np.array([1.0, 2.0, 3.0]), np.array([11.0, 12.0, 13.0])
    y = program(x.copy(), gamma, beta, EPS)
    moved = np.allclose(y.mean(0), beta, atol=1e-3)
    spread = np.allclose(y.std(0), gamma, atol=1e-3)
    return _is_standard(plain, 0, (1e-3, 1e-3)) and moved and spread


def cs231n_backward(program):
    """Relative errors below 1e-8 on one draw, the difference broadcast as it comes."""
    rng = np.random.default_rng(231)
    x, dy = 5 * rng.normal(size=(4, 5)) + 12, rng.normal(size=(4, 5))
    gamma = rng.normal(size=5)
    _, cache = reference.forward(x, gamma, np.zeros(5), eps=EPS)
    asked, got = reference.backward(dy, cache), program(dy, x, gamma, EPS)

    def error(a, b):
        return np.max(abs(a - b) / np.maximum(1e-8, abs(a) + abs(b)))

    return all(error(a, b) < 1e-8 for a, b in zip(asked, got, strict=True))


def makemore_backward(program):
    """`torch.allclose` with the gradients of one batch of 32, as they broadcast."""
    rng = np.random.default_rng(4)
    x, dy = rng.normal(size=(32, 64)), rng.normal(size=(32, 64)) / 32
    gamma = 1 + 0.1 * rng.normal(size=64)
    _, cache = reference.forward(x, gamma, np.zeros(64), eps=EPS)
    asked, got = reference.backward(dy, cache), program(dy, x, gamma, EPS)
    return all(np.allclose(b, a) for a, b in zip(asked, got, strict=True))


def arena_maps(program):
    """Means 0, deviations 1 to three digits, of 100 random maps, γ = 1, β = 0."""
    x = np.random.default_rng(0).normal(size=(100, 2, 3, 4))
    y = program(x, np.ones(2), np.zeros(2), EPS)
    return y.shape == x.shape and _is_standard(y, (0, 2, 3), (1e-5, 2e-3), 1)


def tinytorch_maps(program):
    """Means within 0.1 of 0 and deviations within 0.1 of 1, γ = 1, β = 0."""
    x = 10 * np.random.default_rng(0).normal(size=(32, 8, 4, 4)) + 5
    y = program(x, np.ones(8), np.zeros(8), EPS)
    return y.shape == x.shape and _is_standard(y, (0, 2, 3), (0.1, 0.1))


def deep_ml_maps(program):
    """All values of three cases of (2, 2, 2, 2), to eight digits; one γ for all."""
    for seed, scale, shift in ((42, 1.0, 0.0), (101, 1.0, 0.0), (101, 0.5, 1.0)):
        x = np.random.default_rng(seed).normal(size=(2, 2, 2, 2))
        gamma, beta = np.full(2, scale), np.full(2, shift)
        asked = reference.forward(x, gamma, beta, eps=EPS)[0]
        got = program(x.copy(), gamma, beta, EPS)
        if not np.allclose(got, asked, rtol=0, atol=1e-8):
            return False
    return True


def arena_module(cls):
    """The running mean after each of 30 batches; in evaluation the mean is 0."""
    import torch

    standard = cls(2).train()(torch.randn(1200, 2, generator=_generator()))
    if not _is_standard(standard.detach().numpy(), 0, (1e-5, 2e-3), 1):
        return False
    x = torch.arange(12.0).reshape(4, 3)
    module, mean = cls(3, momentum=0.6).train(), x.mean(0)
    for step in range(1, 31):
        module(x)
        asked = (1 - 0.4**step) * mean
        if not torch.allclose(module.running_mean.to(x.dtype), asked, rtol=1e-4):
            return False
    means = module.eval()(x).mean(0)
    return torch.allclose(means, torch.zeros_like(means), atol=1e-5)


def _generator():
    import torch

    return torch.Generator().manual_seed(0)


CHECKS = [
    PublicCheck("CS231n, assignment 2", CS231N, "forward",
                "means near β, deviations near γ, looked at", cs231n_forward),
    PublicCheck("CS231n, assignment 2", CS231N, "backward",
                "relative error on one draw, γ drawn", cs231n_backward),
    PublicCheck("makemore, part 4", MAKEMORE, "backward",
                "`allclose` on one batch, γ near 1", makemore_backward),
    PublicCheck("ARENA", ARENA, "feature_maps",
                "means 0, deviations 1 to three digits, γ = 1, β = 0", arena_maps),
    PublicCheck("TinyTorch", TINY, "feature_maps",
                "means 0, deviations 1 to one digit, γ = 1, β = 0", tinytorch_maps),
    PublicCheck("deep-ml 115", DEEP_ML, "feature_maps",
                "all values of three cases, one γ and β for all", deep_ml_maps),
    PublicCheck("ARENA", ARENA, "module",
                "means and deviations, the running mean", arena_module),
]  # fmt: skip
