r"""The PyTorch twin of `batchnorm.reference`: the derived backward, and a module.

`batch_norm` and `inference` are functions of tensors; `BatchNorm` adds the state
and can stand in for `torch.nn.BatchNorm1d`, `2d` and `3d`. gamma and beta carry
torch's names here, weight and bias. Any device that has float64, any strides.

float16, bfloat16 and float32 are computed in float64 and rounded once, and so keep
the accuracy of `reference`. In float64, values beyond about 1e154 or below 1e-154
square to infinity or to zero, as they do in torch; `reference` scales them.
"""

import torch
from torch import nn

from batchnorm import _checks

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


# ---------------------------------------------------------------------------
# Functions


class BatchNormalizingTransform(torch.autograd.Function):
    r"""The transform of the paper's Algorithm 1, with its derivative in closed form.

    $$y_i = \gamma \hat x_i + \beta, \qquad
      \hat x_i = v\,(x_i - \mu_{\mathcal B}), \qquad
      v = \frac{1}{\sqrt{\sigma^2_{\mathcal B} + \epsilon}}$$

    apply(x, weight, bias, eps) returns (y, x_hat, v, mean, var). x_hat and v are
    outputs so that they have a derivative of their own: `backward` is a formula in
    them, autograd differentiates it once more through this same function, and the
    second derivative, and every further one, follows.
    """

    generate_vmap_rule = True  # batches the steps of forward and backward

    @staticmethod
    def forward(x, weight, bias, eps):
        axes = _pooled(x)
        x_hat = x.to(torch.float64, copy=True)  # becomes x_hat step by step
        mean = x_hat.mean(axes)
        x_hat -= _column(mean, x)
        if x.dtype == torch.float64:
            # Takes off the rounding error of the mean as well.
            x_hat -= _column(x_hat.mean(axes), x)
        var = x_hat.square().mean(axes)
        inv_std = (var + eps).rsqrt()
        x_hat *= _column(inv_std, x)
        y = torch.addcmul(_column(bias.double(), x), _column(weight.double(), x), x_hat)
        return y.to(x.dtype), x_hat.to(x.dtype), inv_std, mean, var

    @staticmethod
    def setup_context(ctx, inputs, output):
        _, weight, _, _ = inputs
        _, x_hat, inv_std, mean, var = output
        ctx.save_for_backward(weight, x_hat, inv_std)
        ctx.mark_non_differentiable(mean, var)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx, dy, dx_hat, dinv_std, *_):
        r"""Gradients with respect to x, weight and bias, from those of y, x_hat, v.

        $$\frac{\partial\ell}{\partial x_i} =
            \gamma v\, P\Big(\frac{\partial\ell}{\partial y}\Big)_i
            + v\, P\Big(\frac{\partial\ell}{\partial \hat x}\Big)_i
            - \frac{v^2 \hat x_i}{m} \frac{\partial\ell}{\partial v}, \qquad
          P(g)_i = g_i - \frac 1m \sum_j g_j - \hat x_i \frac 1m \sum_j g_j \hat x_j$$

        In a first derivative x_hat and v have no gradient: the first term is all.
        """
        weight, x_hat, inv_std = ctx.saved_tensors
        dtype = x_hat.dtype
        x_hat, weight = x_hat.double(), weight.double()
        v = _column(inv_std, x_hat)
        m = x_hat.numel() // len(weight)
        dy = torch.zeros_like(x_hat) if dy is None else dy.double()
        rest, dbias, dweight = _project(dy, x_hat)
        dx = _column(weight * inv_std, x_hat) * rest
        if dx_hat is not None:
            dx = dx + v * _project(dx_hat.double(), x_hat)[0]
        if dinv_std is not None:
            dx = dx - v**2 * x_hat * _column(dinv_std / m, x_hat)
        return dx.to(dtype), dweight, dbias, None


