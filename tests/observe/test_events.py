"""What listeners see of sessions, and what sessions see of listeners: nothing."""

from __future__ import annotations

import logging
from itertools import groupby

import pytest
import trio
from trio.testing import MockClock

from chainsocks.chain.trip import CONNECT, OPEN
from chainsocks.config.chains import Chain
from chainsocks.config.groups import Group
from chainsocks.config.models import Config, Timeouts
from chainsocks.errors import Place
from chainsocks.observe.events import Events
from chainsocks.observe.record import Record
from chainsocks.protocol.handshake import State
from tests.hops import Fault, Trouble, add_hop, make_hop
from tests.memory import Host, MemoryNetwork
from tests.observe.recorded import Event, RecordedEvents
from tests.session.serving import CONNECT5, DESTINATION, GRANTED5, session

PARIS, OSAKA, LIMA = HOPS = [make_hop(position) for position in (1, 2, 3)]
TIMEOUTS = Timeouts(connect=5, hop=7, dial=30)

NEGOTIATION, LOGIN, REQUEST = State.METHOD_NEGOTIATION, State.SUB_NEGOTIATION, State.REQUEST


def slow(network: MemoryNetwork, *latencies: float) -> None:
    """Put the hops into the network, each with a latency of its own."""
    for hop, latency in zip(HOPS, latencies, strict=True):
        add_hop(network, hop)
        network.hosts[hop.address] = Host(network.hosts[hop.address].handler, latency=latency)


def steps(events: list[Event]) -> list[tuple[Place | None, float | None]]:
    """The steps with their deadlines; one that was reported again, because its answer came in pieces, is there once."""
    return [step for step, _ in groupby((event.place, event.deadline) for event in events if event.name == "step")]


async def test_a_connect_through_three_hops_reports_start_steps_and_end(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    events = RecordedEvents()
    config = Config(timeouts=TIMEOUTS, chains={"default": Chain(*HOPS, name="default")})
    async with session(caplog, config, events=(events,)) as client:
        slow(client.network, 0.5, 0, 0)
        await trio.sleep(1)  # the client takes its time
        await client.send("05 01 00", CONNECT5)
        await client.expect("05 00" + GRANTED5)
        await client.send(b"data")
        await client.expect(b"data")
    [started, *_, ended] = events.seen
    assert (started.name, started.at) == ("started", 0)
    assert "command=- " in started.line
    assert (ended.name, ended.line) == ("ended", client.line)
    assert len({event.session for event in events.seen}) == 1

    # Connected at 1 s, which takes a round trip of 1 s to paris; each answer takes another. Each hop has 7 s.
    assert steps(events.seen) == [
        (Place("paris", PARIS.address, CONNECT, 1, 3), 1 + 5),
        (Place("paris", PARIS.address, NEGOTIATION, 1, 3), 2 + 7),
        (Place("paris", PARIS.address, LOGIN, 1, 3), 2 + 7),
        (Place("paris", PARIS.address, REQUEST, 1, 3), 2 + 7),
        (Place("osaka", OSAKA.address, NEGOTIATION, 2, 3), 5 + 7),
        (Place("osaka", OSAKA.address, LOGIN, 2, 3), 5 + 7),
        (Place("osaka", OSAKA.address, REQUEST, 2, 3), 5 + 7),
        (Place("lima", LIMA.address, NEGOTIATION, 3, 3), 8 + 7),
        (Place("lima", LIMA.address, LOGIN, 3, 3), 8 + 7),
        (Place("lima", LIMA.address, REQUEST, 3, 3), 8 + 7),
        (Place(None, DESTINATION, OPEN), 8 + 7),
    ]


async def test_a_hop_that_fails_is_the_last_step(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    events = RecordedEvents()
    config = Config(timeouts=TIMEOUTS, chains={"default": Chain(PARIS, OSAKA, name="default")})
    async with session(caplog, config, events=(events,)) as client:
        add_hop(client.network, PARIS)
        add_hop(client.network, OSAKA, Trouble(LOGIN, Fault.FIN))
        await client.send("05 01 00", CONNECT5)
        await client.expect("05 00 05")
    [*_, last, ended] = events.seen
    assert last.place == Place("osaka", OSAKA.address, LOGIN, 2, 2)
    assert (last.deadline, ended.name) == (7, "ended")
    assert "osaka" in ended.line


async def test_each_attempt_at_a_member_of_a_group_is_reported(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    events = RecordedEvents()
    config = Config(timeouts=TIMEOUTS, chains={"default": Chain(Group(PARIS, OSAKA), name="default")})
    async with session(caplog, config, events=(events,)) as client:
        add_hop(client.network, PARIS, Trouble(CONNECT, Fault.MUTE))
        add_hop(client.network, OSAKA)
        await client.send("05 01 00", CONNECT5)
        await client.expect("05 00" + GRANTED5)
    connects = [
        (event.place.hop, event.at, event.deadline)
        for event in events.seen
        if event.place and event.place.step == CONNECT
    ]
    assert connects == [("paris", 0, 5), ("osaka", 5, 10)]


async def test_a_client_that_never_asks_has_a_start_and_an_end(caplog: pytest.LogCaptureFixture) -> None:
    events = RecordedEvents()
    async with session(caplog, events=(events,)):
        pass
    assert [event.name for event in events.seen] == ["started", "ended"]


async def test_a_session_that_is_cut_off_has_an_end(caplog: pytest.LogCaptureFixture) -> None:
    events = RecordedEvents()
    with trio.CancelScope() as scope:
        async with session(caplog, events=(events,)) as client:
            await client.send("05 01 00", CONNECT5)
            await client.expect("05 00" + GRANTED5)
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert events.seen[-1].name == "ended"
    assert "cut off" in events.seen[-1].line


class Buggy(Events):
    """A listener that fails at each event."""

    def session_started(self, record: Record) -> None:
        raise ZeroDivisionError("start")

    def step(self, record: Record, place: Place, deadline: float) -> None:
        raise ZeroDivisionError("step")

    def session_ended(self, record: Record) -> None:
        raise ZeroDivisionError("end")


async def test_a_bug_in_a_listener_harms_neither_the_session_nor_other_listeners(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    before, after = RecordedEvents(), RecordedEvents()
    async with session(caplog, events=(before, Buggy(), after)) as client:
        await client.send("05 01 00", CONNECT5, b"data")
        await client.expect("05 00" + GRANTED5)
        await client.expect(b"data")
        await client.stream.send_eof()
        await client.expect_end()
    assert 'outcome="finished"' in client.line
    assert [event.name for event in before.seen] == ["started", "step", "step", "ended"]
    assert after.seen == before.seen
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert errors == [
        f"a bug in the listener Buggy for events: ZeroDivisionError: {at}" for at in ("start", "step", "step", "end")
    ]


async def test_a_listener_overrides_what_it_needs(caplog: pytest.LogCaptureFixture) -> None:
    async with session(caplog, events=(Events(),)) as client:
        await client.send("05 01 00", CONNECT5)
        await client.expect("05 00" + GRANTED5)
    assert [record for record in caplog.records if record.levelno == logging.ERROR] == []
