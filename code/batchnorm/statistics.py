r"""Statistics for inference: running, cumulative, and exact over a population.

All means and variances are float64 vectors with one entry per channel. Batches
have the shape (m, d) or (N, C, \*spatial), as in `batchnorm.reference`.
"""

import numpy as np

from batchnorm import _checks, reference
from batchnorm._exact import as_maps, row_total


class RunningStatistics:
    r"""Running mean and variance of the batches seen, by torch's convention.

    .. math::

       \mu \leftarrow (1 - w)\,\mu + w\,\mu_{\mathcal B}, \qquad
       \sigma^2 \leftarrow
         (1 - w)\,\sigma^2 + w\,\frac{m}{m - 1}\,\sigma^2_{\mathcal B}

    The weight w of the new batch is the momentum; with momentum=None it is 1/t for
    the t-th batch, which gives the plain average over the batches.

    Parameters
    ----------
    num_features : int
        Number of channels d.
    momentum : float in [0, 1], or None
        Weight of the new batch.

    Attributes
    ----------
    mean
        Running mean, (d,), at first 0.
    var
        Average of the unbiased variances, (d,), at first 1.
    num_batches
        How many batches were seen.

    Raises
    ------
    ValueError
        If num_features is not a positive integer, or momentum is outside of [0, 1].

    References
    ----------
    torch.nn.BatchNorm1d; the moving averages of Ioffe and Szegedy (2015), section 3.1.
    """

    def __init__(self, num_features, momentum=0.1):
        self.num_features = _checks.count("num_features", num_features)
        self.momentum = _checks.momentum(momentum)
        self.mean = np.zeros(self.num_features)
        self.var = np.ones(self.num_features)
        self.num_batches = 0

    def update(self, x):
        r"""Take in one batch.

        Parameters
        ----------
        x : array, (m, d) or (N, C, \*spatial)
            Activations, at least two values per channel.

        Raises
        ------
        ValueError
            If x has too few values or another number of channels, or finite values
            whose variance is beyond float64.
        """
        x = _checks.batch("x", x)
        _checks.channels("x", x, self.num_features)
        mean, var, count = batch_statistics(x)
        var = var * (count / (count - 1))
        _not_infinite("x", var)
        self.num_batches += 1
        weight = 1 / self.num_batches if self.momentum is None else self.momentum
        self.mean = _mixed(self.mean, mean, weight)
        self.var = _mixed(self.var, var, weight)


@np.errstate(over="ignore", invalid="ignore")
def _mixed(old, new, weight):
    """(1 - weight)·old + weight·new, in which 0 times an infinity is 0."""
    if weight in (0, 1):
        return new if weight else old
    return (1 - weight) * old + weight * new


def _not_infinite(name, var, channels=True):
    """Refuse an infinite variance: that of finite values, for others have NaN."""
    too_large = np.flatnonzero(np.isinf(var) & channels)
    if too_large.size:
        raise ValueError(
            f"the variance of {name} is beyond float64 in channel {too_large[0]}; "
            "allowed are values that can be squared"
        )


def batch_statistics(x):
    r"""Mean, biased variance and number of values of each channel of one batch.

    Parameters
    ----------
    x : array, (m, d) or (N, C, \*spatial)
        Activations, at least two values per channel.

    Returns
    -------
    mean, var : array, (d,)
        In float64.
    count : int
        Values per channel. Together a shard, as `merge` takes them.

    Raises
    ------
    ValueError
        If x has no channel axis, or too few values.
    """
    mean = reference.batch_mean(x)
    return mean, reference.batch_variance(x, mean), np.size(x) // len(mean)


