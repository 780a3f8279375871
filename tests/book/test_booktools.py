"""The tools that compare, normalize and set up: each planted fault is found."""

import base64
import io
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import sysconfig
from pathlib import Path

import nbformat
import numpy as np
import pytest
import yaml
from PIL import Image

import tools
from booktools import katex, notebooks
from booktools.images import SHARE, difference
from tools import run, set_up, write_settings

ROOT = notebooks.ROOT
PINNED = r"[\w.-]+(/[\w.-]+)+@[0-9a-f]{40}  # v\d+\.\d+\.\d+"


def png(pixels):
    out = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


def curve(shift=0):
    paper = np.full((200, 300, 3), 255)
    x = np.arange(20, 280)
    y = (100 + 60 * np.sin(x / 30)).astype(int) + shift
    for thick in range(4):
        paper[y + thick, x] = [0, 114, 178]
    return paper


@pytest.mark.parametrize(
    "workflow",
    sorted((ROOT / ".github/workflows").glob("*.yml")),
    ids=lambda path: path.name,
)
def test_actions_are_pinned_to_a_commit_whose_version_is_said(workflow):
    text = workflow.read_text(encoding="utf-8")
    used = re.findall(r"\buses: *(.*)", text)
    assert used
    for action in used:
        assert re.fullmatch(PINNED, action)
    assert yaml.safe_load(text)["permissions"] == {"contents": "read"}


def test_code_is_the_standard_librarys():
    where = "import code; print(code.__file__)"
    done = run(sys.executable, "-c", where, cwd=ROOT, check=True)
    assert Path(done.stdout.strip()).parent == Path(os.__file__).parent


def curve_with_a_spot():
    changed = curve()
    changed[40:60, 200:220] = [213, 94, 0]
    return changed


@pytest.mark.parametrize(
    ("drawn", "fits"),
    [
        (curve(), lambda share: share == 0),
        (curve(shift=1), lambda share: share <= SHARE),
        (curve(shift=12), lambda share: share > SHARE),
        (curve_with_a_spot(), lambda share: share > SHARE),
        (curve()[:-1], lambda share: share == 1),
    ],
    ids=["equal", "an edge by a pixel", "moved", "a small part", "another size"],
)
def test_figures_differ_in_a_share_of_their_pixels(drawn, fits):
    assert fits(difference(png(curve()), png(drawn)))


def notebook(cells):
    nb = nbformat.v4.new_notebook()
    for number, (source, outputs) in enumerate(cells, start=1):
        cell = nbformat.v4.new_code_cell(source, execution_count=number)
        cell.outputs = outputs
        nb.cells.append(cell)
    return notebooks.normalize(nb)


DRAW = """\
import base64, io, os
from IPython.display import display
data = base64.b64decode(os.environ["FIGURE"])
display({"image/png": data, "text/plain": "figure"}, raw=True)"""


@pytest.fixture
def nbval(tmp_path):
    """Run strict nbval over one notebook, whose cells may draw this figure."""

    def run(cells, figure):
        path = tmp_path / "planted.ipynb"
        notebooks.write(notebook(cells), path)
        environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
        environment["FIGURE"] = base64.b64encode(figure).decode()
        environment.pop("BATCHNORM_MNIST_DIR", None)
        return tools.nbval(tmp_path, path, env=environment)

    return run


def stored(figure):
    data = {"image/png": base64.b64encode(figure).decode(), "text/plain": "figure"}
    return [nbformat.v4.new_output("display_data", data)]


def printed(text):
    return [nbformat.v4.new_output("stream", name="stdout", text=text)]


def test_nbval_passes_what_is_the_same(nbval):
    cells = [("print(42)", printed("42\n")), (DRAW, stored(png(curve())))]
    # Where there is no MNIST: nothing on stderr, whatever the imports have to say.
    asked = "from batchnorm import mnist\nprint(mnist.available())"
    cells.append((asked, printed("False\n")))
    done = nbval(cells, png(curve()))
    assert done.returncode == 0, done.stdout
    assert "seconds per chapter" in done.stdout
    assert "planted.ipynb" in done.stdout


