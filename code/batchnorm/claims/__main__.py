"""Run the claims on seeds that no chapter uses and record what they show.

    python -m batchnorm.claims            all claims
    python -m batchnorm.claims --stale    those whose record is missing or old
    python -m batchnorm.claims ID ...     these
    python -m batchnorm.claims --tune     choose the settings of comparisons anew

Interrupted, the command keeps what it has, and goes on from there when it is
started again. It exits with 1 if a claim does not hold.
"""

import argparse
import datetime
import platform
import sys
from pathlib import Path

import numpy as np
import sklearn
import torch
from tqdm import tqdm

from batchnorm import claims
from batchnorm._records import write_records
from batchnorm.claims.registry import FRESH_SEEDS, record

DATA_FILE = Path("chapters/evidence.json")


def main(arguments=None):
    """The command: arguments as a list of strings -> exit status."""
    options = _parser().parse_args(arguments)
    file = options.output
    if not file.parent.is_dir():
        raise SystemExit(
            f"--output is {file}, in a folder that does not exist; "
            "run the command at the root of the repository"
        )
    recorded = claims.load(file)["claims"] if file.exists() else []
    todo = _selected(options, recorded)
    if options.tune:
        return tune([entry for entry in todo if entry.tuning])
    partial = file.with_name(f".{file.name}.partial")
    try:
        fresh = _run_all(todo, partial)
    except KeyboardInterrupt:
        print("\nInterrupted. Start the command again to go on.", file=sys.stderr)
        return 130
    records = _merge(recorded, fresh)
    write(file, {**_circumstances(), "claims": records})
    partial.unlink(missing_ok=True)
    print(table(fresh))
    failed = [r["id"] for r in fresh if not r["holds"]]
    if failed:
        print(f"{len(failed)} of {len(fresh)} do not hold: {', '.join(failed)}")
    return 1 if failed else 0


def tune(todo):
    """Sweep the grids of the comparisons, print what is chosen -> exit status."""
    differ = 0
    for entry in tqdm(todo, unit="claim", disable=None):
        chosen, registered = claims.tune(entry.id)
        differ += chosen != registered
        verdict = "as registered" if chosen == registered else f"NOT {registered}"
        tqdm.write(f"{entry.id}: {chosen} {verdict}")
    return 1 if differ else 0


def write(file, data):
    """Write the data file: through a temporary one, so that it is never half there."""
    head = {name: value for name, value in data.items() if name != "claims"}
    write_records(file, head, "claims", data["claims"])


def table(records):
    """Records as text: claim, seeds that held, median [min, max], seconds."""
    rows = [("claim", "held", "effect: median [min, max]", "condition", "seconds")]
    for r in records:
        held = f"{r['held']}/{len(r['seeds'])}" + ("" if r["holds"] else " FAILS")
        seconds = f"{r['seconds']:.1f}"
        rows.append((r["id"], held, summary(r["effects"]), r["condition"], seconds))
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def summary(effects):
    """Effects as text: their median and range, three digits each."""
    values = np.array([np.nan if e is None else e for e in effects])
    return f"{np.median(values):.3g} [{values.min():.3g}, {values.max():.3g}]"


def _parser():
    parser = argparse.ArgumentParser(prog="python -m batchnorm.claims")
    parser.add_argument("ids", nargs="*", metavar="ID", help="claims to run")
    parser.add_argument("--stale", action="store_true", help="only outdated records")
    parser.add_argument("--tune", action="store_true", help="redo the sweeps")
    parser.add_argument("--output", type=Path, default=DATA_FILE, help="the data file")
    return parser


def _selected(options, recorded):
    """The claims to run."""
    if options.ids:
        return [claims.get(id) for id in options.ids]
    if options.stale:
        return [claims.get(id) for id in claims.stale(recorded)]
    return list(claims.claims())


def _run_all(todo, partial):
    """Run the claims, keeping each record in the partial file -> all records."""
    kept = claims.load(partial)["claims"] if partial.exists() else []
    kept = {(r["id"], r["fingerprint"]): r for r in kept}
    # Taken before the first is run: an edit meanwhile must not date an older run.
    keys = [(entry.id, entry.fingerprint) for entry in todo]
    with tqdm(keys, unit="claim", disable=None) as progress:
        for key in progress:
            id, _ = key
            progress.set_postfix_str(id)
            if key not in kept:
                kept[key] = record(claims.run(id, FRESH_SEEDS))
                write(partial, {**_circumstances(), "claims": list(kept.values())})
    return [kept[key] for key in keys]


def _merge(recorded, fresh):
    """Old records, replaced by fresh ones, in the order of the registry."""
    by_id = {r["id"]: r for r in [*recorded, *fresh]}
    return [by_id[c.id] for c in claims.claims() if c.id in by_id]


def _circumstances():
    """When and with what the claims were run."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "torch": torch.__version__,
            "scikit-learn": sklearn.__version__,
        },
        "machine": platform.machine(),
    }


if __name__ == "__main__":
    sys.exit(main())
