"""All that is random: initial parameters and the rows of the mini-batches.

Both are drawn from a network's own seed, in two streams, so that network k of an
ensemble is the same network as when it is trained alone, and neither draw moves the
other.
"""

from collections.abc import Callable, Iterable, Sequence
from math import prod

import numpy as np
import torch
from torch import Tensor

from batchnorm import _checks
from batchnorm.datasets import Split

from .network import Network

_WEIGHTS, _BATCHES = 1, 2  # the two streams of a seed


def grid(*axes: Iterable) -> tuple[np.ndarray, ...]:
    """All combinations of the given values, one array of length K per axis.

    The first axis varies slowest, so ``result.reshape(lengths)`` of a result (K, ...)
    has an axis for each of them.

    Parameters
    ----------
    *axes : iterable
        The values of each axis.

    Returns
    -------
    tuple of ndarray, each (K,)

    Examples
    --------
    >>> grid([0, 1], [.1, .3])
    (array([0, 0, 1, 1]), array([0.1, 0.3, 0.1, 0.3]))
    """
    values = [np.asarray(list(axis)) for axis in axes]
    return tuple(mesh.ravel() for mesh in np.meshgrid(*values, indexing="ij"))


def init_parameters(
    network: Network, seeds: Sequence[int], scale=1.0, *, fan_in: bool = True
) -> np.ndarray:
    """Draw the initial parameters of K networks.

    ``W ~ N(0, scale²/fan_in)``, or ``N(0, scale²)`` without ``fan_in``; biases and β
    are 0, γ is 1. The output layer is drawn like the others. The same seed gives the
    same normal numbers at every scale.

    Parameters
    ----------
    network : Network
    seeds : sequence of int, K of them
    scale : float, or K of them
        √2 is He's initialization.
    fan_in : bool
        Whether to divide the variance by the number of a unit's inputs.

    Returns
    -------
    ndarray, (K, P), float64

    Raises
    ------
    ValueError
        If there are no seeds, one is not an integer from 0 on, or ``scale`` is neither
        one number from 0 on nor K of them.
    """
    _checks.instance("network", network, Network, "ensemble")
    seeds = _checks.seeds("seeds", seeds)
    scale = _checks.per_network("scale", scale, len(seeds))
    theta = np.zeros((len(seeds), network.parameters))
    for k, seed in enumerate(seeds):
        rng = np.random.default_rng([int(seed), _WEIGHTS])
        for step in network.steps:
            views = step.views(theta)
            if "weight" in views:
                shape = step.shapes["weight"]
                std = scale[k] / np.sqrt(prod(shape[1:])) if fan_in else scale[k]
                views["weight"][k] = std * rng.standard_normal(shape)
            if "gamma" in views:
                views["gamma"][k] = 1
    return theta


