"""Build the site: ``python -m booktools.build``. A warning is an error."""

import os
import shutil
import subprocess
import sys
import sysconfig

from booktools.notebooks import ROOT

HTML = ROOT / "_build" / "html"


def main() -> int:
    # Sphinx keeps pages of chapters that are gone; a site is built from nothing.
    shutil.rmtree(ROOT / "_build", ignore_errors=True)
    jupyter_book = shutil.which("jupyter-book", path=sysconfig.get_path("scripts"))
    options = ["-n", "-W", "--keep-going", "--quiet"]
    build = subprocess.run(
        [jupyter_book, "build", str(ROOT), *options],
        env=os.environ | {"PYDEVD_DISABLE_FILE_VALIDATION": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if build.returncode:
        sys.stderr.write(build.stdout + build.stderr)
        print("the book was not built; the lines above say why", file=sys.stderr)
        shutil.rmtree(HTML, ignore_errors=True)
        return 1
    print(f"the book is at {HTML / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
