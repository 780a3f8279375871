"""A trial, planned before it was run: does the name of a mistake help to repair it?

Twenty broken programs that others wrote, in `broken/`, each with the public thread or
file it comes from, rewritten here. By a draw half of them are handed out with the
whole message of `check`, half with "wrong" and the smallest counterexample. The outcome
is whether the first attempt at a repair is right, as `diagnose` says. `docs/trial.md`
is the plan.

``python -m batchnorm.exercises.trial write FOLDER`` writes what each reader sees, and
``... judge FOLDER`` judges ``FOLDER/answers/NN.py`` and writes the record.
"""

import ast
import functools
import hashlib
import json
import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from scipy import stats

from batchnorm.exercises import TASKS, compare, diagnose, diagnosis, messages

HERE = Path(__file__).parent
RECORD = HERE / "record.json"
SEED = 19
ARMS = ("named", "wrong")
INTEREST = 0.30  # smallest difference of shares that would matter to a course
LEVEL = 0.95

SENTENCES = {
    "forward": "batch normalization of rows x (m, d) in training, as Algorithm 1 of "
    "Ioffe and Szegedy (2015) has it; gamma and beta have the shape (d,)",
    "backward": "the gradients of a loss by x, gamma and beta, where dy (m, d) is its "
    "gradient by the output y of batch normalization in training (Algorithm 1 of Ioffe "
    "and Szegedy, 2015) of rows x (m, d)",
    "feature_maps": "batch normalization in training for feature maps x (N, C, H, W); "
    "gamma and beta have the shape (C,)",
    "running": "the running mean and variance (d,) after a training step on the batch "
    "x (m, d), in PyTorch's convention; the arguments stay what they were",
    "inference": "batch normalization of rows x (m, d) at inference, where mean and "
    "var (d,) are the stored statistics",
    "fold": "weight (d_out, d_in) and bias (d_out,) of the one linear layer that does "
    "what a linear layer and the batch normalization behind it do at inference",
    "module": "a module that stands in for torch.nn.BatchNorm1d on rows (m, d), in "
    "training and in evaluation, with weight, bias, running_mean and running_var",
}


@dataclass(frozen=True)
class Program:
    """One broken program.

    Parameters
    ----------
    id : str
        Two digits.
    task : str
        What it was written for.
    sources : tuple of str
        Addresses of what it comes from.
    code : str
        The program, without a word on where it comes from.
    """

    id: str
    task: str
    sources: tuple
    code: str

    @property
    def defines(self):
        """The name that the program has to define."""
        return "Module" if self.task == "module" else self.task

    @functools.cached_property
    def found(self):
        """What `diagnose` says of it."""
        return judge_code(self.task, self.defines, self.code)


def programs():
    """The twenty, in order.

    Returns
    -------
    list of Program
    """
    return [_read(path) for path in sorted(HERE.glob("broken/p*.py"))]


def _read(path):
    text = path.read_text("utf-8")
    tree = ast.parse(text)
    about, code = ast.get_docstring(tree), text.split('"""', 2)[2].strip() + "\n"
    named = {node.name for node in tree.body if hasattr(node, "name")}
    (task,) = [t for t in SENTENCES if t in named] or ["module"]
    sources = tuple(re.findall(r"https://\S+", about))
    return Program(path.stem[1:], task, sources, code)


def arms():
    """Which arm each program is in: ten in each, drawn apart for those with a name.

    Returns
    -------
    dict
        From ids to ``"named"`` or ``"wrong"``.
    """
    rng = np.random.default_rng(SEED)
    drawn = {}
    for has_name in (True, False):
        ids = [p.id for p in programs() if bool(p.found.mistake) is has_name]
        order = rng.permutation(len(ids))
        half = (len(ids) + has_name) // 2  # 7 of 13, and 3 of 7
        for rank, k in enumerate(order):
            drawn[ids[k]] = ARMS[rank >= half]
    return dict(sorted(drawn.items()))


# ---------------------------------------------------------------------------
# What a reader sees


def prompt(program, arm, answers):
    """The file that a reader sees.

    Parameters
    ----------
    program : Program
        What is to be repaired.
    arm : str
        ``"named"`` or ``"wrong"``.
    answers : str
        The folder for the repaired program.

    Returns
    -------
    str
    """
    task = TASKS[program.task]
    said = program.found.message if arm == "named" else counterexample(program)
    called = task.asks or task.signature
    return f"""\
# Program {program.id}

Asked for was `{called}`: {SENTENCES[program.task]}.
{_defined(program)}

This program was written for it:

```python
{program.code}```

A checker tried it on several inputs, and answers:

```
{said}
```
{_shown(task, said)}
Repair the program. You have one attempt, and cannot run anything: read this file alone.
Write the whole repaired program, with its imports, to `{answers}/{program.id}.py`.
It has to be right on every input. It may use NumPy and torch.
"""


