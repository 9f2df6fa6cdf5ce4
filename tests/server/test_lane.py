"""The lane: which sessions stay in it, which become tasks, and who ends them."""

from __future__ import annotations

import gc
import logging
import socket
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import trio
from anyio import BrokenResourceError
from trio.testing import MockClock

import chainsocks
from chainsocks.config.chains import Chain
from chainsocks.config.models import User
from chainsocks.config.passwords import PlainPassword
from chainsocks.config.rules import Rule
from chainsocks.errors import Cause, Place, Step
from chainsocks.net.keepalive import LASTING
from chainsocks.net.polled import PolledStream
from chainsocks.observe.counters import Counters, SessionKey
from chainsocks.observe.events import Events
from chainsocks.observe.outcomes import Failure, OutcomeKind
from chainsocks.observe.record import Record
from chainsocks.protocol.address import Address, SockAddr
from chainsocks.protocol.messages import Command
from chainsocks.relay.flow import Flow
from chainsocks.relay.polled_relay import PolledRelay
from chainsocks.server.lane import Lane
from chainsocks.server.lane_session import LaneSession
from chainsocks.server.server import Server, open_server
from tests.net.sockets import LOOPBACK, free_port, read_all, read_exactly, reset
from tests.server.serving import config_of, connect, echoing, open_session, serving

CAROL = (User("carol", PlainPassword(b"secret")),)
LOGIN = b"\x01\x05carol\x06secret"


@dataclass
class Seen:
    """What happened to the sessions of a server."""

    begun: int = 0
    """In the lane."""
    tasks: list[bool] = field(default_factory=list)
    """For each task whether its session had begun in the lane."""


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    seen = Seen()
    begin, start = Lane.begin, Server._start_session

    def counted_begin(*args: Any) -> bool:
        begun = begin(*args)
        seen.begun += begun
        return begun

    def counted_start(*args: Any) -> None:
        seen.tasks.append(args[3] is not None)
        start(*args)

    monkeypatch.setattr(Lane, "begin", counted_begin)
    monkeypatch.setattr(Server, "_start_session", counted_start)
    return seen


def request(destination: Address, command: int = 1) -> bytes:
    kind = {4: 1, 16: 4}.get(len(destination.packed))
    host = bytes((kind,)) + destination.packed if kind else bytes((3, len(destination.packed))) + destination.packed
    return bytes((5, command, 0)) + host + destination.port.to_bytes(2, "big")


def request4(destination: Address, name: bytes = b"") -> bytes:
    ip = b"\0\0\0\1" if name else destination.packed
    return b"\x04\x01" + destination.port.to_bytes(2, "big") + ip + b"me\0" + (name + b"\0" if name else b"")


@pytest.mark.parametrize(
    ("pieces", "in_lane"),
    [
        pytest.param(lambda to: [(b"\5\1\0", 2), (request(to), 10)], True, id="socks5"),
        pytest.param(lambda to: [(b"\5\2\0\2", 2), (request(to), 10)], True, id="two-methods"),
        pytest.param(lambda to: [(b"\5\1\0" + request(to), 12)], True, id="at-once"),
        pytest.param(lambda to: [(b"\5\1\2", 2), (LOGIN, 2), (request(to), 10)], True, id="any-login"),
        pytest.param(lambda to: [(request4(to), 8)], True, id="socks4"),
        pytest.param(lambda to: [(request4(to, b"127.0.0.1"), 8)], True, id="socks4a-number"),
        pytest.param(lambda to: [(b"\5", 0), (b"\1\0", 2), (request(to), 10)], False, id="greeting-in-pieces"),
        pytest.param(lambda to: [(b"\5\1\0", 2), (request(to)[:7], 0), (request(to)[7:], 10)], False, id="in-pieces"),
    ],
)
async def test_an_ordinary_session(
    seen: Seen, sockets_on_mock_clock: MockClock, pieces: Callable[[Address], list[tuple[bytes, int]]], *, in_lane: bool
) -> None:
    async with serving(config_of()) as server, echoing() as destination, connect(server.address) as client:
        client.avoid_delay()
        for said, answer in pieces(destination):
            await client.send(said)
            await read_exactly(client, answer)
            await trio.sleep(1)
        await client.send(b"hello")
        assert await read_exactly(client, 5) == b"hello"
        assert seen == Seen(1, [] if in_lane else [True])