DOWNLOAD = """\
import socket
socket.create_connection(("192.0.2.1", 80), timeout=1)"""


def test_nbval_finds_every_planted_fault(nbval):
    """One fault a cell, each told by its own message: nbval starts slowly."""
    not_drawn = DRAW.replace('"image/png": data, ', "")
    cells = [
        ("print(42)", printed("43\n")),
        ("print('unstored')", []),
        (DRAW, stored(png(curve(shift=20)))),
        (not_drawn, stored(png(curve()))),
        (DOWNLOAD, []),
        ("_ = open('stray.txt', 'w').write('x')", []),
    ]
    done = nbval(cells, png(curve()))
    assert done.returncode == 1, done.stdout
    failed = [f"Cell {n}" in done.stdout for n in range(6)]
    assert failed == [True] * 5 + [False], done.stdout
    for said in (
        "43",
        "unstored",
        "figure 1 of the cell is not the stored one",
        "1 figures are stored, 0 were drawn",
        "chapters run without a network; one asked for 192.0.2.1",
        "left behind",
    ):
        assert said in done.stdout, said


def test_nbval_fails_for_a_stray_file_alone(nbval):
    done = nbval([("_ = open('stray.txt', 'w').write('x')", [])], b"")
    assert done.returncode == 1, done.stdout
    assert "left behind" in done.stdout


def test_normal_form_is_stable_and_keeps_what_counts():
    nb = notebook([("print(42)", printed("42\n"))])
    cell = nb.cells[0]
    cell.metadata |= {"execution": {"started": "now"}, "tags": ["hide-input"]}
    nb.metadata["widgets"] = {}
    cell.execution_count = 7
    again = notebooks.normalize(nb)
    assert again.cells[0].id == cell.id
    assert again.cells[0].metadata == {"tags": ["hide-input"]}
    assert again.cells[0].execution_count == 1
    assert "widgets" not in again.metadata
    assert notebooks.normalize(again) == again


def test_a_notebook_that_fails_is_left_as_it_was(tmp_path, capsys):
    path = tmp_path / "bad.ipynb"
    notebooks.write(notebook([("1 / 0", [])]), path)
    before = path.read_bytes()
    assert notebooks.main([str(path)]) == 1
    assert "bad.ipynb: failed, left as it was" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["bad.ipynb"]


def executable(path, text):
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IEXEC)
    return str(path)


@pytest.fixture
def folder(tmp_path):
    """What the set-up finds: the versions to install."""
    shutil.copy(ROOT / "requirements.txt", tmp_path)
    return tmp_path


posix = pytest.mark.skipif(os.name == "nt", reason="the set-up is a shell script")
TOO_OLD = "#!/bin/sh\necho Python 3.9.1\nexit 1\n"
NO_VENV = f"""#!/bin/sh
case "$2" in *ensurepip*) exit 1;; esac
exec '{sys.executable}' "$@"
"""


@posix
@pytest.mark.parametrize(
    ("script", "says"),
    [(None, "there is no"), (TOO_OLD, "3.11 or newer"), (NO_VENV, "venv module")],
    ids=["no Python", "old Python", "no venv"],
)
def test_set_up_says_what_is_missing_in_a_sentence(folder, script, says):
    if script:
        executable(folder / "python", script)
    done = set_up(folder, folder / "python")
    assert done.returncode != 0
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
    assert not (folder / ".venv").exists()


@posix
def test_set_up_without_network_leaves_nothing(folder):
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_CONFIG_FILE": os.devnull}
    done = set_up(folder, PIP_NO_INDEX="0", PIP_RETRIES="0", **nowhere)
    assert done.returncode != 0
    assert "is there a network?" in done.stderr
    assert not (folder / ".venv").exists()


