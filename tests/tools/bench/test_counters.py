"""Counters in memory that two look at."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from chainsocks.tools.bench.counters import Counters, Kind, What


@pytest.fixture
def counters() -> Iterator[Counters]:
    counters = Counters.create()
    yield counters
    counters.close()


def test_another_reads_what_one_counts(counters: Counters) -> None:
    other = Counters(os.dup(counters.fd))
    places = [(kind, what) for kind in Kind for what in What]
    for number, (kind, what) in enumerate(places, 1):
        counters.add(kind, what, number)
        counters.add(kind, what, 2**40)
    assert [other.read(kind, what) for kind, what in places] == [2**40 + number for number in range(1, 17)]
    other.close()


def test_they_stand_at_nought(counters: Counters) -> None:
    assert {counters.read(kind, what) for kind in Kind for what in What} == {0}


def test_the_memory_is_given_back(counters: Counters) -> None:
    other = Counters(os.dup(counters.fd))
    other.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(other.fd)
