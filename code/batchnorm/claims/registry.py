"""The registry: what a claim is, how it is run, shown and recorded.

A claim is an empirical statement with a number behind it: a function that turns
seeds into one effect a seed, a condition on that effect, and the share of seeds
in which the condition has to hold.
"""

import hashlib
import inspect
import json
import math
import re
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from batchnorm._records import read_records

# Settings are chosen on the first, chapters show the second, the record is made on the
# third. A seed draws a split of the digits, initial weights and batches: the sets share
# no seed, and they share images. The third were 1000 to 1019 until bars had moved after
# those had been seen (`batchnorm.claims.moved`).
TUNING_SEEDS = tuple(range(100, 110))
CHAPTER_SEEDS = tuple(range(20))
FRESH_SEEDS = tuple(range(3000, 3020))


@dataclass(frozen=True)
class Condition:
    """An interval that an effect has to lie in; prints itself.

    low, high: the bounds; closed: whether the bounds themselves are allowed.
    Neither NaN nor infinity lies in an open interval: an effect that could not be
    measured fails.
    """

    low: float = -math.inf
    high: float = math.inf
    closed: bool = False

    def __call__(self, effects):
        effects = np.asarray(effects, dtype=np.float64)
        if self.closed:
            return (self.low <= effects) & (effects <= self.high)
        return (self.low < effects) & (effects < self.high)

    def __str__(self):
        if self.low == self.high:
            return f"= {self.low:.4g}"
        if math.isinf(self.low):
            return f"{'≤' if self.closed else '<'} {self.high:.4g}"
        if math.isinf(self.high):
            return f"{'≥' if self.closed else '>'} {self.low:.4g}"
        return f"between {self.low:.4g} and {self.high:.4g}"

    @property
    def thresholds(self):
        """The finite bounds, in order."""
        return tuple(sorted({t for t in (self.low, self.high) if math.isfinite(t)}))


def above(low):
    """Condition: effect > low."""
    return Condition(low=low)


def below(high):
    """Condition: effect < high."""
    return Condition(high=high)


def between(low, high):
    """Condition: low < effect < high."""
    return Condition(low=low, high=high)


def exactly(value):
    """Condition: effect = value, for effects that are counts."""
    return Condition(low=value, high=value, closed=True)


