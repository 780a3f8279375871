"""Compare the claims' verdicts with the recorded ones.

    python -m batchnorm.claims --output FILE
    python -m booktools.verdicts FILE

Prints each claim whose verdict is not the recorded one, and exits with 1 if there is
any. Claims that died wrote no file: then every verdict differs.
"""

import sys
from pathlib import Path

from batchnorm import claims
from batchnorm.claims.__main__ import DATA_FILE
from booktools.notebooks import ROOT


def verdicts(file: Path) -> dict[str, tuple[int, bool]]:
    """Seeds held, and whether that is enough, of each claim in a data file."""
    if not file.exists():
        return {}
    return {r["id"]: (r["held"], r["holds"]) for r in claims.load(file)["claims"]}


def main(arguments: list[str] | None = None) -> int:
    (file,) = arguments or sys.argv[1:]
    recorded, found = verdicts(ROOT / DATA_FILE), verdicts(Path(file))
    differ = sorted(id for id in recorded | found if recorded.get(id) != found.get(id))
    for id in differ:
        print(f"{id}: recorded {recorded.get(id)}, here {found.get(id)}")
    print(f"{len(differ)} of {len(recorded)} verdicts differ from the recorded ones")
    return int(bool(differ))


if __name__ == "__main__":
    sys.exit(main())
