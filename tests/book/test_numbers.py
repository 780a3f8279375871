"""What the site numbers and prints by rules of its own: chapter 0, folds of claims."""

from types import SimpleNamespace

from docutils import nodes

from booktools import fill, numbers


def test_chapter_0_has_a_0_in_front_of_its_numbers_and_no_other_chapter():
    given = {numbers.CHAPTER: {"figure": {"a": (1,), "b": (2,)}}, "x": {"figure": {}}}
    env = SimpleNamespace(toc_fignumbers={**given, "x": {"figure": {"c": (1, 1)}}})
    numbers.wanted(None, env)
    assert env.toc_fignumbers == {
        numbers.CHAPTER: {"figure": {"a": (0, 1), "b": (0, 2)}},
        "x": {"figure": {"c": (1, 1)}},
    }
    numbers.given(None, env)  # a second build compares Sphinx's own numbers
    assert env.toc_fignumbers[numbers.CHAPTER] == {"figure": {"a": (1,), "b": (2,)}}
    numbers.given(None, env)
    assert env.toc_fignumbers[numbers.CHAPTER] == {"figure": {"a": (1,), "b": (2,)}}


def test_a_page_without_numbers_is_left_alone():
    env = SimpleNamespace(toc_fignumbers={})
    assert numbers.wanted(None, env) == numbers.given(None, env) == []


def test_a_page_prints_code_that_measured_several_claims_once(monkeypatch):
    code = {"one": "def f(): 1", "two": "def f(): 1", "three": "def g(): 2"}
    monkeypatch.setattr(fill, "kept", lambda name, make: code)
    page = nodes.container()
    printed = {}
    for ids in (["one", "three", "two"], ["two"]):
        page += fill._fold(ids, printed)
    blocks = [block.astext() for block in page.findall(nodes.literal_block)]
    assert blocks == ["def f(): 1", "def g(): 2"]
    said = [line.astext() for line in page.findall(nodes.paragraph)]
    assert said == [
        "Evidence: one, two",
        "Evidence: three",
        "Evidence: two; the code is that of one, above",
    ]
