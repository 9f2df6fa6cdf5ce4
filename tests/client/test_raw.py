"""Bare sockets as streams, under asyncio and trio."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream
from anyio.abc import SocketAttribute

from chainsocks.client.raw import RawNetwork, RawStream
from chainsocks.network import reset_on_close
from chainsocks.protocol.address import Address
from tests.client.running import run


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[RawStream, RawStream]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = await RawNetwork().open_tcp(Address(*listener.getsockname()))
        assert isinstance(near, RawStream)
        sock, _ = listener.accept()
        sock.settimeout(0)
        far = RawStream(sock)
        try:
            yield near, far
        finally:
            await near.aclose()
            await far.aclose()


def test_bytes_ends_and_attributes(backend: str) -> None:
    async def go() -> None:
        async with connected() as (near, far), anyio.create_task_group() as group:
            group.start_soon(near.send, b"x" * 5_000_000)
            size = 0
            while size < 5_000_000:
                size += len(await far.receive())
            await near.send_eof()
            with pytest.raises(EndOfStream):
                await far.receive()
            await far.send(b"answer")
            assert await near.receive(3) == b"ans"
            assert near.extra(SocketAttribute.remote_address) == far.extra(SocketAttribute.local_address)
            assert near.extra(SocketAttribute.family) is socket.AF_INET
            assert near.extra(SocketAttribute.raw_socket) is near.socket

    run(backend, go)


def test_the_rest_stays_in_the_socket(backend: str) -> None:
    async def go() -> None:
        async with connected() as (near, far):
            await far.send(b"reply and more")
            assert await near.receive(5) == b"reply"
            await anyio.wait_readable(near.socket)
            with near.detach() as sock:
                assert sock.recv(100) == b" and more"
                with pytest.raises(ClosedResourceError):
                    await near.receive()

    run(backend, go)


def test_a_reset_breaks_it(backend: str) -> None:
    async def go() -> None:
        async with connected() as (near, far):
            reset_on_close(far)
            await far.aclose()
            with pytest.raises(BrokenResourceError):
                await near.receive()
            with pytest.raises(BrokenResourceError):
                await near.send(b"more")
            with pytest.raises(BrokenResourceError):
                await near.send_eof()

    run(backend, go)


def test_a_reset_that_a_send_has_seen_is_no_regular_end(backend: str) -> None:
    """The kernel reports it once."""

    async def go() -> None:
        async with connected() as (near, far):
            reset_on_close(far)
            await far.aclose()
            with pytest.raises(BrokenResourceError):
                await near.send(b"x")
            with pytest.raises(BrokenResourceError):
                await near.receive()

    run(backend, go)


def test_closing_wakes_a_task_that_waits(backend: str) -> None:
    async def go() -> None:
        async with connected() as (near, _), anyio.create_task_group() as group:

            @group.start_soon
            async def wait() -> None:
                with pytest.raises(ClosedResourceError):
                    await near.receive()

            await anyio.wait_all_tasks_blocked()
            await near.aclose()
            await near.aclose()
            with pytest.raises(ClosedResourceError):
                await near.send(b"late")

    run(backend, go)


def test_connecting(backend: str) -> None:
    async def go() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            with pytest.raises(ConnectionRefusedError):
                await RawNetwork().open_tcp(Address(*taken.getsockname()))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            stream = await RawNetwork(Address("127.0.0.9", 0)).open_tcp(Address(*listener.getsockname()))
            assert stream.extra(SocketAttribute.local_address)[0] == "127.0.0.9"
            await stream.aclose()

    run(backend, go)


def test_a_socket_that_connects_to_itself_is_refused(backend: str) -> None:
    async def go() -> None:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            sock.settimeout(0)
            stream = RawStream(sock)
            with pytest.raises(ConnectionRefusedError):
                await stream.connect(sock.getsockname())

    run(backend, go)
