"""The protocol of evidence: what the ledger keeps, what the command does."""

import json

import numpy as np
import pytest

from batchnorm import claims
from batchnorm.claims import __main__ as command
from batchnorm.claims import ledger, protocol, registry
from batchnorm.claims.registry import experiment, prediction
from batchnorm.claims.types import OPPOSED, SUPPORTED, above, below

# ----------------------------------------------------------------------------- ledger


@pytest.fixture
def empty(monkeypatch):
    """A registry without claims."""
    monkeypatch.setattr(registry, "_claims", {})


@pytest.fixture
def registered(empty, monkeypatch):
    """A function that registers a claim, in an empty registry."""
    monkeypatch.setattr("batchnorm.claims.types.reached", lambda m, n, words: {n: n})

    def register(id="toy", *, offset=1.0, calls=None, **fields):
        def measure(seeds, *, offset):
            if calls is not None:
                calls.append((id, min(seeds) < protocol.FIRST))
            return np.random.default_rng(seeds[0]).normal(offset, 0.1, len(seeds))

        options = {
            "source": "ioffe2015batch, section 1",
            "setting": {"offset": offset},
            "negative": {"offset": 0.0},
            "positive": {"offset": 2.0},
            "id": id,
            "statement": "Toys play.",
        }
        experiment("size", above(0.5), **options | fields)(measure)
        return registry.get(id)

    return register


def confirmed(calls):
    """The claims that ran on seeds of a confirmation, each time; controls do not."""
    return [id for id, control in calls if not control]


def lines(file):
    return file.read_text().splitlines()


@pytest.fixture
def run(tmp_path):
    """The command, on a ledger in a folder of its own."""
    options = ["--ledger", str(tmp_path / "ledger.jsonl"), "--jobs", "1"]
    return lambda *arguments: command.main([*options, *arguments])


@pytest.fixture
def book(tmp_path, registered, run):
    """A ledger of three lines."""
    for id in ("first", "second", "third"):
        registered(id)
    assert run() == 0
    return tmp_path / "ledger.jsonl"


def test_every_line_carries_its_own_circumstances(book):
    records = ledger.read(book)
    assert [r["id"] for r in records] == ["first", "second", "third"]
    for kept in records:
        assert kept["seeds"] == list(
            protocol.confirmation_seeds(registry.get(kept["id"]))
        )
        assert kept["versions"]["numpy"] == np.__version__
        assert kept["date"]
        assert kept["verdict"] == SUPPORTED


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[1:],
        lambda text: text[:-1],
        lambda text: [text[0], text[2]],
        lambda text: [text[1], text[0], text[2]],
        lambda text: [*text[:2], text[2].replace("supported", "opposed")],
        lambda text: [text[0].replace('"date": "2', '"date": "1'), *text[1:]],
        lambda text: [*text[:2], text[2][:-5]],
    ],
    ids=["first gone", "last gone", "middle gone", "order", "last", "first", "torn"],
)
def test_a_damaged_ledger_is_found(book, damage):
    book.write_text("\n".join(damage(lines(book))) + "\n")
    with pytest.raises(ValueError, match=r"ledger"):
        ledger.read(book)


def test_a_bar_that_moves_makes_the_record_old_and_keeps_it(book, registered, run):
    old = ledger.confirmation(registry.get("second"), ledger.read(book))
    registry._claims.pop("second")
    moved = registered("second", seeds=30)
    records = ledger.read(book)
    assert ledger.confirmation(moved, records) is None
    assert ledger.earlier(moved, records) == [old]
    assert run() == 0
    records = ledger.read(book)
    assert len(records) == 4
    assert ledger.earlier(moved, records) == [old]
    new = ledger.confirmation(moved, records)
    assert not set(new["seeds"]) & set(old["seeds"])


def test_a_record_on_chosen_seeds_confirms_nothing(registered):
    entry = registered()
    kept = ledger.record(entry.run(range(59)), 0.0)
    assert ledger.confirmation(entry, [kept]) is None


