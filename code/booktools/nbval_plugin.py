"""What strict nbval leaves out: figures compared by pixels, seconds per chapter.

Load it with ``pytest -p booktools.nbval_plugin --nbval chapters``. nbval itself
never compares PNG, so a figure that is missing, stale or swapped would pass.
"""

import base64
from collections import Counter

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


def pytest_terminal_summary(terminalreporter):
    seconds = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if hasattr(report, "duration"):
                seconds[report.nodeid.partition("::")[0]] += report.duration
    if seconds:
        terminalreporter.section("seconds per chapter")
        for chapter, total in seconds.most_common():
            terminalreporter.write_line(f"{total:7.1f}  {chapter}")
