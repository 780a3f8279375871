"""The tasks: what is asked, the right program, its probes, and its mistakes.

The right answer always comes from the book's own modules. The program by lines, beside
which the mistakes stand, has to give the same; the tests compare them.

To add a task, add a `Task` to the list below.
"""

import copy
import functools
import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from batchnorm import folding, reference, relatives, statistics, whitening
from batchnorm.exercises import probes, properties
from batchnorm.exercises.lines import Lines, Mistake, combinable
from batchnorm.exercises.mistakes import (
    backward,
    graph,
    inference,
    layer_norm,
    module,
    noise,
    normalize,
    parallel,
    shown,
)
from batchnorm.exercises.mistakes import folding as folds
from batchnorm.exercises.mistakes import statistics as averages
from batchnorm.exercises.mistakes import whitening as white


@dataclass(frozen=True, eq=False, repr=False)
class Task:
    """One exercise."""

    signature: str  # what the reader writes, as "forward(x, gamma, beta, eps) -> y"
    right: Callable  # the right program, which returns a tuple
    program: Lines  # the same, line by line
    mistakes: list[Mistake]  # what is planted, the more important first
    probes: list[probes.Probe]  # from the smallest on
    properties: list[properties.Property]  # asked in this order where no mistake fits
    # Named as well, and not planted for `catch`: a chapter shows them in its program.
    shown: tuple[Mistake, ...] = ()
    wanted: tuple = ()  # the lines that are its results, where their names are others
    observed: tuple = ()  # what `adapt` makes of its results, where it does, by name
    asks: str = ""  # what the reader hands in, where that is not the function
    build: Callable | None = None  # turns lines into what a reader hands in
    # Turns what a reader hands in into a program of the arguments.
    adapt: Callable = lambda program: program

    def __repr__(self):
        return f"<{self.name}: {self.asks or self.signature}>"

    @property
    def name(self):
        """The word that `check` knows it by."""
        return self.signature.split("(")[0]

    @property
    def takes(self):
        """Names of the arguments."""
        inside = re.search(r"\((.*?)\)", self.signature)[1]
        return re.findall(r"\w+", inside)

    @property
    def gives(self):
        """Names of the results, as they are compared."""
        return self.observed or re.findall(r"\w+", self.signature.split("->")[1])

    @property
    def answer(self):
        """Whether an array is asked for, on numbers that the task has."""
        return not self.takes

    def planted(self, *mistakes):
        """What a reader with these mistakes hands in; with none, what is right."""
        program = self.program
        for mistake in mistakes:
            program = program.replaced(**mistake.lines)
        if self.build:
            return self.build(program)

        def wrong(*arguments):
            given = dict(zip(self.takes, arguments, strict=True))
            results = program.run(self.wanted or self.gives, given)
            for mistake in mistakes:
                if mistake.damage:
                    results = copy.deepcopy(results)  # some are arguments themselves
                    mistake.damage(*arguments)
            return results if len(results) > 1 else results[0]

        return wrong

    @functools.cached_property
    def truths(self):
        """The right results on each probe."""
        return [as_arrays(self.right(*probe.fresh())) for probe in self.probes]

    @functools.cached_property
    def candidates(self):
        """Singles, those that are shown, then pairs, each with what it gives."""
        singles = [(m,) for m in self.mistakes if not m.damage]
        pairs = itertools.combinations((m for (m,) in singles), 2)
        combined = [pair for pair in pairs if combinable(*pair)]
        tried = [*singles, *((m,) for m in self.shown), *combined]
        return [Candidate(each, self._outputs(each)) for each in tried]

    def _outputs(self, mistakes):
        program = self.adapt(self.planted(*mistakes))
        outputs = []
        for probe in self.probes:
            try:
                outputs.append(as_arrays(program(*probe.fresh())))
            except Exception as error:  # a mistake may well not run
                outputs.append(type(error).__name__)
        return outputs


@dataclass(frozen=True, eq=False)
class Candidate:
    """Mistakes, and what a program with them gives on each probe of the task."""

    mistakes: tuple[Mistake, ...]
    outputs: list

    @property
    def id(self):
        """The ids, joined by a plus."""
        return "+".join(mistake.id for mistake in self.mistakes)

    @property
    def like(self):
        """Brings outputs into the form in which they are compared, or None."""
        return self.mistakes[0].like


def as_arrays(results):
    """Results as a tuple of arrays of float64, whatever they came as."""
    results = results if isinstance(results, (tuple, list)) else (results,)
    return tuple(np.asarray(result).astype(np.float64) for result in results)


# ---------------------------------------------------------------------------
# The right programs, from the book's modules


def _forward(x, gamma, beta, eps):
    return (reference.forward(x, gamma, beta, eps=eps)[0],)


def _backward(dy, x, gamma, eps):
    _, cache = reference.forward(x, gamma, np.zeros_like(gamma), eps=eps)
    return reference.backward(dy, cache)


def _layer_norm(x, gamma, beta, eps):
    x_hat, _ = reference.forward(x.T, None, None, eps=eps)
    return (reference.scale_and_shift(x_hat.T, gamma, beta),)


