"""An issue: a layer by hand whose evaluation does not fit its training.

https://github.com/pytorch/pytorch/issues/19916
"""

import torch
from torch.nn import Module as Base
from torch.nn import Parameter, init


class Module(Base):
    def __init__(self, num_features, eps=1e-5, momentum=0.1, track_running_stats=True):
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.track_running_stats = track_running_stats
        self.weight = Parameter(torch.empty(num_features))
        self.bias = Parameter(torch.empty(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))
        self.register_buffer("num_batches_tracked", torch.tensor(0))
        self.reset_parameters()

    def reset_parameters(self):
        init.ones_(self.weight)
        init.zeros_(self.bias)

    def _factor(self):
        """The weight of the new batch, or of all batches alike."""
        if self.momentum is None:
            return 1.0 / float(self.num_batches_tracked)
        return self.momentum

    def _moments(self, rows):
        mean = rows.mean(dim=0)
        return mean, (rows - mean).pow(2).mean(dim=0)

    def forward(self, input):
        rows = input.reshape(-1, self.num_features)
        if self.training or not self.track_running_stats:
            mean, var = self._moments(rows)
        else:
            mean, var = self.running_mean, self.running_var
        if self.training and self.track_running_stats:
            self.num_batches_tracked += 1
            factor = self._factor()
            with torch.no_grad():
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), factor)
                self.running_var.lerp_(var.to(self.running_var.dtype), factor)
        out = (rows - mean) * torch.rsqrt(var + self.eps)
        return (out * self.weight + self.bias).reshape(input.shape)