def shuffled(
    labels: np.ndarray, batch: int, steps: int, rng: np.random.Generator
) -> np.ndarray:
    """Rows of the mini-batches: every epoch all examples in a new order.

    The remainder of an epoch that does not fill a mini-batch is dropped.

    Parameters
    ----------
    labels : ndarray, (n,)
    batch, steps : int
        Examples of a mini-batch, and how many mini-batches.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of int, (steps, batch)

    Raises
    ------
    ValueError
        If there are fewer labels than ``batch``.
    """
    _checks.count("batch", batch, most=len(labels))
    per_epoch = len(labels) // batch
    epochs = -(-steps // per_epoch)
    rows = [
        rng.permutation(len(labels))[: per_epoch * batch].reshape(per_epoch, batch)
        for _ in range(epochs)
    ]
    return np.concatenate(rows)[:steps]


def single_class(
    labels: np.ndarray, batch: int, steps: int, rng: np.random.Generator
) -> np.ndarray:
    """Rows of mini-batches whose examples share a class.

    The class of each mini-batch is drawn at random, then its examples, without
    replacement where the class has enough of them.

    Parameters
    ----------
    labels, batch, steps, rng
        As in `shuffled`.

    Returns
    -------
    ndarray of int, (steps, batch)

    Raises
    ------
    ValueError
        If there are no labels, no steps, or batch is negative; it is NumPy's.
    """
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    chosen = rng.integers(len(classes), size=steps)
    return np.stack(
        [rng.choice(classes[c], batch, replace=batch > len(classes[c])) for c in chosen]
    )


class Batches:
    """The data of K networks and the mini-batches of each.

    Networks of one seed share their split and their rows, which are kept once; all
    networks share the split if there is but one.

    Parameters
    ----------
    network : Network
    data : Split, or function of a seed to one
    seeds : ndarray of int, (K,)
    batch, steps : int
        Examples of a mini-batch, and how many mini-batches.
    draw : function
        ``draw(labels, batch, steps, rng)`` returns rows, such as `shuffled`.

    Raises
    ------
    ValueError
        If the data do not fit the network or each other, a mini-batch does not fit into
        the training part, or ``draw`` returns another shape.
    """

    def __init__(
        self,
        network: Network,
        data: Split | Callable[[int], Split],
        seeds: np.ndarray,
        batch: int,
        steps: int,
        draw: Callable,
    ):
        _checks.function("data", data, "a Split or a function of a seed to one", Split)
        _checks.function(
            "batches", draw, "a function that draws rows, as shuffled does"
        )
        distinct, which = np.unique(seeds, return_inverse=True)
        self.which = torch.as_tensor(which)  # of the distinct seeds is each network's
        one = isinstance(data, Split)
        self.splits = [data] if one else [data(int(seed)) for seed in distinct]
        self.shared = len(self.splits) == 1
        count = len(self.splits[0].y_train)
        _check_splits(self.splits, network, count)
        _checks.count("batch", batch, most=count)
        x = [split.x_train.reshape(count, -1) for split in self.splits]
        self.x = torch.as_tensor(x[0] if self.shared else np.concatenate(x))
        self.y = torch.as_tensor(np.concatenate([s.y_train for s in self.splits]))
        rows = []
        for index, seed in enumerate(distinct):
            split = 0 if self.shared else index
            rng = np.random.default_rng([int(seed), _BATCHES])
            drawn = np.asarray(draw(self.splits[split].y_train, batch, steps, rng))
            if drawn.shape != (steps, batch):
                raise ValueError(
                    f"batches returns shape {drawn.shape}; allowed is "
                    f"{(steps, batch)}, (steps, batch)"
                )
            rows.append(drawn + split * count)
        self.rows = torch.as_tensor(np.stack(rows, 1))  # (steps, distinct seeds, batch)

    def mini_batch(self, step: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Inputs (K, d, m) and labels (K, m) of one step."""
        rows = self.rows[step][self.which]
        u = self.x.index_select(0, rows.ravel()).view(*rows.shape, -1)
        return u.to(dtype).mT, self.y[rows]

    def part(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """x (K, n, d) and y (K, n) of "train" or "test"; (n, d) and (n,) if shared."""
        x = [getattr(split, f"x_{name}") for split in self.splits]
        y = [getattr(split, f"y_{name}") for split in self.splits]
        if self.shared:
            return x[0], y[0]
        which = self.which.numpy()
        return np.stack(x)[which], np.stack(y)[which]


def _check_splits(splits: list[Split], network: Network, count: int) -> None:
    features = prod(network.shape)
    for split in splits:
        if len(split.y_train) != count:
            raise ValueError(
                f"data has training parts of {count} and {len(split.y_train)} "
                "examples; allowed are parts of one size"
            )
        for x in (split.x_train, split.x_test):
            if x[0].size != features:
                raise ValueError(
                    f"data has {x[0].size} features; allowed are {features}, for a "
                    f"network of shape {network.shape}"
                )
        top = max(split.y_train.max(), split.y_test.max())
        if top >= network.classes:
            raise ValueError(
                f"classes is {network.classes}; allowed are integers above the "
                f"label {top}"
            )
        _checks.labels("y_train", split.y_train, 1, count, network.classes)
        _checks.labels("y_test", split.y_test, 1, len(split.x_test), network.classes)
