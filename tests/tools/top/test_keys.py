from __future__ import annotations

import pytest

from chainsocks.tools.top.keys import Action, press, read_keys
from chainsocks.tools.top.view import Ask, Order, Snapshot, View
from tests.control.fleets import HOP, STATUS, some_sessions


@pytest.fixture
def view() -> View:
    view = View()
    view.show(Snapshot(0, STATUS, [HOP], some_sessions(30)))
    return view


def presses(view: View, data: bytes) -> list[Action]:
    return [wish for key in read_keys(data) if (wish := press(view, key)) is not Action.NOTHING]


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"q", ["q"]),
        (b"\x1b[A\x1bOB\x1b[5~\x1b[6~\x1b[H\x1b[F", ["up", "down", "page-up", "page-down", "home", "end"]),
        (b"\x1b", ["escape"]),
        (b"\x1b[1;5C\x1b[24~", []),
        ("ä\r\x7f".encode(), ["ä", "enter", "erase"]),
        (b"\xff", []),
    ],
)
def test_keys(data: bytes, keys: list[str]) -> None:
    assert [*read_keys(data)] == keys


def test_q_quits(view: View) -> None:
    assert presses(view, b"q") == [Action.QUIT]
    assert presses(view, b"\x03") == [Action.QUIT]


def test_s_goes_through_all_orders_and_r_turns_them_around(view: View) -> None:
    seen = []
    for _ in Order:
        presses(view, b"s")
        seen.append(view.order)
    assert {*seen} == {*Order}
    presses(view, b"r")
    assert view.is_reversed


def test_p_pauses_and_goes_on(view: View) -> None:
    presses(view, b"p")
    assert view.is_paused
    presses(view, b" ")
    assert not view.is_paused


def test_a_filter_is_typed(view: View) -> None:
    assert presses(view, b"/qx\x7fs") == []
    assert (view.ask, view.filter) == (Ask.FILTER, "qs")
    presses(view, b"\r")
    assert (view.ask, view.filter) == (Ask.NOTHING, "qs")
    presses(view, b"/\x1b")
    assert (view.ask, view.filter) == (Ask.NOTHING, "")


def test_a_session_is_ended_after_a_yes_only(view: View) -> None:
    assert presses(view, b"k") == []
    assert (view.ask, view.message) == (Ask.NOTHING, "choose a session first, with the arrows")
    presses(view, b"\x1b[B")
    assert view.chosen == view.sessions()[0].id
    assert presses(view, b"kn") == []
    assert presses(view, b"k\r") == []
    assert presses(view, b"ky") == [Action.KILL]
    assert view.ask is Ask.NOTHING


def test_a_session_that_has_ended_cannot_be_ended(view: View) -> None:
    presses(view, b"\x1b[B")
    view.chosen = "gone"
    presses(view, b"k")
    assert view.ask is Ask.NOTHING
