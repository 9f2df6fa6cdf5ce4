"""The relay of one plain HTTP exchange: how much it holds, and how fast it may be; sessions have tests of the rest."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from chainsocks.limits.bandwidth import Bandwidth, Share
from chainsocks.observe.record import Traffic
from chainsocks.protocol.http_proxy import HttpServerHandshake
from chainsocks.relay.http_relay import EARLY, HttpRelay
from chainsocks.relay.pump import CHUNK
from chainsocks.relay.relay import Outcome
from tests.memory import MemoryStream, memory_stream_pair

SIZE = 1_000_000
ROOM = 10_000
"""Bytes that a stream takes."""

GET = b"GET http://example.org/ HTTP/1.1\r\nHost: x\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE


@asynccontextmanager
async def exchange(
    request: bytes, share: Share | None = None
) -> AsyncIterator[tuple[MemoryStream, MemoryStream, HttpRelay]]:
    """Relay a request; yield what the client and the server have, and the relay, which has ended after the block."""
    handshake = HttpServerHandshake()
    handshake.receive_data(request)
    assert handshake.exchange
    (client, near_client), (server, near_server) = memory_stream_pair(ROOM), memory_stream_pair(ROOM)
    off = math.inf
    relay = HttpRelay(near_client, near_server, Traffic(), handshake.exchange, share, idle=off, half_close=off)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(relay.run, nursery.cancel_scope, handshake.trailing_data)
        yield client, server, relay


async def send_until_stuck(stream: MemoryStream, data: bytes) -> int:
    sent = 0
    with trio.move_on_after(1):
        while sent < len(data):
            await stream.send(data[sent : sent + 1000])
            sent += 1000
    return sent


@pytest.mark.parametrize("direction", ["response", "request"])
async def test_what_is_not_taken_is_not_read(direction: str, autojump_clock: MockClock) -> None:
    length = b"Content-Length: %d\r\n\r\n" % (SIZE if direction == "request" else 0)
    async with exchange(GET.replace(b"GET", b"PUT") + length) as (client, server, relay):
        if direction == "response":
            await server.receive()
            await server.send(ANSWER)
            sent, broken = await send_until_stuck(server, bytes(SIZE)), client
        else:
            sent, broken = await send_until_stuck(client, bytes(SIZE)), server
        assert sent < 2 * ROOM + 2 * CHUNK
        broken.reset()
    assert relay.outcome is (Outcome.CLIENT_BROKEN if direction == "response" else Outcome.UPSTREAM_BROKEN)


@pytest.mark.parametrize("direction", ["response", "request"])
async def test_a_body_in_bytes_arrives(direction: str) -> None:
    chunked, chunks = b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 2000 + b"0\r\n\r\n"
    request = GET.replace(b"GET", b"PUT") + chunked if direction == "request" else GET + b"\r\n"
    async with exchange(request) as (client, server, relay), trio.open_nursery() as nursery:
        source, sink = (server, client) if direction == "response" else (client, server)
        got = await server.receive() if direction == "response" else b""
        body = b"HTTP/1.1 200 OK\r\n" + chunked + chunks if direction == "response" else chunks
        nursery.start_soon(source.send, body)
        while not got.endswith(b"\r\n0\r\n\r\n"):
            got += await sink.receive()
        if direction == "request":
            await server.send(ANSWER.replace(b"%d" % SIZE, b"0"))
    assert got.count(b"x") - got.count(b"example") == 2000
    assert relay.outcome is Outcome.FINISHED


async def test_further_requests_are_read_so_far(autojump_clock: MockClock) -> None:
    async with exchange(GET + b"\r\n") as (client, server, relay):
        assert EARLY < await send_until_stuck(client, bytes(SIZE)) < EARLY + CHUNK + 2 * ROOM
        await server.receive()
        await server.send(ANSWER.replace(b"%d" % SIZE, b"0"))
    assert relay.outcome is Outcome.FINISHED


@pytest.mark.parametrize("direction", ["response", "request"])
async def test_the_bandwidth_is_limited(direction: str, autojump_clock: MockClock) -> None:
    bandwidth = Bandwidth(trio.current_time, lambda _: None)
    bandwidth.change(100_000, None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bandwidth.run)
        length = b"Content-Length: %d\r\n\r\n" % (SIZE if direction == "request" else 0)
        share = bandwidth.share_of("carol")
        async with exchange(GET.replace(b"GET", b"PUT") + length, share) as (client, server, relay):
            source, sink = (server, client) if direction == "response" else (client, server)
            if direction == "response":
                await server.receive()
                await server.send(ANSWER)
            async with trio.open_nursery() as sending:
                sending.start_soon(source.send, bytes(SIZE))
                got = 0
                while got < SIZE:
                    got += len(await sink.receive())
            if direction == "request":
                await server.send(ANSWER.replace(b"%d" % SIZE, b"0"))
        assert relay.outcome is Outcome.FINISHED
        assert trio.current_time() == pytest.approx(SIZE / 100_000, rel=0.1)
        assert share
        assert share.users == 0
        nursery.cancel_scope.cancel()
