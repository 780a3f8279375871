"""The beginning of a recorded run once more: does it come out as it is stored?

    python -m batchnorm.experiments --repeat mnist-sigmoid

One seed of the first two settings of a run that are no controls, up to the first
readings of its curves. What has no curve is measured whole, and may part further on
another processor: after hundreds of steps a rounding has grown.
"""

from typing import NamedTuple

import numpy as np

from batchnorm.experiments.recorded import FOLDER, values
from batchnorm.experiments.runs import get

CELLS = 2
READINGS, SHARE = 4, 10  # so many of a curve at most, in a tenth of its steps
LONG = 500  # steps of figure 1, whose readings depend on how many there are

#: By how much numbers of each name may differ: another processor, or a GPU, rounds
#: otherwise in float32, and of 2000 images half a percent may turn over. Figure 1 is
#: computed in float64, and two of its 10,000 images may.
WITHIN = {
    "correct": 2,
    "percentiles": 0.011,
    "trained": 0,
    "over-law": 1e-4,
    "early": 0.005,
    "final": 0.005,
}
COUNTS = 10  # of 2000 test images, whatever they are called


class Repeated(NamedTuple):
    """Numbers of one seed, as they are stored and as they came out again."""

    cell: str
    seed: int
    key: str
    stored: np.ndarray
    again: np.ndarray

    @property
    def within(self):
        """By how much they may differ."""
        return WITHIN.get(self.key, COUNTS)

    @property
    def agrees(self):
        """Whether they differ by no more."""
        return bool(np.all(np.abs(self.again - self.stored) <= self.within))


def repeat(name, *, cells=CELLS, folder=FOLDER):
    """Measure the beginning of a recorded run again, on the CPU -> list of Repeated.

    There is one for each array that was kept of each of so many settings. A
    `ValueError` says that there is no such run, that it is not recorded as it is
    defined, or that it is a sweep of convolutional networks, which takes a GPU; a
    `DataUnavailableError`, that there is no MNIST.
    """
    run, told = get(name), []
    if run.gpu and not run.findings:
        raise ValueError(
            f"name is {name!r}, a sweep that takes a GPU; allowed are runs"
        )
    if not run.whole(folder):
        raise ValueError(f"name is {name!r}, which is not recorded as it is defined")
    data, seed = run.load(folder), run.drawn(folder)[0]
    arms = [(k, c.setting) for k, c in run.cells(folder).items() if c.seeds is None]
    for cell, setting in arms[:cells]:
        found = run.measure((seed,), "cpu", **_beginning(name, setting))
        for key, (row,) in found.items():
            again, stored = np.atleast_1d(row), values(data, cell, key)[0]
            stored = np.atleast_1d(stored)
            if len(stored) == len(setting.get("at", stored)):  # read at each, not once
                told.append(Repeated(cell, seed, key, stored[: len(again)], again))
    return told


def _beginning(name, setting):
    """The setting of a run that ends with the first readings, or the whole setting."""
    if name == "figure1":
        return {**setting, "steps": LONG}
    if "at" not in setting:
        return setting
    at = [step for step in setting["at"] if step <= setting["steps"] // SHARE]
    at = tuple(at[:READINGS]) or setting["at"][:1]
    return {**setting, "at": at, "steps": at[-1]}


def said(told):
    """What came out, as text, of a list of `Repeated`."""
    lines = []
    for one in told:
        verdict = "agree" if one.agrees else "differ"
        off = np.max(np.abs(one.again - one.stored))
        lines += [
            f"{one.cell}, seed {one.seed}, {one.key}: {verdict}, "
            f"{off:.3g} apart at most, {one.within:g} allowed",
            f"    stored {_row(one.stored)}",
            f"    again  {_row(one.again)}",
        ]
    return "\n".join(lines)


def _row(numbers):
    return " ".join(f"{number:g}" for number in np.ravel(numbers))
