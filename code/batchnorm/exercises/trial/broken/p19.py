"""The normalization layer of a library of flows.

https://github.com/kamenbliznashki/normalizing_flows/blob/38b7c4eb6b41f6b2364b9dea9757cb0ec5a88a8d/maf.py
"""

import torch
from torch import nn


class Module(nn.Module):
    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        super().__init__()
        self.momentum = momentum
        self.eps = eps

        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))

        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def forward(self, x):
        if self.training:
            self.batch_mean = x.mean(0)
            self.batch_var = x.var(0)

            # update running mean
            update = self.batch_mean.data * (1 - self.momentum)
            self.running_mean.mul_(self.momentum).add_(update)
            update = self.batch_var.data * (1 - self.momentum)
            self.running_var.mul_(self.momentum).add_(update)

            mean = self.batch_mean
            var = self.batch_var
        else:
            mean = self.running_mean
            var = self.running_var

        # compute normalized input (algorithm 1 of the paper)
        x_hat = (x - mean) / torch.sqrt(var + self.eps)
        return self.weight * x_hat + self.bias
