"""Name look-ups, with a resolver of the test's own, and with that of this machine."""

from __future__ import annotations

import math
import socket
from dataclasses import dataclass, field
from typing import Literal

import pytest
import trio
from trio.testing import MockClock

from chainsocks.net.names import name_of, resolve
from chainsocks.protocol.address import Address
from tests.net.sockets import LOOPBACK, LOOPBACK6

# --- from names to addresses


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


# --- from addresses to names


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_the_name_and_nothing_less(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def getnameinfo(sockaddr: tuple[str, int], flags: int) -> tuple[str, str]:
        await trio.lowlevel.checkpoint()
        assert (sockaddr, flags) == ((host, 0), socket.NI_NAMEREQD)
        return "near.example", "0"

    monkeypatch.setattr(trio.socket, "getnameinfo", getnameinfo)
    assert await name_of(Address(host, 80)) == "near.example"


async def test_this_machine_has_a_name() -> None:
    assert await name_of(Address("127.0.0.1", 0)) == socket.getnameinfo(("127.0.0.1", 0), socket.NI_NAMEREQD)[0]


async def test_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getnameinfo(sockaddr: tuple[str, int], flags: int) -> tuple[str, str]:
        await trio.lowlevel.checkpoint()
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(trio.socket, "getnameinfo", getnameinfo)
    with pytest.raises(OSError, match="not known"):
        await name_of(Address("192.0.2.1", 0))
