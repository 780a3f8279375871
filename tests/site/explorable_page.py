"""A page with one explorable, made as the site makes it, around the same scripts."""

import shutil
import time
from contextlib import contextmanager

import matplotlib.pyplot as plt

from batchnorm import figures
from batchnorm.explorables import EXPLORABLES
from batchnorm.explorables.kinds import canvas
from booktools import explorables, site
from booktools.notebooks import ROOT

STATIC = ROOT / "_static"
NAMES = sorted(EXPLORABLES)
SCREEN = {"width": 1280, "height": 900}
USUAL_MEDIA = {"media": "screen", "color_scheme": "light", "forced_colors": "none"}
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>A page</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<script>{early}</script><link rel="icon" href="_static/icon.svg">
<link rel="stylesheet" href="_static/book.css">
<link rel="stylesheet" href="_static/explorables/explorables.css">
<script defer src="_static/explorables/core.js"></script>
<script defer src="_static/explorables/{name}.js"></script></head>
<body><div class="page"><nav id="contents" popover></nav><div class="column">
<main id="main"><section><h1>A page</h1><section><h2 id="s">A section</h2>
<p>To <a href="#try-{name}">the figure</a>, to <a href="#s">the section</a>.</p>
<div class="cell"><div class="cell_output"><figure>{before}
<img src="{name}.png" alt="A picture" width="700" height="{height}" class="drawing">
{after}<figcaption><p>A caption.</p></figcaption></figure></div></div></section>
</section></main></div></div></body></html>
"""
EARLY = 'document.documentElement.dataset.theme = "auto"'


def build(root, name):
    """Write a page with one explorable into a folder, with all that it loads."""
    shutil.copytree(STATIC, root / "_static", dirs_exist_ok=True)
    figure = EXPLORABLES[name]
    before, after = explorables.around(figure)
    page = PAGE.format(
        name=name,
        before=before,
        after=after,
        height=figure.height,
        policy=site.policy(EARLY),
        early=EARLY,
    )
    (root / "index.html").write_text(page, encoding="utf-8")
    with plt.rc_context():
        figures.use_style()
        state = figure.default
        figure.draw(canvas(figure.height), state, figure.values(state))
        plt.rcParams["figure.constrained_layout.use"] = False  # the axes are placed
        plt.savefig(root / f"{name}.png", dpi=200)
        plt.close()


class Figure:
    """An explorable on a page, and what Python knows of it."""

    def __init__(self, name, visit, address, folder=None):
        self.name, self.visit, self.address = name, visit, address
        self.page, self.folder = visit.page, folder
        self.python = EXPLORABLES[name]

    def fresh(self, hash="", **media):
        """Load the page anew."""
        self.page.set_viewport_size(media.pop("viewport", SCREEN))
        self.page.emulate_media(**(USUAL_MEDIA | media))
        self.page.goto("about:blank")
        self.page.goto(self.address + hash)
        self.page.locator("[data-alive]").wait_for()

    @contextmanager
    def planted(self, file, right, wrong):
        """The page with a fault in one of its scripts."""
        path = f"_static/explorables/{file}"
        text = (self.folder / path).read_text(encoding="utf-8")
        assert text.count(right) == 1, right
        text = text.replace(right, wrong)
        served = {"body": text, "content_type": "text/javascript"}
        self.page.route(f"**/{path}", lambda route: route.fulfill(**served))
        self.fresh()
        yield
        self.page.unroute(f"**/{path}")
        self.visit.problems.clear()

    def run(self, script, argument=None):
        """Evaluate a script in which `figure` is the explorable."""
        given = f"((figure, argument) => {script})"
        return self.page.evaluate(
            f"(argument) => {given}(explorable.figures['{self.name}'], argument)",
            argument,
        )

    def until(self, script, argument=None):
        """Wait until a script is true."""
        end = time.monotonic() + 10
        while not self.run(script, argument):
            assert time.monotonic() < end, f"never: {script}"
            time.sleep(0.02)

    def guess(self):
        """Commit to the first option, and wait until the address has it."""
        self.page.locator("form.guess input").first.check()
        self.page.locator("form.guess button").click()
        self.until("location.hash.includes('guess=0')")

    def says(self, **changes):
        """The sentence of a state, from Python."""
        state = self.python.default | changes
        return self.python.sentence(state, self.python.values(state))

    @property
    def live(self):
        return self.page.locator(".live").text_content()

    @property
    def locked(self):
        return self.run("figure.panel.disabled")