async def test_early_data_arrives(seen: Seen) -> None:
    async with serving(config_of()) as server, echoing() as destination, connect(server.address) as client:
        await client.send(b"\5\1\0" + request(destination) + b"early")
        assert (await read_exactly(client, 17))[12:] == b"early"
    assert seen.tasks == []


async def test_a_login_is_checked_once(seen: Seen, sockets_on_mock_clock: MockClock) -> None:
    config = replace(config_of(), users=CAROL)
    async with serving(config) as server, echoing() as destination:
        for tasks in ([True], [True]):
            async with connect(server.address) as client:
                await client.send(b"\5\1\2")
                await read_exactly(client, 2)
                await client.send(LOGIN)
                assert await read_exactly(client, 2) == b"\1\0"
                await client.send(request(destination))
                assert (await read_exactly(client, 10))[1] == 0
            assert seen.tasks == tasks
    assert seen.begun == 2


@pytest.mark.parametrize("said", [b"", b"\5\1\0", b"\5\1\0\5"], ids=["nothing", "greeting", "half-a-request"])
async def test_a_request_that_does_not_come_in_time(
    caplog: pytest.LogCaptureFixture, sockets_on_mock_clock: MockClock, said: bytes
) -> None:
    caplog.set_level(logging.INFO, "chainsocks")
    config = replace(config_of(), timeouts=replace(config_of().timeouts, handshake=3))
    async with serving(config) as server, connect(server.address) as client:
        await client.send(said)
        began = trio.current_time()
        await read_all(client)
        assert 3 <= trio.current_time() - began < 3.1
    assert "no complete request (within 3 s)" in caplog.text


async def test_a_server_that_stops_cuts_its_sessions_off(
    caplog: pytest.LogCaptureFixture, sockets_on_mock_clock: MockClock, seen: Seen
) -> None:
    caplog.set_level(logging.INFO, "chainsocks")
    async with echoing() as destination:
        async with serving(config_of(grace=5)) as server:
            waiting, open_ = connect(server.address), connect(server.address)
            await open_session(open_, destination)
            server.stopping.set()
            await trio.sleep(4)
            await open_.send(b"still")
            assert await read_exactly(open_, 5) == b"still"
        for client in (waiting, open_):
            with pytest.raises(BrokenResourceError):
                await client.receive()
            await client.aclose()
    assert caplog.text.count('outcome="cut off: the server is stopping"') == 2
    assert seen == Seen(2)


async def test_a_server_ends_with_its_last_session(sockets_on_mock_clock: MockClock, seen: Seen) -> None:
    async with echoing() as destination, serving(config_of(grace=1000)) as server:
        client = connect(server.address)
        await open_session(client, destination)
        server.stopping.set()
        await trio.sleep(4)
        await client.aclose()
        await server.ended.wait()
        assert server.ended_at < 10
    assert seen == Seen(1)


async def test_a_closed_listener_leaves_its_sessions_alone(sockets_on_mock_clock: MockClock, seen: Seen) -> None:
    async with open_server(config_of()) as server, echoing() as destination:
        [opened] = server.listeners
        client = connect(str(opened))
        await open_session(client, destination)
        server.change_listeners([])
        await trio.sleep(1)
        assert server.admission.taken == 1
        await client.send(b"hello")
        assert await read_exactly(client, 5) == b"hello"
        await client.aclose()
        await trio.sleep(1)
        assert server.admission.taken == 0
    assert seen == Seen(1)


class Steps(Events):
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def session_started(self, record: Record) -> None:
        self.heard.append("started")

    def step(self, record: Record, place: Place, deadline: float) -> None:
        self.heard.append(place.step)

    def session_ended(self, record: Record) -> None:
        self.heard.append(f"ended: {record.outcome}")


