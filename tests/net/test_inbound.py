"""A port for an expected connection, on real loopback sockets."""

from __future__ import annotations

import errno
import socket

import pytest
import trio

from chainsocks.net.inbound import InboundListener, listen
from chainsocks.net.polled import PolledStream
from chainsocks.net.poller import open_poller
from chainsocks.protocol.address import Address
from tests.net.sockets import LOOPBACK, LOOPBACK6, needs_ipv6

loopbacks = pytest.mark.parametrize(
    "host", [pytest.param(LOOPBACK, id="ipv4"), pytest.param(LOOPBACK6, id="ipv6", marks=needs_ipv6)]
)


def call(listener: InboundListener) -> socket.socket:
    return socket.create_connection((listener.address.host, listener.address.port))


@loopbacks
@pytest.mark.parametrize("polled", ["with a poller", "without"])
async def test_a_connection_comes_with_its_address(host: str, polled: str) -> None:
    async with open_poller() as poller:
        listener = await listen(Address(host, 0), poller if polled == "with a poller" else None)
        assert (listener.address.host, listener.address.port > 0) == (host, True)
        with call(listener) as peer:
            stream, address = await listener.accept()
            assert isinstance(stream, PolledStream) == (polled == "with a poller")
            assert (address.host, address.port) == peer.getsockname()[:2]
            assert stream.socket.gettimeout() == 0
            assert stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE)
            peer.sendall(b"hello")
            assert await stream.receive() == b"hello"
            await stream.aclose()
        await listener.aclose()


async def test_it_waits_for_one() -> None:
    listener = await listen(Address(LOOPBACK, 0))
    calls = []

    async def call_later() -> None:
        await trio.testing.wait_all_tasks_blocked()
        calls.append(call(listener))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call_later)
        stream, _ = await listener.accept()
    await stream.aclose()
    await listener.aclose()
    calls[0].close()


async def test_closing_refuses_later_connections_and_may_be_repeated() -> None:
    listener = await listen(Address(LOOPBACK, 0))
    address = listener.address
    await listener.aclose()
    await listener.aclose()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.host, address.port))


async def test_an_address_that_is_not_ours() -> None:
    with pytest.raises(OSError, match=r"\w") as caught:
        await listen(Address("192.0.2.1", 0))
    assert caught.value.errno == errno.EADDRNOTAVAIL
