"""Training an ensemble: what decides it, what is recorded, what it leaves alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from batchnorm.datasets import digits
from batchnorm.ensemble import (
    NORMS,
    Conv,
    Linear,
    Network,
    Pool,
    Recorder,
    Rounded,
    evaluate,
    evaluation,
    forward,
    gradient,
    init_parameters,
    moments_over,
    shuffled,
    single_class,
    train,
    unpack,
    unpack_statistics,
)

MLP = ((64,), (24, 16, 12))
CNN = ((1, 8, 8), (Conv(4), Pool(2), Conv(6, padding="circular"), 16))


PLAIN = Network((64,), (8,))
ONE = Network((64,), (16,), norm="batch")
TWO = Network((64,), (16, 16), norm="batch")


@pytest.fixture
def threads():
    """A function that sets how many there are, for the time of a test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def trained(network, seeds, *, lr=0.1, steps=20, data=digits, **options):
    return train(network, data, seeds, lr=lr, steps=steps, **options)


def test_a_network_alone_is_the_network_in_the_ensemble():
    together, alone = (
        trained(TWO, seeds, lr=0.3, recorder=Recorder()) for seeds in ([7, 8, 9], [8])
    )
    assert np.abs(together.theta[1] - alone.theta[0]).max() < 1e-13
    assert np.array_equal(together.accuracy[1], alone.accuracy[0])


def test_the_same_call_gives_the_same_bits():
    network = Network(*CNN, norm="batch")
    a, b = (trained(network, [1, 2], steps=10, batch=16) for _ in "ab")
    assert np.array_equal(a.theta, b.theta)
    assert np.array_equal(a.running, b.running)


def test_threads_do_not_change_the_counts(threads):
    network = Network((64,), (32, 32), norm="batch")
    runs = []
    for number in (1, 2):
        threads(number)
        runs.append(trained(network, range(4), lr=1.0, steps=60, recorder=Recorder()))
    assert np.array_equal(runs[0].accuracy, runs[1].accuracy)
    assert np.abs(runs[0].theta - runs[1].theta).max() < 1e-11


def test_rounded_steps_are_those_of_descent_to_the_digits_that_are_kept():
    plain, rounded = (
        trained(TWO, [1, 2], steps=1, optimizer=optimizer)
        for optimizer in (None, Rounded(4))
    )
    assert np.array_equal(rounded.theta, plain.theta.round(4))
    assert np.abs(rounded.theta - plain.theta).max() > 1e-6


def test_rounded_a_last_bit_does_not_decide_the_path():
    theta = init_parameters(TWO, [1, 2], 2**0.5)
    given = {"lr": 1.0, "steps": 60, "batch": 8}
    both = theta, theta * (1 + 1e-14)
    plain, rounded = (
        [trained(TWO, [1, 2], theta=t, optimizer=o, **given).theta for t in both]
        for o in (None, Rounded(5))
    )
    assert not np.array_equal(*plain)
    assert np.array_equal(*rounded)


def test_digits_that_cannot_be_kept_are_refused():
    with pytest.raises(ValueError, match="digits is -1"):
        Rounded(-1)


@pytest.mark.parametrize("norm", [None, "batch"])
def test_a_network_that_diverges_leaves_the_others_alone(norm):
    network, given = Network((64,), (16, 16), norm=norm), {"steps": 30}
    given["recorder"] = Recorder()
    with np.errstate(all="ignore"):
        run = trained(network, [1, 2, 3], lr=np.array([0.1, 1e200, 0.1]), **given)
    healthy = trained(network, [1, 2, 3], **given)
    assert not np.isfinite(run.theta[1]).all()
    assert run.accuracy[1, -1] == 0  # not finite counts as wrong, not as class 0
    for k in (0, 2):
        assert np.array_equal(run.theta[k], healthy.theta[k])
        assert np.array_equal(run.accuracy[k], healthy.accuracy[k])


def test_seeds_decide_everything_and_settings_share_the_draws():
    theta = init_parameters(PLAIN, [1, 1, 2], [1.0, 3.0, 1.0])
    first = unpack(PLAIN, theta)[0].weight
    assert np.allclose(first[1], 3 * first[0], rtol=1e-15)
    assert not np.allclose(first[2], first[0])
    assert abs(first[0].std() * 8 - 1) < 0.1  # 1/√64
    fixed = unpack(PLAIN, init_parameters(PLAIN, [1], 0.1, fan_in=False))
    assert abs(fixed[0].weight.std() - 0.1) < 0.01


def test_shuffled_visits_every_example_once_an_epoch():
    rows = shuffled(np.zeros(100), 7, 30, np.random.default_rng(0))
    assert rows.shape == (30, 7)
    for epoch in (rows[:14], rows[14:28]):
        assert len(np.unique(epoch)) == 98
    assert not np.array_equal(rows[:14], rows[14:28])