# ---------------------------------------------------------------------------- command


def test_interrupted_the_command_loses_nothing(tmp_path, registered, monkeypatch, run):
    calls = []
    registered("first", calls=calls)
    registered("second", calls=calls)
    run_one = command.run_one

    def interrupted(id, seeds):
        if id == "second":
            raise KeyboardInterrupt
        return run_one(id, seeds)

    monkeypatch.setattr(command, "run_one", interrupted)
    assert run() == 130
    assert not (tmp_path / "ledger.jsonl").exists()
    monkeypatch.setattr(command, "run_one", run_one)
    assert run() == 0
    assert confirmed(calls) == ["first", "second"]
    assert {path.name for path in tmp_path.iterdir()} == {"ledger.head", "ledger.jsonl"}


def test_what_is_confirmed_is_not_run_again_unless_verified(registered, run, capsys):
    calls = []
    registered(calls=calls)
    for more in ([], [], ["--verify"]):
        assert run(*more) == 0
    assert confirmed(calls) == ["toy", "toy"]
    assert "nothing to run: all claims" in capsys.readouterr().out


def test_verify_finds_what_does_not_repeat(book, run, capsys):
    text = lines(book)
    kept = json.loads(text[-1])
    kept["verdict"] = "opposed"
    kept.pop("before")
    book.write_text("\n".join(text[:-1]) + "\n")
    ledger._head(book).write_text(ledger._hash(text[-2]))
    ledger.append([kept], book)
    assert run("--verify") == 1
    assert "third does not repeat" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("control", "offset", "said"),
    [
        ("negative", 3.0, "supported, and was opposed"),
        ("positive", 0.0, "opposed, and was supported"),
        ("positive", 0.5, "undecided, and was supported"),
        ("oracle", 3.0, "supported, and was opposed"),
        ("oracle", 0.5, "undecided, and was opposed"),
        ("negative", 0.5, None),
        ("negative", 0.1, None),
    ],
)
def test_verify_finds_a_control_that_no_longer_does_as_asked(
    registered, run, capsys, control, offset, said
):
    """A negative control may be opposed or undecided; 0.5 is the bar."""
    for id in ("first", "second"):
        registered(id, oracle={"offset": 0.0})
    assert run() == 0
    registry._claims.pop("second")
    registered("second", **{"oracle": {"offset": 0.0}, control: {"offset": offset}})
    capsys.readouterr()
    assert run("--verify") == (1 if said else 0)
    fault = f"the {control} control of second is {said}\n" if said else ""
    exact = "2 of 2 repeat to the last digit that is kept\n"
    assert capsys.readouterr().out.startswith(fault + exact)


def test_verify_tells_of_a_control_that_is_not_recorded(registered, run, capsys):
    registered()
    assert run() == 0
    registry._claims.clear()
    registered(oracle={"offset": 3.0})
    assert run("--verify") == 1
    said = "the oracle control of toy is supported, and was not recorded"
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tory"], "near ones are toy"),
        (["--seeds", "95:101"], "seeds has 100, on which settings were chosen"),
        (["--seeds", "5"], "allowed is A:B"),
        (["--output", "/no/such/folder/x"], "a folder that does not exist"),
    ],
    ids=["id", "tuning seeds", "range", "output"],
)
def test_command_refuses_before_the_first_run(
    registered, run, capsys, arguments, message
):
    calls = []
    registered(calls=calls)
    assert run(*arguments) == 2
    assert message in capsys.readouterr().err
    assert calls == []


def test_seeds_of_ones_own_leave_the_ledger_alone(tmp_path, registered, run):
    registered()
    output = tmp_path / "mine.jsonl"
    assert run("--output", str(output), "--seeds", "0:20") == 0
    assert json.loads(output.read_text())["seeds"] == list(range(20))
    assert not (tmp_path / "ledger.jsonl").exists()


