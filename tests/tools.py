"""What tests of the tools share: commands, strict nbval, the set-up, a small book."""

import os
import shutil
import subprocess
import sys

import yaml

from booktools.notebooks import ROOT


def run(*command, **settings):
    """Run a command; what it returned and said."""
    settings = {"capture_output": True, "encoding": "utf-8", "check": False} | settings
    return subprocess.run(list(map(str, command)), **settings)


def python(module, *arguments, **settings):
    """Run a module with the Python that runs the tests."""
    return run(sys.executable, "-m", module, *arguments, **settings)


def nbval(folder, path, **settings):
    """Run strict nbval, with the plugin of the book, over what lies in a folder."""
    plugin = ("-p", "booktools.nbval_plugin", "-p", "no:cacheprovider", "--nbval")
    where = ("-c", os.devnull, "--rootdir", folder, path)
    return python("pytest", "-q", *plugin, *where, **settings)


def set_up(folder, python=sys.executable, **settings):
    """Run the set-up in a folder of its own, with the given interpreter."""
    script = ROOT / "code/booktools/setup.sh"
    environment = os.environ | {"PIP_NO_INDEX": "1"} | settings
    environment.pop("PIP_FIND_LINKS", None)
    return run("sh", script, python, ".venv", cwd=folder, env=environment)


def write_settings(root, contents):
    """Make a folder a book: our settings but the API reference, and these contents."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
    config["sphinx"]["config"]["extensions"].remove("booktools.reference_pages")
    (root / "_config.yml").write_text(yaml.safe_dump(config), "utf-8")
    (root / "_toc.yml").write_text(contents)
    (root / "references.bib").touch()
    for folder in ("_static", "_templates"):
        shutil.copytree(ROOT / folder, root / folder)
