"""Faults of the tools by their kind; docs/faults.md lists them.

What a reader has set, where a checkout lies, how pip is configured, what lies beside
the chapters: none of it changes an output, and what cannot be is said in a sentence.
"""

import os
import shutil
import zipfile
from types import SimpleNamespace

import nbformat
import pytest

from booktools import download, isolation, notebooks
from tools import nbval, python, run, set_up

ROOT = notebooks.ROOT
posix = pytest.mark.skipif(os.name == "nt", reason="these are shell scripts")


def write(path, *sources, **metadata):
    """A notebook of these cells, not run."""
    nb = nbformat.v4.new_notebook()
    nb.cells = [nbformat.v4.new_code_cell(source) for source in sources]
    if nb.cells:
        nb.cells[-1].metadata |= metadata
    nbformat.write(nb, path)
    return path


# ---------------------------------------------------------------------------
# 7 The reader's settings leak into the runners

DRAW = """\
import sys, warnings
import matplotlib.pyplot as plt
import numpy as np
print(plt.rcParams["figure.dpi"], plt.rcParams["lines.linewidth"])
warnings.warn("is not an error")
print("startup" in globals(), sys.flags.optimize)
plt.plot([1, 2])
plt.show()"""


@pytest.fixture
def hostile(tmp_path):
    """An environment in which a user has set all that can be set."""
    place = tmp_path / "settings"
    startup = place / "ipython/profile_default/startup"
    kernel = place / "jupyter/kernels/python3"
    modules = place / "modules"
    for folder in (startup, kernel, modules):
        folder.mkdir(parents=True)
    (startup / "mine.py").write_text("startup = print('hello')")
    (kernel / "kernel.json").write_text(
        '{"argv": ["false"], "display_name": "Python 3", "language": "python"}'
    )
    (modules / "matplotlib.py").write_text("raise ImportError('the wrong one')")
    (place / "matplotlibrc").write_text("figure.dpi: 33\nlines.linewidth: 9\n")
    (place / "home").write_text("no folder, so nothing can be written below it")
    return os.environ | {
        "MPLBACKEND": "Agg",
        "MATPLOTLIBRC": str(place / "matplotlibrc"),
        "MPLCONFIGDIR": str(place),
        "IPYTHONDIR": str(place / "ipython"),
        "JUPYTER_PATH": str(place / "jupyter"),
        "JUPYTER_DATA_DIR": str(place / "jupyter"),
        "JUPYTER_PREFER_ENV_PATH": "0",
        "PYTHONWARNINGS": "error",
        "PYTHONOPTIMIZE": "1",
        "PYTHONPATH": str(modules),
        "HOME": str(place / "home"),
        "TORCH_LOGS": "+dynamo",
    }


def test_no_setting_changes_an_output(tmp_path, hostile):
    path = write(tmp_path / "drawn.ipynb", DRAW)
    (tmp_path / "matplotlibrc").write_text("figure.dpi: 44\n")
    (tmp_path / "numpy.py").write_text("raise ImportError('a stray file')")
    hostile.pop("PYTHONOPTIMIZE")  # pytest itself needs its assertions
    done = python("booktools.notebooks", path, env=hostile)
    assert done.returncode == 0, done.stderr
    (cell,) = notebooks.read(path).cells
    assert notebooks.figures(cell) == 1
    said = "".join(o.text for o in cell.outputs if o.get("name") == "stdout")
    assert said == "100.0 1.5\nFalse 0\n"

    cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
    cell.source = DRAW.replace('warnings.warn("is not an error")\n', "")
    nb = nbformat.v4.new_notebook(cells=[cell])
    notebooks.write(notebooks.normalize(nb), path)
    done = nbval(tmp_path, path, env=hostile)
    assert done.returncode == 0, done.stdout


def test_a_figure_that_vanishes_is_an_error(tmp_path, capsys):
    named = write(
        tmp_path / "named.ipynb", "x = 1", mystnb={"figure": {"name": "fig-x"}}
    )
    stored = write(tmp_path / "stored.ipynb", "x = 1")
    nb = notebooks.read(stored)
    data = {"image/png": "iVBORw0KGgo=", "text/plain": "figure"}
    nb.cells[0].outputs = [nbformat.v4.new_output("display_data", data)]
    nbformat.write(nb, stored)
    for path in (named, stored):
        before = path.read_bytes()
        assert notebooks.main([str(path)]) == 1
        said = capsys.readouterr().err
        assert "has lost a figure: 1 before, 0 now" in said
        assert path.read_bytes() == before


