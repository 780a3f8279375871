r"""The two passes of the PyTorch layers, given the statistics of the mini-batch.

`layer` takes the statistics from its own mini-batch, `parallel` from those of all
processes. `transformed` and `gradients` are the paper's equations; `moments` and
`merged` are where the statistics come from.
"""

from functools import reduce
from operator import add

import torch
from torch.autograd import forward_ad

from batchnorm import _checks
from batchnorm._checks import real_tensor
from batchnorm._exact import TILE

# ---------------------------------------------------------------------------
# The passes


def transformed(x, weight, bias, mean, rest, var, eps):
    r"""The transform with given statistics of the batch, in the shape and dtype of x.

    .. math:: y_i = \gamma v\,(x_i - \mu) + \beta, \qquad
              v = \frac{1}{\sqrt{\sigma^2 + \epsilon}}

    y has the strides of x too, (m, d) or (N, C, \*spatial), which may hold no value.
    weight and bias are gamma and beta, (d,); mean, rest and var are as of `moments`.
    """
    scale, bias = weight.double() * (var + eps).rsqrt(), bias.double()

    def step(x):
        centered = _centered(x, mean, rest)
        return torch.addcmul(column(bias, x), column(scale, x), centered)

    return by_tiles(step, x, constants=(scale, bias))


def gradients(dy, x, weight, mean, rest, var, eps, m, total=lambda *sums: sums):
    r"""Gradients with respect to x, weight and bias.

    .. math::

       \frac{\partial\ell}{\partial x_i} = \gamma v \Big(
         \frac{\partial\ell}{\partial y_i}
         - \frac 1m \sum_j \frac{\partial\ell}{\partial y_j}
         - \hat x_i \frac 1m \sum_j \frac{\partial\ell}{\partial y_j} \hat x_j
       \Big)

    ``m`` counts the values of a channel on all workers, and so do the statistics, which
    are as of `moments`. ``total`` adds up the two sums, each (d,), over all workers;
    alone it returns them as they are. dweight and dbias are the sums over the values in
    x, in float64.
    """
    inv_std, axes, sums = (var + eps).rsqrt(), _pooled_axes(x), []
    for x_tile, dy_tile in _tiles(x, dy):
        g = dy_tile.double()
        sums.append((g.sum(axes), (g * _centered(x_tile, mean, rest)).sum(axes)))
    dbias, dweight = (reduce(add, terms) for terms in zip(*sums, strict=True))
    dweight = dweight * inv_std

    factor = weight.double() * inv_std
    sum_dy, sum_dy_x_hat = total(dbias, dweight)
    shift, slope = factor * sum_dy / -m, factor * inv_std * sum_dy_x_hat / -m

    # dx = shift + factor·dy + slope·(x − μ)
    def step(x, dy):
        dx = torch.addcmul(column(shift, x), column(factor, x), dy.double())
        return torch.addcmul(dx, column(slope, x), _centered(x, mean, rest))

    return by_tiles(step, x, dy, constants=(factor,)), dweight, dbias