@posix
def test_set_up_does_not_delete_what_it_did_not_make(folder):
    (folder / ".venv").mkdir()
    (folder / ".venv/thesis.tex").write_text("mine")
    done = set_up(folder)
    assert done.returncode != 0
    assert "in the way" in done.stderr
    assert (folder / ".venv/thesis.tex").read_text() == "mine"


def test_lock_writes_what_is_installed_in_an_order_that_no_pip_decides(tmp_path):
    """A new environment, locked, differs from the old file by its versions alone."""
    for name in ("Makefile", "requirements.txt"):
        shutil.copy(ROOT / name, tmp_path)
    pinned = (tmp_path / "requirements.txt").read_text("utf-8")
    lines = [line for line in pinned.splitlines() if not line.startswith("#")]
    torch = next(line for line in lines if line.startswith("torch=="))
    installed = "\n".join(["pip==1.0", *reversed(lines)]) + "\n"
    (tmp_path / "installed").write_text(installed.replace(torch, f"{torch}+cpu"))
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    says = '#!/bin/sh\n[ "$1" = -c ] || cat installed\n'
    executable(tmp_path / "venv" / "bin" / "python", says)
    (tmp_path / "venv" / "ready").write_text(str(tmp_path.resolve()))
    subprocess.run(["make", "lock", "VENV=venv"], cwd=tmp_path, check=True)
    assert (tmp_path / "requirements.txt").read_text("utf-8") == pinned


@pytest.fixture
def book(tmp_path):
    """A book of one page with our settings; return the page, and what builds it."""
    write_settings(tmp_path, "format: jb-book\nroot: index\n")

    def make():
        # The recipe is ours, the environment the one that runs the tests.
        here = f"BIN={sysconfig.get_path('scripts')}"
        recipe = ("-f", ROOT / "Makefile", "-C", tmp_path, "READY=", here, "book")
        out = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return run("make", *recipe, capture_output=False, **out)

    return tmp_path / "index.md", make


@pytest.mark.parametrize("faults", [(), ("missing.md", "nosuchmacro")])
def test_build_fails_on_a_warning_and_says_where(book, faults):
    page, make = book
    planted = "[nowhere](missing.md) $\\nosuchmacro$" if faults else ""
    page.write_text(f"# A book\n\nA formula, $x^2$.\n\n{planted}\n")
    done = make()
    clean = done.returncode == 0
    assert clean is not bool(faults), done.stdout
    assert (page.parent / "_build" / "html").is_dir() is clean
    warnings = [line for line in done.stdout.splitlines() if "WARNING" in line]
    assert len(warnings) == len(faults), done.stdout
    for fault, line in zip(faults, warnings, strict=True):
        assert "index" in line
        assert fault in line


LATE = (
    "import socket, time; s = socket.socket(socket.AF_UNIX); time.sleep(0.2); "
    "s.bind('katex.sock'); time.sleep(0.2); s.listen(); s.accept(); time.sleep(60)"
)


def node(monkeypatch, program):
    """Put a Python program in the place of KaTeX's node."""
    command = [sys.executable, "-c", program]
    server = katex.katex.KaTeXServer
    monkeypatch.setattr(server, "build_command", lambda socket: command)


@posix
def test_node_that_listens_late_is_reached(tmp_path, monkeypatch):
    node(monkeypatch, LATE)
    process, client = katex.start(tmp_path, 30)
    with client:
        process.kill()
        # Its own pipes: were they ours, who reads them would wait as long as it lives.
        assert process.communicate() == (b"", b"")
    assert client.family == socket.AF_UNIX


@posix
def test_node_that_dies_says_why(tmp_path, monkeypatch):
    node(monkeypatch, "raise SystemExit('no library for node')")
    with pytest.raises(katex.katex.KaTeXError, match="no library for node"):
        katex.start(tmp_path, 30)
