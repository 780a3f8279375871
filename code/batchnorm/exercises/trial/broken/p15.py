"""A review: how a library for phones prepares its two coefficients a channel.

https://github.com/Tencent/ncnn/pull/311
"""

import math

import numpy as np


class BatchNorm:
    def load_model(self, slope_data, mean_data, var_data, bias_data, eps):
        self.channels = len(slope_data)
        self.a_data = [0.0] * self.channels
        self.b_data = [0.0] * self.channels
        for i in range(self.channels):
            sqrt_var = math.sqrt(var_data[i]) + eps
            self.a_data[i] = bias_data[i] - slope_data[i] * mean_data[i] / sqrt_var
            self.b_data[i] = slope_data[i] / sqrt_var

    def forward_inplace(self, blob):
        for row in blob:
            for q in range(self.channels):
                row[q] = self.b_data[q] * row[q] + self.a_data[q]


def inference(x, gamma, beta, mean, var, eps):
    layer = BatchNorm()
    layer.load_model(gamma, mean, var, beta, eps)
    blob = [list(row) for row in x]
    layer.forward_inplace(blob)
    return np.array(blob)
