"""Build the site, serve it, build again when a file changes: ``make serve``.

A page that is open loads itself again. Each build is a process of its own, as `make
book` is, so that an edit of the code counts too. A build that fails says why and leaves
the pages that were there.
"""

import argparse
import subprocess
import sys
import threading
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from booktools.build import files

SECONDS = 0.5  # between two looks at the dates of all files
SCRIPT = b"""<script>
const before = %d;
setInterval(async () => {
  const now = await fetch("/~builds").then((r) => r.text()).catch(() => before);
  if (Number(now) !== before) location.reload();
}, 1000);
</script></body>"""
# The pages forbid scripts that stand in them; the one above has to run.
POLICY = b'http-equiv="Content-Security-Policy"'


def dates(root: Path) -> dict[Path, int]:
    """When each file that the site is built from was last written."""
    found = {}
    for path in files(root):
        with suppress(FileNotFoundError):  # an editor's, gone again
            found[path] = path.stat().st_mtime_ns
    return found


class Quiet(SimpleHTTPRequestHandler):
    """Serves files without a word, and what a page is made of on the way."""

    def send(self, body: bytes, **headers: str) -> None:
        """Send a body with these headers, whose names have underscores here."""
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Handler(Quiet):
    """Serves files; to a page it adds what loads it again after a build."""

    builds = 0

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        path = path / "index.html" if path.is_dir() else path
        if self.path == "/~builds":
            body, kind = b"%d" % Handler.builds, "text/plain"
        elif path.suffix == ".html" and path.is_file():
            body = path.read_bytes().replace(POLICY, b"data-policy")
            body = body.replace(b"</body>", SCRIPT % Handler.builds)
            kind = "text/html; charset=utf-8"
        else:
            return super().do_GET()
        return self.send(body, Content_Type=kind, Cache_Control="no-store")


def watch(root: Path, build, stop: threading.Event) -> None:
    """Call ``build()`` whenever a file has changed, until ``stop`` is set."""
    seen = dates(root)
    while not stop.wait(SECONDS):
        now = dates(root)
        if now != seen:
            seen = now
            if build() == 0:
                Handler.builds += 1


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m booktools.serve")
    parser.add_argument("--port", type=int, default=8000)
    asked = parser.parse_args(argv)
    root, command = Path.cwd(), [sys.executable, "-m", "booktools.build"]
    build = partial(subprocess.call, command)
    if build() != 0:
        return 1
    handler = partial(Handler, directory=str(root / "_build" / "html"))
    stop = threading.Event()
    with ThreadingHTTPServer(("127.0.0.1", asked.port), handler) as server:
        port = server.server_port
        print(f"the book is at http://127.0.0.1:{port}/ until you press Ctrl-C")
        threading.Thread(target=watch, args=(root, build, stop)).start()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass
        finally:
            stop.set()
    return 0


if __name__ == "__main__":
    sys.exit(main())