def moments(x):
    """Mean, what its rounding to float64 took away, and biased variance, each (d,).

    Those of tiles, merged, in float64: each tile is read from memory once. The mean is
    mean + rest; x has at least one value per channel.
    """
    axes, shards = _pooled_axes(x), []
    for (tile,) in _tiles(x):
        centered = tile.to(torch.float64, copy=True)
        mean = centered.mean(axes)
        centered -= column(mean, x)
        rest = torch.zeros_like(mean)
        if x.dtype == torch.float64:
            rest = centered.mean(axes)
            centered -= column(rest, x)
        squares = centered.square().sum(axes)
        shards.append((tile.numel() // len(mean), mean, rest, squares))
    if len(shards) == 1:
        count, mean, rest, squares = shards[0]
        return mean, rest, squares / count
    return merged(*zip(*shards, strict=True))


def merged(counts, means, rests, squares):
    r"""Moments of the union of disjoint shards, as `moments` has them.

    .. math::

       n = \sum_k n_k, \qquad \mu = \frac 1n \sum_k n_k \mu_k, \qquad
       M_2 = \sum_k \big(M_{2,k} + n_k (\mu_k - \mu)^2\big)

    The counts :math:`n_k` are of the values of a channel, none of them 0; squares are
    :math:`M_{2,k}`, the sums of squared distances from the mean of each shard.
    """
    near = means[-1]
    counts = near.new_tensor(counts)[:, None]
    off = torch.stack(means) - near + torch.stack(rests)
    off_mean = (counts * off).sum(0) / counts.sum()
    var = (torch.stack(squares) + counts * (off - off_mean) ** 2).sum(0) / counts.sum()
    # A distance from an infinite mean is NaN; their weighted mean is that infinity.
    plain = (counts / counts.sum() * torch.stack(means)).sum(0)
    mean = torch.where(off_mean.isnan(), plain, near + off_mean)
    return mean, off_mean - (mean - near), var


def mixed(old, new, weight):
    """(1 - weight)·old + weight·new, in which 0 times an infinity is 0."""
    if not isinstance(weight, torch.Tensor):
        if weight in (0, 1):
            return new if weight else old
        return (1 - weight) * old + weight * new
    return torch.where(weight == 1, new, (1 - weight) * old + weight * new)


def parameters(x, weight, bias):
    """weight and bias, with 1 and 0 in place of None."""
    if weight is None:
        weight = torch.ones(x.shape[1], dtype=x.dtype, device=x.device)
    if bias is None:
        bias = torch.zeros(x.shape[1], dtype=x.dtype, device=x.device)
    _checks.channel_vector("weight", weight, x.shape[1], real_tensor)
    _checks.channel_vector("bias", bias, x.shape[1], real_tensor)
    return weight, bias


def carried_over(layer, kind, **options):
    """A layer of another kind, with the same settings, parameters and buffers."""
    settings = ("num_features", "eps", "momentum", "affine", "track_running_stats")
    options |= {name: getattr(layer, name) for name in settings}
    other = kind(**options, device="meta")  # what it holds is replaced
    held = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    for name in held:
        setattr(other, name, getattr(layer, name))
    return other.train(layer.training)


def exchanged(module, twins):
    """The module with the twin of each layer in all of that layer's places."""
    if module in twins:
        return twins[module]
    # Innermost first, so that no place is looked for in a layer that has left.
    for name, layer in reversed([*module.named_modules(remove_duplicate=False)]):
        if layer in twins:
            module.set_submodule(name, twins[layer])
    return module


# ---------------------------------------------------------------------------
# Steps they share


def _centered(x, mean, rest):
    """x - mean in float64; where x is itself float64, without the rounding of mean."""
    if x.dtype == torch.float64:
        return (x - column(mean, x)).sub_(column(rest, x))
    return x.double().sub_(column(mean, x))


def by_tiles(step, *tensors, constants):
    """What the step makes of the tensors, tile by tile, in the dtype of the first."""
    x = tensors[0]
    tiles = _tiles(*tensors, constants=constants)
    if len(tiles) == 1:
        return step(*tensors).to(x.dtype)
    result = torch.empty_like(x)
    for (part,), tile in zip(_tiles(result), tiles, strict=True):
        part.copy_(step(*tile))
    return result


def _tiles(*tensors, constants=()):
    """Tensors of one shape, cut alike into tiles that stay in a core's cache.

    In one piece where there is nothing to gain or cuts would be in the way: on an
    accelerator, in a program that is traced or batched, and where autograd records
    the steps, as each cut has a gradient of its own.
    """
    x = tensors[0]
    traced = torch.compiler.is_compiling()  # then sizes are symbols
    if traced or x.numel() <= TILE or not _plain(*tensors, *constants):
        return [tensors]
    axis = max(_pooled_axes(x), key=lambda axis: x.shape[axis])
    size = max(1, TILE * x.shape[axis] // x.numel())
    return list(zip(*(t.split(size, axis) for t in tensors), strict=True))


def _plain(*tensors):
    """Whether these are eager tensors on the CPU that no gradient is recorded for."""
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        return False
    return plainly_stored(*tensors) and all(t.is_cpu for t in tensors)


def plainly_stored(*tensors):
    """Whether no tensor is one of torch.func's, a fake one, or carries a tangent."""
    if not all(type(t) in (torch.Tensor, torch.nn.Parameter) for t in tensors):
        return False
    try:
        for t in tensors:
            t.data_ptr()
    except RuntimeError:  # torch.func's tensors, batched ones among them, have none
        return False
    return all(forward_ad.unpack_dual(t).tangent is None for t in tensors)


def _pooled_axes(x):
    """The axes that the statistics are taken over: all but that of the channels."""
    return [axis for axis in range(x.ndim) if axis != 1]


def column(vector, x):
    """One value per channel, to be broadcast against x."""
    return vector.reshape(-1, *[1] * (x.ndim - 2))
