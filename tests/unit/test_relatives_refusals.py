"""What `relatives` and `renormalization` refuse: what came, what is allowed."""

import numpy as np
import pytest
import torch

from batchnorm import reference, renormalization
from batchnorm.relatives import (
    backward,
    forward,
    group_norm,
    instance_norm,
    layer_norm,
    rms_norm,
    weight_standardization,
)

F = torch.nn.functional
rng = np.random.default_rng(0)
X, GAMMA, BETA = rng.standard_normal((4, 6)), *rng.standard_normal((2, 6))
MAPS = rng.standard_normal((4, 6, 3))
PIXEL = MAPS[:, :, :1]
CACHE = layer_norm(X, None, None)[1]
OF_REFERENCE = reference.forward(X, None, None)[1]


def renorm(x=X, mean=BETA, var=BETA**2, *, r_max=2, d_max=1):
    renormalization.forward(x, None, None, mean, var, r_max=r_max, d_max=d_max)


REFUSALS = {
    "groups that do not divide": (lambda: group_norm(X, 4, GAMMA, BETA), "groups is 4"),
    "no groups": (lambda: group_norm(X, 0, GAMMA, BETA), "groups is 0"),
    "half a group": (lambda: group_norm(X, 1.5, GAMMA, BETA), r"groups is 1\.5"),
    "one value a group": (lambda: group_norm(X, 6, GAMMA, BETA), "x has shape"),
    "one value, one example": (lambda: group_norm(X[:1], 6, GAMMA, BETA), "x has"),
    "one feature": (lambda: layer_norm(X[:, :1], None, None), "x has shape"),
    "instance of a row": (lambda: instance_norm(X, GAMMA, BETA), "x has shape"),
    "instance of one pixel": (lambda: instance_norm(PIXEL, None, None), "x has shape"),
    "one weight a unit": (lambda: weight_standardization(X[:, :1]), "weight has shape"),
    "one axis of weights": (
        lambda: weight_standardization(X[0]),
        r"weight has shape \(6,\)",
    ),
    "masked weights": (
        lambda: weight_standardization(np.ma.masked_less(X, 0)),
        "weight is a masked",
    ),
    "no features": (lambda: rms_norm(X[:, :0], None), "x has shape"),
    "no channel axis": (lambda: group_norm(X[0], 1, None, None), "x has shape"),
    "a number": (lambda: layer_norm(1.0, None, None), "x has shape"),
    "complex": (lambda: layer_norm(X + 1j, None, None), "x has dtype"),
    "masked": (lambda: rms_norm(np.ma.masked_less(X, 0), None), "x is a masked"),
    "gamma too short": (lambda: layer_norm(X, GAMMA[:2], BETA), "gamma has shape"),
    "gamma a number": (lambda: layer_norm(X, 1.0, BETA), "gamma has shape"),
    "beta a column": (lambda: group_norm(X, 2, GAMMA, BETA[:, None]), "beta has shape"),
    "gamma of rms": (lambda: rms_norm(X, GAMMA[:2]), "gamma has shape"),
    "gamma of other size": (lambda: forward(X, GAMMA[:4], None, 0), "gamma has shape"),
    "gamma larger than x": (lambda: forward(X, MAPS.T, None, 0), "gamma has shape"),
    "axis beyond": (lambda: forward(X, None, None, 2), "axes is 2"),
    "axis twice": (lambda: forward(X, None, None, (1, -1)), "axes is"),
    "no axis": (lambda: forward(X, None, None, ()), "axes is"),
    "axis a word": (lambda: forward(X, None, None, "rows"), "axes is 'rows'"),
    "trailing axes": (lambda: layer_norm(X, None, None, trailing=3), "trailing is 3"),
    "no trailing axes": (lambda: rms_norm(X, None, trailing=0), "trailing is 0"),
    "eps zero": (lambda: layer_norm(X, None, None, eps=0), "eps is 0"),
    "eps negative": (lambda: group_norm(X, 2, None, None, eps=-0.5), r"eps is -0\.5"),
    "dy transposed": (lambda: backward(X.T, CACHE), "dy has shape"),
    "cache of the reference": (
        lambda: backward(X, OF_REFERENCE),
        r"cache is a batchnorm\.reference\.Cache",
    ),
    "cache is None": (lambda: backward(X, None), "cache is a NoneType"),
    "renorm of one value": (lambda: renorm(X[:1]), "x has shape"),
    "renorm: r_max": (lambda: renorm(r_max=0.5), r"r_max is 0\.5"),
    "renorm: d_max": (lambda: renorm(d_max=-1), "d_max is -1"),
    "renorm: var": (lambda: renorm(var=-(BETA**2)), "var is"),
    "renorm: mean": (lambda: renorm(mean=BETA[:2]), "mean has shape"),
    "renorm: cache": (lambda: renormalization.backward(X, None), "cache is a NoneType"),
}


@pytest.mark.parametrize(
    ("call", "says"), [pytest.param(*case, id=id) for id, case in REFUSALS.items()]
)
def test_refusals(call, says):
    with pytest.raises(ValueError, match=f"^{says}.*(allowed|need)"):
        call()


def test_torch_says_nothing_of_a_group_of_one_value():
    """What our refusal spares: the features are gone, and only the shift is left."""
    x = torch.tensor(X)
    for y in (F.group_norm(x, 6), F.layer_norm(x[:, :1], (1,))):
        assert (y == 0).all()
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        F.group_norm(x[:1], 6)
    with pytest.raises(ValueError, match="more than 1 spatial element"):
        F.instance_norm(x[:, :, None])
