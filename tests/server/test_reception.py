"""Connections of load balancers: from where, with which header, in which time, and what is known of their clients."""

from __future__ import annotations

import logging
import math
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import fields, replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from chainsocks.config.limits import Limits
from chainsocks.config.listeners import Listener, Senders, UnixPath, parse_sender
from chainsocks.config.models import Config, Timeouts
from chainsocks.config.rules import Rule, parse_networks
from chainsocks.net.stream import SocketStream
from chainsocks.observe.counters import Counters, SessionKey
from chainsocks.observe.outcomes import OutcomeKind
from chainsocks.protocol.address import Address
from chainsocks.protocol.proxy_protocol import LOCAL, UNKNOWN, Ends, encode_header
from chainsocks.server import reception
from chainsocks.server.server import Server, open_server
from tests.net.sockets import LOOPBACK, read_all, read_exactly, reset
from tests.server.serving import GREETING, WELCOME, config_of, connect, echoing, greet, is_served, open_session, said

pytestmark = pytest.mark.usefixtures("each_session_way")

Log = pytest.LogCaptureFixture

CARD = Address("192.0.2.7", 51234)
HEADER = encode_header(Ends(CARD, Address("198.51.100.9", 1080)))
LINE = b"PROXY TCP4 192.0.2.7 198.51.100.9 51234 1080\r\n"
LONG = HEADER[:14] + (65535).to_bytes(2) + HEADER[16:] + bytes(65535 - 12)
FROM_LOOPBACK = Listener(Address(LOOPBACK, 0), proxy_protocol=parse_sender("127.0.0.0/8"))


def behind_a_balancer(*listen: Listener, limit: float = 5) -> Config:
    config = config_of(*(listen or (FROM_LOOPBACK,)))
    return replace(
        config, server=replace(config.server, private=True), timeouts=with_limit(config, "proxy_protocol", limit)
    )


def with_limit(config: Config, name: str, seconds: float) -> Timeouts:
    limits = {each.name: getattr(config.timeouts, each.name) for each in fields(Timeouts)} | {name: seconds}
    return Timeouts(**{each: None if limit == math.inf else limit for each, limit in limits.items()})


@asynccontextmanager
async def server_of(config: Config, counters: Counters | None = None) -> AsyncIterator[tuple[Server, str]]:
    async with open_server(config, counters=counters) as server:
        yield server, str(server.listeners[0])


# --- headers


@pytest.mark.parametrize("header", [HEADER, LINE, LONG], ids=["2", "1", "2, the longest"])
@pytest.mark.parametrize("way", ["glued", "one by one", "header first"])
async def test_the_client_that_a_header_tells_of(
    sockets_on_mock_clock: MockClock, log: Log, header: bytes, way: str
) -> None:
    async with server_of(behind_a_balancer()) as (_, address), echoing() as destination, connect(address) as client:
        if way == "glued":
            await client.send(header + GREETING)
        elif way == "header first":
            await client.send(header)
            await wait_all_tasks_blocked(0.01)
            await client.send(GREETING)
        else:
            for byte in (header[:300] + GREETING) if header != LONG else header[:40]:
                await client.send(bytes((byte,)))
                await wait_all_tasks_blocked(0.0001)
            if header == LONG:
                await client.send(header[40:] + GREETING)
        assert await read_exactly(client, 2) == WELCOME
        await request(client, destination)
        await client.send(b"hello")
        assert await read_exactly(client, 5) == b"hello"
    [line] = lines(log)
    assert f" client={CARD} " in line
    assert "up=5 down=5 " in line


@pytest.mark.parametrize("is_late", [False, True])
async def test_the_lane_takes_a_client_whose_header_has_come_with_its_connection(
    sockets_on_mock_clock: MockClock,
    log: Log,
    each_session_way: str,
    is_late: bool,  # noqa: FBT001
) -> None:
    config = behind_a_balancer()
    async with server_of(config) as (server, address), echoing() as destination, connect(address) as client:
        if is_late:
            await wait_all_tasks_blocked(0.01)
        await client.send(HEADER)
        await open_session(client, destination)
        assert len([*server._lanes[0].sessions]) == (each_session_way == "lane" and not is_late)
    assert f" client={CARD} " in lines(log)[0]


