"""CONTRIBUTING.md says what works, and the code keeps to the sizes that it names."""

import ast
import re
import sys

import pytest

from batchnorm.claims import __main__ as claims_command
from booktools.notebooks import ROOT
from tools import run

TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
COMMANDS = re.findall(r"^\| [^|]+ \| `([^`]+)` \|$", TEXT, re.M)
PYTHON = ".venv/bin/python -m "
PYTEST = f"{PYTHON}pytest "
SOURCES = [
    path for folder in ("code", "tests") for path in (ROOT / folder).rglob("*.py")
]


def commands(start):
    """The commands of the table that begin so, without that beginning."""
    found = [c.removeprefix(start) for c in COMMANDS if c.startswith(start)]
    assert found
    return found


#: Collects by each command in a process of its own. They are children of one that has
#: imported what all of them import, which takes longer than what they do themselves.
COLLECT = """\
import os, sys
import pytest, batchnorm.experiments.runs, booktools.notebooks
for command in sys.stdin.read().splitlines():
    child = os.fork()
    if child == 0:
        os._exit(pytest.main(["--collect-only", *command.split()]))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(f"\\n{status} {command}", flush=True)
"""


@pytest.fixture(scope="module")
def collected():
    """What the commands for tests say, and the exit status of each."""
    line, asked = (sys.executable, "-c", COLLECT), "\n".join(commands(PYTEST))
    done = run(*line, input=asked, cwd=ROOT, check=True)
    ended = re.findall(r"^(-?\d+) (.+)$", done.stdout, re.M)
    return done.stdout, {command: int(status) for status, command in ended}


@pytest.mark.skipif(sys.platform == "win32", reason="fork is of POSIX")
@pytest.mark.parametrize("command", commands(PYTEST))
def test_a_command_for_tests_selects_some(command, collected):
    said, ended = collected
    assert ended[command] == 0, said[-2000:]


@pytest.mark.parametrize("command", commands(f"{PYTHON}batchnorm.claims "))
def test_a_command_for_claims_has_options_and_ids_that_exist(command):
    options = claims_command._parser().parse_args(command.split())
    assert claims_command._todo(options) is not None


@pytest.mark.parametrize("command", commands("make "))
def test_a_verb_is_one_of_the_makefile(command):
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for verb in command.split():
        if "=" not in verb:
            assert re.search(rf"^{verb}:", makefile, re.M), verb


def test_what_the_map_lists_is_there_and_nothing_is_left_out():
    package = TEXT.split("code/batchnorm/ ")[1].split("\ncode/booktools/ ")[0]
    listed = re.findall(r"^  ([\w/]+(?:\.py)?)\s", package, re.M)
    folder = ROOT / "code" / "batchnorm"
    assert all((folder / name).exists() for name in listed)
    named = {name.rstrip("/") for name in listed} | set(re.findall(r"\w+\.py", package))
    found = {path.name for path in folder.iterdir() if not path.name.startswith("__")}
    assert not found - named


def lines_of(function):
    """Lines of a function, less those of its docstring."""
    lines = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function) is not None:
        first = function.body[0]
        lines -= first.end_lineno - first.lineno + 1
    return lines


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_file_is_over_450_lines_and_no_function_over_60(path):
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= 450
    long = {
        node.name: lines_of(node)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef) and lines_of(node) > 60
    }
    assert not long
