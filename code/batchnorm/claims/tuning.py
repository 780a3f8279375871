"""How the arms of a comparison get their learning rate and initial scale.

Both arms get the same grid, the same seeds and the same budget, on sheets of digits
that nothing else reads. Chosen is the cell with the highest accuracy on the held-out
sheet, mean over the steps of the run and over the seeds. Grids go in steps of √10 for
rates and of √2 for scales, and no optimum lies on an edge. What every cell scored is
stored beside this file; `best` reads it.
"""

import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from tqdm import tqdm

from batchnorm import datasets
from batchnorm.claims.ledger import write
from batchnorm.claims.networks import Arm, Cnn, Mlp
from batchnorm.claims.protocol import TUNING_SEEDS
from batchnorm.ensemble import Adam, Only, Recorder, grid, init_parameters, train

FILE = Path(__file__).with_name("sweeps.json")


def rates(low, high):
    """Learning rates from 10^low to 10^high in steps of √10, two digits each."""
    return tuple(
        float(f"{10 ** (k / 2):.2g}")
        for k in range(round(2 * low), round(2 * high) + 1)
    )


def scales(low, high):
    """Initial scales from 2^low to 2^high in steps of √2, two digits each."""
    return tuple(
        float(f"{2 ** (k / 2):.2g}") for k in range(round(2 * low), round(2 * high) + 1)
    )


@dataclass(frozen=True)
class Sweep:
    """A grid that both arms of a comparison are tuned on."""

    net: Mlp | Cnn
    steps: int  # of each run
    rates: tuple
    scales: tuple
    arms: tuple = ((None, "before"), ("batch", "before"))  # norm and order of each
    options: tuple = ()  # pairs: those of `ensemble.train` that the comparison has


RANDOM = Mlp("relu", 3, 64)  # of which only a part learns


def random_features(optimizer):
    """The sweep of a normalized network that this optimizer trains, or a part of."""
    return Sweep(
        RANDOM,
        100,
        rates(-3, 0),
        (0.125, 0.25, 0.5, 1.0, 2.0, 4.0),
        arms=(("batch", "before"),),
        options=(("optimizer", optimizer),),
    )


def crossover(batch, lowest, highest):
    """The sweep of three norms that see 3200 images in mini-batches of one size."""
    return Sweep(
        Mlp("relu", 2, 32),
        3200 // batch,
        rates(lowest, highest),
        scales(-2, 1),
        arms=(("batch", "before"), ("layer", "before"), (("group", 4), "before")),
        options=(("batch", batch),),
    )


SWEEPS = {
    "sigmoid": Sweep(Mlp("sigmoid", 3, 50), 200, rates(-1, 1.5), scales(0, 3)),
    "tanh": Sweep(Mlp("tanh", 4, 50), 150, rates(-2, 0.5), scales(-2, 1.5)),
    "relu": Sweep(Mlp("relu", 6, 50), 150, rates(-2, 0.5), scales(-2, 1.5)),
    "narrow": Sweep(
        Mlp("relu", 5, 32),
        150,
        rates(-2, 0.5),
        scales(-2, 1.5),
        options=(("batch", 32),),
    ),
    "adam": Sweep(
        Mlp("relu", 3, 50),
        120,
        rates(-3.5, -0.5),
        scales(-2, 1.5),
        options=(("optimizer", Adam()),),
    ),
    "cnn": Sweep(
        Cnn(),
        60,
        rates(-2, 0.5),
        scales(-2, 1.5),
        arms=(
            (None, "before"),
            ("batch", "before"),
            ("batch", "after"),
            ("per-activation", "before"),
        ),
        options=(("batch", 32),),
    ),
    "batches of 2": Sweep(
        Mlp("relu", 2, 32),
        300,
        rates(-3, 0),
        scales(-4, 2),
        arms=(("batch", "before"), ("layer", "before")),
        options=(("batch", 2),),
    ),
    "batches of 32": Sweep(
        Mlp("relu", 2, 32),
        100,
        rates(-2, 0.5),
        scales(-2, 2),
        arms=(("batch", "before"), ("layer", "before")),
        options=(("batch", 32),),
    ),
    "crossover at 2": crossover(2, -2.5, -1),
    "crossover at 8": crossover(8, -2, -0.5),
    "crossover at 32": crossover(32, -1.5, 0),
    "noise": Sweep(
        Mlp("relu", 6, 50),
        60,
        rates(-2, 0.5),
        scales(-1, 1.5),
        arms=(
            (None, "before"),
            ("batch", "before"),
            (("noisy", 1.0), "before"),
            (("noisy", 4.0), "before"),
        ),
    ),
    "noise alone": Sweep(
        Mlp("relu", 6, 50),
        60,
        rates(-3, -0.5),
        scales(-0.5, 2.5),
        arms=(
            (None, "before"),
            (("shake", 1.0), "before"),
            (("shake", 1.0, True), "before"),
        ),
    ),
    "random features, all": random_features(Adam()),
    "random features, norms": random_features(Only("norms", RANDOM.network("batch"))),
    "random features, output": random_features(Only("output", RANDOM.network("batch"))),
}


