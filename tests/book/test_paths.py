"""The page of paths: what it names exists, and the map is what the chapters say."""

import re

import pytest

from booktools import handout, paths
from booktools.notebooks import ROOT, chapters, read

NEEDED = paths.needs()
ORDER = list(NEEDED)
PAGE = (ROOT / "back" / "paths.md").read_text("utf-8")


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
    text = PAGE
    sources = "\n".join(c.source for path in chapters() for c in read(path).cells)
    exercises = set(re.findall(r"^:label: (ex-\S+)", sources, re.MULTILINE))
    assert set(re.findall(r"\{ref\}`(ex-[\w-]+)`", text)) <= exercises
    labels = set(re.findall(r"^\((ch-[\w-]+)\)=$", sources, re.MULTILINE))
    assert set(re.findall(r"\{(?:num)?ref\}`[^`]*<(ch-[\w-]+)>`", text)) <= labels


def part(title):
    return PAGE.split(f"## {title}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize(
    ("title", "left"), [("A week", {"ch-noise"}), ("Six lectures", set())]
)
def test_the_long_paths_read_every_chapter_behind_what_it_presumes(title, left):
    read_so_far = set()
    for line in part(title).splitlines():
        read_so_far |= set(re.findall(r"\{ref\}`\d+ <(ch-[\w-]+)>`", line))
        for label in read_so_far:
            assert set(NEEDED[label]) <= read_so_far | left, (label, line)
    assert read_so_far == set(ORDER) - left


def minutes(rows):
    return [int(n) for n in re.findall(r"^\|.*\| (\d+) \|.*\|$", rows, re.MULTILINE)]


def test_two_lectures_and_six_fit_into_ninety_minutes():
    first, second = re.split(r"\*\*Lecture 2", part("Two lectures"))
    for lecture in (first, second):
        assert len(minutes(lecture)) >= 4
        assert 75 <= sum(minutes(lecture)) <= 90
        assert "To vote on" in lecture
    assert len(minutes(part("Six lectures"))) == 6
    assert max(minutes(part("Six lectures"))) <= 90


def test_an_evening_takes_the_minutes_of_its_chapters():
    readme = (ROOT / "README.md").read_text("utf-8")
    said = re.findall(r"^\| (\d+) \| \[.*\| (\d+) \|$", readme, re.MULTILINE)
    time = {int(number): int(each) for number, each in said}
    for line in part("A week").splitlines():
        read_now = [int(n) for n in re.findall(r"\{ref\}`(\d+) <ch-", line)]
        whole = [n for n in read_now if n < 15]  # of the last two what you need
        for said in minutes(line):
            assert abs(said - sum(time[n] for n in whole)) <= 3, line


def test_what_a_class_gets_to_grade_is_what_the_handout_assigns():
    graded = re.findall(r"by machine, `(\w+)`", part("For a class"))
    assert tuple(graded) == handout.ASSIGNED
    at_home = re.findall(r"^At home: (.*?)\. ", PAGE, re.MULTILINE)
    named = re.findall(r"\{ref\}`(ex-[\w-]+)`", " ".join(at_home))
    assert len(named) == 5
    in_table = re.findall(r"^\| \{ref\}`(ex-[\w-]+)`", part("For a class"), re.M)
    assert in_table == named
