"""Images changed a little so that a network misreads them, and how many it misreads.

In inference mode a normalization is a scale and a shift for each unit. `folded` writes
them into weights and biases, so that networks with and without one are attacked by the
same lines.
"""

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from batchnorm.claims.networks import PERFECT, Arm, Mlp, testing_part, trained
from batchnorm.ensemble import unpack, unpack_statistics

#: Tuned on `TUNING_SEEDS` over rates in steps of √10, for the accuracy after the steps.
NORMALIZED, PLAIN = Arm("batch", 1.0), Arm(None, 0.1)
SLOW = NORMALIZED._replace(rate=PLAIN.rate)
ATTACK = {"net": Mlp("relu", 3, 64), "steps": 300, "size": 0.05, "times": 10}
RANDOM = Arm("random signs", 0.0)  # stands for changes that look at no network


def folded(run):
    """Trained networks in inference mode as weights and biases, layer by layer."""
    *hidden, last = unpack(run.network, run.theta)
    pairs = unpack_statistics(run.network, run.running)
    if pairs:
        slopes = [
            layer.gamma / np.sqrt(var + run.network.eps)
            for layer, (_, var) in zip(hidden, pairs, strict=True)
        ]
        layers = [
            (slope[..., None] * layer.weight, layer.beta - slope * mean)
            for layer, slope, (mean, _) in zip(hidden, slopes, pairs, strict=True)
        ]
    else:
        layers = [(layer.weight, layer.bias) for layer in hidden]
    layers.append((last.weight, last.bias))
    return [tuple(map(torch.tensor, layer)) for layer in layers]


def scores(layers, h):
    """Logits of K networks of ReLUs on h (K, n, d)."""
    for weight, bias in layers[:-1]:
        h = torch.relu(h @ weight.mT + bias[:, None])
    weight, bias = layers[-1]
    return h @ weight.mT + bias[:, None]


def attacked(layers, x, y, size, steps):
    """Images within ``size`` of x in every pixel, and in [0, 1], of a high loss.

    Steps along the sign of the loss's gradient; one step goes to the end at once, and
    of several each goes a quarter of the way.
    """
    start, labels = torch.tensor(x), torch.tensor(y).flatten()
    step = size if steps == 1 else size / 4
    moved = start
    for _ in range(steps):
        moved = moved.detach().requires_grad_()
        found = scores(layers, moved).flatten(0, 1)
        loss = cross_entropy(found, labels, reduction="sum")
        (slope,) = torch.autograd.grad(loss, moved)
        moved = moved.detach() + step * slope.sign()
        moved = (start + (moved - start).clamp(-size, size)).clamp(0, 1)
    return moved.numpy()


def random_signs(seeds, x, size):
    """Images whose pixels move up or down by ``size`` at random, kept in [0, 1]."""
    draws = [np.random.default_rng([seed, 55]) for seed in seeds]
    signs = np.stack([d.choice((-1.0, 1.0), x.shape[1:]) for d in draws])
    return np.clip(x + size * signs, 0, 1)


def right(layers, x, y):
    """Which images K networks read, (K, n)."""
    with torch.no_grad():
        return scores(layers, torch.tensor(x)).argmax(2).numpy() == y


def misread(seeds, pairs, net, steps, size, times):
    """Share misread of the test images that all readers read unchanged -> arrays (S,).

    Each pair has an arm that reads and one that the images are made against.
    """
    x, y = testing_part(seeds)

    def layers(arm):
        return folded(trained(seeds, arm, net, steps=steps))

    def images(source):
        if source == RANDOM:
            return random_signs(seeds, x, size)
        return attacked(layers(source), x, y, size, times)

    readers = [arm for arm, _ in pairs if arm != PERFECT]
    both = np.all([right(layers(arm), x, y) for arm in readers], axis=0)
    found = []
    for reader, source in pairs:
        wrong = np.full(y.shape, source == PERFECT)  # whose attack always succeeds
        if PERFECT not in (reader, source):
            wrong = ~right(layers(reader), images(source), y)
        found.append((wrong & both).sum(1) / both.sum(1))
    return found
