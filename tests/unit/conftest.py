"""What the tests of figures share."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

from batchnorm import figures
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
        assert figure.get_figwidth() == style.WIDTH
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
