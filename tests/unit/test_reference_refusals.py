"""What `reference` and `graph` refuse: the argument, what came, what is allowed."""

import inspect

import numpy as np
import pytest

from batchnorm import graph, reference

rng = np.random.default_rng(0)
X, DY = rng.standard_normal((2, 4, 3))
GAMMA, BETA = rng.standard_normal((2, 3))
VAR = GAMMA**2
CACHE = reference.forward(X, GAMMA, BETA)[1]
VALUES = graph.forward(X, GAMMA, BETA)

NO_ACTIVATIONS = {
    "no channel axis": X[:, 0],
    "a number": 1.0,
    "complex": X + 1j,
    "object": X.astype(object),
    "text": np.array([["a", "b"]]),
    "long double": X.astype(np.longdouble),
    "ragged": [[1.0, 2.0], [3.0]],
    "masked": np.ma.masked_less(X, 0),
}
TOO_FEW = {
    "one value per channel": X[:1],
    "one pixel of one map": X[:1, :, None],
    "no values": X[:0],
    "no pixels": np.zeros((4, 3, 0)),
    "no channels": X[:, :0],
}
NO_VECTOR = {
    "too short": GAMMA[:2],
    "too long": np.ones(4),
    "a number": 1.0,
    "a column": GAMMA[:, None],
    "complex": GAMMA + 1j,
    "object": GAMMA.astype(object),
}
NO_GRADIENT = {
    "too few rows": DY[:3],
    "transposed": DY.T,
    "one axis more": DY[:, :, None],
    "one axis less": DY[0],
    "complex": DY + 1j,
    "object": DY.astype(object),
    "a number": 1.0,
}
NO_EPS = [0, 0.0, -1e-5, np.nan, np.inf, None, "1e-5", True, 1j, [1e-5], 10**400]

# By argument: a value that is accepted, and those that are not.
ARGUMENTS = {
    "x": (X, NO_ACTIVATIONS),
    "x_hat": (X, NO_ACTIVATIONS),
    "gamma": (GAMMA, NO_VECTOR),
    "beta": (BETA, NO_VECTOR),
    "mean": (BETA, NO_VECTOR),
    "var": (VAR, NO_VECTOR | {"negative": np.array([1.0, -1e-30, 1.0])}),
    "dy": (DY, NO_GRADIENT),
    "eps": (1e-5, {f"{eps!r:.9}": eps for eps in NO_EPS}),
    "cache": (CACHE, {"None": None, "a pair": (X, GAMMA), "of the graph": VALUES}),
    "values": (VALUES, {"None": None, "of reference": CACHE}),
}
ONE_BATCH = [reference.batch_mean, reference.batch_variance, reference.forward]
REFUSING = [
    *(*ONE_BATCH, reference.backward, reference.inference, reference.normalize),
    *(reference.inference_backward, reference.scale_and_shift),
    *(graph.forward, graph.backward),
]


def refusals():
    """Each function with each argument spoiled in each way, and the argument's name."""
    for function in REFUSING:
        names = list(inspect.signature(function).parameters)
        good = {name: ARGUMENTS[name][0] for name in names}
        for name in names:
            bad = dict(ARGUMENTS[name][1])
            if name == "x" and function in (*ONE_BATCH, graph.forward):
                bad |= TOO_FEW
            if name == "x" and function is graph.forward:
                bad["maps"] = X[:, :, None]
            for what, value in bad.items():
                module = function.__module__.removeprefix("batchnorm.")
                id = f"{module}.{function.__name__}: {name}: {what}"
                yield pytest.param(function, good | {name: value}, name, id=id)


@pytest.mark.parametrize(("function", "arguments", "name"), list(refusals()))
def test_refusals(function, arguments, name):
    with pytest.raises(ValueError, match=f"^{name} .*(allowed|need)"):
        function(**arguments)