def test_single_class_batches_are_pure():
    labels = digits(0).y_train
    rows = single_class(labels, 32, 50, np.random.default_rng(0))
    assert all(len(set(labels[row])) == 1 for row in rows)
    assert len(set(labels[rows[:, 0]])) == 10
    run = trained(ONE, [0], lr=0.03, steps=50, batch=32, batches=single_class)
    assert run.accuracy[0, -1] < 0.5


def test_evaluate_in_pieces_equals_evaluate_whole(monkeypatch):
    theta, split = init_parameters(ONE, [0, 1], 1.4), digits(0)
    statistics = moments_over(ONE, theta, split.x_train)
    given = ONE, theta, split.x_test, split.y_test, statistics
    whole = evaluate(*given)
    monkeypatch.setattr(evaluation, "_CHUNK", 64)
    pieces = evaluate(*given)
    assert np.array_equal(whole.accuracy, pieces.accuracy)
    assert np.allclose(whole.loss, pieces.loss, rtol=1e-13, atol=0)


def test_evaluate_with_population_statistics():
    run = trained(TWO, [0, 1], recorder=Recorder(every=20, statistics="population"))
    for k, seed in enumerate(run.seeds):
        split = digits(seed)
        theta = run.theta[k : k + 1]
        statistics = moments_over(TWO, theta, split.x_train)
        score = evaluate(TWO, theta, split.x_test, split.y_test, statistics)
        assert run.accuracy[k, -1] == score.accuracy[0]


def test_without_a_recorder_the_last_step_is_tested():
    run = trained(PLAIN, [0], steps=9)
    assert run.at.tolist() == [9]
    assert Recorder().wanted(25) == {0, 10, 20, 25}
    again = trained(PLAIN, [0], steps=9, recorder=Recorder(3))
    assert again.at.tolist() == [0, 3, 6, 9]
    assert np.array_equal(run.accuracy, again.accuracy[:, -1:])


def test_steps_to_record_at_may_be_listed():
    run = trained(PLAIN, [0], steps=9, recorder=Recorder([0, 1, 5]))
    assert run.at.tolist() == [0, 1, 5, 9]
    again = trained(PLAIN, [0], steps=9, recorder=Recorder(1))
    assert np.array_equal(run.accuracy, again.accuracy[:, run.at])
    with pytest.raises(ValueError, match="allowed are steps from 0 to 9"):
        trained(PLAIN, [0], steps=9, recorder=Recorder([0, 10]))


def test_recorders_see_every_step():
    """‖W‖² grows by lr²‖g‖² a step, the law that scale invariance implies."""
    network = Network((64,), (16, 16), norm="batch", eps=0.0)

    def first_layer(vector):
        weight = unpack(network, vector)[0].weight
        return np.square(weight).sum((1, 2))

    quantities = {
        "norm": lambda state: first_layer(state.theta),
        "gradient": lambda state: first_layer(state.gradient),
        "mean": lambda state: unpack_statistics(network, state.batch)[0][0],
        "step": lambda state: np.full(2, state.step),
    }
    recorder = Recorder(1, quantities=quantities)
    run = trained(network, [0, 1], lr=0.5, steps=40, recorder=recorder)
    assert np.array_equal(run.at, np.arange(41))
    assert np.array_equal(run.records["step"][0], run.at)
    assert run.records["mean"].shape == (2, 41, 16)
    growth = np.diff(run.records["norm"], axis=1)
    predicted = 0.25 * run.records["gradient"][:, 1:]
    assert (growth > 0).all()
    assert np.allclose(growth, predicted, rtol=1e-8, atol=0)


def test_running_statistics_follow_the_batches():
    """Exponential averages from the recorded mini-batch statistics, by hand."""
    quantities = {"batch": lambda s: s.batch, "running": lambda s: s.running}
    momentum, recorder = np.array([0.1, 0.5]), Recorder(1, quantities=quantities)
    given = {"momentum": momentum, "recorder": recorder}
    run = trained(ONE, [3, 3], steps=15, batch=10, **given)
    assert np.array_equal(run.theta[0], run.theta[1])  # it takes no part in training
    for k in range(2):
        mean, var = np.zeros(16), np.ones(16)
        for t in range(1, 16):
            mean += momentum[k] * (run.records["batch"][k, t, 0] - mean)
            var += momentum[k] * (run.records["batch"][k, t, 1] * 10 / 9 - var)
            assert np.allclose(run.records["running"][k, t, 0], mean, atol=1e-14)
            assert np.allclose(run.records["running"][k, t, 1], var, atol=1e-14)


def test_steps_to_is_the_first_recorded_step():
    network = Network((64,), (32,), norm="batch")
    run = trained(network, [0, 1], lr=[0.3, 0.0], steps=60, recorder=Recorder(5))
    reached = run.steps_to(0.8)
    first = list(run.at).index(reached[0])
    assert run.accuracy[0, first] >= 0.8
    assert (run.accuracy[0, :first] < 0.8).all()
    assert np.isinf(reached[1])


