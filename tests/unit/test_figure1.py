"""The long run of figure 1: its file is whole, and its beginning can be run again."""

import numpy as np
import pytest

from batchnorm import datasets, mnist
from batchnorm.experiments import __main__ as command
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


def run(setting, arm, steps):
    """Seed 0 of one arm, for so many steps."""
    given = {"setting": figure1.SETTINGS[setting], "norm": figure1.ARMS[arm]}
    return figure1.run([0], "cpu", steps=steps, **given)


def test_run_learns_and_says_at_each_step_of_the_schedule_what_it_can(tiny_mnist):
    found = run("A", "batch", steps=300)
    (correct,), (percentiles,) = found["correct"], found["percentiles"]
    assert len(correct) == len(percentiles) == 3
    assert correct[-1] > 190 > correct[0]
    assert (np.diff(percentiles, axis=1) >= 0).all()


def test_without_mnist_a_task_says_what_to_do_and_its_setting(
    monkeypatch, tmp_path, capsys
):
    monkeypatch.setenv(mnist.DIRECTORY, str(tmp_path / "nowhere"))
    figure1._mnist.cache_clear()
    monkeypatch.setattr(figure1, "SETTINGS", {"A": figure1.SETTINGS["A"]})
    arguments = ["figure1", "--folder", str(tmp_path), "--jobs", "1"]
    assert command.main(arguments) == 1
    said = "".join(capsys.readouterr())
    assert "figure1, A none, seeds (0,): failed" in said
    assert "neither train-images" in said
    assert list(tmp_path.iterdir()) == []


def test_table_has_a_line_for_each_arm_and_infinity_where_no_seed_arrives():
    records = [
        {"cell": f"A {arm}", "seeds": [0, 1], "correct": [correct, correct]}
        for arm, correct in (("none", [1000, 8000, 9100]), ("batch", [900, 9600, 9800]))
    ]
    data = {"steps": [0, 1000, 5000], "settings": {"A": {}}, "records": records}
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
            correct, percentiles = (
                figure1.select(data, key, setting, arm)
                for key in ("correct", "percentiles")
            )
            assert correct.shape == (len(figure1.SEEDS), len(data["steps"]))
            assert percentiles.shape == (*correct.shape, 3)


def test_the_recorded_run_is_that_of_the_code():
    assert figure1.RUN.whole()


@pytest.mark.usefixtures("needs_mnist")
@pytest.mark.parametrize(
    ("setting", "arm"), [("A", "batch"), ("B", "batch"), ("C", "none")]
)
def test_the_beginning_of_a_recorded_run_comes_out_again(setting, arm):
    figure1._mnist.cache_clear()
    data = figure1.load()
    again = {key: rows[0] for key, rows in run(setting, arm, steps=500).items()}
    kept = slice(0, len(again["correct"]))
    recorded = figure1.select(data, "correct", setting, arm)[0, kept]
    # Another processor may round differently, and one image of 10,000 turn over.
    np.testing.assert_allclose(again["correct"], recorded, atol=2)
    recorded = figure1.select(data, "percentiles", setting, arm)[0, kept]
    np.testing.assert_allclose(again["percentiles"], recorded, atol=0.011)


def test_the_lead_after_1000_steps_is_what_the_landing_page_says():
    """Tens of points at the careless settings, one or two at the others."""
    data, lead = figure1.load(), {}
    at = data["steps"].index(1000)
    for name in figure1.SETTINGS:
        batch, none = (
            figure1.select(data, "correct", name, arm)[:, at]
            for arm in ("batch", "none")
        )
        lead[name] = np.median(batch - none) / 100
    assert min(lead["A"], lead["B"]) > 20
    assert min(lead["C"], lead["D"]) > 0.5
    assert max(lead["C"], lead["D"]) < 2.5
