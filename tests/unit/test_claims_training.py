"""Claims and text of the chapter on training: tests fail where no effect is.

A claim must not pass where a network learned nothing, where both arms are alike, or
where a run that did not arrive is taken for one that did.
"""

import re
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
from claim_helpers import FEW, Page, each, printed, verdict

from batchnorm import claims
from batchnorm.claims import ledger, networks
from batchnorm.claims import training as chapter
from batchnorm.claims.networks import Arm, Mlp, steps_to, trained
from batchnorm.claims.tuning import SWEEPS, best
from batchnorm.claims.types import OPPOSED, SUPPORTED
from batchnorm.datasets import digits
from batchnorm.ensemble import Recorder, forward, init_parameters, train, unpack
from booktools import evidence_mnist

PAGE = Page("08_training")
OURS = [c for c in claims.claims() if c.measure.__module__ == chapter.__name__]
STEPS = [c for c in OURS if c.effect.startswith("steps to")]
LEADS = [c for c in OURS if c.measure is chapter.lead]

# ------------------------------------------------------------------ steps to a target


@pytest.fixture
def world(monkeypatch):
    """Arms that reach 0.9 at the step a test prescribes for each of their seeds."""
    given = SimpleNamespace(first={}, runs=[])

    def accuracies(seeds, arm, net, *, steps, recorder, **_):
        given.runs.append((len(seeds), steps, recorder.every))
        at = np.arange(steps + 1)
        first = np.array([given.first[arm.norm][seed] for seed in seeds])
        return np.where(at >= first[:, None], 0.9, 0.1), at

    monkeypatch.setattr(networks, "accuracies", accuracies)
    return given


def test_steps_are_those_of_a_run_that_is_read_at_every_step():
    net, arm = Mlp("relu", 2, 16), Arm("batch", 0.1)
    found = steps_to(0.8, FEW, arm, net, steps=80)
    run = trained(FEW, arm, net, steps=80, recorder=Recorder(every=1))
    expected = run.steps_to(0.8)
    assert len(set(expected)) > 2
    np.testing.assert_array_equal(found[:, 1], expected)
    np.testing.assert_array_equal(found[:, 0], np.minimum(expected, 80))


def test_only_runs_that_have_not_arrived_are_run_again(world):
    world.first[None] = {0: 3, 1: 20, 2: 21, 3: 1000}
    found = steps_to(0.85, range(4), Arm(None, 1.0), None, steps=80)
    np.testing.assert_array_equal(found, [[3, 3], [20, 20], [21, 21], [80, np.inf]])
    assert world.runs == [(4, 20, 1), (2, 80, 1)]


def test_a_network_that_starts_at_the_target_takes_a_step(world):
    world.first[None] = {0: 0}
    found = steps_to(0.85, [0], Arm(None, 1.0), None, steps=80)
    np.testing.assert_array_equal(found, [[1, 1]])


@each(STEPS)
def test_a_run_that_never_arrives_counts_for_no_arm(claim, world):
    early, never = dict.fromkeys(FEW, 10), dict.fromkeys(FEW, 1e9)
    world.first = {None: dict.fromkeys(FEW, 20), "batch": early}
    assert claim.run(FEW).verdict == SUPPORTED
    world.first = {None: early, "batch": never}
    assert claim.run(FEW).verdict == OPPOSED  # steps over with it: below 10/budget
    world.first = {None: never, "batch": never}
    result = claim.run(FEW)
    assert result.verdict == "undecided"
    assert (result.effects == [0, np.inf]).all()


@each(STEPS)
def test_both_arms_have_the_grid_and_the_budget_of_their_sweep(claim):
    name = claim.id.removesuffix("-steps")
    assert claim.setting["net"] == SWEEPS[name].net
    assert claim.setting["steps"] == SWEEPS[name].steps
    assert claim.setting["without"] == best(name, None)
    assert claim.setting["normalized"] == best(name, "batch")


# ------------------------------------------------------------------ leads of accuracy


@each(LEADS)
def test_a_lead_is_neither_found_where_there_is_none_nor_the_other_way(
    claim, monkeypatch
):
    """Planted by norm, with a little of each seed's own in both arms."""
    planted = {None: 0.8}

    def final(seeds, arm, net, **options):
        return planted[arm.norm] + 0.01 * np.sin(np.arange(len(seeds)))

    monkeypatch.setattr(chapter, "final_accuracy", final)
    for accuracy, expected in ((0.9, SUPPORTED), (0.8, OPPOSED), (0.7, OPPOSED)):
        planted["batch"] = accuracy
        assert claim.run(FEW).verdict == expected


