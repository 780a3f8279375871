"""An ensemble against plain ``torch.nn`` modules trained one at a time."""

from functools import partial

import numpy as np
import pytest
import torch
from plain_networks import (
    BY_EXAMPLE,
    GHOST_NOISE,
    MODULES,
    in_evaluation,
    parameters,
    plain,
    running,
)
from torch import nn

from batchnorm.datasets import digits
from batchnorm.ensemble import (
    NORMS,
    SGD,
    Adam,
    Conv,
    Network,
    Pool,
    Recorder,
    evaluate,
    forward,
    gradient,
    grid,
    init_parameters,
    moments_over,
    shuffled,
    train,
    unpack_statistics,
)

OURS = {"sgd": SGD, "momentum": partial(SGD, 0.9), "adam": Adam}


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
SIGMOID = {"norm": "batch", "nonlinearity": "sigmoid"}
TANH = {"norm": "batch", "nonlinearity": "tanh"}
CASES = {
    "plain": (MLP, {}, "sgd"),
    "bn": (MLP, {"norm": "batch"}, "sgd"),
    "sigmoid": (MLP, SIGMOID, "sgd"),
    "momentum": (MLP, TANH, "momentum"),
    "after": (MLP, SMOOTH_AFTER, "sgd"),
    "adam": (MLP, {**SMOOTH_AFTER, "norm": None}, "adam"),
    "bn-adam": (MLP, SIGMOID, "adam"),
    "conv": (CNN, {}, "sgd"),
    "conv-bn": (CNN, {"norm": "batch"}, "sgd"),
    "conv-bn-after": (CNN, SMOOTH_AFTER, "sgd"),
    "conv-per-activation": (CNN, {"norm": "per-activation"}, "sgd"),
    "layer": (MLP, {"norm": "layer"}, "sgd"),
    "rms": (MLP, {"norm": "rms"}, "momentum"),
}
# Not with groups of two units, whose difference is often nearly zero, as above; and
# shake has running statistics, which a plain network has not.
TRAINED = BY_EXAMPLE.keys() - {"group", "shake"}
CASES |= {f"conv-{n}": (CNN, {"norm": n}, "sgd") for n in sorted(TRAINED, key=str)}


@pytest.mark.parametrize(
    ("shape", "settings", "optimizer"), CASES.values(), ids=CASES.keys()
)
def test_network_of_an_ensemble_equals_the_same_network_alone(
    shape, settings, optimizer
):
    network = Network(*shape, **settings)
    seeds, lr = grid([3, 4], [0.02, 0.1] if optimizer != "adam" else [1e-3, 1e-2])
    start = init_parameters(network, seeds, np.array([1.0, 1.2, 1.4, 0.8]))
    length = {"steps": 100, "batch": 20}
    ours = {"optimizer": OURS[optimizer](), "recorder": Recorder(50)}
    run = train(network, digits, seeds, lr=lr, theta=start.copy(), **length, **ours)
    for k in (0, 3):
        split = digits(seeds[k])
        plainly = {"lr": lr[k], "optimizer": optimizer, **length}
        net, losses = train_plain(network, start[k], split, seeds[k], **plainly)
        assert np.abs(parameters(net) - run.theta[k]).max() < 1e-10
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
    given, (theta,) = {"lr": 0.01, "steps": 30}, init_parameters(network, [5])
    ours = OURS[optimizer](weight_decay=0.1)
    run = train(network, digits, [5], **given, optimizer=ours)
    given |= {"batch": 60, "optimizer": optimizer, "decay": 0.1}
    net, _ = train_plain(network, theta, digits(5), 5, **given)
    assert np.abs(parameters(net) - run.theta[0]).max() < 1e-12


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize(
    "norm", [None, *sorted(NORMS.keys() - {"ghost-noise"}), GHOST_NOISE]
)
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
        wanted = parameters(net, lambda p: p.grad)
        # A dead ReLU has four equal values, and their noise makes a loss of 1e7.
        assert abs(loss[k] - expected.item()) < 1e-12 * max(1, expected.item())
        assert np.abs(found[k] - wanted).max() < 1e-11 * max(1, np.abs(wanted).max())


def assert_equal(ours, theirs, atol=1e-12):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)


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
        assert_equal(trace[-1].output[k], logits.detach())
        for act, (given, out) in zip(trace[:-1], seen[nn.Tanh], strict=True):
            assert_equal(act.preactivation[k], given.flatten(1))
            assert_equal(act.output[k], out.flatten(1))
        firsts = [given for given, _ in seen.get(nn.Conv2d, []) + seen[nn.Linear]]
        for act, given in zip(trace, firsts, strict=True):
            assert_equal(act.input[k], given.flatten(1))


def test_inference_mode_is_evals():
    network = Network((64,), (16, 16), norm="batch")
    theta = init_parameters(network, [0, 1], 1.4)
    rng = np.random.default_rng(0)
    moments = rng.standard_normal((2, 32)), rng.uniform(0.1, 2, (2, 32))
    statistics = np.stack(moments, axis=1)
    x = digits(0).x_test[:30]
    logits = forward(network, theta, x, statistics)[-1].output
    for k in range(2):
        net = in_evaluation(network, theta[k], statistics[k])
        assert_equal(logits[k], net(torch.as_tensor(x)).detach())


def test_moments_over_a_batch_are_those_of_what_is_normalized():
    network = Network(*CNN, norm="batch")
    theta = init_parameters(network, [0, 1], 1.4)
    x = digits(0).x_train[:50]
    found = unpack_statistics(network, moments_over(network, theta, x))
    images = torch.as_tensor(x.reshape(-1, 1, 8, 8))
    for k in range(2):
        maps = plain(network, theta[k])[0](images).detach().numpy()
        mean, var = found[0]
        assert_equal(mean[k], maps.mean((0, 2, 3)), 1e-13)
        assert_equal(var[k], maps.var((0, 2, 3)), 1e-13)


def test_evaluate_normalizes_each_batch_by_itself():
    network = Network((64,), (16,), norm="batch")
    theta = init_parameters(network, [0, 1], 1.4)
    split = digits(0)
    x, y = split.x_test[:50], split.y_test[:50]
    score = evaluate(network, theta, x, y, batch=8)
    for k in range(2):
        net = plain(network, theta[k])
        parts = map(torch.as_tensor, np.split(x, range(8, 50, 8)))
        logits = torch.cat([net(part) for part in parts])
        assert score.accuracy[k] == (logits.argmax(1).numpy() == y).mean()
        loss = nn.functional.cross_entropy(logits, torch.as_tensor(y)).item()
        assert abs(score.loss[k] - loss) < 1e-12
