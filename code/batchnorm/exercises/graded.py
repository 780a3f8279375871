"""Tasks to be graded: their solution is printed in no chapter.

They are checked like the others, and stand in no count of the book's exercises.
"""

import numpy as np

from batchnorm.exercises.mistakes import groups
from batchnorm.exercises.probes import Probe
from batchnorm.exercises.tasks import TASKS, Task

# Shape, groups, and ε: a group has several channels, or all.
CASES = [
    ((1, 2, 1, 2), 1, 0.5),
    ((2, 4, 1, 2), 2, 0.25),
    ((3, 6, 2, 1), 2, 0.125),
    ((2, 6, 3, 2), 3, 2.0**-10),
]


def _probes():
    """Cases of dy, x, gamma, groups and eps."""
    rng = np.random.default_rng(12)
    for shape, cut, eps in CASES:
        spreads = 2.0 ** (np.arange(shape[1]) - 2)[:, None, None]
        yield Probe(
            {
                "dy": rng.integers(-16, 17, size=shape) / 8,
                "x": spreads * rng.integers(-9, 10, size=shape) + 1,
                "gamma": 2 - 0.75 * np.arange(shape[1]),
                "groups": cut,
                "eps": eps,
            }
        )


_ALL = [
    Task(
        "group_backward(dy, x, gamma, groups, eps) -> (dx, dgamma, dbeta)",
        groups.right,
        groups.GROUPED,
        groups.MISTAKES,
        [*_probes()],
        [],
    )
]

GRADED = {task.name: task for task in _ALL}
KNOWN = TASKS | GRADED  # all that `diagnose` can judge