def _defined(program):
    if program.task == "module":
        return "The class has to be named `Module`. It is tried in float64."
    return (
        "Arrays are NumPy's, in float64. "
        f"The function has to be named `{program.defines}`."
    )


def counterexample(program):
    """The word "wrong", and the smallest input on which the program is.

    Parameters
    ----------
    program : Program
        What is tried.

    Returns
    -------
    str
    """
    task = TASKS[program.task]
    mine = task.adapt(loaded(program.code, program.defines))
    trials = [diagnosis._trial(task, mine, probe) for probe in task.probes]
    where = diagnosis._first_difference(task, trials, compare.DOUBLE)
    return messages._lines(f"{task.name}: wrong.", *messages._example(task, where))


def _shown(task, said):
    """The input that a message only points to, written out."""
    found = re.search(r"probes\[(\d+)\]", said)
    if not found:
        return ""
    given = task.probes[int(found[1])].arguments
    lines = [f"{name} = {np.asarray(v).tolist()}" for name, v in given.items()]
    return "\nThat input is:\n\n```\n" + "\n".join(lines) + "\n```\n"


def write(folder):
    """Write what each reader sees.

    Parameters
    ----------
    folder : Path
        Gets a file for each program, and an empty folder ``answers``.
    """
    answers = folder / "answers"
    answers.mkdir(parents=True, exist_ok=True)
    drawn = arms()
    for program in programs():
        text = prompt(program, drawn[program.id], answers)
        (folder / f"{program.id}.txt").write_text(text, "utf-8")


# ---------------------------------------------------------------------------
# The outcome


def loaded(code, name):
    """What a program defines under a name.

    Parameters
    ----------
    code : str
        The program.
    name : str
        Of its function or class.

    Returns
    -------
    function or class
    """
    space = {"__name__": "repaired"}
    exec(compile(code, f"<{name}>", "exec"), space)
    return space[name]


def judge_code(task, name, code):
    """The verdict on a program that comes as text.

    Parameters
    ----------
    task : str
        What it is for.
    name : str
        What it defines.
    code : str
        The program.

    Returns
    -------
    Diagnosis
    """
    try:
        mine = loaded(code, name)
    except Exception as error:  # a program that does not even load is no repair
        text = f"{task}: {type(error).__name__}: {error}"
        return diagnosis.Diagnosis(False, None, text)
    return diagnose(task, mine)


def judge(folder):
    """Judge the answers: one row a program, and what they come to.

    Parameters
    ----------
    folder : Path
        As `write` made it, with ``answers/NN.py``. A missing answer is no repair.

    Returns
    -------
    dict
        The record.
    """
    drawn, rows = arms(), []
    for program in programs():
        answer = folder / "answers" / f"{program.id}.py"
        code = answer.read_text("utf-8") if answer.exists() else ""
        found = judge_code(program.task, program.defines, code)
        text = prompt(program, drawn[program.id], folder / "answers")
        rows.append(
            {
                "id": program.id,
                "task": program.task,
                "mistake": program.found.mistake,
                "arm": drawn[program.id],
                "repaired": found.right,
                "left": "" if found.right else found.message,
                "prompt": hashlib.sha256(text.encode()).hexdigest()[:16],
                "answer": code,
            }
        )
    return {"date": str(date.today()), **outcome(rows), "rows": rows}


def outcome(rows):
    """Shares, their difference with its interval, and the verdict.

    Newcombe's interval of a difference of shares is made of Wilson's of each.

    Parameters
    ----------
    rows : list of dict
        With ``arm`` and ``repaired``.

    Returns
    -------
    dict
    """
    counts = {}
    for arm in ARMS:
        repaired = [row["repaired"] for row in rows if row["arm"] == arm]
        counts[arm] = (sum(repaired), len(repaired))
    shares = {arm: k / n for arm, (k, n) in counts.items()}
    (low_a, high_a), (low_b, high_b) = (
        stats.binomtest(k, n).proportion_ci(LEVEL, "wilson") for k, n in counts.values()
    )
    gap = shares["named"] - shares["wrong"]
    low = gap - np.hypot(shares["named"] - low_a, high_b - shares["wrong"])
    high = gap + np.hypot(high_a - shares["named"], shares["wrong"] - low_b)
    table = [[k, n - k] for k, n in counts.values()]
    verdict = "undecided"
    if low > INTEREST:
        verdict = "supported"
    elif high < INTEREST:
        verdict = "opposed"
    return {
        "counts": counts,
        "difference": [round(float(x), 3) for x in (gap, low, high)],
        "fisher": round(float(stats.fisher_exact(table).pvalue), 3),
        "verdict": verdict,
    }


def record():
    """The record of the trial, or None before it was run.

    Returns
    -------
    dict or None
    """
    return json.loads(RECORD.read_text("utf-8")) if RECORD.exists() else None
