"""Repeated lines are left out, and all of them are counted."""

from __future__ import annotations

import logging
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainsocks.observe.log_repeats import FIRST, INTERVAL, KINDS, Repeats, Summary


def come(repeats: Repeats, key: object, now: float, times: int = 1) -> int:
    """Have lines come; return how many of them are written."""
    return sum(repeats.count(key, logging.WARNING, "test", now) == 0 for _ in range(times))


def test_the_first_lines_are_written_and_the_others_are_counted() -> None:
    repeats = Repeats()
    assert come(repeats, "kind", 100, FIRST + 412) == FIRST
    repeats.note("kind", "hop paris in backoff")
    assert repeats.due == 100 + INTERVAL
    assert repeats.take(100 + INTERVAL - 1) == []
    [summary] = repeats.take(100 + INTERVAL)
    assert summary == Summary(logging.WARNING, "test", 412, INTERVAL, "hop paris in backoff")
    assert str(summary) == "and 412 more like this in 60 s: hop paris in backoff"
    assert repeats.due == math.inf
    assert come(repeats, "kind", 100 + INTERVAL) == 1


def test_a_kind_that_comes_slowly_is_never_left_out() -> None:
    repeats = Repeats()
    for minute in range(5):
        assert come(repeats, "kind", minute * INTERVAL, FIRST) == FIRST
    assert repeats.take(math.inf, early=True) == []


def test_each_kind_has_a_count_of_its_own() -> None:
    repeats = Repeats()
    assert come(repeats, "one", 0, FIRST + 1) == come(repeats, "other", 1, FIRST + 2) == FIRST
    assert [each.more for each in repeats.take(2, early=True)] == [1, 2]
    assert [each.seconds for each in repeats.take(2, early=True)] == []


def test_kinds_beyond_those_that_are_told_apart_count_as_one() -> None:
    repeats = Repeats()
    assert sum(come(repeats, number, 0) for number in range(KINDS + 100)) == KINDS + FIRST
    [summary] = repeats.take(INTERVAL)
    assert str(summary) == "and 90 more of others in 60 s"
    assert come(repeats, "late", INTERVAL) == 1, "the kinds of the last interval are forgotten"
    assert len(repeats._kinds) == 1


@given(st.lists(st.tuples(st.integers(0, 3 * KINDS), st.floats(0, 30), st.integers(1, 30))))
def test_nothing_is_lost_without_being_counted(lines: list[tuple[int, float, int]]) -> None:
    repeats, now, came, known = Repeats(), 0.0, 0, 0
    for key, pause, times in lines:
        now += pause
        came += times
        known += come(repeats, key, now, times) + sum(each.more for each in repeats.take(now))
        assert len(repeats._kinds) <= KINDS + 1
    assert known + sum(each.more for each in repeats.take(now, early=True)) == came


@pytest.mark.parametrize("left_out", [False, True])
def test_due_is_when_the_first_summary_is_due(*, left_out: bool) -> None:
    repeats = Repeats()
    come(repeats, "early", 3, FIRST + left_out)
    come(repeats, "late", 5, FIRST + 1)
    assert repeats.due == INTERVAL + (3 if left_out else 5)
