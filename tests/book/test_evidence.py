"""The page of evidence: what it says of each claim, and what was changed in them."""

import datetime
import math
import re
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
from docutils import nodes
from sphinx import addnodes

from batchnorm import claims
from batchnorm.claims import estimates, harder, ledger, moved, types
from batchnorm.claims.registry import chapter, references
from batchnorm.datasets import (
    REPORTED_SHEETS,
    SHEETS,
    TUNING_SHEETS,
    digits,
    writers,
)
from booktools import evidence, fill
from booktools.notebooks import ROOT, chapters, code_cells, prose

PAGE = (ROOT / "back" / "evidence.md").read_text(encoding="utf-8")
CHAPTERS = chapters()


def part(page, id):
    """What the page says of one claim."""
    return page[page.index(f"(claim-{id})=") :].split("\n(", 1)[0].split("\n## ", 1)[0]


def confirmed(claim, effects):
    """A record of a claim on its confirming seeds, with these effects."""
    seeds = claims.confirmation_seeds(claim)
    many = np.resize(np.array(effects, float), (len(seeds), *np.shape(effects)[1:]))
    return ledger.record(types.Result(claim, seeds, many), 0.0)


def ratio():
    """A claim on the median of one number a seed, with one bound."""
    return claims.get("sigmoid-steps")


@pytest.fixture(scope="module")
def page():
    return evidence.page(ledger.read())


# ------------------------------------------------------------------------- the page


def test_every_statement_is_once_under_its_chapter(page):
    for kind, entries in (
        ("claim", claims.claims()),
        ("identity", claims.identities()),
    ):
        order = re.findall(rf"^\({kind}-([\w-]+)\)=$", page, re.MULTILINE)
        assert sorted(order) == sorted(entry.id for entry in entries)
    titles = {module: title for title, module in evidence.chapters()}
    sections = dict(re.findall(r"^## (.+)\n((?:(?!^## ).*\n?)*)", page, re.MULTILINE))
    for entry in claims.claims():
        title = titles[chapter(entry)]
        assert f"(claim-{entry.id})=" in sections[title], entry.id
    for entry in claims.identities():
        assert f"(identity-{entry.id})=" in sections[titles[entry.chapter]], entry.id


def test_an_entry_says_who_wrote_what_is_asked_and_what_is_claimed(page):
    for entry in claims.claims():
        said = part(page, entry.id)
        assert entry.statement in said
        assert entry.claimed is None or f"“{entry.claimed}”" in said
        assert entry.question is None or f"**Question:** {entry.question}" in said
        for source in filter(None, (entry.source, entry.claimed_by)):
            for key, place in references(source):
                assert f"{{cite:t}}`{key}`, {place}" in said


@pytest.mark.parametrize(
    ("effects", "verdict"),
    [([3.0, 3.1], "supported"), ([0.9, 1.0], "opposed"), ([1.0, 1.5], "undecided")],
)
def test_an_outcome_is_reported_whatever_it_is(effects, verdict):
    page = evidence.page([confirmed(ratio(), effects)])
    said = part(page, ratio().id)
    assert f"**{verdict.capitalize()}.** {ratio().statement}" in said
    assert f"claim {verdict} training\n" in said
    assert "on 59 seeds drawn from the definition; asked median > 1.25" in said
    table = evidence.counts([confirmed(ratio(), effects)])
    rows = re.findall(r"^\| experiments \| (.*) \|$", table, re.MULTILINE)[0].split("|")
    expected = [str(int(v == verdict)) for v in types.VERDICTS]
    assert [cell.strip() for cell in rows[:3]] == expected


def test_controls_and_power_stand_with_an_outcome():
    kept = confirmed(ratio(), [1.0, 1.5]) | {
        "controls": {"negative": "opposed", "positive": "supported"}
    }
    said = part(evidence.page([kept]), ratio().id)
    assert "*Controls:* negative opposed, positive supported." in said
    found = float(re.search(r"would have found an effect of ([\d.]+)\.", said)[1])
    assert found == pytest.approx(kept["detectable"], rel=0.01)
    assert found >= 1.25


def test_a_record_of_another_definition_is_no_confirmation():
    old = confirmed(ratio(), [3.0, 3.1]) | {"fingerprint": "0" * 16}
    said = part(evidence.page([old]), ratio().id)
    assert "**Unconfirmed.**" in said
    assert "<svg" not in said
    assert "*Earlier definitions.*" in said
    assert "Asked median > 1.25: supported." in said
    assert said.count(old["statement"]) == 1
    assert ": The same. Asked" in said
    assert f"Found {claims.short(ledger.number(old['estimate']))}." in said


