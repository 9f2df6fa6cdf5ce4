"""The two lines of the manual for websockets: its clients take our sockets."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

pytest.importorskip("websockets")

import websockets
import websockets.sync.client
import websockets.sync.server

import chainsocks
from tests.background import PATIENCE
from tests.certificates import authority
from tests.integrations.conftest import World


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    def echo(connection: websockets.sync.server.ServerConnection) -> None:
        for message in connection:
            connection.send(str(message).upper())

    with websockets.sync.server.serve(echo, "127.0.0.1", 0, ssl=authority().server("localhost")) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.socket.getsockname()[1]
        server.shutdown()
        thread.join()


def test_under_asyncio(world: World, port: int) -> None:
    async def go() -> None:
        sock = await chainsocks.connect_socket("localhost", port, chain=world.plain)
        async with websockets.connect(f"wss://localhost:{port}/", sock=sock, ssl=authority().client()) as connection:
            await connection.send("hello")
            assert await connection.recv() == "HELLO"

    asyncio.run(asyncio.wait_for(go(), PATIENCE))


@pytest.mark.parametrize("way", ["plain", "secured"])
def test_blocking(world: World, port: int, way: str) -> None:
    sock = chainsocks.sync.connect("localhost", port, chain=getattr(world, way))
    with websockets.sync.client.connect(f"wss://localhost:{port}/", sock=sock, ssl=authority().client()) as connection:
        connection.send("hello")
        assert connection.recv(PATIENCE) == "HELLO"
