"""Token buckets: bursts, the rate, and their bounded memory."""

from __future__ import annotations

import pytest

from chainsocks.limits.buckets import BURST, Buckets


def granted(buckets: Buckets, client: str, now: float, tries: int = 1000) -> int:
    return sum(buckets.take(client, now) for _ in range(tries))


@pytest.mark.parametrize(
    ("rate", "first", "pause", "then"),
    [
        (10.0, 10 * BURST, 1.0, 10),
        (10.0, 10 * BURST, 0.1, 1),
        (10.0, 10 * BURST, 1000.0, 10 * BURST),
        (0.1, 1, 9.0, 0),
        (0.1, 1, 10.0, 1),
        (1e6, 1000, 0.0, 1000),
    ],
)
def test_a_burst_and_then_the_rate(rate: float, first: float, pause: float, then: float) -> None:
    buckets = Buckets(rate)
    assert granted(buckets, "a", 5.0) == first
    assert granted(buckets, "a", 5.0 + pause) == then


def test_each_client_has_its_own() -> None:
    buckets = Buckets(1)
    assert granted(buckets, "a", 0.0) == granted(buckets, "b", 0.0) == BURST


def test_what_is_refused_costs_nothing() -> None:
    buckets = Buckets(1)
    granted(buckets, "a", 0.0, tries=100_000)
    assert granted(buckets, "a", 2.0) == 2


def test_full_buckets_are_forgotten() -> None:
    buckets = Buckets(1)
    for number in range(1000):
        buckets.take(str(number), 0.0)
    assert len(buckets) == 1000
    for number in range(1000):
        buckets.take("one", 10.0 + number)
    assert len(buckets) == 1


def test_memory_is_bounded() -> None:
    buckets = Buckets(0.001, most=100)
    for number in range(1000):
        assert buckets.take(str(number), 0.0)
    assert len(buckets) == 100
    assert not buckets.take("999", 0.0)
    assert buckets.take("0", 0.0), "it was used least recently"


def test_another_rate_holds_at_once() -> None:
    buckets = Buckets(1)
    granted(buckets, "a", 0.0)
    buckets.rate = 10
    assert granted(buckets, "a", 1.0) == 10 * BURST - 40  # of 50 s, 4 s are owed
