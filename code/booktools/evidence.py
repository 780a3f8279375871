"""The page of evidence, as Markdown from the claims, their ledger and recorded runs."""

import html
import inspect
import re
from collections import Counter

import numpy as np

from batchnorm import claims
from batchnorm.claims import harder, ledger, moved
from batchnorm.claims.estimates import LEVEL
from batchnorm.claims.registry import chapter, references
from batchnorm.claims.show import quantity
from batchnorm.claims.types import VERDICTS
from booktools import evidence_mnist, solutions
from booktools.notebooks import chapters as numbered

UNCONFIRMED = "unconfirmed"  # in place of a verdict


def page(records, readings=None):
    """All statements of the book, and what the ledger's records know of them.

    ``readings`` are those of `harder_readings`, where they are known already.
    """
    confirmed = {c.id: ledger.confirmation(c, records) for c in claims.claims()}
    text, on_mnist = [_filter()], evidence_mnist.beside()
    changed = _changed(harder_readings(records) if readings is None else readings)
    for (title, module), path in zip(chapters(), numbered(), strict=True):
        order = path.read_text("utf-8")  # so that "there" follows what it points at
        here = [c for c in claims.claims() if chapter(c) == module]
        here.sort(key=lambda c: order.find(c.id) if c.id in order else len(order))
        identities = [i for i in claims.identities() if i.chapter == module]
        if here or identities:
            text.append(f"## {title}")
        text += [
            _entry(
                c,
                confirmed[c.id],
                ledger.earlier(c, records),
                on_mnist.get(c.id),
                {how: found[c.id] for how, found in changed.items() if c.id in found},
            )
            for c in here
        ]
        text += [_identities(identities)] if identities else []
    text.append(_gone(records))
    return "\n\n".join(text)


def chapters():
    """Title of every chapter and the module of its claims, in order."""
    for path in numbered():
        yield solutions.title(path)[0], re.sub(r"^\d+_", "", path.stem)


def verdicts(records):
    """How many statements of which kind have which verdict -> Counter of pairs."""
    every = [(c.kind, ledger.confirmation(c, records)) for c in claims.claims()]
    return Counter((kind, k["verdict"] if k else UNCONFIRMED) for kind, k in every)


def counts(records):
    """The numbers of `verdicts` as a table."""
    found = verdicts(records)
    columns = [*VERDICTS, UNCONFIRMED]
    rows = [f"| | {' | '.join(columns)} |", "| --- |" + " ---: |" * len(columns)]
    for kind in ("prediction", "experiment"):
        cells = " | ".join(str(found[kind, column]) for column in columns)
        rows.append(f"| {kind}s | {cells} |")
    return (
        "(evidence-counts)=\n"
        + "\n".join(rows)
        + f"\n\nBesides, {len(claims.identities())} identities, each proved and tested."
    )


READINGS = {
    "once": "with intervals that hold for all experiments at once",
    "images": "with an interval that counts on other images",
    "draws": "with the seeds of all draws that asked the same",
}


def harder_readings(records):
    """Harder readings of each confirmed experiment -> {reading: {id: pair}}.

    A pair is the verdict as it stands and what the reading makes of it.
    """
    every = [(c, ledger.confirmation(c, records)) for c in claims.claims()]
    asked = [(c, k) for c, k in every if k and c.kind == "experiment"]
    read = {
        "once": {c.id: harder.at_once(c, k, len(asked)) for c, k in asked},
        "images": {c.id: harder.other_images(c, k) for c, k in asked},
        "draws": {
            c.id: harder.all_draws(c, k, ledger.earlier(c, records)) for c, k in asked
        },
    }
    stands = {c.id: k["verdict"] for c, k in asked}
    return {
        how: {name: (stands[name], said) for name, said in found.items() if said}
        for how, found in read.items()
    }


def _changed(readings):
    """The verdicts that are not kept, by the reading's words and the claim's id."""
    return {
        READINGS[how]: {c: now for c, (stands, now) in found.items() if stands != now}
        for how, found in readings.items()
    }


def _by_verdict(found):
    """The keys of each verdict that is among the values -> list of pairs."""
    keys = {
        verdict: [k for k, v in found.items() if v == verdict] for verdict in VERDICTS
    }
    return [(verdict.capitalize(), some) for verdict, some in keys.items() if some]


