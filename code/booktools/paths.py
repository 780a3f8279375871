"""Which chapter builds on which, for the page of paths.

A chapter says what it presumes in its line "You need", by the labels of chapters. The
table that stands for ``% map`` is made from these lines, so that it cannot be out of
date.
"""

import re

from booktools.notebooks import chapters, prose
from booktools.solutions import title


def needs():
    """Label of each chapter -> labels of those that its line "You need" names."""
    return {title(path)[1]: _named(path) for path in chapters()}


def table(needed):
    """What builds on what, as Markdown, from what `needs` returns."""
    number = {label: k for k, label in enumerate(needed)}

    def links(labels):
        ordered = sorted(labels, key=number.__getitem__)
        return ", ".join(f"{{ref}}`{number[one]} <{one}>`" for one in ordered)

    rows = ["| chapter | builds on | is presumed by |", "| --- | --- | --- |"]
    for label, before in needed.items():
        after = [other for other, its in needed.items() if label in its]
        chapter = f"{number[label]} {{ref}}`{label}`"
        rows.append(f"| {chapter} | {links(before)} | {links(after)} |")
    return "\n".join(rows)


def _named(path):
    said = re.compile(r"\*\*You need\*\*(.*?)\*\*Time:\*\*", re.DOTALL)
    line = said.search(prose(path))[1]
    return sorted(set(re.findall(r"\{ref\}`[^`<]*<(ch-[\w-]+)>`", line)))
