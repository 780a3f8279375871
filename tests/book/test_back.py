"""The back of the book: what is generated, and what its pages and chapters share."""

import ast
import dataclasses
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import yaml
from docutils import nodes
from sphinx import addnodes

from batchnorm import claims
from batchnorm.claims import moved
from batchnorm.claims.__main__ import DATA_FILE
from batchnorm.claims.registry import Condition, record, references
from booktools import evidence_page
from booktools import reference_pages as pages
from booktools.notebooks import ROOT, notebooks, read

CHAPTERS = [path for path in notebooks() if path.stem != "template"]
PACKAGE = ROOT / "code" / "batchnorm"
BACK = sorted((ROOT / "back").glob("*.md"))


def prose(path):
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    cells = read(path).cells
    return "\n\n".join(c.source for c in cells if c.cell_type == "markdown")


def code(path):
    return [c.source for c in read(path).cells if c.cell_type == "code"]


def terms():
    text = prose(ROOT / "back" / "glossary.md")
    glossary = re.search(r"```\{glossary\}\n:sorted:\n\n(.*?)```", text, re.DOTALL)[1]
    return re.findall(r"^(\S.*)$", glossary, re.MULTILINE)


# ---------------------------------------------------------------------------
# The API reference


def test_every_module_has_a_page_and_every_page_is_in_the_contents():
    stems = [module.split(".")[-1] for module in pages.MODULES]
    assert sorted(path.stem for path in (ROOT / "back" / "api").glob("*.md")) == sorted(
        stems
    )
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text())
    back = contents["parts"][-1]["chapters"]
    (api,) = [entry for entry in back if entry["file"] == "back/api"]
    assert [s["file"] for s in api["sections"]] == [f"back/api/{s}" for s in stems]
    assert sorted(entry["file"] for entry in back) == [f"back/{p.stem}" for p in BACK]
    for module, stem in zip(pages.MODULES, stems, strict=True):
        page = prose(ROOT / "back" / "api" / f"{stem}.md")
        assert f".. automodule:: batchnorm.{module}\n   :members:" in page


# ---------------------------------------------------------------------------
# Evidence


@pytest.fixture(scope="module")
def data():
    return claims.load(ROOT / DATA_FILE)


def part(page, id):
    """What the page says of one claim."""
    return page[page.index(f"(claim-{id})=") :].split("\n(", 1)[0].split("\n## ", 1)[0]


def current(entry, effects):
    """A record of a claim as it stands, with these effects."""
    result = claims.Result(entry, tuple(range(len(effects))), np.array(effects), 0.0)
    return record(result)


def test_every_claim_is_once_under_its_chapter(data):
    page, where = evidence_page.evidence(data), evidence_page.shown()
    order = re.findall(r"^\(claim-([\w-]+)\)=$", page, re.MULTILINE)
    assert sorted(order) == sorted(entry.id for entry in claims.claims())
    titles = {label: title for label, title, _ in evidence_page.chapters()}
    for section in re.split(r"^## ", page, flags=re.MULTILINE)[1:]:
        title = section.split("\n", 1)[0]
        for id in re.findall(r"^\(claim-([\w-]+)\)=$", section, re.MULTILINE):
            expected = titles[where[id][0]] if id in where else "In no chapter"
            assert title == expected, id


def test_an_entry_opens_with_the_quotation_the_question_or_the_statement(data):
    page = evidence_page.evidence(data)
    for entry in claims.claims():
        title = part(page, entry.id).split("\n")[1]
        if entry.claimed is not None:
            assert title == f"“{entry.claimed}”"
            key, place = references(entry.claimed_by)[0]
            assert f"*Written:* {{cite:t}}`{key}`, {place}" in part(page, entry.id)
        else:
            asked = entry.question and f"*Question:* {entry.question}"
            assert title == (asked or entry.statement)
            assert "*Written:*" not in part(page, entry.id)
        assert entry.statement in part(page, entry.id)


