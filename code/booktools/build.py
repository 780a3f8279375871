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


def jupyter_book() -> tuple[bool, str]:
    """Build the site from nothing; return whether it worked, and what was printed."""
    # Sphinx keeps pages of chapters that are gone.
    shutil.rmtree(ROOT / "_build", ignore_errors=True)
    command = shutil.which("jupyter-book", path=sysconfig.get_path("scripts"))
    options = ["-n", "-W", "--keep-going", "--quiet"]
    # Into a file, not a pipe: a build that breaks leaves KaTeX's server behind, which
    # would hold the pipe open, and us, forever. Its group goes when the build is done.
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        build = subprocess.Popen(
            [command, "build", str(ROOT), *options],
            env=os.environ | {"PYDEVD_DISABLE_FILE_VALIDATION": "1"},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            built = build.wait() == 0
        finally:
            if os.name == "posix":
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(build.pid, signal.SIGTERM)
        log.seek(0)
        return built, log.read()


def main() -> int:
    built, output = jupyter_book()
    if not built and "ConnectionRefusedError" in output:
        # KaTeX's server listens a moment after its socket is there; on a busy machine
        # the build can come in between.
        built, output = jupyter_book()
    if not built:
        sys.stderr.write(output)
        print("the book was not built; the lines above say why", file=sys.stderr)
        shutil.rmtree(HTML, ignore_errors=True)
        return 1
    print(f"the book is at {HTML / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
