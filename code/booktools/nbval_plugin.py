"""What strict nbval leaves out: figures, the network, stray files, a count per chapter.

Load it with ``pytest -p booktools.nbval_plugin --nbval chapters``. nbval itself
never compares PNG, so a figure that is missing, stale or swapped would pass. And a
cell that downloads, or leaves a file beside the notebooks, would pass here and fail
on the next machine.
"""

import base64
import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from nbval.plugin import IPyNbCell

from booktools.images import SHARE, difference

_compare_text = IPyNbCell.compare_outputs


def _figures(outputs) -> list[bytes]:
    data = [output["data"] for output in outputs if "data" in output]
    return [base64.b64decode(d["image/png"]) for d in data if "image/png" in d]


def _compare(self, test, ref, skip_compare=None):
    if not _compare_text(self, test, ref, skip_compare):
        return False
    drawn, stored = _figures(test), _figures(ref)
    if len(drawn) != len(stored):
        self.comparison_traceback.append(
            f"{len(stored)} figures are stored, {len(drawn)} were drawn"
        )
        return False
    for number, (new, old) in enumerate(zip(drawn, stored, strict=True), start=1):
        share = difference(old, new)
        if share > SHARE:
            self.comparison_traceback.append(
                f"figure {number} of the cell is not the stored one: "
                f"{share:.1%} of its drawn pixels differ, allowed {SHARE:.0%}"
            )
            return False
    return True


IPyNbCell.compare_outputs = _compare


# What every kernel runs first. Kernels themselves talk over the loopback interface.
OFFLINE = """
import socket

_connect = socket.socket.connect


def _refuse(self, address):
    if self.family != getattr(socket, "AF_UNIX", None) and address[0] not in (
        "127.0.0.1", "::1", "localhost"
    ):
        raise OSError(f"chapters run without a network; one asked for {address[0]}")
    return _connect(self, address)


socket.socket.connect = _refuse
"""


def pytest_configure(config):
    """Give kernels a profile of their own: no network, nobody's settings."""
    config.kernel_profile = tempfile.mkdtemp(prefix="nbval-")
    startup = Path(config.kernel_profile, "profile_default", "startup")
    startup.mkdir(parents=True)
    (startup / "offline.py").write_text(OFFLINE)
    os.environ["IPYTHONDIR"] = config.kernel_profile


def pytest_unconfigure(config):
    shutil.rmtree(config.kernel_profile, ignore_errors=True)


def _files(config) -> set[Path]:
    """What lies in the folders in which the notebooks run."""
    paths = [Path(argument.split("::")[0]) for argument in config.args]
    folders = {path if path.is_dir() else path.parent for path in paths}
    return {file for folder in folders for file in folder.rglob("[!.]*")}


def pytest_sessionstart(session):
    session.config.files_before = _files(session.config)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    """Fail if running the notebooks left a file behind."""
    strays = _files(session.config) - session.config.files_before
    if strays and not hasattr(session.config, "workerinput"):
        print(f"\nleft behind: {', '.join(sorted(map(str, strays)))}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter):
    seconds, failed = Counter(), Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if hasattr(report, "duration"):
                chapter = report.nodeid.partition("::")[0]
                seconds[chapter] += report.duration
                failed[chapter] += report.failed
    if seconds:
        terminalreporter.section("seconds per chapter, failed cells")
        for chapter, total in seconds.most_common():
            count = failed[chapter] or ""
            terminalreporter.write_line(f"{total:7.1f} {count:>4}  {chapter}")
