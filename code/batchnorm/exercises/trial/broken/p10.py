"""An issue: over what the statistics of a conditional layer are taken.

https://github.com/ap229997/Conditional-Batch-Norm/issues/5
"""

import torch


def feature_maps(x, gamma, beta, eps):
    feature = torch.from_numpy(x)
    batch_size, _, height, width = feature.shape

    # every example has a copy of the parameters, for a condition may change it
    gammas_cloned = torch.from_numpy(gamma).repeat(batch_size, 1)
    betas_cloned = torch.from_numpy(beta).repeat(batch_size, 1)

    # the mean and variance for the normalization
    batch_mean = torch.mean(feature)
    batch_var = torch.var(feature)

    # over height and width of the feature map
    betas_expanded = torch.stack([betas_cloned] * height, dim=2)
    betas_expanded = torch.stack([betas_expanded] * width, dim=3)
    gammas_expanded = torch.stack([gammas_cloned] * height, dim=2)
    gammas_expanded = torch.stack([gammas_expanded] * width, dim=3)

    feature_normalized = (feature - batch_mean) / torch.sqrt(batch_var + eps)
    out = torch.mul(feature_normalized, gammas_expanded) + betas_expanded
    return out.numpy()
