"""Training in which only some of the parameters learn."""

from dataclasses import dataclass

import torch
from torch import Tensor

from batchnorm import _checks

from .network import Network
from .training import Adam


@dataclass(frozen=True)
class Only:
    """`Adam`, for a part of the parameters; all others stay as they were drawn.

    Parameters
    ----------
    part : {"norms", "output"}
        The γ and β of all norms, or weights and biases of the output layer.
    network : Network
        The one that is trained.

    Raises
    ------
    ValueError
        If ``part`` is neither of the two.
    """

    part: str
    network: Network

    def __post_init__(self):
        _checks.one_of("part", self.part, ("norms", "output"))

    def mask(self) -> Tensor:
        """1 where a parameter learns, 0 where it does not.

        Returns
        -------
        Tensor, (1, P)
        """
        mask = torch.zeros(1, self.network.parameters, dtype=torch.float64)
        for step in self.network.steps:
            output = step.layer == len(self.network.hidden)
            for name, view in step.views(mask).items():
                norms = name in ("gamma", "beta")
                view[...] = norms if self.part == "norms" else output
        return mask

    def start(self, theta: Tensor, gradient: Tensor, lr: Tensor):
        """As in `Adam`, whose step is zero where no gradient has ever been.

        Parameters
        ----------
        theta, gradient : Tensor, (K, P)
            Parameters and their gradient, which the step masks in place.
        lr : Tensor, (K, 1)
            Learning rates.

        Returns
        -------
        function
            What makes a step.
        """
        mask, step = self.mask().to(theta.dtype), Adam().start(theta, gradient, lr)

        def masked():
            gradient.mul_(mask)
            step()

        return masked
