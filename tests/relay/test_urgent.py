"""Urgent data (RFC 6093) through a relay: neither an end nor a stop, and no byte of it is lost."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from chainsocks.net.stream import SocketStream
from chainsocks.relay.pump import CHUNK
from chainsocks.relay.relay import Outcome
from chainsocks.sockets import keep_urgent
from tests.net.sockets import read_all, read_exactly
from tests.relay.ways import WAYS, Direction, Line, Relaying, Way, digest, noise, relaying

pytestmark = pytest.mark.parametrize("row", [pytest.param(way, id=way.name) for way in WAYS if "tcp" in way.name])

SIZES = [1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 2 * 1024 * 1024 + 7]
"""Bytes before the mark: copied, on the border, spliced in one step and in several."""

TAIL = b"ten bytes."


@asynccontextmanager
async def patience() -> AsyncIterator[None]:
    """Fail instead of waiting for a relay that stalls."""
    with trio.fail_after(20):
        yield


@asynccontextmanager
async def urgent_relaying(way: Way) -> AsyncIterator[Relaying]:
    """Relay between sockets that are like those of a server."""
    async with relaying(way) as running:
        for line in (running.client, running.upstream):
            assert isinstance(line.near, SocketStream)
            keep_urgent(line.near.socket)
        yield running


async def send_urgent(line: Line, byte: bytes) -> None:
    """Send one byte as the urgent one."""
    assert isinstance(line.far, SocketStream)
    while True:
        try:
            line.far.socket.send(byte, socket.MSG_OOB)
        except BlockingIOError:
            await trio.lowlevel.wait_writable(line.far.socket)
        else:
            return


def receiver(nursery: trio.Nursery, running: Relaying, direction: Direction) -> list[bytes]:
    """Read everything that comes out, in the background."""
    received: list[bytes] = []

    async def read() -> None:
        received.append(await read_all(direction.sink(running).far))

    nursery.start_soon(read)
    return received


@pytest.mark.parametrize("size", SIZES)
async def test_an_end_right_behind_urgent_data(way: Way, direction: Direction, size: int) -> None:
    data = noise(size)
    async with urgent_relaying(way) as running, trio.open_nursery() as nursery:
        received = receiver(nursery, running, direction)
        source = direction.source(running).far
        await source.send(data)
        await send_urgent(direction.source(running), b"!")
        await source.send(TAIL)
        await source.send_eof()
        await direction.back.source(running).far.send_eof()
        async with patience():
            assert await running.outcome() is Outcome.FINISHED
    assert digest(received[0]) == digest(data + b"!" + TAIL)


@pytest.mark.parametrize("size", SIZES)
async def test_a_stream_goes_on_behind_urgent_data(way: Way, direction: Direction, size: int) -> None:
    data = noise(size)
    async with urgent_relaying(way) as running, patience():
        source, sink = direction.source(running).far, direction.sink(running).far
        for _ in range(3):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(source.send, data)
                assert digest(await read_exactly(sink, size)) == digest(data)
            await wait_all_tasks_blocked()
            await send_urgent(direction.source(running), b"!")
            await source.send(TAIL)
            assert await read_exactly(sink, 1 + len(TAIL)) == b"!" + TAIL
        assert not running.ended.is_set()


@pytest.mark.parametrize("out", [False, True], ids=["into the pipe", "out of the pipe"])
@pytest.mark.parametrize("number", [0, errno.EAGAIN, errno.ENOMEM], ids=["nothing", "EAGAIN", "ENOMEM"])
async def test_splice_alone_ends_and_stalls_nothing(
    way: Way, direction: Direction, monkeypatch: pytest.MonkeyPatch, number: int, *, out: bool
) -> None:
    """Every second call moves nothing though it could, as for lack of memory."""
    splice = os.splice
    calls = 0

    def hesitate(source: int, sink: int, count: int, **options: int) -> int:
        nonlocal calls
        if stat.S_ISFIFO(os.fstat(source).st_mode) is out:
            calls += 1
            if calls % 2:
                if number:
                    raise OSError(number, os.strerror(number))
                return 0
        return splice(source, sink, count, **options)

    monkeypatch.setattr("chainsocks.relay.flow.os.splice", hesitate)
    data = noise(3 * 1024 * 1024 + 5)
    async with urgent_relaying(way) as running, trio.open_nursery() as nursery:
        received = receiver(nursery, running, direction)
        source = direction.source(running).far
        await source.send(data)
        await source.send_eof()
        await direction.back.source(running).far.send_eof()
        async with patience():
            assert await running.outcome() is Outcome.FINISHED
    assert digest(received[0]) == digest(data)
