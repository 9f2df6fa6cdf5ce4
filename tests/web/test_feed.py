"""Views as events: one view for all that watch, none while nobody does."""

from __future__ import annotations

import json
from contextlib import aclosing
from dataclasses import dataclass

import trio
from trio.testing import MockClock

from chainsocks.control.messages import Status
from chainsocks.web.feed import INTERVAL, MOST_WATCHERS, Feed
from tests.control.fleets import FakeFleet
from tests.web.asking import answering, counted


@dataclass
class CountingFleet(FakeFleet):
    asked: int = 0

    async def status(self) -> Status:
        self.asked += 1
        return await super().status()


async def test_nothing_is_asked_while_nothing_watches(autojump_clock: MockClock) -> None:
    fleet = CountingFleet(counted=[counted()])
    async with answering(fleet) as source, trio.open_nursery() as nursery:
        feed = Feed(source)
        nursery.start_soon(feed.run)
        await trio.sleep(10)
        assert fleet.asked == 0
        async with aclosing(feed.watch()) as events:  # type: ignore[type-var]
            assert json.loads((await anext(events)).partition("data: ")[2])["sessions_in_all"] == 1
            await anext(events)
        assert fleet.asked == 2
        await trio.sleep(10 * INTERVAL)
        assert fleet.asked <= 3
        nursery.cancel_scope.cancel()


async def test_all_watch_the_same_view(autojump_clock: MockClock) -> None:
    fleet = CountingFleet(counted=[counted()])
    seen: list[str] = []

    async def watch(feed: Feed) -> None:
        async with aclosing(feed.watch()) as events:  # type: ignore[type-var]
            seen.append(await anext(events))

    async with answering(fleet) as source, trio.open_nursery() as nursery:
        feed = Feed(source)
        nursery.start_soon(feed.run)
        async with trio.open_nursery() as watchers:
            for _ in range(MOST_WATCHERS):
                assert not feed.is_full
                watchers.start_soon(watch, feed)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.deadline = trio.current_time() + 5
        assert not feed.is_full
        nursery.cancel_scope.cancel()
    assert len(seen) == MOST_WATCHERS
    assert len({*seen}) == 1
    assert fleet.asked == 1


async def test_a_slow_reader_misses_views_and_holds_none(autojump_clock: MockClock) -> None:
    fleet = CountingFleet(counted=[counted()])
    async with answering(fleet) as source, trio.open_nursery() as nursery:
        feed = Feed(source)
        nursery.start_soon(feed.run)
        async with aclosing(feed.watch()) as events:  # type: ignore[type-var]
            await anext(events)
            await trio.sleep(20 * INTERVAL)
            first = fleet.asked
            await anext(events)
            assert fleet.asked == first + 1
        nursery.cancel_scope.cancel()


async def test_a_server_that_does_not_answer_is_an_event(autojump_clock: MockClock) -> None:
    async with answering(FakeFleet(counted=[{}])) as source, trio.open_nursery() as nursery:
        feed = Feed(source)
        nursery.start_soon(feed.run)
        async with aclosing(feed.watch()) as events:  # type: ignore[type-var]
            event = await anext(events)
        assert event.startswith('event: trouble\ndata: "the server sent no metrics')
        nursery.cancel_scope.cancel()