def _layer_backward(dy, x, gamma, eps):
    _, cache = relatives.layer_norm(x, gamma, 0 * gamma, eps=eps)
    return relatives.backward(dy, cache)


def _running(mean, var, x, momentum):
    state = statistics.RunningStatistics(len(mean), momentum)
    state.mean, state.var = mean, var
    state.update(x)
    return state.mean, state.var


def _inference(x, gamma, beta, mean, var, eps):
    return (reference.inference(x, gamma, beta, mean, var, eps=eps),)


def _fold(weight, bias, gamma, beta, mean, var, eps):
    return folding.fold_linear(weight, bias, gamma, beta, mean, var, eps=eps)


def _whiten(x):
    return (whitening.fit_zca(x)(x),)


# ---------------------------------------------------------------------------
# The tasks

_ALL = [
    Task(
        "forward(x, gamma, beta, eps) -> y",
        _forward,
        normalize.TRANSFORM,
        normalize.FORWARD,
        probes.rows(),
        properties.FORWARD,
        shown.FORWARD,
    ),
    Task(
        "backward(dy, x, gamma, eps) -> (dx, dgamma, dbeta)",
        _backward,
        backward.GRADIENT,
        backward.BACKWARD,
        probes.gradients(),
        properties.BACKWARD,
        shown.BACKWARD,
    ),
    Task(
        "feature_maps(x, gamma, beta, eps) -> y",
        _forward,
        normalize.MAPS,
        normalize.FEATURE_MAPS,
        probes.maps(),
        properties.FORWARD,
    ),
    Task(
        "layer_norm(x, gamma, beta, eps) -> y",
        _layer_norm,
        normalize.EXAMPLES,
        normalize.LAYER_NORM,
        probes.examples(),
        properties.LAYER_NORM,
    ),
    Task(
        "layer_backward(dy, x, gamma, eps) -> (dx, dgamma, dbeta)",
        _layer_backward,
        layer_norm.BY_EXAMPLE,
        layer_norm.LAYER_BACKWARD,
        probes.gradients_by_example(),
        properties.LAYER_BACKWARD,
    ),
    Task(
        "running(mean, var, x, momentum) -> (mean, var)",
        _running,
        averages.UPDATE,
        averages.RUNNING,
        probes.updates(),
        properties.RUNNING,
        wanted=("new_mean", "new_var"),
    ),
    Task(
        "inference(x, gamma, beta, mean, var, eps) -> y",
        _inference,
        inference.INFER,
        inference.INFERENCE,
        probes.populations(),
        properties.INFERENCE,
    ),
    Task(
        "fold(weight, bias, gamma, beta, mean, var, eps) -> (weight, bias)",
        _fold,
        folds.FOLDED,
        folds.FOLD,
        probes.layers(),
        properties.FOLD,
        wanted=("new_weight", "new_bias"),
    ),
    Task(
        "merge(shards) -> (mean, var, count)",
        statistics.merge,
        averages.UNION,
        averages.MERGE,
        probes.unions(),
        properties.MERGE,
        shown.MERGE,
    ),
    Task(
        "whiten(x) -> white",
        _whiten,
        white.ZCA,
        white.WHITEN,
        probes.clouds(),
        properties.WHITEN,
    ),
    Task(
        "module(x, then, dy, gamma, beta, eps, momentum) -> (y, dx, dgamma, dbeta, "
        "running_mean, running_var, y_in_eval, moved_mean_in_eval, moved_var_in_eval, "
        "buffers_with_graph, buffers_saved, parameters)",
        module.right,
        module.MODULE,
        module.MODULE_MISTAKES,
        probes.sessions(),
        [],
        asks="a class cls(num_features, eps, momentum) of torch.nn.Module",
        build=module.build,
        adapt=module.observe,
    ),
    Task(
        "sync_backward(dy, x, gamma, eps) -> (dx, dgamma, dbeta)",
        parallel.right,
        parallel.SYNC,
        parallel.SYNC_MISTAKES,
        probes.workers(),
        [],
        shown.SYNC_BACKWARD,
        adapt=parallel.joined,
    ),
    Task(
        "redrawn_noise(rng, examples, units) -> (factor, shift)",
        noise.right,
        noise.NOISE,
        noise.MISTAKES,
        probes.draws(),
        noise.PROPERTIES,
        observed=tuple(noise.OBSERVED),
        build=noise.build,
        adapt=noise.observe,
    ),
]

# The nodes of chapter 5, on its numbers: the answer to each is an array.
_NODES = [
    Task(
        f"graph.{graph.SHOWN.get(name, name)}() -> {graph.SHOWN.get(name, name)}",
        functools.partial(graph.right, name),
        graph.NODES,
        mistakes,
        [probes.Probe({})],
        [],
        asks="an array",
        build=functools.partial(graph.answer, name),
        adapt=lambda answer: lambda: answer,
    )
    for name, mistakes in graph.MISTAKES.items()
]

TASKS = {task.name: task for task in [*_ALL, *_NODES]}
