"""An issue: the bias of a convolution that is fused with its normalization.

https://github.com/ultralytics/yolov3/issues/807
"""

import torch


def fold(weight, bias, gamma, beta, mean, var, eps):
    with torch.no_grad():
        tensors = map(torch.from_numpy, (weight, bias, gamma, beta, mean, var))
        weight, bias, gamma, beta, mean, var = tensors

        # prepare filters
        w_layer = weight.clone().view(weight.shape[0], -1)
        w_bn = torch.diag(gamma.div(torch.sqrt(eps + var)))
        fused_weight = torch.mm(w_bn, w_layer).view(weight.size())

        # prepare spatial bias
        b_layer = bias if bias is not None else torch.zeros(weight.size(0))
        b_bn = beta - gamma.mul(mean).div(torch.sqrt(var + eps))
        fused_bias = b_layer + b_bn

        return fused_weight.numpy(), fused_bias.numpy()
