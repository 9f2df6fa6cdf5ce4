"""Errors of this machine in the middle of a relay: both sides are reset at once, and the poller goes on."""

from __future__ import annotations

import errno
import os
import socket
import stat

import pytest
import trio
from anyio import BrokenResourceError, EndOfStream
from anyio.abc import ByteStream

from chainsocks.net.stream import SocketStream
from chainsocks.relay.pump import CHUNK
from tests.net.sockets import read_exactly
from tests.relay.ways import WAYS, Direction, Relaying, Way, noise, relaying

pytestmark = pytest.mark.parametrize("row", [pytest.param(way, id=way.name) for way in WAYS if way.name == "flow, tcp"])

ERRORS = pytest.mark.parametrize(
    "error",
    [OSError(errno.EIO, "input/output error"), OSError(errno.EPIPE, "broken pipe"), MemoryError()],
    ids=["EIO", "EPIPE", "no memory"],
)


def fail(monkeypatch: pytest.MonkeyPatch, method: str, stream: ByteStream, error: Exception) -> None:
    """Have a method of the stream's socket fail."""
    assert isinstance(stream, SocketStream)
    broken, original = stream.socket, getattr(socket.socket, method)

    def call(sock: socket.socket, *arguments: object) -> object:
        if sock is broken:
            raise error
        return original(sock, *arguments)

    monkeypatch.setattr(socket.socket, method, call)


async def is_reset(stream: ByteStream) -> bool:
    """Tell a reset from an end, at the far end of a line."""
    try:
        while True:
            await stream.receive()
    except BrokenResourceError:
        return True
    except EndOfStream:
        return False


async def assert_reset(running: Relaying) -> None:
    with trio.fail_after(20):
        await running.ended.wait()
    for line in (running.client, running.upstream):
        await line.near.aclose()  # as a session does behind its relay
        assert await is_reset(line.far)


@ERRORS
@pytest.mark.parametrize("out", [False, True], ids=["into the pipe", "out of the pipe"])
async def test_a_splice_that_fails(
    way: Way, direction: Direction, monkeypatch: pytest.MonkeyPatch, error: Exception, *, out: bool
) -> None:
    splice = os.splice

    def call(source: int, *arguments: int, **options: int) -> int:
        if stat.S_ISFIFO(os.fstat(source).st_mode) is out:
            raise error
        return splice(source, *arguments, **options)

    monkeypatch.setattr("chainsocks.relay.flow.os.splice", call)
    async with relaying(way, may_fail=(MemoryError,)) as running:
        await direction.source(running).far.send(noise(2 * CHUNK))
        await assert_reset(running)


@ERRORS
async def test_a_shutdown_that_fails(
    way: Way, direction: Direction, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async with relaying(way, may_fail=(MemoryError,)) as running:
        await direction.source(running).far.send(b"all")
        assert await read_exactly(direction.sink(running).far, 3) == b"all"
        fail(monkeypatch, "shutdown", direction.sink(running).near, error)
        await direction.source(running).far.send_eof()
        await assert_reset(running)


@pytest.mark.parametrize("method", ["recv", "send"])
async def test_no_memory_in_a_callback(
    way: Way, direction: Direction, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    async with relaying(way, may_fail=(MemoryError,)) as running, relaying(way, may_fail=(MemoryError,)) as other:
        broken = direction.source(running) if method == "recv" else direction.sink(running)
        fail(monkeypatch, method, broken.near, MemoryError())
        await direction.source(running).far.send(b"lost")
        await assert_reset(running)
        await direction.source(other).far.send(b"fine")
        assert await read_exactly(direction.sink(other).far, 4) == b"fine"
