"""What the definition of a claim decides: its verdict and its seeds."""

import shutil

import numpy as np
import pytest
from scipy import stats

from batchnorm.claims import claims, fingerprint, protocol
from batchnorm.claims.estimates import Estimate
from batchnorm.claims.fingerprint import COUNTED
from batchnorm.claims.types import (
    OPPOSED,
    SUPPORTED,
    UNDECIDED,
    Experiment,
    Region,
    above,
    below,
    within,
)
from batchnorm.experiments.runs import RUNS

# ------------------------------------------------------------------------- verdicts


@pytest.mark.parametrize(
    ("region", "interval", "verdict"),
    [
        (above(1), (1.1, 2), SUPPORTED),
        (above(1), (0.5, 1.0), OPPOSED),
        (above(1), (0.9, 2), UNDECIDED),
        (below(1), (0.2, 0.9), SUPPORTED),
        (below(1), (1.0, 3), OPPOSED),
        (within(-1, 1), (-0.9, 0.9), SUPPORTED),
        (within(-1, 1), (1.0, 3), OPPOSED),
        (within(-1, 1), (0.5, 1.5), UNDECIDED),
        (above(1), (-np.inf, np.inf), UNDECIDED),
        (above(1), (1.1, np.inf), SUPPORTED),
        (below(1), (1.1, np.inf), OPPOSED),
        (within(-1, 1), (0, np.inf), UNDECIDED),
    ],
)
def test_verdict_is_where_the_interval_lies(region, interval, verdict):
    assert region.verdict(Estimate(0, *interval)) == verdict


@pytest.mark.parametrize(
    ("bounds", "says"),
    [
        ((), "low is -inf, high inf; allowed is one finite at least"),
        (("a",), "low is 'a'; allowed are numbers"),
        ((0, None), "high is None; allowed are numbers"),
        ((np.nan, 1), "low is nan; allowed are numbers"),
        ((1, 1), "low is 1, high 1; allowed is low < high"),
    ],
)
def test_a_region_asks_for_something(bounds, says):
    with pytest.raises(ValueError, match=says):
        Region(*bounds)


def test_an_equivalence_is_two_one_sided_tests():
    effects = np.random.default_rng(0).normal(0.1, 1, 59)
    half = stats.t.ppf(0.95, 58) * stats.sem(effects)
    assert within(-1, 1).level == 0.90
    entry = toy_entry(region=within(-1, 1), estimator="mean")
    low, high = entry.estimate(effects)[1:]
    assert (low, high) == pytest.approx((effects.mean() - half, effects.mean() + half))


def toy_entry(**fields):
    defaults = {
        "id": "toy",
        "statement": "Toys play.",
        "source": "ioffe2015batch, section 1",
        "effect": "size",
        "region": above(0),
        "measure": toy,
    }
    return Experiment(**defaults | fields)


def toy(seeds, *, offset=0.0):
    return np.random.default_rng(seeds[0]).normal(offset, 1, len(seeds))


# ----------------------------------------------------------------------- fingerprints

