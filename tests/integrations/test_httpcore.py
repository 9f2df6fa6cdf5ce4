"""The networks of httpcore's pools: what httpx does not use of them."""

from __future__ import annotations

import asyncio.trsock
import socket

import anyio
import pytest

pytest.importorskip("httpcore")

import httpcore

from chainsocks.integrations.httpcore import AsyncChainBackend, ChainBackend
from tests.background import PATIENCE, Script, wait_until
from tests.integrations.conftest import World

OPTIONS = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
INFOS = ("ssl_object", "client_addr", "server_addr", "socket", "is_readable", "nonsense")


def check(infos: dict[str, object], local_host: str) -> None:
    sock = infos["socket"]
    assert isinstance(sock, socket.socket | asyncio.trsock.TransportSocket)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert infos["client_addr"] == sock.getsockname()
    assert infos["server_addr"] == sock.getpeername()
    assert sock.getsockname()[0] == local_host
    assert (infos["ssl_object"], infos["is_readable"], infos["nonsense"]) == (None, False, None)


def test_a_blocking_stream(world: World) -> None:
    address = world.background.listen(Script(b"answer", b""))
    stream = ChainBackend().connect_tcp(address.host, address.port, PATIENCE, "127.0.0.5", OPTIONS)
    check({name: stream.get_extra_info(name) for name in INFOS}, "127.0.0.5")
    stream.write(b"question", PATIENCE)
    assert stream.read(100, PATIENCE) == b"answer"
    stream.write(b"leave", PATIENCE)
    wait_until(lambda: bool(stream.get_extra_info("is_readable")))
    assert stream.read(100, PATIENCE) == b""
    stream.close()
    assert stream.get_extra_info("is_readable")
    with pytest.raises(httpcore.ReadError):
        stream.read(100, PATIENCE)
    with pytest.raises(httpcore.WriteError):
        stream.write(b"more", PATIENCE)
    ChainBackend().sleep(0)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_asynchronous_stream(world: World, backend: str) -> None:
    address = world.background.listen(Script(b"answer", b""))

    async def go() -> None:
        stream = await AsyncChainBackend().connect_tcp(address.host, address.port, PATIENCE, "127.0.0.5", OPTIONS)
        check({name: stream.get_extra_info(name) for name in INFOS}, "127.0.0.5")
        await stream.write(b"question", PATIENCE)
        assert await stream.read(100, PATIENCE) == b"answer"
        with pytest.raises(httpcore.ReadTimeout):
            await stream.read(100, 0.01)
        await stream.write(b"leave", PATIENCE)
        assert await stream.read(100, PATIENCE) == b""
        await stream.aclose()
        with pytest.raises(httpcore.ReadError):
            await stream.read(100, PATIENCE)
        with pytest.raises(httpcore.WriteError):
            await stream.write(b"more", PATIENCE)
        await AsyncChainBackend().sleep(0)

    anyio.run(go, backend=backend)
