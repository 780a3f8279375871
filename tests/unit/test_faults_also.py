"""Forward mode, empty batches and folds: the rest of what `test_faults` begins."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.func import hessian, jacfwd, jacrev, jvp

from batchnorm import folding, reference
from batchnorm.layer import BatchNorm, batch_norm

DEPRECATED = "ignore:.*(deprecated|not supported):DeprecationWarning"  # torch's own
pytestmark = [
    pytest.mark.usefixtures("seeded"),
    pytest.mark.filterwarnings(DEPRECATED),
]


def textbook(x, weight, bias, eps=0.25):
    centered = x - x.mean(0)
    return weight * centered / (x.var(0, unbiased=False) + eps).sqrt() + bias


def ours(x, weight, bias):
    return batch_norm(x, weight, bias, 0.25)


def arguments():
    return tuple(torch.randn(*shape).double() for shape in ((5, 3), (3,), (3,)))


def test_forward_mode_in_training():
    at, along = arguments(), arguments()
    torch.testing.assert_close(jvp(ours, at, along), jvp(textbook, at, along))


TWICE = {
    "forward over reverse": hessian,
    "forward twice": lambda f: jacfwd(jacfwd(f)),
    "reverse over forward": lambda f: jacrev(jacfwd(f)),
    "reverse": lambda f: jacrev(jacrev(f)),
}


@pytest.mark.parametrize("modes", TWICE)
def test_second_derivatives_in_every_order_of_modes(modes):
    """The library's own kernel is wrong in forward mode twice."""
    twice = TWICE[modes]
    x, weight, bias = arguments()
    got = twice(lambda x: ours(x, weight, bias).pow(3).sum())(x)
    expected = twice(lambda x: textbook(x, weight, bias).pow(3).sum())(x)
    torch.testing.assert_close(got, expected)


def test_forward_over_reverse_without_a_second_graph():
    (x, weight, bias), (along, *_) = arguments(), arguments()

    def slope(f):
        with forward_ad.dual_level():
            dual = forward_ad.make_dual(x.clone().requires_grad_(), along)
            (gradient,) = torch.autograd.grad(f(dual, weight, bias).pow(3).sum(), dual)
            return forward_ad.unpack_dual(gradient).tangent

    torch.testing.assert_close(slope(ours), slope(textbook))


def test_forward_mode_of_a_batch_that_is_cut_into_tiles():
    x, along = torch.randn(2, 3000, 64, dtype=torch.float64)
    _, got = jvp(lambda x: batch_norm(x, None, None, 0.25), (x,), (along,))
    _, expected = jvp(lambda x: textbook(x, 1, 0), (x,), (along,))
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("shape", [(0, 3), (2, 3, 0), (0, 3, 4, 4)])
@pytest.mark.parametrize("momentum", [0.1, None])
def test_an_empty_batch_comes_back_and_is_not_counted(shape, momentum):
    layer = BatchNorm(3, momentum=momentum)
    before = copy.deepcopy(layer.state_dict())
    y = layer(torch.empty(shape))
    assert y.shape == shape
    y.sum().backward()
    assert torch.equal(layer.weight.grad, torch.zeros(3))
    for name, value in layer.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize(
    "weight",
    [
        torch.ones(2, 3, 1, dtype=torch.bfloat16),
        nn.Conv1d(3, 2, 1).weight,
        torch.ones(2, 3, 1, device="meta"),
    ],
    ids=["bfloat16", "with a graph", "without data"],
)
def test_a_tensor_that_numpy_does_not_read_is_refused(weight):
    ones = np.ones(2)
    with pytest.raises(ValueError, match=r"weight is a tensor, .*\.float\(\)\.numpy"):
        folding.fold_conv(weight, None, ones, ones, ones, ones)


def numbers(*shapes):
    rng = np.random.default_rng(3)
    return [rng.normal(size=shape) for shape in shapes]


def test_a_fold_before_a_linear_layer():
    x, weight, bias, gamma, beta, mean = numbers((7, 4), (5, 4), 5, 4, 4, 4)
    var = np.arange(1.0, 5)
    w, b = folding.fold_before_linear(weight, bias, gamma, beta, mean, var)
    expected = reference.inference(x, gamma, beta, mean, var) @ weight.T + bias
    np.testing.assert_allclose(x @ w.T + b, expected)
    w, b = folding.fold_before_linear(weight, None, None, None, mean, var)
    expected = reference.inference(x, None, None, mean, var) @ weight.T
    np.testing.assert_allclose(x @ w.T + b, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("axes", "groups", "settings"),
    [(1, 1, {}), (2, 2, {"stride": 2}), (2, 4, {"dilation": 2}), (3, 1, {})],
)
def test_a_fold_before_a_convolution_without_padding(axes, groups, settings):
    conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
    layer = conv(4, 8, 3, groups=groups, dtype=torch.float64, **settings)
    (x, gamma, beta, mean), var = numbers((2, 4, *[7] * axes), 4, 4, 4), np.ones(4)
    normalized = reference.inference(x, gamma, beta, mean, var)
    expected = layer(torch.tensor(normalized))
    parts = [p.detach().numpy() for p in (layer.weight, layer.bias)]
    w, b = folding.fold_before_conv(*parts, gamma, beta, mean, var, groups=groups)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(w))
        layer.bias.copy_(torch.tensor(b))
    torch.testing.assert_close(layer(torch.tensor(x)), expected)
    with pytest.raises(ValueError, match="padding is 1; allowed is 0"):
        folding.fold_before_conv(*parts, *[np.ones(4)] * 4, padding=1)
