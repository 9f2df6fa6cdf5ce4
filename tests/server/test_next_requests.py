"""Connections of HTTP clients between two requests: how long they wait, what ends them, and what they hold."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import fields, replace
from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from chainsocks.config.choices import NamesOnly
from chainsocks.config.models import Config, Timeouts
from chainsocks.net.stream import SocketStream
from chainsocks.observe.counters import Counters
from chainsocks.protocol.address import Address
from chainsocks.server import next_requests
from chainsocks.server.server import Server, open_server
from tests.net.sockets import LOOPBACK, read_all, read_exactly
from tests.server.serving import config_of, connect, said

Log = pytest.LogCaptureFixture

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def waiting(seconds: float, max_sessions: int = 100) -> Config:
    config = config_of(max_sessions=max_sessions)
    limits = {each.name: None for each in fields(Timeouts)} | {"grace": 5, "reply": 1, "next_request": seconds}
    return replace(config, timeouts=Timeouts(**limits))


@asynccontextmanager
async def web() -> AsyncIterator[Address]:
    """A web server that answers one request on each connection."""

    async def serve(stream: trio.SocketStream) -> None:
        heard = b""
        while b"\r\n\r\n" not in heard:
            heard += await stream.receive_some()
        await stream.send_all(ANSWER)

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host=LOOPBACK))
        yield Address(LOOPBACK, listener.socket.getsockname()[1])
        nursery.cancel_scope.cancel()


async def fetch(client: SocketStream, at: Address) -> None:
    await client.send(b"GET http://%b/ HTTP/1.1\r\nHost: x\r\n\r\n" % str(at).encode())
    assert await read_exactly(client, len(ANSWER)) == ANSWER


@asynccontextmanager
async def server_of(config: Config) -> AsyncIterator[tuple[Server, str]]:
    async with open_server(config, counters=Counters()) as server:
        yield server, str(server.listeners[0])


async def settled(server: Server, waiting: int) -> None:
    """Wait until so many connections wait, and no session runs."""
    while len(server._next_requests) != waiting or server.admission.taken:
        await trio.lowlevel.checkpoint()


async def test_a_connection_holds_no_place_while_it_waits(sockets_on_mock_clock: MockClock, log: Log) -> None:
    async with server_of(waiting(10, max_sessions=1)) as (server, address), web() as at:
        async with connect(address) as one, connect(address) as other:
            for _ in range(3):
                for client in (one, other):
                    await fetch(client, at)
            await settled(server, 2)
        await settled(server, 0)
    assert len([line for line in said(log, logging.INFO) if line.startswith("id=")]) == 6


@pytest.mark.parametrize(("sent", "sessions"), [(b"\r\n", 3), (b"\r", 1), (b"\r\n\r\n", 2)])
async def test_an_empty_line_is_no_request(
    sockets_on_mock_clock: MockClock, log: Log, sent: bytes, sessions: int
) -> None:
    """Old clients send one behind a request: with it, or a little later."""
    async with server_of(waiting(10)) as (server, address), web() as at, connect(address) as client:
        await fetch(client, at)
        await settled(server, 1)
        client.avoid_delay()
        await client.send(sent)
        if sent == b"\r\n":
            for _ in range(100):  # the clock does not jump meanwhile
                await trio.lowlevel.checkpoint()
                assert not server.admission.taken
            await client.send(b"GET http://%b/ HTTP/1.1\r\nHost: x\r\n\r\n\r\n" % str(at).encode())
            assert await read_exactly(client, len(ANSWER)) == ANSWER
            await settled(server, 1)
            await fetch(client, at)
            await settled(server, 1)
    lines = [line for line in said(log, logging.INFO) if line.startswith("id=")]
    assert len(lines) == sessions


async def test_it_waits_so_long(sockets_on_mock_clock: MockClock) -> None:
    async with server_of(waiting(10)) as (server, address), web() as at, connect(address) as client:
        await fetch(client, at)
        await settled(server, 1)
        began = trio.current_time()
        assert await read_all(client) == b""
        assert trio.current_time() - began == pytest.approx(10, abs=0.1)
        await settled(server, 0)


async def test_a_server_that_stops_closes_it_at_once(sockets_on_mock_clock: MockClock) -> None:
    async with web() as at:
        async with server_of(waiting(1000)) as (server, address):
            client = connect(address)
            await fetch(client, at)
            await settled(server, 1)
            began = trio.current_time()
        assert trio.current_time() == began
        async with client:
            assert await read_all(client) == b""


async def test_a_session_that_ends_while_the_server_stops_keeps_nothing(sockets_on_mock_clock: MockClock) -> None:
    answering = trio.Event()

    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await answering.wait()
        await stream.send_all(ANSWER)

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host=LOOPBACK))
        at = Address(LOOPBACK, listener.socket.getsockname()[1])
        async with server_of(waiting(1000)) as (_, address):
            client = connect(address)
            await client.send(b"GET http://%b/ HTTP/1.1\r\nHost: x\r\n\r\n" % str(at).encode())
            await wait_all_tasks_blocked(0.01)
            answering.set()
        async with client:
            assert await read_all(client) == ANSWER
        nursery.cancel_scope.cancel()


async def test_a_listener_that_is_gone_has_no_further_requests(sockets_on_mock_clock: MockClock) -> None:
    async with server_of(waiting(1000)) as (server, address), web() as at, connect(address) as client:
        await fetch(client, at)
        await settled(server, 1)
        [opened] = server.listeners
        listener = replace(opened.listener, names_only=NamesOnly.REFUSE)
        server.change_listeners([replace(opened, listener=listener)])
        await client.send(b"GET http://%b/ HTTP/1.1\r\nHost: x\r\n\r\n" % str(at).encode())
        assert await read_all(client) == b""


async def test_for_one_more_the_oldest_is_closed(
    sockets_on_mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(next_requests, "waiting_that_fit", lambda limit: 2)
    async with server_of(waiting(1000)) as (server, address), web() as at:
        clients = list[SocketStream]()
        for waiting_now in (1, 2, 2):
            clients.append(connect(address))
            await fetch(clients[-1], at)
            await settled(server, waiting_now)
        assert await read_all(clients[0]) == b""
        await fetch(clients[1], at)
        await settled(server, 2)
        assert server._make_room()
        await settled(server, 1)
        assert server._make_room()
        await settled(server, 0)
        for client in clients:
            await client.aclose()
