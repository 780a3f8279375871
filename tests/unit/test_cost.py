"""Counts of cost.py against programs that count what they do, access by access.

The programs are the loops that the docstrings describe, written once more here. They
compute with `Number`, which counts operations, and keep arrays in `Memory`, which
counts bytes; and what they compute is compared with `reference`, so that it is batch
normalization that is counted.
"""

import math
import operator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from batchnorm import cost, folding, reference
from batchnorm.cost import Cost

EPS, W = 1e-5, 0.1
SLOPE = 0.25  # of the leaky ReLU


def operation(function):
    """A method of a number that counts as one operation."""

    def method(self, *others):
        Number.operations += 1
        return Number(float(function(self.value, *map(plain, others))))

    return method


class Number:
    """A float that counts the operations it takes part in."""

    operations = 0

    def __init__(self, value):
        self.value = value

    __add__ = __radd__ = operation(operator.add)
    __mul__ = __rmul__ = operation(operator.mul)
    __sub__, __gt__ = operation(operator.sub), operation(operator.gt)
    __truediv__ = operation(operator.truediv)
    __rtruediv__ = operation(lambda value, other: other / value)
    sqrt = operation(math.sqrt)
    positive_part = operation(lambda value: max(0.0, value))


def plain(number):
    return number.value if isinstance(number, Number) else number


class Memory:
    """An array whose entries are read and written one by one, in counted bytes."""

    reads = writes = 0

    def __init__(self, values, width):
        self.values, self.width = np.array(values, dtype=np.float64), width

    def __getitem__(self, place):
        Memory.reads += self.width
        return Number(self.values[place])

    def __setitem__(self, place, number):
        Memory.writes += self.width
        self.values[place] = plain(number)


def counted(program, *arguments):
    """What a program returns, and its `Cost`."""
    Number.operations = Memory.reads = Memory.writes = 0
    result = program(*arguments)
    return result, Cost(Memory.reads, Memory.writes, Number.operations)


class Layer:
    """Arrays of a layer with m values in each of C channels."""

    def __init__(self, m, channels, width=4, seed=0):
        rng = np.random.default_rng(seed)
        self.m, self.channels, self.shape = m, range(channels), (m, channels)
        self.vector = max(4, width)

        def vector(values):
            return Memory(values, self.vector)

        self.x = Memory(rng.normal(3, 2, self.shape), width)
        self.dy = Memory(rng.normal(size=self.shape), width)
        self.y, self.dx = (Memory(np.zeros(self.shape), width) for _ in range(2))
        self.gamma = vector(rng.uniform(0.5, 2, channels))
        self.beta = vector(rng.normal(size=channels))
        self.mean, self.inv_std = vector(np.zeros(channels)), vector(np.ones(channels))
        self.dgamma, self.dbeta = vector(np.zeros(channels)), vector(np.ones(channels))
        self.running_mean = vector(rng.normal(size=channels))
        self.running_var = vector(rng.uniform(1, 2, channels))

    def reference(self):
        """y and the cache of the forward pass, uncounted."""
        given = self.x.values, self.gamma.values, self.beta.values
        return reference.forward(*given, eps=EPS)

    def column(self, array, j, kept=None):
        """The values of a channel, one by one, read anew or from what is kept."""
        for i in range(self.m):
            if kept is None:
                yield i, array[i, j]
            else:
                if i not in kept:
                    kept[i] = array[i, j]
                yield i, kept[i]


