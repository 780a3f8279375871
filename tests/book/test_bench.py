"""How the benchmarks time. That something is fast is never asserted."""

import pytest
import torch

from booktools.bench import machine, timing


def test_calls_take_turns_in_each_round():
    order = []
    calls = {name: lambda name=name: order.append(name) for name in "ab"}
    rounds = timing.in_turn(calls, rounds=3, least=0)
    assert order == list("ababab")
    assert [list(each) for each in rounds] == [["a", "b"]] * 3


def test_a_short_call_is_repeated_and_its_mean_taken(monkeypatch):
    """On a clock that a call moves on by a second."""
    now = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])

    def call():
        now[0] += 1

    assert timing.in_turn({"a": call}, rounds=2, least=10) == [{"a": 1.0}] * 2
    assert now[0] == 3 + 2 * 10


def test_what_was_only_started_is_waited_for(monkeypatch):
    """Before the clock is read, at both ends, and not after each repeat."""
    order = []
    monkeypatch.setattr(timing.time, "perf_counter", lambda: order.append("clock") or 0)
    call, settle = (lambda name=name: order.append(name) for name in ("call", "settle"))
    timing.seconds(call, 2, settle)
    assert order == ["settle", "clock", "call", "call", "settle", "clock"]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_what_is_timed_is_what_is_counted(dtype):
    """Each pass runs, in both dtypes, and has a count of its own."""
    named = machine.passes((2, 3, 4, 4), dtype=dtype)
    for call, counted in named.values():
        call()
        assert counted.bytes > 0
    assert len({counted for _, counted in named.values()}) == len(named)


def test_ratios_are_taken_within_a_round():
    rounds = [{"a": 1, "b": 1}, {"a": 20, "b": 10}, {"a": 9, "b": 3}]
    assert timing.median(rounds, "a") == 9
    assert timing.median(rounds, "a", over="b") == 2


def test_threads_are_set_and_set_back():
    before = torch.get_num_threads()
    seen = [(count, torch.get_num_threads()) for count in timing.threads([1, 2])]
    assert seen == [(1, 1), (2, 2)]
    assert torch.get_num_threads() == before


def test_threads_are_set_back_after_a_failure():
    before = torch.get_num_threads()

    def fail():
        for _ in timing.threads([before + 1]):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert torch.get_num_threads() == before
