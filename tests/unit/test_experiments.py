"""Recorded runs: their cells, tasks and files, and what is found in them."""

from dataclasses import replace

import numpy as np
import pytest

from batchnorm.claims import fingerprint
from batchnorm.claims.types import OPPOSED, SUPPORTED, UNDECIDED, above, within
from batchnorm.experiments import (
    chosen,
    conv,
    dense,
    figure1,
    figure1_tuned,
    recorded,
    runs,
    splits,
)
from batchnorm.experiments.findings import (
    Finding,
    effects_of,
    judge,
    ratio_of_steps,
    steps,
)
from batchnorm.experiments.recorded import Cell, Recorded, carry_out, values

CONFIRMED = [name for name in runs.RUNS if name.startswith("mnist")]
TUNED = [name for name in runs.RUNS if name.startswith("tune")]


def planted(run, folder):
    """A result file without training: rates and scales in the middle score best."""
    records = []
    for cell, seeds in run.tasks(folder):
        setting = run.cells(folder)[cell].setting
        rates = np.array(setting.get("rates", [setting.get("rate")]))[:, None]
        scales = np.array(setting.get("scales", [1.0]))
        scores = -abs(np.log(rates / 0.15)) - abs(np.log(scales / 1.1)) / 10
        rows = [scores.ravel().tolist() for _ in seeds]
        records.append({"cell": cell, "seeds": seeds, "early": rows, "final": rows})
    run.write(records, folder)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A folder in which every sweep has a planted result; no test writes to it."""
    folder = tmp_path_factory.mktemp("tuned")
    for name in TUNED:
        planted(runs.RUNS[name], folder)
    return folder


def small(setting):
    """A setting with few steps, small networks and batches, and grids of two."""
    tuning = {"scales", "rates"} & set(setting)
    ghosts = "ghost" in str(setting.get("norm", setting.get("arm", "")))
    on_maps = isinstance(setting["net"], conv.Shallow | conv.Residual)
    readings = 10 if on_maps else 20  # of a sweep, at least a step each
    changed = {
        "steps": readings if tuning else 4,
        "at": (2, 4),
        "batch": 64 if ghosts else min(setting.get("batch", 0), 8),
        "rates": setting.get("rates", ())[:2],
        "scales": setting.get("scales", ())[:2],
    }
    if isinstance(setting["net"], conv.Residual):
        changed["net"] = conv.Residual(4)
    return setting | {k: v for k, v in changed.items() if k in setting}


@pytest.mark.parametrize("name", [*TUNED, *CONFIRMED])
@pytest.mark.usefixtures("small_mnist")
def test_each_kind_of_task_returns_a_row_a_seed(name, tuned):
    run, done = runs.RUNS[name], set()
    for cell, seeds in run.tasks(tuned):
        setting = run.cells(tuned)[cell].setting
        norm = setting["arm"].norm if "arm" in setting else setting.get("norm")
        kind = norm[0] if isinstance(norm, tuple) else norm
        if kind in done:
            continue
        done.add(kind)
        record = carry_out(name, run.measure, cell, small(setting), seeds[:2], "cpu")
        rows = [v for k, v in record.items() if isinstance(v, list) and k != "seeds"]
        assert rows
        assert all(len(row) == 2 for row in rows)


@pytest.mark.parametrize("name", CONFIRMED)
def test_every_finding_and_control_is_about_cells_of_its_run(name, tuned):
    run = runs.RUNS[name]
    cells = run.cells(tuned)
    assert run.findings
    for finding in run.findings:
        for changed in ({}, finding.negative, finding.positive):
            named = {"first": finding.first, "second": finding.second}
            named |= changed or {}
            assert {named["first"], named["second"]} <= set(cells)
        assert finding.statement.endswith(".")


def test_arms_are_chosen_by_their_score_and_an_edge_is_told(tuned):
    arm = chosen.best(chosen.SWEEPS["relu"], tuned, "batch")
    assert (arm.norm, arm.rate, arm.scale) == ("batch", 0.1, 1.0)
    data = chosen.SWEEPS["relu"].load(tuned)
    assert chosen.edges(data, ["none", "batch"], "early") == []
    data["settings"] = {k: v for k, v in data["settings"].items() if "at 0.1" in k}
    data["settings"]["batch at 0.032"] = {"rate": 0.032, "scales": chosen.scales(-4, 2)}
    assert chosen.edges(data, ["batch"], "early") == ["batch"]


def cells(folder):
    """Two, one on fewer seeds."""
    return {"a": Cell({"factor": 1}), "b": Cell({"factor": 2}, 3)}


RUN = Recorded("tiny", "Numbers.", dense.trained, cells, seeds=7, block=2)


def test_tasks_are_blocks_of_the_seeds_that_the_definition_draws(tmp_path):
    drawn = RUN.drawn(tmp_path)
    assert len(set(drawn)) == 7
    tasks = RUN.tasks(tmp_path)
    assert [len(seeds) for _, seeds in tasks] == [2, 2, 2, 1, 2, 1]
    assert sum((seeds for cell, seeds in tasks if cell == "a"), ()) == drawn
    assert sum((seeds for cell, seeds in tasks if cell == "b"), ()) == drawn[:3]


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "other"},
        {"seeds": 8},
        {"cells": lambda folder: {"a": Cell({"factor": 3})}},
        {"findings": (Finding("x", "", "X.", "x", above(1), "final", "a", "b"),)},
    ],
)
def test_another_definition_draws_other_seeds(changed, tmp_path):
    fields = ("name", "about", "measure", "cells", "seeds", "block", "findings")
    same = {field: getattr(RUN, field) for field in fields}
    assert Recorded(**same).drawn(tmp_path) == RUN.drawn(tmp_path)
    other = Recorded(**same | changed)
    assert not set(other.drawn(tmp_path)) & set(RUN.drawn(tmp_path))


def test_a_file_is_whole_only_as_long_as_its_definition_stands(tmp_path):
    assert not RUN.whole(tmp_path)
    RUN.write([{"cell": "a", "seeds": [1, 2], "number": [1, 2]}], tmp_path)
    assert RUN.whole(tmp_path)
    data = RUN.load(tmp_path)
    assert values(data, "a", "number").tolist() == [1, 2]
    with pytest.raises(ValueError, match="cell is 'b'; allowed are 'a'"):
        values(data, "b", "number")
    with pytest.raises(ValueError, match=r"key is 'loss'; allowed are .*'number'"):
        values(data, "a", "loss")
    other = Recorded("tiny", "Numbers.", dense.trained, cells, seeds=8, block=2)
    assert not other.whole(tmp_path)


@pytest.mark.parametrize("seeds", [0, -1, 8, 2.0, True])
def test_a_cell_has_some_of_the_seeds_that_are_drawn(seeds, tmp_path):
    run = replace(RUN, cells=lambda folder: {"a": Cell({}), "b": Cell({}, seeds)})
    with pytest.raises(ValueError, match=r"^seeds of b is .* from 1 to 7"):
        run.tasks(tmp_path)


@pytest.mark.parametrize("block", [0, -5, 2.0, None])
def test_a_task_has_a_seed_at_least(block):
    with pytest.raises(ValueError, match=r"^block is .*; allowed are integers from 1"):
        replace(RUN, block=block)


@pytest.mark.parametrize("device", ["gpu", "GPU", "", None, "cuda:0"])
def test_a_task_runs_on_a_device_that_there_is_or_not_at_all(device):
    def measure(seeds, device):
        pytest.fail("it ran")

    with pytest.raises(ValueError, match=r"^device is .*; allowed are 'auto', 'cpu'"):
        carry_out("tiny", measure, "a", {}, (1, 2), device)


# ------------------------------------------------------------------------------ Effects


STEPS = Finding("s", "", "S.", "s", above(1.25), "steps", "a", "b", target=0.5)


def curve(*rows):
    return {"right": 2000 * np.array(rows), "at": (5, 10, 20)}


def test_steps_lie_between_two_readings_and_are_open_where_none_arrives():
    cell = curve([0.4, 0.5, 0.9], [0.6, 0.4, 0.9], [0.1, 0.2, 0.3])
    assert steps(STEPS, cell).tolist() == [[6, 10], [1, 5], [20, np.inf]]
    ends = ratio_of_steps(STEPS, cell, curve(*np.full((3, 3), 0.6)))
    assert ends.tolist() == [[6 / 5, 10], [1 / 5, 5], [4, np.inf]]


@pytest.mark.parametrize(
    ("center", "verdict"), [(1.0, SUPPORTED), (1.14, UNDECIDED), (1.5, OPPOSED)]
)
def test_over_the_law_every_point_counts(center, verdict):
    rng = np.random.default_rng(0)
    effects = 1 + 0.02 * rng.normal(size=(30, 3)) + np.array([0, 0, center - 1])
    effects[:, 2] += 0.1 * rng.normal(size=30) * (verdict == UNDECIDED)
    finding = Finding("o", "", "O.", "o", within(0.9, 1.1), "over-law", "a", "a")
    assert judge(finding, effects)[1] == verdict


def test_the_folder_of_result_files_is_in_the_package():
    assert recorded.FOLDER.is_dir()


@pytest.mark.usefixtures("needs_mnist")
@pytest.mark.parametrize("cell", ["none", "batch"])
def test_the_beginning_of_recorded_curves_comes_out_again(cell):
    run = runs.RUNS["mnist-sigmoid"]
    data = run.load()
    setting = run.cells(recorded.FOLDER)[cell].setting
    setting = {**setting, "steps": 20, "at": (5, 10, 15, 20)}
    again = run.measure(data["records"][0]["seeds"][:1], "cpu", **setting)["right"]
    # Another processor rounds differently in float32: half a point of 2000 images.
    first = values(data, cell, "right")[:1, :4]
    np.testing.assert_allclose(again, first, atol=10)


def test_the_share_of_a_lead_that_is_gone():
    keys = "now", "then"
    finding = Finding("s", "", "S.", "s", within(0.5, 1), "share", "a", "b", keys=keys)
    first = {"now": np.array([[9, 95], [9, 80]]), "then": np.array([[9, 90], [9, 70]])}
    second = {"now": np.array([[9, 85], [9, 80]]), "then": np.array([[9, 50], [9, 60]])}
    assert effects_of(finding)(finding, first, second).tolist() == [0.75, 1.0]


@pytest.mark.usefixtures("small_mnist")
def test_figure_1_is_tuned_on_images_of_zeros_and_ones_that_are_not_reported():
    for data in (splits.to_tune, splits.reported):
        made, gray = figure1_tuned.binary(data)(3), data(3)
        np.testing.assert_array_equal(made.x_train, gray.x_train > 127.5 / 255)
        np.testing.assert_array_equal(made.x_test, gray.x_test > 127.5 / 255)
        assert made.x_train.dtype == np.uint8
    reached = fingerprint.reached(figure1_tuned.__name__, "tuning")
    assert not any(name.endswith(".reported") for name in reached)


def test_what_was_guessed_is_the_figures_own_setting(tuned):
    cells = runs.RUNS["mnist-figure1"].cells(tuned)
    guess = cells["none"].setting["guess"]
    assert guess is cells["batch"].setting["guess"] is figure1.SETTINGS["A"]
