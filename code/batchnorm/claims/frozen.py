"""Networks that go on learning with the statistics of their training, frozen."""

import torch
from torch.nn.functional import cross_entropy

from batchnorm import datasets
from batchnorm.claims.networks import mini_batches, testing_part
from batchnorm.ensemble import train, unpack, unpack_statistics


def go_on(seeds, run, rate, steps, batch):
    """Train on as before, normalizing by mini-batches -> accuracy (S,)."""
    options = {"lr": rate, "steps": steps, "batch": batch, "theta": run.theta}
    return train(run.network, datasets.digits, seeds, **options).accuracy[:, -1]


def go_on_frozen(seeds, run, rate, steps, batch):
    """Train on with fixed running statistics, γ and β learning -> accuracy (S,)."""
    layers = unpack(run.network, run.theta)
    fixed = unpack_statistics(run.network, run.running)
    fixed = [(torch.tensor(m), torch.tensor(v)) for m, v in fixed]
    weights = [torch.tensor(layer.weight, requires_grad=True) for layer in layers]
    gammas = [torch.tensor(layer.gamma, requires_grad=True) for layer in layers[:-1]]
    betas = [torch.tensor(layer.beta, requires_grad=True) for layer in layers[:-1]]
    bias = torch.tensor(layers[-1].bias, requires_grad=True)

    def logits(h):
        each = zip(weights, gammas, betas, fixed, strict=False)
        for weight, gamma, beta, (mean, var) in each:
            slope = gamma / (var + run.network.eps).sqrt()
            z = h @ weight.mT - mean[:, None]
            h = torch.relu(slope[:, None] * z + beta[:, None])
        return h @ weights[-1].mT + bias[:, None]

    optimizer = torch.optim.SGD([*weights, *gammas, *betas, bias], lr=rate)
    for x, y in mini_batches(seeds, batch, steps):
        optimizer.zero_grad()
        scores = logits(torch.tensor(x)).flatten(0, 1)
        loss = cross_entropy(scores, torch.tensor(y).flatten(), reduction="sum")
        (loss / batch).backward()  # a sum over networks, a mean over each mini-batch
        optimizer.step()
    x, y = testing_part(seeds)
    with torch.no_grad():
        found = logits(torch.tensor(x))
    right = (found.argmax(2).numpy() == y) & found.isfinite().all(2).numpy()
    return right.mean(axis=1)
