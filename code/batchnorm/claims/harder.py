"""Three harder readings of what was confirmed: at once, other images, all draws.

The verdict of an experiment rests on an interval of its own. Three questions are then
open. Of many intervals some miss by chance: would the verdict stand with intervals that
hold all together? All seeds read the same 1028 digits: would it stand for others? The
interval of a mean accuracy counts that already, those of medians and shares do not. And
where code was changed, seeds were drawn anew: does the verdict stand on all of them, or
did a claim profit from a second try?
"""

import numpy as np

from batchnorm.claims import estimates, ledger
from batchnorm.claims.fingerprint import reached
from batchnorm.claims.networks import SHARED
from batchnorm.claims.types import ESTIMATORS


def at_once(claim, kept, count):
    """Verdict with intervals that cover in all of ``count`` experiments together.

    Each misses with a probability that is ``count`` times smaller (Bonferroni).
    """
    options = {"shared": claim.shared} if claim.estimator == "mean" else {}
    level = 1 - (1 - claim.region.level) / count
    effects = ledger.number(kept["effects"])
    estimate = ESTIMATORS[claim.estimator](effects, level=level, **options)
    return claim.region.verdict(estimate)


def other_images(claim, kept):
    """Verdict with an interval that is widened as those of mean accuracies are.

    Of a median it is the mean's, on the claim's scale; a run that had not arrived
    counts as its budget. None where the seeds read no digits, or it is widened already.
    """
    counted = claim.estimator == "mean" and claim.shared > 0
    if counted or not _reads_digits(claim):
        return None
    effects = ledger.number(kept["effects"])
    if effects.ndim == 2:
        effects = effects[:, int(np.isinf(claim.region.low))]
    logs = claim.scale == "log" and effects.min() > 0
    to, back = (np.log, np.exp) if logs else (np.asarray, np.asarray)
    widened = estimates.mean(to(effects), shared=SHARED, level=claim.region.level)
    return claim.region.verdict(estimates.Estimate(*map(float, back(widened))))


def all_draws(claim, kept, earlier):
    """Verdict on the seeds of all draws; None where there was one only."""
    effects = drawn(kept, earlier)
    return None if effects is None else claim.judge(effects)[1]


def drawn(kept, earlier):
    """Effects of this confirmation and of the ``earlier`` ones that asked the same.

    None if there are none of these.
    """
    asks = ("statement", "effect", "asked")
    same = [old for old in earlier if all(old[name] == kept[name] for name in asks)]
    effects = [ledger.number(record["effects"]) for record in (*same, kept)]
    return np.concatenate(effects) if same else None


def _reads_digits(claim):
    code = reached(claim.measure.__module__, claim.measure.__qualname__)
    return any(name.startswith("batchnorm.datasets.") for name in code)