def test_a_quotation_is_shown_with_who_wrote_it_and_where():
    entry = dataclasses.replace(
        claims.claims()[0],
        source="wiesler2011convergence, section 3; lecun1998efficient, section 4.3",
        claimed="Whitening is all.",
        claimed_by="ioffe2015batch, section 2",
        question=None,
    )
    said = evidence_page._claim(entry, None, False, None)
    assert said.split("\n")[1] == "“Whitening is all.”"
    assert ": *Written:* {cite:t}`ioffe2015batch`, section 2.\n" in said
    assert (
        "*Source:* {cite:t}`wiesler2011convergence`, section 3; "
        "{cite:t}`lecun1998efficient`, section 4.3. " in said
    )


def test_a_claim_that_fails_is_reported_so(data):
    """The page says it, and nothing on the way refuses."""
    good, bad = claims.get("batch-covariance-rank"), claims.get("digits-batch-singular")
    records = [current(good, [0.0] * 4), current(bad, [53.0, 60.0, 61.0, 58.0])]
    page = evidence_page.evidence({**data, "claims": records})
    assert "**Held** in 4 of 4 seeds" in part(page, good.id)
    assert "**Did not hold:** only in 2 of 4 seeds" in part(page, bad.id)
    assert "**Held**" not in part(page, bad.id)
    assert f"Of these, 1 hold and 1 do not: {{ref}}`{bad.id} <claim-{bad.id}>`." in page


def test_the_record_on_the_page_is_called_what_it_is(data):
    page, stale = evidence_page.evidence(data), claims.stale(data["claims"])
    recorded = [r for r in data["claims"] if r["id"] not in stale]
    for r in recorded:
        said = part(page, r["id"])
        assert ("**Held**" in said) == r["holds"], r["id"]
        assert ("**Did not hold:**" in said) == (not r["holds"]), r["id"]
    failed = sum(not r["holds"] for r in recorded)
    assert f"Of these, {len(recorded) - failed} hold and {failed} do not" in page


def test_the_page_says_what_was_recorded(data):
    entries = claims.claims()[:3]
    records = [current(entry, [0.25, 0.5, 0.75]) for entry in entries]
    page = evidence_page.evidence({**data, "claims": records})
    assert "3 are recorded as they stand" in page
    for r in records:
        text = part(page, r["id"])
        assert f"in {r['held']} of 3 seeds" in text
        assert f"asked {r['condition']}" in text
        assert "median 0.5, from 0.25 to 0.75" in text


def test_an_old_or_missing_record_is_called_so(data):
    first, second = (dict(record) for record in data["claims"][:2])
    first["fingerprint"] = "0" * 16
    page = evidence_page.evidence({**data, "claims": [first]})
    said = "Changed since it was recorded.", "Not recorded yet."
    assert [page.count(words) for words in said] == [1, len(claims.claims()) - 1]
    for old, words in zip((first, second), said, strict=True):
        text = part(page, old["id"])
        assert words in text
        assert "<svg" not in text
        assert "median" not in text
    assert "1 were changed since they were recorded" in page


def test_a_claim_is_in_no_chapter_only_if_no_chapter_names_it(data):
    where, sources = (
        evidence_page.shown(),
        "\n".join(c for p in CHAPTERS for c in code(p)),
    )
    for entry in claims.claims():
        assert (entry.id in where) == (f'"{entry.id}"' in sources), entry.id
    assert where["identity-not-recovered"] == ("ch-transform", "fig-claim-identity")
    page = evidence_page.evidence(data)
    assert page.count("*Shown* in no chapter") == len(claims.claims()) - len(where)


def test_the_dots_stand_on_their_side_of_the_bound():
    entry = replace(
        claims.get("importance-weights-repair"),
        condition=Condition(high=0.75),
        scale="linear",
    )
    drawn = evidence_page.strip(entry, [0.25, 0.5, 0.5])
    dots = [float(x) for x in re.findall(r'cx="([\d.]+)%"', drawn)]
    (bound,) = (float(x) for x in re.findall(r'x1="([\d.]+)%"', drawn))
    assert dots == [4.0, 50.0]
    assert bound == 96.0
    assert "from 0.25 to 0.5; asked &lt; 0.75" in drawn


