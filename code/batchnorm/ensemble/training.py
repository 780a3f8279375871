"""Training K networks at once: the loop, its optimizers and what it records."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np
import torch
from torch import Tensor

from batchnorm import _checks
from batchnorm.datasets import Split

from .batches import Batches, init_parameters, shuffled
from .evaluation import evaluate, fill_gradient, moments_over
from .network import Network, arguments

# ---------------------------------------------------------------------- optimizers


@dataclass(frozen=True)
class SGD:
    """Gradient descent: ``v ← momentum · v + g``, ``θ ← θ − lr v``.

    ``g`` is the gradient plus ``weight_decay · θ``, as in torch.

    Parameters
    ----------
    momentum, weight_decay : float
        From 0 on.

    Raises
    ------
    ValueError
        If one of them is not.
    """

    momentum: float = 0.0
    weight_decay: float = 0.0

    def __post_init__(self):
        _checks.not_negative("momentum", self.momentum)
        _checks.not_negative("weight_decay", self.weight_decay)

    def start(self, theta: Tensor, gradient: Tensor, lr: Tensor) -> Callable[[], None]:
        """Get ready to train.

        Parameters
        ----------
        theta, gradient : Tensor, (K, P)
            Both are written to at every step.
        lr : Tensor, (K, 1)

        Returns
        -------
        function
            Takes one step by what is in ``gradient`` then.
        """
        velocity = torch.zeros_like(theta) if self.momentum else gradient

        def step():
            _add_decay(gradient, theta, self.weight_decay)
            if self.momentum:
                velocity.mul_(self.momentum).add_(gradient)
            theta.addcmul_(lr, velocity, value=-1)

        return step


@dataclass(frozen=True)
class Adam:
    """Adam as torch has it, with 0.9, 0.999 and 1e-8.

    Parameters
    ----------
    weight_decay : float
        From 0 on; times θ, it is added to the gradient.

    Raises
    ------
    ValueError
        If it is not.
    """

    weight_decay: float = 0.0

    def __post_init__(self):
        _checks.not_negative("weight_decay", self.weight_decay)

    def start(self, theta: Tensor, gradient: Tensor, lr: Tensor) -> Callable[[], None]:
        """Get ready to train, as `SGD.start` does.

        Parameters
        ----------
        theta, gradient, lr
            As there.

        Returns
        -------
        function
        """
        first, second = torch.zeros_like(theta), torch.zeros_like(theta)
        beta1, beta2, eps, t = 0.9, 0.999, 1e-8, 0

        def step():
            nonlocal t
            t += 1
            _add_decay(gradient, theta, self.weight_decay)
            first.lerp_(gradient, 1 - beta1)
            second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
            size = (second / (1 - beta2**t)).sqrt_().add_(eps)
            theta.sub_(lr / (1 - beta1**t) * first / size)

        return step


def _add_decay(gradient: Tensor, theta: Tensor, weight_decay: float) -> None:
    if weight_decay:
        gradient.add_(theta, alpha=weight_decay)


# ----------------------------------------------------------------------- recording


@dataclass(frozen=True)
class State:
    """What a recorder sees of K networks after ``step`` steps; arrays are live views.

    ``theta`` and ``gradient`` (K, P), the gradient of the step just taken (zero before
    the first); ``loss`` (K,) of its mini-batch, NaN before the first step; ``batch``
    and ``running`` (K, 2, D), the statistics of its mini-batch (biased) and the running
    ones (unbiased).
    """

    step: int
    theta: np.ndarray
    gradient: np.ndarray
    loss: np.ndarray
    batch: np.ndarray
    running: np.ndarray


@dataclass(frozen=True)
class Recorder:
    """What is kept of a run, and when: test accuracy, test loss, and any quantities.

    Parameters
    ----------
    every : int, sequence of int, or None
        At step 0, every so many steps, and after the last; at the listed steps and
        after the last; or only after the last.
    statistics : {"running", "population", "batch"}
        What the networks normalize by in the test: their running statistics, the exact
        ones of the training part, or the test part's own.
    quantities : dict of str to function of a `State`
        What they return, (K, ...), is kept by name.

    Raises
    ------
    ValueError
        If an argument is none of these.
    """

    every: int | Sequence[int] | None = 10
    statistics: str = "running"
    quantities: dict[str, Callable[[State], np.ndarray]] = field(
        default_factory=dict, hash=False
    )

    def __post_init__(self):
        _checks.functions("quantities", self.quantities, "a State")
        allowed = ("running", "population", "batch")
        _checks.one_of("statistics", self.statistics, allowed)
        if isinstance(self.every, Sequence):
            for step in self.every:
                _checks.count("every", step, least=0)
        elif self.every is not None:
            _checks.count("every", self.every)

    def wanted(self, steps: int) -> set[int]:
        """The steps after which a run is recorded.

        Parameters
        ----------
        steps : int
            How many the run has.

        Returns
        -------
        set of int

        Raises
        ------
        ValueError
            If a step is listed in ``every`` that the run does not have.
        """
        if self.every is None:
            return {steps}
        if not isinstance(self.every, Sequence):
            return {*range(0, steps, self.every), steps}
        if max(self.every, default=0) > steps:
            raise ValueError(
                f"every is {self.every}; allowed are steps from 0 to {steps}"
            )
        return {*self.every, steps}


class _Recording:
    """What a `Recorder` has kept of one run so far."""

    def __init__(self, recorder: Recorder, network: Network, batches: Batches):
        self.recorder, self.network = recorder, network
        self.x, self.y = batches.part("test")
        if recorder.statistics == "population":
            self.x_train, _ = batches.part("train")
        self.accuracy, self.loss = [], []
        self.kept = {name: [] for name in recorder.quantities}

    def note(self, state: State) -> None:
        """Evaluate, and ask for every quantity."""
        score = evaluate(
            self.network, state.theta, self.x, self.y, self.statistics(state)
        )
        self.accuracy.append(score.accuracy)
        self.loss.append(score.loss)
        for name, quantity in self.recorder.quantities.items():
            self.kept[name].append(np.array(quantity(state)))
            _checks.each_network(
                f"quantity {name}", self.kept[name][-1], len(state.theta)
            )

    def statistics(self, state: State) -> np.ndarray | None:
        """What the networks normalize by, None for the test part's own."""
        if self.recorder.statistics == "running":
            return state.running
        if self.recorder.statistics == "population":
            return moments_over(self.network, state.theta, self.x_train)
        return None


