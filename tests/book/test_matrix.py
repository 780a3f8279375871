"""The matrix, tox.ini: each environment is what it says, and none is green unrun."""

import platform
import sys

import pytest

from booktools.notebooks import ROOT
from tools import python

HELD = """\
import numpy._core._multiarray_umath as numpy, torch
print([n for n in ("AVX2", "X86_V3", "AVX512F", "X86_V4", "AVX512_SPR")
       if n in numpy.__cpu_dispatch__ and numpy.__cpu_features__[n]])
print(torch.backends.cpu.get_cpu_capability(), torch.get_num_threads())"""


@pytest.fixture
def tox(tmp_path, monkeypatch):
    """Run tox at the root of the book, its environments in a folder of their own."""
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))

    def run(command, *rest):
        return python("tox", command, "--workdir", tmp_path / "tox", *rest, cwd=ROOT)

    return run


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="the variables are x86's"
)
def test_libraries_are_held_to_fewer_instructions(tox):
    done = tox("exec", "-q", "-e", "sse", "--", sys.executable, "-c", HELD)
    assert done.stdout.split("\n")[:2] == ["[]", "DEFAULT 1"], done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-e", "oldest"], "oldest: FAIL"),  # no package can be had
        (["-e", "plain-notebooks", "--", "chapters/no.ipynb"], "plain-notebooks: FAIL"),
        (["-e", "mainframe"], "not found"),
    ],
    ids=["cannot be made", "nothing to run", "unknown"],
)
def test_an_environment_that_did_not_run_is_red(tox, arguments, says):
    done = tox("run", *arguments)
    assert done.returncode != 0
    assert says in done.stdout + done.stderr
