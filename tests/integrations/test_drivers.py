"""Real servers behind three hops: redis by its driver, and dnspython's messages over our datagrams."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

pytest.importorskip("redis")
pytest.importorskip("dns")

import dns.asyncquery
import dns.message
import dns.rrset
import redis.asyncio
from dns._asyncbackend import DatagramSocket

import chainsocks
from chainsocks import Chain, Hop
from tests.background import PATIENCE
from tests.e2e.programs import SocketAddress, find_program, listening
from tests.integrations.conftest import World


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SocketAddress]:
    program, folder = find_program("redis-server", "redis-server"), tmp_path_factory.mktemp("redis")

    def command(address: SocketAddress) -> list[str | Path]:
        options = {
            "--bind": address[0],
            "--port": str(address[1]),
            "--dir": str(folder),
            "--save": "",
            "--appendonly": "no",
        }
        return [program, *(word for option in options.items() for word in option)]

    with listening(command) as address:
        yield address


@pytest.mark.parametrize("way", ["plain", "secured"])
def test_a_driver_through_a_port_that_leads_to_its_server(world: World, redis_server: SocketAddress, way: str) -> None:
    async def go() -> None:
        async with (
            chainsocks.forward(*redis_server, chain=getattr(world, way)) as address,
            redis.asyncio.Redis(host=address.host, port=address.port) as client,
        ):
            await client.set("key", b"x" * 100_000)
            assert await client.get("key") == b"x" * 100_000

    asyncio.run(asyncio.wait_for(go(), PATIENCE))


@pytest.mark.parametrize("way", ["plain", "secured"])
def test_a_driver_whose_connections_are_sockets_of_ours(world: World, redis_server: SocketAddress, way: str) -> None:
    class Connection(redis.Connection):
        def _connect(self) -> socket.socket:
            return chainsocks.sync.connect(self.host, self.port, chain=getattr(world, way), timeout=PATIENCE)

    pool = redis.ConnectionPool(connection_class=Connection, host=redis_server[0], port=redis_server[1])
    with redis.Redis(connection_pool=pool) as client:
        client.set("key", b"value")
        assert client.get("key") == b"value"
    pool.disconnect()


class Datagrams(DatagramSocket):
    """What dnspython wants of a socket, on one of ours."""

    def __init__(self, udp: chainsocks.UDPAssociation) -> None:
        super().__init__(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp = udp

    async def sendto(self, what: bytes, destination: tuple[str, int], timeout: float | None) -> int:
        with anyio.fail_after(timeout):
            await self._udp.sendto(what, *destination)
        return len(what)

    async def recvfrom(self, size: int, timeout: float | None) -> tuple[bytes, tuple[str, int]]:
        with anyio.fail_after(timeout):
            return await self._udp.receive()


@contextmanager
def name_server() -> Iterator[tuple[str, int]]:
    """Answer one question with an address."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(PATIENCE)

        def answer() -> None:
            data, source = sock.recvfrom(4096)
            reply = dns.message.make_response(dns.message.from_wire(data))
            reply.answer.append(dns.rrset.from_text("far.example.", 60, "IN", "A", "192.0.2.7"))
            sock.sendto(reply.to_wire(), source)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield sock.getsockname()
        finally:
            thread.join()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_dnspython_on_our_datagrams(world: World, backend: str) -> None:
    chain = Chain(*(f"socks5://{hop.address}" for hop in world.plain.hops if isinstance(hop, Hop)))

    async def go() -> None:
        question = dns.message.make_query("far.example.", "A")
        with name_server() as (host, port):
            async with await chainsocks.open_udp(chain=chain, timeout=PATIENCE) as udp:
                reply = await dns.asyncquery.udp(question, host, PATIENCE, port, sock=Datagrams(udp))
        assert str(reply.answer[0][0]) == "192.0.2.7"

    anyio.run(go, backend=backend)
