"""Which elements of a tensor share a mean, drawn as a cube."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np

from batchnorm.figures.style import WIDTH, WITH


def cubes(panels: Mapping[str, np.ndarray], columns: int = 3) -> None:
    """Draw a tensor as a cube of small cubes, some of them colored, for each panel.

    Parameters
    ----------
    panels : mapping of str to ndarray of bool, shape (N, C, pixels)
        Title to which elements are colored.
    columns : int
        Panels in a row.
    """
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    _, axes = plt.subplots(
        rows,
        columns,
        figsize=(WIDTH, 2.1 * rows),
        subplot_kw={"projection": "3d"},
        squeeze=False,
    )
    for ax, (title, colored) in zip(axes.flat, panels.items(), strict=True):
        shown = colored.transpose(1, 2, 0)[:, :, ::-1]  # the first example on top
        pale = np.full(shown.shape, "#e9f2f8")
        ax.voxels(
            np.ones_like(shown),
            facecolors=np.where(shown, WITH, pale),
            edgecolor="#a8a8a8",
            linewidth=0.5,
            shade=False,
        )
        n, c, pixels = colored.shape
        ax.set(xlim=(0, c), ylim=(0, pixels), zlim=(0, n))
        ax.set(xticks=[], yticks=[], zticks=[])
        ax.set_xlabel("C", labelpad=-14)
        ax.set_ylabel("H·W", labelpad=-14)
        ax.set_zlabel("N", labelpad=-14)
        ax.set_box_aspect((c, pixels, n), zoom=0.92)
        ax.view_init(elev=24, azim=-52)
        ax.set_title(title, y=0.99)
    plt.show()