def standing(readings):
    """How many verdicts stand under the harder readings, and which do not."""
    rows = [f"| | {' | '.join(VERDICTS)} |", "| --- |" + " ---: |" * len(VERDICTS)]
    for how, found in readings.items():
        before, after = map(Counter, zip(*found.values(), strict=True))
        named = ("each by its own interval", before), (READINGS[how], after)
        for name, counted in named:
            cells = " | ".join(str(counted[verdict]) for verdict in VERDICTS)
            rows.append(f"| {len(found)} experiments, {name} | {cells} |")
    lists = [
        f"{verdict} {how}: {', '.join(map(_link, ids))}."
        for how, found in _changed(readings).items()
        for verdict, ids in _by_verdict(found)
    ]
    return "\n\n".join(["\n".join(rows), *lists])


def _filter():
    """Buttons that leave the entries of one verdict or chapter; style alone does it."""
    titles = {module: title for title, module in chapters()}
    groups = {
        "verdict": {name: name for name in (*VERDICTS, UNCONFIRMED)},
        "chapter": {chapter(c): titles[chapter(c)] for c in claims.claims()},
    }
    buttons = "".join(_buttons(name, choices) for name, choices in groups.items())
    rules = "".join(
        f"main:has(#only-{name}:checked) .claim:not(.{name}){{display:none}}\n"
        for choices in groups.values()
        for name in choices
    )
    return f"```{{raw}} html\n<style>\n{rules}</style>\n{buttons}\n```"


def _buttons(group, choices):
    """One group of radio buttons, the first of which leaves all."""
    every = {"all": f"every {group}", **choices}
    labels = " ".join(
        f'<label><input type="radio" name="{group}" '
        f'id="{"every-" + group if name == "all" else "only-" + name}"'
        f"{' checked' if name == 'all' else ''}> {html.escape(text)}</label>"
        for name, text in every.items()
    )
    return f'<fieldset class="filter"><legend>Show</legend>{labels}</fieldset>\n'


def _entry(claim, kept, earlier, on_mnist, changed):
    """One claim as a block of its own, of the class of its verdict.

    ``kept`` is its confirmation, ``earlier`` those of its earlier definitions, and
    ``on_mnist`` what was found where it was asked again; any may be missing.
    ``changed`` has the verdicts that harder readings change, by the reading's words.
    """
    verdict = kept["verdict"] if kept else UNCONFIRMED
    said = []
    if claim.claimed is not None:
        said.append(f"**Written:** “{claim.claimed}” ({cited(claim.claimed_by)})")
    elif claim.question is not None:
        said.append(f"**Question:** {claim.question}")
    said += [f"**{verdict.capitalize()}.** {claim.statement}"]
    said += [f"*Note:* {moved.NOTED[claim.id]}"] if claim.id in moved.NOTED else []
    if kept:
        said += [strip(claim, kept), _outcome(claim, kept)]
        said += [f"*{v}* {' and '.join(how)}." for v, how in _by_verdict(changed)]
    setting = "; ".join(f"{name} {_short(v)}" for name, v in claim.setting.items())
    said += [f"*Source:* {cited(claim.source)}. *Setting:* {setting or 'none'}."]
    said += [evidence_mnist.entry(on_mnist)] if on_mnist else []
    told = [_told(old, claim.statement) for old in earlier]
    said += [" ".join(["*Earlier definitions.*", *told])] if told else []
    said += [
        f"::::{{admonition}} Code of `{claim.id}`\n:class: dropdown\n\n"
        f"```python\n{_code(claim)}\n```\n::::"
    ]
    body = "\n\n".join(said)
    classes = f"claim {verdict} {chapter(claim)}"
    return f"(claim-{claim.id})=\n:::::{{div}} {classes}\n{body}\n:::::"


def _code(claim):
    return inspect.getsource(inspect.unwrap(claim.measure)).rstrip()


def codes():
    """The code that measured each claim, by its id -> dict of str."""
    return {claim.id: _code(claim) for claim in claims.claims()}


def parts():
    """What stands in the place of each comment of the page -> dict of str."""
    records = ledger.read()
    readings = harder_readings(records)
    return {
        "counts": counts(records),
        "readings": standing(readings),
        "mnist": evidence_mnist.page(records),
        "claims": page(records, readings),
        "changes": changes(),
    }


def _outcome(claim, kept):
    """Effect, interval, what was asked, control and power, in sentences."""
    estimate = claims.short(ledger.number(kept["estimate"]), claim.kind)
    what = quantity(claim)
    level = "" if claim.region.level == LEVEL else f" ({claim.region.level:.0%})"
    words = [
        f"{what[0].upper()}{what[1:]}: **{estimate}**{level} on "
        f"{len(kept['seeds'])} seeds drawn from the definition; asked {claim.asked}.",
    ]
    if kept.get("detectable") not in (None, "inf", "-inf"):
        words.append(
            f"As many seeds would have found an effect of {_short(kept['detectable'])}."
        )
    if controls := kept.get("controls"):
        said = ", ".join(f"{name} {verdict}" for name, verdict in controls.items())
        words.append(f"*Controls:* {said}.")
    words.append(f"*Run* {kept['date']}, {kept['machine']}, {kept['seconds']} s.")
    return " ".join(words)