async def test_what_follows_the_header_at_once_is_the_clients(sockets_on_mock_clock: MockClock, log: Log) -> None:
    """The whole request and its data, behind each kind of header, with an urgent byte among it."""
    async with server_of(behind_a_balancer()) as (_, address), echoing() as destination:
        for header in (HEADER, LINE):
            async with connect(address) as client:
                asked = bytes.fromhex("05 01 00 05 01 00 01") + destination.packed + destination.port.to_bytes(2)
                await client.send(header + asked + b"early")
                client.socket.send(b"!", socket.MSG_OOB)
                await client.send(b"late")
                await client.send_eof()
                answer = await read_all(client)
                assert answer[:4] == bytes.fromhex("05 00 05 00")
                assert answer[12:] == b"early!late"


@pytest.mark.parametrize("header", [LOCAL, UNKNOWN, b"PROXY UNKNOWN\r\n"], ids=["LOCAL", "2, UNKNOWN", "1, UNKNOWN"])
async def test_without_a_client_it_is_the_load_balancers(
    sockets_on_mock_clock: MockClock, log: Log, header: bytes
) -> None:
    async with server_of(behind_a_balancer()) as (_, address), connect(address) as client:
        name = client.socket.getsockname()
        await client.send(header + GREETING)
        assert await read_exactly(client, 2) == WELCOME
    [line] = lines(log)
    assert f" client={name[0]}:{name[1]} " in line


def leave(client: SocketStream) -> None:
    client.socket.close()


def break_off(client: SocketStream) -> None:
    reset(client.socket)


def stay(_: SocketStream) -> None:
    pass


ENDS: list[object] = [
    pytest.param(GREETING, stay, "this is no PROXY protocol header; it looks like SOCKS5", "bad_request", id="SOCKS5"),
    pytest.param(b"PROXY TCP4 a b 1 2\r\n", stay, "malformed: an address in it", "bad_request", id="malformed"),
    pytest.param(b"PROXY " + b"x" * 101, stay, "a header of version 1 has at most 107", "bad_request", id="too long"),
    pytest.param(b"", leave, "the connection ended before the header was complete", "no_request", id="nothing"),
    pytest.param(HEADER[:-1], leave, "the connection ended before the header was complete", "no_request", id="a part"),
    pytest.param(HEADER[:-1], break_off, "it reset the connection", "no_request", id="reset"),
    pytest.param(HEADER[:-1], stay, "no complete header (within 5 s)", "no_request", id="too slow"),
    pytest.param(LONG[:-1], stay, "no complete header (within 5 s)", "no_request", id="a long one, too slow"),
]


@pytest.mark.parametrize(("sent", "then", "outcome", "kind"), ENDS)
async def test_no_answer_without_a_header(
    sockets_on_mock_clock: MockClock,
    log: Log,
    sent: bytes,
    then: Callable[[SocketStream], None],
    outcome: str,
    kind: str,
) -> None:
    counters = Counters()
    async with server_of(behind_a_balancer(), counters) as (server, address):
        client = connect(address)
        name = client.socket.getsockname()
        await client.send(sent)
        await wait_all_tasks_blocked(0.01)
        then(client)
        if then is stay:
            with pytest.raises(trio.BrokenResourceError):
                await as_trio(client)
        await trio.sleep(6)
        assert server.admission.taken == 0
        await client.aclose()
    [line] = lines(log)
    assert line.startswith(f"id={line[3:].partition(' ')[0]} client={name[0]}:{name[1]} command=- ")
    assert "reply=- " in line
    assert 'outcome="load balancer, PROXY header: ' in line
    assert outcome in line
    assert counters.sessions.keys() == {SessionKey(None, "", OutcomeKind(kind), None)}