@pytest.mark.usefixtures("each_session_way")
async def test_listeners_to_events_see_no_difference(sockets_on_mock_clock: MockClock) -> None:
    steps = Steps()
    async with echoing() as destination, serving(config_of(), steps) as server:
        async with connect(server.address) as client:
            await open_session(client, destination)
        await trio.sleep(1)
        assert steps.heard == ["started", "TCP connect", "open", "ended: finished"]
        steps.heard.clear()
        async with connect(server.address) as client:
            await client.send(b"\5\1\0" + request(Address("127.0.0.1", free_port())))
            assert (await read_exactly(client, 12))[3] == 5
        await trio.sleep(1)
        assert steps.heard[:2] == ["started", "TCP connect"]
        assert steps.heard[2].startswith("ended: destination 127.0.0.1:")


@pytest.mark.usefixtures("each_session_way")
async def test_the_lane_counts_as_a_task_does(sockets_on_mock_clock: MockClock) -> None:
    counters = Counters()
    async with echoing() as destination, serving(config_of(), counters=counters) as server:
        async with connect(server.address) as client:
            await open_session(client, destination)
        async with connect(server.address) as client:
            await client.send(b"\5\1\0" + request(Address("127.0.0.1", free_port())))
            assert (await read_exactly(client, 12))[3] == 5
        await trio.sleep(1)
    finished = SessionKey(Command.CONNECT, "direct", OutcomeKind.FINISHED, 0)
    refused = SessionKey(Command.CONNECT, "direct", OutcomeKind.DIAL_FAILED, 5)
    assert {key: totals.count for key, totals in counters.sessions.items()} == {finished: 1, refused: 1}
    assert {chain: sum(histogram.counts) for chain, histogram in counters.dials.items()} == {"direct": 1}
    assert counters.failures == {Failure("", Step.CONNECT, Cause.CONNECTION_REFUSED): 1}


async def test_debugging_lines_come_from_tasks(caplog: pytest.LogCaptureFixture, seen: Seen) -> None:
    caplog.set_level(logging.DEBUG, "chainsocks")
    async with echoing() as destination, serving(config_of()) as server, connect(server.address) as client:
        await open_session(client, destination)
    assert seen == Seen(0, [False])


@contextmanager
def silent() -> Iterator[Address]:
    """A destination that does not answer a connect: its backlog is full."""
    with socket.socket() as listening, ExitStack() as stack:
        listening.bind((LOOPBACK, 0))
        listening.listen(0)
        address = Address(*listening.getsockname())
        for _ in range(3):
            sock = stack.enter_context(socket.socket())
            sock.settimeout(0)
            sock.connect_ex(address.sockaddr)
        yield address


@pytest.mark.usefixtures("each_session_way")
@pytest.mark.parametrize(
    ("early", "half_close", "seconds", "outcome"),
    [
        (b"", True, 6, "the client finished its side, and may have left; its dial had no more time"),
        (b"early", True, 9, "TCP connect: no answer (9.00 s of 9 s)"),
        (b"", False, 9, "TCP connect: no answer (9.00 s of 9 s)"),
    ],
)
async def test_a_silent_destination(
    caplog: pytest.LogCaptureFixture,
    sockets_on_mock_clock: MockClock,
    early: bytes,
    seconds: float,
    outcome: str,
    *,
    half_close: bool,
) -> None:
    caplog.set_level(logging.INFO, "chainsocks")
    config = replace(config_of(), timeouts=replace(config_of().timeouts, connect=9))
    with silent() as destination:
        async with serving(config) as server, connect(server.address) as client:
            began = trio.current_time()
            await client.send(b"\5\1\0" + request(destination) + early)
            if half_close:
                await trio.sleep(1)
                await client.send_eof()
            assert (await read_all(client))[2:4] == b"\5\6"
            assert seconds <= trio.current_time() - began < seconds + 0.1
    assert outcome in caplog.text


@pytest.mark.usefixtures("each_session_way")
async def test_a_client_that_breaks_off_during_the_dial(
    caplog: pytest.LogCaptureFixture, sockets_on_mock_clock: MockClock
) -> None:
    caplog.set_level(logging.INFO, "chainsocks")
    with silent() as destination:
        async with serving(config_of()) as server:
            client = connect(server.address)
            await client.send(b"\5\1\0" + request(destination))
            await trio.sleep(1)
            reset(client.socket)
            await trio.sleep(1)
            assert "the client left before its reply" in caplog.text


