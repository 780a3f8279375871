"""Figure 1 of the paper on MNIST, at four settings of what the paper leaves open.

    python -m batchnorm.experiments.figure1              all of it, some CPU hours
    python -m batchnorm.experiments.figure1 --jobs 4     four networks side by side
    python -m batchnorm.experiments.figure1 --table      what the result file says

Three hidden layers of 100 sigmoids on binary 28×28 digits, plain SGD with batches of
60, 50,000 steps; batch normalization on each hidden layer, or none. The paper states
neither the learning rate nor the scale of its "small random Gaussian" weights, so four
settings of the two are run, ten seeds each. Interrupted, the command keeps every
network that has finished, and goes on from there when it is started again.

Source: Ioffe and Szegedy (2015), section 4.1 and figure 1.
"""

import argparse
import datetime
import os
import platform
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from batchnorm import mnist
from batchnorm._records import read_records, write_records
from batchnorm.datasets import Split
from batchnorm.ensemble import Network, Recorder, forward, init_parameters, train

DATA_FILE = Path(__file__).with_suffix(".json")
STEPS, BATCH, SEEDS = 50_000, 60, range(10)
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


def run(setting: str, arm: str, seed: int, steps: int = STEPS) -> dict:
    """Train one network of the figure; what is kept of it, as plain JSON values.

    Parameters
    ----------
    setting : {"A", "B", "C", "D"}
    arm : {"none", "batch"}
    seed : int
        Of weights and mini-batches.
    steps : int

    Returns
    -------
    dict
        "setting", "arm", "seed"; "correct", right answers on the 10,000 test images, by
        running averages; "percentiles", the 15th, 50th and 85th of the input to the
        first sigmoid of the last hidden layer over 1000 training images, normalized by
        their own statistics; both at the steps in `schedule`.
    Raises
    ------
    DataUnavailableError
        If there is no MNIST.
    """
    network = Network(
        (1, 28, 28), (100, 100, 100), nonlinearity="sigmoid", norm=ARMS[arm]
    )
    data, open_ = _mnist(), SETTINGS[setting]

    def percentiles(state):
        inputs = forward(network, state.theta, data.x_train[:PROBE])[-2].preactivation
        return np.percentile(inputs[:, :, 0], PERCENTILES, axis=1).T

    result = train(
        network,
        data,
        [seed],
        theta=init_parameters(network, [seed], open_.scale, fan_in=open_.fan_in),
        lr=open_.lr,
        steps=steps,
        batch=BATCH,
        recorder=Recorder(schedule(steps), quantities={"percentiles": percentiles}),
    )
    correct = np.round(result.accuracy[0] * len(data.y_test)).astype(int)
    return {
        "setting": setting,
        "arm": arm,
        "seed": seed,
        "correct": correct.tolist(),
        "percentiles": np.round(result.records["percentiles"][0], 2).tolist(),
    }


@cache
def _mnist() -> Split:
    return mnist.load(binary=True)


def load(file: Path = DATA_FILE) -> dict:
    """The result file.

    Parameters
    ----------
    file : Path

    Returns
    -------
    dict
        "steps" (T,), "settings", "runs", "versions", "date".

    Raises
    ------
    ValueError
        If there is no such file, or it is not a whole one.
    """
    return read_records(file, "runs")


def select(data: dict, key: str, setting: str, arm: str) -> np.ndarray:
    """One arm, seeds in order.

    Parameters
    ----------
    data : dict
        What `load` returns.
    key : {"correct", "percentiles"}
    setting, arm : str
        As in `run`.

    Returns
    -------
    array, (seeds, T) or (seeds, T, 3)
    """
    runs = [r for r in data["runs"] if (r["setting"], r["arm"]) == (setting, arm)]
    return np.array([r[key] for r in sorted(runs, key=lambda r: r["seed"])])


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


def main(arguments: list[str] | None = None) -> int:
    """The command.

    Parameters
    ----------
    arguments : list of str, optional

    Returns
    -------
    int
        The exit status.
    """
    options = _parser().parse_args(arguments)
    file = options.output
    if options.table:
        print(table(load(file)))
        return 0
    if not file.parent.is_dir():
        raise SystemExit(f"--output is {file}, in a folder that does not exist")
    try:
        _mnist()  # so that a missing file is told once, before anything starts
    except mnist.DataUnavailableError as error:
        raise SystemExit(str(error)) from error
    partial = file.with_name(f".{file.name}.partial")
    units = [
        (setting, arm, seed)
        for seed in range(options.seeds)
        for setting in SETTINGS
        for arm in ARMS
    ]
    try:
        runs = _run_all(units, options.steps, options.jobs, partial)
    except KeyboardInterrupt:
        print("\nInterrupted. Start the command again to go on.", file=sys.stderr)
        return 130
    _write(file, runs, options.steps)
    partial.unlink(missing_ok=True)
    print(table(load(file)))
    return 0


def _run_all(units, steps, jobs, partial):
    """Run what the partial file does not have yet -> the runs, in order of `units`."""
    kept = load(partial) if partial.exists() else {"runs": [], "steps": []}
    if kept["steps"] != list(schedule(steps)):
        kept["runs"] = []
    done = {(r["setting"], r["arm"], r["seed"]): r for r in kept["runs"]}
    todo = [unit for unit in units if unit not in done]
    # Spawned, not forked: torch's threads do not survive a fork.
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), torch.set_num_threads, (1,))
    progress = tqdm(total=len(units), initial=len(done), unit="network", disable=None)
    try:
        futures = {pool.submit(run, *unit, steps): unit for unit in todo}
        for future in as_completed(futures):
            done[futures[future]] = future.result()
            _write(partial, done.values(), steps)
            progress.update()
    finally:
        progress.close()
        pool.shutdown(wait=False, cancel_futures=True)
    return [done[unit] for unit in units]


def _write(file, runs, steps):
    """Write the runs, and what they were made with."""
    head = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "torch": torch.__version__,
        },
        "machine": platform.machine(),
        "batch": BATCH,
        "steps": list(schedule(steps)),
        "settings": {name: asdict(setting) for name, setting in SETTINGS.items()},
    }
    write_records(file, head, "runs", runs)


def _parser():
    parser = argparse.ArgumentParser(prog="python -m batchnorm.experiments.figure1")
    parser.add_argument("--steps", type=int, default=STEPS, help="of each network")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="of each arm")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--output", type=Path, default=DATA_FILE, help="the data file")
    parser.add_argument("--table", action="store_true", help="print what there is")
    return parser


if __name__ == "__main__":
    sys.exit(main())
