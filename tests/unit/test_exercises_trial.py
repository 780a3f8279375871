"""The trial: its programs are wrong, its draw is fixed, its record is what it says."""

import collections
import json

import numpy as np
import pytest

from batchnorm.exercises import trial
from batchnorm.exercises.trial import __main__ as command

PROGRAMS = {program.id: program for program in trial.programs()}

each = pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)


@each
def test_a_program_is_wrong_and_says_where_it_comes_from(program):
    assert not program.found.right
    assert program.sources
    assert not any(word in program.code for word in ("https:", "github", "diagnose"))


def test_the_plan_says_how_many_programs_there_are():
    tasks = collections.Counter(p.task for p in PROGRAMS.values())
    plan = " ".join((trial.HERE.parents[3] / "docs" / "trial.md").read_text().split())
    for task, count in tasks.items():
        assert f"`{task}` ({count})" in plan
    named = [p.found.mistake for p in PROGRAMS.values() if p.found.mistake]
    assert (
        f"names the mistake of {len(named)}, of {sum('+' in m for m in named)}" in plan
    )


def test_the_draw_gives_ten_to_each_arm_and_splits_those_with_a_name():
    drawn = trial.arms()
    assert collections.Counter(drawn.values()) == {"named": 10, "wrong": 10}
    split = collections.Counter(
        (bool(PROGRAMS[id].found.mistake), arm) for id, arm in drawn.items()
    )
    assert split == {
        (True, "named"): 7,
        (True, "wrong"): 6,
        (False, "named"): 3,
        (False, "wrong"): 4,
    }


@each
def test_a_reader_sees_the_program_and_what_its_arm_is_told(program):
    named = trial.prompt(program, "named", "answers")
    wrong = trial.prompt(program, "wrong", "answers")
    assert program.code in named
    assert program.code in wrong
    assert program.found.message in named
    assert f"{program.task}: wrong.\nAt " in wrong
    assert "In training:" not in wrong
    assert not any(address in named + wrong for address in program.sources)


@each
def test_an_input_that_is_told_by_its_shape_is_written_out(program):
    for arm in trial.ARMS:
        text = trial.prompt(program, arm, "answers")
        written = (
            all(f"\n{name} = {np.asarray(value).tolist()}\n" in text
                for name, value in probe.arguments.items())
            for probe in trial.TASKS[program.task].probes
        )  # fmt: skip
        # Of a module's inputs, a message tells less than half.
        told = "of shape" in text or program.task == "module"
        assert any(written) == ("That input is:" in text) == told


def test_an_answer_is_judged_and_a_missing_one_is_no_repair(tmp_path, monkeypatch):
    trial.write(tmp_path)
    assert len(list(tmp_path.glob("*.txt"))) == 20
    right = "def forward(x, gamma, beta, eps):\n    c = x - x.mean(0)\n"
    right += "    return gamma * c / ((c**2).mean(0) + eps) ** 0.5 + beta\n"
    (tmp_path / "answers" / "01.py").write_text(right)
    (tmp_path / "answers" / "02.py").write_text("def forward(:\n")
    (tmp_path / "answers" / "03.py").write_text(PROGRAMS["03"].code)
    monkeypatch.setattr(trial, "RECORD", tmp_path / "record.json")
    command.main(["judge", str(tmp_path)])
    record = json.loads((tmp_path / "record.json").read_text())
    repaired = {row["id"]: row["repaired"] for row in record["rows"]}
    assert len(repaired) == 20
    assert [id for id, good in repaired.items() if good] == ["01"]
    assert sum(k for k, _ in record["counts"].values()) == 1


@pytest.mark.parametrize(
    ("named", "wrong", "interval", "verdict"),
    [
        # Wilson's bound of 10 of 10 is 10/(10 + 1.96²) = 0.7225.
        ((10, 10), (10, 10), (0.0, -0.2775, 0.2775), "opposed"),
        ((10, 10), (0, 10), (1.0, 1 - 2**0.5 * 0.2775, 1.0), "supported"),
        # The example of Newcombe (1998), method 10.
        ((56, 70), (48, 80), (0.2, 0.0524, 0.3339), "undecided"),
    ],
)
def test_the_interval_is_newcombes(named, wrong, interval, verdict):
    rows = [
        {"arm": arm, "repaired": k < count}
        for arm, (count, of) in (("named", named), ("wrong", wrong))
        for k in range(of)
    ]
    found = trial.outcome(rows)
    gap, low, high = found["difference"]
    assert [gap, low, min(high, 1)] == pytest.approx(list(interval), abs=6e-4)
    assert found["verdict"] == verdict


def test_the_record_is_what_its_answers_come_to():
    record = trial.record()
    if record is None:
        pytest.skip("the trial was not run yet")
    drawn = trial.arms()
    assert [row["id"] for row in record["rows"]] == list(PROGRAMS)
    for row in record["rows"]:
        program = PROGRAMS[row["id"]]
        found = program.judge(row["answer"])
        assert (row["arm"], row["repaired"]) == (drawn[row["id"]], found.right)
    again = trial.outcome(record["rows"])
    assert {name: record[name] for name in again} == json.loads(json.dumps(again))
