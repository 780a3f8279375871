r"""The PyTorch twin of `batchnorm.reference`: the derived backward, and a module.

`batch_norm` and `inference` are functions of tensors; `BatchNorm` adds the state
and can stand in for ``torch.nn.BatchNorm1d``, ``2d`` and ``3d``. gamma and beta carry
torch's names here, weight and bias. Any device that has float64, any strides.

float16, bfloat16 and float32 are computed in float64 and rounded once, and so keep
the accuracy of `reference`. In float64, values beyond about 1e154 or below 1e-154
square to infinity or to zero, as they do in torch; `reference` scales them.

No forward pass looks at a value: tensors that are traced, faked, batched by torch.func
or without data go through, and on an accelerator nothing waits for the device.
"""

import torch
from torch import nn

from batchnorm import _checks
from batchnorm._checks import real_tensor
from batchnorm._passes import (
    by_tiles,
    carried_over,
    column,
    exchanged,
    gradients,
    mixed,
    moments,
    parameters,
    plainly_stored,
    transformed,
)

SPATIAL = 3  # axes at most, as in torch
STATISTICS = {"running_mean": _checks.channel_vector, "running_var": _checks.variance}
KINDS = nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d  # by the number of these axes


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

    # Not parted into forward and setup_context, for then torch reads the signature at
    # each call, which takes a tenth of the time of a small layer. What needs the parts,
    # torch.func, gets the steps themselves (`_normalize_batch`).
    @staticmethod
    def forward(ctx, x, weight, bias, eps):
        statistics = moments(x)
        ctx.eps = eps
        ctx.save_for_backward(x, weight, *statistics)
        ctx.mark_non_differentiable(*statistics)
        ctx.set_materialize_grads(False)
        return transformed(x, weight, bias, *statistics, eps), *statistics

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
        Activations, up to three spatial axes, at least two values per channel, or none.
    weight, bias : tensor, (d,), or None
        gamma and beta; None for 1 and 0.
    eps : float
        Added to the variance.

    Returns
    -------
    tensor
        y, of the shape, dtype and strides of x. Differentiable any number of times, in
        reverse and in forward mode, also under torch.func.

    Raises
    ------
    ValueError
        If x is not a real floating tensor with a channel axis, has one value per
        channel, weight or bias has another length than x has channels, or eps is not
        positive and finite.

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
        Statistics of the population, constants. Their values are not looked at: a
        variance below -eps gives NaN in its channel, as in torch.
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
        another length.

    References
    ----------
    Ioffe and Szegedy (2015), Algorithm 2, step 11.
    """
    _checks.activations("x", x, real_tensor, spatial=SPATIAL)
    weight, bias = parameters(x, weight, bias)
    _checks.channel_vector("mean", mean, x.shape[1], real_tensor)
    _checks.channel_vector("var", var, x.shape[1], real_tensor)
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
        are needed; if one of running_mean and running_var is None and the other is not,
        or momentum is None and there is no counter; or if a statistic that is assigned
        has another length or a negative variance. One that is loaded is an error of
        ``load_state_dict``, and the layer stays as it was.

    Notes
    -----
    Input (m, d) or (N, C, \*spatial) with up to three spatial axes, whatever the
    dimension of the module it stands in for. A mini-batch without values comes back as
    it is, and is not counted (torch counts it).

    Parameters weight, bias and buffers running_mean, running_var, all (d,), and
    num_batches_tracked are torch's, so that a state_dict moves either way, and so is
    the base class: what torch does to its own layers by base class
    (``swa_utils.update_bn``, conversion to SyncBatchNorm) it does to this one. In a
    trace of torch.fx it is one node, as torch's is. What knows exact types (fusion,
    quantization), and an exporter that should write one operator and no casts to
    double, gets the model from `to_torch`; or fold first, with `batchnorm.folding`.

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
        if isinstance(x, torch.fx.Proxy):
            return _node(self, x)
        self._check(x)
        if not self.training and self.running_mean is not None:
            return inference(
                x, self.weight, self.bias, self.running_mean, self.running_var, self.eps
            )
        y, mean, var = _normalize_batch(x, self.weight, self.bias, self.eps)
        if self.training and self.track_running_stats and x.numel():
            self._update(mean, var, x.numel() // x.shape[1])
        return y

    def __setattr__(self, name, value):
        """As in torch, but statistics that cannot be those of the layer are refused."""
        if name in STATISTICS and value is not None:
            STATISTICS[name](name, value, self.num_features, real_tensor)
        super().__setattr__(name, value)

    def __prepare_scriptable__(self):
        raise ValueError(
            "torch.jit.script does not read batchnorm.layer.BatchNorm; allowed is the "
            "model from batchnorm.layer.to_torch(model, x)"
        )

    def _load_from_state_dict(self, state, prefix, metadata, strict, *lists):
        """As in torch, but a running_var with a negative entry is one of the errors."""
        var, errors = state.get(f"{prefix}running_var"), lists[-1]
        try:  # of another shape, it is torch that says so, with all others that are
            if isinstance(var, torch.Tensor) and var.shape == (self.num_features,):
                _checks.variance(f"{prefix}running_var", var, len(var), real_tensor)
        except ValueError as error:
            errors.append(str(error))
        else:
            super()._load_from_state_dict(state, prefix, metadata, strict, *lists)

    def _check(self, x):
        """Refuse what does not fit the layer."""
        momentum = _checks.momentum(self.momentum)
        _checks.activations("x", x, real_tensor, spatial=SPATIAL)
        _checks.channels("x", x, self.num_features)
        statistics = {name: getattr(self, name) for name in STATISTICS}
        missing = [name for name, vector in statistics.items() if vector is None]
        if len(missing) == 1:
            raise ValueError(f"{missing[0]} is None; allowed are both or neither")
        if not missing:
            for name, vector in statistics.items():
                if vector.shape != (self.num_features,):  # one that __setattr__ missed
                    _checks.channel_vector(name, vector, self.num_features, real_tensor)
        tracks = self.training and self.track_running_stats and not missing
        if tracks and momentum is None and self.num_batches_tracked is None:
            raise ValueError(
                "momentum is None and num_batches_tracked too; allowed is the plain "
                "average over batches that are counted, or a momentum"
            )

    def _update(self, mean, var, count):
        """Take the statistics of one batch into the running ones, where there are any.

        They are marked as not differentiable: no graph grows here.
        """
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        if self.running_mean is None:
            return
        w = self.momentum
        if w is None:
            w = 1 / self.num_batches_tracked.double()
        unbiased = var * (count / (count - 1))
        for running, new in ((self.running_mean, mean), (self.running_var, unbiased)):
            running.copy_(mixed(running.double(), new, w))


def to_torch(module, *inputs):
    r"""The model with torch's own layer in place of each `BatchNorm`.

    For tools that know layers by exact type or export an operator each: fusion,
    quantization, ONNX. Parameters and statistics are the same objects; results differ
    by the rounding of float32, and a state_dict fits either model.

    Parameters
    ----------
    module : nn.Module
        Changed in place, unless it is itself a `BatchNorm`.
    *inputs
        What the model is called with. It is run once, in evaluation and without
        gradients, to see whether a layer stands for BatchNorm1d, 2d or 3d.

    Returns
    -------
    nn.Module
        The model, in the mode in which it was. A layer that it holds in several places
        is one layer in all of them.

    Raises
    ------
    ValueError
        Before anything changes, if the run does not reach a layer, or reaches it with
        inputs for several kinds.

    References
    ----------
    torch.ao.quantization.fuse_modules; torch.fx.experimental.optimization.fuse.
    """
    layers = {m: name for name, m in module.named_modules() if type(m) is BatchNorm}
    seen = {layer: set() for layer in layers}
    hooks = [  # on y, which has the axes of x
        layer.register_forward_hook(lambda layer, x, y: seen[layer].add(y.ndim))
        for layer in layers
    ]
    modes = {m: m.training for m in module.modules()}
    try:
        with torch.no_grad():
            module.eval()(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
        for m, training in modes.items():
            m.training = training
    twins = {}
    for layer, name in layers.items():
        kinds = {KINDS[max(1, ndim - 2) - 1] for ndim in seen[layer]}
        if len(kinds) != 1:
            saw = " and ".join(sorted(kind.__name__ for kind in kinds))
            said = f"saw inputs for {saw}" if kinds else "is not reached"
            raise ValueError(
                f"{name or 'module'} {said}; allowed are inputs that reach each layer, "
                "and for one kind"
            )
        twins[layer] = carried_over(layer, *kinds)
    return exchanged(module, twins)


def _node(layer, x):
    """The layer as one node of a trace by torch.fx, which has no values, no shape."""
    path = getattr(x.tracer, "submodule_paths", {}).get(layer)
    if not path:
        raise ValueError(
            f"x is a {type(x).__name__} of torch.fx, which traces a model that holds "
            "the layer, not the layer itself: nn.Sequential(layer) is one"
        )
    return x.tracer.create_proxy("call_module", path, (x,), {})


def _normalize_batch(x, weight, bias, eps):
    """y, and the mean and biased variance of the batch, without a graph."""
    _checks.activations("x", x, real_tensor, spatial=SPATIAL)
    if x.numel() == 0:  # y too, with a graph in which weight and bias have gradient 0
        zeros = x.new_zeros(x.shape[1])
        return inference(x, weight, bias, zeros, zeros, eps), zeros, zeros
    _checks.batch("x", x, real_tensor, spatial=SPATIAL)
    weight, bias = parameters(x, weight, bias)
    eps = _checks.epsilon(eps)
    if torch.compiler.is_compiling() or plainly_stored(x, weight, bias):
        y, mean, _, var = BatchNormalizingTransform.apply(x, weight, bias, eps)
        return y, mean, var
    # torch.func and forward mode differentiate the steps, to any order and in any
    # order of the transforms, which a derivative of our own is not told.
    mean, rest, var = moments(x)
    y = transformed(x, weight, bias, mean, rest, var, eps)
    return y, mean.detach(), var.detach()
