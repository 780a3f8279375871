"""An ensemble against plain ``torch.nn`` modules trained one at a time."""

from functools import partial

import numpy as np
import pytest
import torch
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


class RMS(nn.RMSNorm):
    """torch's, with one weight a channel."""

    def __init__(self, shape, eps):
        super().__init__(shape[0], eps)
        self.shape = shape

    def forward(self, x):
        weight = self.weight.view(-1, *[1] * (len(self.shape) - 1))
        return nn.functional.rms_norm(x, self.shape, None, self.eps) * weight


class NoiseOfGhosts(nn.modules.batchnorm._BatchNorm):
    """In training: statistics of the mini-batch, with the errors that those of four
    examples have put in as numbers; each four have those of the next."""

    def __init__(self, shape, eps):
        super().__init__(shape[0], eps)

    def forward(self, x):
        axes = [0, *range(2, x.ndim)]
        fours = x.detach().reshape(-1, 4, *x.shape[1:])
        inner = [1, *range(3, fours.ndim)]

        def moments(u, axes):
            var, mean = torch.var_mean(u, axes, correction=0, keepdim=True)
            return mean, (var + self.eps).sqrt()

        mean, std = moments(x, axes)
        means, stds = (p.roll(-1, 0) for p in moments(fours, inner))
        shift, scale = ((means - mean) / std).detach(), (stds / std).detach()
        x_hat = ((x - mean) / std).reshape(fours.shape)
        y = ((x_hat - shift) / scale).reshape(x.shape)
        weight, bias = (p.view(-1, *[1] * (x.ndim - 2)) for p in self.parameters())
        return weight * y + bias


#: How many groups layers of so many channels have, counted by hand.
GROUPS = {24: 8, 16: 8, 12: 6, 10: 5, 8: 4, 7: 1, 6: 3, 4: 2, 3: 1}
BY_EXAMPLE = {
    "layer": lambda shape, eps: nn.GroupNorm(1, shape[0], eps),
    "group": lambda shape, eps: nn.GroupNorm(GROUPS[shape[0]], shape[0], eps),
    ("group", 2): lambda shape, eps: nn.GroupNorm(2, shape[0], eps),
    "rms": RMS,
    "dropout": lambda shape, eps: nn.Identity(),  # with probability 0
    "shake": lambda shape, eps: nn.Identity(),  # of strength 0
}
#: Of four examples: a pair is often nearly equal, and then its noise is all there is.
GHOST_NOISE = "ghost-noise", 4
BY_BATCH = (
    "batch",
    "per-activation",
    "ghost",
    GHOST_NOISE,
    "batch-dropout",
    "noisy",
)
NORM_MODULES = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, RMS)


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
        cancels = network.norm in BY_BATCH
        bias = not (normed and network.order == "before" and cancels)
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
        if normed and network.norm in BY_EXAMPLE:
            norm = BY_EXAMPLE[network.norm](shape, network.eps)
        elif normed and network.norm == GHOST_NOISE:
            norm = NoiseOfGhosts(shape, network.eps)
        elif normed and network.norm == "per-activation":
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
        norms = [m for m in net.modules() if isinstance(m, NORM_MODULES)]
        for i, layer in enumerate(unpack(network, theta[None])):
            weighted[i].weight.copy_(torch.as_tensor(layer.weight[0].copy()))
            if layer.bias is not None:
                weighted[i].bias.copy_(torch.as_tensor(layer.bias[0].copy()))
            if layer.gamma is not None:
                norms[i].weight.copy_(torch.as_tensor(layer.gamma[0].copy()))
            if layer.beta is not None:
                norms[i].bias.copy_(torch.as_tensor(layer.beta[0].copy()))
    return net


def parameters(network: Network, net: nn.Sequential, what=lambda p: p) -> np.ndarray:
    """The parameters of a plain network, or ``what`` of them, in the order of θ."""
    weighted = [m for m in net.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    norms = [m for m in net.modules() if isinstance(m, NORM_MODULES)]
    pieces = []
    for i, module in enumerate(weighted):
        pieces += [module.weight, module.bias]
        if i < len(norms):
            pieces += [norms[i].weight, getattr(norms[i], "bias", None)]
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
    pytest.param(MLP, {"norm": "layer"}, "sgd", id="layer"),
    pytest.param(MLP, {"norm": "rms"}, "momentum", id="rms"),
    pytest.param(CNN, {"norm": ("group", 2)}, "sgd", id="conv-group"),
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
        wanted = parameters(network, net, lambda p: p.grad)
        # A dead ReLU has four equal values, and their noise makes a loss of 1e7.
        assert abs(loss[k] - expected.item()) < 1e-12 * max(1, expected.item())
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
