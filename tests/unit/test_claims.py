"""The registry, the command that runs it, and a few measures against other oracles."""

import json
import math
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from batchnorm import claims, datasets
from batchnorm.claims import __main__ as command
from batchnorm.claims import registry
from batchnorm.claims.depth import _spectra
from batchnorm.claims.inputs import descent
from batchnorm.claims.registry import (
    above,
    below,
    between,
    claim,
    exactly,
    record,
    references,
)
from batchnorm.whitening import fit_standardize
from booktools.notebooks import CHAPTERS

EVIDENCE = CHAPTERS / "evidence.json"


@pytest.fixture
def empty_registry(monkeypatch):
    monkeypatch.setattr(registry, "_registry", {})


def register(id="toy", *, calls=None, offset=0.0, **fields):
    """Register a claim whose effect is the seed plus an offset."""
    fields = {
        "statement": "The seed is small.",
        "source": "nobody",
        "setting": {"offset": offset},
        "effect": "seed",
        "condition": below(1e9),
        **fields,
    }

    @claim(id=id, **fields)
    def toy(seeds, *, offset):
        if calls is not None:
            calls.append(id)
        return [seed + offset for seed in seeds]


# ------------------------------------------------------------------------ conditions


@pytest.mark.parametrize(
    ("condition", "text", "inside", "outside"),
    [
        (above(1.5), "> 1.5", [1.6, 1e300], [1.5, 1.4, np.inf, np.nan]),
        (below(1e-12), "< 1e-12", [0, -1], [1e-12, np.nan, np.inf]),
        (between(0.5, 2), "between 0.5 and 2", [0.6, 1.9], [0.5, 2, np.nan]),
        (exactly(0), "= 0", [0, -0.0], [1, -1e-300, np.nan]),
    ],
)
def test_condition_is_an_interval_that_prints_itself(condition, text, inside, outside):
    assert str(condition) == text
    assert condition(inside).all()
    assert not condition(outside).any()


def test_condition_names_its_finite_bounds():
    assert above(2).thresholds == (2,)
    assert between(1, 3).thresholds == (1, 3)
    assert exactly(0).thresholds == (0,)


# -------------------------------------------------------------------------- registry


def test_result_counts_the_seeds_that_hold(empty_registry):
    register(condition=below(10), share=0.5)
    result = claims.run("toy", range(20))
    assert (result.held, result.needed, result.holds) == (10, 10, True)
    assert "10 of 20 seeds (10 asked)" in result.verdict
    assert "DOES NOT HOLD" not in result.verdict


def test_result_that_fails_says_so(empty_registry):
    register(condition=below(10), share=0.51)
    result = claims.run("toy", range(20))
    assert (result.needed, result.holds) == (11, False)
    assert "DOES NOT HOLD" in result.verdict


def test_share_of_all_seeds_is_not_rounded_up(empty_registry):
    register(share=0.9)
    assert claims.run("toy", range(20)).needed == 18


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"claimed": "Seeds are huge.", "claimed_by": "wu2018group, abstract"},
            "Written:    “Seeds are huge.”\nMeasured:   The seed is small.\n",
        ),
        (
            {"question": "Are seeds huge?"},
            "Question:   Are seeds huge?\nMeasured:   The seed is small.\n",
        ),
        ({}, "Claim:      The seed is small.\n"),
    ],
)
def test_verdict_opens_with_what_is_answered(empty_registry, fields, said):
    register(**fields)
    assert claims.run("toy", [3]).verdict.startswith(said)


def test_effects_below_the_floor_are_reported_as_the_floor(empty_registry):
    register(floor=2.0)
    assert claims.run("toy", range(5)).effects.tolist() == [2, 2, 2, 3, 4]


