"""Claims of the chapter on training: how much sooner, how much better, how robustly."""

from batchnorm.claims.estimates import ratio
from batchnorm.claims.networks import (
    PERFECT,
    steps_to,
)
from batchnorm.claims.registry import experiment
from batchnorm.claims.tuning import SWEEPS, best
from batchnorm.claims.types import above

# ---------------------------------------------------------------------------
# Steps to an accuracy, both arms tuned


def tuned(name):
    """Setting and controls of a comparison whose arms a sweep chose."""
    without, normalized = best(name, None), best(name, "batch")
    sweep = SWEEPS[name]
    return {
        "setting": {
            "net": sweep.net,
            "without": without,
            "normalized": normalized,
            **dict(sweep.options),
        },
        # The same arm twice, but for the draw of weights; a plain arm that is slowed
        # down tenfold; and a plain arm that is right from the start.
        "negative": {"normalized": without._replace(draw=1)},
        "positive": {"without": without._replace(rate=without.rate / 10)},
        "oracle": {"without": PERFECT},
    }


def steps(name, budget, **fields):
    """Register how many steps a network needs without normalization, over with it."""
    comparison = tuned(name)
    comparison["setting"] |= {"target": 0.85, "steps": budget}
    return experiment(
        "steps to 85 %, without over with",
        above(1.25),
        scale="log",
        **comparison | fields,
    )


@steps(
    "sigmoid",
    250,
    id="sigmoid-steps",
    statement="Three sigmoid layers reach 85 % in fewer steps with batch "
    "normalization, learning rate and initial scale tuned for both.",
    source="ioffe2015batch, section 4.1",
)
@steps(
    "relu",
    200,
    id="relu-steps",
    statement="Six ReLU layers reach 85 % in fewer steps with batch normalization, "
    "learning rate and initial scale tuned for both.",
    source="ioffe2015batch, section 4.2",
)
@steps(
    "tanh",
    150,
    id="tanh-steps",
    statement="Four tanh layers reach 85 % in fewer steps with batch normalization, "
    "learning rate and initial scale tuned for both.",
    source="ioffe2015batch, section 4.2",
)
@steps(
    "adam",
    100,
    id="adam-steps",
    statement="With Adam, three ReLU layers reach 85 % in fewer steps with batch "
    "normalization, learning rate and initial scale tuned for both.",
    source="ioffe2015batch, section 4.2; kingma2015adam, algorithm 1",
)
def steps_ratio(seeds, *, without, normalized, target, **setting):
    return ratio(
        steps_to(target, seeds, without, **setting),
        steps_to(target, seeds, normalized, **setting),
    )
