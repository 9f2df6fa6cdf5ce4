"""Clients of the control socket that went wrong: a well-behaved one is answered beside them."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from chainsocks.control.ask import Asker
from chainsocks.control.messages import Request, What
from chainsocks.control.place import open_control_socket
from chainsocks.control.serve import TAKE_LIMIT
from chainsocks.control.wire import encode_request
from chainsocks.server.control import IDLE_TIMEOUT, MOST_CLIENTS, serve_control_socket
from tests.control.answering import short_folder
from tests.control.fleets import STATUS, FakeFleet, some_sessions
from tests.net.sockets import descriptors


@pytest.fixture
def path() -> Iterator[Path]:
    with short_folder() as folder:
        yield folder / "control"


@asynccontextmanager
async def serving(path: Path, fleet: FakeFleet) -> AsyncIterator[None]:
    with open_control_socket(str(path)) as sock:
        assert sock
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_control_socket, sock, fleet)
            yield
            nursery.cancel_scope.cancel()


async def ask_status(path: Path) -> None:
    asker = Asker(await trio.open_unix_socket(str(path)))
    assert await asker.status() == STATUS
    await asker.aclose()


async def is_connected(client: trio.SocketStream) -> bool:
    with trio.move_on_after(1):
        try:
            while True:
                await client.send_all(b"\n")
        except trio.BrokenResourceError:
            return False
    return True


async def test_hundreds_of_silent_clients(sockets_on_mock_clock: MockClock, path: Path) -> None:
    async with serving(path, FakeFleet()):
        with ExitStack() as stack:
            for _ in range(10):
                for _ in range(MOST_CLIENTS):
                    stack.enter_context(socket.socket(socket.AF_UNIX)).connect(str(path))
                await trio.sleep(0.01)
            await ask_status(path)
            in_use = descriptors()
            await trio.sleep(IDLE_TIMEOUT + 1)
            assert len(in_use) - len(descriptors()) >= MOST_CLIENTS - 1
            await ask_status(path)


async def test_a_client_that_reads_nothing(sockets_on_mock_clock: MockClock, path: Path) -> None:
    async with serving(path, FakeFleet(some_sessions(5000))), await trio.open_unix_socket(str(path)) as stuck:
        with trio.move_on_after(5):
            while True:
                await stuck.send_all(encode_request(Request(what=What.SESSIONS)))
        await ask_status(path)
        await trio.sleep(TAKE_LIMIT)
        assert not await is_connected(stuck)
        await ask_status(path)


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", b"x" * 10_000_000, bytes(range(256)) * 100])
async def test_garbage(sockets_on_mock_clock: MockClock, path: Path, garbage: bytes) -> None:
    async with serving(path, FakeFleet()):
        async with await trio.open_unix_socket(str(path)) as client:
            try:
                await client.send_all(garbage)
                await client.send_eof()
                while await client.receive_some():
                    pass
            except trio.BrokenResourceError:
                pass
        await ask_status(path)


async def test_a_client_that_leaves_in_the_middle(sockets_on_mock_clock: MockClock, path: Path) -> None:
    async with serving(path, FakeFleet(some_sessions(5000))):
        for _ in range(50):
            client = await trio.open_unix_socket(str(path))
            await client.send_all(encode_request(Request(what=What.SESSIONS)) * 2)
            await client.aclose()
        await ask_status(path)
