"""Build the site: ``python -m booktools.build``, which is ``make book``.

What has been built is written down with a hash of each file it was built from. If none
has changed, nothing is done. If only chapters and pages have, they are read again, with
what depends on them; if what other pages see of them has changed too (a title, a label,
a number), all pages are written again. Anything else begins from nothing. The site that
comes out is the same, file by file, as from nothing: `tests/site/test_build.py`.

A warning is an error, and the site is there only if it was built without one.
"""

import argparse
import contextlib
import gc
import hashlib
import io
import json
import os
import shutil
import sys
import time
from pathlib import Path

FOLDERS = ("chapters", "back", "docs", "code", "_static", "_templates")
#: Written again, not begun from nothing, when these change.
PAGES = {".ipynb", ".md"}
STYLE = ("_static/", "_templates/")
#: The file that `booktools.pdf` writes; the site offers it if it is of the same book.
NAME = "batch-normalization.pdf"
#: Of the environment: what the pages say if it is set.
VARIABLES = ("BOOK_URL", "BOOK_REPOSITORY", "BOOK_BRANCH", "BOOK_HUB")


def files(root: Path) -> list[Path]:
    """The files that the site is built from: those beside the folders and in them."""
    found = [*root.iterdir()]
    for folder in FOLDERS:
        found += (root / folder).rglob("*")
    return [
        path
        for path in found
        if "__pycache__" not in path.parts
        and not path.name.startswith(".")
        and path.is_file()
    ]


def inputs(root: Path) -> dict[str, str]:
    """Hash of each file, and value of each variable, that the site is built from."""
    found = {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files(root)
    }
    return found | {f"${name}": os.environ.get(name, "") for name in VARIABLES}


def digest(found: dict[str, str]) -> str:
    """One hash of all inputs."""
    return hashlib.sha256(json.dumps(sorted(found.items())).encode()).hexdigest()


def has_pdf(out: Path, found: dict[str, str]) -> bool:
    """Whether there is a PDF of the book as it stands."""
    try:
        return json.loads((out / "pdf.json").read_text("utf-8")) == digest(found)
    except (OSError, ValueError):
        return False


def changes(before: dict[str, str], now: dict[str, str]) -> set[str]:
    """Names of what was changed, added or removed."""
    return {name for name in {*before, *now} if before.get(name) != now.get(name)}


def is_page(name: str) -> bool:
    """Whether a file is a page or part of one, by its name."""
    if name.startswith("README.md"):  # with $pdf: whether the first page offers it
        return True
    return Path(name).suffix in PAGES and name.startswith(
        ("chapters/", "back/", "CHANGELOG")
    )


def plan(before: dict[str, str], now: dict[str, str]) -> str:
    """What a build has to do: "nothing", "pages", "style" or "everything"."""
    changed = changes(before, now)
    if not changed:
        return "nothing"
    if not before or not all(name in before and name in now for name in changed):
        return "everything"
    rest = [name for name in changed if not is_page(name)]
    if not rest:
        return "pages"
    return "style" if all(name.startswith(STYLE) for name in rest) else "everything"


def build(root: Path, out: Path, *, anew: bool = False) -> int:
    """Build the book below ``root`` into ``out / "html"``; return the exit status."""
    start = time.perf_counter()
    stamp, html, failed = out / "built.json", out / "html", out / "html-with-warnings"
    before = {}
    with contextlib.suppress(OSError, ValueError):
        before = json.loads(stamp.read_text("utf-8"))
    now = inputs(root)
    now["README.md$pdf"] = str(has_pdf(out, now))
    whole = failed if failed.is_dir() else html
    todo = "everything" if anew or not whole.is_dir() else plan(before, now)
    if todo == "nothing" and whole == html:
        print("nothing has changed since the book was built")
        return 0
    if todo == "everything":
        for old in (html, failed, out / ".doctrees", out / "jupyter_execute"):
            shutil.rmtree(old, ignore_errors=True)
        stamp.unlink(missing_ok=True)
    elif whole == failed:
        failed.rename(html)
    out.mkdir(parents=True, exist_ok=True)
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        changed = {name.partition("$")[0] for name in changes(before, now)}
        offered = NAME if now["README.md$pdf"] == "True" else ""
        status = run_sphinx(root, out, changed, todo == "style", offered)
    pdf = html / NAME
    if offered and html.is_dir():
        shutil.copyfile(out / NAME, pdf)
    elif html.is_dir():
        pdf.unlink(missing_ok=True)
    (out / "log").write_text(said.getvalue(), "utf-8")
    if status:
        print(said.getvalue(), file=sys.stderr)
        if html.is_dir():
            html.rename(failed)
        return 1
    stamp.write_text(json.dumps(now, indent=0), "utf-8")
    print(f"built {todo} in {time.perf_counter() - start:.1f} s")
    return 0


def run_sphinx(
    root: Path, out: Path, changed: set[str], rewrite: bool, pdf: str = ""
) -> int:
    """Build as ``jupyter-book build`` does; return 0 if there was no warning.

    changed: files whose pages are read again, whatever their date.
    rewrite: whether all pages are written, because what stands around them changed.
    pdf: name of the file that the first page offers, if there is one.
    """
    # jsonschema would make 38 grammars of addresses, which takes a second, to check a
    # format that no notebook has.
    sys.modules.setdefault("rfc3987_syntax", None)
    # A build makes millions of nodes and drops none: to look for garbage among them
    # takes four times as long as to read them.
    gc.disable()
    from jupyter_book.sphinx import build_sphinx

    from booktools import again, site

    again.CHANGED, again.REWRITE = changed, rewrite
    site.PDF = pdf
    done = build_sphinx(
        root,
        out / "html",
        noconfig=True,
        path_config=root / "_config.yml",
        confoverrides={
            "external_toc_path": (root / "_toc.yml").as_posix(),
            "latex_individualpages": False,
            "nitpicky": True,
        },
        warningiserror=True,
        keep_going=True,
        quiet=True,
    )
    gc.freeze()  # or the first call would go through all of it
    gc.enable()
    return done if isinstance(done, int) else 1


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m booktools.build")
    parser.add_argument("--anew", action="store_true", help="begin from nothing")
    parser.add_argument("--out", type=Path, default=Path("_build"))
    asked = parser.parse_args(argv)
    root, out = Path.cwd(), asked.out.resolve()
    status = build(root, out, anew=asked.anew)
    if status == 0:
        print(f"the book is at {out}/html/index.html")
    else:
        print("the book was not built; the lines above say why", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