def training(a, passes, relu):
    """The forward pass, as `cost.forward` writes it down."""
    bessel = a.m / (a.m - 1)
    for j in a.channels:
        kept = {} if passes == 1 else None
        if passes == 3:
            total = 0.0
            for _, value in a.column(a.x, j):
                total = value + total
            mean, squares = total / a.m, 0.0
            for _, value in a.column(a.x, j):
                deviation = value - mean
                squares = deviation * deviation + squares
            var = squares / a.m
        else:
            total = squares = 0.0
            first = None
            for _, value in a.column(a.x, j, kept):
                first = first or value
                deviation = value - first
                total = deviation + total
                squares = deviation * deviation + squares
            off = total / a.m
            mean, var = first + off, squares / a.m - off * off
        inv_std = 1 / (var + EPS).sqrt()
        scale, beta = a.gamma[j] * inv_std, a.beta[j]
        for i, value in a.column(a.x, j, kept):
            y = (value - mean) * scale + beta
            a.y[i, j] = y.positive_part() if relu else y
        a.mean[j], a.inv_std[j] = mean, inv_std
        old_mean, old_var = a.running_mean[j], a.running_var[j]
        a.running_mean[j] = old_mean + W * (mean - old_mean)
        a.running_var[j] = old_var + W * (var * bessel - old_var)


def evaluation(a, relu):
    for j in a.channels:
        scale = a.gamma[j] * (1 / (a.running_var[j] + EPS).sqrt())
        shift = a.beta[j] - a.running_mean[j] * scale
        for i, value in a.column(a.x, j):
            y = value * scale + shift
            a.y[i, j] = y.positive_part() if relu else y


def gradient(a, passes, relu):
    """The backward pass; with the ReLU, its sign is computed again from x."""
    for j in a.channels:
        kept, kept_dy = ({}, {}) if passes == 1 else (None, None)
        mean, inv_std = a.mean[j], a.inv_std[j]
        scale = a.gamma[j] * inv_std
        beta = a.beta[j] if relu else None

        def deviations(mean=mean, scale=scale, beta=beta, j=j, k=(kept, kept_dy)):
            pairs = zip(a.column(a.x, j, k[0]), a.column(a.dy, j, k[1]), strict=True)
            for (i, value), (_, dy) in pairs:
                c = value - mean
                if relu:
                    dy = dy * (c * scale + beta > 0)
                yield i, c, dy

        dbeta = products = 0.0
        for _, c, dy in deviations():
            dbeta, products = dy + dbeta, dy * c + products
        dgamma = products * inv_std
        from_mean, slope = dbeta / a.m, dgamma * inv_std / a.m
        for i, c, dy in deviations():
            a.dx[i, j] = (dy - from_mean - c * slope) * scale
        a.dgamma[j], a.dbeta[j] = dgamma, dbeta


def gradient_in_place(a):
    """The backward pass from the output of a leaky ReLU, which is in a.y."""
    for j in a.channels:
        gamma, beta, inv_std = a.gamma[j], a.beta[j], a.inv_std[j]
        undo, factor = 1 / gamma, gamma * inv_std

        def undone(beta=beta, undo=undo, j=j):
            for i in range(a.m):
                z, dz = a.y[i, j], a.dy[i, j]
                slope = 1.0 if plain(z > 0) else SLOPE
                yield i, (z * (1 / slope) - beta) * undo, dz * slope

        dbeta = dgamma = 0.0
        for _, x_hat, dy in undone():
            dbeta, dgamma = dy + dbeta, dy * x_hat + dgamma
        from_mean, along = dbeta / a.m, dgamma / a.m
        for i, x_hat, dy in undone():
            a.dx[i, j] = (dy - from_mean - x_hat * along) * factor
        a.dgamma[j], a.dbeta[j] = dgamma, dbeta


def elementwise(a, backward):
    for j in a.channels:
        for i, value in a.column(a.x, j):
            if backward:
                a.dx[i, j] = a.dy[i, j] * (value > 0)
            else:
                a.y[i, j] = value.positive_part()


def made_again(a):
    for j in a.channels:
        mean, beta = a.mean[j], a.beta[j]
        scale = a.gamma[j] * a.inv_std[j]
        for i, value in a.column(a.x, j):
            y = (value - mean) * scale + beta
            a.y[i, j] = y.positive_part()


