"""The back of the book: what is generated, and what its pages and chapters share."""

import ast
import re
import tomllib
from collections import Counter

import pytest
import yaml
from docutils import nodes
from sphinx import addnodes

from batchnorm import claims
from batchnorm.claims.registry import references
from booktools import reference_pages as pages
from booktools.notebooks import ROOT, chapters, code_cells, prose

CHAPTERS = chapters()
FIRST_AID = ROOT / "chapters" / "misbehaves.ipynb"
PACKAGE = ROOT / "code" / "batchnorm"
BACK = sorted((ROOT / "back").glob("*.md"))


def terms():
    text = prose(ROOT / "back" / "glossary.md")
    glossary = re.search(r"```\{glossary\}\n:sorted:\n\n(.*?)```", text, re.DOTALL)[1]
    return re.findall(r"^(\S.*)$", glossary, re.MULTILINE)


# ---------------------------------------------------------------------------
# The API reference


def test_every_module_has_a_page_and_every_page_is_in_the_contents():
    stems = [module.split(".")[-1] for module in pages.MODULES]
    written = (ROOT / "back" / "api").glob("*.md")
    assert sorted(path.stem for path in written) == sorted(stems)
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text())
    back = contents["parts"][-1]["chapters"]
    (api,) = [entry for entry in back if entry["file"] == "back/api"]
    assert [s["file"] for s in api["sections"]] == [f"back/api/{s}" for s in stems]
    written = [f"back/{path.stem}" for path in BACK]
    listed = sorted(entry["file"] for entry in back)
    assert listed == ["CHANGELOG", *written, "chapters/misbehaves"]
    for module, stem in zip(pages.MODULES, stems, strict=True):
        page = prose(ROOT / "back" / "api" / f"{stem}.md")
        assert f".. automodule:: batchnorm.{module}\n   :members:" in page


# ---------------------------------------------------------------------------
# Words

# Words that promise more than the record keeps.
WITHDRAWN = (
    r"\brefut(?:e|es|ed|ation)\b",
    r"[Oo]ften said",
    r"nothing\s+was\s+chosen",
    r"no\s+seed\s+serves",
    r"\d+\s+statements\s+did\s+not",
)


def test_words_that_are_withdrawn_stand_nowhere():
    names = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff")
    files = [*BACK, *(ROOT / name for name in names), *PACKAGE.rglob("*.py")]
    for path in [*files, *CHAPTERS]:
        text = prose(path) if path in CHAPTERS else path.read_text("utf-8")
        for words in WITHDRAWN:
            assert not re.search(words, text), (path.name, words)


def test_the_book_has_one_version_and_says_what_it_changed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    newest = re.search(r"^## (\S+) \((\S+)\)$", prose(ROOT / "CHANGELOG.md"), re.M)
    assert newest.groups() == (project["version"], str(citation["date-released"]))
    assert citation["version"] == project["version"]


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
    text = prose(FIRST_AID)
    rows = re.findall(
        r"^\| (\{ref.*) \| .* \| .* \|$", text.split("(symptoms)=")[1], re.M
    )
    assert len(rows) >= 40
    pages = "\n".join(map(prose, [*CHAPTERS, FIRST_AID]))
    known = re.findall(r"^\((ch-[\w-]+)\)=$", pages, re.MULTILINE)
    for symptom in rows:
        labels = re.findall(r"\{ref\}`[^`<]*<([\w-]+)>`", symptom)
        assert labels, symptom
        assert set(labels) <= set(known), symptom


# ---------------------------------------------------------------------------
# Pages and chapters


def test_every_term_is_explained_once_and_linked_from_a_page():
    named = terms()
    assert len(named) >= 40
    assert not [term for term, count in Counter(named).items() if count > 1]
    pages = [*CHAPTERS, *BACK]
    links = re.findall(
        r"\{term\}`(?:[^`<]*<)?([^`<>]+)>?`", "\n".join(map(prose, pages))
    )
    assert set(links) == set(named)


def test_chapters_are_referred_to_by_label_and_by_their_number():
    number = {}
    for path in CHAPTERS:
        for label in re.findall(r"^\((ch-[\w-]+)\)=$", prose(path), re.MULTILINE):
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


def test_readme_says_that_bars_were_moved_and_where_they_are_listed():
    readme = " ".join(prose(ROOT / "README.md").split())
    trust = readme[readme.index("## How far you can trust it") :].split("## ", 2)[1]
    assert "bars were moved" in trust
    assert "(back/evidence.md) ends with a list of all that was moved" in trust


def test_no_function_has_the_body_of_another_chapters():
    seen = {}
    for path in CHAPTERS:
        for cell in code_cells(path):
            for node in ast.walk(ast.parse(cell.source)):
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


def test_the_paper_is_cited_by_section_figure_or_algorithm():
    said = [*claims.claims(), *claims.identities()]
    places = [
        (entry.id, place)
        for entry in said
        for source in (entry.source, getattr(entry, "claimed_by", None) or "")
        for key, place in (references(source) if source else ())
        if key == "ioffe2015batch"
    ]
    assert len(places) > 10
    assert not [(id, place) for id, place in places if not PLACE.match(place)]


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
    doi, arxiv, url, isbn = map(fields.get, ("doi", "eprint", "url", "isbn"))
    assert doi or arxiv or url or isbn
    assert isbn is None or is_isbn(isbn)
    assert doi is None or re.fullmatch(r"10\.\d{4,5}/\S+", doi)
    assert arxiv is None or re.fullmatch(r"\d{4}\.\d{4,5}", arxiv)
    assert arxiv is None or fields["archiveprefix"] == "arXiv"
    assert url is None or url.startswith("https://")


def is_isbn(number):
    """Whether the check digit of an ISBN of ten digits fits."""
    digits = [10 if d == "X" else int(d) for d in number.replace("-", "")]
    weighted = sum(w * d for w, d in zip(range(10, 0, -1), digits, strict=True))
    return weighted % 11 == 0


def test_a_mistyped_isbn_is_found():
    assert is_isbn("0-12-471252-5")
    assert not is_isbn("0-12-471225-5")