def _told(kept, statement=None):
    """What an earlier definition came to; one of this ``statement`` is not repeated."""
    said = kept["statement"] if kept["statement"] != statement else "The same."
    said = f"{kept['date']}: {said} Asked {kept['asked']}: {kept['verdict']}."
    if "estimate" not in kept:
        return said
    found = claims.short(ledger.number(kept["estimate"]), kept["kind"])
    return f"{said} Found {found}."


def _identities(identities):
    lines = [
        f"(identity-{i.id})=\n- {i.statement} ({cited(i.source)}; "
        f"`{i.test.rpartition('::')[2]}`)"
        for i in identities
    ]
    return "**Identities**\n\n" + "\n\n".join(lines)


def _gone(records):
    """Records of statements that are no claims any more."""
    known = {c.id for c in claims.claims()}
    gone = {kept["id"]: kept for kept in records if kept["id"] not in known}
    if not gone:
        return ""
    lines = [f"- `{name}`, {_told(kept)}" for name, kept in gone.items()]
    return "(evidence-gone)=\n## No claims any more\n\n" + "\n".join(lines)


def cited(source):
    """Keys and places of a source as citations."""
    pairs = references(source)
    return "; ".join(f"{{cite:t}}`{key}`, {place}" for key, place in pairs)


def strip(claim, kept):
    """One dot a seed, the interval a bar, what was asked dashed, as an SVG."""
    effects = ledger.number(kept["effects"]).ravel()
    estimate = ledger.number(kept["estimate"])
    marks = np.concatenate([effects, estimate, claim.region.bounds])
    logs = claim.scale == "log" and marks.min() > 0
    scale = np.log10 if logs else np.asarray
    shown = scale(marks[np.isfinite(marks)])
    low, width = shown.min(), np.ptp(shown) or 1.0

    def at(value):
        return 4 + 92 * (float(np.clip(scale(value), low, low + width)) - low) / width

    dots = sorted({f"{at(e):.1f}" for e in effects if np.isfinite(e)})
    first, last = (at(e) for e in estimate[1:])
    drawn = "".join(f'<circle cx="{x}%" cy="8" r="3"/>' for x in dots)
    drawn += "".join(
        f'<line x1="{at(b):.1f}%" x2="{at(b):.1f}%" y2="22" stroke-width="2" '
        'stroke-dasharray="4 2"/>'
        for b in claim.region.bounds
    )
    drawn += (
        f'<line x1="{first:.1f}%" x2="{last:.1f}%" y1="18" y2="18" stroke-width="4"/>'
    )
    said = html.escape(
        f"One dot for each of {len(kept['seeds'])} seeds; the interval "
        f"{claims.short(estimate, claim.kind)} below; asked {claim.asked}, dashed."
    )
    return (
        f'<svg role="img" aria-label="{said}" width="100%" height="22" '
        f'stroke="currentColor" fill="currentColor" fill-opacity=".45">{drawn}</svg>'
    )


def _short(value):
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return ", ".join(map(_short, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def changes():
    """What was changed after it had been written down, what did not hold on new
    seeds, and what was dropped."""
    names = dict.fromkeys(move.id for move in moved.MOVED)  # each once, in order
    text = [_changes_of(name) for name in names]
    retested = [
        f"- {_link(r.id)}: {r.held} of {r.of}, on {r.seeds}" for r in moved.RETESTED
    ]
    text += ["Claims that ask for all seeds, and did not hold on all new ones:"]
    text += ["\n".join(retested)]
    dropped = [f"- `{name}`: {why}" for name, why in moved.DROPPED.items()]
    text += ["No longer registered:", "\n".join(dropped)] if dropped else []
    return "\n\n".join(text)


def _changes_of(name):
    """A definition list of one entry: the claim, and below it each of its changes."""
    said = [
        f"{m.date}, `{m.commit}`. *From* {m.before} *to* {m.after}. *Why:* {m.why}."
        for m in moved.MOVED
        if m.id == name
    ]
    return f"{_link(name)}\n: " + "\n\n  ".join(said)


def _link(name):
    known = {claim.id for claim in claims.claims()}
    return f"{{ref}}`{name} <claim-{name}>`" if name in known else f"`{name}`"
