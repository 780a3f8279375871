"""An ensemble against plain ``torch.nn`` modules trained one at a time."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from batchnorm.datasets import Split, digits
from batchnorm.ensemble import (
    NORMS,
    SGD,
    Adam,
    Conv,
    Linear,
    Network,
    Pool,
    Recorder,
    evaluate,
    evaluation,
    forward,
    gradient,
    grid,
    init_parameters,
    moments_over,
    shuffled,
    single_class,
    train,
    unpack,
    unpack_statistics,
)

OURS = {"sgd": SGD, "momentum": partial(SGD, 0.9), "adam": Adam}
MODULES = {
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "linear": nn.Identity,
}


@pytest.fixture(autouse=True)
def restored_threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def plain(network: Network, theta: np.ndarray) -> nn.Sequential:
    """The same network from torch.nn modules, with the parameters ``theta`` (P,)."""
    modules, shape, flat = [], network.shape, len(network.shape) == 1
    for index, layer in enumerate((*network.hidden, network.classes)):
        last = index == len(network.hidden)
        if isinstance(layer, Pool):
            modules.append(nn.AvgPool2d(layer.size))
            shape = (shape[0], shape[1] // layer.size, shape[2] // layer.size)
            continue
        normed = network.norm is not None and not last
        bias = not (normed and network.order == "before")
        if isinstance(layer, Conv):
            modules.append(
                nn.Conv2d(
                    shape[0],
                    layer.channels,
                    layer.kernel,
                    padding=layer.kernel // 2,
                    padding_mode=layer.padding,
                    bias=bias,
                )
            )
            shape = (layer.channels, *shape[1:])
            norm = nn.BatchNorm2d(shape[0], eps=network.eps)
        else:
            if not flat:
                modules.append(nn.Flatten())
                shape, flat = (int(np.prod(shape)),), True
            modules.append(nn.Linear(shape[0], layer, bias=bias))
            shape = (layer,)
            norm = nn.BatchNorm1d(layer, eps=network.eps)
        if last:
            break
        if normed and network.norm == "per-activation":
            features = int(np.prod(shape))
            norm = nn.Sequential(
                nn.Flatten(), nn.BatchNorm1d(features), nn.Unflatten(1, shape)
            )
        nonlinearity = MODULES[network.nonlinearity]()
        block = (
            [norm, nonlinearity] if network.order == "before" else [nonlinearity, norm]
        )
        modules.extend(block if normed else [nonlinearity])
    net = nn.Sequential(*modules).double()
    with torch.no_grad():
        weighted = [m for m in net.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
        norms = [
            m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)
        ]
        for i, layer in enumerate(unpack(network, theta[None])):
            weighted[i].weight.copy_(torch.as_tensor(layer.weight[0].copy()))
            if layer.bias is not None:
                weighted[i].bias.copy_(torch.as_tensor(layer.bias[0].copy()))
            if layer.gamma is not None:
                norms[i].weight.copy_(torch.as_tensor(layer.gamma[0].copy()))
                norms[i].bias.copy_(torch.as_tensor(layer.beta[0].copy()))
    return net


def parameters(network: Network, net: nn.Sequential, what=lambda p: p) -> np.ndarray:
    """The parameters of a plain network, or ``what`` of them, in the order of θ."""
    weighted = [m for m in net.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    norms = [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    pieces = []
    for i, module in enumerate(weighted):
        pieces += [module.weight, module.bias]
        if i < len(norms):
            pieces += [norms[i].weight, norms[i].bias]
    return np.concatenate(
        [what(p).detach().numpy().ravel() for p in pieces if p is not None]
    )


def running(net: nn.Sequential) -> np.ndarray:
    norms = [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    return np.stack(
        [
            np.concatenate([n.running_mean.numpy() for n in norms] or [np.zeros(0)]),
            np.concatenate([n.running_var.numpy() for n in norms] or [np.zeros(0)]),
        ]
    )


def train_plain(network, theta, split, seed, *, lr, steps, batch, optimizer, decay=0.0):
    """The loop that a reader would write: one network, torch.nn and torch.optim."""
    net = plain(network, theta)
    optimizers = {
        "sgd": lambda p: torch.optim.SGD(p, lr=lr, weight_decay=decay),
        "momentum": lambda p: torch.optim.SGD(p, lr, momentum=0.9, weight_decay=decay),
        "adam": lambda p: torch.optim.Adam(p, lr=lr, weight_decay=decay),
    }
    optimizer = optimizers[optimizer](net.parameters())
    rows = shuffled(split.y_train, batch, steps, np.random.default_rng([seed, 2]))
    x = torch.as_tensor(split.x_train.reshape(-1, *network.shape))
    y = torch.as_tensor(split.y_train)
    losses = []
    for chosen in rows:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x[chosen]), y[chosen])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return net, losses


MLP = ((64,), (24, 16, 12))
CNN = ((1, 8, 8), (Conv(4), Pool(2), Conv(6, padding="circular"), 16))
# Not with ReLU: normalizing a unit that is dead on almost all of a mini-batch divides
# by nearly √ε, and plain torch then differs by 1e-7 from itself, started an ulp aside.
SMOOTH_AFTER = {"norm": "batch", "order": "after", "nonlinearity": "tanh"}
CASES = [
    pytest.param(MLP, {}, "sgd", id="plain"),
    pytest.param(MLP, {"norm": "batch"}, "sgd", id="bn"),
    pytest.param(
        MLP, {"norm": "batch", "nonlinearity": "sigmoid"}, "sgd", id="sigmoid"
    ),
    pytest.param(
        MLP, {"norm": "batch", "nonlinearity": "tanh"}, "momentum", id="momentum"
    ),
    pytest.param(MLP, SMOOTH_AFTER, "sgd", id="after"),
    pytest.param(MLP, {**SMOOTH_AFTER, "norm": None}, "adam", id="adam"),
    pytest.param(
        MLP, {"norm": "batch", "nonlinearity": "sigmoid"}, "adam", id="bn-adam"
    ),
    pytest.param(CNN, {}, "sgd", id="conv"),
    pytest.param(CNN, {"norm": "batch"}, "sgd", id="conv-bn"),
    pytest.param(CNN, SMOOTH_AFTER, "sgd", id="conv-bn-after"),
    pytest.param(CNN, {"norm": "per-activation"}, "sgd", id="conv-per-activation"),
]


@pytest.mark.parametrize(("shape", "settings", "optimizer"), CASES)
def test_network_of_an_ensemble_equals_the_same_network_alone(
    shape, settings, optimizer
):
    network = Network(*shape, **settings)
    seeds, lr = grid([3, 4], [0.02, 0.1] if optimizer != "adam" else [1e-3, 1e-2])
    scale = np.array([1.0, 1.2, 1.4, 0.8])
    run = train(
        network,
        digits,
        seeds,
        lr=lr,
        theta=init_parameters(network, seeds, scale),
        steps=100,
        batch=20,
        optimizer=OURS[optimizer](),
        recorder=Recorder(50),
    )
    start = init_parameters(network, seeds, scale)
    for k in (0, 3):
        split = digits(seeds[k])
        net, losses = train_plain(
            network,
            start[k],
            split,
            seeds[k],
            lr=lr[k],
            steps=100,
            batch=20,
            optimizer=optimizer,
        )
        assert np.abs(parameters(network, net) - run.theta[k]).max() < 1e-10
        assert np.abs(running(net) - run.running[k]).max(initial=0) < 1e-10
        assert np.abs(np.array(losses) - run.train_loss[k]).max() < 1e-10
        net.eval()
        with torch.no_grad():
            x = torch.as_tensor(split.x_test.reshape(-1, *network.shape))
            logits = net(x)
            loss = nn.functional.cross_entropy(logits, torch.as_tensor(split.y_test))
        right = (logits.argmax(1).numpy() == split.y_test).mean()
        assert run.accuracy[k, -1] == right
        assert abs(run.loss[k, -1] - loss.item()) < 1e-10
        # It did train; a single mini-batch would not tell.
        assert run.train_loss[k, -10:].mean() < run.train_loss[k, :10].mean()


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_weight_decay_is_torchs(optimizer):
    network = Network((64,), (16,), norm="batch")
    run = train(
        network,
        digits,
        [5],
        lr=0.01,
        steps=30,
        optimizer=OURS[optimizer](weight_decay=0.1),
    )
    net, _ = train_plain(
        network,
        init_parameters(network, [5])[0],
        digits(5),
        5,
        lr=0.01,
        steps=30,
        batch=60,
        optimizer=optimizer,
        decay=0.1,
    )
    assert np.abs(parameters(network, net) - run.theta[0]).max() < 1e-12


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("norm", [None, "batch", "per-activation"])
@pytest.mark.parametrize("nonlinearity", MODULES)
@pytest.mark.parametrize("shape", [MLP, CNN], ids=["mlp", "cnn"])
def test_derived_gradient_equals_autograd(shape, nonlinearity, norm, order):
    network = Network(*shape, nonlinearity=nonlinearity, norm=norm, order=order)
    rng = np.random.default_rng(0)
    theta = init_parameters(network, [1, 2], 1.5)
    theta += 0.3 * rng.standard_normal(theta.shape)  # so that no γ is 1, no β is 0
    x, y = rng.standard_normal((2, 12, 64)), rng.integers(10, size=(2, 12))
    loss, found = gradient(network, theta, x, y)
    for k in range(2):
        net = plain(network, theta[k])
        logits = net(torch.as_tensor(x[k].reshape(-1, *network.shape)))
        expected = nn.functional.cross_entropy(logits, torch.as_tensor(y[k]))
        expected.backward()
        wanted = parameters(network, net, lambda p: p.grad)
        assert abs(loss[k] - expected.item()) < 1e-12
        assert np.abs(found[k] - wanted).max() < 1e-11 * max(1, np.abs(wanted).max())


@pytest.mark.parametrize("shape", [MLP, CNN], ids=["mlp", "cnn"])
def test_forward_exposes_what_plain_modules_compute(shape):
    network = Network(*shape, norm="batch", nonlinearity="tanh")
    theta = init_parameters(network, [0, 1], 2.0)
    x = digits(0).x_test[:40]
    trace = forward(network, theta, x)
    assert len(trace) == network.depth
    for k in range(2):
        seen = {}

        def note(module, given, out, seen=seen):
            seen.setdefault(type(module), []).append((given[0].detach(), out.detach()))

        net = plain(network, theta[k])
        for module in net:
            module.register_forward_hook(note)
        logits = net(torch.as_tensor(x.reshape(-1, *network.shape)))
        assert np.allclose(trace[-1].output[k], logits.detach(), rtol=0, atol=1e-12)
        for act, (given, out) in zip(trace[:-1], seen[nn.Tanh], strict=True):
            for ours, theirs in ((act.preactivation, given), (act.output, out)):
                assert np.allclose(
                    ours[k], theirs.flatten(1).numpy(), rtol=0, atol=1e-12
                )
        firsts = [given for given, _ in seen.get(nn.Conv2d, []) + seen[nn.Linear]]
        for act, given in zip(trace, firsts, strict=True):
            assert np.allclose(act.input[k], given.flatten(1), rtol=0, atol=1e-12)


def test_inference_mode_is_evals():
    network = Network((64,), (16, 16), norm="batch")
    theta = init_parameters(network, [0, 1], 1.4)
    rng = np.random.default_rng(0)
    statistics = np.stack(
        [rng.standard_normal((2, 32)), rng.uniform(0.1, 2, (2, 32))], axis=1
    )
    x = digits(0).x_test[:30]
    logits = forward(network, theta, x, statistics)[-1].output
    for k in range(2):
        net = plain(network, theta[k]).eval()
        for i, norm in enumerate(m for m in net if isinstance(m, nn.BatchNorm1d)):
            norm.running_mean.copy_(torch.as_tensor(statistics[k, 0, 16 * i :][:16]))
            norm.running_var.copy_(torch.as_tensor(statistics[k, 1, 16 * i :][:16]))
        assert np.allclose(
            logits[k], net(torch.as_tensor(x)).detach(), rtol=0, atol=1e-12
        )


def test_a_network_alone_is_the_network_in_the_ensemble():
    network = Network((64,), (16, 16), norm="batch")
    together = train(network, digits, [7, 8, 9], lr=0.3, steps=20, recorder=Recorder())
    alone = train(network, digits, [8], lr=0.3, steps=20, recorder=Recorder())
    assert np.abs(together.theta[1] - alone.theta[0]).max() < 1e-13
    assert np.array_equal(together.accuracy[1], alone.accuracy[0])


def test_the_same_call_gives_the_same_bits():
    network = Network(*CNN, norm="batch")
    a, b = (train(network, digits, [1, 2], lr=0.1, steps=10, batch=16) for _ in "ab")
    assert np.array_equal(a.theta, b.theta)
    assert np.array_equal(a.running, b.running)


def test_threads_do_not_change_the_counts():
    network = Network((64,), (32, 32), norm="batch")
    runs = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        runs.append(
            train(network, digits, range(4), lr=1.0, steps=60, recorder=Recorder())
        )
    assert np.array_equal(runs[0].accuracy, runs[1].accuracy)
    assert np.abs(runs[0].theta - runs[1].theta).max() < 1e-11


@pytest.mark.parametrize("norm", [None, "batch"])
def test_a_network_that_diverges_leaves_the_others_alone(norm):
    network = Network((64,), (16, 16), norm=norm)
    lr = np.array([0.1, 1e200, 0.1])
    with np.errstate(all="ignore"):
        run = train(network, digits, [1, 2, 3], lr=lr, steps=30, recorder=Recorder())
    healthy = train(network, digits, [1, 2, 3], lr=0.1, steps=30, recorder=Recorder())
    assert not np.isfinite(run.theta[1]).all()
    assert run.accuracy[1, -1] == 0  # not finite counts as wrong, not as class 0
    for k in (0, 2):
        assert np.array_equal(run.theta[k], healthy.theta[k])
        assert np.array_equal(run.accuracy[k], healthy.accuracy[k])


def test_seeds_decide_everything_and_settings_share_the_draws():
    network = Network((64,), (8,))
    theta = init_parameters(network, [1, 1, 2], [1.0, 3.0, 1.0])
    first = unpack(network, theta)[0].weight
    assert np.allclose(first[1], 3 * first[0], rtol=1e-15)
    assert not np.allclose(first[2], first[0])
    assert abs(first[0].std() * 8 - 1) < 0.1  # 1/√64
    fixed = unpack(network, init_parameters(network, [1], 0.1, fan_in=False))
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
    run = train(
        Network((64,), (16,), norm="batch"),
        digits,
        [0],
        lr=0.03,
        steps=50,
        batch=32,
        batches=single_class,
    )
    assert run.accuracy[0, -1] < 0.5


def test_moments_over_a_batch_are_those_of_what_is_normalized():
    network = Network(*CNN, norm="batch")
    theta = init_parameters(network, [0, 1], 1.4)
    x = digits(0).x_train[:50]
    found = unpack_statistics(network, moments_over(network, theta, x))
    images = torch.as_tensor(x.reshape(-1, 1, 8, 8))
    for k in range(2):
        maps = plain(network, theta[k])[0](images).detach().numpy()
        mean, var = found[0]
        assert np.allclose(mean[k], maps.mean((0, 2, 3)), rtol=0, atol=1e-13)
        assert np.allclose(var[k], maps.var((0, 2, 3)), rtol=0, atol=1e-13)


def test_evaluate_normalizes_each_batch_by_itself():
    network = Network((64,), (16,), norm="batch")
    theta = init_parameters(network, [0, 1], 1.4)
    split = digits(0)
    x, y = split.x_test[:50], split.y_test[:50]
    score = evaluate(network, theta, x, y, batch=8)
    for k in range(2):
        net = plain(network, theta[k])
        logits = torch.cat(
            [net(torch.as_tensor(part)) for part in np.split(x, range(8, 50, 8))]
        )
        assert score.accuracy[k] == (logits.argmax(1).numpy() == y).mean()
        loss = nn.functional.cross_entropy(logits, torch.as_tensor(y)).item()
        assert abs(score.loss[k] - loss) < 1e-12


def test_evaluate_in_pieces_equals_evaluate_whole(monkeypatch):
    network = Network((64,), (16,), norm="batch")
    theta = init_parameters(network, [0, 1], 1.4)
    split = digits(0)
    statistics = moments_over(network, theta, split.x_train)
    whole = evaluate(network, theta, split.x_test, split.y_test, statistics)
    monkeypatch.setattr(evaluation, "_CHUNK", 64)
    pieces = evaluate(network, theta, split.x_test, split.y_test, statistics)
    assert np.array_equal(whole.accuracy, pieces.accuracy)
    assert np.allclose(whole.loss, pieces.loss, rtol=1e-13, atol=0)


def test_evaluate_with_population_statistics():
    network = Network((64,), (16, 16), norm="batch")
    run = train(
        network,
        digits,
        [0, 1],
        lr=0.1,
        steps=20,
        recorder=Recorder(every=20, statistics="population"),
    )
    for k, seed in enumerate(run.seeds):
        split = digits(seed)
        theta = run.theta[k : k + 1]
        statistics = moments_over(network, theta, split.x_train)
        score = evaluate(network, theta, split.x_test, split.y_test, statistics)
        assert run.accuracy[k, -1] == score.accuracy[0]


def test_without_a_recorder_the_last_step_is_tested():
    network = Network((64,), (8,))
    run = train(network, digits, [0], lr=0.1, steps=9)
    assert run.at.tolist() == [9]
    assert Recorder().wanted(25) == {0, 10, 20, 25}
    again = train(network, digits, [0], lr=0.1, steps=9, recorder=Recorder(3))
    assert again.at.tolist() == [0, 3, 6, 9]
    assert np.array_equal(run.accuracy, again.accuracy[:, -1:])


def test_steps_to_record_at_may_be_listed():
    network = Network((64,), (8,))
    run = train(network, digits, [0], lr=0.1, steps=9, recorder=Recorder([0, 1, 5]))
    assert run.at.tolist() == [0, 1, 5, 9]
    again = train(network, digits, [0], lr=0.1, steps=9, recorder=Recorder(1))
    assert np.array_equal(run.accuracy, again.accuracy[:, run.at])
    with pytest.raises(ValueError, match="allowed are steps from 0 to 9"):
        train(network, digits, [0], lr=0.1, steps=9, recorder=Recorder([0, 10]))


def test_recorders_see_every_step():
    """‖W‖² grows by lr²‖g‖² a step, the law that scale invariance implies."""
    network = Network((64,), (16, 16), norm="batch", eps=0.0)

    def first_layer(vector):
        weight = unpack(network, vector)[0].weight
        return np.square(weight).sum((1, 2))

    run = train(
        network,
        digits,
        [0, 1],
        lr=0.5,
        steps=40,
        recorder=Recorder(
            1,
            quantities={
                "norm": lambda state: first_layer(state.theta),
                "gradient": lambda state: first_layer(state.gradient),
                "mean": lambda state: unpack_statistics(network, state.batch)[0][0],
                "step": lambda state: np.full(2, state.step),
            },
        ),
    )
    assert np.array_equal(run.at, np.arange(41))
    assert np.array_equal(run.records["step"][0], run.at)
    assert run.records["mean"].shape == (2, 41, 16)
    growth = np.diff(run.records["norm"], axis=1)
    predicted = 0.25 * run.records["gradient"][:, 1:]
    assert (growth > 0).all()
    assert np.allclose(growth, predicted, rtol=1e-8, atol=0)


def test_running_statistics_follow_the_batches():
    """Exponential averages from the recorded mini-batch statistics, by hand."""
    network = Network((64,), (16,), norm="batch")
    momentum = np.array([0.1, 0.5])
    run = train(
        network,
        digits,
        [3, 3],
        lr=0.1,
        momentum=momentum,
        steps=15,
        batch=10,
        recorder=Recorder(
            1, quantities={"batch": lambda s: s.batch, "running": lambda s: s.running}
        ),
    )
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
    run = train(network, digits, [0, 1], lr=[0.3, 0.0], steps=60, recorder=Recorder(5))
    reached = run.steps_to(0.8)
    first = list(run.at).index(reached[0])
    assert run.accuracy[0, first] >= 0.8
    assert (run.accuracy[0, :first] < 0.8).all()
    assert np.isinf(reached[1])


def test_a_split_may_be_shared():
    split = digits(5)
    network = Network((64,), (16,), norm="batch")
    shared = train(network, split, [1, 2], lr=0.1, steps=20)
    separate = train(network, lambda seed: split, [1, 2], lr=0.1, steps=20)
    assert np.array_equal(shared.theta, separate.theta)
    assert not np.allclose(shared.theta[0], shared.theta[1])


def test_integer_pixels_train_like_float_ones():
    split = digits(0)
    binary = [(x > 0.5) for x in (split.x_train, split.x_test)]
    as_float, as_byte = (
        Split(
            *[
                binary[0].astype(dtype),
                split.y_train,
                binary[1].astype(dtype),
                split.y_test,
                split.shape,
            ]
        )
        for dtype in (np.float64, np.uint8)
    )
    network = Network((64,), (16,), norm="batch")
    a, b = (
        train(network, data, [0], lr=0.1, steps=10, recorder=Recorder(5, "population"))
        for data in (as_float, as_byte)
    )
    assert np.array_equal(a.theta, b.theta)
    assert np.array_equal(a.loss, b.loss)


def test_float32_is_available():
    network = Network((64,), (16,), norm="batch")
    single = train(network, digits, [0], lr=0.1, steps=20, dtype=np.float32)
    double = train(network, digits, [0], lr=0.1, steps=20)
    assert single.theta.dtype == np.float32
    assert 0 < np.abs(single.theta - double.theta).max() < 1e-4


def test_inputs_are_never_written_to():
    network = Network((64,), (16,), norm="batch")
    theta = init_parameters(network, [0])
    before = theta.copy()
    train(network, digits, [0], lr=1.0, steps=5, theta=theta)
    gradient(network, theta, digits(0).x_test, digits(0).y_test)
    assert np.array_equal(theta, before)


def test_a_norm_without_a_layer_to_normalize_changes_nothing():
    runs = [
        train(Network((1, 8, 8), (Pool(),), norm=norm), digits, [0], lr=0.1, steps=3)
        for norm in (None, *NORMS)
    ]
    assert all(np.array_equal(run.theta, runs[0].theta) for run in runs)


def test_an_integer_is_short_for_linear_and_a_bias_may_be_left_out():
    theta = init_parameters(Network((64,), (8,)), [0])
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


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("order", ["before", "after"])
def test_a_bias_is_left_out_only_where_a_norm_would_cancel_it(norm, order):
    *hidden, last = unpack(*drawn(Network(*MLP, norm=norm, order=order)))
    cancelled = order == "before" and NORMS[norm].cancels_bias
    assert [layer.bias is None for layer in hidden] == [cancelled] * len(hidden)
    assert last.bias is not None
    # Whether it would be: a constant on the layer's outputs, through the norm.
    x = torch.as_tensor(np.random.default_rng(0).standard_normal((1, 6, 9)))
    operation, shape = NORMS[norm](1e-5), (6,)
    gamma, beta = torch.ones(1, 6).double(), torch.zeros(1, 6).double()
    constant = torch.arange(6.0).double().view(1, 6, 1)
    y, moved = (operation.forward(v, shape, gamma, beta)[0] for v in (x, x + constant))
    assert torch.allclose(y, moved, rtol=0, atol=1e-12) == NORMS[norm].cancels_bias


def drawn(network):
    return network, init_parameters(network, [0])


BASE = {"lr": 0.1, "steps": 2}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Network((64,), (8,), nonlinearity="gelu"), "nonlinearity"),
        (lambda: Network((64,), (8,), norm="quantile"), "norm is 'quantile'"),
        (lambda: Network((64,), (8,), order="during"), "order"),
        (lambda: Network((64,), (0,)), "hidden"),
        (lambda: Network((64,), (8.5,)), "hidden"),
        (lambda: Network((64,), (True,)), "hidden is True"),
        (lambda: Network((64,), (np.True_,)), "hidden is"),
        (lambda: Network((True,), (8,)), "shape is True"),
        (lambda: Network((64.0,), (8,)), "shape is 64.0"),
        (lambda: Network((64,), (8,), True), "classes is True"),
        (lambda: Network((64,), (8,), eps=True), "eps is True"),
        (lambda: Linear(True), "units is True"),
        (lambda: Conv(True), "channels is True"),
        (lambda: Conv(4, True), "kernel is True"),
        (lambda: Pool(True), "size is True"),
        (lambda: Recorder(True), "every is True"),
        (lambda: Recorder([0, True]), "every is True"),
        (lambda: Recorder(2.5), "every is 2.5"),
        (lambda: Recorder(statistics="luck"), "statistics is 'luck'"),
        (lambda: SGD(True), "momentum is True"),
        (lambda: SGD(weight_decay=-1), "weight_decay is -1"),
        (lambda: Adam(float("nan")), "weight_decay is nan"),
        (lambda: Network((64,), (Conv(3),)), r"\(C, H, W\)"),
        (lambda: Network((1, 9, 9), (Pool(2),)), "does not divide"),
        (lambda: Network((1, 2, 2), (Conv(3),)), "does not fit"),
        (lambda: Network((64,), (8,), eps=-1.0), "eps"),
        (lambda: Network((64,), (8,), eps=float("nan")), "eps"),
        (lambda: Conv(4, kernel=2), "odd"),
        (lambda: Conv(4, padding="mirror"), "padding"),
        (lambda: train(NET, digits, [], **BASE), "seeds"),
        (lambda: train(NET, digits, [0.5], **BASE), "seeds"),
        (lambda: train(NET, digits, [-1], **BASE), "seeds"),
        (lambda: train(NET, digits, [True], **BASE), "seeds"),
        (lambda: train(NET, digits, [0], lr=True, steps=2), "lr"),
        (lambda: train(NET, digits, [0], lr=0.1, steps=True), "steps is True"),
        (lambda: train(NET, digits, [0], batch=True, **BASE), "batch is True"),
        (lambda: train(NET, digits, [0], batches=odd_batches, **BASE), "batches"),
        (lambda: evaluate(NET, START, *DIGITS, batch=True), "batch is True"),
        (lambda: train(NET, digits, [0], lr=[0.1, 0.2], steps=2), "lr"),
        (lambda: train(NET, digits, [0], lr=float("nan"), steps=2), "lr"),
        (lambda: train(NET, digits, [0], lr=0.1, steps=0), "steps"),
        (lambda: train(NET, digits, [0], batch=1298, **BASE), "batch"),
        (lambda: train(NET, digits, [0], batch=1, **BASE), "batch"),
        (lambda: train(NET, digits, [0], optimizer="lion", **BASE), "optimizer"),
        (lambda: train(NET, digits, [0], recorder=10, **BASE), "recorder is a int"),
        (lambda: train(NET, digits, [0], theta=np.zeros((1, 3)), **BASE), "theta"),
        (lambda: train(NET, digits, [0], momentum=-0.1, **BASE), "momentum"),
        (lambda: train(Network((63,), (8,)), digits, [0], **BASE), "data"),
        (lambda: train(Network((64,), (8,), 9), digits, [0], **BASE), "classes"),
        (lambda: shuffled(np.zeros(5), 6, 1, np.random.default_rng()), "batch"),
        (lambda: forward(NET, np.zeros((1, 3)), np.zeros((2, 64))), "theta"),
        (lambda: forward(NET, START, np.zeros((2, 63))), "x has shape"),
        (lambda: forward(NET, START, np.zeros((2, 4, 64))), "networks"),
        (
            lambda: forward(NET, START, np.zeros((4, 64)), np.zeros((1, 2))),
            "statistics",
        ),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


NET = Network((64,), (8,), norm="batch")
START = init_parameters(NET, [0])
DIGITS = digits(0).x_test, digits(0).y_test


def odd_batches(labels, batch, steps, rng):
    return shuffled(labels, batch, steps + 1, rng)