def batch_norm(x, weight, bias, eps=1e-5):
    r"""Batch normalization of a mini-batch with its own statistics.

    $$y_i = \gamma \frac{x_i - \mu_{\mathcal B}}
                        {\sqrt{\sigma^2_{\mathcal B} + \epsilon}} + \beta$$

    x: activations, (m, d) or (N, C, \*spatial) with up to three spatial axes, at
    least two values per channel; weight, bias: gamma and beta, (d,), or None for 1
    and 0; eps: added to the variance.
    Returns y, of the shape, dtype and strides of x. Differentiable any number of
    times in reverse mode, also under torch.func; there is no forward mode.
    Raises ValueError if x is not a real floating tensor with a channel axis, has too
    few values, weight or bias has another length than x has channels, or eps is not
    positive and finite.
    Source: the paper, Algorithm 1.
    """
    return _normalize_batch(x, weight, bias, eps)[0]


def inference(x, weight, bias, mean, var, eps=1e-5):
    r"""Batch normalization with given statistics, those of the population.

    $$y_i = \gamma \frac{x_i - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta$$

    x: activations, (m, d) or (N, C, \*spatial) with up to three spatial axes, any
    number of values; weight, bias: gamma and beta, (d,), or None for 1 and 0;
    mean, var: (d,), constants.
    Returns y, of the shape, dtype and strides of x.
    Raises ValueError as `batch_norm` does, but for the number of values, and if mean
    or var has another length or var a negative entry.
    Source: the paper, Algorithm 2, step 11.
    """
    _check_activations(x)
    weight, bias = _parameters(x, weight, bias)
    _check_vector("mean", mean, x)
    _check_vector("var", var, x)
    # A program that is being traced has shapes but no values to look at.
    if not torch.compiler.is_compiling() and (var < 0).any():
        raise ValueError(
            f"var is {var.min().item()} in channel {var.argmin().item()}; "
            "a variance is zero or positive"
        )
    scale = weight.double() / (var.double() + _checks.epsilon(eps)).sqrt()
    centered = x.double() - _column(mean.double(), x)
    y = torch.addcmul(_column(bias.double(), x), _column(scale, x), centered)
    return y.to(x.dtype)


# ---------------------------------------------------------------------------
# The module


