"""The three kinds of statement, and what a run of one says.

- An **identity** follows from algebra. It has a derivation and a test, no seeds.
- A **prediction** is a number that theory gives, beside the number that was measured,
  over a range of a variable.
- An **experiment** is an effect, one number a seed, beside the smallest effect that
  would be of interest.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np

from batchnorm import _checks
from batchnorm.claims import estimates
from batchnorm.claims.estimates import Estimate
from batchnorm.claims.fingerprint import digest, reached

SUPPORTED, OPPOSED, UNDECIDED = "supported", "opposed", "undecided"
VERDICTS = SUPPORTED, OPPOSED, UNDECIDED


@dataclass(frozen=True)
class Region:
    """Where a claim says that a quantity lies: above, below or within bounds."""

    low: float = -math.inf  # an infinite bound is none
    high: float = math.inf

    def __post_init__(self):
        _checks.bounded(self.low, self.high)
        if not self.low < self.high:
            raise ValueError(
                f"low is {self.low}, high {self.high}; allowed is low < high"
            )

    def verdict(self, estimate):
        """ "supported", "opposed" or "undecided", from an `Estimate` with its interval.

        Supported if the whole interval lies in the region, opposed if none of it does.
        With two finite bounds this is the equivalence test of two one-sided tests.
        """
        _, low, high = estimate
        # An open end of the interval lies within where the region has no bound.
        inside = (
            math.isinf(self.low) or self.low < low,
            math.isinf(self.high) or high < self.high,
        )
        outside = (
            math.isfinite(self.low) and high <= self.low,
            math.isfinite(self.high) and self.high <= low,
        )
        return SUPPORTED if all(inside) else OPPOSED if any(outside) else UNDECIDED

    @property
    def level(self):
        """Coverage of the interval that is asked: 95 %, or 90 % for an equivalence.

        Each one-sided test of an equivalence has 5 %, which is an interval of 90 %.
        """
        return 0.90 if len(self.bounds) == 2 else estimates.LEVEL

    @property
    def bounds(self):
        """The finite bounds, in order."""
        return tuple(b for b in (self.low, self.high) if math.isfinite(b))

    def __str__(self):
        if len(self.bounds) == 2:
            said = f"between {self.low:.4g} and {self.high:.4g}"
        elif math.isinf(self.high):
            said = f"> {self.low:.4g}"
        else:
            said = f"< {self.high:.4g}"
        return said.replace("-", "−")


def above(low):
    """The region beyond a smallest effect of interest."""
    return Region(low=low)


def below(high):
    """The region under a bound."""
    return Region(high=high)


def within(low, high):
    """The region between two bounds: an equivalence."""
    return Region(low, high)


class Identity(NamedTuple):
    """A statement that follows from algebra, and the test that checks it."""

    id: str
    statement: str  # one sentence
    source: str  # keys of references.bib with their places
    test: str  # on random input: "tests/unit/test_reference.py::test_rank"
    chapter: str  # that derives it, by the name of its module of claims


ESTIMATORS = {
    "median": estimates.median,
    "share": estimates.share,
    "mean": estimates.mean,
}


@dataclass(frozen=True)
class Experiment:
    """A question put to trained or drawn networks, and the answer that was asked for.

    ``measure(seeds, **setting)`` returns an effect a seed: numbers (S,), ends (S, 2)
    between which each lies, or booleans (S,) for a share.
    """

    id: str
    statement: str  # one sentence, in wording that holds if it is supported
    source: str  # keys of references.bib with places: "he2015delving, section 2.2"
    effect: str  # what it is, with its unit, in words
    region: Region  # the effects of interest: of a median, a mean, or a share of seeds
    measure: Callable
    setting: dict = field(default_factory=dict)
    # What differs where the effect is absent, and where it is planted: the first must
    # not be supported, the second must. Tests run both.
    negative: dict | None = None
    positive: dict | None = None
    # Where methods are compared, what lets a perfect one compete: what the claim says
    # must then be opposed, or it could not fail.
    oracle: dict | None = None
    seeds: int = 59  # of a confirmation
    estimator: str = "median"  # or "share" or "mean"
    shared: float = 0.0  # of a mean: test over training images, where seeds share them
    scale: str = "linear"  # of figures, or "log"
    # What somebody wrote, in at most 25 words, and where; or the question.
    claimed: str | None = None
    claimed_by: str | None = None
    question: str | None = None

    kind = "experiment"

    def run(self, seeds, **changed):
        """Measure on the given seeds, the setting as it is or changed -> `Result`.

        Raises ValueError if the measure does not return an effect a seed.
        """
        seeds = tuple(int(seed) for seed in seeds)
        effects = np.asarray(self.measure(seeds, **{**self.setting, **changed}))
        if effects.shape not in ((len(seeds),), (len(seeds), 2)):
            raise ValueError(
                f"{self.id!r} measured effects of shape {effects.shape}; allowed is "
                f"one a seed, ({len(seeds)},) or ({len(seeds)}, 2)"
            )
        return Result(self, seeds, effects.astype(np.float64))

    @property
    def estimate(self):
        """Function of the effects to their `Estimate`."""
        options = {"level": self.region.level}
        if self.estimator == "mean":
            options["shared"] = self.shared
        return partial(ESTIMATORS[self.estimator], **options)

    def judge(self, effects):
        """Estimate and verdict of effects -> (Estimate, str)."""
        estimate = self.estimate(effects)
        return estimate, self.region.verdict(estimate)

    @property
    def asked(self):
        """What was asked, in words: the smallest effect of interest."""
        return f"{self.estimator} {self.region}"

    @cached_property
    def fingerprint(self):
        """Hash of the statement, the bar, the setting and all code that is reached."""
        return _fingerprint(self, (self.region, self.estimator, self.shared))


@dataclass(frozen=True)
class Prediction:
    """A number from theory beside the measured one, over a range of a variable.

    ``measure(seeds, **setting)`` returns what is predicted, (P,), and what was
    measured, (S, P). What is not said here is as in `Experiment`.
    """

    id: str
    statement: str
    source: str
    effect: str  # what is predicted and measured
    over: str  # the variable, a key of the setting that lists its values
    tolerance: float  # relative deviation from the predicted that is allowed
    measure: Callable
    setting: dict = field(default_factory=dict)
    seeds: int = 59
    scale: str = "linear"
    claimed: str | None = None
    claimed_by: str | None = None
    question: str | None = None

    kind = "prediction"

    def run(self, seeds, **changed):
        """Measure on the given seeds -> `Result`, whose effects are measured/predicted.

        Raises ValueError if the shapes do not fit the values of the variable.
        """
        seeds = tuple(int(seed) for seed in seeds)
        setting = {**self.setting, **changed}
        predicted, measured = map(np.asarray, self.measure(seeds, **setting))
        expected = (len(seeds), len(setting[self.over]))
        if measured.shape != expected or predicted.shape != expected[1:]:
            raise ValueError(
                f"{self.id!r} measured {measured.shape} and predicted "
                f"{predicted.shape}; allowed are {expected} and {expected[1:]}"
            )
        return Result(self, seeds, measured / predicted, predicted)

    @property
    def region(self):
        """Where measured over predicted has to lie, at every value of the variable."""
        return within(1 - self.tolerance, 1 + self.tolerance)

    def judge(self, effects):
        """The point furthest from 1, and the verdict on all -> (Estimate, str).

        The intervals are Student's, at a level that holds for all points together
        (Bonferroni).
        """
        effects = np.asarray(effects, dtype=np.float64)
        level = 1 - (1 - self.region.level) / effects.shape[1]
        points = [estimates.mean(column, level=level) for column in effects.T]
        verdicts = [self.region.verdict(point) for point in points]
        worst = max(points, key=lambda point: abs(point.value - 1))
        for verdict in (OPPOSED, UNDECIDED):
            if verdict in verdicts:
                return worst, verdict
        return worst, SUPPORTED

    @property
    def asked(self):
        """What was asked, in words."""
        return f"{self.region} at every value of {self.over}"

    @cached_property
    def fingerprint(self):
        """Hash of the statement, the bar, the setting and all code that is reached."""
        return _fingerprint(self, (self.tolerance, self.over))


@dataclass(frozen=True)
class Result:
    """A claim, run."""

    claim: Experiment | Prediction
    seeds: tuple
    effects: np.ndarray  # measured, (S,) or (S, 2), or measured over predicted, (S, P)
    predicted: np.ndarray | None = None  # (P,)

    @cached_property
    def judged(self):
        """Estimate and verdict."""
        return self.claim.judge(self.effects)

    @property
    def estimate(self) -> Estimate:
        """The estimate with its interval."""
        return self.judged[0]

    @property
    def verdict(self):
        """ "supported", "opposed" or "undecided"."""
        return self.judged[1]

    @property
    def detectable(self):
        """The effect that as many seeds would have found; NaN where none is asked.

        It is that of a claim with one bound; see `estimates.detectable`.
        """
        claim = self.claim
        if claim.kind != "experiment" or len(claim.region.bounds) != 1:
            return math.nan
        if claim.estimator == "share":
            return math.nan
        sign = 1 if math.isfinite(claim.region.low) else -1
        found = estimates.detectable(
            _times(sign, self.effects), claim.estimate, sign * claim.region.bounds[0]
        )
        return sign * found


def _times(sign, effects):
    return (
        effects if sign > 0 else -effects[..., ::-1] if effects.ndim == 2 else -effects
    )


def _fingerprint(claim, bar):
    function = claim.measure
    setting = repr(sorted(claim.setting.items()))
    words = re.findall(r"'([^']*)'", setting)
    code = reached(function.__module__, function.__qualname__, words)
    definition = [
        claim.kind,
        " ".join(claim.statement.split()),
        claim.effect,
        repr(bar),
        repr(claim.seeds),
        setting,
    ]
    return digest(*definition, *sorted(code.values()))