def best(name, norm, order="before"):
    """The `Arm` of a comparison that the sweep of that name chose.

    Raises ValueError if no such arm was swept; `python -m batchnorm.claims --tune` does
    it.
    """
    for kept in _stored().get(name, {}).get("arms", []):
        if (kept["norm"], kept["order"]) == (norm, order):
            return Arm(norm, kept["rate"], kept["scale"], order)
    raise ValueError(
        f"name is {name!r}, norm {norm!r}, order {order!r}; {FILE.name} has no such "
        "sweep: run python -m batchnorm.claims --tune"
    )


def tuned(name, norm):
    """As `best`, of an arm whose norm may come with an option: ("group", 4)."""
    for kept in stored(name)["arms"]:
        # The file has a list where the sweep has a tuple.
        swept = kept["norm"]
        if (tuple(swept) if isinstance(swept, list) else swept) == norm:
            return Arm(norm, kept["rate"], kept["scale"], kept["order"])
    raise ValueError(f"norm is {norm!r}; {name!r} has no such arm")


def versus(sweep, first, second, **setting):
    """Fields of a claim that one tuned arm of a `Sweep` is more accurate than another.

    Controls are the same arm twice, but for the draw of weights, and a rival that is
    slowed down a hundredfold.
    """
    compared = {"first": first, "second": second, "net": sweep.net}
    given = {"steps": sweep.steps, **dict(sweep.options), **setting}
    return {
        "setting": compared | given,
        "negative": {"second": first._replace(draw=1)},
        "positive": {"second": second._replace(rate=second.rate / 100)},
    }


def stored(name):
    """A sweep as it is kept: its grid, seeds and budget, and what each arm scored."""
    return _stored()[name]


def chosen(scores, rates, scales):
    """Rate and scale of the highest score -> (rate, scale, whether it is on an edge).

    The scores have the shape (rates, scales).
    """
    at = np.unravel_index(np.argmax(scores), np.shape(scores))
    edge = any(i in (0, n - 1) for i, n in zip(at, np.shape(scores), strict=True))
    return rates[at[0]], scales[at[1]], edge


def sweep_arm(name, norm, order):
    """Train one arm over its grid -> what is stored of it."""
    sweep = SWEEPS[name]
    seeds, lr, scale = grid(TUNING_SEEDS, sweep.rates, sweep.scales)
    network = sweep.net.network(norm, order)
    run = train(
        network,
        datasets.digits_to_tune,
        seeds,
        lr=lr,
        theta=init_parameters(network, seeds, scale),
        steps=sweep.steps,
        recorder=Recorder(every=5),
        **dict(sweep.options),
    )
    shape = len(TUNING_SEEDS), len(sweep.rates), len(sweep.scales)
    scores = run.accuracy[:, 1:].mean(axis=1).reshape(shape).mean(axis=0)
    rate, scale, edge = chosen(scores, sweep.rates, sweep.scales)
    return {
        "norm": norm,
        "order": order,
        "rate": rate,
        "scale": scale,
        "edge": edge,
        "scores": scores.round(4).tolist(),
    }


def main(names, jobs):
    """Redo the sweeps of these names, or all, and store them -> exit status 0.

    Raises ValueError if there is no sweep of a name.
    """
    if unknown := set(names) - set(SWEEPS):
        raise ValueError(
            f"sweep is {sorted(unknown)[0]!r}; allowed are {', '.join(SWEEPS)}"
        )
    todo = [(n, *arm) for n in names or SWEEPS for arm in SWEEPS[n].arms]
    runs = Parallel(n_jobs=jobs, return_as="generator")(
        delayed(sweep_arm)(*arm) for arm in todo
    )
    stored = _stored() | {
        name: {"seeds": TUNING_SEEDS, **asdict(SWEEPS[name]), "arms": []}
        for name in names or SWEEPS
    }
    for (name, *_), kept in zip(todo, tqdm(runs, total=len(todo)), strict=True):
        stored[name]["arms"].append(kept)
        print(name, {k: kept[k] for k in ("norm", "order", "rate", "scale", "edge")})
    write(FILE, json.dumps(stored, indent=1) + "\n")
    _stored.cache_clear()
    return 0


@cache
def _stored():
    return json.loads(FILE.read_text("utf-8")) if FILE.exists() else {}