def test_show_draws_every_seed_and_prints_the_verdict(monkeypatch, capsys):
    drawn = []
    monkeypatch.setattr(plt, "show", lambda: drawn.append(plt.gcf()))
    claims.show("digits-batch-singular", range(7))
    (axes,) = drawn[0].axes
    seeds, *_ = axes.lines
    assert len(seeds.get_xdata()) == 7
    assert capsys.readouterr().out.endswith("< 59 in 7 of 7 seeds\n")
    plt.close(drawn[0])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"share": 0}, "share is 0"),
        ({"share": 1.1}, "share is 1.1"),
        ({"scale": "cubic"}, "scale is 'cubic'"),
        ({"setting": {"no": 1}}, "setting of 'toy'"),
        ({"claimed": "Seeds are huge."}, "needs claimed_by"),
        ({"claimed_by": "wu2018group, abstract"}, "needs claimed_by"),
        ({"claimed": "a " * 26, "claimed_by": "wu2018group, abstract"}, "26 words"),
    ],
)
def test_registration_refuses(empty_registry, fields, message):
    with pytest.raises(ValueError, match=message):
        register(**fields)


def test_registration_refuses_an_id_that_is_taken(empty_registry):
    register()
    with pytest.raises(ValueError, match="taken"):
        register()


def test_run_refuses_unknown_ids_empty_seeds_and_wrong_shapes(empty_registry):
    register()
    with pytest.raises(ValueError, match=r"id is 'toi'; allowed are toy"):
        claims.run("toi")
    with pytest.raises(ValueError, match="seeds is empty"):
        claims.run("toy", [])
    claim(
        id="scalar",
        statement="",
        source="",
        setting={},
        effect="",
        condition=above(0),
    )(lambda seeds: 1.0)
    with pytest.raises(ValueError, match="one a seed"):
        claims.run("scalar", [1, 2])


def test_tune_refuses_a_claim_without_a_comparison():
    with pytest.raises(ValueError, match="nothing is tuned"):
        claims.tune("scale-invariance")


def test_every_claim_of_the_book_is_well_formed():
    for entry in claims.claims():
        assert entry.statement.endswith("."), entry.id
        assert entry.source, entry.id
        assert not entry.effect.endswith("."), entry.id
        assert json.loads(json.dumps(entry.setting)), entry.id
        assert entry.claimed is None or entry.question is None, entry.id


def test_the_sets_of_seeds_share_none():
    seeds = [claims.TUNING_SEEDS, claims.CHAPTER_SEEDS, claims.FRESH_SEEDS]
    assert len(set().union(*seeds)) == sum(map(len, seeds))


def test_references_are_keys_with_places():
    assert references("ioffe2015batch, section 3.3; he2015delving, section 2.2") == [
        ("ioffe2015batch", "section 3.3"),
        ("he2015delving", "section 2.2"),
    ]
    assert references("vanlaarhoven2017l2, sections 2, 3") == [
        ("vanlaarhoven2017l2", "sections 2, 3")
    ]


@pytest.mark.parametrize(
    "source",
    [
        "",
        "measured here",
        "ioffe2015batch",
        "ioffe2015batch, ",
        "Ioffe 2015, section 3",
    ],
)
def test_references_refuse_what_is_no_key_with_a_place(source):
    with pytest.raises(ValueError, match="key, place"):
        references(source)


# ----------------------------------------------------------------------- fingerprints


def test_fingerprint_follows_definition_setting_and_source(empty_registry):
    prints = []
    for fields in (
        {},
        {"statement": "The seed is tiny."},
        {"condition": below(1e8)},
        {"share": 0.9},
        {"offset": 1.0},
    ):
        registry._registry.clear()
        register(**fields)
        prints.append(claims.get("toy").fingerprint)
    registry._registry.clear()

    @claim(
        id="toy",
        statement="The seed is small.",
        source="nobody",
        setting={"offset": 0.0},
        effect="seed",
        condition=below(1e9),
    )
    def toy(seeds, *, offset):
        return [seed - offset for seed in seeds]

    prints.append(claims.get("toy").fingerprint)
    assert len(set(prints)) == len(prints)
    registry._registry.clear()
    register()
    assert claims.get("toy").fingerprint == prints[0]


def test_fingerprint_reaches_the_helpers_inside_inner_functions():
    from batchnorm.claims import depth, training

    called = registry._called(depth.gradients_survive)
    assert {f.__name__ for f in called} >= {"_gradients", "_weight_norms", "one_batch"}
    assert training.speedup in registry._called(training.relu_steps)


# ----------------------------------------------------------------------- the command


