"""What the page shows."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from chainsocks.control.messages import Place
from chainsocks.observe.metrics import BYTES, SESSIONS, STEP_SECONDS, Buckets, Sample
from chainsocks.observe.phase import Phase
from chainsocks.web.source import Measured
from chainsocks.web.view import MOST_ROWS, PAUSE, WINDOW, History, build_view
from tests.control.fleets import SESSION, FakeFleet, some_sessions
from tests.web.asking import answering, counted

ENDED = ("CONNECT", "default", "finished", "00")


def moment(at: float, sessions: float = 0, up: float = 0, steps: tuple[int, float] = (0, 0)) -> Measured:
    samples = (
        Sample(SESSIONS, ENDED, sessions),
        Sample(BYTES, ("up", "default"), up),
        Sample(STEP_SECONDS, ("paris", "request"), Buckets((steps[0],), steps[1])),
    )
    return Measured(at, samples, (), (), {})


async def test_it_is_json_with_all_that_is_known(autojump_clock: MockClock) -> None:
    async with answering(FakeFleet(counted=[counted()])) as source:
        view = json.loads(json.dumps(await build_view(source, History())))
    assert view["server"]["state"] == "running"
    [chain] = view["chains"]
    assert (chain["name"], chain["open"]) == ("default", 3)
    assert [place["hop"] or place["group"] for place in chain["places"]] == ["paris", "exits"]
    [hop] = view["hops"]
    assert (hop["name"], hop["state"]) == ("osaka", "backoff")
    assert hop["steps"] == [{"step": "TCP connect", "seconds": 0.002}]
    [session] = view["sessions"]
    assert (session["place"]["hop"], session["place"]["step"]) == ("osaka", SESSION.place.step)
    assert view["failures"][0]["session"] == "0-1"
    assert view["rates"] == {"sessions": 0, "failures": 0, "up": 0, "down": 0}


async def test_without_chains_there_is_the_way_without_hops(autojump_clock: MockClock) -> None:
    async with answering(FakeFleet(counted=[{**counted(), "chains": [], "metrics": {}}])) as source:
        view = await build_view(source, History())
    assert [(chain["name"], chain["places"]) for chain in view["chains"]] == [("direct", [])]


async def test_the_sessions_that_wait_come_first_and_the_rest_is_counted(autojump_clock: MockClock) -> None:
    relays = [replace(session, place=Place(Phase.RELAY, left=1.0)) for session in some_sessions(MOST_ROWS)]
    waits = [replace(SESSION, id="late", place=replace(SESSION.place, left=9.0)), replace(SESSION, id="soon")]
    async with answering(FakeFleet(rows=[*relays, *waits], counted=[counted()])) as source:
        await trio.sleep(1)
        view = await build_view(source, History())
        await trio.sleep(0.25)
        later = await build_view(source, History())
    assert [session["id"] for session in view["sessions"]][:2] == ["soon", "late"]
    assert (len(view["sessions"]), view["sessions_in_all"]) == (MOST_ROWS, MOST_ROWS + 2)
    assert later["sessions_at"] == view["sessions_at"]
    assert later["sessions_ago"] == pytest.approx(view["sessions_ago"] + 0.25)


def test_rates_are_differences() -> None:
    history = History()
    for second in range(5):
        history.add(moment(second, sessions=10 * second, up=1000 * second))
        history.add(moment(second, sessions=10 * second, up=1000 * second))  # the same answer again
    rates = history.rates()
    assert (rates["sessions"], rates["up"], rates["down"]) == (10, 1000, 0)
    assert rates["chains"] == {"default": {"up": 1000, "down": 0}}


def test_rates_begin_anew_after_a_pause_and_after_a_restart() -> None:
    history = History()
    history.add(moment(0, sessions=0))
    history.add(moment(PAUSE + 1, sessions=1000))
    assert history.rates()["sessions"] == 0
    history.add(moment(PAUSE + 3, sessions=20))
    assert history.rates()["sessions"] == 10


def test_a_step_is_an_average_of_the_last_minute() -> None:
    history = History()
    history.add(moment(0, steps=(10, 10)))
    assert history.steps_of("paris") == [{"step": "request", "seconds": 1}]
    history.add(moment(2, steps=(12, 10.5)))
    assert history.steps_of("paris") == [{"step": "request", "seconds": 0.25}]
    assert history.steps_of("osaka") == []
    for second in range(4, int(WINDOW) + 10, 2):
        history.add(moment(second, steps=(12, 10.5)))
    assert history.steps_of("paris") == [{"step": "request", "seconds": 10.5 / 12}]
