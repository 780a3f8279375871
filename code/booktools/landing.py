"""The figure on the first page, which ``python -m booktools.landing`` takes again.

A code host shows ``_static/landing.png`` in the README, where no notebook runs.
"""

import base64
import sys

from booktools.notebooks import ROOT, notebooks, read

LANDING = ROOT / "_static" / "landing.png"
#: The label of the figure, as its cell names it.
NAME = "fig-first-both"


def stored(name: str) -> bytes:
    """The stored figure of a chapter, by its label "fig-..." -> bytes of a PNG."""
    for path in notebooks():
        for cell in read(path).cells:
            figure = cell.metadata.get("mystnb", {}).get("figure", {})
            for output in cell.get("outputs", []):
                data = output.get("data", {})
                if figure.get("name") == name and "image/png" in data:
                    return base64.b64decode(data["image/png"])
    raise ValueError(f"name is {name!r}; allowed are figures that a chapter stores")


def main() -> int:
    """Write the figure of the first page."""
    LANDING.write_bytes(stored(NAME))
    print(f"{LANDING.relative_to(ROOT)}: {NAME}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
