"""Strict nbval and the claims' verdicts under other processors, threads and versions.

    python -m booktools.matrix             everything; an hour or two
    python -m booktools.matrix avx2 sse    these environments
    python -m booktools.matrix --no-claims the notebooks alone

A notebook that is compared strictly is worth something only if it passes on the next
person's machine. Here the next machine is this one, held to what the other can do:
fewer vector instructions, another number of threads, another locale, the oldest and
the newest packages that pyproject.toml admits. Prints a table, environment × chapter;
exits with 1 unless all of it is green.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from batchnorm import claims
from batchnorm.claims.__main__ import DATA_FILE
from booktools.notebooks import ROOT, notebooks


def threads(number: int) -> dict[str, str]:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return dict.fromkeys(names, str(number))


@dataclass(frozen=True)
class Environment:
    """Environment variables, and the packages to run with.

    packages: "pinned", those of this Python, or uv's word for what to resolve to
    within the bounds of pyproject.toml, "lowest-direct" or "highest"; workers: chapters
    that run side by side, fewer where each has several threads, which would wait for
    each other.
    """

    why: str
    variables: dict[str, str] = field(default_factory=dict)
    packages: str = "pinned"
    workers: str = "auto"


# NumPy's own loops, OpenBLAS (NumPy's products), ATen, oneDNN and MKL (torch's), each
# held to the same instructions. NumPy's groups of them have had two sets of names.
AVX512 = "X86_V4 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL"
ENVIRONMENTS = {
    "plain": Environment("this machine as it is", threads(1)),
    "threads": Environment("two threads", threads(2), workers="1"),
    "avx2": Environment(
        "no AVX-512",
        {
            **threads(1),
            "NPY_DISABLE_CPU_FEATURES": AVX512,
            "OPENBLAS_CORETYPE": "Haswell",
            "ATEN_CPU_CAPABILITY": "avx2",
            "ONEDNN_MAX_CPU_ISA": "AVX2",
            "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        },
    ),
    "sse": Environment(
        "no AVX at all",
        {
            **threads(1),
            "NPY_DISABLE_CPU_FEATURES": f"{AVX512} X86_V3 AVX2 FMA3",
            "OPENBLAS_CORETYPE": "Nehalem",
            "ATEN_CPU_CAPABILITY": "default",
            "ONEDNN_MAX_CPU_ISA": "SSE41",
            "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        },
    ),
    "locale": Environment(
        "hash seed, time zone, language, working directory",
        {
            **threads(1),
            "PYTHONHASHSEED": "12345",
            "TZ": "Asia/Kathmandu",
            "LC_ALL": "C",
            "LANGUAGE": "tr",
        },
    ),
    "oldest": Environment("oldest packages", threads(1), "lowest-direct"),
    "newest": Environment("newest packages", threads(1), "highest"),
}


def dispatched(features: str) -> str:
    """Those of the features that this NumPy chooses by; it warns of any other name."""
    import numpy._core._multiarray_umath as umath

    able, chosen = umath.__cpu_features__, umath.__cpu_dispatch__
    return " ".join(n for n in features.split() if n in chosen and able[n])


def interpreter(name: str, packages: str, folder: Path) -> Path:
    """The Python to run with; one of its own, made first, unless packages are pinned.

    Raises subprocess.CalledProcessError if the packages cannot be installed.
    """
    if packages == "pinned":
        return Path(sys.executable)
    venv = folder / name
    python = venv / ("Scripts" if os.name == "nt" else "bin") / "python"
    ready, bounds = venv / "ready", ROOT / "pyproject.toml"
    if not ready.exists() or ready.stat().st_mtime < bounds.stat().st_mtime:
        uv = [sys.executable, "-m", "uv"]
        subprocess.run([*uv, "venv", "--quiet", "--clear", str(venv)], check=True)
        install = [*uv, "pip", "install", "--quiet", "--python", str(python)]
        install += ["--resolution", packages, "--editable", f"{ROOT}[lab,test]"]
        subprocess.run(install, check=True)
        ready.touch()
    return python


def run_notebooks(
    python: Path, variables: dict[str, str], log: Path, workers: str
) -> Counter:
    """Failed cells of each chapter under strict nbval -> counts by stem.

    A run that dies before it has a result counts as a failure of every chapter.
    """
    report = log.with_suffix(".xml")
    report.unlink(missing_ok=True)
    command = [str(python), "-m", "pytest", "-q", "-p", "booktools.nbval_plugin"]
    command += ["--nbval", "-n", workers, "--dist", "loadscope", f"--junitxml={report}"]
    green = _run([*command, "chapters"], variables, log)
    failed = failures(report.read_text()) if report.exists() else Counter()
    return failed if green or failed else Counter({p.stem: 1 for p in notebooks()})


def failures(report: str) -> Counter:
    """Cells that failed, by chapter, from pytest's JUnit XML."""
    failed = Counter()
    for case in ElementTree.fromstring(report).iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            # A chapter that could not be read has its name in place of a cell's.
            place = case.get("classname") or case.get("name")
            failed[Path(place.replace(".ipynb", "").replace(".", "/")).name] += 1
    return failed


