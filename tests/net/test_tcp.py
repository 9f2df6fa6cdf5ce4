"""TCP connects on real loopback sockets, and name look-ups with a resolver of the test's own."""

from __future__ import annotations

import errno
import math
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Literal

import pytest
import trio
from anyio.abc import SocketAttribute
from trio.testing import MockClock

from chainsocks.net import tcp
from chainsocks.net.tcp import open_tcp, resolve
from chainsocks.protocol.address import Address
from tests.net.sockets import LOOPBACK, LOOPBACK6, descriptors, needs_ipv6, read_all

loopbacks = pytest.mark.parametrize(
    "host", [pytest.param(LOOPBACK, id="ipv4"), pytest.param(LOOPBACK6, id="ipv6", marks=needs_ipv6)]
)

# --- connecting


@loopbacks
async def test_connect(host: str) -> None:
    with listening(host) as (listener, address):
        async with await open_tcp(address) as stream:
            accepted, peer = listener.accept()
            with accepted:
                assert peer == stream.extra(SocketAttribute.local_address)
                await stream.send(b"hello")
                assert accepted.recv(100) == b"hello"
                accepted.send(b"goodbye")
                accepted.shutdown(socket.SHUT_WR)
                assert await read_all(stream) == b"goodbye"


async def test_where_it_comes_from_may_be_said() -> None:
    with listening(LOOPBACK) as (listener, address):
        async with await open_tcp(address, source=Address("127.0.0.2", 0)):
            accepted, peer = listener.accept()
            accepted.close()
            assert peer[0] == "127.0.0.2"


@pytest.mark.parametrize(
    "flag", [pytest.param(None, id="born so"), pytest.param(0, id="made so, where the kernel cannot")]
)
async def test_the_socket_never_blocks(flag: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if flag is not None:
        monkeypatch.setattr(tcp, "_NON_BLOCKING", flag)
    with listening(LOOPBACK) as (_, address):
        async with await open_tcp(address) as stream:
            assert stream.socket.gettimeout() == 0


async def test_small_messages_are_not_held_back() -> None:
    with listening(LOOPBACK) as (_, address):
        async with await open_tcp(address) as stream:
            assert stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@loopbacks
async def test_a_refusal_says_so(host: str) -> None:
    with pytest.raises(ConnectionRefusedError) as caught:
        await open_tcp(nobody_at(host))
    assert (caught.value.errno, caught.value.strerror) == (errno.ECONNREFUSED, "Connection refused")


@needs_ipv6
async def test_an_error_that_the_kernel_knows_at_once() -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011  (the number is looked at below)
        await open_tcp(Address("fe80::1", 80))  # link-local, on no link
    assert caught.value.errno == errno.EINVAL


async def test_a_cancelled_connect_leaves_no_socket(sockets_on_mock_clock: MockClock) -> None:
    with deaf() as address:
        before = descriptors()
        with trio.move_on_after(5) as scope:
            await open_tcp(address)
        assert scope.cancelled_caught
        assert trio.current_time() == 5
        assert descriptors() == before


async def test_a_failed_connect_leaves_no_socket() -> None:
    before = descriptors()
    with pytest.raises(ConnectionRefusedError):
        await open_tcp(nobody_at(LOOPBACK))
    assert descriptors() == before


# --- resolving


Found = (
    tuple[Literal[socket.AddressFamily.AF_INET], socket.SocketKind, int, str, tuple[str, int]]
    | tuple[
        Literal[socket.AddressFamily.AF_INET6],
        socket.SocketKind,
        int,
        str,
        tuple[str, int, int, int] | tuple[int, bytes],
    ]
)


def found(host: str, scope: int = 0) -> Found:
    """One address, as `getaddrinfo` says it."""
    if ":" in host:
        return (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, 443, 0, scope))
    return (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, 443))


@dataclass
class Names(trio.abc.HostnameResolver):
    """A resolver that knows some names and notes what it was asked for."""

    known: dict[bytes, list[Found]]
    delay: float = 0
    asked: list[tuple[bytes | None, int]] = field(default_factory=list)

    async def getaddrinfo(
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,  # noqa: A002  (trio's interface)
        proto: int = 0,
        flags: int = 0,
    ) -> list[Found]:
        await trio.sleep(self.delay)
        self.asked.append((host, type))
        if host is None or host not in self.known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self.known[host]

    async def getnameinfo(self, sockaddr: tuple[str, int] | tuple[str, int, int, int], flags: int) -> tuple[str, str]:
        raise AssertionError("nobody asks for the name of an address")


def use(names: Names) -> Names:
    """Look names up there, for the rest of the test."""
    trio.socket.set_custom_hostname_resolver(names)
    return names


async def test_addresses_come_in_the_resolvers_order_with_the_port_of_the_name() -> None:
    use(Names({b"example.org": [found("2001:db8::1"), found("192.0.2.1"), found("192.0.2.2")]}))
    assert await resolve(Address("example.org", 443)) == [
        Address("2001:db8::1", 443),
        Address("192.0.2.1", 443),
        Address("192.0.2.2", 443),
    ]


async def test_only_addresses_for_streams_are_asked_for() -> None:
    names = use(Names({b"example.org": [found("192.0.2.1")]}))
    await resolve(Address("example.org", 443))
    assert names.asked == [(b"example.org", socket.SOCK_STREAM)]  # or each address would come three times


@pytest.mark.parametrize("host", ["exämple.org", "with space", "..", "a" * 255, "not-\udcff-utf8"])
async def test_a_name_is_looked_up_byte_for_byte(host: str) -> None:
    packed = Address(host, 443).packed
    names = use(Names({packed: [found("192.0.2.1")]}))
    assert await resolve(Address(host, 443)) == [Address("192.0.2.1", 443)]
    assert names.asked == [(packed, socket.SOCK_STREAM)]


async def test_an_unknown_name() -> None:
    use(Names({}))
    with pytest.raises(socket.gaierror) as caught:
        await resolve(Address("nowhere.invalid", 443))
    assert caught.value.errno == socket.EAI_NONAME


async def test_a_scope_is_left_out_since_no_socks_address_can_hold_it() -> None:
    use(Names({b"printer.local": [found("fe80::1", scope=2)]}))
    assert await resolve(Address("printer.local", 443)) == [Address("fe80::1", 443)]


async def test_a_cancelled_look_up_is_not_waited_for(autojump_clock: MockClock) -> None:
    use(Names({}, delay=math.inf))
    with trio.move_on_after(5) as scope:
        await resolve(Address("example.org", 443))
    assert scope.cancelled_caught
    assert trio.current_time() == 5


async def test_localhost_is_known_to_every_machine() -> None:
    addresses = await resolve(Address("localhost", 443))
    assert Address(LOOPBACK, 443) in addresses
    assert set(addresses) <= {Address(LOOPBACK, 443), Address(LOOPBACK6, 443)}


# --- helpers


@contextmanager
def listening(host: str, backlog: int = 10) -> Iterator[tuple[socket.socket, Address]]:
    """Listen on a port of the kernel's choice."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind((host, 0))
        listener.listen(backlog)
        yield listener, Address(host, listener.getsockname()[1])


@contextmanager
def deaf() -> Iterator[Address]:
    """Give an address at which connects are never answered: a listener whose backlog is full."""
    with listening(LOOPBACK, backlog=0) as (_, address), ExitStack() as waiting:
        for _ in range(4):
            sock = waiting.enter_context(socket.socket())
            sock.settimeout(0)
            sock.connect_ex((address.host, address.port))
        yield address


def nobody_at(host: str) -> Address:
    """Give an address at which nobody listens."""
    with listening(host) as (_, address):
        return address