def test_processes_and_their_number_change_nothing(tmp_path):
    """Two real claims of the book, with one process and with two."""
    ids = [claim.id for claim in claims.claims()][:2]
    files = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    for jobs, file in enumerate(files, 1):
        arguments = [*ids, "--seeds", "0:3", "--jobs", str(jobs), "--output", str(file)]
        assert command.main(arguments) == 0
    one, two = ([json.loads(line) for line in lines(file)] for file in files)
    for record in (*one, *two):
        record.pop("seconds")
    assert one == two


# --------------------------------------------------------------------------- registry


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"setting": {"no": 1}}, "setting of the 'toy'"),
        ({"negative": {"no": 1}}, "negative control of 'toy'"),
        ({"statement": "no sentence"}, "is no sentence"),
        ({"estimator": "mode"}, "allowed are median, share and mean"),
        ({"claimed": "It is so."}, "needs claimed_by"),
        ({"claimed": "so " * 26, "claimed_by": "x"}, "has 26 words"),
        ({"unknown": 1}, "unknown"),
    ],
    ids=["setting", "control", "statement", "estimator", "claimed", "length", "field"],
)
def test_registration_refuses(registered, fields, message):
    with pytest.raises(ValueError, match=message):
        registered(**fields)


def test_registration_refuses_an_id_that_is_taken(registered):
    registered()
    with pytest.raises(ValueError, match="taken"):
        registered()


@pytest.mark.usefixtures("empty")
def test_a_claim_is_its_function():
    @experiment("size", above(0), source="ioffe2015batch, section 1")
    def toys_are_large(seeds):
        """Toys are
        large."""
        return np.ones(len(seeds))

    entry = registry.get("toys-are-large")
    assert entry.statement == "Toys are large."
    assert entry.run(range(20)).verdict == SUPPORTED
    assert toys_are_large([1, 2]).tolist() == [1, 1]


@pytest.mark.usefixtures("empty")
def test_claims_on_one_measure_stack():
    source = {"source": "ioffe2015batch, section 1"}

    @experiment("x", above(0), id="up", statement="It rises.", **source)
    @experiment("x", below(0), id="down", statement="It falls.", **source)
    def measure(seeds):
        return np.ones(len(seeds))

    assert [claim.id for claim in registry.claims()] == ["down", "up"]
    verdicts = [claim.run(range(20)).verdict for claim in registry.claims()]
    assert verdicts == [OPPOSED, SUPPORTED]


@pytest.mark.usefixtures("empty")
def test_a_prediction_is_judged_at_every_point():
    @prediction(
        "variance of a mean",
        over="m",
        tolerance=0.1,
        source="ioffe2015batch, section 1",
        setting={"m": (2, 4), "off": 1.0},
    )
    def noise(seeds, *, m, off):
        """The variance of a mean of m is 1/m."""
        draws = [np.random.default_rng(s).normal(size=(1000, 4)) for s in seeds]
        theory = np.array([1 / k for k in m])
        measured = [[d[:, :k].mean(1).var() for k in m] for d in draws]
        return theory, np.array(measured) * [1.0, off]

    entry = registry.get("noise")
    assert entry.run(range(59)).verdict == SUPPORTED
    assert entry.run(range(59), off=1.3).verdict == OPPOSED


def test_a_claim_that_passes_its_own_negative_control_is_refused(registered):
    good = registered("good")
    bad = registered("bad", negative={"offset": 3.0})
    blind = registered("blind", positive={"offset": 0.0})
    unbeaten = registered("unbeaten", oracle={"offset": 3.0})
    alone = registered("alone", negative=None)
    seeds = range(10)
    assert protocol.faults_of_controls(good, seeds) == []
    for claim, word in (
        (bad, "negative"),
        (blind, "positive"),
        (unbeaten, "oracle"),
        (alone, "no negative"),
    ):
        assert word in protocol.faults_of_controls(claim, seeds)[0]
