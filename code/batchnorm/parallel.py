r"""Batch normalization of a mini-batch that several processes share.

Each process, a worker, holds a shard of the mini-batch. Forward, the workers exchange
(n, μ, M₂) of their shards and merge them; backward, they add up the two sums that the
gradient of x needs. Everything else is what `layer` does on one mini-batch.

Workers that no longer agree are the danger here: one that waits for another waits until
the time-out of the process group, and messages of unequal length can kill a process. So
the first message of every exchange has one length and says who sends what, and a worker
that refuses its input says so to all others before it raises its error.
"""

import itertools
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import nn

from batchnorm import _checks
from batchnorm._passes import (
    carried_over,
    exchanged,
    gradients,
    merged,
    moments,
    parameters,
    transformed,
)
from batchnorm.layer import BatchNorm

FIRST = 512  # numbers in the first message of an exchange, whatever the layer
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
TURNS = 1000  # calls are numbered modulo this, so that sums of squares stay exact

_turns = itertools.count()


class SyncBatchNorm(BatchNorm):
    r"""Batch normalization over the shards of all workers, in place of torch's.

    With :math:`n_k, \mu_k, M_{2,k}` of the shard of worker k,

    .. math::

       n = \sum_k n_k, \qquad \mu = \frac 1n \sum_k n_k\,\mu_k, \qquad
       \sigma^2 = \frac 1n \sum_k \big(M_{2,k} + n_k (\mu_k - \mu)^2\big),

    and backward, with sums over the values of all workers,

    .. math::

       \frac{\partial\ell}{\partial x_i} = \gamma v \Big(
         \frac{\partial\ell}{\partial y_i}
         - \frac 1n \sum_j \frac{\partial\ell}{\partial y_j}
         - \hat x_i \frac 1n \sum_j \frac{\partial\ell}{\partial y_j} \hat x_j
       \Big), \qquad \ell = \sum_k \ell_k .

    Parameters
    ----------
    num_features, eps, momentum, affine, track_running_stats
        As in `batchnorm.layer.BatchNorm`.
    process_group : torch.distributed.ProcessGroup or None
        The workers that share a mini-batch; None for all.
    **keywords
        device and dtype, as in torch.

    Raises
    ------
    ValueError
        On every worker, if one of them has an input that ``BatchNorm`` refuses, or one
        of another dtype, number of axes or channels, or one that records a gradient
        where others do not; if all shards together have one value per channel.
    RuntimeError
        In training, if there is no process group or this process is not in it; if a
        worker has died, is late by more than the time-out of the group, or is in
        another call.

    Notes
    -----
    Shards may differ in their number of examples and in their spatial extents; one
    without a value takes part with zeros. The gradients of weight and bias are sums
    over the worker's own shard. DistributedDataParallel averages the gradients of all
    parameters over the K workers, so a step is that of the loss
    :math:`\frac 1K \sum_k \ell_k`. That is the mean loss of the whole mini-batch if
    all shards are equally large, or if each worker divides its summed loss by n/K.

    In evaluation nothing is exchanged, and ``no_sync`` does not stop the exchange: it
    concerns the gradients. Where a gradient is differentiated once more, the sums are
    exchanged again, so every worker has to do it.

    References
    ----------
    Peng et al. (2018), MegDet; torch.nn.SyncBatchNorm; Chan, Golub and LeVeque (1983).
    """

    def __init__(
        self,
        num_features,
        eps=1e-5,
        momentum=0.1,
        affine=True,
        track_running_stats=True,
        process_group=None,
        **keywords,
    ):
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, **keywords
        )
        self.process_group = process_group

    def forward(self, x):
        """Normalize the worker's shard x with the statistics of all shards.

        Parameters
        ----------
        x : tensor
            The worker's own examples, none included.

        Returns
        -------
        tensor
            y, of the shape, dtype and strides of x.

        Raises
        ------
        ValueError, RuntimeError
            As the class describes.
        """
        if not self.training or isinstance(x, torch.fx.Proxy):
            return super().forward(x)
        group = _group_of(self.process_group)
        weight, bias = self._fitting(x, group)
        call, *statistics = _statistics_of_all(x, self.num_features, group)
        y = SynchronizedTransform.apply(x, weight, bias, *statistics, self.eps, call)
        if self.track_running_stats and call.count:
            mean, _, var = statistics
            self._update(mean, var, call.count)
        return y

    def _fitting(self, x, group):
        """weight and bias; an error, after the others have heard of it, if x is bad."""
        try:
            self._check(x)
            _checks.epsilon(self.eps)
            return parameters(x, self.weight, self.bias)
        except ValueError as error:
            row = _refusal(self.num_features, getattr(x, "device", None))
            _tell_refusals(_gathered(row, group), group, str(error))