@dataclass(frozen=True)
class Claim:
    """A checked empirical statement.

    id: its name; statement: one sentence, in wording that holds; source: where
    it goes back to, keys of references.bib, each with its place: "ioffe2015batch,
    section 3.3; he2015delving, section 2.2"; measure: function
    ``(seeds, **setting)`` -> one effect a seed; setting: the numbers behind it;
    effect: what the effect is, in words; condition: what an effect has to satisfy;
    share: of the seeds that must satisfy it, in (0, 1]; claimed: what somebody wrote
    that the claim answers, word
    for word, in at most 25 words; claimed_by: where it stands, in the form of source;
    question: what the claim answers, where there is nobody to quote; scale: "linear"
    or "log", for the figure;
    floor: effects below it are rounding error, which differs from one processor
    to the next, and are reported as the floor; tuning: for a comparison, function
    ``(seeds, **setting)`` -> the entries of the setting that a sweep over its grid
    chooses, the same way for both arms.
    """

    id: str
    statement: str
    source: str
    measure: Callable
    setting: dict
    effect: str
    condition: Condition
    share: float = 1.0
    claimed: str | None = None
    claimed_by: str | None = None
    question: str | None = None
    scale: str = "linear"
    floor: float | None = None
    tuning: Callable | None = None

    @cached_property
    def fingerprint(self):
        """Short hash of what decides the outcome, definition, setting and source.

        The source is that of the measure and of every function of this package's
        claims that it calls, so a record made before a change is seen to be old.
        """
        definition = [
            (self.id, self.statement, self.source, self.effect),
            (self.claimed, self.claimed_by, self.question),
            (str(self.condition), self.share, self.floor),
            sorted(self.setting.items()),
            [inspect.getsource(f) for f in _called(self.measure)],
        ]
        return hashlib.sha256(repr(definition).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Result:
    """A claim, run: seeds, one effect a seed, and the seconds it took."""

    claim: Claim
    seeds: tuple
    effects: np.ndarray
    seconds: float

    @property
    def held(self):
        """Number of seeds in which the condition holds."""
        return int(np.sum(self.claim.condition(self.effects)))

    @property
    def needed(self):
        """Number of seeds in which it has to hold."""
        return math.ceil(self.claim.share * len(self.seeds) - 1e-9)

    @property
    def holds(self):
        """Whether the claim holds."""
        return self.held >= self.needed

    @property
    def verdict(self):
        """The sentences and counts that a chapter prints, without measured digits."""
        claim = self.claim
        said = [("Claim", claim.statement)]
        if claim.claimed is not None:
            said = [("Written", f"“{claim.claimed}”"), ("Measured", claim.statement)]
        elif claim.question is not None:
            said = [("Question", claim.question), ("Measured", claim.statement)]
        asked = "" if self.needed == len(self.seeds) else f" ({self.needed} asked)"
        outcome = (
            f"{claim.effect} {claim.condition} "
            f"in {self.held} of {len(self.seeds)} seeds{asked}"
        )
        if not self.holds:
            outcome = f"DOES NOT HOLD: {outcome}"
        said.append(("Verdict", outcome))
        return "\n".join(_paragraph(*line) for line in said)


_registry = {}


def claim(**fields):
    """Register the decorated function as the measure of a claim.

    fields: those of `Claim`, without measure. The function takes the seeds and,
    by keyword, exactly the setting; it is returned as it is.
    Raises ValueError if the id is taken, the share is not in (0, 1], the scale
    unknown, a quotation too long or without its place, or the setting does not fit the
    function.
    """

    def register(measure):
        entry = Claim(measure=measure, **fields)
        if entry.id in _registry:
            raise ValueError(f"id is {entry.id!r}, which is taken; ids are unique")
        if not 0 < entry.share <= 1:
            raise ValueError(f"share is {entry.share!r}; allowed is more than 0 to 1")
        if entry.scale not in ("linear", "log"):
            raise ValueError(f"scale is {entry.scale!r}; allowed are linear and log")
        if (entry.claimed is None) != (entry.claimed_by is None):
            raise ValueError(
                f"claimed of {entry.id!r} needs claimed_by, and the other way round"
            )
        if entry.claimed is not None and len(entry.claimed.split()) > 25:
            raise ValueError(
                f"claimed of {entry.id!r} has {len(entry.claimed.split())} words; "
                "allowed are 25 at most"
            )
        try:
            inspect.signature(measure).bind((), **entry.setting)
        except TypeError as error:
            raise ValueError(
                f"setting of {entry.id!r} does not fit its function: {error}"
            ) from error
        _registry[entry.id] = entry
        return measure

    return register


_REFERENCE = re.compile(r"([a-z]+\d{4}\w+), (\S.*)")


def references(source):
    """What a source, or a claimed_by, refers to.

    Parameters
    ----------
    source : str
        "key, place" for each work, with "; " between them, where a key is one of
        references.bib: "ioffe2015batch, section 3.3; he2015delving, section 2.2".

    Returns
    -------
    list of (str, str)
        Key and place of each work.

    Raises
    ------
    ValueError
        If a part is not of that form.
    """
    found = []
    for part in source.split("; "):
        match = _REFERENCE.fullmatch(part)
        if match is None:
            raise ValueError(
                f"source has the part {part!r}; "
                'allowed is "key, place", with "; " between works'
            )
        found.append((match[1], match[2]))
    return found


def claims():
    """All registered claims, in the order of the book."""
    return tuple(_registry.values())


def get(id):
    """The claim of that id.

    Raises ValueError, with the ids there are, if there is none.
    """
    if id not in _registry:
        raise ValueError(f"id is {id!r}; allowed are {', '.join(_registry)}")
    return _registry[id]


def run(id, seeds=CHAPTER_SEEDS):
    """Run a claim: its id and the seeds -> `Result`.

    Raises ValueError if there is no such claim or no seed, or if the claim's
    function does not return one number a seed.
    """
    entry = get(id)
    seeds = tuple(int(seed) for seed in seeds)
    if not seeds:
        raise ValueError("seeds is empty; allowed is one seed or more")
    start = time.perf_counter()
    effects = np.asarray(entry.measure(seeds, **entry.setting), dtype=np.float64)
    seconds = time.perf_counter() - start
    if effects.shape != (len(seeds),):
        raise ValueError(
            f"{id!r} measured effects of shape {effects.shape}; "
            f"allowed is one a seed, ({len(seeds)},)"
        )
    if entry.floor is not None:
        effects = np.maximum(effects, entry.floor)
    return Result(entry, seeds, effects, seconds)


def tune(id, seeds=TUNING_SEEDS):
    """Choose the settings of a comparison anew -> (chosen, registered), two dicts.

    Raises ValueError if there is no such claim, or nothing to choose in it.
    """
    entry = get(id)
    if entry.tuning is None:
        raise ValueError(f"id is {id!r}, a claim in which nothing is tuned")
    chosen = entry.tuning(tuple(seeds), **entry.setting)
    return chosen, {name: entry.setting[name] for name in chosen}


def show(id, seeds=CHAPTER_SEEDS):
    """Run a claim, draw every seed's effect, and print the verdict."""
    # Imported here so that running claims needs no graphics.
    from batchnorm import figures

    result = run(id, seeds)
    entry = result.claim
    figures.claim_plot(
        result.effects,
        entry.condition(result.effects),
        entry.effect,
        asked=str(entry.condition),
        thresholds=entry.condition.thresholds,
        scale=entry.scale,
    )
    print(result.verdict)


def record(result):
    """What is kept of a result in the data file, as plain JSON values."""
    entry = result.claim
    return {
        "id": entry.id,
        "statement": entry.statement,
        "claimed": entry.claimed,
        "claimed_by": entry.claimed_by,
        "question": entry.question,
        "source": entry.source,
        "setting": json.loads(json.dumps(entry.setting)),
        "effect": entry.effect,
        "condition": str(entry.condition),
        "seeds": list(result.seeds),
        "effects": [_rounded(effect) for effect in result.effects],
        "held": result.held,
        "needed": result.needed,
        "holds": result.holds,
        "seconds": round(result.seconds, 1),
        "fingerprint": entry.fingerprint,
    }


def load(file):
    """The data file that `python -m batchnorm.claims` wrote, as a dict.

    Raises ValueError if the file is not there, or is not such a file.
    """
    return read_records(file, "claims")


def stale(records):
    """Ids of the claims whose record is missing, or older than their definition.

    records: the "claims" of the data file.
    """
    recorded = {r["id"]: r["fingerprint"] for r in records}
    return [c.id for c in claims() if recorded.get(c.id) != c.fingerprint]


def _rounded(effect):
    """Six significant digits; None for what JSON has no number for.

    So many that rounding carries no effect over a bound of three digits.
    """
    return float(f"{effect:.6g}") if math.isfinite(effect) else None


def _called(function):
    """The function and all functions of the claims modules that it calls, by name."""
    found = {}
    todo = [function]
    while todo:
        f = todo.pop()
        name = (f.__module__, f.__qualname__)
        if name in found:
            continue
        found[name] = f
        names = _names(f.__code__)
        used = [f.__globals__.get(name) for name in names]
        for module in filter(inspect.ismodule, used.copy()):
            used += [getattr(module, name, None) for name in names]
        used = [inspect.unwrap(g) for g in used if callable(g)]  # from their caches
        todo += [
            g
            for g in used
            if inspect.isfunction(g) and g.__module__.startswith(__package__)
        ]
    return [found[name] for name in sorted(found)]


def _names(code):
    """All names that a piece of code uses, those of its inner functions included."""
    inner = [const for const in code.co_consts if inspect.iscode(const)]
    return set(code.co_names).union(*(_names(c) for c in inner))


def _paragraph(label, text):
    """The text behind its label, wrapped to the width of a page."""
    return textwrap.fill(
        f"{label + ':':12}{text}", width=80, subsequent_indent=" " * 12
    )
