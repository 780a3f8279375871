"""All exercises with their solutions, a page at the back per chapter, as Markdown.

The pages come from the notebooks: an exercise with a link to it, the code that belongs
to it, and its solution, unfolded, with the stored outputs.
"""

import functools
import posixpath
import re
from dataclasses import dataclass, field

from booktools.notebooks import notebooks, read

PAGES = "back/solutions"
OPENING = re.compile(r"(`{3,}|:{3,})\{([\w-]+)\} ?(.*)")
LABEL = re.compile(r"^\([\w-]+\)=\n", re.MULTILINE)
EQUATION_LABEL = re.compile(r"^(\$\$) \(eq-[\w-]+\)", re.MULTILINE)
LINK = re.compile(r"\]\((?![a-z]+:|#)([^)\s]+)\)")


@dataclass
class Exercise:
    """One exercise: title and label as its directive says; its parts as Markdown.

    What it asks, and what its solution says, are prose, code and outputs in order.
    """

    title: str
    label: str
    task: list = field(default_factory=list)
    solution: list = field(default_factory=list)


def of_date(function):
    """Remember what comes of a notebook as long as its date stays."""
    remembered = functools.cache(lambda path, date: function(path))
    return lambda path: remembered(path, path.stat().st_mtime_ns)


def chapters():
    """The notebooks that have exercises -> list of Path."""
    return [path for path in notebooks() if path.stem != "template" and exercises(path)]


@of_date
def exercises(path):
    """The exercises of a chapter, in order -> list of Exercise."""
    found, open_part = [], None
    for cell in read(path).cells:
        if cell.cell_type == "code":
            if open_part is not None:
                open_part += _code(cell)
            continue
        for kind, argument, text in blocks(cell.source):
            if kind == "exercise":
                label = re.search(r":label: (\S+)", text)[1]
                body = re.sub(r"^:[\w-]+:.*\n?", "", text, flags=re.MULTILINE)
                found.append(Exercise(argument, label, [_placed(body)]))
                open_part = found[-1].task
            elif kind == "solution-start":
                owner = next(e for e in found if e.label == argument)
                open_part = owner.solution
            elif kind == "solution-end" or (kind == "" and _leaves(text)):
                open_part = None
            elif open_part is not None and not _is_hint(kind, argument):
                open_part.append(_placed(text))
    return found


def blocks(source):
    """Yield the directives of Markdown, and the text between them.

    A triple each: directive, argument and content; of other text, and of directives
    that are not about exercises, two empty strings and the text.
    """
    lines, text = source.split("\n"), []
    while lines:
        line = lines.pop(0)
        opened = OPENING.fullmatch(line)
        body = []
        if opened:
            while lines and lines[0] != opened[1]:
                body.append(lines.pop(0))
            lines[:1] = []
        known = opened and (
            opened[2] in ("exercise", "solution-start", "solution-end")
            or _is_hint(opened[2], opened[3])
        )
        if known:
            yield from _between(text)
            text = []
            yield opened[2], opened[3], "\n".join(body)
        elif opened:
            text += [line, *body, opened[1]]
        else:
            heading = re.match(r"#{2,} ", line)
            if heading:  # what comes before a heading is not below it
                yield from _between(text)
                text = []
            text.append(line)
    yield from _between(text)


def _between(lines):
    text = "\n".join(lines).strip()
    if text:
        yield "", "", text


def _is_hint(kind, argument):
    return kind == "admonition" and argument.startswith("Hint")


def _leaves(text):
    """Whether a text begins another section."""
    return bool(re.match(r"(\([\w-]+\)=\n)?#{2,} ", text))


def _code(cell):
    """A cell of code and what it printed, as Markdown."""
    parts = [f"```python\n{cell.source}\n```"]
    for output in cell.outputs:
        text = output.get("text") or output.get("data", {}).get("text/plain", "")
        if "image/png" in output.get("data", {}):
            parts.append("*It draws the figure that stands in the chapter.*")
        elif text.strip():
            parts.append(f"```text\n{text.rstrip()}\n```")
    return parts


def _placed(text):
    """The same without labels, which stay in the chapter, and with links from here."""
    text = EQUATION_LABEL.sub(r"\1", LABEL.sub("", text.strip()))
    up = posixpath.relpath("chapters", PAGES)
    return LINK.sub(
        lambda m: f"]({posixpath.normpath(posixpath.join(up, m[1]))})", text
    )


# ---------------------------------------------------------------------------
# The pages


@of_date
def title(path):
    """Title and label of a chapter."""
    head = re.match(r"\((ch-[\w-]+)\)=\n# (.+)", read(path).cells[0].source)
    return head[2], head[1]


def page(path):
    """All exercises of a chapter with their solutions, as Markdown."""
    name, label = title(path)
    parts = [f"(solutions-{label})=\n# Solutions: {name}", f"To {{ref}}`{label}`."]
    for exercise in exercises(path):
        parts.append(f"(solved-{exercise.label})=\n## {exercise.title}")
        parts += exercise.task
        parts.append(f"**Solution** of {{ref}}`this exercise <{exercise.label}>`.")
        parts += exercise.solution
    return "\n\n".join(parts)


def listed():
    """The chapters with links to their pages, as Markdown."""
    lines = []
    for path in chapters():
        name, label = title(path)
        count = len(exercises(path))
        lines.append(f"- {{ref}}`{name} <solutions-{label}>`: {count} exercises")
    return "\n".join(lines)
