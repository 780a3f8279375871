"""Result files: written whole or not at all, read back or refused."""

import datetime
import json
import os
import platform
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path


def write_records(file: Path, head: dict, key: str, records: Iterable[dict]) -> None:
    """Write ``{**head, key: [*records]}`` as JSON, through a temporary file.

    One record a line keeps the file small and its changes readable. What a command that
    was killed while it wrote has left is written over by the next.
    """
    new = file.with_name(f".{file.name}.new")
    empty = json.dumps({**head, key: []}, ensure_ascii=False)
    lines = [json.dumps(r, ensure_ascii=False) for r in records]
    try:
        with new.open("w", encoding="utf-8") as out:
            out.write(empty.removesuffix("]}") + "\n")
            out.write(",\n".join(lines) + "\n]}\n")
            out.flush()
            os.fsync(out.fileno())
        os.replace(new, file)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def read_records(file: Path, key: str) -> dict:
    """The contents of a file that ``write_records`` wrote.

    Raises ValueError if the file is not there, or is not such a file.
    """
    try:
        data = json.loads(Path(file).read_text("utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"file is {file}, which does not exist") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"file is {file}, which is not whole: {error}") from error
    if not isinstance(data, dict) or key not in data:
        raise ValueError(f"file is {file}, which holds no {key}")
    return data


class Partial:
    """What a long command has finished so far: one line a record, in a file.

    A command that was killed, also while it wrote, finds every record but the one that
    it was writing. The file is made by the first record, and gone after `remove`.
    """

    def __init__(self, file: Path):
        self.file, self.done = Path(file), {}
        text = self.file.read_bytes() if self.file.exists() else b""
        whole, _, torn = text.rpartition(b"\n")
        for line in whole.splitlines():
            kept = json.loads(line)
            self.done[_key(kept["key"])] = kept["record"]
        if torn:  # maybe within a letter of several bytes
            os.truncate(self.file, len(text) - len(torn))

    def add(self, key, record: dict) -> None:
        """Keep a record, under a key of plain JSON values."""
        line = json.dumps({"key": key, "record": record}, ensure_ascii=False) + "\n"
        with self.file.open("ab", buffering=0) as out:
            out.write(line.encode())
            os.fsync(out.fileno())
        self.done[_key(key)] = json.loads(line)["record"]

    def get(self, key) -> dict | None:
        """The record of a key, or None."""
        return self.done.get(_key(key))

    def remove(self) -> None:
        """Take the file away: all that was in it is written elsewhere."""
        self.file.unlink(missing_ok=True)


def _key(key) -> str:
    return json.dumps(key, ensure_ascii=False)


def circumstances() -> dict:
    """Date, versions and machine, as a record of a run keeps them."""
    versions = {name: version(name) for name in ("numpy", "torch", "scikit-learn")}
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": {"python": platform.python_version(), **versions},
        "machine": platform.machine(),
    }