CLAIM = '''
from batchnorm.claims.networks import Arm, Mlp, trained
from batchnorm.claims.registry import experiment
from batchnorm.claims.types import above

RATE = 0.1


@experiment("accuracy", above(0.8), source="ioffe2015batch, section 4")
def planted(seeds):
    """It learns."""
    # A comment.
    return _accuracy(seeds)


def _accuracy(seeds):
    """Of the trained networks."""
    net = Mlp("relu", 3, 50)
    return trained(seeds, Arm("batch", RATE), net, steps=10).accuracy[:, -1]
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package whose files a test may change; returns an editor of it."""
    copy = tmp_path / "batchnorm"
    without = shutil.ignore_patterns("__pycache__")
    shutil.copytree(fingerprint.ROOT, copy, ignore=without)
    (copy / "claims" / "planted.py").write_text(CLAIM)
    monkeypatch.setattr(fingerprint, "ROOT", copy)

    def edit(file, old, new):
        path = copy / file
        text = path.read_text("utf-8")
        assert text.count(old) >= 1, old
        path.write_text(text.replace(old, new, 1), "utf-8")
        clear()

    clear()
    yield edit
    monkeypatch.undo()
    clear()


def clear():
    """Let every file be read again."""
    for part in vars(fingerprint).values():
        if hasattr(part, "cache_clear"):
            part.cache_clear()


def planted(*words, of=("claims.planted", "planted")):
    """The fingerprint of the code that a function reaches, here the planted claim's."""
    module, name = of
    code = fingerprint.reached(f"batchnorm.{module}", name, words)
    return fingerprint.digest(*sorted(code.values()))


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("claims/planted.py", "RATE = 0.1", "RATE = 0.2"),
        ("claims/planted.py", "steps=10", "steps=11"),
        ("claims/networks.py", "lr=arm.rate", "lr=2 * arm.rate"),
        ("datasets.py", "/ 16.0", "/ 15.0"),
        ("datasets.py", "tested=2", "tested=3"),
    ],
)
def test_a_change_of_the_code_behind_a_claim_is_seen(package, file, old, new):
    before = planted()
    package(file, old, new)
    assert planted() != before


def test_a_changed_line_of_the_ensemble_is_seen(package):
    code = fingerprint.reached("batchnorm.claims.planted", "planted")
    reached = [name for name in code if name.startswith("batchnorm.ensemble")]
    assert len(reached) > 20
    before = planted()
    for file in sorted(fingerprint.ROOT.glob("ensemble/*.py")):
        if "log_softmax" in file.read_text():
            changed = file.relative_to(fingerprint.ROOT)
            package(changed, "log_softmax(1)", "log_softmax(0)")
    assert planted() != before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("claims/planted.py", "Of the trained", "Of all trained"),
        ("claims/planted.py", "    # A comment.\n", "    # Another,\n    # longer.\n"),
        ("claims/planted.py", "RATE), net", "RATE),\n        net"),
        ("claims/networks.py", "Networks of one arm", "All networks of an arm"),
        ("claims/planted.py", "above(0.8)", "above(0.9)"),
    ],
    ids=["docstring", "comment", "layout", "docstring elsewhere", "bar"],
)
def test_what_decides_no_number_is_no_code(package, file, old, new):
    """The bar is a part of the definition, which the next test changes."""
    before = planted()
    package(file, old, new)
    assert planted() == before


CHECK = '_checks.count("steps", steps, most=9)'
LONE = """
from batchnorm import _checks
from batchnorm.claims import networks

TABLE = {"named": 1, "planted": 2}


def lone(seeds, steps=3):
    # Here.
    return TABLE["named"]
"""


def lone(*edits):
    """The fingerprint of a function of a module of its own, after edits of it."""
    text = LONE
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    (fingerprint.ROOT / "claims" / "lone.py").write_text(text)
    clear()
    return planted(of=("claims.lone", "lone"))


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        (CHECK, False),
        (f"{CHECK}  # says why", False),
        (CHECK.replace(" ", "\n        "), False),
        ('_checks.one_of("key", steps, ("planted", len(seeds)))', False),
        ('_checks.count("steps", steps)', True),
        (f"steps = {CHECK}", True),
        ('_checks.count("steps", seeds.pop())', True),
        ('_checks.count("steps", len(seeds.pop()))', True),
        ('_checks.count("steps", steps := 3)', True),
        (f"if seeds: {CHECK}", True),
        (f"{CHECK}; seeds.pop()", True),
        (f"seeds.pop(); {CHECK}", True),
        ("networks.count(seeds)", True),
        ("checked(seeds)", True),
        ('TABLE["planted"]', True),
    ],
)
def test_a_statement_that_only_checks_does_not_count(package, line, seen):
    """Nor do the words in it, for which tables are looked up."""
    assert (lone(("# Here.", line)) != lone()) == seen


def test_a_check_is_one_of_the_module_of_that_name(package):
    other = "from batchnorm import _checks", "_checks = [0]"
    assert lone(other, ("# Here.", CHECK)) != lone(other)


def test_every_check_that_counts_stands_where_a_run_reaches_it():
    asked = {(run.measure, "") for run in RUNS.values()}
    asked |= {(claim.measure, repr(claim.setting)) for claim in claims()}
    code = {
        text
        for f, setting in asked
        for text in fingerprint.reached(
            f.__module__, f.__qualname__, setting.split("'")
        ).values()
    }
    lost = [check for check in COUNTED if not any(check in text for text in code)]
    assert not lost


@pytest.mark.parametrize(
    ("old", "new", "seen"),
    [
        ("rows >= 128", "rows >= 127", True),
        ("ndim = data[3]", "ndim = data[2]", True),
        ("ba891046", "ba891047", True),
        ("_read_idx(_contents(n))", "_read_idx(_download(n))", True),
        ("gzip.decompress(", "zlib.decompress(", False),
        ("timeout=30", "timeout=60", False),
    ],
    ids=["pixels", "layout", "sha256", "another source", "unpacking", "download"],
)
def test_it_ends_at_contents_that_are_verified(package, old, new, seen):
    on_mnist = "experiments.dense", "trained"
    before = planted(of=on_mnist)
    package("mnist.py", old, new)
    assert (planted(of=on_mnist) != before) == seen


TABLE = "NORMS: dict[str, type[Operation]] = {"
NEW_NORM = TABLE, f'{TABLE}\n    "planted": PerActivation,'


def test_a_new_entry_of_a_table_is_no_change(package):
    before = planted()
    package("ensemble/norms.py", *NEW_NORM)
    assert planted() == before


def test_an_entry_is_reached_by_its_key(package):
    before = planted("planted")
    package("ensemble/norms.py", *NEW_NORM)
    assert planted("planted") != before


def test_a_changed_entry_that_is_named_is_seen(package):
    before = planted()
    package("ensemble/norms.py", '"batch": BatchNorm', '"batch": PerActivation')
    assert planted() != before


def test_a_table_that_is_gone_through_is_reached_as_a_whole(package):
    old = "steps, shape, at"
    package("ensemble/network.py", old, f"NORMS.values(); {old}")
    before = planted()
    package("ensemble/norms.py", *NEW_NORM)
    assert planted() != before


@pytest.mark.parametrize(
    "changed",
    [
        {"region": above(0.1)},
        {"statement": "Toys play on."},
        {"setting": {"offset": 1.0}},
        {"seeds": 58},
        {"estimator": "mean"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_a_changed_definition_draws_other_seeds(monkeypatch, changed):
    code = {"toy": "def toy"}
    monkeypatch.setattr("batchnorm.claims.types.reached", lambda *_: code)
    before, after = toy_entry(), toy_entry(**changed)
    assert before.fingerprint != after.fingerprint
    seeds = [set(protocol.confirmation_seeds(claim)) for claim in (before, after)]
    assert len(seeds[0]) == 59
    assert not seeds[0] & seeds[1]
    assert not seeds[0] & {*protocol.TUNING_SEEDS, *protocol.CHAPTER_SEEDS}