def test_the_environment_is_as_it_was_afterward(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    before = dict(os.environ)
    with notebooks.isolated():
        assert os.environ["MPLBACKEND"] == isolation.INLINE
    assert dict(os.environ) == before


# ---------------------------------------------------------------------------
# 8, 9 An environment that does not know its folder; paths and shell files


@pytest.fixture
def checkout(tmp_path):
    """A folder with the Makefile, a set-up that only says so, and an environment."""
    folder = tmp_path / "my books ü"
    (folder / ".venv/bin").mkdir(parents=True)
    (folder / "code/booktools").mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", folder)
    (folder / "requirements.txt").touch()
    (folder / "code/booktools/setup.sh").write_text("echo set up\n")
    python = folder / ".venv/bin/python"
    python.write_text("#!/bin/sh\nexit 0\n")
    python.chmod(0o755)
    (folder / ".venv/ready").write_text(f"{folder.resolve()}\n")
    return folder


def sets_up(folder):
    done = run("make", "setup", cwd=folder)
    assert done.returncode == 0, done.stderr
    return "set up" in done.stdout


@posix
def test_an_environment_is_made_again_where_it_does_not_belong(checkout):
    assert not sets_up(checkout)
    moved = checkout.with_name("moved")
    shutil.copytree(checkout, copy := checkout.with_name("copy"), symlinks=True)
    checkout.rename(moved)
    assert sets_up(moved)
    assert sets_up(copy)


@posix
@pytest.mark.parametrize("fault", ["no python", "broken python", "no ready", "older"])
def test_a_broken_environment_is_made_again(checkout, fault):
    python, ready = checkout / ".venv/bin/python", checkout / ".venv/ready"
    if fault == "no python":
        python.unlink()
        python.symlink_to("/nowhere/python3")
    elif fault == "broken python":
        python.write_text("#!/bin/sh\nexit 1\n")
    elif fault == "no ready":
        ready.unlink()
    else:
        os.utime(ready, (0, 0))
    assert sets_up(checkout)


@posix
def test_a_path_that_make_cannot_have_is_told_in_a_sentence(checkout):
    done = run("make", "VENV=my env", "lint", cwd=checkout)
    assert done.returncode != 0
    assert "VENV is 'my env'; allowed is a path without a space" in done.stderr


def test_a_copy_that_tests_the_original_is_told(tmp_path):
    (tmp_path / "code/batchnorm").mkdir(parents=True)
    assert "`make setup` makes it anew" in isolation.foreign(tmp_path)
    assert isolation.foreign(ROOT) is None
    assert isolation.foreign(tmp_path / "code") is None


@pytest.mark.skipif(shutil.which("git") is None, reason="no git")
def test_line_endings_do_not_depend_on_the_users_git(tmp_path):
    source, clone = tmp_path / "source", tmp_path / "clone"
    source.mkdir()
    for name in (".gitattributes", "Makefile", "code/booktools/setup.sh"):
        shutil.copy(ROOT / name, source)
    user = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    for step in (["init", "-q"], ["add", "."], [*user, "commit", "-qm", "all"]):
        assert run("git", *step, cwd=source).returncode == 0
    run("git", "clone", "-q", "-c", "core.autocrlf=true", source, clone)
    for name in ("Makefile", "setup.sh"):
        assert b"\r" not in (clone / name).read_bytes()


# ---------------------------------------------------------------------------
# 10 pip's own settings

BACKEND = """\
import zipfile
NAME = "ours-1.0.dist-info"
def build_editable(folder, config=None, metadata=None):
    with zipfile.ZipFile(f"{folder}/ours-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{NAME}/METADATA", "Metadata-Version: 2.1\\nName: ours\\nVersion: 1.0\\n")
        wheel.writestr(f"{NAME}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{NAME}/RECORD", "")
    return "ours-1.0-py3-none-any.whl"
"""  # noqa: E501


@pytest.fixture
def tiny(tmp_path):
    """A project that is set up without a network: one wheel, a builder of its own."""
    folder = tmp_path / "my books ü"
    folder.mkdir()
    wheel = folder / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as made:
        made.writestr("tiny.py", "")
        about = "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n"
        made.writestr("tiny-1.0.dist-info/METADATA", about)
        about = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        made.writestr("tiny-1.0.dist-info/WHEEL", about)
        made.writestr("tiny-1.0.dist-info/RECORD", "")
    (folder / "requirements.txt").write_text(f"./{wheel.name}\n")
    (folder / "backend.py").write_text(BACKEND)
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\n'
        'backend-path = ["."]\n[project]\nname = "ours"\nversion = "1.0"\n'
    )
    return folder


@posix
def test_set_up_installs_into_the_environment_whatever_pip_is_told(tiny):
    elsewhere = str(tiny / "elsewhere")
    config = tiny / "pip.conf"
    config.write_text(
        "[install]\nuser = yes\ndry-run = yes\n[global]\nrequire-virtualenv = yes\n"
    )
    done = set_up(
        tiny,
        PIP_USER="1",
        PIP_TARGET=elsewhere,
        PIP_PREFIX=elsewhere,
        PIP_ROOT=elsewhere,
        PIP_DRY_RUN="1",
        PIP_CONFIG_FILE=str(config),
        PIP_REQUIRE_VIRTUALENV="1",
        PYTHONPATH="/nowhere",
    )
    assert done.returncode == 0, done.stderr
    assert list(tiny.glob(".venv/**/tiny.py"))
    assert not (tiny / "elsewhere").exists()
    assert (tiny / ".venv/ready").read_text() == f"{tiny.resolve()}\n"