async def test_a_header_from_elsewhere_is_refused(sockets_on_mock_clock: MockClock, log: Log) -> None:
    """It may be any client, and could tell of any other one."""
    listener = replace(FROM_LOOPBACK, proxy_protocol=parse_sender("192.0.2.0/24"))
    counters = Counters()
    async with server_of(behind_a_balancer(listener), counters) as (server, address), connect(address) as client:
        await client.send(HEADER + GREETING)
        with pytest.raises(trio.BrokenResourceError):
            await as_trio(client)
        assert server.admission.taken == 0
    [line] = lines(log)
    assert 'outcome="load balancer, PROXY header: refused: proxy_protocol of the listener does not name' in line
    assert counters.sessions.keys() == {SessionKey(None, "", OutcomeKind.REFUSED, None)}


async def test_a_listener_without_the_key_takes_no_header(sockets_on_mock_clock: MockClock, log: Log) -> None:
    async with server_of(config_of()) as (_, address), connect(address) as client:
        await client.send(HEADER + GREETING)
        assert await read_all(client) == b""
    [line] = lines(log)
    assert "looks like a PROXY protocol header" in line


async def test_a_unix_socket(sockets_on_mock_clock: MockClock, log: Log, tmp_path: Path) -> None:
    listener = Listener(UnixPath(f"{tmp_path}/s"), proxy_protocol=Senders(unix=True))
    async with server_of(behind_a_balancer(listener)) as (_, address), echoing() as destination:
        for header in (HEADER, LOCAL):
            async with connect(address) as client:
                await client.send(header)
                await open_session(client, destination)
    assert [line.split()[1] for line in lines(log)] == [f"client={CARD}", "client=unix"]


# --- what the session knows of the client


async def test_rules_see_the_client_that_is_told(sockets_on_mock_clock: MockClock, log: Log) -> None:
    rules = (Rule(1, None, clients=parse_networks("192.0.2.0/24")),)
    async with server_of(replace(behind_a_balancer(), rules=rules)) as (_, address), echoing() as destination:
        other = encode_header(Ends(Address("198.51.100.7", 1), Address("198.51.100.9", 1080)))
        for header, reply in ((HEADER, 2), (other, 0)):
            async with connect(address) as client:
                await client.send(header)
                await greet(client)
                assert await request(client, destination) == reply


async def test_its_place_is_that_of_the_client_that_is_told(sockets_on_mock_clock: MockClock) -> None:
    async with server_of(behind_a_balancer()) as (server, address), connect(address) as client:
        await client.send(HEADER)
        await greet(client)
        assert server.admission._shares.held == {CARD.host: 1}


async def test_limits_are_those_of_the_client_that_is_told(sockets_on_mock_clock: MockClock, log: Log) -> None:
    config = replace(behind_a_balancer(), limits=Limits(sessions_per_client=1))
    other = encode_header(Ends(Address("198.51.100.7", 1), Address("198.51.100.9", 1080)))
    async with server_of(config) as (_, address), echoing() as destination, connect(address) as first:
        await first.send(HEADER)
        await open_session(first, destination)
        for header, reply in ((HEADER, 2), (other, 0)):
            async with connect(address) as client:
                await client.send(header)
                await greet(client)
                assert await request(client, destination) == reply


async def test_a_client_on_loopback_is_on_the_load_balancers_machine(
    sockets_on_mock_clock: MockClock, log: Log
) -> None:
    """So private places of ours are closed to it, though our listener is on loopback too."""
    told = Ends(Address(LOOPBACK, 1), Address(LOOPBACK, 1080))
    config = behind_a_balancer()
    closed = replace(config, server=replace(config.server, private=False))
    async with server_of(closed) as (_, address), echoing() as destination, connect(address) as client:
        await client.send(encode_header(told))
        await greet(client)
        assert await request(client, destination) == 2
    assert "is a private place of this machine" in lines(log)[0]


