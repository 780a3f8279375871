"""The ledger of confirmations: one line each, and none is ever changed.

Every line carries the hash of the line before it, so that a line that was edited,
removed or moved is found; the last hash stands in a file of its own. A claim whose
definition changed gets a new line, and the old one stays.
"""

import hashlib
import json
import os
from pathlib import Path

import numpy as np

from batchnorm._records import circumstances
from batchnorm.claims.protocol import confirmation_seeds

FILE = Path(__file__).with_name("ledger.jsonl")
DIGITS = 4  # that an effect is recorded with


def read(file=FILE):
    """All lines of a ledger, the oldest first -> list of dict.

    Raises ValueError if the file is no whole chain, with the first line that does not
    fit.
    """
    if not file.exists():
        return []
    records, before = [], ""
    for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(
                f"line {number} of {file} is not whole: {error}"
            ) from error
        if record.get("before") != before:
            raise ValueError(
                f"line {number} of {file} does not follow the line before it: one was "
                "edited, removed or moved"
            )
        before = _hash(line)
        records.append(record)
    head = _head(file)
    if not head.exists() or head.read_text("utf-8").strip() != before:
        raise ValueError(
            f"{head} does not fit the last line of {file}: one was edited or removed"
        )
    return records


def append(records, file=FILE):
    """Write lines behind those that are there.

    Both files are written whole through temporary ones; if that fails, both are as they
    were, or the head is refused by `read`. Raises ValueError if the ledger as it stands
    is no whole chain.
    """
    read(file)
    text = file.read_text("utf-8") if file.exists() else ""
    before = _hash(text.splitlines()[-1]) if text else ""
    for record in records:
        line = json.dumps({"before": before, **record}, ensure_ascii=False)
        text += line + "\n"
        before = _hash(line)
    write(file, text)
    write(_head(file), before + "\n")


def record(result, seconds):
    """What is kept of a run, as plain JSON values, with its own circumstances."""
    claim = result.claim
    kept = {
        "id": claim.id,
        "fingerprint": claim.fingerprint,
        "kind": claim.kind,
        "statement": claim.statement,
        "effect": claim.effect,
        "asked": claim.asked,
        "setting": json.loads(json.dumps(claim.setting, default=str)),
        "verdict": result.verdict,
        "estimate": [rounded(number) for number in result.estimate],
        "detectable": rounded(result.detectable),
        "seeds": list(result.seeds),
        "effects": [rounded(effect) for effect in result.effects],
        "seconds": round(seconds, 1),
        **circumstances(),
    }
    if result.predicted is not None:
        kept["predicted"] = rounded(result.predicted)
    return kept


def rounded(value):
    """A number or numbers with few digits; None for NaN, ±"inf" for infinity."""
    if np.ndim(value):
        return [rounded(entry) for entry in value]
    if np.isinf(value):
        return "inf" if value > 0 else "-inf"
    return None if np.isnan(value) else float(f"{value:.{DIGITS}g}")


def number(value):
    """A number or numbers of a record as floats."""
    if isinstance(value, list):
        return np.array([number(entry) for entry in value])
    return np.nan if value is None else float(value)


def confirmation(claim, records):
    """The record of a claim as it now is, or None.

    The seeds have to be those that its fingerprint draws.
    """
    seeds = list(confirmation_seeds(claim))
    for kept in reversed(records):
        if kept["id"] == claim.id and kept["fingerprint"] == claim.fingerprint:
            return kept if kept["seeds"] == seeds else None
    return None


def earlier(claim, records):
    """Records of other definitions of a claim, the oldest first."""
    return [
        kept
        for kept in records
        if kept["id"] == claim.id and kept["fingerprint"] != claim.fingerprint
    ]


def _hash(line):
    return hashlib.sha256(line.encode()).hexdigest()


def _head(file):
    return file.with_suffix(".head")


def write(file, text):
    """Write a file whole, or leave it as it is."""
    temporary = file.with_name(f".{file.name}.new")
    temporary.write_text(text, "utf-8")
    os.replace(temporary, file)
