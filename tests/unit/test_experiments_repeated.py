"""The beginning of a recorded run, measured again and compared with its file."""

import json

import numpy as np
import pytest

from batchnorm.experiments import __main__ as command
from batchnorm.experiments import chosen, dense, recorded, repeated, runs
from batchnorm.experiments.recorded import Cell, Recorded
from batchnorm.mnist import DataUnavailableError


@pytest.fixture
def planted(monkeypatch, small_mnist, tmp_path):
    """A run with a curve, recorded on the spot."""
    net = chosen.NETS["adam"]._replace(width=8)
    given = {"net": net, "batch": 8, "steps": 20, "at": (1, 2, 10, 20)}
    arms = {norm or "none": chosen.Arm(norm, 0.1) for norm in (None, "batch")}

    def cells(folder):
        slow = Cell({"arm": arms["batch"]._replace(rate=1e-3), **given}, 1)
        none, batch = (Cell({"arm": arm, **given}) for arm in arms.values())
        return {"none": none, "slow": slow, "batch": batch}

    run = Recorded("planted", "Small.", dense.curves, cells, seeds=2, block=2)
    monkeypatch.setitem(runs.RUNS, "planted", run)
    measured = {name: cell.setting for name, cell in cells(tmp_path).items()}
    records = [
        recorded.carry_out("planted", run.measure, cell, measured[cell], seeds, "cpu")
        for cell, seeds in run.tasks(tmp_path)
    ]
    run.write(records, tmp_path)
    return run


def test_both_arms_of_one_seed_come_out_again_up_to_a_tenth_of_their_steps(
    planted, tmp_path
):
    told = repeated.repeat("planted", folder=tmp_path)
    read = [(one.cell, one.key) for one in told]
    assert read == [("none", "right"), ("batch", "right")]
    seed = planted.drawn(tmp_path)[0]
    for one in told:
        assert one.seed == seed
        assert len(one.again) == len(one.stored) == 2
        assert one.agrees
    assert "agree, 0 apart at most, 10 allowed" in repeated.said(told)


def test_a_number_that_differs_by_more_than_is_allowed_is_told(
    planted, tmp_path, capsys
):
    line = ["--repeat", "planted", "--folder", str(tmp_path)]
    assert command.main(line) == 0
    data = json.loads(planted.file(tmp_path).read_text("utf-8"))
    data["records"][-1]["right"][0][0] += 11
    planted.file(tmp_path).write_text(json.dumps(data), "utf-8")
    capsys.readouterr()
    assert command.main(line) == 1
    said = capsys.readouterr().out
    assert "none, seed" in said
    assert said.count(": agree, 0 apart") == 1
    assert "differ, 11 apart at most, 10 allowed" in said


def test_what_is_not_recorded_or_takes_a_gpu_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'mnist-tanh', which is not recorded"):
        repeated.repeat("mnist-tanh", folder=tmp_path)
    with pytest.raises(ValueError, match="'tune-cnn', a sweep that takes a GPU"):
        repeated.repeat("tune-cnn")
    with pytest.raises(ValueError, match="name is 'x'; allowed are"):
        repeated.repeat("x")


def test_without_mnist_the_command_says_what_to_do(monkeypatch, capsys):
    def missing(*_, **__):
        raise DataUnavailableError("neither here nor there")

    monkeypatch.setattr(dense, "reported", missing)
    assert command.main(["--repeat", "mnist-accumulated"]) == 2
    assert "neither here nor there" in capsys.readouterr().err


@pytest.mark.parametrize("name", [n for n in runs.RUNS if n.startswith("mnist")])
def test_every_beginning_is_shorter_or_whole(name):
    run = runs.RUNS[name]
    for cell in run.cells(recorded.FOLDER).values():
        shorter = repeated._beginning(name, cell.setting)
        if "at" in cell.setting:
            assert shorter["steps"] == shorter["at"][-1] < cell.setting["steps"]
            assert shorter["at"] == cell.setting["at"][: len(shorter["at"])]
        else:
            assert shorter == cell.setting


@pytest.mark.usefixtures("needs_mnist")
@pytest.mark.parametrize("name", ["figure1", "mnist-tanh", "mnist-accumulated"])
def test_recorded_runs_come_out_again(name):
    told = repeated.repeat(name)
    assert {one.cell for one in told} <= set(runs.RUNS[name].cells(recorded.FOLDER))
    assert all(one.agrees for one in told), repeated.said(told)
    assert not any(np.isnan(one.again).any() for one in told)