def test_every_change_of_a_claim_is_of_a_claim_that_is_known():
    registered = {entry.id for entry in claims.claims()}
    assert not registered & set(moved.DROPPED)
    for line in (*moved.MOVED, *moved.RETESTED):
        assert line.id in registered | set(moved.DROPPED), line.id
    for move in moved.MOVED:
        assert re.fullmatch(r"2026-\d\d-\d\d", move.date), move
        assert re.fullmatch(r"[0-9a-f]{7}", move.commit), move
        assert move.before != move.after
        assert move.why


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


def test_what_did_not_hold_on_new_seeds_is_listed():
    failed = {again.id for again in moved.RETESTED if again.held < again.of}
    assert failed >= {
        "importance-weights-repair",
        "saturating-nonlinearities-train",
        "scales-that-train",
    }


def test_all_changes_are_on_the_page():
    assert "\n% changes\n" in prose(ROOT / "back" / "evidence.md")
    said = evidence_page.changes()
    for m in moved.MOVED:
        line = (
            f"{m.date}, `{m.commit}`. *From* {m.before} *to* {m.after}. *Why:* {m.why}."
        )
        entry = said[said.index(f"`{m.id} <claim-{m.id}>`\n: ") :].split("\n\n{ref}")[0]
        assert line in entry, m
    for again in moved.RETESTED:
        line = f"{again.held} of {again.of}, on {again.seeds}\n"
        assert f"<claim-{again.id}>`: {line}" in f"{said}\n"
        assert again.held <= again.of


# Words that promise more than the record keeps.
WITHDRAWN = (
    r"\brefut(?:e|es|ed|ation)\b",
    r"[Oo]ften said",
    r"nothing\s+was\s+chosen",
    r"no\s+seed\s+serves",
    r"\d+\s+statements\s+did\s+not",
)


