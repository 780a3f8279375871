"""The long run of figure 1: its file is whole, and its beginning can be run again."""

import json
from concurrent.futures import Future
from dataclasses import asdict

import numpy as np
import pytest

from batchnorm import datasets, mnist
from batchnorm.experiments import figure1


@pytest.fixture
def tiny_mnist(monkeypatch):
    """1200 binary images, so that the command runs without MNIST in a second."""
    rng = np.random.default_rng(0)
    x = (rng.random((1200, 784)) < 0.2).astype(np.uint8)
    y = np.arange(1200) % 10
    for label in range(10):
        x[y == label, 70 * label : 70 * label + 70] = 1
    data = datasets.Split(x[:1000], y[:1000], x[1000:], y[1000:], (1, 28, 28))
    monkeypatch.setattr(figure1, "_mnist", lambda: data)
    return data


def test_schedule_starts_at_0_ends_at_the_last_step_and_is_denser_early():
    at = figure1.schedule(50_000)
    assert at[:3] == (0, 250, 500)
    assert at[-2:] == (49_000, 50_000)
    assert figure1.schedule(300) == (0, 250, 300)


def test_run_learns_and_says_at_each_step_of_the_schedule_what_it_can(tiny_mnist):
    run = figure1.run("A", "batch", 3, steps=300)
    assert (run["setting"], run["arm"], run["seed"]) == ("A", "batch", 3)
    assert len(run["correct"]) == len(run["percentiles"]) == 3
    assert run["correct"][-1] > 190 > run["correct"][0]
    assert all(low <= middle <= high for low, middle, high in run["percentiles"])
    assert json.loads(json.dumps(run)) == run


@pytest.fixture
def ran(monkeypatch):
    """What the command runs, in place of worker processes; the sixth is interrupted."""
    units = []

    class Pool:
        def __init__(self, *_):
            self.left = 5

        def submit(self, function, setting, arm, seed, steps):
            future = Future()
            self.left -= 1
            if self.left < 0:
                future.set_exception(KeyboardInterrupt())
                return future
            units.append((setting, arm, seed))
            future.set_result(
                {"setting": setting, "arm": arm, "seed": seed, "correct": [1, 2]}
            )
            return future

        def shutdown(self, **_):
            pass

    monkeypatch.setattr(figure1, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(figure1, "as_completed", list)
    return units


def test_command_goes_on_where_it_was_stopped(tiny_mnist, ran, tmp_path):
    file = tmp_path / "figure1.json"
    command = ["--steps", "1", "--seeds", "1", "--output", str(file)]
    assert figure1.main(command) == 130
    assert not file.exists()
    assert figure1.main(command) == 0
    assert sorted(ran) == sorted((s, a, 0) for s in "ABCD" for a in figure1.ARMS)
    data = figure1.load(file)
    assert data["steps"] == [0, 1]
    assert figure1.select(data, "correct", "B", "batch").tolist() == [[1, 2]]
    assert list(tmp_path.iterdir()) == [file]


def test_a_part_made_with_other_steps_is_not_taken_up(ran, tmp_path):
    partial = tmp_path / ".figure1.json.partial"
    unit = ("A", "none", 0)
    assert len(figure1._run_all([unit], 1, 1, partial)) == 1
    figure1._run_all([unit], 1, 1, partial)
    assert ran == [unit]
    figure1._run_all([unit], 400, 1, partial)
    assert ran == [unit, unit]


def test_without_mnist_the_command_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv(mnist.DIRECTORY, str(tmp_path / "nowhere"))
    figure1._mnist.cache_clear()
    with pytest.raises(SystemExit, match=r"neither train-images.*download"):
        figure1.main(["--output", str(tmp_path / "figure1.json")])
    assert list(tmp_path.iterdir()) == []


def test_command_refuses_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(SystemExit, match="folder that does not exist"):
        figure1.main(["--output", str(tmp_path / "no" / "figure1.json")])


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "does not exist"), ('{"runs"', "not whole"), ("{}", "holds no runs")],
)
def test_load_refuses_what_is_no_result_file(tmp_path, text, message):
    file = tmp_path / "figure1.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ValueError, match=message):
        figure1.load(file)


def test_table_has_a_line_for_each_arm_and_infinity_where_no_seed_arrives():
    runs = [
        {"setting": "A", "arm": arm, "seed": seed, "correct": correct}
        for arm, correct in (("none", [1000, 8000, 9100]), ("batch", [900, 9600, 9800]))
        for seed in (0, 1)
    ]
    data = {"steps": [0, 1000, 5000], "settings": {"A": {}}, "runs": runs}
    head, none, batch = figure1.table(data).splitlines()
    assert head.split()[:3] == ["setting", "arm", "seeds"]
    assert "5000 [5000, 5000]" in none
    assert "inf" in none
    assert batch.count("1000 [1000, 1000]") == 2


def test_recorded_runs_are_all_there():
    data = figure1.load()
    assert data["steps"] == list(figure1.schedule(figure1.STEPS))
    for setting in figure1.SETTINGS:
        for arm in figure1.ARMS:
            seeds = len(figure1.SEEDS)
            shape = figure1.select(data, "correct", setting, arm).shape
            assert shape == (seeds, len(data["steps"]))
            shape = figure1.select(data, "percentiles", setting, arm).shape
            assert shape == (seeds, len(data["steps"]), 3)


def test_recorded_settings_are_those_of_the_code():
    recorded = figure1.load()["settings"]
    assert recorded == {k: asdict(v) for k, v in figure1.SETTINGS.items()}


@pytest.mark.usefixtures("needs_mnist")
@pytest.mark.parametrize(
    ("setting", "arm"), [("A", "batch"), ("B", "batch"), ("C", "none")]
)
def test_the_beginning_of_a_recorded_run_comes_out_again(setting, arm):
    figure1._mnist.cache_clear()
    data = figure1.load()
    again = figure1.run(setting, arm, 0, steps=500)
    kept = slice(0, len(again["correct"]))
    recorded = figure1.select(data, "correct", setting, arm)[0, kept]
    # Another processor may round differently, and one image of 10,000 turn over.
    np.testing.assert_allclose(again["correct"], recorded, atol=2)
    recorded = figure1.select(data, "percentiles", setting, arm)[0, kept]
    np.testing.assert_allclose(again["percentiles"], recorded, atol=0.011)


def test_the_lead_after_1000_steps_is_what_the_landing_page_says():
    """Tens of points at the careless settings, one or two at the others."""
    data = figure1.load()
    at = data["steps"].index(1000)
    lead = {
        name: np.median(
            figure1.select(data, "correct", name, "batch")[:, at]
            - figure1.select(data, "correct", name, "none")[:, at]
        )
        / 100
        for name in figure1.SETTINGS
    }
    assert min(lead["A"], lead["B"]) > 20
    assert min(lead["C"], lead["D"]) > 0.5
    assert max(lead["C"], lead["D"]) < 2.5
