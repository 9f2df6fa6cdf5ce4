from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from chainsocks.control.messages import Place, Session
from chainsocks.observe.phase import Phase
from chainsocks.tools.top.view import Order, Rate, Snapshot, View
from tests.control.fleets import HOP, SESSION, STATUS

RELAY, DIAL, REQUEST = (
    Place(Phase.RELAY, left=0.5),
    Place(Phase.DIAL, "osaka", 1, "request", 2.0),
    Place(Phase.REQUEST, left=1.0),
)
FIRST = replace(SESSION, id="1", client="c", destination="x:1", age=30, up=10, down=0, place=RELAY)
SECOND = replace(SESSION, id="2", client="b", destination="z:1", age=20, up=0, down=50, place=DIAL, user="dave")
THIRD = replace(SESSION, id="3", client="a", destination=None, command=None, age=10, up=0, down=0, place=REQUEST)


def snapshot(at: float, *sessions: Session) -> Snapshot:
    return Snapshot(at, STATUS, [HOP], sessions)


def ids(sessions: Sequence[Session]) -> str:
    return "".join(session.id for session in sessions)


def view_of(*sessions: Session) -> View:
    view = View()
    view.show(snapshot(0, *sessions))
    return view


def test_rates_are_differences() -> None:
    view = view_of(FIRST, SECOND)
    assert view.total == Rate(0, 0)
    view.show(snapshot(2, replace(FIRST, up=110), replace(SECOND, down=70), THIRD))
    assert (view.rate(FIRST), view.rate(SECOND), view.rate(THIRD)) == (Rate(50, 0), Rate(0, 10), Rate(0, 0))
    assert view.total == Rate(50, 10)
    view.show(snapshot(3, THIRD))
    assert view.total == Rate(0, 0)


def test_equal_ones_stand_in_the_order_of_their_numbers() -> None:
    names = ["2-9", "2-10", "10-1"]
    view = view_of(*(replace(FIRST, id=name) for name in reversed(names)))
    view.order = Order.RATE
    assert [session.id for session in view.sessions()] == names


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (Order.AGE, "321"),
        (Order.CLIENT, "321"),
        (Order.DESTINATION, "123"),
        (Order.LEFT, "321"),
        (Order.BYTES, "213"),
        (Order.RATE, "123"),
    ],
)
def test_orders(order: Order, expected: str) -> None:
    view = view_of(THIRD, FIRST, SECOND)
    view.order = order
    view.rates = {"1": Rate(5, 5), "2": Rate(0, 9)}
    assert ids(view.sessions()) == expected
    view.is_reversed = True
    assert ids(view.sessions()) == expected[::-1]


@pytest.mark.parametrize(
    ("words", "expected"),
    [("", "123"), ("DAVE", "2"), ("z:1 dave", "2"), ("z:1 carol", ""), ("osaka: request", "2"), ("relay", "1")],
)
def test_a_filter_has_words_for_any_column(words: str, expected: str) -> None:
    view = view_of(FIRST, SECOND, THIRD)
    view.filter = words
    assert "".join(sorted(ids(view.sessions()))) == expected


def test_the_cursor_stays_in_sight_and_in_the_list() -> None:
    sessions = [replace(SESSION, id=str(number)) for number in range(100, 150)]
    view = view_of(*sessions)
    assert ids(view.scroll(sessions, 3)) == "100101102"
    view.move(1, sessions)
    assert view.chosen == "100"
    view.move(4, sessions)
    assert (view.chosen, ids(view.scroll(sessions, 3))) == ("104", "102103104")
    view.move(-1, sessions)
    assert ids(view.scroll(sessions, 3)) == "102103104"
    view.move(-2, sessions)
    assert ids(view.scroll(sessions, 3)) == "101102103"
    view.move(1000, sessions)
    assert (view.chosen, ids(view.scroll(sessions, 3))) == ("149", "147148149")
    assert ids(view.scroll(sessions[:2], 3)) == "100101"
    view.move(1, [])
    assert view.chosen == "149"
