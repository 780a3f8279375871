"""Build the site: ``python -m booktools.build``. A warning is an error."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile

from booktools.notebooks import ROOT

HTML = ROOT / "_build" / "html"


def main() -> int:
    # Sphinx keeps pages of chapters that are gone; a site is built from nothing.
    shutil.rmtree(ROOT / "_build", ignore_errors=True)
    jupyter_book = shutil.which("jupyter-book", path=sysconfig.get_path("scripts"))
    options = ["-n", "-W", "--keep-going", "--quiet"]
    # Into a file, not a pipe: a build that breaks leaves KaTeX's server behind, which
    # would hold the pipe open, and us, forever. Its group goes when the build is done.
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        build = subprocess.Popen(
            [jupyter_book, "build", str(ROOT), *options],
            env=os.environ | {"PYDEVD_DISABLE_FILE_VALIDATION": "1"},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            failed = build.wait() != 0
        finally:
            if os.name == "posix":
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(build.pid, signal.SIGTERM)
        log.seek(0)
        output = log.read()
    if failed:
        sys.stderr.write(output)
        print("the book was not built; the lines above say why", file=sys.stderr)
        shutil.rmtree(HTML, ignore_errors=True)
        return 1
    print(f"the book is at {HTML / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