class BatchNorm(nn.modules.batchnorm._BatchNorm):
    r"""Batch normalization as a module, in place of nn.BatchNorm1d, 2d and 3d.

    In training the batch's own statistics normalize, and the running ones follow
    with the momentum w as the weight of the new batch,

    $$\mu \leftarrow (1 - w)\,\mu + w\,\mu_{\mathcal B}, \qquad
      \sigma^2 \leftarrow
        (1 - w)\,\sigma^2 + w\,\frac{m}{m - 1}\,\sigma^2_{\mathcal B};$$

    in evaluation the running statistics normalize, or the batch's own if
    track_running_stats is False.

    num_features: number of channels d; eps: added to the variance; momentum: in
    [0, 1], or None for the plain average over the batches; affine: whether there are
    weight and bias; further keywords (device, dtype) as in torch.
    Input (m, d) or (N, C, \*spatial) with up to three spatial axes, whatever the
    dimension of the module it stands in for.
    Parameters weight, bias and buffers running_mean, running_var, all (d,), and
    num_batches_tracked are torch's, so that a state_dict moves either way, and so is
    the base class: what torch does to its own layers by type (`swa_utils.update_bn`,
    conversion to SyncBatchNorm) it does to this one.
    Raises ValueError, before any state changes, if num_features, eps or momentum is
    out of its range; if the input does not fit, or has one value per channel when
    its own statistics are needed; or if running_var has a negative entry.
    Source: the paper, Algorithm 2; torch.nn.BatchNorm1d.
    """

    def __init__(
        self,
        num_features,
        eps=1e-5,
        momentum=0.1,
        affine=True,
        track_running_stats=True,
        **keywords,
    ):
        super().__init__(
            _checks.count("num_features", num_features),
            _checks.epsilon(eps),
            _checks.momentum(momentum),
            affine,
            track_running_stats,
            **keywords,
        )

    def forward(self, x):
        momentum = _checks.momentum(self.momentum)
        _check_activations(x)
        if x.shape[1] != self.num_features:
            raise ValueError(
                f"x has {x.shape[1]} channels (shape {tuple(x.shape)}); "
                f"allowed is {self.num_features}"
            )
        if not self.training and self.running_mean is not None:
            return inference(
                x, self.weight, self.bias, self.running_mean, self.running_var, self.eps
            )
        y, mean, var = _normalize_batch(x, self.weight, self.bias, self.eps)
        if self.training and self.track_running_stats:
            self._update(momentum, mean, var, x.numel() // x.shape[1])
        return y

    def _update(self, momentum, mean, var, count):
        """Take the statistics of one batch into the running ones, in place."""
        # mean and var are marked as not differentiable: no graph grows here.
        self.num_batches_tracked.add_(1)
        w = 1 / self.num_batches_tracked.double() if momentum is None else momentum
        unbiased = var * (count / (count - 1))
        for running, new in ((self.running_mean, mean), (self.running_var, unbiased)):
            running.copy_((1 - w) * running.double() + w * new)


# ---------------------------------------------------------------------------
# Steps and checks they share


def _normalize_batch(x, weight, bias, eps):
    """y, and the mean and biased variance of the batch, without a graph."""
    _check_activations(x)
    weight, bias = _parameters(x, weight, bias)
    if x.numel() == 0 or x.numel() == x.shape[1]:
        held = "no values" if x.numel() == 0 else "one value per channel"
        raise ValueError(
            f"x has shape {tuple(x.shape)}, which holds {held}; "
            "batch statistics need at least two values per channel"
        )
    y, _, _, mean, var = BatchNormalizingTransform.apply(
        x, weight, bias, _checks.epsilon(eps)
    )
    return y, mean, var


def _project(g, x_hat):
    """g off the span of 1 and x_hat in each channel; and the sums of g, g * x_hat."""
    axes = _pooled(x_hat)
    m = x_hat.numel() // x_hat.shape[1]
    total, along = g.sum(axes), (g * x_hat).sum(axes)
    rest = g - _column(total / m, g) - x_hat * _column(along / m, g)
    return rest, total, along


def _pooled(x):
    """The axes that the statistics are taken over: all but that of the channels."""
    return [axis for axis in range(x.ndim) if axis != 1]


def _column(vector, x):
    """One value per channel, to be broadcast against x."""
    return vector.reshape(-1, *[1] * (x.ndim - 2))


def _parameters(x, weight, bias):
    """weight and bias, with 1 and 0 in place of None."""
    if weight is None:
        weight = torch.ones(x.shape[1], dtype=x.dtype, device=x.device)
    if bias is None:
        bias = torch.zeros(x.shape[1], dtype=x.dtype, device=x.device)
    _check_vector("weight", weight, x)
    _check_vector("bias", bias, x)
    return weight, bias


def _check_activations(x):
    _check_real("x", x)
    if not 2 <= x.ndim <= 5:
        raise ValueError(
            f"x has shape {tuple(x.shape)}; allowed are (m, d) and (N, C, *spatial) "
            "with one to three spatial axes"
        )


def _check_vector(name, vector, x):
    _check_real(name, vector)
    channels = x.shape[1]
    if vector.shape != (channels,):
        raise ValueError(
            f"{name} has shape {tuple(vector.shape)}; "
            f"allowed is ({channels},), one value per channel"
        )


def _check_real(name, tensor):
    if not isinstance(tensor, torch.Tensor):
        raise ValueError(f"{name} is a {type(tensor).__name__}; allowed is a tensor")
    if tensor.dtype not in _FLOATS:
        raise ValueError(
            f"{name} has dtype {tensor.dtype}; "
            "allowed are float16, bfloat16, float32 and float64"
        )
