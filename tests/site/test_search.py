"""What the search of the site knows, and what it finds first."""

import json

import pytest
from docutils import nodes
from sphinx import addnodes

from booktools import find
from booktools.notebooks import ROOT

PAGE = """<!DOCTYPE html>
<html lang="en"><head><title>A page</title></head><body>{body}</body></html>
"""


def test_search_reads_formulas_titles_and_claims_and_no_output():
    code = nodes.literal_block("", "running_mean = x")
    output = nodes.container("", nodes.literal_block("", "0.5"))
    output["classes"] = ["cell_output"]
    claim = nodes.container("", nodes.paragraph("", "", nodes.Text("It holds.")))
    claim["classes"], claim["ids"] = ["claim", "supported"], ["claim-it-holds"]
    text = nodes.paragraph("", "The ", nodes.math("", r"\hat x_i"))
    title = nodes.title("", "", nodes.math("", r"\gamma"), nodes.Text(" learns"))
    section = nodes.section("", title, text, code, output, claim, ids=["learns"])
    assert find.records(nodes.section("", section)) == [
        ("section", "learns", "γ learns", "The hat x i running_mean"),
        ("claim", "claim-it-holds", "it-holds", "It holds."),
    ]


def test_of_a_claim_the_search_reads_the_beginning():
    claim = nodes.container("", nodes.paragraph("", "", nodes.Text("It holds. " * 99)))
    claim["classes"], claim["ids"] = ["claim", "supported"], ["claim-it-holds"]
    ((*_, text),) = find.records(nodes.section("", claim))
    assert text == ("It holds. " * 99)[: find.BEGINNING]


@pytest.mark.parametrize(
    ("anchor", "whole"), [("what-1-0-3-had-wrong", False), ("what-is-wrong", True)]
)
def test_of_what_a_version_had_wrong_the_search_reads_the_beginning(anchor, whole):
    title, text = nodes.title("", "Wrong"), nodes.paragraph("", "It was so. " * 99)
    section = nodes.section("", title, text, ids=[anchor])
    ((*_, found),) = find.records(nodes.section("", section))
    assert (len(found) > find.BEGINNING) == whole


SEARCHED = [
    ["section", "a#lag", "A", "Worse in eval() than in train()", "The average lags."],
    ["section", "a#noise", "A", "Dropout", "Values drop out in training mode."],
    ["section", "a#rate", "A", "A rate of 2.30", "It never arrives."],
    ["section", "a#thirty", "A", "Two in 30", "2 and 30, and 2 of 30."],
    ["section", "a#scale", "A", "Behind \u03b3", "The scale \u03b3 and what it does."],
    ["claim", "e#claim-frozen", "E", "frozen-layers-move", "Frozen layers move."],
    ["symptom", "b#frozen", "B", "frozen layers change", "norm.eval()"],
    ["function", "f#fold", "F", "fold_conv", "A convolution with its norm."],
    *(["section", f"z#{i}", "Z", f"The loss, {i}", "Of the loss."] for i in range(9)),
]
SEARCHES = {
    "my accuracy drops in eval mode": "a#lag",  # one symptom, other words
    "prediction is poor": "a#lag",
    "worse in eva": "a#lag",  # not typed to its end
    "requires_grad did not freeze it": "b#frozen",  # a symptom before a claim
    "stuck at 2.30": "a#rate",  # a number is one word
    "gamma": "a#scale",
    "\u03b3": "a#scale",
    "fused Conv": "f#fold",
    "The Loss DROPOUT": "a#noise",  # a rare word says more than a frequent one
}


@pytest.fixture(scope="module")
def searching(browser, tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    body = (
        '<form class="big-search"><input name="q" aria-label="Search"></form>'
        '<p id="search-said"></p><ol id="search-results"></ol>'
        f"<script>window.RECORDS = {json.dumps(SEARCHED)}</script>"
        f"<script>{(ROOT / '_static' / 'search.js').read_text('utf-8')}</script>"
    )
    (folder / "a.html").write_text(PAGE.format(body=body), "utf-8")
    page = browser.new_page()
    page.goto((folder / "a.html").as_uri())
    yield page
    page.close()


@pytest.mark.parametrize("query", SEARCHES)
def test_search_puts_first_what_is_meant(searching, query):
    searching.fill("input", query)
    first = searching.locator("#search-results a").first
    assert first.get_attribute("href") == SEARCHES[query]


def test_search_says_what_it_has_not(searching):
    searching.fill("input", "zebra")
    assert searching.locator("#search-said").text_content() == "Nothing found."
    searching.fill("input", "zebra dropout")
    said = searching.locator("#search-said").text_content()
    assert said == "1 place found, none with all of these words."
    searching.fill("input", "convolution")
    assert searching.locator("mark").all_text_contents() == ["convolution"]


def test_rows_of_symptoms_lead_to_where_they_are_shown():
    def row(*cells):
        entries = (nodes.entry("", nodes.paragraph("", "", cell)) for cell in cells)
        return nodes.row("", *entries)

    def table(first):
        leads = addnodes.pending_xref("", nodes.Text("eval is off"), reftarget="lag")
        body = row(leads, nodes.Text("run this")), row(*map(nodes.Text, "ab"))
        head = row(nodes.Text(first), nodes.Text("then"))
        group = nodes.tgroup("", nodes.thead("", head), nodes.tbody("", *body))
        title = nodes.title("", "T")
        section = nodes.section("", title, nodes.table("", group), ids=["t"])
        return find.records(nodes.section("", section))

    (_, *told), symptom = table("what you see")
    assert told == ["t", "T", "what you see then a b"]
    assert symptom == ("symptom", "lag", "eval is off", "run this")
    assert len(table("what it is")) == 1
