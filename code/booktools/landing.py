"""The figure on the first page, which ``python -m booktools.landing`` takes again.

A code host shows ``_static/landing.png`` in the README, where no notebook runs.
"""

import sys

from booktools import figures
from booktools.notebooks import ROOT, chapters

LANDING = ROOT / "_static" / "landing.png"
#: The label of the figure, as its cell names it.
NAME = "fig-first-both"


def stored(name: str) -> bytes:
    """The stored figure of a chapter, by its label "fig-..." -> bytes of a PNG."""
    for path in chapters():
        for figure in figures.of(path):
            if f"fig-{figure.name}" == name:
                return figure.picture
    raise ValueError(f"name is {name!r}; allowed are figures that a chapter stores")


def main() -> int:
    """Write the figure of the first page."""
    LANDING.write_bytes(stored(NAME))
    print(f"{LANDING.relative_to(ROOT)}: {NAME}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
