"""The normalization layer of a library of flows: how its averages move.

https://github.com/kamenbliznashki/normalizing_flows/blob/38b7c4eb6b41f6b2364b9dea9757cb0ec5a88a8d/maf.py
"""

import torch


class Averages:
    def __init__(self, mean, var, momentum):
        self.momentum = momentum
        self.running_mean, self.running_var = mean, var

    def see(self, x):
        batch_mean = x.mean(0)
        batch_var = x.var(0)
        self.running_mean.mul_(self.momentum).add_(batch_mean * (1 - self.momentum))
        self.running_var.mul_(self.momentum).add_(batch_var * (1 - self.momentum))


def running(mean, var, x, momentum):
    averages = Averages(torch.from_numpy(mean), torch.from_numpy(var), momentum)
    averages.see(torch.from_numpy(x))
    return averages.running_mean.numpy(), averages.running_var.numpy()
