"""Networks that go on learning, their statistics frozen or moving."""

from dataclasses import replace

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from batchnorm import datasets
from batchnorm.claims.clients import shaded
from batchnorm.claims.networks import testing_part, trained, training_part
from batchnorm.claims.streams import READER
from batchnorm.ensemble import moments_over, unpack, unpack_statistics


def fine_tuned(run, x, y, draws, *, rate, steps, batch, frozen):
    """Go on learning from x, y -> parameters by layer and statistics, as tensors."""
    layers = unpack(run.network, run.theta)
    parts = [
        [torch.tensor(v, requires_grad=True) for v in layer if v is not None]
        for layer in layers
    ]
    stored = [
        [torch.tensor(v) for v in pair]
        for pair in unpack_statistics(run.network, run.running)
    ]
    optimizer = torch.optim.SGD([p for part in parts for p in part], lr=rate)
    each = np.arange(len(x))[:, None]
    for _ in range(steps):
        rows = np.stack([d.integers(x.shape[1], size=batch) for d in draws])
        images, labels = (torch.tensor(v[each, rows]) for v in (x, y))
        scores = logits(parts, stored, images, not frozen, run.network.eps)
        loss = cross_entropy(scores.flatten(0, 1), labels.flatten(), reduction="sum")
        optimizer.zero_grad()
        (loss / batch).backward()  # a sum over networks, a mean over each mini-batch
        optimizer.step()
    return parts, stored


def logits(parts, stored, h, training, eps):
    """Of K networks on h (K, n, d); in training mode they update ``stored``."""
    for (weight, gamma, beta), kept in zip(parts[:-1], stored, strict=True):
        z = h @ weight.mT
        mean, var = kept
        if training:
            mean, var = z.mean(1), z.var(1, correction=0)
            unbiased = z.detach().var(1)
            kept[0].lerp_(mean.detach(), 0.1), kept[1].lerp_(unbiased, 0.1)
        slope = gamma / (var + eps).sqrt()
        h = torch.relu(slope[:, None] * (z - mean[:, None]) + beta[:, None])
    weight, bias = parts[-1]
    return h @ weight.mT + bias[:, None]


#: Learning rates of fine-tuning by kind of image, batch and whether it is frozen: those
#: of the highest accuracy, mean over `TUNING_SEEDS`, on the sheets of `digits_to_tune`,
#: among steps of √10. No optimum lies on an edge.
CELLS = {
    ("as they are", 2, True): 0.0032,
    ("as they are", 2, False): 0.000032,
    ("as they are", 8, True): 0.032,
    ("as they are", 8, False): 0.032,
    ("as they are", 32, True): 0.1,
    ("as they are", 32, False): 0.32,
    ("inverted", 2, True): 0.01,
    ("inverted", 2, False): 0.1,
    ("inverted", 8, True): 0.01,
    ("inverted", 8, False): 0.1,
    ("inverted", 32, True): 0.032,
    ("inverted", 32, False): 0.32,
}
TUNE = {**READER, "more": 100}
FROZEN, MOVING = True, False


def tuned_on(
    seeds,
    rate,
    frozen,
    *,
    kind,
    batch,
    more,
    arm,
    net,
    steps,
    data=datasets.digits,
):
    """Accuracy on images of a kind after fine-tuning on such images -> (S,)."""
    run = trained(seeds, arm, net, data=data, steps=steps)
    x, y = training_part(seeds, data)
    draws = [np.random.default_rng([s, 34]) for s in seeds]
    options = {"rate": rate, "steps": more, "batch": batch, "frozen": frozen}
    parts, stored = fine_tuned(run, shaded(x, kind), y, draws, **options)
    x, y = testing_part(seeds, data)
    with torch.no_grad():
        images = torch.tensor(shaded(x, kind))
        found = logits(parts, stored, images, False, run.network.eps)
    right = (found.argmax(2).numpy() == y) & found.isfinite().all(2).numpy()
    return right.mean(axis=1)


#: As in `CELLS`, for frozen statistics that are those of the new images.
RENEWED = {("as they are", 2): 0.0032, ("inverted", 2): 0.01}


def renewed_on(seeds, rate, *, kind, batch, more, arm, net, steps, data=None):
    """`tuned_on` with statistics of all training images of the kind, then frozen."""
    data = data or datasets.digits
    x, y = training_part(seeds, data)
    run, x = trained(seeds, arm, net, data=data, steps=steps), shaded(x, kind)
    run = replace(run, running=moments_over(run.network, run.theta, x))
    draws = [np.random.default_rng([s, 34]) for s in seeds]
    options = {"rate": rate, "steps": more, "batch": batch, "frozen": True}
    parts, stored = fine_tuned(run, x, y, draws, **options)
    x, y = testing_part(seeds, data)
    with torch.no_grad():
        given = parts, stored, torch.tensor(shaded(x, kind)), False, run.network.eps
        found = logits(*given)
    return ((found.argmax(2).numpy() == y) & found.isfinite().all(2).numpy()).mean(1)
