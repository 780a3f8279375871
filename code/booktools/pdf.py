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
from playwright.sync_api import Browser, sync_playwright

from booktools import check_site
from booktools.build import NAME, digest, inputs

LEFT_OUT = ("back/api", "back/solutions", "search", "genindex")
#: Width of the text on paper, in pixels: A4 less the margins below.
WIDTH = 666
MARGINS = {"top": "18mm", "bottom": "20mm", "left": "17mm", "right": "17mm"}
FOOTER = """<div style="width: 100%; font: 8px sans-serif; text-align: center">
<span class="pageNumber"></span></div>"""
STYLE = """
article { break-before: page; }
article > section > section { content-visibility: visible; }
body { font-size: 10.5pt; line-height: 1.45; }
:root { --bleed: .75rem; --margin: 0rem; }
main section, figure, .cell, main div[class*="highlight-"]:not(.cell *) {
  margin-inline: 0 !important; padding-inline: 0 !important; }
.cell, main div[class*="highlight-"]:not(.cell *) {
  box-sizing: border-box; width: 100%;
  border: 1px solid var(--line) !important; border-radius: 6px !important; }
main a[href] { color: #00578a; }
pre { white-space: pre-wrap; overflow: hidden; orphans: 4; widows: 4; }
pre, .scroll, div.math .katex-display { background: none !important; }
div.math .katex-display > .katex { white-space: normal; font-size: 1.05em; }
div.math .katex-display, .scroll { overflow: hidden; }
.scroll, div.math { width: auto; max-width: 100%; }
table { font-size: 8.5pt; }
td { overflow-wrap: break-word; }  /* and a number is never broken */
td code, td a { overflow-wrap: anywhere; }
.admonition-title, summary, dt, .claim p:has(> svg) { break-after: avoid; }
img { break-inside: avoid; max-height: 205mm; object-fit: contain; }
h1 { font-size: 17pt; }  /* in one line: the outline loses the space between two */
"""
# Runs in the first page: what a page refers to by name gets the page's name before its
# own, and a link to a page becomes one to the place where it stands here.
JOIN = """async ([pages, style]) => {
  const main = document.querySelector("main");
  const slug = (path) => path.replace(/\\.html$/, "").replaceAll("/", "-");
  const parts = [];
  for (const page of pages) {
    const url = new URL(page, location.origin + "/");
    const text = await (await fetch(url)).text();
    const doc = new DOMParser().parseFromString(text, "text/html");
    const part = document.createElement("article");
    part.append(...doc.querySelector("main").childNodes);
    // A formula is read aloud as its source; each colored word of code would be an
    // object of the file, and all of them half of it.
    for (const e of part.querySelectorAll(".katex")) {
      e.setAttribute("role", "img");
      e.ariaLabel = e.querySelector("annotation").textContent;
    }
    for (const e of part.querySelectorAll("pre")) e.textContent = e.textContent;
    const gone = ".headerlink, script, form, .guess, .panel, .filter, .katex-mathml";
    for (const e of part.querySelectorAll(gone)) e.remove();
    for (const e of part.querySelectorAll("details")) {
      e.open = true;
      const what = e.querySelector("summary").textContent;
      if (/^(How this was measured|Code of )/.test(what)) e.remove();
      if (/^\\s*Show code/.test(what)) e.querySelector("summary").textContent = "Code";
    }
    for (const e of part.querySelectorAll("[id]")) {
      if (e.id) e.id = `${slug(page)}--${e.id}`; else e.removeAttribute("id");
    }
    for (const e of part.querySelectorAll("a[href]")) {
      const to = new URL(e.getAttribute("href"), url), path = to.pathname.slice(1);
      if (to.origin !== location.origin) continue;
      const name = decodeURIComponent(to.hash.slice(1)).split("?")[0];
      if (pages.includes(path)) e.href = `#${slug(path)}${name ? `--${name}` : ""}`;
      else e.removeAttribute("href");
    }
    for (const e of part.querySelectorAll("img")) {
      e.loading = "eager";
      e.src = new URL(e.getAttribute("src"), url).href;
    }
    part.id = slug(page);
    parts.push(part);
  }
  main.replaceChildren(...parts);
  for (const name of ["katex/katex.min.css", "explorables/explorables.css"]) {
    const link = Object.assign(document.createElement("link"), {
      rel: "stylesheet", href: `${location.origin}/_static/${name}` });
    document.head.append(link);
    await new Promise((done) => { link.onload = link.onerror = done; });
  }
  const own = document.createElement("style");
  own.textContent = style;
  document.head.append(own);
  await Promise.all([...document.images].map((e) => e.decode().catch(() => {})));
  await document.fonts.ready;
}"""
# A formula that cannot be broken and is wider than the paper is printed smaller.
FIT = """() => {
  let small = 0;
  for (const e of document.querySelectorAll(".katex-display, .scroll")) {
    if (e.scrollWidth <= e.clientWidth) continue;
    e.style.zoom = Math.max(0.5, (e.clientWidth - 2) / e.scrollWidth);
    small += 1;
  }
  return small;
}"""
CONTENTS = """(root) => [...document.querySelectorAll("#contents a")]
  .map((a) => new URL(a.href).pathname.slice(1))"""


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
        joined = pages(page.evaluate(CONTENTS))
        page.evaluate(JOIN, [joined, STYLE])
        page.evaluate(FIT)
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
    executable = check_site.find_browser()
    if executable is None:
        print(check_site.NO_BROWSER, file=sys.stderr)
        return 1
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=check_site.FLAGS
        )
        joined = write(browser, out / "html", out / NAME)
        browser.close()
    (out / "pdf.json").write_text(json.dumps(digest(inputs(Path.cwd()))), "utf-8")
    size = (out / NAME).stat().st_size / 1e6
    print(f"{out / NAME}: {joined} pages of the site, {size:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
