"""Steps and their times: what is noted of a dial, and the table that the demo and the probe make of it."""

from __future__ import annotations

import io

from rich.console import Console

from chainsocks.chain.trip import CONNECT, OPEN
from chainsocks.errors import Place
from chainsocks.protocol.address import Address
from chainsocks.protocol.handshake import State
from chainsocks.tools.step_times import Taken, Trail, add_steps, add_total, milliseconds, step_table

PARIS, OSAKA = Address("10.0.0.1", 1080), Address("10.0.0.2", 1080)

FIRST = Place("paris", PARIS, CONNECT, 1, 2)
SECOND = Place("paris", PARIS, State.METHOD_NEGOTIATION, 1, 2)
THIRD = Place(None, Address("example.org", 80), OPEN)


class Clock:
    """A clock that is set by hand."""

    time = 100.0

    def __call__(self) -> float:
        return self.time


def trail_of(*places: tuple[float, Place]) -> Trail:
    clock = Clock()
    trail = Trail(clock)
    for clock.time, place in places:
        trail.note(place)
    return trail


def test_a_step_lasts_until_the_next_one() -> None:
    trail = trail_of((1, FIRST), (1.5, SECOND), (3.5, THIRD))
    assert trail.taken == (Taken(FIRST, 0.5), Taken(SECOND, 2))


def test_a_step_that_goes_on_is_one_step() -> None:
    """A hop that answers in pieces is heard of once for each of them."""
    trail = trail_of((1, FIRST), (2, SECOND), (3, SECOND), (4, SECOND), (6, THIRD))
    assert trail.taken == (Taken(FIRST, 1), Taken(SECOND, 4))


def test_the_end_in_the_middle_of_a_step() -> None:
    trail = trail_of((1, FIRST), (2, SECOND))
    before = trail.taken
    trail.end(9)
    assert (before, trail.taken) == ((Taken(FIRST, 1),), (Taken(FIRST, 1), Taken(SECOND, 7)))


def test_the_end_of_an_open_way_is_no_step() -> None:
    trail = trail_of((1, FIRST), (2, THIRD))
    trail.end(9)
    assert trail.taken == (Taken(FIRST, 1),)


def test_nothing_at_all() -> None:
    trail = trail_of()
    trail.end(9)
    assert trail.taken == ()


def test_milliseconds() -> None:
    assert [milliseconds(seconds) for seconds in (0, 0.0012345, 1.5)] == ["0.00", "1.23", "1500.00"]


def test_the_table() -> None:
    table = step_table()
    add_steps(table, "paris (1 of 2)", "socks5", PARIS, (Taken(FIRST, 0.001), Taken(SECOND, 0.002)))
    add_steps(table, "os\x1bka (2 of 2)", "socks4a", OSAKA, (), "not reached")
    add_steps(table, "destination", "", THIRD.address, (Taken(THIRD, 0.03),))
    add_total(table, "all hops", 0.033)
    output = io.StringIO()
    Console(file=output, width=200).print(table)
    rows = [
        [cell.strip() for cell in line.strip("│").split("│")]
        for line in output.getvalue().splitlines()
        if line.startswith("│")
    ]
    assert rows == [
        ["paris (1 of 2)", "socks5", "10.0.0.1:1080", "TCP connect", "1.00"],
        ["", "", "", "method negotiation", "2.00"],
        [r"os\x1bka (2 of 2)", "socks4a", "10.0.0.2:1080", "not reached", ""],
        ["destination", "", "example.org:80", "open", "30.00"],
        ["all hops", "", "", "", "33.00"],
    ]