def test_seeds_of_ones_own_are_no_confirmation():
    kept = confirmed(ratio(), [3.0, 3.1])
    kept["seeds"] = list(range(59))
    assert "**Unconfirmed.**" in part(evidence.page([kept]), ratio().id)


def test_what_is_no_claim_any_more_keeps_its_outcome():
    kept = confirmed(ratio(), [3.0, 3.1]) | {"id": "gone", "date": "2026-01-02"}
    page = evidence.page([kept])
    gone = page[page.index("## No claims any more") :]
    assert f"- `gone`, 2026-01-02: {ratio().statement} Asked median > 1.25" in gone


def test_the_buttons_leave_the_entries_of_one_verdict_or_chapter(page):
    boxes = set(re.findall(r'id="only-([\w-]+)"', page))
    rules = re.findall(r":has\(#only-(\S+):checked\) \.claim:not\(\.(\S+)\)", page)
    assert dict(rules) == {box: box for box in boxes}
    lines = re.findall(r"^:+\{div\} claim (.*)$", page, re.MULTILINE)
    classes = set(" ".join(lines).split())
    assert classes <= boxes
    assert boxes - classes <= {*types.VERDICTS, evidence.UNCONFIRMED}
    assert page.count(" checked>") == 2


def test_the_dots_stand_on_their_side_of_the_bound():
    claim = replace(ratio(), region=types.below(0.75), scale="linear")
    drawn = evidence.strip(claim, confirmed(claim, [0.25, 0.5, 0.5]))
    dots = [float(x) for x in re.findall(r'cx="([\d.]+)%"', drawn)]
    (bound,) = (float(x) for x in re.findall(r'x1="([\d.]+)%" x2="\1%" y2', drawn))
    assert dots == [4.0, 50.0]
    assert bound == 96.0
    assert "asked median &lt; 0.75" in drawn


def test_readme_counts_the_verdicts_and_what_stands_all_at_once():
    records = ledger.read()
    found = evidence.verdicts(records)
    asked = {verdict: found["experiment", verdict] for verdict in types.VERDICTS}
    stand = Counter(
        now for _, now in evidence.harder_readings(records)["once"].values()
    )
    laws = found["prediction", "supported"]
    assert laws == sum(n for (kind, _), n in found.items() if kind == "prediction")
    readme = " ".join((ROOT / "README.md").read_text("utf-8").split())
    said = (
        f"Of the {sum(asked.values())} experiments {asked['supported']} are supported, "
        f"{asked['opposed']} opposed and {asked['undecided']} undecided; "
        f"all {laws} predictions hold. With intervals that hold for all experiments at "
        f"once, {stand['supported']} would stay supported and "
        f"{stand['opposed']} opposed"
    )
    assert said in readme, f"README.md has to say: {said}"


def test_the_page_says_what_its_controls_can_show():
    text = " ".join(PAGE.split())
    asked = [c for c in claims.claims() if c.kind == "experiment"]
    kept = [ledger.confirmation(c, ledger.read())["controls"] for c in asked]
    share = np.mean([controls["negative"] == "undecided" for controls in kept])
    assert "undecided negative control, as more than a third are" in text
    assert 1 / 3 < share < 1 / 2
    assert f"Of {len(asked)} intervals some miss" in text
    assert "about three experiments" in text
    assert round(0.025 * len(asked)) == 3


def test_the_page_says_in_how_many_ways_the_sheets_are_divided():
    """Seeds of a confirmation bring new draws, and few new divisions."""
    ways = math.comb(len(REPORTED_SHEETS), 2)
    seeds = ledger.confirmation(ratio(), ledger.read())["seeds"]
    pairs = {tuple(np.unique(writers(digits(seed).x_test))) for seed in seeds}
    assert len(seeds) == 59
    assert ways / 2 < len(pairs) <= ways
    said = f"eight sheets can be divided in {ways} ways, and 59 seeds use most of them"
    assert said in " ".join(PAGE.split())


def test_what_falls_under_a_harder_reading_says_so_in_its_entry(page):
    readings = evidence.harder_readings(ledger.read())
    for how, found in readings.items():
        for id, (stands, now) in found.items():
            told = evidence.READINGS[how] in part(page, id)
            assert told == (stands != now), id


