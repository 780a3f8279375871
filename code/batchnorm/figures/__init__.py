"""What the chapters draw with: one style, one palette, the plots and the drawings.

Call :func:`use_style` once, in the first cell. Every function draws one figure
of fixed size and shows it; none returns anything, so that a cell's only output
is its figure. Captions and alt texts belong to the cell, titles to no figure.

``style`` names the colors by what they mean; ``plots`` and ``images`` draw data of
any kind, as lines and points or as grids; ``drawings`` draws one thing each.
"""

from batchnorm.figures.cubes import cubes
from batchnorm.figures.drawings import (
    computational_graph,
    descent,
    roofline,
    shared_means,
    tangent_to_circle,
    weight_paths,
)
from batchnorm.figures.images import heat_maps, image_rows, matrices, share_maps
from batchnorm.figures.plots import (
    arms,
    curve_panels,
    curves,
    dots,
    fits,
    histograms,
    percentiles,
    scatter,
    seeds_against,
    spread,
)
from batchnorm.figures.strips import strips
from batchnorm.figures.style import use_style

__all__ = [
    "arms", "computational_graph", "cubes", "curve_panels", "curves", "descent",
    "dots", "fits", "heat_maps", "histograms", "image_rows", "matrices",
    "percentiles", "roofline", "scatter", "seeds_against", "share_maps",
    "shared_means", "spread", "strips", "tangent_to_circle", "use_style",
    "weight_paths",
]  # fmt: skip
