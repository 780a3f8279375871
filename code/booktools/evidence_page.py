"""The page of evidence as Markdown: what was claimed, measured, and later changed.

It is made from the registry of claims, from their record in ``chapters/evidence.json``
and from the list of changes in ``batchnorm.claims.moved``. A record that does not hold
is shown as one that does not hold; nothing here makes it pass or stops the build.
"""

import html
import math
import re

import numpy as np

from batchnorm import claims
from batchnorm.claims import moved
from batchnorm.claims.registry import references
from booktools.notebooks import ROOT, notebooks, read


def chapters():
    """Label, title and cells of every chapter of the book, in reading order."""
    contents = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    for path in notebooks():
        if f"chapters/{path.stem}" in contents:  # the template is not
            cells = read(path).cells
            head = re.match(r"\((ch-[\w-]+)\)=\n# (.+)", cells[0].source)
            yield head[1], head[2], cells


def shown():
    """Where the claims are shown: id -> (label of the chapter, name of the figure).

    The name is None where the chapter prints the verdict without a figure.
    """
    ids = {entry.id for entry in claims.claims()}
    found = {}
    for label, _, cells in chapters():
        for cell in cells:
            if cell.cell_type == "code":
                figure = cell.metadata.get("mystnb", {}).get("figure", {}).get("name")
                for id in re.findall(r'"([\w-]+)"', cell.source):
                    if id in ids:
                        found.setdefault(id, (label, figure))
    return found


def evidence(data):
    """All registered claims with what their record says.

    Parameters
    ----------
    data : dict
        What `claims.load` returns. A record that is older than its claim is named,
        and its effects are left out.

    Returns
    -------
    str
        Markdown: a summary, and a section for each chapter.
    """
    stale, where = set(claims.stale(data["claims"])), shown()
    records = {r["id"]: r for r in data["claims"] if r["id"] not in stale}
    changed = {r["id"] for r in data["claims"]} & stale
    text = [_summary(data, records, len(changed), len(stale))]
    sections = [*((label, title) for label, title, _ in chapters()), (None, None)]
    for label, title in sections:
        here = [c for c in claims.claims() if where.get(c.id, (None,))[0] == label]
        text += [f"## {title or 'In no chapter'}"] if here else []
        text += [
            _claim(c, records.get(c.id), c.id in changed, where.get(c.id)) for c in here
        ]
    return "\n\n".join(text)


def _summary(data, records, changed, stale):
    versions = ", ".join(f"{name} {v}" for name, v in data["versions"].items())
    failed = [id for id, record in records.items() if not record["holds"]]
    named = ", ".join(f"{{ref}}`{id} <claim-{id}>`" for id in failed)
    return (
        f"{len(records) + stale} claims are registered. "
        f"{len(records)} are recorded as they stand, last on {data['date']} "
        f"({versions}, {data['machine']}). Of these, {len(records) - len(failed)} hold "
        f"and {len(failed)} do not{': ' if failed else ''}{named}. "
        f"{changed} were changed since they were recorded, and {stale - changed} are "
        "not recorded: no effect is given there."
    )


def _claim(entry, record, changed, where):
    """A definition list of one entry: what it answers, then what was measured."""
    asked = f"*Question:* {entry.question}"
    said = [f"**Measured here.** {entry.statement}"]
    if entry.claimed is not None:
        asked = f"“{entry.claimed}”"
        said = [f"*Written:* {cited(entry.claimed_by)}.", *said]
    elif entry.question is None:
        asked, said = entry.statement, []
    if changed:
        said += ["Changed since it was recorded."]
    elif record is None:
        said += ["Not recorded yet."]
    else:
        said += [strip(entry, record["effects"]), _outcome(entry, record)]
    place = "in no chapter"
    if where is not None:
        label, figure = where
        place = f"in {{ref}}`{label}`" + (f", {{numref}}`{figure}`" if figure else "")
    setting = "; ".join(f"{k} {_short(v)}" for k, v in entry.setting.items())
    said += [
        f"*Shown* {place}. *Source:* {cited(entry.source)}. *Setting:* {setting}. "
        f"*Id:* `{entry.id}`"
    ]
    below = "\n\n  ".join(said)
    return f"(claim-{entry.id})=\n{asked}\n: {below}"


