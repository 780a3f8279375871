"""Run claims, and confirm them on the seeds that their definitions draw.

    python -m batchnorm.claims               confirm what is not confirmed as it is
    python -m batchnorm.claims ID ...        these
    python -m batchnorm.claims --verify      run what is confirmed again, and compare
    python -m batchnorm.claims --seeds 0:20  on seeds of one's own; the ledger stays
    python -m batchnorm.claims --tune        choose the settings of comparisons anew

Interrupted, the command keeps what it has and goes on from there when it is started
again. It exits with 1 if a run could not be done, or did not repeat: an opposed or
undecided claim is an outcome and no failure.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

from tqdm import tqdm

from batchnorm import claims
from batchnorm._records import Partial
from batchnorm._runner import side_by_side
from batchnorm.claims import ledger, protocol


def main(arguments=None):
    """The command, with these arguments or those of the shell -> exit status."""
    options = _parser().parse_args(arguments)
    try:
        if options.tune:
            return _tune(options)
        todo = _todo(options)
        output = options.output or (None if options.seeds is None else Path("-"))
        _writable(output)
    except ValueError as error:
        print(f"python -m batchnorm.claims: {error}", file=sys.stderr)
        return 2
    if not todo:
        _partial(options).remove()  # left if killed after the last was confirmed
        asked = ", ".join(options.ids) or "all claims"
        print(
            f"confirmed as it stands, nothing to run: {asked} (--verify runs it again)"
        )
        return 0
    try:
        records, failed = _run_all(todo, options)
    except KeyboardInterrupt:
        print("\nInterrupted. Start the command again to go on.", file=sys.stderr)
        return 130
    if failed:
        print(f"{failed} failed. Start the command again.", file=sys.stderr)
        return 1
    return _finish(options, records)


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m batchnorm.claims", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("ids", nargs="*", metavar="ID", help="claims to run")
    parser.add_argument("--seeds", metavar="A:B", help="seeds A to B - 1")
    parser.add_argument("--output", type=Path, help="write the records here")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster")
    parser.add_argument("--verify", action="store_true", help="repeat confirmations")
    parser.add_argument("--tune", action="store_true", help="redo the sweeps")
    parser.add_argument("--ledger", type=Path, default=ledger.FILE, help="the ledger")
    return parser


def _todo(options):
    """What is to be run -> list of (id, seeds)."""
    chosen = [claims.get(id) for id in options.ids] or list(claims.claims())
    if options.seeds is not None:
        seeds = protocol.explored(_range(options.seeds))
        return [(claim.id, seeds) for claim in chosen]
    records = ledger.read(options.ledger)
    todo = [
        claim
        for claim in chosen
        if (ledger.confirmation(claim, records) is not None) == options.verify
    ]
    return [(claim.id, protocol.confirmation_seeds(claim)) for claim in todo]


def _range(text):
    """ "A:B" -> range(A, B); ValueError if it is not of that form."""
    first, colon, last = text.partition(":")
    if not (colon and first.isdigit() and last.isdigit() and int(first) < int(last)):
        raise ValueError(f"--seeds is {text!r}; allowed is A:B, 0 ≤ A < B, as 0:20")
    return range(int(first), int(last))


def _writable(output):
    """Raise ValueError where the output could not be written, before the first run."""
    if output is None or output == Path("-"):
        return
    if not output.parent.is_dir():
        raise ValueError(f"--output is {output}, in a folder that does not exist")
    if not os.access(output if output.exists() else output.parent, os.W_OK):
        raise ValueError(f"--output is {output}, which cannot be written")


def _partial(options):
    beside = options.output if options.output else options.ledger
    return Partial(beside.with_name(f".{beside.name}.partial"))


def _run_all(todo, options):
    """Run claims side by side, each kept as soon as it is done -> records, failures."""
    partial = _partial(options)
    keys = [[id, claims.get(id).fingerprint, list(seeds)] for id, seeds in todo]
    left = [(key[0], tuple(key[2])) for key in keys if partial.get(key) is None]
    # The longest first, so that no process is left with one of them at the end.
    took = {kept["id"]: kept.get("seconds", 0) for kept in ledger.read()}
    left.sort(key=lambda task: -took.get(task[0], 0))
    ended = side_by_side(run_one, left, jobs=options.jobs, scheduler=options.scheduler)
    bar, failed = tqdm(ended, total=len(left), unit="claim", disable=None), 0
    for (id, seeds), kept, error in bar:
        if error is None:
            partial.add([id, kept["fingerprint"], list(seeds)], kept)
        else:
            failed += 1
            bar.write(f"{id}, seeds {seeds}: failed\n{error}")
    return [kept for key in keys if (kept := partial.get(key))], failed


def run_one(id, seeds):
    """Run a claim -> its record; what a worker does."""
    claim, start = claims.get(id), time.perf_counter()
    kept = ledger.record(claim.run(seeds), time.perf_counter() - start)
    if claim.kind == "experiment":
        kept["controls"] = protocol.controls(claim, protocol.CHAPTER_SEEDS[:10])
    return kept


def _finish(options, records):
    """Write the records where they belong, print them as a table -> exit status."""
    status = 0
    if options.verify:
        status = _compare(options, records)
    elif options.seeds is None:
        ledger.append(records, options.ledger)
    if options.output:
        lines = [json.dumps(kept, ensure_ascii=False) + "\n" for kept in records]
        ledger.write(options.output, "".join(lines))
    _partial(options).remove()
    print(table(records))
    return status


def _compare(options, records):
    """Say which verdicts do not repeat, of claims and of their controls -> exit status.

    Effects of trained networks may differ from one processor to the next in their last
    digits. A verdict of a claim that does is a fault, and so is a control that does not
    do what is asked of it; one that turns from opposed to undecided still does.
    """
    confirmed, faults, exact = ledger.read(options.ledger), [], 0
    for kept in records:
        claim = claims.get(kept["id"])
        old = ledger.confirmation(claim, confirmed)
        if kept["verdict"] != old["verdict"]:
            faults.append(f"{claim.id} does not repeat")
        before = old.get("controls", {})
        for name, verdict in kept.get("controls", {}).items():
            if not protocol.as_asked(name, verdict):
                was = before.get(name, "not recorded")
                faults.append(
                    f"the {name} control of {claim.id} is {verdict}, and was {was}"
                )
        exact += kept["effects"] == old["effects"]
    for fault in faults:
        print(fault)
    print(f"{exact} of {len(records)} repeat to the last digit that is kept")
    return 1 if faults else 0


def table(records):
    """Records as text: claim, kind, effect, interval, asked, verdict, seconds."""
    rows = [("claim", "kind", "effect [interval]", "asked", "verdict", "seconds")]
    rows += [
        (
            kept["id"],
            kept["kind"],
            claims.short(ledger.number(kept["estimate"]), kept["kind"]),
            kept["asked"],
            kept["verdict"],
            f"{kept['seconds']:.1f}",
        )
        for kept in records
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _tune(options):
    from batchnorm.claims import tuning

    return tuning.main(options.ids, options.jobs)


if __name__ == "__main__":
    sys.exit(main())
