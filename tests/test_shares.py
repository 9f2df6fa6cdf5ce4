"""Shares: who is a client, who may have one more, and who is next."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainsocks.shares import FairQueue, Shares, client_of, reserve_of


@pytest.mark.parametrize(
    ("host", "user", "client"),
    [
        ("192.0.2.1", None, "192.0.2.1"),
        ("::ffff:192.0.2.1", None, "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", None, "2001:db8:1:2::"),
        ("2001:db8:1:2::9", None, "2001:db8:1:2::"),
        ("2001:db8:1:3::9", None, "2001:db8:1:3::"),
        ("fe80::1%eth0", None, "fe80::"),
        ("::1", None, "::"),
        ("", None, ""),
        ("192.0.2.1", "carol", "user carol"),
        ("2001:db8::1", "", "user "),
    ],
)
def test_a_client_is_a_user_or_an_address_or_a_network(host: str, user: str | None, client: str) -> None:
    assert client_of(host, user) == client


@pytest.mark.parametrize(("total", "reserve"), [(1, 0), (15, 0), (16, 1), (100, 6), (10_000, 64), (1_000_000, 64)])
def test_the_reserve_is_a_small_part(total: int, reserve: int) -> None:
    assert reserve_of(total) == reserve


def take_all(shares: Shares, client: str) -> int:
    count = 0
    while shares.allows(client):
        shares.take(client)
        count += 1
    return count


def test_a_lone_client_has_all_but_the_reserve_and_others_share_that() -> None:
    shares = Shares(100, reserve=6)
    assert [take_all(shares, client) for client in "abcd"] == [94, 3, 2, 1]
    assert not shares.allows("e")
    shares.give_back("a")
    assert not shares.allows("a")
    assert shares.allows("e")


def test_without_a_reserve_a_client_has_all() -> None:
    shares = Shares(3, reserve=0)
    assert take_all(shares, "a") == 3
    assert not shares.allows("b")


def test_a_lower_total_takes_nothing_away() -> None:
    shares = Shares(10, reserve=0)
    assert take_all(shares, "a") == 10
    shares.total = 5
    assert not shares.allows("b")
    for _ in range(6):
        shares.give_back("a")
    assert shares.allows("b")


def test_who_holds_none_is_forgotten() -> None:
    shares = Shares(10, reserve=1)
    shares.take("a")
    shares.give_back("a")
    assert not shares.held


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans())), st.integers(1, 9), st.integers(0, 9))
def test_the_total_is_never_passed(steps: list[tuple[str, bool]], total: int, reserve: int) -> None:
    shares, holds = Shares(total, min(reserve, total)), Counter[str]()
    for client, more in steps:
        if more and shares.allows(client):
            shares.take(client)
            holds[client] += 1
        elif not more and holds[client]:
            shares.give_back(client)
            holds[client] -= 1
        assert shares.taken == holds.total() <= total
        assert shares.held == +holds


# --- the queue


def test_the_client_that_holds_the_fewest_is_next() -> None:
    shares = Shares(10, reserve=0)
    queue = FairQueue[int](shares)
    for client, held in (("a", 3), ("b", 1), ("c", 2)):
        for _ in range(held):
            shares.take(client)
        queue.put(client, held)
    assert [queue.take() for _ in range(4)] == [("b", 1), ("c", 2), ("a", 3), None]


def test_clients_with_as_many_take_turns_and_each_is_served_in_order() -> None:
    queue = FairQueue[int](Shares(10, reserve=0))
    for client, item in (("a", 1), ("a", 2), ("a", 3), ("b", 4), ("b", 5)):
        queue.put(client, item)
    assert len(queue) == 5
    assert [queue.take() for _ in range(5)] == [("a", 1), ("b", 4), ("a", 2), ("b", 5), ("a", 3)]
    assert (len(queue), bool(queue)) == (0, False)


def test_the_newest_item_of_some_clients_is_next() -> None:
    queue = FairQueue[int](Shares(10, reserve=0))
    for client, item in (("a", 1), ("a", 2), ("b", 3), ("b", 4)):
        queue.put(client, item)
    assert [queue.take(newest={"a"}) for _ in range(4)] == [("a", 2), ("b", 3), ("a", 1), ("b", 4)]


def test_kinds_take_turns_within_a_client() -> None:
    queue = FairQueue[int](Shares(10, reserve=0))
    for kind, item in (("x", 1), ("x", 2), ("x", 3), ("y", 4)):
        queue.put("a", item, kind)
    assert [queue.take() for _ in range(4)] == [("a", 1), ("a", 4), ("a", 2), ("a", 3)]


def test_none_is_next_if_there_is_nothing_for_it() -> None:
    shares = Shares(1, reserve=0)
    queue = FairQueue[int](shares)
    shares.take("a")
    queue.put("b", 1)
    assert queue.take() is None
    assert queue.take(beyond=True) == ("b", 1)


def test_the_oldest_of_the_client_with_the_most_is_dropped() -> None:
    queue = FairQueue[int](Shares(1, reserve=0))
    for client, item in (("a", 1), ("b", 2), ("b", 3), ("a", 4), ("b", 5)):
        queue.put(client, item)
    assert [queue.drop() for _ in range(2)] == [("b", 2), ("a", 1)]
    assert len(queue) == 3