def cited(source):
    """A source of the registry as citations with their places."""
    return "; ".join(f"{{cite:t}}`{key}`, {place}" for key, place in references(source))


def _outcome(entry, record):
    effects = _numbers(record["effects"])
    seeds, held = len(record["seeds"]), record["held"]
    asked = "" if record["needed"] == seeds else f" ({record['needed']} asked)"
    verdict = "**Held**" if record["holds"] else "**Did not hold:** only"
    low, high = (_short(v) for v in (effects.min(), effects.max()))
    return (
        f"{verdict} in {held} of {seeds} seeds{asked}. *Effect:* {entry.effect}; "
        f"median {_short(np.median(effects))}, from {low} to {high}; "
        f"asked {record['condition']}."
    )


def _numbers(effects):
    return np.array([np.nan if effect is None else effect for effect in effects])


def _short(value):
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_short, value))
    text = f"{value:.3g}" if isinstance(value, float) else str(value)
    return text.replace("e+0", "e").replace("e+", "e").replace("e-0", "e-")


def strip(entry, effects):
    """One dot a seed on a line, the condition dashed, as an SVG that has no script."""
    values, bounds = _numbers(effects), np.array(entry.condition.thresholds)
    map_ = np.log10 if entry.scale == "log" else np.asarray
    with np.errstate(invalid="ignore", divide="ignore"):
        dots, dashes = map_(values), map_(bounds)
    finite = np.concatenate([dots, dashes])
    finite = finite[np.isfinite(finite)]
    low, high = finite.min(), finite.max()
    width = (high - low) or 1.0

    def at(value):
        return f"{4 + 92 * (value - low) / width:.1f}%"

    places = sorted({at(dot) for dot in dots if math.isfinite(dot)})
    marks = "".join(f'<circle cx="{place}" cy="8" r="4"/>' for place in places)
    lines = "".join(
        f'<line x1="{at(dash)}" x2="{at(dash)}" y2="16" stroke-width="2" '
        'stroke-dasharray="4 2"/>'
        for dash in dashes
    )
    low, high = (_short(value) for value in (np.nanmin(values), np.nanmax(values)))
    said = html.escape(
        f"One dot for each seed, from {low} to {high}; asked {entry.condition}, dashed."
    )
    return (
        f'<svg role="img" aria-label="{said}" width="100%" height="16" '
        f'stroke="currentColor" fill="currentColor" fill-opacity=".45">{lines}{marks}'
        "</svg>"
    )


def changes():
    """What was changed after it had been written down, and what was dropped.

    Returns
    -------
    str
        Markdown: all changes by claim, what did not hold on new seeds, and what is no
        longer registered.
    """
    ids = dict.fromkeys(move.id for move in moved.MOVED)  # each once, in order
    text = [_changes_of(id) for id in ids]
    again = [
        f"- {_link(r.id)}: {r.held} of {r.of}, on {r.seeds}" for r in moved.RETESTED
    ]
    text += ["Claims that ask for all seeds, and did not hold on all new ones:"]
    text += ["\n".join(again)]
    dropped = [f"- `{id}`: {why}" for id, why in moved.DROPPED.items()]
    text += ["No longer registered:", "\n".join(dropped)] if dropped else []
    return "\n\n".join(text)


def _changes_of(id):
    """A definition list of one entry: the claim, and below it each of its changes."""
    said = [
        f"{m.date}, `{m.commit}`. *From* {m.before} *to* {m.after}. *Why:* {m.why}."
        for m in moved.MOVED
        if m.id == id
    ]
    return f"{_link(id)}\n: " + "\n\n  ".join(said)


def _link(id):
    known = {entry.id for entry in claims.claims()}
    return f"{{ref}}`{id} <claim-{id}>`" if id in known else f"`{id}`"
