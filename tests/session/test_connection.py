"""The ends of a client's connection, and which of them are this machine's."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from chainsocks.errors import RequestRefused
from chainsocks.net.stream import SocketStream
from chainsocks.protocol.address import Address, address_of
from chainsocks.protocol.proxy_protocol import UNKNOWN, Ends, encode_header
from chainsocks.session import connection
from chainsocks.session.connection import arrival, connects_here, ends_of, proxy_header
from tests.net.sockets import reset, tcp_pair, unix_pair

OWN, LOOPBACK, OTHER = "198.51.100.9", "127.0.0.1", "203.0.113.9"


@pytest.mark.parametrize("pair", [tcp_pair, unix_pair])
async def test_the_ends_of_a_connection(pair: Callable[[], tuple[socket.socket, socket.socket]]) -> None:
    near, far = pair()
    async with SocketStream(near) as stream:
        with far:
            expected = None
            if near.family is socket.AF_INET:
                expected = Ends(address_of(near.getpeername()), address_of(near.getsockname()))
            assert ends_of(stream) == expected


@pytest.mark.parametrize(
    ("destination", "sender", "here"),
    [
        (OWN, OTHER, True),
        (OWN, OWN, True),
        (OWN, None, True),
        (OTHER, OTHER, False),
        (OTHER, OWN, False),
        (OTHER, None, False),
        (LOOPBACK, LOOPBACK, True),
        (LOOPBACK, OWN, True),
        (LOOPBACK, None, True),
        (LOOPBACK, OTHER, False),
        ("127.1.2.3", "127.3.2.1", True),
        ("127.1.2.3", OTHER, False),
        ("::1", "::1", True),
    ],
)
def test_where_a_client_has_connected_to(
    monkeypatch: pytest.MonkeyPatch, destination: str, sender: str | None, *, here: bool
) -> None:
    monkeypatch.setattr(connection, "is_own", lambda host: host == OWN)
    told = Ends(Address("192.0.2.7", 51234), Address(destination, 1080))
    real = Ends(Address(sender, 4711), Address("10.0.0.2", 1080)) if sender else None
    assert connects_here(told, real) is here


@pytest.mark.parametrize("pair", [tcp_pair, unix_pair])
async def test_what_another_proxy_is_told(pair: Callable[[], tuple[socket.socket, socket.socket]]) -> None:
    near, far = pair()
    told = Ends(Address("192.0.2.7", 51234), Address(OTHER, 1080))
    async with SocketStream(near) as stream:
        with far:
            ends = ends_of(stream)
            assert proxy_header(stream, None) == (encode_header(ends) if ends else UNKNOWN)
            assert proxy_header(stream, told) == encode_header(told)


async def test_nothing_is_told_of_a_client_that_is_gone() -> None:
    near, far = tcp_pair()
    async with SocketStream(near) as stream:
        reset(far)
        with pytest.raises(RequestRefused, match="gone"):
            proxy_header(stream, None)


@pytest.mark.parametrize(
    ("told", "host"),
    [(None, LOOPBACK), ("127.0.0.9", "127.0.0.9"), (OTHER, LOOPBACK)],
    ids=["itself", "here", "not here"],
)
async def test_where_a_client_came_in(told: str | None, host: str) -> None:
    near, far = tcp_pair()
    async with SocketStream(near) as stream:
        with far:
            ends = Ends(Address("192.0.2.7", 5555), Address(told, 1080)) if told else None
            assert arrival(stream, ends) == Address(host, 0)


async def test_a_client_on_a_unix_socket_came_in_by_no_address() -> None:
    near, far = unix_pair()
    async with SocketStream(near) as stream:
        with far, pytest.raises(RequestRefused, match="this one came by a unix socket"):
            arrival(stream, None)
