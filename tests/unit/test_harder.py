"""Harder readings of confirmed claims: all at once, other images, all draws."""

import numpy as np
import pytest

from batchnorm import claims
from batchnorm.claims import harder, ledger
from batchnorm.claims.types import Result

RNG = np.random.default_rng(0)


def kept(id, effects):
    claim = claims.get(id)
    return claim, ledger.record(Result(claim, tuple(range(len(effects))), effects), 0.0)


def test_all_at_once_needs_wider_intervals():
    claim, record = kept("sigmoid-steps", RNG.lognormal(np.log(1.6), 0.4, size=59))
    verdicts = [harder.at_once(claim, record, count) for count in (1, 135, 10**6)]
    assert verdicts[0] == claim.judge(ledger.number(record["effects"]))[1]
    assert (verdicts[0], verdicts[-1]) == ("supported", "undecided")


@pytest.mark.parametrize(
    ("center", "spread", "verdict"),
    [(4, 0.2, "supported"), (1.5, 0.4, "undecided"), (0.4, 0.2, "opposed")],
)
def test_other_images_widen_a_median(center, spread, verdict):
    effects = RNG.lognormal(np.log(center), spread, size=59)
    claim, record = kept("sigmoid-steps", np.stack([effects, effects], axis=1))
    assert harder.other_images(claim, record) == verdict


def test_a_run_that_did_not_arrive_counts_as_its_budget():
    effects = np.array([1, np.inf]) * RNG.lognormal(np.log(4), 0.2, size=(59, 1))
    claim, record = kept("sigmoid-steps", effects)
    assert harder.other_images(claim, record) == "supported"


@pytest.mark.parametrize("id", ["noisy-still-faster", "decoupling-is-faster"])
def test_what_is_widened_already_or_reads_no_digits_is_left(id):
    claim, record = kept(id, RNG.normal(size=29))
    assert harder.other_images(claim, record) is None


@pytest.mark.parametrize(
    ("before", "verdict"),
    [(1.6, "supported"), (1.05, "undecided")],
    ids=["as it was", "weaker"],
)
def test_a_second_draw_is_read_together_with_the_first(before, verdict):
    draws = [RNG.lognormal(np.log(c), 0.2, size=59) for c in (before, 1.6)]
    (_, old), (claim, now) = (kept("sigmoid-steps", effects) for effects in draws)
    assert claim.judge(ledger.number(now["effects"]))[1] == "supported"
    assert harder.all_draws(claim, now, [old]) == verdict


@pytest.mark.parametrize("field", ["statement", "effect", "asked"])
def test_a_draw_that_asked_otherwise_does_not_count(field):
    claim, now = kept("sigmoid-steps", RNG.lognormal(np.log(1.6), 0.2, size=59))
    assert harder.all_draws(claim, now, [{**now, field: "another"}]) is None
    assert harder.all_draws(claim, now, []) is None
