"""Check the built site in a browser: ``python -m booktools.check_site``.

Every page is opened 1280 and 390 pixels wide, light and dark, and from disk with and
without JavaScript. A page fails on a violation that axe finds, a script error, a
request to another host, a policy that would let one pass, sideways scroll, a formula
or code that is cut off, a broken link or anchor, a figure without alternative text or
size, and too much weight.
"""

import gzip
import itertools
import os
import shutil
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from html.parser import HTMLParser
from http.server import ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import TimeoutError, sync_playwright

from booktools.notebooks import ROOT
from booktools.serve import Quiet

HTML = ROOT / "_build" / "html"
PAGE_KIB = 350  # a page without its figures, as a host sends it
FIGURE_KIB = 60
WIDTHS = (1280, 390)
SCHEMES = ("light", "dark")
WORKERS = min(4, os.cpu_count() or 1)  # browsers side by side, each in its own thread
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
SCRIPT = Path(__file__).with_suffix(".js").read_text("utf-8")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
NO_BROWSER = (
    "there is no browser to check with: install Chromium (apt-get install chromium, or "
    "python -m playwright install chromium), or name one in the variable CHROMIUM"
)


class Page(HTMLParser):
    """Names, links and images of one page, read without a browser."""

    def __init__(self, text: str):
        super().__init__()
        self.names, self.links, self.images = set(), [], []
        self.policy = self.unguarded = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.names.update(filter(None, (found.get("id"), found.get("name"))))
        for key in ("href", "src"):
            if found.get(key):
                self.links.append(found[key])
        if tag == "img":
            self.images.append(found)
        if found.get("http-equiv", "").lower() == "content-security-policy":
            self.policy = found.get("content")
        elif tag in ("script", "link", "style", "img") and not self.policy:
            self.unguarded = self.unguarded or tag


def read(root: Path) -> dict[str, Page]:
    """All pages below ``root``, by their address relative to it."""
    return {
        path.relative_to(root).as_posix(): Page(path.read_text(encoding="utf-8"))
        for path in sorted(root.rglob("*.html"))
        if "_static" not in path.parts
    }


def check_links(root: Path, pages: dict[str, Page]):
    """Yield (page, problem) for links and anchors that lead nowhere."""
    for name, page in pages.items():
        for link in sorted(set(page.links)):
            parts = urlsplit(urljoin(f"http://book/{name}", link))
            if urlsplit(link).scheme or link.startswith("//"):
                continue
            target = unquote(parts.path).lstrip("/") or "index.html"
            # What follows a question mark is the state of an explorable.
            anchor = unquote(parts.fragment).partition("?")[0]
            if not (root / target).is_file():
                yield name, f"link to {link}, which is not there"
            elif anchor and target in pages and anchor not in pages[target].names:
                yield name, f"link to {link}, an anchor that is not there"


def check_policies(pages: dict[str, Page]):
    """Yield (page, problem) where something loads before a policy guards the page."""
    for name, page in pages.items():
        if page.unguarded or not page.policy:
            what = page.unguarded or "page"
            yield name, f"{what} without a content security policy before it"


def check_images(root: Path, pages: dict[str, Page]):
    """Yield (page, problem) for images that a reader could not see or hear."""
    for name, page in pages.items():
        for image in page.images:
            source = image.get("src") or "(no source)"
            short = source.rsplit("/", 1)[-1]
            if not (image.get("alt") or "").strip():
                yield name, f"image {short} without alternative text"
            if not (image.get("width") and image.get("height")):
                yield name, f"image {short} without width and height"
            path = (root / name).parent / unquote(source)
            if path.is_file() and path.stat().st_size > FIGURE_KIB * 1024:
                kib = path.stat().st_size / 1024
                yield name, f"image {short} of {kib:.0f} KiB, above {FIGURE_KIB}"