# --- time and room


async def test_the_clients_time_begins_behind_the_header(sockets_on_mock_clock: MockClock, log: Log) -> None:
    config = behind_a_balancer(limit=5)
    async with (
        server_of(replace(config, timeouts=with_limit(config, "handshake", 3))) as (_, address),
        connect(address) as client,
    ):
        began = trio.current_time()
        await trio.sleep(4)
        await client.send(HEADER)
        assert await read_all(client) == b""
        assert trio.current_time() - began == pytest.approx(7, abs=0.5)
    assert "no complete request (within 3 s)" in lines(log)[0]


async def test_many_without_a_header_leave_room_for_others(
    sockets_on_mock_clock: MockClock, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reception, "MOST", 3)
    async with server_of(behind_a_balancer()) as (_, address):
        silent = [connect(address) for _ in range(4)]
        await wait_all_tasks_blocked(0.01)
        async with connect(address) as client:
            await client.send(HEADER + GREETING)
            assert await is_served(client)
        for each in silent:
            await each.aclose()
    assert len([line for line in lines(log) if "ended to make room for others" in line]) == 1


async def test_for_want_of_files_the_oldest_is_ended(sockets_on_mock_clock: MockClock, log: Log) -> None:
    async with server_of(behind_a_balancer()) as (server, address), connect(address) as client:
        assert not server._make_room()
        await client.send(HEADER[:5])
        await wait_all_tasks_blocked(0.01)
        assert server._make_room()
        await wait_all_tasks_blocked(0.01)
    assert "ended to make room for others" in lines(log)[0]


async def test_a_server_that_stops_waits_for_headers_too(sockets_on_mock_clock: MockClock, log: Log) -> None:
    config = behind_a_balancer(limit=60)
    async with trio.open_nursery() as nursery, server_of(config) as (_, address):
        late, silent = connect(address), connect(address)
        await wait_all_tasks_blocked(0.01)

        async def tell_late() -> None:
            await trio.sleep(3)
            await late.send(HEADER + GREETING)
            assert await read_exactly(late, 2) == WELCOME
            await late.aclose()

        nursery.start_soon(tell_late)
    await silent.aclose()
    assert [line.partition("outcome=")[2] for line in lines(log)] == [
        '"client, request: the connection was closed during the request"',
        '"cut off: the server is stopping"',
    ]


async def test_a_header_that_comes_when_a_full_server_stops(sockets_on_mock_clock: MockClock, log: Log) -> None:
    """Nothing would give its connection a place any more."""
    config = behind_a_balancer(limit=60)
    config = replace(config, server=replace(config.server, max_sessions=1))
    async with trio.open_nursery() as nursery, echoing() as destination, server_of(config) as (_, address):
        session, late = connect(address), connect(address)
        await session.send(HEADER)
        await open_session(session, destination)

        async def tell_late() -> None:
            began = trio.current_time()
            await trio.sleep(3)
            await late.send(HEADER + GREETING)
            with pytest.raises(trio.BrokenResourceError):
                await as_trio(late)
            assert trio.current_time() - began < 4
            await late.aclose()
            await session.aclose()

        await wait_all_tasks_blocked(0.01)
        nursery.start_soon(tell_late)
    assert len(lines(log)) == 1


# --- helpers


async def request(client: SocketStream, destination: Address) -> int:
    await client.send(bytes.fromhex("05 01 00 01") + destination.packed + destination.port.to_bytes(2))
    return (await read_exactly(client, 10))[1]


async def as_trio(client: SocketStream) -> bytes:
    """Read to the end; a reset is an error."""
    try:
        return await read_all(client)
    except Exception as error:
        raise trio.BrokenResourceError from error


def lines(log: Log) -> list[str]:
    return [line for line in said(log, logging.INFO) if line.startswith("id=")]