class _RunningStatistics:
    """Exponential averages of the mini-batches' statistics, (K, 2, D) each.

    ``seen`` are those of the last mini-batch, biased; ``mean`` averages what it has
    seen, with variances times m/(m−1).
    """

    def __init__(self, network: Network, batch: int, momentum: Tensor):
        self.steps = [i for i, s in enumerate(network.steps) if s.statistics]
        self.momentum = momentum[:, None, None]
        self.mean = momentum.new_zeros(len(momentum), 2, network.channels)
        self.mean[:, 1] = 1
        self.seen = self.mean.clone()
        self.unbiased = momentum.new_ones(1, 2, network.channels)
        for step in (network.steps[i] for i in self.steps):
            m = batch * prod(step.shape) // step.statistics
            if m == 1:
                raise ValueError("batch is 1; allowed are at least 2, to normalize")
            step.statistics_views(self.unbiased)[1][...] = m / (m - 1)

    def update(self, caches: list) -> None:
        """With the caches of one forward pass."""
        used = [caches[i] for i in self.steps]
        if used:
            torch.cat([c.mean for c in used], 1, out=self.seen[:, 0].unsqueeze(-1))
            torch.cat([c.var for c in used], 1, out=self.seen[:, 1].unsqueeze(-1))
            self.mean.lerp_(self.seen * self.unbiased, self.momentum)


# ------------------------------------------------------------------------ training


@dataclass(frozen=True)
class Run:
    """The result of training K networks.

    ``at`` (T,) are the steps at which was recorded; ``accuracy`` and ``loss`` (K, T) on
    the test part; ``train_loss`` (K, steps) of each mini-batch before its step;
    ``records`` the recorder's quantities, each (K, T, ...); ``theta`` (K, P) and
    ``running`` (K, 2, D) as training left them.
    """

    network: Network
    seeds: np.ndarray
    at: np.ndarray
    accuracy: np.ndarray
    loss: np.ndarray
    train_loss: np.ndarray
    theta: np.ndarray
    running: np.ndarray
    records: dict[str, np.ndarray] = field(default_factory=dict)

    def steps_to(self, accuracy: float) -> np.ndarray:
        """The first recorded step with a test accuracy.

        Parameters
        ----------
        accuracy : float
            At least so much, in [0, 1].

        Returns
        -------
        ndarray, (K,)
            Infinity where there is none.

        Raises
        ------
        ValueError
            If the accuracy is no number from 0 on.
        """
        _checks.not_negative("accuracy", accuracy)
        reached = self.accuracy >= accuracy
        return np.where(reached.any(1), self.at[reached.argmax(1)], np.inf)


