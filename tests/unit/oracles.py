"""What tests of the arithmetic share: drawn input, torch's answers, limits of error."""

from contextlib import contextmanager

import numpy as np
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

TORCH = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
#: Unit roundoffs that a result may be off by.
LIMITS = {np.float16: 8, np.float32: 8, np.float64: 32}


def draw(*shapes, seed=0, dtype=np.float64):
    """An array of each shape."""
    rng = np.random.default_rng(seed)
    return tuple((3 * rng.standard_normal(shape)).astype(dtype) for shape in shapes)


def draw_pass(shape, seed=0, dtype=np.float64):
    """x, gamma, beta and dy."""
    return draw(shape, shape[1], shape[1], shape, seed=seed, dtype=dtype)


def leaf(array):
    return None if array is None else torch.tensor(array, requires_grad=True)


def torch_gradients(y, dy, *leaves):
    """Gradients in NumPy; None for what is None."""
    wanted = [leaf for leaf in leaves if leaf is not None]
    found = iter(torch.autograd.grad(y, wanted, torch.as_tensor(dy)))
    return [None if leaf is None else next(found).numpy() for leaf in leaves]


def assert_same(ours, theirs, **tolerance):
    """Equal in shape and up to rounding; None only where the other is None."""
    if theirs is None:
        assert ours is None
    else:
        assert np.shape(ours) == np.shape(theirs)
        assert_allclose(ours, theirs, **({"rtol": 1e-11, "atol": 1e-11} | tolerance))


def assert_all_same(ours, theirs, **tolerance):
    """Each of several, as gradients are."""
    for one, other in zip(ours, theirs, strict=True):
        assert_same(one, other, **tolerance)


def assert_close(ours, theirs, tolerance=1e-12):
    """Of tensors, or sequences of them, with their dtypes."""
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def assert_accurate(row, dtype):
    """A row of a table of accuracies, for each implementation in it."""
    errors = *row.y.values(), *row.dx.values()
    assert all(error <= LIMITS[dtype] for error in errors), errors


@contextmanager
def unwritten(*arrays):
    """Forbid to write to arrays; no result that is put into the list shares memory."""
    copies = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    results = []
    yield results
    for array, copy in zip(arrays, copies, strict=True):
        assert_array_equal(array, copy)
        assert not any(np.shares_memory(array, result) for result in results)
