"""Build the site: ``python -m booktools.build``. A warning is an error."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from booktools.notebooks import ROOT

HTML = ROOT / "_build" / "html"


def build(root: Path) -> tuple[bool, str]:
    """Build the book below ``root`` from nothing; return whether it is clean, and why.

    The site is in ``_build/html``; it is there only if it was built without a warning.
    """
    # Sphinx keeps pages of chapters that are gone.
    shutil.rmtree(root / "_build", ignore_errors=True)
    command = shutil.which("jupyter-book", path=sysconfig.get_path("scripts"))
    done = subprocess.run(
        [command, "build", str(root), "-n", "-W", "--keep-going", "--quiet"],
        env=os.environ | {"PYDEVD_DISABLE_FILE_VALIDATION": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode != 0:
        shutil.rmtree(root / "_build" / "html", ignore_errors=True)
    return done.returncode == 0, done.stdout


def main() -> int:
    clean, output = build(ROOT)
    if not clean:
        sys.stderr.write(output)
        print("the book was not built; the lines above say why", file=sys.stderr)
        return 1
    print(f"the book is at {HTML / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