class SynchronizedTransform(torch.autograd.Function):
    """The transform with the statistics of all workers, and its derivative.

    ``apply(x, weight, bias, mean, rest, var, eps, call)`` returns y. The gradient goes
    through the statistics too, although they come in as constants.
    """

    @staticmethod
    def jvp(*_):
        raise NotImplementedError(
            "SyncBatchNorm has no forward mode; batchnorm.layer.BatchNorm, on one "
            "process, has"
        )

    @staticmethod
    def forward(ctx, x, weight, bias, mean, rest, var, eps, call):
        ctx.eps, ctx.call = eps, call
        ctx.save_for_backward(x, weight, mean, rest, var)
        return transformed(x, weight, bias, mean, rest, var, eps)

    @staticmethod
    def backward(ctx, dy):
        """Gradients: that of x needs the sums of all workers."""
        x, weight, *statistics = ctx.saved_tensors
        call = ctx.call

        def total(*sums):
            needed = ctx.needs_input_grad[0]
            return SumOverWorkers.apply(torch.stack(sums), call) if needed else sums

        if torch.is_grad_enabled() and ctx.needs_input_grad[0]:
            statistics = _differentiable_statistics(x, call)
        found = gradients(dy, x, weight, *statistics, ctx.eps, call.count, total)
        return *found, *[None] * 5


class SumOverWorkers(torch.autograd.Function):
    """The sum of a tensor over all workers; its derivative is the same sum.

    ``apply(values, call)`` returns it, on every worker.
    """

    @staticmethod
    def forward(ctx, values, call):
        ctx.call = call
        return _summed(values, call)

    @staticmethod
    def backward(ctx, dy):
        return SumOverWorkers.apply(dy, ctx.call), None


def convert(module, process_group=None):
    r"""The module with each batch normalization in it made synchronized.

    Parameters
    ----------
    module : nn.Module
        Changed in place, unless it is itself a batch normalization: of torch or of
        this book.
    process_group : torch.distributed.ProcessGroup or None
        The workers that share a mini-batch; None for all.

    Returns
    -------
    nn.Module
        The module; parameters and buffers are the same objects as before, and a layer
        that it holds in several places is one layer in all of them.

    Raises
    ------
    ValueError
        Before anything changes, if a layer does not know its number of channels yet
        (``LazyBatchNorm``).
    """
    norms = nn.modules.batchnorm._BatchNorm
    layers = [layer for layer in module.modules() if isinstance(layer, norms)]
    for layer in layers:
        if isinstance(layer, nn.modules.lazy.LazyModuleMixin):
            raise ValueError(
                f"module holds a {type(layer).__name__}, which has no channels yet; "
                "allowed are layers that have seen their first mini-batch"
            )
    options = {"process_group": process_group}
    twins = {layer: carried_over(layer, SyncBatchNorm, **options) for layer in layers}
    return exchanged(module, twins)


# ---------------------------------------------------------------------------
# What is exchanged


class Call(NamedTuple):
    """One forward pass of one layer, as all workers know it."""

    group: Any
    turn: int
    count: int  # values of a channel on all workers


class Header(NamedTuple):
    """What a worker says of its input, so that all can see whether they agree."""

    fits: float
    features: float
    dtype: float
    axes: float
    records: float  # whether a gradient with respect to x will be asked for
    turn: float
    count: float


def _statistics_of_all(x, features, group):
    """The call, and mean, rest and biased variance over the shards of all workers."""
    count = x.numel() // x.shape[1]
    with torch.no_grad():
        zeros = x.new_zeros(features, dtype=torch.float64)
        mean, rest, var = moments(x.detach()) if count else (zeros, zeros, zeros)
    header = Header(
        True, features, DTYPES.index(x.dtype), x.ndim,
        torch.is_grad_enabled() and x.requires_grad, next(_turns) % TURNS, count,
    )  # fmt: skip
    row = torch.cat([zeros.new_tensor(header), mean, rest, var * count])
    rows = _gathered(row, group)
    _tell_refusals(rows, group)
    headers = [Header(*row[: len(Header._fields)].tolist()) for row in rows]
    counts = [int(header.count) for header in headers]
    call = Call(group, int(headers[0].turn), sum(counts))
    if call.count == 0:
        return call, zeros, zeros, zeros
    if call.count < 2:
        raise ValueError(
            f"x has {counts} values per channel on the {len(rows)} workers; "
            "batch statistics need at least two in all, or none"
        )
    shards = [
        (n, *row[len(Header._fields) :].split(features))
        for n, row in zip(counts, rows, strict=True)
        if n
    ]
    return call, *merged(*zip(*shards, strict=True))