def train(
    network: Network,
    data: Split | Callable[[int], Split],
    seeds: Sequence[int],
    *,
    lr,
    steps: int,
    batch: int = 60,
    theta: np.ndarray | None = None,
    optimizer: SGD | Adam | None = None,
    momentum=0.1,
    batches: Callable = shuffled,
    recorder: Recorder | None = None,
    dtype: type = np.float64,
) -> Run:
    """Train K networks at once, network k from ``seeds[k]``.

    A network that diverges goes on as NaN, without any effect on the others.

    Parameters
    ----------
    network : Network
    data : Split, or function of a seed to one
        The same for all, or such as `datasets.digits`.
    seeds : sequence of int, K of them
    lr : float, or K of them
        Learning rate; see `grid`.
    steps, batch : int
        How many mini-batches, and of how many examples; 2 or more where a norm needs
        statistics of them.
    theta : ndarray, (K, P), or None
        The initial parameters; ``init_parameters(network, seeds)`` if None.
    optimizer : None, or what has ``start``: SGD, Adam, `Only`, `Rounded`
        None for `SGD` without momentum and weight decay.
    momentum : float, or K of them
        Of the running statistics: the weight of the new mini-batch, as in torch.
    batches : function
        ``batches(labels, batch, steps, rng)`` returns the rows of the mini-batches.
    recorder : Recorder or None
        What is kept, and when; None for the test after the last step alone.
    dtype : numpy.float64 or numpy.float32
        What is computed in.

    Returns
    -------
    Run

    Raises
    ------
    ValueError
        If an argument is none of these, if the data do not fit the network, or a batch
        does not fit into the training part.
    """
    _checks.instance("network", network, Network, "ensemble")
    _checks.no_class("optimizer", optimizer)
    _checks.one_of("dtype", dtype, (np.float64, np.float32))
    seeds = _checks.seeds("seeds", seeds)
    lr = _checks.per_network("lr", lr, len(seeds))
    momentum = _checks.per_network("momentum", momentum, len(seeds))
    # Apart, since fingerprints cover the line above and do not cover this one.
    _checks.per_network("momentum", momentum, len(seeds), most=1)
    _checks.count("steps", steps)
    _checks.count("batch", batch)
    optimizer = SGD() if optimizer is None else optimizer
    if not hasattr(optimizer, "start"):
        raise ValueError(f"optimizer is {optimizer!r}; allowed are SGD and Adam")
    recorder = Recorder(every=None) if recorder is None else recorder
    _checks.instance("recorder", recorder, Recorder, "ensemble")
    if theta is None:
        theta = init_parameters(network, seeds)
    elif np.shape(theta) != (len(seeds), network.parameters):
        raise ValueError(
            f"theta has shape {np.shape(theta)}; allowed is "
            f"{(len(seeds), network.parameters)}, (K, P)"
        )
    _checks.real_array("theta", theta)
    wanted = recorder.wanted(steps)
    drawn = Batches(network, data, seeds, batch, steps, batches)
    recording = _Recording(recorder, network, drawn)
    theta = torch.tensor(np.asarray(theta, dtype=dtype))
    lr, momentum = (torch.as_tensor(v, dtype=theta.dtype) for v in (lr, momentum))
    running = _RunningStatistics(network, batch, momentum)
    train_loss = torch.full((len(seeds), steps), torch.nan, dtype=theta.dtype)
    with torch.no_grad():
        for state in _states(network, drawn, theta, lr, optimizer, running, train_loss):
            if state.step in wanted:
                recording.note(state)
    return Run(
        network=network,
        seeds=seeds,
        at=np.array(sorted(wanted)),
        accuracy=np.stack(recording.accuracy, 1),
        loss=np.stack(recording.loss, 1),
        train_loss=train_loss.numpy(),
        theta=theta.numpy(),
        running=running.mean.numpy(),
        records={name: np.stack(kept, 1) for name, kept in recording.kept.items()},
    )


def _states(
    network: Network,
    batches: Batches,
    theta: Tensor,
    lr: Tensor,
    optimizer: SGD | Adam,
    running: _RunningStatistics,
    train_loss: Tensor,
) -> Iterator[State]:
    """The K networks before the first step and after each; θ and the rest in place."""
    gradient = torch.zeros_like(theta)
    parameters, slots = arguments(network, theta), arguments(network, gradient)
    update = optimizer.start(theta, gradient, lr[:, None])

    def state(step):
        loss = train_loss[:, max(step - 1, 0)]
        arrays = (theta, gradient, loss, running.seen, running.mean)
        return State(step, *(array.numpy() for array in arrays))

    yield state(0)
    for step in range(train_loss.shape[1]):
        u, y = batches.mini_batch(step, theta.dtype)
        loss, caches = fill_gradient(network, parameters, slots, u, y)
        train_loss[:, step] = loss
        running.update(caches)
        update()
        yield state(step + 1)
