"""Untrained networks of many seeds at once, looked into layer by layer.

Every tensor has the seeds as its first dimension; one batched matrix product is
one layer of all networks. Networks that are trained come from `ensemble`.
"""

from itertools import pairwise

import numpy as np
import torch

from batchnorm import datasets

NONLINEARITIES = {
    "linear": lambda z: z,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
}


def weights(seeds, sizes, scale):
    """Normal weights of standard deviation scale / √fan_in -> list of (S, in, out)."""
    generators = [np.random.default_rng(seed) for seed in seeds]
    layers = []
    for fan_in, fan_out in pairwise(sizes):
        draws = [rng.standard_normal((fan_in, fan_out)) for rng in generators]
        layers.append(torch.tensor(np.stack(draws)) * (scale / fan_in**0.5))
    return layers


def normalize(z, eps=1e-5):
    """Batch normalization without γ and β over the batch, dimension 1 of (S, m, d)."""
    var, mean = torch.var_mean(z, dim=1, correction=0, keepdim=True)
    return (z - mean) / torch.sqrt(var + eps)


def hidden(x, layers, nonlinearity, *, normalized, eps=1e-5):
    """Inputs of the nonlinearities of each layer, and the last layer's output.

    x: (S, m, d); layers: from `weights`. Returns a list of (S, m, width), and
    (S, m, width) after the last nonlinearity.
    """
    inputs = []
    for w in layers:
        z = x @ w
        inputs.append(normalize(z, eps) if normalized else z)
        x = NONLINEARITIES[nonlinearity](inputs[-1])
    return inputs, x


def cross_entropy(logits, labels):
    """Mean cross-entropy of each network: (S, m, classes), (S, m) -> (S,)."""
    log_p = torch.log_softmax(logits, dim=-1)
    return -log_p.gather(-1, labels[..., None]).mean(dim=(1, 2))


def norms(tensors):
    """Euclidean norm of each tensor, for each seed -> (S, len(tensors))."""
    return torch.stack([t.flatten(1).norm(dim=1) for t in tensors], dim=1)


def digits_batch(seeds, size):
    """One batch of digits a seed -> images (S, size, 64), labels (S, size)."""
    splits = [datasets.digits(seed) for seed in seeds]
    images = np.stack([split.x_train[:size] for split in splits])
    labels = np.stack([split.y_train[:size] for split in splits])
    return torch.tensor(images), torch.tensor(labels)
