"""Print the built site into one PDF: ``python -m booktools.pdf``, or ``make pdf``.

The browser that checks the site also prints it. The pages are put into one, chapter
after chapter, so that links between them work; solutions stand open, explorables as
their pictures. The API reference is left out, and so are the pages of solutions, which
stand in the chapters, and the code of claims, which stands in the repository.
"""

import argparse
import json
import sys
from pathlib import Path

import pikepdf
from playwright.sync_api import Browser

from booktools import check_site
from booktools.build import NAME, digest, inputs

LEFT_OUT = ("back/api", "back/solutions", "search", "genindex")
#: Width of the text on paper, in pixels: A4 less the margins below.
WIDTH = 666
MARGINS = {"top": "18mm", "bottom": "20mm", "left": "17mm", "right": "17mm"}
FOOTER = """<div style="width: 100%; font: 8px sans-serif; text-align: center">
<span class="pageNumber"></span></div>"""
STYLE = Path(__file__).with_suffix(".css").read_text("utf-8")
SCRIPT = Path(__file__).with_suffix(".js").read_text("utf-8")


def pages(found: list[str]) -> list[str]:
    """The pages that are printed, in order, of all that the contents list."""
    kept = [name for name in found if not name.startswith(LEFT_OUT)]
    return ["index.html", *dict.fromkeys(name for name in kept if name != "index.html")]


def write(browser: Browser, root: Path, path: Path) -> int:
    """Print the site below ``root`` into ``path``; return how many pages it joined."""
    size = {"width": WIDTH, "height": 940}
    with check_site.serve(root) as origin:
        page = browser.new_page(viewport=size, bypass_csp=True)
        page.set_default_timeout(600_000)
        page.goto(f"{origin}/index.html")
        page.emulate_media(media="print", color_scheme="light")
        joined = pages(page.evaluate(f"({SCRIPT}).contents()"))
        page.evaluate(f"(given) => ({SCRIPT}).join(given)", [joined, STYLE])
        page.evaluate(f"({SCRIPT}).fit()")
        path.parent.mkdir(parents=True, exist_ok=True)
        page.pdf(
            path=path,
            format="A4",
            margin=MARGINS,
            outline=True,
            tagged=True,
            display_header_footer=True,
            header_template="<span></span>",
            footer_template=FOOTER,
            print_background=True,
        )
        page.close()
    pack(path)
    return len(joined)


def pack(path: Path) -> None:
    """Compress the small objects of a PDF, which a browser leaves plain."""
    with pikepdf.open(path, allow_overwriting_input=True) as pdf:
        pdf.save(path, object_stream_mode=pikepdf.ObjectStreamMode.generate)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m booktools.pdf")
    parser.add_argument("--out", type=Path, default=Path("_build"))
    out = parser.parse_args(argv).out
    with check_site.browser() as chromium:
        joined = write(chromium, out / "html", out / NAME)
    (out / "pdf.json").write_text(json.dumps(digest(inputs(Path.cwd()))), "utf-8")
    size = (out / NAME).stat().st_size / 1e6
    print(f"{out / NAME}: {joined} pages of the site, {size:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
