"""Runs too long for a notebook, recorded.

    python -m batchnorm.experiments --list         what there is, and what is whole
    python -m batchnorm.experiments NAME ...       these, and what they need
    python -m batchnorm.experiments mnist          all whose name begins so
    python -m batchnorm.experiments --table        what the result files say
    python -m batchnorm.experiments --repeat NAME  its beginning again, and compare

Killed at any point, the command keeps every task that has ended, and goes on from there
when it is started again. A task that fails is reported with its setting and tried again
by the next call; the exit status is then 1.
"""

import argparse
import os
import sys
from pathlib import Path

from tqdm import tqdm

from batchnorm._runner import side_by_side
from batchnorm.experiments.recorded import CARRIED, DEVICES, FOLDER, carry_out
from batchnorm.experiments.repeated import repeat, said
from batchnorm.experiments.runs import RUNS, found
from batchnorm.mnist import DataUnavailableError


def main(arguments=None):
    """The command, with these arguments or those it was called with -> exit status."""
    options = _parser().parse_args(arguments)
    try:
        chosen = _chosen(options.names)
        if not options.folder.is_dir():
            raise ValueError(f"--folder is {options.folder}, which does not exist")
    except ValueError as error:
        print(f"python -m batchnorm.experiments: {error}", file=sys.stderr)
        return 2
    if options.repeat:
        return _repeat(chosen, options.folder)
    if options.list or options.table:
        print((_list if options.list else table)(chosen, options.folder))
        return 0
    todo = _with_needs(chosen, options.folder)
    for run in chosen:
        if run not in todo:  # a command may have been killed before it took this away
            run.partial(options.folder).remove()
    try:
        failed = _run_all(todo, options)
    except KeyboardInterrupt:
        print("\nInterrupted. Start the command again to go on.", file=sys.stderr)
        return 130
    return 1 if failed else 0


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m batchnorm.experiments",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="runs, or beginnings")
    parser.add_argument("--list", action="store_true", help="say what there is")
    parser.add_argument("--table", action="store_true", help="print what was found")
    parser.add_argument("--repeat", action="store_true", help="compare a beginning")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="for maps")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of result files")
    return parser


def _chosen(names):
    """Runs of these names, or that begin so; all if there is none -> list."""
    runs = []
    for name in names or [""]:
        named = [RUNS[name]] if name in RUNS else []
        named = named or [run for run in RUNS.values() if run.name.startswith(name)]
        if not named:
            raise ValueError(f"name is {name!r}; allowed are {', '.join(RUNS)}")
        runs += [run for run in named if run not in runs]
    return runs


def _repeat(runs, folder):
    """Measure the beginnings of runs again, and compare -> exit status."""
    status = 0
    for run in runs:
        try:
            told = repeat(run.name, folder=folder)
        except (ValueError, DataUnavailableError) as error:
            print(f"python -m batchnorm.experiments: {error}", file=sys.stderr)
            return 2
        print(f"{run.name}\n{said(told)}")
        if not all(one.agrees for one in told):
            status = 1
    return status


def _with_needs(chosen, folder):
    """Runs that are not whole, those that they need first -> list."""
    todo = []
    for run in chosen:
        needed = [RUNS[name] for name in run.needs]
        needed = [other for other in needed if not other.whole(folder)]
        todo += [other for other in needed if other not in todo]
        if (needed or not run.whole(folder)) and run not in todo:
            todo.append(run)
    return todo


def _run_all(todo, options):
    """Run in rounds, in each all that do not wait for others -> number of failures."""
    failed = 0
    while todo:
        ready = [r for r in todo if all(RUNS[n].whole(options.folder) for n in r.needs)]
        for run in todo if not ready else ():
            print(f"{run.name} waits for {', '.join(run.needs)}", file=sys.stderr)
        if not ready:
            break
        failed += _round(ready, options)
        todo = [run for run in todo if run not in ready]
    return failed


def _round(runs, options):
    """Run all tasks of some runs side by side -> number of failures."""
    folder, calls, open_ = options.folder, [], {}
    for run in runs:
        partial, mark = run.partial(folder), run.fingerprint(folder)
        cells, device = run.cells(folder), options.device if run.gpu else "cpu"
        keys = [[mark, cell, list(seeds)] for cell, seeds in run.tasks(folder)]
        open_[run.name] = run, partial, keys
        calls += [
            (run.name, run.measure, cell, cells[cell].setting, tuple(seeds), device)
            for _, cell, seeds in keys
            if partial.get([mark, cell, seeds]) is None
        ]
        _finish(*open_[run.name], folder)
    failed = 0
    ended = side_by_side(
        carry_out, calls, jobs=options.jobs, scheduler=options.scheduler
    )
    bar = tqdm(ended, total=len(calls), unit="task", disable=None)
    for (name, _, cell, setting, seeds, _), record, error in bar:
        run, partial, keys = open_[name]
        if error is None:
            partial.add([keys[0][0], cell, list(seeds)], record)
            _finish(run, partial, keys, folder)
        else:
            failed += 1
            bar.write(f"{name}, {cell}, seeds {seeds}: failed\n{setting}\n{error}")
    return failed


def _finish(run, partial, keys, folder):
    """Write the result file of a run whose tasks have all ended."""
    records = [partial.get(key) for key in keys]
    if None not in records and not run.whole(folder):
        run.write(records, folder)
        partial.remove()


def _list(runs, folder):
    lines, carried = [], [run for run in runs if run.carried(folder)]
    for run in runs:
        whole = "whole *" if run in carried else "whole"
        state = whole if run.whole(folder) else "not run"
        lines.append(f"{run.name:24} {state:8} {run.about}")
    if carried:
        lines.append(f"* carried over, with its seeds: {CARRIED['why']}")
    return "\n".join(lines)


def table(runs, folder=FOLDER):
    """What was found in the result files of these runs, as text, one line each."""
    lines = []
    for run in runs:
        if not (run.findings and run.file(folder).exists()):
            continue
        for finding, (value, low, high), verdict, seeds, controls in found(run, folder):
            lines.append(
                f"{finding.id:44} {value:8.4g} [{low:.4g}, {high:.4g}] asked "
                f"{finding.region}: {verdict}, {seeds} seeds; {controls}"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