class Compressing(Quiet):
    """Serve files as a static host does: text compressed."""

    packed = (".html", ".css", ".js", ".svg", ".ipynb")

    def handle(self):
        # A browser that leaves a page hangs up on what it was still fetching.
        with suppress(ConnectionError):
            super().handle()

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        if path.suffix not in self.packed or not path.is_file():
            return super().do_GET()
        body, kind = gzip.compress(path.read_bytes(), 6), self.guess_type(str(path))
        return self.send(body, Content_Type=kind, Content_Encoding="gzip")


@contextmanager
def serve(root: Path):
    """Serve ``root`` on 127.0.0.1 from a thread; the value is its address."""
    handler = partial(Compressing, directory=str(root))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def find_browser() -> str | None:
    """Path of a Chromium: from ``CHROMIUM``, the search path, or Playwright's own."""
    named = os.environ.get("CHROMIUM")
    if named:
        return shutil.which(named)
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found:
        return found
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if Path(own).is_file() else None


@contextmanager
def browser():
    """A Chromium that runs; where there is none, the command ends and says so."""
    executable = find_browser()
    if executable is None:
        sys.exit(NO_BROWSER)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield chromium
        chromium.close()


class Visit:
    """One page, opened once: what it asked for and what went wrong."""

    def __init__(self, browser, address: str, **options):
        self.problems, self.requests, self.weight = [], 0, 0
        self._host, self._planting = urlsplit(address).netloc, False
        options = {"permissions": ["clipboard-write"]} | options
        self._context = browser.new_context(reduced_motion="reduce", **options)
        self.page = self._context.new_page()
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.report(f"script error: {error}"))
        self.page.on("request", self._request)
        self.page.on("response", self._weigh)
        self.page.goto(address, wait_until="load")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._context.close()

    def report(self, problem: str) -> None:
        if not self._planting:
            self.problems.append(" ".join(problem.split())[:300])

    def run(self, name: str, given=None):
        """Call a function of `check_site.js` in the page."""
        return self.page.evaluate(f"(given) => ({SCRIPT}).{name}(given)", given)

    def _request(self, request):
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https") and parts.netloc != self._host:
            self.report(f"request to another host: {request.url}")

    def _console(self, message):
        if message.type in ("error", "warning"):
            self.report(f"console {message.type}: {message.text}")

    def _weigh(self, response):
        self.requests += 1
        if response.status >= 400:
            self.report(f"status {response.status}: {response.url}")
        if response.request.resource_type != "image":
            self.weight += int(response.headers.get("content-length", 0))

    def explore(self) -> None:
        """Take hold of every explorable: commit to a guess, move what can be moved."""
        for figure in self.page.locator("[data-explorable]").all():
            figure.scroll_into_view_if_needed()
            try:
                figure.locator("form.guess input").first.check(timeout=5000)
                figure.locator("form.guess button").click(timeout=5000)
                figure.locator(".controls:not([disabled])").wait_for(timeout=5000)
                figure.locator("[data-control]:enabled").last.press("ArrowRight")
            except TimeoutError:
                name = figure.get_attribute("data-explorable")
                self.report(f"explorable {name} does not come alive")

    def use(self) -> None:
        """Press what is on every page: the theme switch, the first copy button."""
        for what in self.run("idle"):
            self.report(f"{what} does nothing")

    def plant(self) -> None:
        """Ask another host for something, in each way; at last, as it leaves errors."""
        self._planting = True
        permitted = self.run("permitted")
        self._planting = False
        for kind in permitted:
            self.report(f"policy lets a request to another host pass: {kind}")
        self._planting = True  # what the refused ones report comes late

    def check(self) -> None:
        """No sideways scroll, enough contrast light and dark, nothing else from axe."""
        wide, seen = self.run("unfolded")
        if wide > seen:
            self.report(f"scrolls sideways: {wide} pixels in {seen}")
        self.run("settled")
        for problem in self.run("cut", seen >= WIDTHS[0]):
            self.report(problem)
        for scheme in SCHEMES:
            self.page.emulate_media(color_scheme=scheme)
            self.run("sample")
        self.run("trim")
        self.page.evaluate(AXE_SCRIPT)
        for scheme in SCHEMES:
            self.page.emulate_media(color_scheme=scheme)
            self._axe("contrast", scheme)
        self._axe("rest")

    def _axe(self, what: str, where: str = "") -> None:
        for found in self.run(what)["violations"]:
            first = found["nodes"][0]
            self.report(
                f"axe {found['id']} {where} ({len(found['nodes'])}): {found['help']}; "
                f"first {first['target']} {first['html'][:120]}"
            )