def test_tuned_arms_of_which_neither_learns_do_not_explain_a_lead():
    """Such arms leave no lead: all of it is gone, not most of it."""
    dead = (chapter.PLAIN._replace(rate=0.0), chapter.NORMALIZED._replace(rate=0.0))
    assert verdict("figure-1a-tuned", tuned=dead) != SUPPORTED
    unlearned = (chapter.PLAIN, chapter.NORMALIZED._replace(rate=0.0))
    assert verdict("figure-1a-tuned", tuned=unlearned) == OPPOSED


def test_how_much_of_figure_1a_is_rate_and_scale_depends_on_the_step():
    setting = claims.get("figure-1a-tuned").setting
    share = {
        at: np.median(chapter.figure_1a_tuned(FEW, **setting | {"steps": at}))
        for at in (25, 100)
    }
    assert share[25] < 0.5 < share[100]


# --------------------------------------------------------------- settings that train


def test_settings_are_counted_as_if_each_were_trained_alone():
    net, arm = Mlp("relu", 2, 16), Arm("batch", 0.3, 1.5)
    options = {"least": 0.5, "steps": 30, "batch": 32}
    rates, factors = (0.001, 0.1), (0.3, 1.0, 40.0)
    grid = {"rates": rates, "factors": factors}
    found = chapter.number((3, 4), arm, net=net, **grid, **options)
    network, expected = net.network("batch"), np.zeros(2)
    for k, seed in enumerate((3, 4)):
        for rate, factor in product(rates, factors):
            theta = init_parameters(network, [seed], arm.scale * factor)
            given = {"lr": rate, "theta": theta, "steps": 30, "batch": 32}
            run = train(network, digits, [seed], **given)
            expected[k] += run.accuracy[0, -1] >= 0.5
    np.testing.assert_array_equal(found, expected)
    assert 0 < expected.max() < 6


@pytest.mark.parametrize("id", ["rates-that-train", "scales-that-train"])
def test_arms_that_train_nowhere_are_not_said_to_train_at_more(id):
    dead = {"normalized": claims.get(id).setting["without"]._replace(scale=1e-3)}
    assert verdict(id, **dead) == OPPOSED


def test_what_is_enlarged_is_the_hidden_weights_and_the_function_stays():
    network = chapter.NARROW.net.network("batch")
    theta = init_parameters(network, FEW, 1.4)
    large = theta.copy()
    for layer in unpack(network, large)[:-1]:
        layer.weight[...] *= 30
    x = digits(0).x_test
    before, after = (forward(network, t, x)[-1].output for t in (theta, large))
    np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-3)
    # Without a step, the enlarged network reads as well as the usual one.
    still = chapter.USUAL._replace(rate=0.0)
    frozen = {"first": (still, 1.0), "second": (still, 30.0)}
    assert verdict("scale-still-matters", **frozen) == OPPOSED


# ------------------------------------------------------------------------------ text

UNSUPPORTED = (
    r"made\s+the\s+method\s+famous",
    r"most\s+asked",
    r"[Oo]ften\s+(?:said|quoted|put)",
    r"Every\s+claim\s+of\s+this\s+book\s+records",
    r"Both\s+ends\s+moved",
    r"hardly\s+train\s+at\s+any\s+rate",
    r"(?:more|less|fewer) than (?:\d+ points|a fifth|two thirds)",
)


@pytest.mark.parametrize("words", UNSUPPORTED)
def test_running_text_states_effects_and_nothing_unsupported(words):
    assert not re.search(words, PAGE.prose)


def test_what_is_undecided_is_called_so():
    strips = "".join(map(printed, PAGE.code))
    here = re.findall(r"^Here:(.*?)^Confirmed:", strips, re.M | re.S)
    assert len(here) == len(PAGE.shown)
    undecided = sum(text.split()[-1] == "undecided" for text in here)
    records = ledger.read()
    for claim in OURS:
        if claim.id in PAGE.linked:
            undecided += ledger.confirmation(claim, records)["verdict"] == "undecided"
    for one in evidence_mnist.recorded():
        if f"<{one.finding.id}>" in PAGE.prose:
            undecided += one.verdict == "undecided"
    assert PAGE.prose.count("*undecided*") == undecided


def test_exercises_use_the_symbols_of_the_equations():
    formulas, exercises = PAGE.prose.split("## Exercises")
    symbol = r"(?<![A-Za-z\\])[A-Z]_l"
    assert set(re.findall(symbol, exercises)) <= set(re.findall(symbol, formulas))