def _differentiable_statistics(x, call):
    """Mean, rest and variance once more, with their dependence on all shards."""
    count, axes = x.numel() // x.shape[1], [i for i in range(x.ndim) if i != 1]
    mean = var = x.double().sum(axes)  # of no value: zero, and with a graph
    if count:
        mean, _, var = moments(x)
    whole = SumOverWorkers.apply(count * mean, call) / call.count
    squares = count * (var + (mean - whole) ** 2)
    var = SumOverWorkers.apply(squares, call) / call.count
    return whole, torch.zeros_like(whole), var


def _gathered(row, group):
    """The rows of all workers, in the order of their ranks.

    The rows of workers that agree are equally long. What does not fit into the first
    message follows in a second, once it is known that they do agree.
    """
    first = row.new_zeros(FIRST)
    first[: min(FIRST, len(row))] = row[:FIRST]
    firsts = _all_gather(first, group)
    header = slice(1, 5)  # features to records
    if len(row) <= FIRST or not all(
        other[0] and torch.equal(other[header], first[header]) for other in firsts
    ):
        return [other[: len(row)] for other in firsts]
    pairs = zip(firsts, _all_gather(row[FIRST:].contiguous(), group), strict=True)
    return [torch.cat(pair) for pair in pairs]


def _summed(values, call):
    """The sum over all workers of values, (k, d), of the same call on each.

    Turns are added up too, and their squares: K Σ t² = (Σ t)² says that all are equal.
    """
    turn = values.new_tensor([1, call.turn, call.turn**2])
    row = torch.cat([turn, values.reshape(-1)])
    first = row.new_zeros(FIRST)
    first[: min(FIRST, len(row))] = row[:FIRST]
    _all_reduce(first, call.group)
    workers, turns, squares = first[:3].tolist()
    if workers * squares != turns**2:
        raise RuntimeError(
            f"{_who(call.group)}: the workers add up the gradients of different calls "
            "of SyncBatchNorm; each has to use the output of every call in its loss"
        )
    parts = [first[3 : len(row)]]
    if len(row) > FIRST:
        parts.append(row[FIRST:].contiguous())
        _all_reduce(parts[1], call.group)
    return torch.cat(parts).reshape(values.shape)


def _all_gather(tensor, group):
    found = [torch.empty_like(tensor) for _ in range(dist.get_world_size(group))]
    _exchange(lambda: dist.all_gather(found, tensor, group=group), group)
    return found


def _all_reduce(tensor, group):
    _exchange(lambda: dist.all_reduce(tensor, group=group), group)


# ---------------------------------------------------------------------------
# What can go wrong


def _group_of(group):
    """The process group; an error if there is none, or this process is not in it."""
    if not (dist.is_available() and dist.is_initialized()):
        raise RuntimeError(
            "SyncBatchNorm in training needs a process group, and there is none: call "
            "torch.distributed.init_process_group first, or use "
            "batchnorm.layer.BatchNorm in a single process"
        )
    group = dist.group.WORLD if group is None else group
    if dist.get_rank(group) < 0:
        raise RuntimeError(
            f"SyncBatchNorm's process_group does not hold this process, rank "
            f"{dist.get_rank()} of all; allowed is a group that it is in"
        )
    return group


def _who(group):
    return f"rank {dist.get_rank(group)} of {dist.get_world_size(group)}"


def _exchange(step, group):
    """Do it; where the others do not answer, say so in words."""
    try:
        step()
    except RuntimeError as error:
        said = str(error).partition("] ")[2] or str(error)
        raise RuntimeError(
            f"{_who(group)}: SyncBatchNorm heard nothing from another worker. It has "
            "died, has left early, or is in another call. The process group is of no "
            f"further use. ({said.splitlines()[0].split(' [')[0]})"
        ) from error


def _refusal(features, device):
    """The row of a worker that refuses its input."""
    header = Header(False, features, -1, -1, -1, -1, 0)
    row = torch.zeros(len(header) + 3 * features, dtype=torch.float64, device=device)
    row[: len(header)] = row.new_tensor(header)
    return row


def _tell_refusals(rows, group, fault=None):
    """The same error on every worker, if one has a fault or they disagree."""
    headers = [Header(*row[: len(Header._fields)].tolist()) for row in rows]
    if not all(header.fits for header in headers):
        said = [None] * len(rows)
        _exchange(lambda: dist.all_gather_object(said, fault, group=group), group)
        faults = [f"rank {rank}: {text}" for rank, text in enumerate(said) if text]
        raise ValueError("; ".join(faults))
    for field, name in (
        ("features", lambda n: f"{n:.0f} channels"),
        ("dtype", lambda n: str(DTYPES[int(n)])),
        ("axes", lambda n: f"{n:.0f} axes"),
        ("records", lambda n: "a gradient" if n else "no gradient"),
    ):
        found = [name(getattr(header, field)) for header in headers]
        if len(set(found)) > 1:
            ranks = ", ".join(f"{words} on rank {k}" for k, words in enumerate(found))
            raise ValueError(f"x has {ranks}; allowed is the same on all workers")
