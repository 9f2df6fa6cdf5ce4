"""Hosts and ports in every form that the library takes, as they go out: A-labels, and plain numbers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import chainsocks
from chainsocks import Address, Chain, Group, Hop, HopProtocol
from tests.background import Background, Script
from tests.client.running import run

MUNICH = b"xn--mnchen-3ya.example"
NAME = "münchen.example"
GRANTED = b"\x05\x00\x00\x01\x0a\x00\x00\x01\x04\x38"

SPELLINGS = [
    (NAME, 443),
    (NAME.encode(), "443"),
    (bytearray(NAME.encode()), b"443"),
    ("MÜNCHEN.example", 443),
    ("münchen。example", 443),
    (MUNICH, "443"),
]


async def connect(host: Any, port: Any, chain: Chain) -> None:
    await (await chainsocks.connect_tcp(host, port, chain=chain)).aclose()


async def bind(host: Any, port: Any, chain: Chain) -> None:
    await (await chainsocks.bind_tcp(host, port, chain=chain)).aclose()


async def resolve(host: Any, port: Any, chain: Chain) -> None:
    await chainsocks.resolve(host, chain=chain)


async def send(host: Any, port: Any, chain: Chain) -> None:
    async with await chainsocks.open_udp(chain=chain) as association:
        await association.sendto(b"hello", host, port)


ENTRANCES = {"connect_tcp": (1, connect), "bind_tcp": (2, bind), "resolve": (0xF0, resolve)}


@pytest.mark.parametrize(("command", "ask"), ENTRANCES.values(), ids=ENTRANCES)
@pytest.mark.parametrize(("host", "port"), SPELLINGS)
def test_an_international_name_goes_to_the_last_hop_as_a_labels(
    backend: str,
    background: Background,
    command: int,
    ask: Callable[[Any, Any, Chain], Awaitable[None]],
    host: Any,
    port: Any,
) -> None:
    script = Script(b"\x05\x00", GRANTED)
    chain = Chain(Hop("a", HopProtocol.SOCKS5, background.listen(script), tor=True))
    run(backend, ask, host, port, chain)
    number = b"\x01\xbb" if command != 0xF0 else b"\x00\x00"
    assert script.heard[1] == bytes((5, command, 0, 3, len(MUNICH))) + MUNICH + number


def test_socks4a_gets_a_labels_too(backend: str, background: Background) -> None:
    script = Script(b"\x00\x5a\x04\x38\x0a\x00\x00\x01")
    run(backend, connect, NAME, 443, Chain(f"socks4a://{background.listen(script)}"))
    assert script.heard == [b"\x04\x01\x01\xbb\x00\x00\x00\x01\x00" + MUNICH + b"\x00"]


def test_so_does_the_host_of_the_next_hop(backend: str, background: Background) -> None:
    script = Script(b"\x05\x00", GRANTED, b"\x05\x00", GRANTED)
    first = Hop("first", HopProtocol.SOCKS5, background.listen(script))
    for second in (f"socks5://{NAME}:443", Hop("second", HopProtocol.SOCKS5, Address(NAME, 443))):
        run(backend, connect, "far.example", 80, Chain(first, Group(second)))
        assert script.heard[1] == bytes((5, 1, 0, 3, len(MUNICH))) + MUNICH + b"\x01\xbb"


def test_datagrams_carry_a_labels(backend: str, background: Background, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[bytes] = []

    async def note(self: chainsocks.UDPAssociation, datagram: bytes, to: object) -> None:
        await anyio.lowlevel.checkpoint()
        sent.append(datagram)

    monkeypatch.setattr(chainsocks.UDPAssociation, "_send", note)
    chain = Chain(f"socks5://{background.proxy()}")
    for host, port in SPELLINGS:
        run(backend, send, host, port, chain)
    assert {*sent} == {b"\0\0\0\3" + bytes((len(MUNICH),)) + MUNICH + b"\x01\xbbhello"}


def test_the_resolver_of_this_machine_is_asked_for_a_labels(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    async def getaddrinfo(host: object, port: int, **_: object) -> list[object]:
        await anyio.lowlevel.checkpoint()
        asked.append(host)
        raise OSError

    monkeypatch.setattr(anyio, "getaddrinfo", getaddrinfo)
    for ask in (connect, bind, resolve, send):
        with pytest.raises(chainsocks.DialError):
            run(backend, ask, NAME, 443, chainsocks.DIRECT)
    with pytest.raises(chainsocks.DialError):
        run(backend, connect, "far.example", 443, Chain(f"socks5://{NAME}"))
    assert asked == [MUNICH] * 5
    asked.clear()
    for host in ("fe80::1%eth0", IPv6Address("fe80::1%eth0"), b"fe80::1%eth0", "[fe80::1%eth0]"):
        with pytest.raises(chainsocks.DialError):
            run(backend, connect, host, 443, chainsocks.DIRECT)
    assert asked == [b"fe80::1%eth0"] * 4


@pytest.mark.parametrize(
    ("host", "packed"),
    [
        (IPv4Address("192.0.2.1"), b"\x01\xc0\x00\x02\x01"),
        (b"192.0.2.1", b"\x01\xc0\x00\x02\x01"),
        ("\uff11\uff19\uff12.0.2.\uff11", b"\x01\xc0\x00\x02\x01"),
        (IPv6Address("2001:db8::1"), b"\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x01"),
        ("[2001:db8::1]", b"\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x01"),
        ("_x.example.", b"\x03\x0b_x.example."),
    ],
)
def test_addresses_in_every_form(backend: str, background: Background, host: Any, packed: bytes) -> None:
    script = Script(b"\x05\x00", GRANTED)
    run(backend, connect, host, "80", Chain(f"socks5://{background.listen(script)}"))
    assert script.heard[1] == b"\x05\x01\x00" + packed + b"\x00\x50"


@pytest.mark.parametrize("ask", [connect, bind, resolve, send])
@pytest.mark.parametrize(
    "host",
    [None, True, 7, b"\xff", "münchen..example", "ü" * 70, "x.ü" + "y" * 64, ("a", 1), Address("a", 1), "", "\ud800"],
)
def test_what_is_no_host_is_a_plain_error_before_anything_is_sent(
    backend: str, ask: Callable[[Any, Any, Chain], Awaitable[None]], host: Any
) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        run(backend, ask, host, 443, chainsocks.DIRECT)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("ask", [connect, bind, send])
@pytest.mark.parametrize("port", [None, True, 80.0, "http", "", -1, 65536, "65536", [80]])
def test_what_is_no_port_neither(backend: str, ask: Callable[[Any, Any, Chain], Awaitable[None]], port: Any) -> None:
    with pytest.raises(ValueError, match="port"):
        run(backend, ask, "127.0.0.1", port, chainsocks.DIRECT)