def test_command_writes_the_file_prints_a_table_and_succeeds(
    empty_registry, tmp_path, capsys
):
    register("first")
    register("second", condition=above(1e9), share=0.5)
    file = tmp_path / "evidence.json"
    assert command.main(["--output", str(file)]) == 1
    table = capsys.readouterr().out
    assert "first   20/20" in table
    assert "second  0/20 FAILS" in table
    assert "3.01e+03 [3e+03, 3.02e+03]" in table
    data = claims.load(file)
    assert data["versions"]["numpy"] == np.__version__
    assert [r["id"] for r in data["claims"]] == ["first", "second"]
    assert data["claims"][0]["seeds"] == list(claims.FRESH_SEEDS)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["evidence.json"]
    assert command.main(["--output", str(file), "first"]) == 0


def test_command_interrupted_keeps_what_it_has_and_goes_on(
    empty_registry, tmp_path, monkeypatch
):
    calls = []
    register("first", calls=calls)
    register("second", calls=calls)
    file = tmp_path / "evidence.json"
    run = claims.run

    def interrupted(id, seeds):
        if id == "second":
            raise KeyboardInterrupt
        return run(id, seeds)

    monkeypatch.setattr(claims, "run", interrupted)
    assert command.main(["--output", str(file)]) == 130
    assert not file.exists()
    monkeypatch.setattr(claims, "run", run)
    assert command.main(["--output", str(file)]) == 0
    assert calls == ["first", "second"]
    assert [r["id"] for r in claims.load(file)["claims"]] == ["first", "second"]


def test_command_does_not_reuse_a_partial_result_of_another_definition(
    empty_registry, tmp_path, monkeypatch
):
    calls = []
    register("first", calls=calls)
    partial = tmp_path / ".evidence.json.partial"
    old = record(claims.run("first", claims.FRESH_SEEDS)) | {"fingerprint": "other"}
    command.write(partial, {"claims": [old]})
    assert command.main(["--output", str(tmp_path / "evidence.json")]) == 0
    assert calls == ["first", "first"]


def test_command_reruns_only_what_is_stale(empty_registry, tmp_path):
    calls = []
    register("first", calls=calls)
    register("second", calls=calls)
    file = tmp_path / "evidence.json"
    command.main(["--output", str(file)])
    registry._registry.pop("second")
    register("second", calls=calls, offset=5.0)
    assert claims.stale(claims.load(file)["claims"]) == ["second"]
    assert command.main(["--output", str(file), "--stale"]) == 0
    assert calls == ["first", "second", "second"]
    assert claims.stale(claims.load(file)["claims"]) == []


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path):
    file = tmp_path / "evidence.json"
    command.write(file, {"claims": [{"id": "first"}]})
    before = file.read_text()
    with pytest.raises(TypeError):
        command.write(file, {"claims": [{"id": object()}]})
    assert file.read_text() == before
    assert [p.name for p in tmp_path.iterdir()] == ["evidence.json"]


def test_load_refuses_a_file_that_is_missing_or_not_whole(tmp_path):
    file = tmp_path / "evidence.json"
    with pytest.raises(ValueError, match="does not exist"):
        claims.load(file)
    file.write_text('{"claims": [')
    with pytest.raises(ValueError, match="not whole"):
        claims.load(file)
    file.write_text("{}")
    with pytest.raises(ValueError, match="holds no claims"):
        claims.load(file)


# ---------------------------------------------------------------------- the evidence


def test_evidence_is_of_the_claims_as_they_are():
    """Fails if a claim changed after it was recorded: run `make claims`."""
    assert claims.stale(claims.load(EVIDENCE)["claims"]) == []


def meets(condition, effect):
    """Whether an effect is what the words of a record ask."""
    if effect is None:
        return False
    if condition.startswith("between"):
        low, high = map(
            float, re.fullmatch(r"between (\S+) and (\S+)", condition).groups()
        )
        return low < effect < high
    sign, bound = condition.split()
    bound = float(bound)
    return {"<": effect < bound, ">": effect > bound, "=": effect == bound}[sign]


