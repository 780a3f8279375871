r"""The PyTorch twin of `batchnorm.reference`: the derived backward, and a module.

`batch_norm` and `inference` are functions of tensors; `BatchNorm` adds the state
and can stand in for ``torch.nn.BatchNorm1d``, ``2d`` and ``3d``. gamma and beta carry
torch's names here, weight and bias. Any device that has float64, any strides.

float16, bfloat16 and float32 are computed in float64 and rounded once, and so keep
the accuracy of `reference`. In float64, values beyond about 1e154 or below 1e-154
square to infinity or to zero, as they do in torch; `reference` scales them.
"""

import torch
from torch import nn

from batchnorm import _checks
from batchnorm._checks import real_tensor
from batchnorm._passes import (
    by_tiles,
    column,
    gradients,
    moments,
    parameters,
    transformed,
)

SPATIAL = 3  # axes at most, as in torch


# ---------------------------------------------------------------------------
# Functions


class BatchNormalizingTransform(torch.autograd.Function):
    r"""The transform of the paper's Algorithm 1, with its derivative in closed form.

    .. math::

       y_i = \gamma \hat x_i + \beta, \qquad
       \hat x_i = v\,(x_i - \mu_{\mathcal B}), \qquad
       v = \frac{1}{\sqrt{\sigma^2_{\mathcal B} + \epsilon}}

    ``apply(x, weight, bias, eps)`` returns (y, mean, rest, var): rest is what the mean
    lost when it was rounded to float64. The statistics are outputs because ``backward``
    needs them; they carry no gradient.
    """

    generate_vmap_rule = True  # batches the steps of forward and backward

    @staticmethod
    def forward(x, weight, bias, eps):
        mean, rest, var = moments(x)
        return transformed(x, weight, bias, mean, rest, var, eps), mean, rest, var

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, weight, _, ctx.eps = inputs
        _, *statistics = output
        ctx.save_for_backward(x, weight, *statistics)
        ctx.mark_non_differentiable(*statistics)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx, dy, *_):
        """Gradients with respect to x, weight and bias: ``_passes.gradients``.

        Where this is to be differentiated once more, autograd does that, step by step,
        and so for every further derivative.
        """
        if dy is None:
            return None, None, None, None
        x, weight, *statistics = ctx.saved_tensors
        if torch.is_grad_enabled():
            statistics = moments(x)  # again, for their dependence on x
        m = x.numel() // len(weight)
        return *gradients(dy, x, weight, *statistics, ctx.eps, m), None


def batch_norm(x, weight, bias, eps=1e-5):
    r"""Batch normalization of a mini-batch with its own statistics.

    .. math::

       y_i = \gamma \frac{x_i - \mu_{\mathcal B}}
                         {\sqrt{\sigma^2_{\mathcal B} + \epsilon}} + \beta

    Parameters
    ----------
    x : tensor, (m, d) or (N, C, \*spatial)
        Activations, up to three spatial axes, at least two values per channel.
    weight, bias : tensor, (d,), or None
        gamma and beta; None for 1 and 0.
    eps : float
        Added to the variance.

    Returns
    -------
    tensor
        y, of the shape, dtype and strides of x. Differentiable any number of times in
        reverse mode, also under torch.func; there is no forward mode.

    Raises
    ------
    ValueError
        If x is not a real floating tensor with a channel axis, has too few values,
        weight or bias has another length than x has channels, or eps is not positive
        and finite.

    References
    ----------
    Ioffe and Szegedy (2015), Algorithm 1.
    """
    return _normalize_batch(x, weight, bias, eps)[0]


