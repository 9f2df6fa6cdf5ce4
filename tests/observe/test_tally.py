"""The tally of a UDP association."""

from __future__ import annotations

from chainsocks.datagrams import Drop
from chainsocks.observe.record import Traffic
from chainsocks.observe.tally import Drops, Tally


def test_drops_are_listed_by_reason_in_one_order() -> None:
    drops = Drops()
    assert str(drops) == ""
    drops[Drop.OVERFLOW] += 1
    drops[Drop.STRANGER] += 2
    assert str(drops) == "2 from strangers, 1 too many at once"


def test_two_tallies_are_never_the_same() -> None:
    assert len({Tally(Traffic()), Tally(Traffic())}) == 2
