"""The page of paths: what it names exists, and the map is what the chapters say."""

import re

import pytest

from booktools import paths
from booktools.notebooks import ROOT, chapters, read

NEEDED = paths.needs()
ORDER = list(NEEDED)


@pytest.mark.parametrize("label", ORDER)
def test_a_chapter_presumes_earlier_ones_alone(label):
    assert set(NEEDED[label]) <= set(ORDER[: ORDER.index(label)])


def test_the_map_has_each_arrow_at_both_of_its_ends():
    rows = paths.table(NEEDED).splitlines()[2:]
    assert len(rows) == len(chapters())
    columns = [[re.findall(r"<(ch-[\w-]+)>", c) for c in r.split("|")] for r in rows]
    builds = {(a, b) for a, row in zip(ORDER, columns, strict=True) for b in row[2]}
    presumed = {(b, a) for a, row in zip(ORDER, columns, strict=True) for b in row[3]}
    assert builds == presumed
    assert len(builds) > len(ORDER)


def test_the_page_names_exercises_and_chapters_that_exist():
    text = (ROOT / "back" / "paths.md").read_text("utf-8")
    sources = "\n".join(c.source for path in chapters() for c in read(path).cells)
    exercises = set(re.findall(r"^:label: (ex-\S+)", sources, re.MULTILINE))
    assert set(re.findall(r"\{ref\}`(ex-[\w-]+)`", text)) <= exercises
    assert set(re.findall(r"<(ch-[\w-]+)>`", text)) <= set(ORDER)


@pytest.mark.parametrize("week", ["## A week", "## Six lectures"])
def test_every_chapter_is_on_the_long_paths(week):
    text = (ROOT / "back" / "paths.md").read_text("utf-8")
    part = text.split(week)[1].split("\n## ")[0]
    left = {"## A week": {"ch-shift", "ch-noise"}, "## Six lectures": {"ch-first-look"}}
    assert set(re.findall(r"<(ch-[\w-]+)>`", part)) == set(ORDER) - left[week]