def test_a_split_may_be_shared():
    split = digits(5)
    shared, separate = (
        trained(ONE, [1, 2], data=data) for data in (split, lambda seed: split)
    )
    assert np.array_equal(shared.theta, separate.theta)
    assert not np.allclose(shared.theta[0], shared.theta[1])


def test_integer_pixels_train_like_float_ones():
    def binary(dtype):
        split = digits(0)
        images = {name: getattr(split, name) > 0.5 for name in ("x_train", "x_test")}
        return replace(split, **{name: x.astype(dtype) for name, x in images.items()})

    a, b = (
        trained(ONE, [0], data=data, steps=10, recorder=Recorder(5, "population"))
        for data in map(binary, (np.float64, np.uint8))
    )
    assert np.array_equal(a.theta, b.theta)
    assert np.array_equal(a.loss, b.loss)


def test_float32_is_available():
    single, double = trained(ONE, [0], dtype=np.float32), trained(ONE, [0])
    assert single.theta.dtype == np.float32
    assert 0 < np.abs(single.theta - double.theta).max() < 1e-4


def test_inputs_are_never_written_to():
    theta = init_parameters(ONE, [0])
    before = theta.copy()
    trained(ONE, [0], lr=1.0, steps=5, theta=theta)
    gradient(ONE, theta, digits(0).x_test, digits(0).y_test)
    assert np.array_equal(theta, before)


def test_a_norm_without_a_layer_to_normalize_changes_nothing():
    nets = [Network((1, 8, 8), (Pool(),), norm=norm) for norm in (None, *NORMS)]
    runs = [trained(network, [0], steps=3) for network in nets]
    assert all(np.array_equal(run.theta, runs[0].theta) for run in runs)


def test_an_integer_is_short_for_linear_and_a_bias_may_be_left_out():
    theta = init_parameters(PLAIN, [0])
    with_bias, without = (
        Network((64,), (Linear(8, bias=bias), 5), 3) for bias in (True, False)
    )
    assert with_bias.steps == Network((64,), (8, 5), 3).steps
    assert theta.shape[1] == 64 * 8 + 8 + 8 * 10 + 10
    assert with_bias.parameters - without.parameters == 8
    start = init_parameters(without, [0])
    assert unpack(without, start)[0].bias is None
    padded = init_parameters(with_bias, [0])  # the same draws, and biases of zero
    x, y = digits(0).x_test[:20], digits(0).y_test[:20] % 3
    (loss, found), (wanted_loss, wanted) = (
        gradient(network, vector, x, y)
        for network, vector in ((without, start), (with_bias, padded))
    )
    assert np.array_equal(loss, wanted_loss)
    for a, b in zip(unpack(without, found), unpack(with_bias, wanted), strict=True):
        assert np.array_equal(a.weight, b.weight)


@pytest.mark.parametrize("norm", ["layer", "group", "rms"])
def test_a_relative_normalizes_a_batch_of_one_as_any_other(norm):
    network = Network((64,), (16, 16), norm=norm)
    assert network.channels == 0
    run = trained(network, [0], steps=3, batch=1)
    assert np.isfinite(run.loss).all()
    x = digits(0).x_test[:20]
    logits = forward(network, run.theta, x)[-1].output
    one = forward(network, run.theta, x[:1])[-1].output
    assert np.allclose(logits[:, :1], one, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("channels", "groups"), [(64, 8), (50, 5), (32, 8), (16, 8), (8, 4), (7, 1), (2, 1)]
)
def test_groups_are_of_equal_size_and_of_two_channels_at_least(channels, groups):
    assert NORMS["group"](1e-5).groups((channels,)) == groups
    assert NORMS["group"](1e-5, 1).groups((channels,)) == 1
    assert NORMS["layer"](1e-5).groups((channels,)) == 1


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("order", ["before", "after"])
def test_a_bias_is_left_out_only_where_a_norm_would_cancel_it(norm, order):
    network = Network(*MLP, norm=norm, order=order)
    *hidden, last = unpack(network, init_parameters(network, [0]))
    cancelled = order == "before" and NORMS[norm].cancels_bias
    assert [layer.bias is None for layer in hidden] == [cancelled] * len(hidden)
    assert last.bias is not None
    # Whether it would be: a constant on the layer's outputs, through the norm.
    x = torch.as_tensor(np.random.default_rng(0).standard_normal((1, 6, 10)))
    operation, shape = NORMS[norm](1e-5), (6,)
    given = [torch.ones(1, *s).double() for s in operation.parameters(shape).values()]
    constant = torch.arange(6.0).double().view(1, 6, 1)
    y, moved = (operation.forward(v, shape, *given)[0] for v in (x, x + constant))
    assert torch.allclose(y, moved, rtol=0, atol=1e-12) == NORMS[norm].cancels_bias
