"""An issue: how a layer for several devices keeps away from zero.

https://github.com/vacancy/Synchronized-BatchNorm-PyTorch/issues/43
"""

import numpy as np
import torch


class Normalizer:
    def __init__(self, eps):
        self.eps = eps

    def reduce(self, parts):
        """What the devices send is added up on the first."""
        total = sum(part.sum(dim=0) for part in parts)
        squares = sum((part**2).sum(dim=0) for part in parts)
        size = sum(part.shape[0] for part in parts)
        mean = total / size
        sumvar = squares - total * mean
        return mean, (sumvar / size).clamp(min=self.eps) ** -0.5


def forward(x, gamma, beta, eps):
    half = max(1, len(x) // 2)
    parts = [p for p in torch.from_numpy(x).split(half) if len(p)]
    mean, inv_std = Normalizer(eps).reduce(parts)
    scale = inv_std * torch.from_numpy(gamma)
    shift = torch.from_numpy(beta)
    return np.concatenate([((p - mean) * scale + shift).numpy() for p in parts])
