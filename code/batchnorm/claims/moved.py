"""What was changed in claims after they had first been written down.

`MOVED` lists every bar, network, budget and measure that was changed, read from the
history of this folder; `RETESTED` what did not hold on new seeds; `DROPPED` the claims
that are no longer registered; `NOTED` what a statement says too strongly, as was seen
when it had been confirmed. The page of evidence prints all four. Whoever changes a
claim adds a line to `moved.json`, or to `dropped.json`.
"""

import json
from pathlib import Path
from typing import NamedTuple


class Move(NamedTuple):
    """One change of a claim: when, in which commit, from what, to what, and why."""

    id: str
    date: str
    commit: str
    before: str
    after: str
    why: str


class Retest(NamedTuple):
    """How often a claim held on seeds that neither a chapter nor a record had used."""

    id: str
    seeds: str
    held: int
    of: int


def _read(name):
    return json.loads(Path(__file__).with_name(name).read_text("utf-8"))


MOVED = tuple(Move(**line) for line in _read("moved.json"))
DROPPED = _read("dropped.json")  # id -> when and why

# A statement is part of what seeds are drawn from, so it stands, and this beside it.
NOTED = dict.fromkeys(
    ("noise-alone-reads-noisy-labels", "ghosts-against-their-noise"),
    "The arm keeps the forward pass of ghosts, and their noise is one part of it: see "
    "{ref}`what is open <ch-noise-alone>`.",
)

# Of 2026-11-26, with the claims as they stood at commit 9c2fa25. All ask for all seeds.
REVIEW = "59 seeds of a review, which did not say which"
RETESTED = (
    Retest("importance-weights-repair", REVIEW, 57, 59),
    Retest("importance-weights-repair", "seeds 2000 to 2058", 59, 59),
    Retest("importance-weights-repair", "seeds 4000 to 4058", 57, 59),
    Retest("saturating-nonlinearities-train", REVIEW, 57, 59),
    Retest("saturating-nonlinearities-train", "seeds 2000 to 2058", 57, 59),
    Retest("saturating-nonlinearities-train", "seeds 4000 to 4058", 58, 59),
    Retest("scales-that-train", REVIEW, 58, 59),
    Retest("scales-that-train", "seeds 2000 to 2058", 57, 59),
    Retest("scales-that-train", "seeds 4000 to 4058", 57, 59),
)
