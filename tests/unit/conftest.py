"""What the tests of the code share."""

import os

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from batchnorm import figures, mnist
from batchnorm.datasets import Split
from batchnorm.experiments import conv, dense, findings, splits
from batchnorm.figures import style


@pytest.fixture
def draw(monkeypatch):
    """Draw, and return the panels of the one figure that was shown."""

    def run(function, *arguments, **settings):
        shown = []
        monkeypatch.setattr(plt, "show", lambda: shown.append(plt.gcf()))
        assert function(*arguments, **settings) is None
        (figure,) = shown
        assert plt.get_fignums() == [figure.number]
        figure.canvas.draw()  # what cannot be laid out fails here
        width = style.WIDE if settings.get("wide") else style.WIDTH
        assert figure.get_figwidth() == width
        bars = {
            image.colorbar.ax
            for ax in figure.axes
            for image in ax.images
            if image.colorbar
        }
        return [ax for ax in figure.axes if ax not in bars]

    with mpl.rc_context():
        mpl.use("agg")
        figures.use_style()
        yield run
        plt.close("all")


@pytest.fixture
def needs_mnist():
    """Skip, and say so, where there is no MNIST; fail where it is named in vain."""
    if mnist.available():
        return
    folder = os.environ.get(mnist.DIRECTORY)
    if folder:
        pytest.fail(f"{mnist.DIRECTORY} is {folder!r}, which does not hold MNIST")
    pytest.skip(f"no MNIST, so nothing was compared: {mnist.DIRECTORY} is not set")


@pytest.fixture
def seeded():
    """The same draws from torch in every run."""
    torch.manual_seed(0)


@pytest.fixture
def small_mnist(monkeypatch):
    """1300 noisy images for MNIST: class c has a bright band from row 2c on."""
    rng = np.random.default_rng(0)
    y = np.arange(1300) % 10
    x = 0.3 * rng.random((1300, 28, 28), np.float32)
    for label in range(10):
        x[y == label, 2 * label : 2 * label + 4] += 0.7
    x = x.reshape(1300, -1)
    data = Split(x[:1000], y[:1000], x[1000:], y[1000:], (1, 28, 28))
    monkeypatch.setattr(splits, "_mnist", lambda: data)
    monkeypatch.setattr(splits, "TUNED_ON", 300)
    monkeypatch.setattr(splits, "TESTED", 100)
    for module in (conv, dense, findings):
        monkeypatch.setattr(module, "TESTED", 100)
