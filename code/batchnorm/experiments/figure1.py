"""Figure 1 of the paper on MNIST, at four settings of what the paper leaves open.

    python -m batchnorm.experiments figure1              all of it, some CPU hours
    python -m batchnorm.experiments figure1 --jobs 4     four networks side by side

Three hidden layers of 100 sigmoids on binary 28×28 digits, plain SGD with batches of
60, 50,000 steps; batch normalization on each hidden layer, or none. The paper states
neither the learning rate nor the scale of its "small random Gaussian" weights, so four
settings of the two are run, ten seeds each.

Source: Ioffe and Szegedy (2015), section 4.1 and figure 1.
"""

from dataclasses import asdict, dataclass
from functools import cache

import numpy as np

from batchnorm import mnist
from batchnorm.datasets import Split
from batchnorm.ensemble import Network, Recorder, forward, init_parameters, train
from batchnorm.experiments.recorded import FOLDER, Cell, Recorded, values

STEPS, BATCH, SEEDS = 50_000, 60, tuple(range(10))
ARMS = {"none": None, "batch": "batch"}
PROBE = 1000  # training images whose inputs to a sigmoid the percentiles are of
PERCENTILES = (15, 50, 85)


@dataclass(frozen=True)
class Setting:
    """What the paper leaves open: learning rate, scale of the weights, and why these.

    ``W ~ N(0, scale²)``, or ``N(0, scale²/fan_in)`` with ``fan_in``.
    """

    lr: float
    scale: float
    fan_in: bool
    why: str


SETTINGS = {
    "A": Setting(0.1, 0.1, False, "a common guess"),
    "B": Setting(1.0, 0.01, False, "smaller weights, a higher rate"),
    "C": Setting(3.0, 0.1, False, "the best rate without normalization"),
    "D": Setting(3.0, 4.0, True, "the scale made for sigmoids as well"),
}


def schedule(steps: int) -> tuple[int, ...]:
    """Steps at which the test set is read: more often early, where curves part.

    Parameters
    ----------
    steps : int
        Of the whole run.

    Returns
    -------
    tuple of int
    """
    early = range(0, min(steps, 5000), 250)
    late = range(5000, steps, 1000)
    return (*early, *late, steps)


def run(seeds, device, *, setting, norm, steps):
    """Train networks of the figure; what is kept of them.

    Parameters
    ----------
    seeds : sequence of int
        Of weights and mini-batches.
    device : str
        Ignored: the ensemble runs on the CPU.
    setting : Setting
    norm : {None, "batch"}
    steps : int

    Returns
    -------
    dict
        "correct" (S, T), right answers on the 10,000 test images, by running averages;
        "percentiles" (S, T, 3), the 15th, 50th and 85th of the input to the first
        sigmoid of the last hidden layer over 1000 training images, normalized by their
        own statistics; both at the steps in `schedule`.

    Raises
    ------
    DataUnavailableError
        If there is no MNIST.
    """
    network = Network((1, 28, 28), (100, 100, 100), nonlinearity="sigmoid", norm=norm)
    data = _mnist()

    def percentiles(state):
        inputs = forward(network, state.theta, data.x_train[:PROBE])[-2].preactivation
        return np.percentile(inputs[:, :, 0], PERCENTILES, axis=1).T

    scale, fan_in = setting.scale, setting.fan_in
    result = train(
        network,
        data,
        seeds,
        theta=init_parameters(network, seeds, scale, fan_in=fan_in),
        lr=setting.lr,
        steps=steps,
        batch=BATCH,
        recorder=Recorder(schedule(steps), quantities={"percentiles": percentiles}),
    )
    return {
        "correct": np.round(result.accuracy * len(data.y_test)).astype(int),
        "percentiles": np.round(result.records["percentiles"], 2),
    }


@cache
def _mnist() -> Split:
    return mnist.load(binary=True)


def cells(folder):
    """Four settings, without batch normalization and with it.

    Parameters
    ----------
    folder : Path
        Ignored: they depend on no other run.

    Returns
    -------
    dict of str to Cell
    """
    return {
        f"{name} {arm}": Cell({"setting": setting, "norm": norm, "steps": STEPS})
        for name, setting in SETTINGS.items()
        for arm, norm in ARMS.items()
    }


RUN = Recorded(
    "figure1",
    "Figure 1 of the paper at four settings of what it leaves open, on MNIST.",
    run,
    cells,
    seeds=SEEDS,
    block=1,
)


def load(folder=FOLDER):
    """The result file.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    dict
        What ``Recorded.load`` returns, with the "steps" (T,) that were read, and the
        four "settings" by name.

    Raises
    ------
    ValueError
        If there is no such file, or it is not a whole one.
    """
    settings = {name: asdict(setting) for name, setting in SETTINGS.items()}
    return RUN.load(folder) | {"steps": list(schedule(STEPS)), "settings": settings}


def select(data: dict, key: str, setting: str, arm: str) -> np.ndarray:
    """One arm, seeds in order.

    Parameters
    ----------
    data : dict
        What `load` returns.
    key : {"correct", "percentiles"}
    setting, arm : str
        Keys of ``SETTINGS`` and ``ARMS``.

    Returns
    -------
    array, (seeds, T) or (seeds, T, 3)
    """
    return values(data, f"{setting} {arm}", key)


def table(data: dict) -> str:
    """Test accuracy at some steps and steps to some accuracies, medians over seeds.

    Parameters
    ----------
    data : dict
        What `load` returns.

    Returns
    -------
    str
    """
    steps = np.array(data["steps"])
    shown = [s for s in (1000, 5000, 15000, steps[-1]) if s in steps]
    goals = (0.90, 0.95, 0.97)
    head = ["setting", "arm", "seeds", *(f"at {s}" for s in shown)]
    rows = [[*head, *(f"to {goal:.2f}" for goal in goals)]]
    for setting in data["settings"]:
        for arm in ARMS:
            accuracy = select(data, "correct", setting, arm) / 10_000
            if not len(accuracy):
                continue
            row = [setting, arm, str(len(accuracy))]
            row += [_spread(accuracy[:, steps == s].ravel(), ".3f") for s in shown]
            for goal in goals:
                met = accuracy >= goal
                first = np.where(met.any(1), steps[met.argmax(1)], np.inf)
                row.append(_spread(first, ".0f"))
            rows.append(row)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def _spread(values: np.ndarray, form: str) -> str:
    low, middle, high = values.min(), np.median(values), values.max()
    return f"{middle:{form}} [{low:{form}}, {high:{form}}]"