def test_the_pages_count_what_a_second_draw_changes():
    draws = evidence.harder_readings(ledger.read())["draws"].values()
    turned = [pair for pair in draws if pair[0] != pair[1]]
    assert turned == [("supported", "undecided")] * 3
    supported = evidence.verdicts(ledger.read())["experiment", "supported"]
    kept = f"that asked the same more than once {len(draws) - 3} keep their verdict"
    readme = " ".join((ROOT / "README.md").read_text("utf-8").split())
    assert (
        f"Of {len(draws)} {kept} on all draws together, and three turn from supported "
        f"to undecided, so that {supported - 3} are left"
    ) in readme
    assert f"Of {len(draws)} experiments {kept}. Three were" in " ".join(PAGE.split())


@pytest.mark.parametrize(
    ("id", "stem", "unit", "said"),
    [
        ("ghosts-against-stopping", "11_noise", 100, "7.9 points (1.8 to 14.0)"),
        ("noise-costs-fit", "11_noise", 1, "1.28 times (1.24 to 1.35)"),
        ("normalized-or-dropout-few", "11_noise", 100, "1.7 points (−2.4 to 5.7)"),
        (
            "noise-in-spreads-costs-the-plain-network",
            "12_why",
            100,
            "11.7 points (3.7 to 19.8)",
        ),
    ],
)
def test_an_interval_of_all_draws_is_the_computed_one(id, stem, unit, said):
    claim, records = claims.get(id), ledger.read()
    kept = ledger.confirmation(claim, records)
    effects = harder.drawn(kept, ledger.earlier(claim, records))
    digits = len(said.split()[0].partition(".")[2])
    value, low, high = (
        f"{unit * number:.{digits}f}".replace("-", "−")
        for number in claim.estimate(effects)
    )
    word = "times" if unit == 1 else "points"
    assert said == f"{value} {word} ({low} to {high})"
    assert said in " ".join(prose(ROOT / "chapters" / f"{stem}.ipynb").split())


def test_a_verdict_that_a_reading_strengthens_is_not_called_undecided():
    """All draws together can decide what the last one left open."""
    id = ratio().id
    read = {"draws": {id: ("undecided", "supported")}}
    how = evidence.READINGS["draws"]
    said = evidence.standing(read)
    assert f"Supported {how}: {evidence._link(id)}." in said
    assert "Undecided with" not in said
    entry = part(evidence.page(ledger.read(), read), id)
    assert f"*Supported* {how}." in entry


def test_the_pool_that_bears_a_verdict_bears_it_for_two_looks_as_well():
    claim, records = (
        claims.get("noise-in-spreads-costs-the-plain-network"),
        ledger.read(),
    )
    kept = ledger.confirmation(claim, records)
    effects = harder.drawn(kept, ledger.earlier(claim, records))
    two = estimates.mean(effects, shared=claim.shared, level=0.975)
    assert claim.region.verdict(two) == "supported"
    said = f"({100 * two.low:.1f} to {100 * two.high:.1f})"
    assert said in PAGE
    assert said in prose(ROOT / "chapters" / "12_why.ipynb")


def test_readme_counts_the_seeds_and_the_controls():
    records = ledger.read()
    seeds = Counter(
        len(ledger.confirmation(c, records)["seeds"]) for c in claims.claims()
    )
    controls = [c for c in claims.claims() if c.kind == "experiment"]
    assert all(c.negative and c.positive for c in controls)
    readme = " ".join((ROOT / "README.md").read_text("utf-8").split())
    said = f"59 for {seeds[59]} of the claims, and 29 or 20 where a run is long"
    assert said in readme
    assert set(seeds) == {59, 29, 20}
    said = (
        f"Each of the {len(controls)} experiments was also run where its effect is "
        "absent and where it is planted, and "
        f"{sum(bool(c.oracle) for c in controls)} of them against a perfect competitor"
    )
    assert said in readme


def test_every_claim_is_confirmed_as_it_stands():
    """After a change, `make claims` confirms anew on the seeds that it draws."""
    records = ledger.read()
    old = [c.id for c in claims.claims() if ledger.confirmation(c, records) is None]
    assert not old


def test_the_page_names_the_seeds_and_the_number_of_images():
    text = " ".join(PAGE.split())
    for seeds in (claims.CHAPTER_SEEDS, claims.TUNING_SEEDS):
        assert f"seeds {seeds[0]} to {seeds[-1]}" in text
    images = sum(SHEETS[i + 1] - SHEETS[i] for i in REPORTED_SHEETS)
    assert f"share {images} images" in text
    assert (len(REPORTED_SHEETS), len(TUNING_SHEETS)) == (8, 6)


# ----------------------------------------------------------------- below the strips


