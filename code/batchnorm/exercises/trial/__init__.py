"""A trial, planned before it was run: does the name of a mistake help to repair it?

Twenty broken programs that others wrote, in `broken.md`, each with the public thread
or file it comes from, rewritten here. By a draw half of them are handed out with the
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
    """One broken program."""

    id: str  # two digits
    sources: tuple  # addresses of what it comes from
    code: str  # without a word on where it comes from

    @property
    def task(self):
        """What it was written for: the task whose name it defines."""
        names = {getattr(node, "name", "") for node in ast.parse(self.code).body}
        return next((task for task in SENTENCES if task in names), "module")

    @property
    def defines(self):
        """The name that the program has to define."""
        return "Module" if self.task == "module" else self.task

    @functools.cached_property
    def found(self):
        """What `diagnose` says of it."""
        return self.judge(self.code)

    def judge(self, code):
        """What `diagnose` says of the text of a program for the same task."""
        try:
            mine = self.loaded(code)
        except Exception as error:  # a program that does not even load is no repair
            text = f"{self.task}: {type(error).__name__}: {error}"
            return diagnosis.Diagnosis(False, None, text)
        return diagnose(self.task, mine)

    def loaded(self, code):
        """The function or class that the text of a program defines for the task."""
        space = {"__name__": "repaired"}
        exec(compile(code, f"<{self.defines}>", "exec"), space)
        return space[self.defines]


# Of `broken.md`: a heading, a text with addresses, and the program.
PROGRAM = re.compile(r"(?ms)^## (\d\d)$(.*?)^```python\n(.*?)^```$")


def programs():
    """The twenty, in order: a list of `Program`."""
    return [
        Program(id, tuple(re.findall(r"<(https://\S+)>", about)), code)
        for id, about, code in PROGRAM.findall((HERE / "broken.md").read_text("utf-8"))
    ]


def arms():
    """Which arm each program is in: ten in each, drawn apart for those with a name.

    -> a dict from ids to ``"named"`` or ``"wrong"``.
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
    """The text that a reader of an arm sees, who writes to the folder of answers."""
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
    """The word "wrong", and the smallest input on which the program is."""
    task = TASKS[program.task]
    mine = task.adapt(program.loaded(program.code))
    trials = [diagnosis._trial(task, mine, probe) for probe in task.probes]
    where = diagnosis._first_difference(task, trials, compare.DOUBLE)
    return messages._lines(f"{task.name}: wrong.", *messages._example(task, where))


def _shown(task, said):
    """The input of which a message tells only a part, or the shape, written out."""
    for k, probe in enumerate(task.probes):
        told = messages._input(task, k)
        whole = all(f"{name} = " in told for name in probe.arguments)
        if told in " ".join(said.split()) and not whole:
            lines = [
                f"{n} = {np.asarray(v).tolist()}" for n, v in probe.arguments.items()
            ]
            return "\nThat input is:\n\n```\n" + "\n".join(lines) + "\n```\n"
    return ""


def write(folder):
    """Write what each reader sees, a file each, and an empty folder ``answers``."""
    answers = folder / "answers"
    answers.mkdir(parents=True, exist_ok=True)
    drawn = arms()
    for program in programs():
        text = prompt(program, drawn[program.id], answers)
        (folder / f"{program.id}.txt").write_text(text, "utf-8")


# ---------------------------------------------------------------------------
# The outcome


def judge(folder):
    """Judge ``answers/NN.py`` in a folder as `write` made it; none is no repair.

    -> the record: a row for each program, and what they come to.
    """
    drawn, rows = arms(), []
    for program in programs():
        answer = folder / "answers" / f"{program.id}.py"
        code = answer.read_text("utf-8") if answer.exists() else ""
        found = program.judge(code)
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

    `rows` are dicts with ``arm`` and ``repaired``. Newcombe's interval of a difference
    of shares is made of Wilson's of each.
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
    """The record of the trial, a dict, or None before it was run."""
    return json.loads(RECORD.read_text("utf-8")) if RECORD.exists() else None
