"""What strict nbval leaves out: figures, the network, stray files, a count per chapter.

Load it with ``pytest -p booktools.nbval_plugin --nbval chapters``. nbval itself
never compares PNG, so a figure that is missing, stale or swapped would pass. And a
cell that downloads, or leaves a file beside the notebooks, would pass here and fail
on the next machine.
"""

import base64
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from nbval.plugin import IPyNbCell, IPyNbFile

from booktools import isolation
from booktools.images import SHARE, difference
from booktools.notebooks import CHAPTERS, is_chapter, notebooks, read

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


_collect = IPyNbFile.collect


def _collect_or_say_why(self):
    """The cells; where there is no notebook, a sentence, and the others are run."""
    try:
        read(self.path)
    except (OSError, ValueError) as error:
        raise self.CollectError(f"{self.path.name}: {error}") from error
    yield from _collect(self)


IPyNbFile.collect = _collect_or_say_why


def pytest_configure(config):
    """Give kernels a profile of their own: no network, nobody's settings."""
    if said := isolation.foreign(config.rootpath):
        raise pytest.UsageError(said)
    config.kernel_profile = tempfile.mkdtemp(prefix="nbval-")
    isolation.isolate(config.kernel_profile)
    config.option.current_env = True  # the kernel is this interpreter
    config.option.continue_on_collection_errors = True


def pytest_ignore_collect(collection_path, config):
    """Pass over a notebook among the chapters that is none of them."""
    if collection_path.suffix != ".ipynb" or collection_path.parent != CHAPTERS:
        return None
    named = {Path(argument.split("::")[0]).resolve() for argument in config.args}
    if is_chapter(collection_path) or collection_path.resolve() in named:
        return None
    return True


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


def pytest_terminal_summary(terminalreporter, config):
    if any(Path(argument).resolve() == CHAPTERS for argument in config.args):
        for path in sorted(set(CHAPTERS.glob("*.ipynb")) - set(notebooks())):
            terminalreporter.write_line(
                f"passed over: {path.name} is not named as a chapter"
            )
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
