"""What chapter 2 derives, on random input."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from batchnorm.datasets import Split
from batchnorm.ensemble import Network, gradient, init_parameters, train, unpack

seeds = st.integers(0, 2**32 - 1)


def with_silent_inputs(seed):
    """Examples some of whose inputs are always zero, labels, and which they are."""
    rng = np.random.default_rng(seed)
    silent = rng.random(12) < 0.5
    x = rng.normal(size=(20, 12)) * ~silent
    return x, rng.integers(3, size=20), silent


@given(seeds, st.sampled_from(["relu", "tanh", "sigmoid"]), st.booleans())
def test_weights_of_inputs_that_are_always_zero_do_not_learn(seed, g, normalized):
    x, y, silent = with_silent_inputs(seed)
    norm = "batch" if normalized else None
    network = Network((12,), (5, 4), classes=3, nonlinearity=g, norm=norm)
    theta = init_parameters(network, [seed])
    loss, slope = gradient(network, theta, x, y)
    weight = unpack(network, slope)[0].weight[0]
    assert (weight[:, silent] == 0).all()
    # The oracle needs no gradient: the loss is the same whatever these weights are.
    other = theta.copy()
    unpack(network, other)[0].weight[0][:, silent] += 7.0
    np.testing.assert_array_equal(gradient(network, other, x, y)[0], loss)


def test_training_leaves_them_as_they_were_drawn():
    x, y, silent = with_silent_inputs(0)
    network = Network((12,), (5,), classes=3)
    before = init_parameters(network, [0])
    data = Split(x, y, x, y, (12,))
    run = train(network, data, [0], theta=before, lr=0.5, steps=9, batch=10)
    a, b = (unpack(network, theta)[0].weight[0] for theta in (before, run.theta))
    np.testing.assert_array_equal(a[:, silent], b[:, silent])
    assert (a[:, ~silent] != b[:, ~silent]).any()


@given(seeds)
def test_exchanged_labels_cost_what_was_right_less_what_was_confused(seed):
    rng = np.random.default_rng(seed)
    order = rng.permutation(10)
    pairs = [(int(order[2 * k]), int(order[2 * k + 1])) for k in range(rng.integers(5))]
    old, said = rng.integers(10, size=(2, 200))
    said = np.where(rng.random(200) < 0.5, old, said)
    partner = dict(pairs) | {b: a for a, b in pairs}
    # Image by image: what it costs, and what it was before.
    cost = right = confused = 0
    for label, answer in zip(old.tolist(), said.tolist(), strict=True):
        cost += (answer == label) - (answer == partner.get(label, label))
        right += label in partner and answer == label
        confused += label in partner and answer == partner[label]
    assert cost == right - confused
