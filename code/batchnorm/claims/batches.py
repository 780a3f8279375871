"""Claims about mini-batches that are no random draws: of one class, of one domain."""

from functools import lru_cache

import numpy as np

from batchnorm import datasets
from batchnorm.claims.registry import above, below, claim
from batchnorm.ensemble import (
    Conv,
    Network,
    Pool,
    evaluate,
    init_parameters,
    single_class,
    train,
)

NET = {"depth": 3, "width": 64, "rate": 0.1, "steps": 300, "batch": 32}


@claim(
    id="single-class-batches",
    statement=(
        "From mini-batches of a single class a fully connected network with batch "
        "normalization learns nothing: scored in training mode, on such mini-batches "
        "of its own training images, it reads fewer than one in four."
    ),
    source="ioffe2017batch, abstract; wu2021rethinking, section 5",
    setting={**NET, "rate": 0.03},
    effect="accuracy in training mode, training images, one class a mini-batch",
    condition=below(0.25),
)
def single_class_batches(seeds, *, batch, **net):
    run = _train(seeds, batch=batch, batches=single_class, **net)
    accuracies = []
    for k, seed in enumerate(run.seeds):
        data = datasets.digits(int(seed))
        rows = [np.flatnonzero(data.y_train == c) for c in np.unique(data.y_train)]
        rows = np.concatenate([r[: len(r) // batch * batch] for r in rows])
        theta, x, y = run.theta[k : k + 1], data.x_train[rows], data.y_train[rows]
        accuracies.append(evaluate(run.network, theta, x, y, batch=batch).accuracy[0])
    return accuracies


@claim(
    id="single-class-batches-conv",
    statement=(
        "A small convolutional network hardly minds such mini-batches: its means are "
        "over places too, and in inference mode it reads more than four of five."
    ),
    source="ioffe2015batch, section 3.2",
    setting={"channels": (8, 16), "rate": 0.1, "steps": 300, "batch": 32},
    effect="accuracy in inference mode, convolutional network",
    condition=above(0.8),
)
def single_class_batches_conv(seeds, *, channels, rate, **options):
    first, second = channels
    network = Network((1, 8, 8), (Conv(first), Pool(), Conv(second)), norm="batch")
    options |= {"lr": rate, "theta": init_parameters(network, seeds, 2**0.5)}
    run = train(network, datasets.digits, seeds, batches=single_class, **options)
    return run.accuracy[:, -1]


#: Four kinds of images, x → a x + b: as they are, faint, inverted, lifted.
DOMAINS = ((1.0, 0.0), (0.3, 0.0), (-1.0, 1.0), (0.5, 0.5))


@lru_cache(maxsize=40)
def four_domains(seed):
    """The digits in each of the four domains, one after the other -> `Split`."""
    data = datasets.digits(seed)

    def all_of(x):
        return np.concatenate([a * x + b for a, b in DOMAINS])

    labels = (np.tile(y, len(DOMAINS)) for y in (data.y_train, data.y_test))
    x_train, x_test = all_of(data.x_train), all_of(data.x_test)
    y_train, y_test = labels
    return datasets.Split(x_train, y_train, x_test, y_test, data.shape)


def one_domain(labels, batch, steps, rng):
    """Rows of mini-batches that hold one domain each, in turn: (steps, batch)."""
    count, domains = len(labels) // len(DOMAINS), len(DOMAINS)
    draw = [rng.choice(count, batch, replace=False) for _ in range(steps)]
    return np.array(draw) + count * (np.arange(steps) % domains)[:, None]


def mixed_domains(labels, batch, steps, rng):
    """Rows of mini-batches that hold as many of each domain: (steps, batch)."""
    quarter = batch // len(DOMAINS)
    parts = [
        one_domain(labels, quarter, len(DOMAINS), rng).ravel() for _ in range(steps)
    ]
    return np.array(parts)


@claim(
    id="one-domain-batches",
    statement=(
        "Trained on mini-batches that each hold one domain of four, a network reads "
        "such mini-batches in training mode, and more than 25 points less in "
        "inference mode."
    ),
    source="wu2021rethinking, section 5",
    setting=NET,
    effect="accuracy in training mode, one domain a batch, less that in inference mode",
    condition=above(0.25),
)
def one_domain_batches(seeds, *, batch, **net):
    run = _train_on_domains(seeds, one_domain, batch=batch, **net)
    return domain_accuracy(run, batch=batch) - run.accuracy[:, -1]


@claim(
    id="mixed-domain-batches",
    statement=(
        "Mixing the domains in each mini-batch of training repairs it: in inference "
        "mode the network is more than 25 points better."
    ),
    source="wu2021rethinking, section 5",
    setting=NET,
    effect="accuracy in inference mode, trained on mixed less on one-domain batches",
    condition=above(0.25),
)
def mixed_domain_batches(seeds, **net):
    mixed, one = (
        _train_on_domains(seeds, b, **net) for b in (mixed_domains, one_domain)
    )
    return mixed.accuracy[:, -1] - one.accuracy[:, -1]


def _train_on_domains(seeds, batches, **net):
    return _train(seeds, data=four_domains, batches=batches, **net)


#: Claims about one set of networks that run after another train it once.
@lru_cache(maxsize=2)
def _train_once(network, data, seeds, **options):
    theta = init_parameters(network, seeds, 2**0.5)
    return train(network, data, seeds, theta=theta, **options)


def _train(seeds, *, depth, width, rate, data=datasets.digits, **options):
    """A ReLU network -> `Run`, shared: not to be written to."""
    network = Network((64,), (width,) * depth, norm="batch")
    return _train_once(network, data, tuple(seeds), lr=rate, **options)


def domain_accuracy(run, *, batch, part="test"):
    """Accuracy in training mode, mini-batches of one domain each, (K,)."""
    splits = [four_domains(int(seed)) for seed in run.seeds]
    x, y = (np.stack([getattr(s, f"{v}_{part}") for s in splits]) for v in "xy")
    rows = np.split(np.arange(x.shape[1]), len(DOMAINS))
    scores = [
        evaluate(run.network, run.theta, x[:, r], y[:, r], batch=batch).accuracy
        for r in rows
    ]
    return np.mean(scores, axis=0)