def filled_in(a):
    """Fill in what the forward pass hands on, uncounted -> y, cache."""
    y, cache = a.reference()
    a.mean.values[:], a.inv_std.values[:] = cache.mean, 1 / np.sqrt(cache.var + EPS)
    return y, cache


def close(memory, values, atol=1e-9):
    np.testing.assert_allclose(memory.values, values, atol=atol)


DTYPES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
sizes = st.tuples(st.integers(2, 6), st.integers(1, 4))
layers = given(size=sizes, dtype=st.sampled_from(sorted(DTYPES)), relu=st.booleans())
few = settings(max_examples=25, deadline=None)


@few
@layers
@pytest.mark.parametrize("passes", [1, 2, 3])
def test_forward_counts_what_a_loop_does(passes, size, dtype, relu):
    a = Layer(*size, DTYPES[dtype])
    _, seen = counted(training, a, passes, relu)
    assert seen == cost.forward(size, dtype, passes=passes, relu=relu)
    y, cache = a.reference()
    close(a.y, np.maximum(y, 0) if relu else y)
    close(a.mean, cache.mean)


@few
@layers
def test_inference_counts_what_a_loop_does(size, dtype, relu):
    a = Layer(*size, DTYPES[dtype])
    _, seen = counted(evaluation, a, relu)
    assert seen == cost.inference(size, dtype, relu=relu)
    vectors = a.gamma, a.beta, a.running_mean, a.running_var
    y = reference.inference(a.x.values, *(v.values for v in vectors), eps=EPS)
    close(a.y, np.maximum(y, 0) if relu else y)


@few
@layers
@pytest.mark.parametrize("passes", [1, 2])
def test_backward_counts_what_a_loop_does(passes, size, dtype, relu):
    a = Layer(*size, DTYPES[dtype])
    y, cache = filled_in(a)
    _, seen = counted(gradient, a, passes, relu)
    assert seen == cost.backward(size, dtype, passes=passes, relu=relu)
    expected = reference.backward(a.dy.values * ((y > 0) | (not relu)), cache)
    for ours, theirs in zip((a.dx, a.dgamma, a.dbeta), expected, strict=True):
        close(ours, theirs)


@few
@layers
def test_the_backward_pass_in_place_counts_what_a_loop_does(size, dtype, relu):
    a = Layer(*size, DTYPES[dtype])
    y, cache = filled_in(a)
    a.y.values[:] = np.where(y > 0, y, SLOPE * y)
    _, seen = counted(gradient_in_place, a)
    # A product with the reciprocal of a constant: its quotient is no operation.
    assert seen == cost.in_place_backward(size, dtype)
    dy = np.where(y > 0, 1, SLOPE) * a.dy.values
    close(a.dx, reference.backward(dy, cache)[0], 1e-8)


@few
@layers
def test_small_passes_count_what_a_loop_does(size, dtype, relu):
    a = Layer(*size, DTYPES[dtype])
    assert counted(elementwise, a, False)[1] == cost.relu(size, dtype)
    assert counted(elementwise, a, True)[1] == cost.relu_backward(size, dtype)
    filled_in(a)
    assert counted(made_again, a)[1] == cost.recompute(size, dtype)


def test_folding_counts_what_a_loop_does():
    rng = np.random.default_rng(0)
    weight, bias = Memory(rng.normal(size=(3, 5)), 2), Memory(rng.normal(size=3), 2)
    a = Layer(2, 3, 2)

    def program():
        for j in range(3):
            scale = a.gamma[j] * (1 / (a.running_var[j] + EPS).sqrt())
            bias[j] = (bias[j] - a.running_mean[j]) * scale + a.beta[j]
            for k in range(5):
                weight[j, k] = weight[j, k] * scale

    vectors = a.gamma, a.beta, a.running_mean, a.running_var
    vectors = [v.values for v in vectors]
    wanted = folding.fold_linear(weight.values, bias.values, *vectors, eps=EPS)
    _, seen = counted(program)
    assert seen == cost.fold((3, 5), "float16")
    close(weight, wanted[0])
    close(bias, wanted[1])


