"""Recorded runs: what is measured, at which settings, on which seeds, and its file.

A `Recorded` run has cells, one for each setting, and each cell is measured on blocks of
seeds: these are its tasks. Nothing that a task returns depends on another, so they run
in any order, anywhere. The result file holds the record of each, in the order of the
cells, with the versions and the machine that made it.

The seeds of a run are drawn from its fingerprint, a hash over its settings, what is
asked of it and the code that it reaches: as for claims, whoever changes one of these
gets new seeds. Only where fingerprints themselves come to cover less is a file carried
over: see `Recorded.origin`.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import NamedTuple

import numpy as np
import torch

from batchnorm import _checks
from batchnorm._records import Partial, circumstances, read_records, write_records
from batchnorm.claims.fingerprint import digest, reached
from batchnorm.claims.protocol import confirmation_seeds
from batchnorm.experiments.findings import Finding, effects_of

FOLDER = Path(__file__).with_name("results")
# Why the hash changed; code that it no longer covers; former names of moved code.
CARRIED = json.loads(Path(__file__).with_name("carried.json").read_text("utf-8"))
DEVICES = ("auto", "cpu", "cuda")


class Cell(NamedTuple):
    """A setting of a run, and on how many of its seeds it is measured; None for all."""

    setting: dict
    seeds: int | None = None


class Drawing(NamedTuple):
    """What seeds are drawn for; see `claims.protocol.confirmation_seeds`."""

    fingerprint: str
    seeds: int


@dataclass(frozen=True)
class Recorded:
    """A run whose results are kept in a file."""

    name: str  # of the run and of its file
    about: str  # a sentence
    # ``measure(seeds, device, **setting)`` -> arrays by name, an entry for each seed.
    measure: Callable
    # From the folder of result files to the cells by name; those of a run that needs
    # others read their files.
    cells: Callable
    seeds: int | tuple = 30  # how many are drawn; where settings are chosen, which
    block: int = 5  # seeds of a task
    needs: tuple[str, ...] = ()  # names of the runs that have to be there before
    findings: tuple[Finding, ...] = ()  # what is asked of the results
    gpu: bool = False  # whether ``measure`` makes use of one

    def __post_init__(self):
        _checks.count("block", self.block)

    def file(self, folder=FOLDER):
        """Its result file."""
        return Path(folder) / f"{self.name}.json"

    def fingerprint(self, folder=FOLDER):
        """Hash of the settings, of what is asked and of all code that is reached."""
        return self._fingerprints(folder)[0]

    def _fingerprints(self, folder):
        """Two hashes of the definition: as it is taken now, and as before 2026-11-27.

        The old one also covered ``CARRIED["sources"]``, and sorted code by its full
        names, those that it had then.
        """
        functions = [self.measure]
        functions += [effects_of(finding) for finding in self.findings]
        cells = sorted(self.cells(folder).items())
        code = {}
        for f in functions:
            code |= reached(f.__module__, f.__qualname__, _strings(cells))
        definition = [self.name, repr(cells), repr(self.findings), repr(self.seeds)]
        # Every text that is reached is among them, so nothing can hide its change.
        before = [(CARRIED["names"].get(n, n), text) for n, text in code.items()]
        before += CARRIED["sources"].items()
        orders = sorted(code.values()), [text for _, text in sorted(before)]
        return [digest(*definition, *texts) for texts in orders]

    def origin(self, folder=FOLDER):
        """The hash that its file has to have, and that its seeds are drawn from.

        The old one if the file was made under it and nothing but ``CARRIED`` has
        changed since, else the present one.
        """
        now, before = self._fingerprints(folder)
        return before if self._kept(folder) == before else now

    def carried(self, folder=FOLDER):
        """Whether its file has a fingerprint from before; see `origin`."""
        if (kept := self._kept(folder)) is None:
            return False
        now, before = self._fingerprints(folder)
        return kept == before != now

    def _kept(self, folder):
        """The fingerprint in its file, or None."""
        try:
            return self.load(folder)["fingerprint"]
        except ValueError:
            return None

    def drawn(self, folder=FOLDER):
        """The seeds -> tuple of int."""
        if isinstance(self.seeds, tuple):
            return self.seeds
        return confirmation_seeds(Drawing(self.origin(folder), self.seeds))

    def tasks(self, folder=FOLDER):
        """All tasks -> list of (cell, block of seeds).

        A `ValueError` says that a cell is to have more seeds than are drawn, or none.
        """
        seeds, tasks = self.drawn(folder), []
        for name, cell in self.cells(folder).items():
            size = len(seeds)
            if cell.seeds is not None:
                size = _checks.count(f"seeds of {name}", cell.seeds, most=size)
            mine = seeds[:size]
            tasks += [
                (name, mine[at : at + self.block]) for at in range(0, size, self.block)
            ]
        return tasks

    def partial(self, folder=FOLDER):
        """What of it is finished, where it is not whole -> `Partial`."""
        return Partial(Path(folder) / f".{self.name}.partial")

    def whole(self, folder=FOLDER):
        """Whether its file is there, and made by the definition as it stands."""
        kept = self._kept(folder)
        return kept is not None and kept in self._fingerprints(folder)

    def load(self, folder=FOLDER):
        """The result file -> dict; its "records" are in the order of `tasks`.

        A `ValueError` says that there is none, or that it is not whole.
        """
        return read_records(self.file(folder), "records")

    def write(self, records, folder=FOLDER):
        """Write the result file, whole."""
        cells = self.cells(folder)
        head = {
            "name": self.name,
            "about": self.about,
            "fingerprint": self.origin(folder),
            "settings": {name: _plain(cell.setting) for name, cell in cells.items()},
        }
        write_records(self.file(folder), head, "records", records)


def carry_out(name, measure, cell, setting, seeds, device):
    """What a worker does: one task of a run -> its record.

    The device is one of ``DEVICES``; "auto" is a GPU where torch finds one.
    """
    _checks.one_of("device", device, DEVICES)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    on_gpu = device == "cuda"
    clock = perf_counter if on_gpu else process_time  # of a core, whatever else runs
    start = clock()
    found = measure(seeds, device, **setting)
    return {
        "cell": cell,
        "seeds": [int(seed) for seed in seeds],
        **{key: np.asarray(values).tolist() for key, values in found.items()},
        "seconds": round(clock() - start, 1),
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        **circumstances(),
    }


def values(data, cell, key):
    """What was measured in a cell, seeds in order -> array, (S, ...).

    data is what ``Recorded.load`` returns; a `ValueError` says that it has no such
    cell, or nothing of that name in it.
    """
    known = dict.fromkeys(record["cell"] for record in data["records"])
    _checks.one_of("cell", cell, tuple(known))
    records = [r for r in data["records"] if r["cell"] == cell]
    _checks.one_of("key", key, tuple(records[0]))
    return np.array([row for record in records for row in record[key]])


def _plain(setting):
    """The setting as JSON keeps it, with words for what JSON does not know."""
    return json.loads(json.dumps(setting, default=str))


def _strings(cells):
    """Strings in settings: for what tables are looked up."""
    words, todo = set(), [cells]
    while todo:
        value = todo.pop()
        if isinstance(value, str):
            words.add(value)
        elif isinstance(value, dict):
            todo += [*value, *value.values()]
        elif isinstance(value, tuple | list):
            todo += value
    return words