@np.errstate(over="ignore", invalid="ignore")
def population_statistics(batches):
    r"""Exact mean and variance over all samples of all batches, in one pass.

    .. math::

       \mu = \frac 1n \sum_i x_i, \qquad
       \sigma^2 = \frac 1n \sum_i (x_i - \mu)^2

    The batches are the whole population, so the variance is divided by n. They may
    be of different sizes, of one sample, or empty; they are read once, one at a time.

    Parameters
    ----------
    batches : iterable of arrays, (m, d) or (N, C, \*spatial)
        All with the same channels.

    Returns
    -------
    mean, var : array, (d,)
        In float64.

    Raises
    ------
    ValueError
        If there are no values, the number of channels changes, or finite values have a
        variance beyond float64.
    """
    shards = []
    origin = None
    for x in _checks.iterable("batches", batches, "arrays"):
        x = _checks.activations("batches", x)
        if x.size == 0:
            continue
        maps = as_maps(x).astype(np.float64)
        if origin is None:
            # Distances from one sample are exact where values are close together,
            # however far from zero they lie.
            first = maps[0, :, 0]
            # A distance from a number below 2**1000 does not overflow, where the
            # number itself does not.
            origin = np.where(np.abs(first) < 2.0**1000, first, 0.0)
        _checks.channels("batches", x, len(origin))
        maps = maps - origin[:, None]
        if x.size == len(origin):
            shards.append((maps[0, :, 0], np.zeros(len(origin)), 1))
        else:
            shards.append(batch_statistics(maps))
        if len(shards) == 256:  # bounds the memory
            shards = [merge(shards)]
    if origin is None:
        raise ValueError("batches holds no values; allowed is one or more")
    mean, var, _ = merge(shards)
    _not_infinite("batches", var)
    return origin + mean, var


@np.errstate(over="ignore", invalid="ignore")
def merge(shards):
    r"""Statistics of the union of disjoint shards, from the shards' own statistics.

    .. math::

       n = \sum_k n_k, \qquad \mu = \frac 1n \sum_k n_k \mu_k, \qquad
       \sigma^2 = \frac 1n \sum_k n_k \big(\sigma^2_k + (\mu_k - \mu)^2\big)

    Parameters
    ----------
    shards : iterable of (mean, var, count)
        mean and var (d,), var biased (divided by the count), count the number of values
        per channel. The mean and var of a shard with count 0 are not read.

    Returns
    -------
    mean, var : array, (d,)
        Of the union, var biased.
    count : int
        Values per channel in the union.

    Raises
    ------
    ValueError
        If no shard holds a value, lengths differ, a variance is negative, a count is
        not an integer from 0 on, or the variance of shards that are all finite is
        beyond float64.

    References
    ----------
    Chan, Golub and LeVeque, Algorithms for Computing the Sample Variance, The American
    Statistician 37(3), 1983.
    """
    _checks.iterable("shards", shards, "triples (mean, var, count)")
    shards = [shard for shard in map(_checked_shard, shards) if shard[2] > 0]
    if not shards:
        raise ValueError("shards hold no values; allowed is one or more")
    channels = np.size(shards[0][0])
    means = np.array(
        [_checks.channel_vector("mean", mean, channels) for mean, _, _ in shards],
        dtype=np.float64,
    )
    variances = np.array(
        [_checks.variance("var", var, channels) for _, var, _ in shards],
        dtype=np.float64,
    )
    counts = [count for _, _, count in shards]
    total = sum(counts)
    weights = np.array([count / total for count in counts])[:, None]
    # Halves of halves: neither a distance nor a sum of distances is then too large.
    origin = np.where(np.isfinite(means[0]), means[0], 0.0) / 4
    distances = means / 4 - origin
    distance = row_total(weights * distances)
    mean = (origin + distance) * 4
    # An infinite mean has no distance from another: where there is one, neither has
    # the spread a value.
    spread = row_total(weights * (distances - distance) ** 2) * 16
    var = row_total(weights * variances) + spread
    _not_infinite("shards", var, np.isfinite(variances).all(axis=0))
    return mean, var, total


def _checked_shard(shard):
    if not isinstance(shard, (tuple, list)) or len(shard) != 3:
        raise ValueError(
            f"shards holds {shard!r}; allowed are triples (mean, var, count)"
        )
    mean, var, count = shard
    return mean, var, _checks.count("count", count, least=0)
