"""Admission: which connections have a place, which wait, and which are ended, with made-up addresses."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from chainsocks.config.limits import Limit, Limits
from chainsocks.limits.limiter import Limiter
from chainsocks.net.stream import SocketStream
from chainsocks.server.admission import ENDING, ENDS_AT_ONCE, Admission, Place
from chainsocks.server.crowds import PATIENCE, TICK
from chainsocks.server.pressure import REPORT_INTERVAL
from tests.server.serving import said

A, B, C = "192.0.2.1", "192.0.2.2", "2001:db8::"
LATER = 1.1 * PATIENCE

Log = pytest.LogCaptureFixture


class Connection(SocketStream):
    """A connection that is only counted."""

    __slots__ = ("is_broken", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_broken = False

    def break_off(self) -> None:
        self.is_broken = True


@dataclass
class House:
    """An admission, and what it does. Connections are called by numbers."""

    admission: Admission[str]
    places: dict[str, Place[str]] = field(default_factory=dict)
    """Those of the sessions that run, by the names of their connections, in order of their start."""
    closed: list[str] = field(default_factory=list)
    """Connections that were closed without a session."""
    left: int = 0

    def come(self, client: str, count: int = 1, *, asks: bool = False) -> list[str]:
        """Have connections come; with `asks`, their requests are complete at once. Return their names."""
        names = []
        for _ in range(count):
            name = f"{client} {len(self.places) + len(self.closed) + self.left + len(self.admission._waiting)}"
            names.append(name)
            stream = Connection(name)
            place = self.admission.enter(client, stream)
            if place:
                self.places[name] = place
            else:
                self.admission.wait(client, stream, name)
            if asks and name in self.places:
                assert self.places[name].keep(client)
        return names

    def run(self, *names: str) -> None:
        """Have those sessions that were ended leave, and others by name."""
        for name in [name for name, place in self.places.items() if place.ended or name in names]:
            self.places.pop(name).leave()
            self.left += 1

    def leave(self, *names: str) -> None:
        for name in names:
            self.left += 1
            self.places.pop(name).leave()

    @property
    def ended(self) -> list[str]:
        """The sessions that were ended to make room, and still run."""
        return [name for name, place in self.places.items() if place.ended]

    def running(self, client: str) -> int:
        return sum(place.client == client and not place.ended for place in self.places.values())


@asynccontextmanager
async def house_of(total: int, waiting: int = 1000, limiter: Limiter | None = None) -> AsyncIterator[House]:
    """Open an admission; at the end all sessions leave, and nothing may be left of them."""
    house = House(
        Admission(
            total,
            f"max_sessions ({total})",
            lambda place, name: start(place, name),
            lambda name: house.closed.append(name),
            waiting,
            limiter,
        )
    )

    def start(place: Place[str], name: str) -> None:
        house.places[name] = place

    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.admission.run)
        yield house
        nursery.cancel_scope.cancel()
    house.leave(*house.places)
    admission = house.admission
    assert not admission._waiting
    assert not admission._kept
    assert (admission.taken, admission._shares.held, admission._incomplete, admission._slow, admission._turns) == (
        0,
        {},
        {},
        set(),
        {},
    )


# --- shares


async def test_a_lone_client_has_all_but_the_reserve(autojump_clock: MockClock) -> None:
    async with house_of(100) as house:
        house.come(A, 200, asks=True)
        assert house.running(A) == 94
        house.come(B, 10, asks=True)
        assert house.running(B) == 3
        house.come(C, 10, asks=True)
        assert house.running(C) == 2
        assert house.admission.taken == 99


async def test_few_sessions_have_no_reserve(autojump_clock: MockClock) -> None:
    async with house_of(3) as house:
        house.come(A, 5, asks=True)
        assert (house.running(A), house.admission.taken) == (3, 3)


async def test_who_holds_the_fewest_is_next(autojump_clock: MockClock) -> None:
    async with house_of(4) as house:
        first = house.come(A, 4, asks=True)
        house.come(A, 3)
        house.come(B, 1)
        house.leave(first[0])
        assert house.running(B) == 1
        house.leave(first[1])
        assert house.running(A) == 3


async def test_waiting_connections_of_one_client_are_served_in_order(autojump_clock: MockClock) -> None:
    async with house_of(1) as house:
        [first] = house.come(A, asks=True)
        waiting = house.come(A, 3)
        order = []
        for _ in waiting:
            house.leave(first)
            [first] = house.places
            order.append(first)
            house.places[first].keep(A)
        assert order == waiting


async def test_a_higher_total_lets_those_that_wait_start(autojump_clock: MockClock) -> None:
    async with house_of(1) as house:
        house.come(A, 4, asks=True)
        house.admission.total = 3
        assert house.running(A) == 3


async def test_a_lower_total_holds_once_enough_sessions_have_ended(autojump_clock: MockClock) -> None:
    async with house_of(3) as house:
        names = house.come(A, 3, asks=True)
        house.admission.total = 1
        house.come(A)
        for name, left in zip(names, (2, 1, 1), strict=True):
            house.leave(name)
            assert house.admission.taken == left
        assert names[0] not in house.places
        assert house.running(A) == 1


# --- users


async def test_a_login_moves_the_session_from_the_address_to_the_user(autojump_clock: MockClock) -> None:
    async with house_of(100) as house:
        for name in house.come(A, 90):
            assert house.places[name].keep("user carol")
        assert (house.running(A), house.running("user carol")) == (0, 90)
        for name in house.come(A, 5):
            assert house.places[name].keep("user dave")
        assert house.running("user dave") == 5


async def test_a_user_with_many_addresses_has_no_more_than_one_client(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """It waits with the place that its address has, and has its turn when one of its sessions ends."""
    kept = dict[str, bool]()

    async with house_of(100) as house:

        async def wait(name: str) -> None:
            kept[name] = await house.places[name].wait(10)

        for number in range(94):
            [name] = house.come(f"198.51.100.{number}")
            assert house.places[name].keep("user carol")
        [late], [later] = house.come("203.0.113.1"), house.come("203.0.113.2")
        for name in (late, later):
            assert not house.places[name].keep("user carol")
            nursery.start_soon(wait, name)
        await trio.sleep(5)
        assert kept == {}
        house.leave(next(iter(house.places)))
        await wait_all_tasks_blocked()
        assert kept == {late: True}
        await trio.sleep(6)
        assert kept == {late: True, later: False}


async def test_a_user_who_waits_for_a_turn_keeps_none_out(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    kept = dict[str, bool]()

    async with house_of(100) as house:

        async def wait(name: str) -> None:
            kept[name] = await house.places[name].wait(100)

        for number in range(100):
            for name in house.come(f"198.51.100.{number}"):
                if name in house.places and not house.places[name].keep("user carol"):
                    nursery.start_soon(wait, name)
        await trio.sleep(LATER)
        house.run()
        [name] = house.come(B)
        assert house.places[name].keep(B)
        await wait_all_tasks_blocked()
        assert set(kept.values()) == {False}


# --- incomplete requests


async def test_a_full_house_makes_room_once_its_patience_is_used_up(autojump_clock: MockClock) -> None:
    async with house_of(3) as house:
        silent = house.come(A, 3)
        await trio.sleep(PATIENCE / 2)
        [new] = house.come(A)
        assert (house.ended, new in house.places) == ([], False)
        await trio.sleep(PATIENCE / 2 + TICK)
        assert house.ended == silent[:1]
        stream = house.places[silent[0]].stream
        assert isinstance(stream, Connection)
        assert stream.is_broken
        assert new in house.places


async def test_a_slow_client_makes_room_at_once(autojump_clock: MockClock) -> None:
    async with house_of(30) as house:
        house.come(A, 40)
        await trio.sleep(LATER)
        house.run()
        await trio.sleep(PATIENCE / 2)
        began = trio.current_time()
        [new] = house.come(A)
        assert new in house.places
        assert trio.current_time() == began


async def test_of_a_slow_client_the_newest_connection_is_next(autojump_clock: MockClock) -> None:
    async with house_of(10) as house:
        house.come(A, 15)
        await trio.sleep(LATER)
        house.run()
        waiting = house.come(A, 5)
        await trio.sleep(PATIENCE / 2)
        assert [name in house.places for name in waiting] == [True] * 5
        late = house.come(A, 21)
        assert [name in house.places for name in late] == [True] * 10 + [False] * 11
        await trio.sleep(0.4 * PATIENCE)
        assert (late[10] in house.places, late[20] in house.places) == (False, True)


async def test_a_slow_client_can_still_send_a_request(autojump_clock: MockClock) -> None:
    """With one place left to it, its connections do not end one another at once."""
    async with house_of(10) as house:
        house.come(B, 9, asks=True)
        house.come(A)
        await trio.sleep(LATER)
        [one] = house.come(A)
        house.run()
        [other] = house.come(A)
        await trio.sleep(PATIENCE / 2)
        assert (one in house.places, house.ended, other in house.places) == (True, [], False)
        assert house.places[one].keep(A)


async def test_the_oldest_of_the_client_that_has_most_is_ended(autojump_clock: MockClock) -> None:
    async with house_of(9) as house:
        [first] = house.come(B)
        await trio.sleep(0.1)
        crowd = house.come(A, 6)
        house.come(C, 2)
        await trio.sleep(LATER)
        house.come(B, 2)
        assert house.ended == crowd[:2]
        assert house.running(B) == 3
        assert first in house.places


async def test_places_that_are_kept_become_one_for_each_client(autojump_clock: MockClock) -> None:
    async with house_of(4) as house:
        names = [*house.come(A, 2, asks=True), *house.come(B, asks=True)]
        kept = [house.places.pop(name).settle() for name in names]
        assert kept[0] is kept[1] is not kept[2]
        house.come(C, 2, asks=True)
        assert (house.admission.taken, house.running(C)) == (4, 1)
        kept[0].leave()
        assert (house.admission.taken, house.running(C)) == (4, 2)
        kept[1].leave()
        kept[2].leave()
        assert house.admission.taken == 2


async def test_a_place_whose_session_counts_for_a_limit_stays_itself(autojump_clock: MockClock) -> None:
    limiter = Limiter(trio.current_time, Limits(sessions_per_client=2))
    async with house_of(4, limiter=limiter) as house:
        names = house.come(A, 2, asks=True)
        assert limiter.sessions.enter(house.places[names[0]], A, A) is None
        counted, other = (house.places.pop(name).settle() for name in names)
        assert not limiter.sessions.is_full(A)
        assert limiter.sessions.enter(counted, A, A) is None
        other.leave()
        counted.leave()
        assert not limiter.sessions.counted


async def test_complete_requests_are_never_ended(autojump_clock: MockClock) -> None:
    async with house_of(5) as house:
        house.come(A, 5, asks=True)
        house.come(B, 3)
        await trio.sleep(100)
        assert (house.ended, house.running(A), house.running(B)) == ([], 5, 0)


async def test_a_burst_of_requests_is_served_without_a_loss(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """300 clients behind one address, each done with its request within half of the patience."""
    async with house_of(50) as house:
        house.come(A, 300)
        served = 0
        while house.places:
            names = [*house.places]
            for name in names:
                assert house.places[name].keep(A)
            await trio.sleep(PATIENCE / 2)
            served += len(names)
            house.leave(*names)
        assert (served, house.closed) == (300, [])


async def test_only_so_many_are_ending_at_once(autojump_clock: MockClock) -> None:
    async with house_of(3 * ENDING) as house:
        house.come(A, 3 * ENDING)
        house.come(B, 3 * ENDING)
        await trio.sleep(2 * PATIENCE)
        assert len(house.ended) == ENDING
        assert house.admission.taken <= 4 * ENDING
        house.run()
        await trio.sleep(TICK)
        assert len(house.ended) > 0


async def test_a_crowd_is_not_ended_in_one_go(autojump_clock: MockClock) -> None:
    """Other sessions have to move in between."""
    async with house_of(300) as house:
        house.come(A, 300)
        house.come(B, 300)
        most, before = 0, trio.current_time()
        while trio.current_time() < before + 2 * PATIENCE:
            await trio.sleep(0.001)
            most = max(most, len(house.ended))
            house.run()
        assert house.left > 250
        assert most <= ENDS_AT_ONCE


async def test_beyond_those_that_may_wait_the_oldest_of_the_client_with_the_most_is_closed(
    autojump_clock: MockClock,
) -> None:
    async with house_of(2, waiting=5) as house:
        house.come(A, 2, asks=True)
        waiting = house.come(A, 4)
        house.come(B, 1)
        house.come(C, 2)
        assert house.closed == waiting[:2]
        house.leave(*[*house.places])
        assert (house.running(B), house.running(C)) == (1, 1)


async def test_what_waits_at_the_end_is_closed(autojump_clock: MockClock) -> None:
    async with house_of(1) as house:
        house.come(A, asks=True)
        waiting = house.come(A, 3)
    assert house.closed == waiting


async def test_room_for_files(autojump_clock: MockClock) -> None:
    async with house_of(10) as house:
        house.come(A, 2, asks=True)
        assert not house.admission.make_room()
        [silent] = house.come(A)
        assert not house.admission.make_room()
        await trio.sleep(LATER)
        house.come(B)
        assert house.admission.make_room()
        assert house.admission.make_room()
        assert house.ended == [silent]


async def test_a_request_that_comes_as_its_connection_is_ended_is_not_served(autojump_clock: MockClock) -> None:
    async with house_of(2) as house:
        [silent, _] = house.come(A, 2)
        await trio.sleep(LATER)
        house.come(B)
        assert house.ended == [silent]
        assert not house.places[silent].keep("user carol")
        assert not await house.places[silent].wait(1)


async def test_room_for_a_backlog_of_several_processes(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    times = list[float]()

    async with house_of(2) as house:

        async def wait() -> None:
            await house.admission.wait_for_room("")
            times.append(trio.current_time())

        await wait()
        [one, _] = house.come(A, 2, asks=True)
        nursery.start_soon(wait)
        await trio.sleep(5)
        assert times == [0]
        house.leave(one)
        await wait_all_tasks_blocked()
        assert times == [0, 5]
        house.come("")
        nursery.start_soon(wait)
        await trio.sleep(LATER)
        assert times == [0, 5, pytest.approx(5 + PATIENCE, abs=TICK)]


# --- the log


async def test_what_is_said(autojump_clock: MockClock, log: Log) -> None:
    async with house_of(20) as house:
        house.come(A, 20)
        [nearly] = said(log, logging.WARNING)
        assert nearly == (
            "one client has reached max_sessions (20) but for a reserve for others: its further connections wait"
        )
        house.come(B, 2)
        full = said(log, logging.WARNING)[1:]
        assert full == ["max_sessions (20) is reached: further connections wait"]
        await trio.sleep(LATER)
        house.run()
        await trio.sleep(REPORT_INTERVAL / 2)
        for _ in range(5):
            house.come(A, 3)
            house.run()
        first = said(log, logging.WARNING)[2:]
        assert first == [
            f"connections ended to make room for others, before their requests were complete: 2, 2 of them of {A}"
        ]
        await trio.sleep(REPORT_INTERVAL)
        second = said(log, logging.WARNING)[3:]
        assert second == [
            f"connections ended to make room for others, before their requests were complete: 15, 15 of them of {A}"
        ]


# --- limited handshakes


def is_settled(house: House) -> bool:
    """Whether the handshakes that are counted are those that there are."""
    admission, counted = house.admission, house.admission._handshakes
    incomplete = [place.client for place in admission._incomplete if place not in admission._turns]
    return counted is not None and counted.held == Counter(incomplete)


async def test_only_so_many_handshakes_at_a_time(autojump_clock: MockClock) -> None:
    async with house_of(1000) as house:
        house.admission.handshakes = 20  # one of them is the reserve
        house.come(A, 30)
        assert house.running(A) == 19
        house.come(B)
        assert house.running(B) == 1
        house.come(A, 5, asks=True)
        assert house.running(A) == 19
        for place in [*house.places.values()][:7]:
            assert place.keep(place.client)
        await trio.sleep(0.1)
        assert house.running(A) == 7 + 18, "what waits begins as requests come"
        assert is_settled(house)


async def test_handshakes_that_take_too_long_make_room(autojump_clock: MockClock, log: Log) -> None:
    counted: list[Limit] = []
    async with house_of(1000, limiter=Limiter(trio.current_time, Limits(), counted.append)) as house:
        house.admission.handshakes = 20
        slow = house.come(A, 30)[:11]
        house.come(B, 2)
        await trio.sleep(LATER)
        assert house.ended[:11] == slow
        assert (house.running(A), house.running(B)) == (18, 2)
        assert counted == [Limit.HANDSHAKES] * len(house.ended)
        assert is_settled(house)
        house.run()
        assert is_settled(house)
    assert said(log, logging.WARNING)[0] == (
        "handshakes (20) is reached: further connections wait until others have sent their requests"
    )


async def test_a_user_who_waits_for_a_turn_is_no_handshake(autojump_clock: MockClock) -> None:
    async with house_of(32) as house:  # two of them are the reserve
        house.admission.handshakes = 20
        for _ in range(30):
            [name] = house.come(A)
            assert house.places[name].keep("user carol")
        [name] = house.come(B)
        assert not house.places[name].keep("user carol")
        assert is_settled(house)
        house.leave(name)
        assert is_settled(house)


async def test_a_limit_of_handshakes_changes_while_it_is_used(autojump_clock: MockClock) -> None:
    async with house_of(1000) as house:
        house.come(A, 30)
        house.admission.handshakes = 10
        assert is_settled(house)
        house.come(A, 5)
        assert house.running(A) == 30
        house.admission.handshakes = 33
        assert house.running(A) == 31, "two are the reserve"
        house.admission.handshakes = None
        assert house.running(A) == 35