def inference(x, weight, bias, mean, var, eps=1e-5):
    r"""Batch normalization with given statistics, those of the population.

    .. math:: y_i = \gamma \frac{x_i - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

    Parameters
    ----------
    x : tensor, (m, d) or (N, C, \*spatial)
        Activations, up to three spatial axes, any number of values.
    weight, bias : tensor, (d,), or None
        gamma and beta; None for 1 and 0.
    mean, var : tensor, (d,)
        Statistics of the population, constants.
    eps : float
        Added to the variance.

    Returns
    -------
    tensor
        y, of the shape, dtype and strides of x.

    Raises
    ------
    ValueError
        As `batch_norm` does, but for the number of values, and if mean or var has
        another length or var a negative entry.

    References
    ----------
    Ioffe and Szegedy (2015), Algorithm 2, step 11.
    """
    _checks.activations("x", x, real_tensor, spatial=SPATIAL)
    weight, bias = parameters(x, weight, bias)
    _checks.channel_vector("mean", mean, x.shape[1], real_tensor)
    # A program that is being traced has shapes but no values to look at.
    traced = torch.compiler.is_compiling()
    check = _checks.channel_vector if traced else _checks.variance
    check("var", var, x.shape[1], real_tensor)
    scale = weight.double() / (var.double() + _checks.epsilon(eps)).sqrt()
    bias, mean = bias.double(), mean.double()

    def step(x):
        centered = x.double() - column(mean, x)
        return torch.addcmul(column(bias, x), column(scale, x), centered)

    return by_tiles(step, x, constants=(bias, scale, mean))


# ---------------------------------------------------------------------------
# The module


class BatchNorm(nn.modules.batchnorm._BatchNorm):
    r"""Batch normalization as a module, in place of nn.BatchNorm1d, 2d and 3d.

    In training the batch's own statistics normalize, and the running ones follow
    with the momentum w as the weight of the new batch,

    .. math::

       \mu \leftarrow (1 - w)\,\mu + w\,\mu_{\mathcal B}, \qquad
       \sigma^2 \leftarrow
         (1 - w)\,\sigma^2 + w\,\frac{m}{m - 1}\,\sigma^2_{\mathcal B};

    in evaluation the running statistics normalize, or the batch's own if
    track_running_stats is False.

    Parameters
    ----------
    num_features : int
        Number of channels d.
    eps : float
        Added to the variance.
    momentum : float in [0, 1], or None
        w; None for the plain average over the batches.
    affine : bool
        Whether there are weight and bias.
    track_running_stats : bool
        Whether there are running statistics.
    **keywords
        device and dtype, as in torch.

    Raises
    ------
    ValueError
        Before any state changes, if num_features, eps or momentum is out of its range;
        if the input does not fit, or has one value per channel when its own statistics
        are needed; or if running_var has a negative entry.

    Notes
    -----
    Input (m, d) or (N, C, \*spatial) with up to three spatial axes, whatever the
    dimension of the module it stands in for.

    Parameters weight, bias and buffers running_mean, running_var, all (d,), and
    num_batches_tracked are torch's, so that a state_dict moves either way, and so is
    the base class: what torch does to its own layers by type (``swa_utils.update_bn``,
    conversion to SyncBatchNorm) it does to this one.

    References
    ----------
    Ioffe and Szegedy (2015), Algorithm 2; torch.nn.BatchNorm1d.
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
        """Normalize x, and in training take its statistics into the running ones.

        Parameters
        ----------
        x : tensor
            Activations, as the class describes them.

        Returns
        -------
        tensor
            y, of the shape, dtype and strides of x.

        Raises
        ------
        ValueError
            As the class describes.
        """
        self._check(x)
        if not self.training and self.running_mean is not None:
            return inference(
                x, self.weight, self.bias, self.running_mean, self.running_var, self.eps
            )
        y, mean, var = _normalize_batch(x, self.weight, self.bias, self.eps)
        if self.training and self.track_running_stats:
            self._update(mean, var, x.numel() // x.shape[1])
        return y

    def _check(self, x):
        """Refuse what does not fit the layer."""
        _checks.momentum(self.momentum)
        _checks.activations("x", x, real_tensor, spatial=SPATIAL)
        _checks.channels("x", x, self.num_features)

    def _update(self, mean, var, count):
        """Take the statistics of one batch into the running ones, in place."""
        # mean and var are marked as not differentiable: no graph grows here.
        self.num_batches_tracked.add_(1)
        w = self.momentum
        if w is None:
            w = 1 / self.num_batches_tracked.double()
        unbiased = var * (count / (count - 1))
        for running, new in ((self.running_mean, mean), (self.running_var, unbiased)):
            running.copy_((1 - w) * running.double() + w * new)


def _normalize_batch(x, weight, bias, eps):
    """y, and the mean and biased variance of the batch, without a graph."""
    _checks.batch("x", x, real_tensor, spatial=SPATIAL)
    weight, bias = parameters(x, weight, bias)
    y, mean, _, var = BatchNormalizingTransform.apply(
        x, weight, bias, _checks.epsilon(eps)
    )
    return y, mean, var
