"""asyncio's own transport for datagrams, through a chain."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any

import anyio.abc
import pytest

import chainsocks
from chainsocks import Chain
from tests.background import PATIENCE, Background, Script
from tests.client.udp_peer import answering


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(coroutine, PATIENCE))


class Collector(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.heard: asyncio.Queue[tuple[bytes, Any]] = asyncio.Queue()
        self.errors: asyncio.Queue[Exception] = asyncio.Queue()
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.heard.put_nowait((data, addr))

    def error_received(self, error: Exception) -> None:
        self.errors.put_nowait(error)

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set_result(error)


@pytest.fixture(scope="module")
def chain(background: Background) -> Chain:
    return Chain(*(f"socks5://{background.proxy()}" for _ in range(3)))


@pytest.mark.parametrize("hops", [0, 3])
def test_there_and_back(chain: Chain, hops: int) -> None:
    async def go() -> None:
        with answering() as there, answering() as other:
            transport, protocol = await chainsocks.create_datagram_endpoint(Collector, chain=Chain(*chain.hops[:hops]))
            assert protocol.transport is transport
            assert transport.get_extra_info("sockname")[1]
            for to in (there, other):
                transport.sendto(b"hello", (to.host, to.port))
                assert await protocol.heard.get() == (b"HELLO", (to.host, to.port))
            with pytest.raises(ValueError, match="no address is given"):
                transport.sendto(b"hello")
            transport.close()
            transport.close()
            assert transport.is_closing()
            assert await protocol.lost is None
            transport.sendto(b"late", (there.host, there.port))

    run(go())


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_one_peer(chain: Chain, name: str) -> None:
    """It is told by the address that was given, also where that is a name; datagrams of others are dropped."""

    async def go() -> None:
        with answering(from_elsewhere=True) as there:
            transport, protocol = await chainsocks.create_datagram_endpoint(
                Collector, chain=chain, remote_addr=(name, there.port), timeout=PATIENCE
            )
            assert transport.get_extra_info("peername") == (name, there.port)
            for number in range(10):
                transport.sendto(b"a%d" % number)
            heard = [await protocol.heard.get() for _ in range(10)]
            assert heard == [(b"A%d" % number, (name, there.port)) for number in range(10)]
            with pytest.raises(ValueError, match="the endpoint sends to its remote_addr"):
                transport.sendto(b"hello", ("127.0.0.1", 9))
            transport.close()
            assert await protocol.lost is None

    run(go())


def test_what_cannot_be_sent(asked: list[bytes]) -> None:
    async def go() -> None:
        transport, protocol = await chainsocks.create_datagram_endpoint(Collector)
        transport.sendto(b"hello", ("far.example", 9))
        assert isinstance(await protocol.errors.get(), chainsocks.ConnectError)
        transport.sendto(b"hello", ("far.example", 9))
        transport.abort()
        assert await protocol.lost is None

    run(go())
    assert asked == [b"far.example"]


def test_a_hop_that_ends_its_association(background: Background) -> None:
    granted = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x0f\xa0"
    hop = background.listen(Script(b"\x05\x00", granted, b""))

    async def go() -> None:
        transport, protocol = await chainsocks.create_datagram_endpoint(Collector, chain=Chain(f"socks5://{hop}"))
        [stream] = transport._association._streams.values()
        await stream.send(b"more")
        assert isinstance(await protocol.lost, anyio.BrokenResourceError)
        assert transport.is_closing()

    run(go())


def test_more_than_there_is_room_for_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainsocks.client.for_asyncio_datagrams.WAITING", 3)

    async def go() -> None:
        with answering() as there:
            transport, protocol = await chainsocks.create_datagram_endpoint(Collector)
            for number in range(5):
                transport.sendto(b"%d" % number, (there.host, there.port))
            assert [(await protocol.heard.get())[0] for _ in range(3)] == [b"0", b"1", b"2"]
            for _ in range(3):
                transport.sendto(b"again", (there.host, there.port))
            transport.close()
            assert await protocol.lost is None

    run(go())


def test_a_protocol_can_be_replaced_and_one_that_fails_leaves_nothing() -> None:
    async def go() -> None:
        transport, protocol = await chainsocks.create_datagram_endpoint(Collector)
        assert transport.get_protocol() is protocol
        other = Collector()
        transport.set_protocol(other)
        assert transport.get_protocol() is other
        transport.close()
        assert await other.lost is None

        def fail() -> Collector:
            raise ZeroDivisionError

        factory: Callable[[], Collector] = fail
        with pytest.raises(ZeroDivisionError):
            await chainsocks.create_datagram_endpoint(factory)

    run(go())


@pytest.mark.filterwarnings("ignore:coroutine 'UDPAssociation._wait:RuntimeWarning")
def test_a_loop_that_ends_closes_it(chain: Chain) -> None:
    """Also in the middle of closing.

    anyio begins a task's coroutine in the task's first step. A loop that ends before that step leaves it unawaited.
    """
    lost: list[Exception | None] = []

    class Protocol(asyncio.DatagramProtocol):
        def connection_lost(self, error: Exception | None) -> None:
            lost.append(error)

    async def go(steps: int) -> None:
        transport, _ = await chainsocks.create_datagram_endpoint(Protocol, chain=chain)
        await asyncio.sleep(0)
        transport.close()
        for _ in range(steps):
            await asyncio.sleep(0)

    for steps in range(6):
        run(go(steps))
    gc.collect()
    assert lost == [None] * 6
