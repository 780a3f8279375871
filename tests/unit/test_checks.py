"""The one way to refuse an argument: what passes, what does not, and what is said."""

import math

import numpy as np
import pytest
import torch

from batchnorm import _checks


@pytest.mark.parametrize("value", [True, np.True_, 1.0, "1", None, 0, 10, math.nan])
def test_count_refuses(value):
    says = r"^k is .*; allowed are integers from 1 to 9$"
    with pytest.raises(ValueError, match=says):
        _checks.count("k", value, most=9)


@pytest.mark.parametrize("value", [1, 9, np.int64(3), np.uint8(3)])
def test_count_returns_an_int(value):
    assert type(_checks.count("k", value, most=9)) is int


@pytest.mark.parametrize(
    "values", [[], 3, None, "12", [0.5], [-1], [True], [[1]], [1, None], np.eye(2)]
)
def test_seeds_refuse(values):
    says = r"(?s)^s is .*; allowed are sequences of integers"
    with pytest.raises(ValueError, match=says):
        _checks.seeds("s", values)


@pytest.mark.parametrize(
    "values", [range(3), [0, 1, 2], (0, np.int8(1), 2), np.arange(3)]
)
def test_seeds_are_an_array(values):
    assert _checks.seeds("s", values).tolist() == [0, 1, 2]


@pytest.mark.parametrize("large", [2**63 + 1, 2**64 - 1, 2**64 + 1, 10**30])
def test_neighbors_among_large_seeds_are_two(large):
    for values in ([1, large], [large, large - 1], [np.int64(1), large]):
        assert [int(seed) for seed in _checks.seeds("s", values)] == values


ARRAY_CHECKS = {
    "activations": _checks.activations,
    "batch": _checks.batch,
    "matrix": _checks.matrix,
    "samples": _checks.samples,
    "finite": _checks.finite,
    "shaped": lambda name, x: _checks.shaped(name, x, (2, 2), "two by two"),
    "gradient": lambda name, x: _checks.gradient(name, x, (2, 2)),
    "channel_vector": lambda name, x: _checks.channel_vector(name, x, 2),
    "variance": lambda name, x: _checks.variance(name, x, 2),
    "per_network": lambda name, x: _checks.per_network(name, x, 2),
}


@pytest.mark.parametrize("check", ARRAY_CHECKS)
def test_every_check_of_arrays_refuses_a_mask_and_ragged_rows(check):
    masked = np.ma.masked_less(np.arange(4.0).reshape(2, 2), 1)
    says = said(ARRAY_CHECKS[check], "v", masked)
    assert says.startswith("v is a masked array, whose mask would be ignored")
    says = said(ARRAY_CHECKS[check], "v", [[1.0, 2.0], [3.0]])
    assert says.startswith("v is ragged")


@pytest.mark.parametrize(
    "value", [-1, math.nan, math.inf, [1, 2], np.ones((1, 3)), "a"]
)
def test_per_network_refuses(value):
    with pytest.raises(ValueError, match=r"(?s)^lr .*; allowed are "):
        _checks.per_network("lr", value, 3)


def test_per_network_gives_each_its_own():
    given = np.array([1.0, 2.0, 3.0])
    found = _checks.per_network("lr", given, 3)
    found[0] = 9
    assert given[0] == 1
    assert _checks.per_network("lr", 0.5, 3).tolist() == [0.5] * 3


@pytest.mark.parametrize("value", ["c", None, 0, ["a"]])
def test_one_of_refuses(value):
    with pytest.raises(ValueError, match=r"^f is .*; allowed are 'a', 'b'$"):
        _checks.one_of("f", value, {"a": 1, "b": 2})


@pytest.mark.parametrize(
    "value", [True, "1", None, -1, math.nan, math.inf, 1j, 10**400]
)
@pytest.mark.parametrize("check", [_checks.positive, _checks.not_negative])
def test_numbers_refuse(check, value):
    with pytest.raises(ValueError, match=r"^r is .*; allowed are .*finite"):
        check("r", value)


def said(call, *arguments):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        call(*arguments)
    return str(caught.value)


@pytest.mark.parametrize(
    ("check", "values"),
    [
        (_checks.activations, np.ones(3)),
        (_checks.batch, np.ones((1, 3))),
        (_checks.batch, np.ones((2, 3, 0))),
        (lambda *a: _checks.channel_vector(*a[:2], 3, *a[2:]), np.ones((3, 1))),
        (lambda *a: _checks.variance(*a[:2], 3, *a[2:]), np.array([1, -0.5, -2])),
    ],
    ids=["no channels", "one value", "no values", "a column", "negative"],
)
def test_tensors_are_refused_in_the_words_of_arrays(check, values):
    of_array = said(check, "v", values)
    assert of_array == said(check, "v", torch.tensor(values), _checks.real_tensor)
    assert of_array.startswith("v ")


@pytest.mark.parametrize(
    "dtype", [torch.int64, torch.bool, torch.complex64, torch.float8_e5m2]
)
def test_tensors_of_other_dtypes_are_refused(dtype):
    message = said(_checks.real_tensor, "v", torch.ones(2).to(dtype))
    assert message.startswith(f"v has dtype {dtype}; allowed are float16")
