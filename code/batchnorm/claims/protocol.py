"""Which seeds a claim is tuned on, shown on and confirmed on.

No seed and no image serves two purposes. Settings are chosen on the tuning seeds and
on sheets of digits that no other seed reads (`datasets.digits`). Chapters run a claim
on twenty seeds for all to watch. What counts is the confirmation: its seeds are drawn
from the claim's fingerprint, so whoever changes a bar, a network or a line of the code
behind it gets new ones.
"""

import numpy as np

TUNING_SEEDS = tuple(range(100, 110))
CHAPTER_SEEDS = tuple(range(20))

FIRST, LAST = 10_000, 2**31  # where confirmations draw from

# The verdicts that are asked of controls. A claim that holds where its effect is
# absent, or that does not where the effect is planted, says nothing; nor does one that
# a perfect competitor cannot turn.
ASKED = {
    "negative": {"opposed", "undecided"},
    "positive": {"supported"},
    "oracle": {"opposed"},
}


def confirmation_seeds(claim):
    """The seeds that confirm a claim as it now is.

    Parameters
    ----------
    claim : Experiment or Prediction

    Returns
    -------
    tuple of int
        ``claim.seeds`` distinct ones, sorted.
    """
    rng = np.random.default_rng(int(claim.fingerprint, 16))
    drawn = rng.choice(LAST - FIRST, size=claim.seeds, replace=False) + FIRST
    return tuple(sorted(int(seed) for seed in drawn))


def explored(seeds):
    """Seeds that a reader asks for, checked -> tuple of int.

    Raises ValueError if there is none, or one is a tuning seed: what was chosen on a
    seed cannot be judged on it.
    """
    seeds = tuple(int(seed) for seed in seeds)
    if not seeds:
        raise ValueError("seeds is empty; allowed is one seed or more")
    if shared := sorted(set(seeds) & set(TUNING_SEEDS)):
        raise ValueError(
            f"seeds has {shared[0]}, on which settings were chosen; allowed are all "
            f"but {TUNING_SEEDS[0]} to {TUNING_SEEDS[-1]}"
        )
    return seeds


def controls(claim, seeds):
    """What an experiment says where its effect is absent, planted or beaten.

    Verdicts by name: "negative", "positive" and, where there is one, "oracle".
    """
    return {
        name: claim.run(seeds, **getattr(claim, name)).verdict
        for name in ASKED
        if getattr(claim, name) is not None
    }


def as_asked(control, verdict):
    """Whether a control says what it has to, for the claim to say anything."""
    return verdict in ASKED[control]


def faults_of_controls(claim, seeds):
    """Why the controls of an experiment do not bear it -> list of sentences."""
    if claim.negative is None or claim.positive is None:
        return [f"{claim.id} has no negative or no positive control"]
    return [
        f"the {name} control of {claim.id} is {verdict}"
        for name, verdict in controls(claim, seeds).items()
        if not as_asked(name, verdict)
    ]
