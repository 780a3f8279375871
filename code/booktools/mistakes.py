"""The page of planted mistakes, and the outcome of the trial, as Markdown.

The numbers and verdicts come from running every planted mistake, every pair, every
right program and every public check.
"""

import functools
import re
from itertools import groupby, starmap

from batchnorm.exercises import matrix, messages, public, trial
from booktools.notebooks import ROOT

PLAN = ROOT / "docs" / "trial.md"


@functools.cache
def results():
    """All verdicts, their `Counts`, and pairs of a public check and what it finds."""
    verdicts = matrix.verdicts()
    found = [(check, check.judge()) for check in public.CHECKS]
    return verdicts, matrix.count(verdicts, matrix.pairs()), found


def counts():
    """The numbers of the catalogue as a table."""
    c = results()[1]
    rows = [
        ("one mistake", c.singles, c.caught, f"{c.named} exactly"),
        ("two at once", c.pairs, c.pairs_caught, f"{c.half}, one of the two or both"),
        ("right, in other styles", c.right, c.accused, ""),
    ]
    table = ["| programs | tried | called wrong | named |"]
    table += ["| --- | ---: | ---: | --- |"]
    table += [f"| {' | '.join(map(str, row))} |" for row in rows]
    return (
        "\n".join(table) + f"\n\nFor {c.sourced} of the {c.singles} a public thread is "
        f"linked below; for the other {c.singles - c.sourced} none was found."
    )


def compared():
    """What the public checks find, as a table."""
    lines = [
        "| exercise | what its check looks at | finds | lets pass |",
        "| --- | --- | ---: | --- |",
    ]
    for check, caught in results()[2]:
        if caught.accused:
            raise ValueError(f"{check.course}: accuses {caught.accused}")
        everything = len(caught.found) + len(caught.missed)
        missed = ", ".join(f"`{id}`" for id in caught.missed)
        lines.append(
            f"| [{check.course}]({check.source}), for `{check.task}` | {check.says} | "
            f"{len(caught.found)} of {everything} | {missed} |"
        )
    return "\n".join(lines)


def table():
    """Every planted mistake with the verdict on it, task by task."""
    tasks = groupby(results()[0], lambda row: _head(row[0]))
    return "\n\n".join("\n".join([head, *starmap(_row, rows)]) for head, rows in tasks)


def _row(task, mistake, found):
    node = f"`{task.name.partition('.')[2]}`: " if task.answer else ""
    verdict = said(found.message).replace("|", "\\|")
    chapter = messages.SECTIONS[mistake.section].split(",")[0]
    section = f"{{ref}}`{chapter} <{mistake.section}>`"
    return f"| {node}`{mistake.id}` | {verdict} | {section} | {_thread(mistake)} |"


def _head(task):
    """The heading above a task's mistakes; the nodes of the graph share one."""
    columns = "| mistake | verdict | read | thread |\n| --- | --- | --- | --- |"
    name, asks = task.name, f"`{task.asks or task.signature}`"
    if task.answer:
        name, asks = "graph", "an array at each node"
    slug = name.replace("_", "-")
    return f"(mistakes-{slug})=\n### `{name}`\n\n{asks}\n\n{columns}"


def _thread(mistake):
    if not mistake.source:
        return ""
    repository, number = mistake.source.split("#")
    address = f"https://github.com/{repository}/issues/{number}"
    return f"[{repository} {number}]({address})"


def said(message):
    """What is said to be wrong: the message of a verdict up to its counterexample."""
    text = " ".join(message.split()).partition(": not right yet. ")[2]
    parts = re.split(r" (?:At [a-zT]|On the four|After the call,)", text, maxsplit=1)
    return parts[0]


# ---------------------------------------------------------------------------
# The trial


def outcome(record=None):
    """What came of the trial, of this record or the book's own, in sentences."""
    record = record or trial.record()
    if record is None:
        return "**It was planned, and not run yet.**"
    (named, of_named), (wrong, of_wrong) = (record["counts"][a] for a in trial.ARMS)
    gap, low, high = (f"{100 * x:.0f}".replace("-", "−") for x in record["difference"])
    return (
        f"**{record['verdict'].capitalize()}.** Told what `check` says, readers "
        f"repaired {named} of {of_named} at the first attempt; told “wrong” and a "
        f"counterexample, {wrong} of {of_wrong}. The difference is {gap} points, with "
        f"95 % confidence between {low} and {high}; asked was more than "
        f"{100 * trial.INTEREST:.0f}. Fisher's exact test: p = {record['fisher']:.2g}. "
        "The repairs were made by language models, one program each, that saw only the "
        "task, the program and the answer. What this shows is how such readers fare on "
        "these twenty programs; of people who learn the method it says nothing."
    )


def details(record=None):
    """The twenty programs, their arms and what became of them."""
    record = record or trial.record() or {"rows": []}
    drawn, rows = trial.arms(), {row["id"]: row for row in record["rows"]}
    lines = [
        "| | task | named by `check` | arm | repaired | from |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for program in trial.programs():
        row = rows.get(program.id)
        repaired = "" if row is None else "yes" if row["repaired"] else "no"
        sources = ", ".join(f"[{_short(a)}]({a})" for a in program.sources)
        named = program.found.mistake
        lines.append(
            f"| {program.id} | `{program.task}` | {f'`{named}`' if named else ''} | "
            f"{drawn[program.id]} | {repaired} | {sources} |"
        )
    return "\n".join(lines)


def _short(address):
    found = re.search(r"github.com/([^/]+/[^/]+)/(?:issues|pull)/(\d+)", address)
    if found:
        return f"{found[1]} {found[2]}"
    found = re.search(r"github.com/([^/]+/[^/]+)/blob", address)
    return found[1] if found else address.split("/")[2]


def plan():
    """The plan of the trial, a level below the page's sections."""
    text = PLAN.read_text("utf-8").partition("\n\n")[2]
    return text.partition("\n\n")[2].rstrip()


def parts():
    """What stands in the place of each comment of the page -> dict of str."""
    return {
        "counts": counts(),
        "public": compared(),
        "trial": outcome(),
        "plan": plan(),
        "programs": details(),
        "matrix": table(),
    }
