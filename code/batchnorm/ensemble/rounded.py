"""Training that takes the same path on every processor."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from batchnorm import _checks

from .training import SGD


@dataclass(frozen=True)
class Rounded:
    """Gradient descent after each of whose steps θ is rounded.

    Processors round products otherwise in the last bit, and long training is chaotic:
    they end in other networks. A difference of a last bit is gone when θ is rounded.

    Parameters
    ----------
    digits : int
        Behind the point, from 0 on.

    Raises
    ------
    ValueError
        If ``digits`` is no such number.
    """

    digits: int

    def __post_init__(self):
        _checks.count("digits", self.digits, least=0)

    def start(self, theta: Tensor, gradient: Tensor, lr: Tensor) -> Callable[[], None]:
        """Get ready to train, as `SGD.start` does.

        Parameters
        ----------
        theta, gradient, lr
            As there.

        Returns
        -------
        function
        """
        step = SGD().start(theta, gradient, lr)

        def rounded():
            step()
            theta.round_(decimals=self.digits)

        return rounded
