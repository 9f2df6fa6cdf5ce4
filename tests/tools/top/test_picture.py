from __future__ import annotations

from dataclasses import replace

import pytest
from rich.cells import cell_len

from chainsocks.control.messages import Hop, HopState, Place
from chainsocks.observe.phase import Phase
from chainsocks.tools.top.picture import draw
from chainsocks.tools.top.view import Ask, Rate, Snapshot, View
from tests.control.fleets import HOP, SESSION, STATUS, some_sessions

HOPS = [replace(HOP, name=f"hop{number}") for number in range(9)]


def view_of(count: int, *hops: Hop) -> View:
    view = View()
    view.show(Snapshot(0, replace(STATUS, sessions=count), hops, some_sessions(count)))
    return view


def text(view: View, width: int = 80, height: int = 24) -> list[str]:
    return [line.plain for line in draw(view, width, height)]


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (40, 10), (20, 5), (200, 60), (1, 1)])
@pytest.mark.parametrize("count", [0, 1, 500])
@pytest.mark.parametrize("hops", [0, 1, 9])
def test_a_picture_fills_the_screen_exactly(size: tuple[int, int], count: int, hops: int) -> None:
    width, height = size
    lines = draw(view_of(count, *HOPS[:hops]), width, height)
    assert len(lines) == height
    assert {cell_len(line.plain) for line in lines} == {width}
    assert not any("\n" in line.plain for line in lines)


def test_at_80_by_24() -> None:
    view = view_of(500, HOP, replace(HOP, name="paris", state=HopState.WELL, why=None, since=None, retry=None))
    view.rates = {"1": Rate(1024, 2048)}
    lines = text(view)
    assert lines[0].rstrip() == "chainsocks running for 1 min  127.0.0.1:1080"
    assert lines[1].rstrip() == "sessions 500 of 100  up 1.0 KiB/s  down 2.0 KiB/s"
    assert lines[2].rstrip() == "hop osaka is avoided"
    assert lines[3].split() == ["HOP", "SESSIONS", "LATENCY", "STATE"]
    assert lines[4].rstrip().endswith("backoff, for 2.5 s, tried again in 1.5 s: no answer")
    assert lines[6].split() == ["ID", "CLIENT", "DESTINATION", "NOW", "LEFT", "AGE", "UP/s", "DOWN/s"]
    assert lines[7].split()[:3] == ["1", "127.0.0.1:40000", "example.org:443"]
    assert "osaka: login" in lines[7]
    assert lines[7].split()[-4:] == ["3.2", "1.5", "1.0K", "2.0K"]
    assert lines[-1].startswith("1-16 of 500 by rate  q:quit")


def test_when_wide_there_is_more() -> None:
    lines = text(view_of(3, HOP), 120, 40)
    assert lines[5].split() == [
        "ID",
        "CLIENT",
        "USER",
        "DESTINATION",
        "CHAIN",
        *["NOW", "LEFT", "AGE", "UP", "DOWN", "UP/s", "DOWN/s"],
    ]
    assert "carol" in lines[6]


def test_troubled_hops_come_first_where_not_all_have_room() -> None:
    hops = [replace(hop, state=HopState.WELL, since=None, retry=None, why=None) for hop in HOPS[:8]] + [HOPS[8]]
    lines = text(view_of(1, *hops))
    assert lines[4].startswith("hop8")
    assert lines[9].rstrip() == "and 4 more hops"


def test_what_the_last_line_asks_and_tells() -> None:
    view = view_of(3)
    view.filter = "osa"
    assert text(view)[-1].startswith("3 (of 3) with “osa” by rate  q:quit")
    view.ask = Ask.FILTER
    assert text(view)[-1].rstrip() == "filter: osa_"
    view.ask, view.chosen = Ask.KILL, "2"
    assert text(view)[-1].rstrip() == "end session 2? y: yes, any other key: no"
    view.ask, view.message = Ask.NOTHING, "session 2 was ended"
    assert text(view)[-1].rstrip() == "session 2 was ended"


def test_no_name_reaches_the_terminal_as_a_command() -> None:
    view = View()
    nasty = replace(
        SESSION, destination="\x1b[2J:1", user="\r\n", chain="\x07", place=Place(Phase.DIAL, "\x1b]0;x", 1, "a")
    )
    view.show(Snapshot(0, replace(STATUS, trouble=("\x1b",)), [replace(HOP, name="\x9b", why="\x1b")], [nasty]))
    assert all(line.isprintable() for line in text(view, 120, 40))


def test_before_the_first_answer() -> None:
    assert text(View())[0].rstrip() == "waiting for the server ..."
