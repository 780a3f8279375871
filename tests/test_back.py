"""The back of the book: what is generated, and what its pages and chapters share."""

import ast
import re
from collections import Counter

import pytest
import yaml
from docutils import nodes
from sphinx import addnodes

from batchnorm import claims
from batchnorm.claims.__main__ import DATA_FILE
from booktools import reference_pages as pages
from booktools.notebooks import ROOT, notebooks, read

CHAPTERS = [path for path in notebooks() if path.stem != "template"]
BACK = sorted((ROOT / "back").glob("*.md"))


def prose(path):
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    cells = read(path).cells
    return "\n\n".join(c.source for c in cells if c.cell_type == "markdown")


def captions(path):
    for cell in read(path).cells:
        meta = cell.metadata.get("mystnb", {})
        yield meta.get("figure", {}).get("caption", "")
        yield meta.get("image", {}).get("alt", "")


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


def test_every_claim_is_on_the_page_once_and_refuted_ones_first(data):
    page = pages.evidence(data)
    order = re.findall(r"^\(claim-([\w-]+)\)=$", page, re.MULTILINE)
    assert sorted(order) == sorted(entry.id for entry in claims.claims())
    refuted = [entry.id for entry in claims.claims() if entry.kind == "refuted"]
    assert order[: len(refuted)] == refuted
    for entry in claims.claims():
        assert entry.statement in page
        assert entry.claimed is None or f"{entry.claimed}\n: " in page


def test_the_page_says_what_was_recorded(data):
    page, stale = pages.evidence(data), claims.stale(data["claims"])
    recorded = [record for record in data["claims"] if record["id"] not in stale]
    assert f"{len(recorded)} are recorded as they stand" in page
    for record in recorded:
        text = page[page.index(f"(claim-{record['id']})=") :].split("\n(", 1)[0]
        assert f"in {record['held']} of {len(record['seeds'])} seeds" in text
        assert f"asked {record['condition']}" in text
        assert record["source"] in text


def test_an_old_or_missing_record_is_called_so(data):
    first, second = (dict(record) for record in data["claims"][:2])
    first["fingerprint"] = "0" * 16
    page = pages.evidence({**data, "claims": [first]})
    said = "Changed since it was recorded.", "Not recorded yet."
    assert [page.count(words) for words in said] == [1, len(claims.claims()) - 1]
    for record, words in zip((first, second), said, strict=True):
        text = page[page.index(f"(claim-{record['id']})=") :].split("\n(", 1)[0]
        assert words in text
        assert "<svg" not in text
        assert "median" not in text
    assert "1 were changed since they were recorded" in page


def test_a_claim_is_in_no_chapter_only_if_no_chapter_names_it(data):
    where, sources = pages.shown(), "\n".join(c for p in CHAPTERS for c in code(p))
    for entry in claims.claims():
        assert (entry.id in where) == (f'"{entry.id}"' in sources), entry.id
    assert where["identity-not-recovered"] == ("ch-transform", "fig-claim-identity")
    page = pages.evidence(data)
    assert page.count("*Shown* in no chapter") == len(claims.claims()) - len(where)


def test_the_dots_stand_on_their_side_of_the_bound():
    entry = claims.get("importance-weights-repair")
    drawn = pages.strip(entry, [0.25, 0.5, 0.5])
    dots = [float(x) for x in re.findall(r'cx="([\d.]+)%"', drawn)]
    (bound,) = (float(x) for x in re.findall(r'x1="([\d.]+)%"', drawn))
    assert dots == [4.0, 50.0]
    assert bound == 96.0
    assert "from 0.25 to 0.5; asked &lt; 0.75" in drawn


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


def test_cannot_is_one_word():
    for path in [*CHAPTERS, *BACK, ROOT / "README.md"]:
        assert not re.search(r"\bcan\s+not\b", prose(path)), path.name
    for path in CHAPTERS:
        assert not any(re.search(r"\bcan\s+not\b", c) for c in captions(path)), path


def test_every_erratum_has_its_source_and_a_place_that_shows_it():
    text = prose(ROOT / "back" / "errata.md")
    entries = re.findall(
        r'^"[^"\n]+"\n: (.*?)(?=\n\n)', text + "\n\n", re.M | re.DOTALL
    )
    assert len(entries) == len(re.findall(r'^"', text, re.MULTILINE)) >= 20
    for entry in entries:
        source, shown = re.search(
            r"\*Source:\*(.*?)\*Shown[^*]*:?\*(.*)", entry, re.DOTALL
        ).groups()
        assert source.strip(), entry
        assert re.search(r"\{(ref|eq|numref)\}`", shown), entry


def test_readme_says_how_long_a_chapter_takes():
    readme = prose(ROOT / "README.md")
    for path in CHAPTERS:
        said = re.search(r"\*\*Time:\*\* (an hour|\d+ minutes)", prose(path))[1]
        minutes = "60" if said == "an hour" else said.split()[0]
        assert re.search(rf"\(chapters/{path.name}\).*\| {minutes} \|$", readme, re.M)


def test_readme_counts_what_there_is():
    readme = " ".join(prose(ROOT / "README.md").split())
    assert "measures on twenty seeds" in readme
    assert len(claims.CHAPTER_SEEDS) == len(claims.FRESH_SEEDS) == 20
    refuted = [entry for entry in claims.claims() if entry.kind == "refuted"]
    assert f"{len(refuted)} statements did not hold" in readme
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (least,) = re.findall(r'requires-python = ">=([\d.]+)"', project)
    assert f"Python {least} or newer" in readme


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
