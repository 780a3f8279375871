"""From a count to a time, by two numbers of a machine."""

from batchnorm import _checks
from batchnorm.cost.counts import Cost


def seconds(cost, bandwidth, rate):
    r"""Least time on a machine that moves and computes at the same time.

    .. math::

       t = \max(\text{bytes} / \text{bandwidth},\ \text{operations} / \text{rate})

    Parameters
    ----------
    cost : Cost
        From one of the other functions, or a sum of them.
    bandwidth : float
        Bytes a second, of the main memory.
    rate : float
        Operations a second.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If cost is not a `Cost`, or bandwidth or rate is not positive.

    References
    ----------
    Williams, Waterman and Patterson (2009).
    """
    _checks.instance("cost", cost, Cost, "batchnorm.cost")
    bandwidth = _checks.positive("bandwidth", bandwidth)
    rate = _checks.positive("rate", rate)
    return max(cost.bytes / bandwidth, cost.operations / rate)