def test_words_that_are_withdrawn_stand_nowhere():
    files = [*BACK, ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CITATION.cff"]
    texts = {path.name: path.read_text(encoding="utf-8") for path in files}
    texts |= {path.name: prose(path) for path in CHAPTERS}
    texts |= {path.name: path.read_text("utf-8") for path in PACKAGE.rglob("*.py")}
    for name, text in texts.items():
        for words in WITHDRAWN:
            assert not re.search(words, text), (name, words)


# ---------------------------------------------------------------------------
# Index


def test_a_word_is_found_across_a_title_and_under_the_text_of_its_link():
    link = addnodes.pending_xref("", reftype="term", reftarget="folding")
    link += nodes.inline("", "fold")
    section = nodes.section("", nodes.title("", "In half precision"))
    section += nodes.paragraph(
        "", "", nodes.Text("Folding: "), link, nodes.Text("s it")
    )
    section += nodes.section("", nodes.title("", "Folding below"))
    prose = {id(section): (pages._own_text(section, nodes.Text), pages._terms(section))}
    here = [("chapters/09", section)]
    words = " ".join(prose[id(section)][0].split())
    assert words == "In half precision Folding: folds it"
    assert pages._uses("half precision", here, prose) == [1]
    assert pages._uses("folding", here, prose) == [2]
    assert pages._uses("fold", here, prose) == [1]


def test_the_symptoms_lead_to_sections_of_chapters():
    text = prose(ROOT / "back" / "subjects.md")
    (table,) = re.findall(r"\(symptoms\)=.*?```\{list-table\}(.*?)```", text, re.DOTALL)
    rows = re.findall(r"^\* - (.*)\n  - ((?:.|\n )*)", table, re.MULTILINE)[1:]
    assert len(rows) >= 16
    known = re.findall(r"^\((ch\d?-[\w-]+)\)=$", "\n".join(map(prose, CHAPTERS)), re.M)
    for symptom, places in rows:
        labels = re.findall(r"\{ref\}`(?:[^`<]*<)?([\w-]+)>?`", places)
        assert labels, symptom
        assert set(labels) <= set(known), symptom


# ---------------------------------------------------------------------------
# Pages and chapters


def test_every_term_is_explained_once_and_linked_from_a_chapter():
    named = terms()
    assert len(named) >= 40
    assert not [term for term, count in Counter(named).items() if count > 1]
    links = re.findall(
        r"\{term\}`(?:[^`<]*<)?([^`<>]+)>?`", "\n".join(map(prose, CHAPTERS))
    )
    assert set(links) == set(named)


def test_chapters_are_referred_to_by_label_and_by_their_number():
    number = {}
    for path in CHAPTERS:
        label = re.match(r"\((ch-[\w-]+)\)=", prose(path))[1]
        number[label] = str(int(path.stem[:2]))
    for path in [*CHAPTERS, *BACK]:
        text = prose(path)
        for said, label in re.findall(
            r"\{ref\}`[^`<]*[Cc]hapter\s+(\d+)\s*<(ch-[\w-]+)>`", text
        ):
            assert number[label] == said, f"{path.name}: chapter {said} <{label}>"
        bare = re.sub(r"\{ref\}`[^`]*`", "", text)
        # In sources of the literature a chapter is not one of ours.
        bare = re.sub(r"\{cite:t\}`[^`]*`[^.]*\.", "", bare)
        assert not re.search(r"[Cc]hapters?\s+\d", bare), path.name


def errata():
    """Title and text of each entry, on one line each."""
    text = prose(ROOT / "back" / "errata.md")
    for title, body in re.findall(r"^(\S.*)\n: ((?:.+\n?)+)", text, re.MULTILINE):
        yield title, " ".join(body.split())


WRITTEN = re.compile(
    r"\*Written:\* (?:\{cite:t\}`(\w+)`, \w|[^.]*\[[^\]]+\]\(https://[^)\s]+\))"
)


def faults_of_quotation(title, body):
    """What is wrong with who is quoted in an entry, as a list.

    Quotation marks around a title say that somebody wrote it: the entry then begins
    with the source, by key and place or as a link.
    """
    quoted = re.fullmatch(r"[“\"]([^“”\"]+)[”\"]", title)
    if not quoted:
        faults = ["quotation marks in a title that is no quotation"]
        faults = faults * bool(re.search('["“”]', title))
        return faults + ["*Written:* without a quotation"] * ("*Written:*" in body)
    written = WRITTEN.match(body)
    if not written:
        return ["no *Written:* with source and place behind a quotation"]
    faults = ["an unknown key"] * (written[1] not in {None, *dict(entries())})
    return faults + ["more than 25 words"] * (len(quoted[1].split()) > 25)


def test_every_erratum_has_its_source_and_a_place_that_shows_it():
    found = list(errata())
    assert len(found) >= 20
    for title, body in found:
        match = re.search(r"\*Source:\*(.*?)\*Shown[^*]*:?\*(.*)", body)
        assert match, title
        assert match[1].strip(), title
        assert re.search(r"\{(ref|eq|numref)\}`", match[2]), title


def test_an_erratum_in_quotation_marks_is_a_quotation_with_its_place():
    assert not {
        title: faults
        for title, body in errata()
        if (faults := faults_of_quotation(title, body))
    }


@pytest.mark.parametrize(
    ("title", "body", "faults"),
    [
        ("“A b.”", "*Written:* {cite:t}`ioffe2015batch`, abstract. No.", 0),
        ('"A b."', "*Written:* {cite:t}`ioffe2015batch`, section 3.3. No.", 0),
        ('A "b" c.', "No.", 1),
        ("A b.", "No.", 0),
        ('"A b."', "No.", 1),
        ("“A b.”", "No. *Source:* {cite:t}`ioffe2015batch`, abstract.", 1),
        ("“A b.”", "*Written:* {cite:t}`ioffe2015batch`. No.", 1),
        ("“A b.”", "*Written:* in [notes](https://a.org/b), of c. No.", 0),
        ("“A b.”", "*Written:* in some notes. See [them](https://a.org/b).", 1),
        ("“A b.”", "*Written:* {cite:t}`nobody2020`, section 1. No.", 1),
        (f"“{'a ' * 26}”", "*Written:* {cite:t}`ioffe2015batch`, abstract. No.", 1),
        ("A b.", "*Written:* {cite:t}`ioffe2015batch`, abstract. No.", 1),
    ],
)
def test_a_false_quotation_is_found(title, body, faults):
    assert len(faults_of_quotation(title, body)) == faults


def test_readme_says_how_long_a_chapter_takes():
    readme = prose(ROOT / "README.md")
    for path in CHAPTERS:
        said = re.search(r"\*\*Time:\*\* (an hour|\d+ minutes)", prose(path))[1]
        minutes = "60" if said == "an hour" else said.split()[0]
        assert re.search(rf"\(chapters/{path.name}\).*\| {minutes} \|$", readme, re.M)


def test_readme_says_that_bars_had_moved_and_where_they_are_listed():
    readme = " ".join(prose(ROOT / "README.md").split())
    trust = readme[readme.index("## How far you can trust it") :].split("## ", 2)[1]
    assert "bars were moved" in trust
    assert "(back/evidence.md) ends with a list of all that was moved" in trust


def test_the_evidence_page_names_the_seeds_of_the_registry():
    page = " ".join(prose(ROOT / "back" / "evidence.md").split())
    for seeds in (claims.CHAPTER_SEEDS, claims.FRESH_SEEDS, claims.TUNING_SEEDS):
        assert f"seeds {seeds[0]} to {seeds[-1]}" in page


def test_no_function_has_the_body_of_another_chapters():
    seen = {}
    for path in CHAPTERS:
        for source in code(path):
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.FunctionDef):
                    body = "\n".join(map(ast.dump, node.body))
                    if len(body) > 200:  # a line or two is not a copy
                        where = seen.setdefault(body, (path.stem, node.name))
                        assert where[0] == path.stem, (where, path.stem, node.name)


