"""Datagrams by the client library, under asyncio and under trio, over real sockets and through servers of ours."""

from __future__ import annotations

import socket

import anyio
import anyio.lowlevel
import pytest
from anyio import BrokenResourceError, ClosedResourceError

import chainsocks
from chainsocks import Address, Chain, Hop, HopProtocol, Resolve, Udp, datagrams
from chainsocks.client.network import AnyioNetwork
from chainsocks.config.hops import parse_hop_url
from tests.background import Background, Script
from tests.client.running import run
from tests.client.udp_peer import answering


@pytest.fixture(scope="module")
def hops(background: Background) -> list[str]:
    return [f"socks5://{background.proxy()}" for _ in range(3)]


@pytest.mark.parametrize("count", [0, 1, 2, 3])
@pytest.mark.parametrize("from_elsewhere", [False, True], ids=["", "and a stranger"])
def test_there_and_back(backend: str, hops: list[str], count: int, from_elsewhere: bool) -> None:  # noqa: FBT001
    async def go() -> None:
        with answering(from_elsewhere=from_elsewhere) as there:
            async with await chainsocks.open_udp(chain=Chain(*hops[:count])) as association:
                for payload in (b"first", b"", b"x" * 1000):
                    await association.sendto(payload, there.host, there.port)
                    assert await association.receive() == (payload.upper(), (there.host, there.port))

    run(backend, go)


def test_ipv4_and_ipv6_from_one(backend: str, hops: list[str]) -> None:
    async def go() -> None:
        with answering() as four, answering("::1") as six:
            for chain in (chainsocks.DIRECT, Chain(hops[0])):
                async with await chainsocks.open_udp(chain=chain) as association:
                    for there in (four, six):
                        await association.sendto(b"hello", there.host, there.port)
                        assert await association.receive() == (b"HELLO", (there.host, there.port))

    run(backend, go)


def test_names_are_resolved_once_where_no_hop_resolves_them(backend: str, hops: list[str], asked: list[bytes]) -> None:
    address = parse_hop_url(hops[0]).address
    looking = Chain(Hop("local", HopProtocol.SOCKS5, address, resolve=Resolve.LOCAL))

    async def go() -> None:
        with answering() as there:
            for chain in (chainsocks.DIRECT, looking):
                async with await chainsocks.open_udp(chain=chain) as association:
                    for _ in range(3):
                        await association.sendto(b"hello", "near.example", there.port)
                        assert await association.receive() == (b"HELLO", (there.host, there.port))
                    with pytest.raises(chainsocks.ConnectError, match=r"far\.example:9, name lookup: Name or service"):
                        await association.sendto(b"hello", "far.example", 9)

    run(backend, go)
    assert asked == [b"near.example", b"far.example"] * 2


def test_a_dead_first_address_of_a_name_does_not_stick(
    backend: str, hops: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(_: AnyioNetwork, name: Address) -> list[Address]:
        await anyio.lowlevel.checkpoint()
        return [Address("::1", name.port), Address("127.0.0.1", name.port)]

    monkeypatch.setattr(AnyioNetwork, "resolve", resolve)
    monkeypatch.setattr(datagrams, "PATIENCE", 0)
    address = parse_hop_url(hops[0]).address
    looking = Chain(Hop("local", HopProtocol.SOCKS5, address, resolve=Resolve.LOCAL))

    async def go() -> None:
        with answering() as there:
            for chain in (chainsocks.DIRECT, looking):
                async with await chainsocks.open_udp(chain=chain) as association:
                    for payload in (b"first", b"second"):
                        await association.sendto(payload, "far.example", there.port)
                    assert await association.receive() == (b"SECOND", (there.host, there.port))
                    for payload in (b"third", b"fourth"):  # it stays where there was a reply
                        await association.sendto(payload, "far.example", there.port)
                        assert await association.receive() == (payload.upper(), (there.host, there.port))

    run(backend, go)


def test_the_end_of_a_hops_association_is_the_end(backend: str, background: Background) -> None:
    granted = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x0f\xa0"
    hop = background.listen(Script(b"\x05\x00", granted, b""))  # leaves when it hears more

    async def go() -> None:
        async with await chainsocks.open_udp(chain=Chain(f"socks5://{hop}")) as association:
            [stream] = association._streams.values()
            await stream.send(b"more")
            with pytest.raises(BrokenResourceError, match=r"\(1 of 1\) ended its association"):
                await association.receive()

    run(backend, go)


def test_closing_wakes_whoever_waits(backend: str, hops: list[str]) -> None:
    async def go() -> None:
        for chain in (chainsocks.DIRECT, Chain(*hops[:2])):
            association = await chainsocks.open_udp(chain=chain)
            async with anyio.create_task_group() as group:

                async def wait(association: chainsocks.UDPAssociation = association) -> None:
                    with pytest.raises(ClosedResourceError):
                        await association.receive()

                group.start_soon(wait)
                await anyio.wait_all_tasks_blocked()
                await association.aclose()
            with pytest.raises(ClosedResourceError):
                await association.sendto(b"late", "127.0.0.1", 9)

    run(backend, go)


def test_a_chain_that_carries_no_udp(backend: str) -> None:
    async def go() -> None:
        for chain in (Chain("socks4://127.0.0.1:1"), Chain("socks5://127.0.0.1:1", udp=Udp.REFUSE)):
            with pytest.raises(chainsocks.RequestRefused, match="chain default carries no UDP"):
                await chainsocks.open_udp(chain=chain)

    run(backend, go)


class Flood:
    """A socket that always has a datagram to receive."""

    def __init__(self, sock: socket.socket, source: Address) -> None:
        self._socket = sock
        self._source = source
        self._received = 0

    def recvfrom(self, size: int) -> tuple[bytes, tuple[str, int]]:
        self._received += 1
        if self._received > 1000:
            pytest.fail("no other task has run")
        return b"spam", (self._source.host, self._source.port)

    def __getattr__(self, name: str) -> object:
        return getattr(self._socket, name)


@pytest.mark.parametrize("of", ["a stranger", "the destination"])
def test_a_flood_of_datagrams_does_not_hold_up_other_tasks(
    backend: str, monkeypatch: pytest.MonkeyPatch, of: str
) -> None:
    async def go() -> None:
        with answering() as there:
            async with await chainsocks.open_udp() as association:
                await association.sendto(b"first", there.host, there.port)
                source = there if of == "the destination" else Address("127.0.0.1", 9)
                monkeypatch.setattr(association, "_socket", Flood(association._socket, source))
                with anyio.CancelScope() as scope:
                    async with anyio.create_task_group() as group:

                        async def receive() -> None:
                            while True:
                                await association.receive()

                        group.start_soon(receive)
                        for _ in range(10):
                            await anyio.lowlevel.checkpoint()
                        scope.cancel()

    run(backend, go)