def check_page(browser, address: str, path: Path):
    """Yield a visit for each way in which a page is read."""
    for width in WIDTHS:
        size = {"width": width, "height": 900}
        with Visit(browser, address, viewport=size) as visit:
            visit.explore()
            visit.use()
            visit.check()
            visit.plant()
            yield f"at {width}", visit
    with Visit(browser, path.as_uri(), offline=True) as visit:
        visit.explore()
        visit.use()
        visit.plant()
        yield "from disk", visit
    with Visit(browser, path.as_uri(), java_script_enabled=False) as visit:
        for part in ("main", "#contents a"):
            if not visit.page.locator(part).first.is_visible():
                visit.report(f"{part} is not to be seen")
        yield "from disk without a script", visit


def search(browser, root: str):
    """Yield what is wrong with the search for a word that all pages have."""
    with Visit(browser, f"{root}/search.html?q=normalization") as visit:
        results = visit.page.locator("#search-results li")
        with suppress(TimeoutError):
            results.first.wait_for(timeout=10_000)
        if not results.count():
            visit.report("the search finds nothing for 'normalization'")
        yield from visit.problems


def check(browser, root: Path, origin: str, name: str):
    """Requests and KiB of a page as a host sends it, and all that is wrong with it."""
    sent, problems = None, []
    if name == "search.html":
        for address in (origin, root.as_uri()):
            problems += search(browser, address)
    for where, visit in check_page(browser, f"{origin}/{name}", root / name):
        sent = sent or (visit.requests, visit.weight / 1024)
        problems += [f"{problem} ({where})" for problem in visit.problems]
    requests, kib = sent
    if kib > PAGE_KIB:
        problems.append(f"{kib:.0f} KiB without figures, above {PAGE_KIB}")
    return requests, kib, problems


def main() -> int:
    if not (HTML / "index.html").is_file():
        sys.exit("there is no site yet: make book")
    if find_browser() is None:
        sys.exit(NO_BROWSER)
    return report(HTML)


def report(root: Path) -> int:
    """Check the site below ``root``, print a table, return the exit status."""
    pages = read(root)
    problems = {name: [] for name in pages}
    read_only = check_links(root, pages), check_images(root, pages)
    for name, problem in itertools.chain(*read_only, check_policies(pages)):
        problems[name].append(problem)
    print(f"{'page':<36} {'requests':>8} {'KiB':>5} {'figures':>7} {'problems':>8}")

    def check_some(names):
        with browser() as chromium:
            for name in names:
                requests, kib, found = check(chromium, root, origin, name)
                problems[name] += found
                numbers = f"{requests:>8} {kib:>5.0f} {len(pages[name].images):>7}"
                print(f"{name:<36} {numbers} {len(problems[name]):>8}", flush=True)

    shares = [list(pages)[k::WORKERS] for k in range(WORKERS)]
    with serve(root) as origin, ThreadPoolExecutor(WORKERS) as pool:
        for _ in pool.map(check_some, shares):
            pass  # an error in a worker is raised here
    for name, found in problems.items():
        for problem in found:
            print(f"{name}: {problem}")
    return int(any(problems.values()))


if __name__ == "__main__":
    sys.exit(main())