@posix
def test_an_environment_that_stays_empty_is_told(tiny):
    config = tiny / "pip.conf"
    config.write_text(f"[install]\ntarget = {tiny / 'elsewhere'}\n")
    done = set_up(tiny, PIP_CONFIG_FILE=str(config))
    assert done.returncode != 0
    assert "has put the packages elsewhere" in done.stderr
    assert "target" in done.stderr
    assert not (tiny / ".venv").exists()


@posix
def test_a_failure_names_the_settings_that_are_in_force(tiny):
    (tiny / "requirements.txt").write_text("not-to-be-had==1.0\n")
    done = set_up(tiny)
    assert done.returncode != 0
    assert "pip is told: " in done.stderr
    assert "no-index" in done.stderr
    assert not (tiny / ".venv").exists()


# ---------------------------------------------------------------------------
# 11 Errors outside the documented ones


def test_what_is_no_notebook_is_told_and_the_next_is_run(tmp_path, capsys):
    good = write(tmp_path / "good.ipynb", "print(6 * 7)")
    dead = write(tmp_path / "dead.ipynb", "import os", "os._exit(1)")
    conflict = tmp_path / "conflict.ipynb"
    conflict.write_text("<<<<<<< HEAD\n" + good.read_text() + ">>>>>>> theirs\n")
    (tmp_path / "empty.ipynb").touch()
    latin = tmp_path / "latin.ipynb"
    latin.write_bytes(b'{"cells": "\xe9"}')
    bad = [dead, conflict, tmp_path / "empty.ipynb", latin, tmp_path / "none.ipynb"]
    assert notebooks.main([*map(str, bad), str(good)]) == 1
    said = capsys.readouterr()
    assert "good.ipynb: " in said.out
    lines = [line for line in said.err.splitlines() if "left as it was" in line]
    assert [line.partition(":")[0] for line in lines] == [path.name for path in bad]
    assert "line 1 holds the marker of a merge conflict" in said.err
    assert "Traceback" not in said.err
    assert notebooks.read(good).cells[0].outputs[0].text == "42\n"


def test_nbval_goes_on_after_what_is_no_notebook(tmp_path):
    good = write(tmp_path / "good.ipynb", "x = 1")
    notebooks.write(notebooks.normalize(notebooks.read(good)), good)
    (tmp_path / "conflict.ipynb").write_text("<<<<<<< HEAD\n{}\n")
    done = nbval(tmp_path, tmp_path)
    assert done.returncode == 1
    assert "1 passed, 1 error" in done.stdout
    assert "conflict.ipynb: no notebook can be read from it (line 1" in done.stdout


def test_stray_notebooks_are_passed_over(tmp_path, monkeypatch, capsys):
    names = ("Untitled.ipynb", "01_whitening-Copy1.ipynb", "01_whitening.ipynb")
    for name in names:
        write(tmp_path / name, "x = 1")
    monkeypatch.setattr(notebooks, "CHAPTERS", tmp_path)
    assert [path.name for path in notebooks.notebooks()] == ["01_whitening.ipynb"]
    assert notebooks.main([]) == 0
    assert capsys.readouterr().out.count("passed over") == 2


# ---------------------------------------------------------------------------
# 12 A page downloaded alone


@pytest.fixture
def published(monkeypatch, tmp_path):
    """The notebooks of a site that was built with these addresses."""

    def build(**addresses):
        for name in ("BOOK_REPOSITORY", "BOOK_BRANCH", "BOOK_URL"):
            monkeypatch.delenv(name, raising=False)
        for name, value in addresses.items():
            monkeypatch.setenv(f"BOOK_{name}", value)
        folder = tmp_path / "_sources/chapters"
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / "plain.ipynb", "import numpy as np")
        write(folder / "ours.ipynb", "import numpy", "from batchnorm import figures")
        download.rewrite(SimpleNamespace(outdir=tmp_path), None)
        return [notebooks.read(path).cells for path in sorted(folder.glob("*"))]

    return build


def test_a_download_installs_what_it_imports(published):
    ours, plain = published(REPOSITORY="https://code.example/a/b/", BRANCH="trunk")
    assert len(plain) == 1
    assert [cell.source for cell in ours[1:]] == [
        "import numpy",
        "from batchnorm import figures",
    ]
    command = (
        '%pip install --quiet "batchnorm-book @ git+https://code.example/a/b@trunk"'
    )
    assert command in ours[0].source


def test_a_download_without_an_address_says_how_in_a_line(published, monkeypatch):
    ours, _ = published(URL="https://book.example/")
    exec(ours[0].source, {})  # where the package is, nothing happens
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        SystemExit, match="get the whole book, and in its folder"
    ) as end:
        exec(ours[0].source, {})
    assert "https://book.example/" in str(end.value)
    assert "\n" not in str(end.value)


def test_the_chapters_themselves_stay_clean():
    for path in notebooks.notebooks():
        assert all(cell.id != download.ID for cell in notebooks.read(path).cells)