@pytest.mark.parametrize("handed_over", [False, True])
async def test_its_connections_get_keepalive_when_they_last(
    sockets_on_mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch, *, handed_over: bool
) -> None:
    opened: list[PolledStream] = []
    note_connected = PolledStream.note_connected

    def noted(stream: PolledStream, address: SockAddr) -> SockAddr:
        opened.append(stream)
        return note_connected(stream, address)

    monkeypatch.setattr(PolledStream, "note_connected", noted)
    config = config_of()
    config = replace(config, server=replace(config.server, keepalive=60))
    async with echoing() as destination, open_server(config) as server, connect(str(server.listeners[0])) as client:
        if handed_over:
            await client.send(b"\5")
            await trio.sleep(1)
            await client.send(b"\1\0")
        else:
            await client.send(b"\5\1\0")
        await client.send(request(destination))
        await read_exactly(client, 12)
        assert len(opened) == 1
        await trio.sleep(LASTING / 2)
        assert not opened[0].socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        await trio.sleep(2 * LASTING)
        assert opened[0].socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


async def test_a_session_leaves_no_garbage(sockets_on_mock_clock: MockClock, seen: Seen) -> None:
    """What a session in the lane consists of is freed when it ends, without a search for circles."""
    kinds = (LaneSession, PolledRelay, Flow)
    async with echoing() as destination, serving(config_of()) as server:
        gc.collect()
        gc.disable()
        try:
            before = count(kinds)
            async with connect(server.address) as client:
                await open_session(client, destination)
                await client.send(b"hello")
                await read_exactly(client, 5)
                assert [now - then for now, then in zip(count(kinds), before, strict=True)] == [1, 1, 0]
            await trio.sleep(1)
            assert count(kinds) == before
        finally:
            gc.enable()


async def test_an_idle_session_takes_little_memory() -> None:
    """What our own lines allocate. With the sockets, and what is unused, that is 1.45 KiB of the process."""
    sessions, most = 100, 1450
    ours = str(Path(chainsocks.__file__).parent)
    async with AsyncExitStack() as stack:
        destination = await stack.enter_async_context(echoing())
        server = await stack.enter_async_context(serving(config_of(max_sessions=1000)))

        async def open_one() -> None:
            client = await stack.enter_async_context(connect(server.address))
            await open_session(client, destination)
            await client.send(b"x")
            await read_exactly(client, 1)

        for _ in range(20):
            await open_one()
        tracemalloc.start()
        try:
            gc.collect()
            before = tracemalloc.take_snapshot()
            for _ in range(sessions):
                await open_one()
            gc.collect()
            found = tracemalloc.take_snapshot().compare_to(before, "filename")
        finally:
            tracemalloc.stop()
        taken = {
            each.traceback[0].filename: each.size_diff / sessions
            for each in found
            if each.traceback[0].filename.startswith((ours, "<string>"))
        }
        assert sum(taken.values()) <= most, taken


def count(kinds: Sequence[type[object]]) -> list[int]:
    """Return how many objects of each kind there are, those that other tests have left included."""
    found = Counter(map(type, gc.get_objects()))
    return [found[kind] for kind in kinds]


@pytest.mark.parametrize("by_rule", [False, True])
async def test_the_rule_or_the_chain_says_how_long_a_session_may_be_idle(
    each_session_way: str, sockets_on_mock_clock: MockClock, *, by_rule: bool
) -> None:
    direct = Chain(name="direct", idle=9 if by_rule else 40)
    config = replace(config_of(), direct=direct, rules=(Rule(1, "direct", idle=40 if by_rule else None),))
    async with serving(config) as server, echoing() as destination, connect(server.address) as client:
        await client.send(b"\5\1\0" + request(destination))
        await read_exactly(client, 12)
        began = trio.current_time()
        with pytest.raises(BrokenResourceError):
            await client.receive()
        assert 40 <= trio.current_time() - began <= 45
