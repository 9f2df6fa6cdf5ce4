"""What the library gives the dial: anyio's connects, lookups, listeners, scopes and time, under both backends."""

from __future__ import annotations

import socket
from itertools import pairwise
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import SocketStream

from chainsocks.client.network import AnyioNetwork
from chainsocks.client.raw import RawNetwork
from chainsocks.network import Network
from chainsocks.protocol.address import Address, parse_unix_address
from tests.client.running import run


def test_a_connect_meets_a_listener(backend: str) -> None:
    async def go() -> None:
        network: Network = AnyioNetwork()
        listener = await network.listen(Address("127.0.0.1", 0))
        async with await network.open_tcp(listener.address) as caller:
            called, peer = await listener.accept()
            async with called:
                assert peer.host == "127.0.0.1"
                await caller.send(b"hello")
                assert await called.receive() == b"hello"
        await listener.aclose()
        with pytest.raises(OSError):  # noqa: PT011  (what it says is each backend's own)
            await network.open_tcp(listener.address)

    run(backend, go)


def test_a_connection_to_itself_is_refused(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        sock.connect(sock.getsockname())
        address = Address(*sock.getsockname())

        async def connect_tcp(*_: object, **__: object) -> SocketStream:
            return await SocketStream.from_socket(sock)

        monkeypatch.setattr(anyio, "connect_tcp", connect_tcp)
        with pytest.raises(ConnectionRefusedError):
            await AnyioNetwork().open_tcp(address)
        with socket.socket() as again:
            again.bind((address.host, address.port))  # no TIME_WAIT keeps the port

    run(backend, go)


def test_names_are_looked_up(backend: str) -> None:
    async def go() -> None:
        assert await AnyioNetwork().resolve(Address("near.example", 80)) == [Address("127.0.0.1", 80)]
        with pytest.raises(socket.gaierror):
            await AnyioNetwork().resolve(Address("far.example", 80))

    run(backend, go)


def test_addresses_are_looked_up(backend: str) -> None:
    async def go() -> None:
        assert await AnyioNetwork().name_of(Address("127.0.0.1", 80))

    run(backend, go)


def test_the_way_to_a_neighbour_begins_at_home() -> None:
    assert AnyioNetwork().local_address(Address("127.0.0.1", 80)) == Address("127.0.0.1", 0)


def test_scopes_and_time_are_the_backends(backend: str) -> None:
    async def go() -> None:
        network = AnyioNetwork()
        assert anyio.current_time() <= network.now() <= anyio.current_time()
        with network.open_scope(network.now()) as scope:
            await anyio.sleep_forever()
        assert scope.cancelled_caught

    run(backend, go)


def test_a_flood_of_datagrams_does_not_hold_up_other_tasks(backend: str) -> None:
    received = 0

    def count(data: bytes, source: tuple[str, int]) -> None:
        nonlocal received
        received += 1

    async def go() -> None:
        datagrams = AnyioNetwork().open_udp("127.0.0.1")
        for _ in range(50):
            assert datagrams.send(b"spam", (datagrams.address.host, datagrams.address.port))
        async with anyio.create_task_group() as group:
            group.start_soon(datagrams.run, count)
            seen = [0]
            while seen[-1] < 50:
                await anyio.lowlevel.checkpoint()
                seen.append(received)
            group.cancel_scope.cancel()
        datagrams.close()
        assert max(after - before for before, after in pairwise(seen)) <= 2

    run(backend, go)


@pytest.mark.parametrize("kind", [AnyioNetwork, RawNetwork])
def test_a_unix_socket(backend: str, kind: type[AnyioNetwork], tmp_path: Path) -> None:
    path = tmp_path / "socket"

    async def go() -> bytes:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            async with await kind().open_tcp(parse_unix_address(f"unix:{path}")) as stream:
                accepted, _ = listener.accept()
                with accepted:
                    accepted.sendall(b"hello")
                    return await stream.receive()

    assert run(backend, go) == b"hello"