# ---------------------------------------------------------------------------
# Bibliography


def entries():
    text = (ROOT / "references.bib").read_text(encoding="utf-8")
    for entry in re.split(r"\n(?=@)", text):
        key = re.match(r"@\w+\{(\S+),", entry)[1]
        fields = re.findall(r"^  (\w+) *= \{(.*?)\},?$", entry, re.MULTILINE)
        yield key, dict(fields)


def test_every_claim_names_its_sources_by_key_and_place():
    known, faults = dict(entries()), []
    for entry in claims.claims():
        for source in (entry.source, entry.claimed_by or entry.source):
            try:
                found = references(source)
            except ValueError as error:
                faults.append(f"{entry.id}: {error}")
                continue
            faults += [
                f"{entry.id}: {key} is unknown" for key, _ in found if key not in known
            ]
            faults += [
                f"{entry.id}: {key}, {place}"
                for key, place in found
                if key == "ioffe2015batch" and not PLACE.match(place)
            ]
    assert not faults, "\n".join(dict.fromkeys(faults))


PLACE = re.compile(r"(?:sections? \d|figures? \d|algorithms? \d|abstract\b|appendix\b)")


def test_the_paper_is_cited_in_the_version_whose_sections_are_counted():
    fields = dict(entries())["ioffe2015batch"]
    assert "1502.03167v3" in fields["note"]
    assert "1502.03167v3" in prose(ROOT / "back" / "bibliography.md")


def test_every_source_can_be_found():
    for key, fields in entries():
        check_source(key, fields)


def check_source(key, fields):
    assert {"author", "title", "year"} <= set(fields), key
    authors = fields["author"].split(" and ")
    assert "others" not in authors
    for author in authors:
        assert re.fullmatch(r"[^,]+, [^,]+", author), author
    doi, arxiv, url = (fields.get(name) for name in ("doi", "eprint", "url"))
    assert doi or arxiv or url
    assert doi is None or re.fullmatch(r"10\.\d{4,5}/\S+", doi)
    assert arxiv is None or re.fullmatch(r"\d{4}\.\d{4,5}", arxiv)
    assert arxiv is None or fields["archiveprefix"] == "arXiv"
    assert url is None or url.startswith("https://")