def false_counts(r):
    """What a record says of its seeds that its effects do not bear out, as a list."""
    held = sum(meets(r["condition"], effect) for effect in r["effects"])
    said = {
        "one effect a seed": len(r["effects"]) == len(r["seeds"]),
        "held": r["held"] == held,
        "needed": 0 < r["needed"] <= len(r["seeds"]),
        "holds": r["holds"] == (held >= r["needed"]),
    }
    return [name for name, true in said.items() if not true]


def test_a_record_says_what_its_effects_say():
    """Recounted by its words alone. Whether the claim holds is not asked here."""
    for r in claims.load(EVIDENCE)["claims"]:
        assert not false_counts(r), r["id"]


def test_a_record_needs_the_share_that_its_claim_asks():
    for r in claims.load(EVIDENCE)["claims"]:
        share = claims.get(r["id"]).share
        assert r["needed"] == math.ceil(share * len(r["seeds"]) - 1e-9), r["id"]


@pytest.mark.parametrize("condition", [below(10), above(4), between(3, 9), exactly(7)])
def test_a_record_that_fails_is_true_and_one_that_is_forced_is_found(
    empty_registry, condition
):
    register(condition=condition, share=1)
    r = json.loads(json.dumps(record(claims.run("toy", range(20)))))
    assert not r["holds"]
    assert false_counts(r) == []
    assert false_counts(r | {"holds": True}) == ["holds"]
    assert false_counts(r | {"held": 20, "holds": True}) == ["held", "holds"]


def test_no_gate_asks_whether_claims_hold():
    """`make claims` exits with 1 where one does not: a finding, and no fault."""
    root = EVIDENCE.parent.parent
    (needs,) = re.findall(r"^test: (.*?) *##", (root / "Makefile").read_text(), re.M)
    assert "claims" not in needs.split()
    for workflow in (root / ".github" / "workflows").glob("*.yml"):
        assert "make claims" not in workflow.read_text("utf-8"), workflow.name


# ------------------------------------------------- measures against another oracle


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_descent_counts_the_steps_that_a_loop_takes(seed):
    data = datasets.used_cars(seed)
    x = np.column_stack([np.ones(500), fit_standardize(data.x)(data.x)])
    y = data.y - data.y.mean()
    hessian = x.T @ x / 500
    eigenvalues = np.linalg.eigvalsh(hessian)
    rate = 2 / (eigenvalues[0] + eigenvalues[-1])
    best = np.linalg.solve(hessian, x.T @ y / 500)
    w, steps = np.zeros(3), 0
    start = best @ hessian @ best
    while (w - best) @ hessian @ (w - best) > 1e-6 * start:
        w -= rate * (hessian @ w - x.T @ y / 500)
        steps += 1
    condition, counted = descent(x[:, 1:], data.y, 1e-6)
    assert counted == steps
    assert condition == pytest.approx(eigenvalues[-1] / eigenvalues[0], rel=1e-9)


@pytest.mark.parametrize("norm", [None, "batch"])
def test_spectra_are_those_of_the_jacobian_that_autograd_finds(norm):
    net = {"depth": 1, "width": 6, "batch": 20, "examples": 3}
    ours = _spectra([5], "tanh", 1.0, norm=norm, **net)[0, 0]

    from batchnorm.claims import _digits
    from batchnorm.ensemble import Network, forward, init_parameters, unpack

    network = Network((64,), (6, 6), nonlinearity="tanh", norm=norm)
    theta = init_parameters(network, [5], 1.0)
    trace = forward(network, theta, _digits.one_batch([5], 20)[0])
    weight = torch.tensor(unpack(network, theta)[1].weight[0])
    mean, std = torch.zeros(6), torch.ones(6)
    if norm:
        mean = torch.tensor(trace[1].mean[0])
        std = torch.sqrt(torch.tensor(trace[1].var[0]) + network.eps)
    for u, expected in zip(trace[1].input[0, :3], ours, strict=True):
        jacobian = torch.autograd.functional.jacobian(
            lambda v: torch.tanh((weight @ v - mean) / std), torch.tensor(u)
        )
        s = torch.linalg.svdvals(jacobian).numpy()
        np.testing.assert_allclose(expected, s, rtol=1e-10)
