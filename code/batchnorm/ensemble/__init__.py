"""Many small networks trained at once, as one batched computation.

A network is a vector ``θ`` of P parameters, an ensemble of K networks the matrix
``theta`` (K, P). Everything else follows: a step of gradient descent is one addition,
a norm is a reduction over rows, and a network that diverges spoils its own row alone.

>>> network = Network((64,), (64, 64, 64), nonlinearity="relu", norm="batch")
>>> seeds, lr = grid(range(20), [0.1, 0.3, 1.0])          # K = 60 networks
>>> theta = init_parameters(network, seeds, scale=2**0.5)
>>> options = {"theta": theta, "steps": 300, "recorder": Recorder(every=10)}
>>> run = train(network, digits, seeds, lr=lr, **options)
>>> run.accuracy.reshape(20, 3, -1)                        # seeds, rates, steps

Arrays come in and go out as NumPy; inside, torch multiplies them. All that is random is
drawn by ``numpy.random.default_rng`` from a network's own seed: network k of an
ensemble is the same network as when it is trained alone.

From the ground up: ``layers`` and the modules that ``norms`` lists hold the operations,
each with its forward and its backward pass; ``network`` puts them in a row and θ beside
them; ``evaluation`` says what networks compute and how well; ``batches`` draws;
``training`` trains.
"""

from .batches import grid, init_parameters, shuffled, single_class
from .evaluation import (
    LayerTrace,
    Score,
    evaluate,
    forward,
    gradient,
    moments_over,
)
from .layers import NONLINEARITIES, Conv, Linear, Pool
from .network import Layer, Network, unpack, unpack_statistics
from .norms import NORMS
from .partly import Only
from .rounded import Rounded
from .training import SGD, Adam, Recorder, Run, State, train

__all__ = [
    "NONLINEARITIES", "NORMS", "SGD", "Adam", "Conv", "Layer", "LayerTrace",
    "Linear", "Network", "Only", "Pool", "Recorder", "Rounded", "Run", "Score",
    "State", "evaluate", "forward", "gradient", "grid", "init_parameters",
    "moments_over", "shuffled", "single_class", "train", "unpack",
    "unpack_statistics",
]  # fmt: skip