def run_claims(python: Path, variables: dict[str, str], log: Path) -> int:
    """Run all claims -> 0 if every verdict is the recorded one, else 1."""
    fresh = log.with_suffix(".json")
    for left_over in (fresh, fresh.with_name(f".{fresh.name}.partial")):
        left_over.unlink(missing_ok=True)
    command = [str(python), "-m", "batchnorm.claims", "--output", str(fresh)]
    _run(command, variables, log)
    if not fresh.exists():
        return 1
    recorded, found = (verdicts(file) for file in (ROOT / DATA_FILE, fresh))
    return int(recorded != found)


def verdicts(file: Path) -> dict[str, tuple[int, bool]]:
    """Seeds held, and whether that is enough, of each claim in a data file."""
    return {r["id"]: (r["held"], r["holds"]) for r in claims.load(file)["claims"]}


def _run(command: list[str], variables: dict[str, str], log: Path) -> bool:
    """Run a command at the root of the book, its words in the log; whether it is 0."""
    with log.open("w") as out:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **variables},
            stdout=out,
            stderr=out,
            check=False,
        )
    return done.returncode == 0


def table(results: dict[str, Counter], columns: list[str]) -> str:
    """Environment × chapter: "." where all is green, else how many cells failed."""
    heads = [column[:2] if column[:2].isdigit() else column for column in columns]
    width = max(map(len, results)) + 2
    widths = [max(len(head), 3) + 1 for head in heads]
    lines = [" " * width + "".join(map(str.rjust, heads, widths))]
    for name, failed in results.items():
        cells = [str(failed[column] or ".") for column in columns]
        lines.append(name.ljust(width) + "".join(map(str.rjust, cells, widths)))
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    known = ", ".join(ENVIRONMENTS)
    parser = argparse.ArgumentParser(prog="python -m booktools.matrix")
    parser.add_argument("names", nargs="*", metavar="NAME", help=known)
    parser.add_argument("--no-claims", action="store_true", help="notebooks alone")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(tempfile.gettempdir()) / "batchnorm-matrix",
        help="for logs and for environments of their own",
    )
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(ENVIRONMENTS))
    if unknown:
        parser.error(f"no {', '.join(unknown)}; there are: {known}")
    options.folder.mkdir(parents=True, exist_ok=True)
    columns = [path.stem for path in notebooks()]
    columns += [] if options.no_claims else ["claims"]
    results = {}
    for name in options.names or ENVIRONMENTS:
        environment = ENVIRONMENTS[name]
        print(f"{name}: {environment.why}", flush=True)
        variables = dict(environment.variables)
        if off := variables.get("NPY_DISABLE_CPU_FEATURES"):
            variables["NPY_DISABLE_CPU_FEATURES"] = dispatched(off)
        log = options.folder / f"{name}.log"
        try:
            python = interpreter(name, environment.packages, options.folder)
        except subprocess.CalledProcessError as error:
            print(f"  could not be set up: {error}", flush=True)
            results[name] = Counter(dict.fromkeys(columns, 1))
            continue
        results[name] = run_notebooks(python, variables, log, environment.workers)
        if not options.no_claims:
            claims_log = log.with_name(f"{name}-claims.log")
            results[name]["claims"] = run_claims(python, variables, claims_log)
        print(table({name: results[name]}, columns).splitlines()[1], flush=True)
    print("\n" + table(results, columns))
    print(f"failed cells; . where there are none; logs in {options.folder}")
    return int(any(failed.total() for failed in results.values()))


if __name__ == "__main__":
    sys.exit(main())