def test_a_convolution_counts_a_product_and_a_sum_for_each_weight_and_output():
    x, conv = torch.zeros(2, 3, 7, 8), torch.nn.Conv2d(3, 4, 3, 2, 1, bias=False)
    y = conv(x)
    seen = cost.convolution(x.shape, x.dtype, out_channels=4, kernel=3, stride=2)
    assert seen.reads == 4 * (x.numel() + conv.weight.numel())
    assert seen.writes == 4 * y.numel()
    assert seen.operations == 2 * y.numel() * 3 * 9


def test_the_operations_of_a_convolution_are_those_that_torch_counts():
    from torch.utils.flop_counter import FlopCounterMode

    x, conv = torch.zeros(2, 3, 8, 8), torch.nn.Conv2d(3, 4, 3, padding=1, bias=False)
    with FlopCounterMode(display=False) as counter:
        conv(x)
    seen = cost.convolution(x.shape, x.dtype, out_channels=4, kernel=3)
    assert counter.get_total_flops() == seen.operations


def test_what_waits_for_the_backward_pass_is_what_autograd_keeps():
    """x and two vectors by the layer, its output by the ReLU; parameters aside."""
    layer = torch.nn.BatchNorm2d(3)
    x, kept = torch.zeros(2, 3, 4, 4, requires_grad=True), {}

    def pack(tensor):
        if not any(tensor is p for p in (*layer.parameters(), *layer.buffers())):
            kept[tensor.data_ptr()] = tensor.numel() * tensor.itemsize
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        torch.relu(layer(x))
    assert sum(kept.values()) == cost.stored(x.shape, x.dtype)


def test_the_dtype_may_be_a_name_or_a_type():
    expected = cost.forward((4, 3), "float32")
    for dtype in (np.float32, np.dtype("float32"), torch.float32):
        assert cost.forward((4, 3), dtype) == expected


def test_bytes_add_up_and_time_is_that_of_the_slower_part():
    both = Cost(1, 2, 3) + Cost(10, 20, 30)
    assert (both.bytes, both.operations, both.intensity) == (33, 33, 1.0)
    assert cost.seconds(both, 33, 1) == 33  # operations bind
    assert cost.seconds(both, 1, 33) == 33  # bytes bind


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: cost.forward((3,), "float32"), r"shape is \(3,\)"),
        (lambda: cost.forward((3, 0), "float32"), "an extent of shape is 0"),
        (lambda: cost.forward((3, 2), "int8"), "dtype is 'int8'; allowed are"),
        (lambda: cost.forward(12, "float32"), "shape is 12; allowed are iterables"),
        (lambda: cost.fold(12, "float32"), "shape is 12; allowed are iterables"),
        (lambda: cost.fold((), "float32"), r"shape is \(\); allowed are"),
        (lambda: cost.forward((3, 2), "float32", passes=4), "passes is 4"),
        (lambda: cost.forward((3, 2), "float32", passes=1.0), r"passes is 1\.0"),
        (lambda: cost.backward((3, 2), "float32", passes=True), "passes is True"),
        (lambda: cost.backward((3, 2), "float32", passes=3), "passes is 3"),
        (lambda: cost.stored((3, 2), "float32", scheme="x"), "scheme is 'x'"),
        (lambda: cost.seconds(Cost(1, 1, 1), 0, 1), "bandwidth is 0"),
        (lambda: cost.seconds(3, 1, 1), "cost is a int; allowed is the batchnorm"),
        (
            lambda: cost.convolution((3, 2), "float32", out_channels=0, kernel=1),
            "out_channels is 0",
        ),
    ],
)
def test_refusals_name_the_argument(call, words):
    with pytest.raises(ValueError, match=words):
        call()
