"""An issue: what its author did with the derivatives in a network of their own.

https://github.com/cthorey/CS231/issues/9
"""

import numpy as np


def backward(dy, x, gamma, eps):
    batch_size, width = x.shape

    # forward, kept step by step
    mu = np.sum(x, axis=0) / batch_size
    xmu = x - mu
    carre = xmu**2
    var = np.sum(carre, axis=0) / batch_size
    sqrtvar = np.sqrt(var + eps)
    invvar = 1.0 / sqrtvar
    va2 = xmu * invvar

    # backward, from the last step to the first
    dva3 = dy
    dbeta = np.sum(dy, axis=0) / batch_size
    dva2 = gamma * dva3
    dgamma = np.sum(va2 * dva3, axis=0) / batch_size
    dxmu = invvar * dva2
    dinvvar = np.sum(xmu * dva2, axis=0)
    dsqrtvar = -1.0 / (sqrtvar**2) * dinvvar
    dvar = 0.5 * (var + eps) ** (-0.5) * dsqrtvar
    dcarre = np.ones((batch_size, width)) * dvar / batch_size
    dxmu = dxmu + 2 * xmu * dcarre
    dmu = -np.sum(dxmu, axis=0)
    dx = dxmu + np.ones((batch_size, width)) * dmu / batch_size
    return dx, dgamma, dbeta
