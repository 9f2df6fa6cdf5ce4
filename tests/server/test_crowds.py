"""Which incomplete request ends next."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from chainsocks.server.crowds import MOST_LATER, PATIENCE, TICK, Crowds


@dataclass
class Waiting:
    client: str
    began: float = 0
    is_incomplete: bool = True


def crowd(*sizes: tuple[str, int], began: float = 0) -> list[Waiting]:
    return [Waiting(client, began) for client, size in sizes for _ in range(size)]


def all_ended(crowds: Crowds[Waiting], now: float, slow: Iterable[str] = ()) -> str:
    """The clients whose requests end, in order."""
    ended = ""
    while found := crowds.oldest(set(slow), now):
        ended += found.client
    return ended


def test_the_client_with_the_most_comes_first() -> None:
    waiting = crowd(("a", 1), ("b", 4), ("c", 2))
    crowds = Crowds(waiting, 1)
    ended = all_ended(crowds, PATIENCE)
    assert ended[:2] == "bb"
    assert sorted(ended[2:4]) == ["b", "c"]
    assert sorted(ended[4:]) == ["a", "b", "c"]


def test_of_one_client_the_oldest_comes_first() -> None:
    waiting = [Waiting("a", began / 10) for began in range(5)]
    crowds = Crowds(waiting, 1)
    assert [crowds.oldest(set(), 2) for _ in range(6)] == [*waiting, None]


def test_patience_is_for_each_request() -> None:
    waiting = [Waiting("a", 0), Waiting("a", 0.5)]
    crowds = Crowds(waiting, 1)
    assert crowds.oldest(set(), 0.99 * PATIENCE) is None
    crowds = Crowds(waiting, 1)
    assert crowds.oldest(set(), PATIENCE) is waiting[0]
    assert crowds.oldest(set(), PATIENCE) is None


def test_patience_with_a_slow_client_is_divided_by_the_root_of_its_number() -> None:
    for count in (1, 2, 10, 100):
        waiting = crowd(("a", count))
        assert Crowds(waiting, 0).oldest({"a"}, 0.99 * PATIENCE / math.sqrt(count)) is None
        assert Crowds(waiting, 0).oldest({"a"}, PATIENCE / math.sqrt(count)) is waiting[0]


def test_a_slow_client_that_is_passed_over_is_not_forgotten() -> None:
    waiting = crowd(("a", 10))
    crowds = Crowds(waiting, 0)
    assert crowds.oldest({"a"}, 0) is None
    assert crowds.oldest({"a"}, PATIENCE / math.sqrt(10)) is waiting[0]


def test_a_client_with_fewer_is_found_behind_those_that_are_young() -> None:
    for slow in ("", "abc"):
        waiting = [*crowd(("a", 9), ("b", 8), ("c", 7), began=5), *crowd(("d", 1))]
        assert Crowds(waiting, 5).oldest({*slow}, 5) is waiting[-1]


def test_no_more_than_some_slow_clients_are_passed_over() -> None:
    names = [str(number) for number in range(100, 100 + 2 * MOST_LATER)]
    waiting = crowd(*((name, 1) for name in names), began=5)
    crowds = Crowds(waiting, 5)
    assert crowds.oldest(set(names), 5) is None
    assert crowds.oldest(set(names), 5 + PATIENCE) in waiting


def test_requests_that_are_complete_or_have_ended_do_not_count() -> None:
    waiting = crowd(("a", 5), ("b", 3))
    crowds = Crowds(waiting, 1)
    for each in waiting[:4]:
        each.is_incomplete = False
    found = crowds.oldest(set(), 2)
    assert found is waiting[5]


def test_it_is_outdated_after_a_while_or_when_half_is_gone() -> None:
    assert Crowds[Waiting]().is_outdated(0)
    crowds = Crowds(crowd(("a", 4)), 5)
    assert not crowds.is_outdated(5)
    assert crowds.is_outdated(5 + TICK)
    for _ in range(2):
        assert not crowds.is_outdated(5)
        assert crowds.oldest(set(), 5)
    assert crowds.is_outdated(5)
