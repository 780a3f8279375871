"""Result files: written whole or not at all, read back or refused."""

import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path


def write_records(file: Path, head: dict, key: str, records: Iterable[dict]) -> None:
    """Write ``{**head, key: [*records]}`` as JSON, through a temporary file.

    One record a line keeps the file small and its changes readable.
    """
    with tempfile.NamedTemporaryFile(
        "w", dir=file.parent, prefix=f".{file.name}.", encoding="utf-8", delete=False
    ) as out:
        try:
            empty = json.dumps({**head, key: []}, ensure_ascii=False)
            lines = [json.dumps(r, ensure_ascii=False) for r in records]
            out.write(empty.removesuffix("]}") + "\n")
            out.write(",\n".join(lines) + "\n]}\n")
            out.flush()
            os.fsync(out.fileno())
            os.chmod(out.name, 0o644)
            os.replace(out.name, file)
        except BaseException:
            os.unlink(out.name)
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
