"""What takes seconds to find out and hangs on code alone, kept between builds.

A chapter that has changed needs the code of its claims and the markup of its
explorables. To ask the package for them imports PyTorch and SciPy; a file in
``_build/kept`` answers at once, as long as no line of code has changed.
"""

import functools
import hashlib
import json
import os

from booktools.notebooks import ROOT

KEPT = ROOT / "_build" / "kept"


@functools.cache
def of_code() -> str:
    """Digest of all code, of the data that stands beside it, and of the versions."""
    digest = hashlib.sha256((ROOT / "requirements.txt").read_bytes())
    for path in sorted((ROOT / "code").rglob("*")):
        if path.is_file() and not {"__pycache__"} & {*path.parts}:
            digest.update(path.relative_to(ROOT).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def kept(name: str, make):
    """What ``make()`` returns, from a file if this code has made it before.

    It is as JSON knows it: a tuple comes back as a list.
    """
    path = KEPT / f"{name}.json"
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        found = {}
    if found.get("code") != of_code():
        found = {"code": of_code(), "value": make()}
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{name}.{os.getpid()}.partial")
        partial.write_text(json.dumps(found, ensure_ascii=False), "utf-8")
        os.replace(partial, path)
    return json.loads(json.dumps(found["value"]))