def test_the_code_of_each_claim_that_a_cell_shows_is_folded_below_it():
    document = nodes.container()
    cell = nodes.container(classes=["cell"])
    cell += nodes.literal_block("", 'claims.show("sigmoid-steps", "tanh-steps")')
    document += cell
    document += nodes.paragraph("", "after")
    fill.fold_code(None, document)
    fold = document[1]
    links = [link["reftarget"] for link in fold.findall(addnodes.pending_xref)]
    assert links == ["claim-sigmoid-steps", "claim-tanh-steps"]
    assert all(
        "def steps_ratio(" in n.astext() for n in fold.findall(nodes.literal_block)
    )
    assert document[2].astext() == "after"


def test_a_cell_without_claims_has_no_fold():
    document = nodes.container()
    document += nodes.literal_block("", "claims.get(id)")
    fill.fold_code(None, document)
    assert len(document) == 1


def test_what_chapters_show_is_registered():
    shown = [
        id
        for path in CHAPTERS
        for cell in code_cells(path)
        for call in re.findall(r"claims\.show\(([^)]*)\)", cell.source)
        for id in re.findall(r'"([\w-]+)"', call)
    ]
    assert shown
    for id in shown:
        claims.get(id)


# ----------------------------------------------------------------- what was changed


def test_every_change_of_a_claim_is_of_a_claim_that_is_known():
    registered = {entry.id for entry in claims.claims()}
    assert not registered & set(moved.DROPPED)
    for line in (*moved.MOVED, *moved.RETESTED):
        assert line.id in registered | set(moved.DROPPED), line.id
    for move in moved.MOVED:
        assert datetime.date.fromisoformat(move.date), move
        assert re.fullmatch(r"[0-9a-f]{7}", move.commit), move
        assert move.before != move.after
        assert move.why


def test_a_bar_that_the_ledger_shows_as_changed_is_listed_as_moved():
    asked = defaultdict(set)
    for record in ledger.read():
        if record["kind"] != "check":  # which asked other things of all claims
            asked[record["id"]].add(record["asked"])
    changed = {id for id, bars in asked.items() if len(bars) > 1}
    assert changed
    listed = {move.id for move in moved.MOVED} | set(moved.DROPPED)
    assert not changed - listed, "say in claims/moved.json from what, to what, and why"


@pytest.mark.parametrize(
    ("id", "commit", "before", "after"),
    [
        ("each-feature-alone-generalizes", "588d257", "between 0.8 and 1.2", "0.7"),
        ("per-map-accuracy", "71ecd4f", "0.02", "0.03"),
        ("tanh-steps", "71ecd4f", "ratio < 3", "ratio < 4"),
        ("tanh-steps", "fa7624c", "six layers", "four layers"),
        ("saturating-nonlinearities-train", "6765543", "> 0.7", "> 0.5"),
        ("sigmoid-steps", "6cf2201", "> 2 in 90 %", "> 1.5 in all"),
        ("relu-steps", "6cf2201", "> 2 in 90 %", "> 1.5 in all"),
        ("cnn-early-accuracy", "71ecd4f", "> 0", "> 0.05"),
        ("final-accuracy", "71ecd4f", "six ReLU", "three sigmoid"),
        ("gradients-survive-without-normalization", "b80b35c", "> 0.25", "0.25 and 4"),
    ],
)
def test_the_bars_that_the_history_shows_as_moved_are_listed(id, commit, before, after):
    found = [m for m in moved.MOVED if (m.id, m.commit) == (id, commit)]
    assert any(before in m.before and after in m.after for m in found)


@pytest.mark.parametrize("id", moved.NOTED)
def test_what_a_statement_says_too_strongly_is_noted_beside_it(id, page):
    entry = part(page, id)
    assert entry.index(claims.get(id).statement) < entry.index(moved.NOTED[id])


def test_what_did_not_hold_on_new_seeds_is_listed():
    failed = {again.id for again in moved.RETESTED if again.held < again.of}
    assert failed >= {
        "importance-weights-repair",
        "saturating-nonlinearities-train",
        "scales-that-train",
    }


def test_all_changes_are_on_the_page():
    assert "\n% changes\n" in PAGE
    said = evidence.changes()
    for m in moved.MOVED:
        line = (
            f"{m.date}, `{m.commit}`. *From* {m.before} *to* {m.after}. *Why:* {m.why}."
        )
        name = evidence._link(m.id)
        entry = said[said.index(f"{name}\n: ") :].split("\n\n{ref}")[0]
        assert line in entry, m
    for again in moved.RETESTED:
        line = f"{again.held} of {again.of}, on {again.seeds}\n"
        assert f"{evidence._link(again.id)}: {line}" in f"{said}\n"
        assert again.held <= again.of
