"""Replies on the wire: each failure has its own code (RFC 1928 section 6), and comes from the last hop unchanged."""

from __future__ import annotations

import socket

import pytest

from tests.e2e import targets
from tests.e2e.programs import SocketAddress
from tests.e2e.servers import Chainsocks
from tests.e2e.targets import serving
from tests.e2e.wire import (
    BIND,
    GREETING,
    ask_socks5,
    connect,
    connected,
    read,
    read_socks5_reply,
    read_to_end,
    socks4_request,
    socks5_request,
)

NO_SUCH_NAME = ("chainsocks.invalid", 80)


def test_success_names_an_address(front: Chainsocks, echo: SocketAddress) -> None:
    with connect(front.address) as sock:
        sock.sendall(GREETING)
        assert read(sock, 2) == b"\x05\x00"
        sock.sendall(socks5_request(echo))
        code, bound = read_socks5_reply(sock)
        assert code == 0
        assert bound[:4] == b"\x7f\x00\x00\x01"
        assert bound[4:] != b"\x00\x00"


def test_refused(front: Chainsocks, closed_port: SocketAddress) -> None:
    with connect(front.address) as sock:
        assert ask_socks5(sock, closed_port) == 5
        assert read_to_end(sock) == b""


def test_refused_over_ipv6(front: Chainsocks, ipv6: None) -> None:
    with socket.socket(socket.AF_INET6) as nobody, connect(front.address) as sock:
        nobody.bind(("::1", 0))
        assert ask_socks5(sock, nobody.getsockname()) == 5


def test_name_not_found(front: Chainsocks) -> None:
    with connect(front.address) as sock:
        assert ask_socks5(sock, NO_SUCH_NAME) == 4
        assert read_to_end(sock) == b""


@pytest.mark.parametrize("command", [0, 4, 0x80, 0xEF, 0xF2, 0xFF])
def test_commands_that_nobody_knows(front: Chainsocks, command: int) -> None:
    with connect(front.address) as sock:
        assert ask_socks5(sock, ("127.0.0.1", 9), command) == 7


def test_an_address_type_that_nobody_knows(front: Chainsocks) -> None:
    with connect(front.address) as sock:
        sock.sendall(GREETING)
        assert read(sock, 2) == b"\x05\x00"
        sock.sendall(b"\x05\x01\x00\x02\x7f\x00\x00\x01\x00\x50")
        assert read_socks5_reply(sock)[0] == 8


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(socks4_request(NO_SUCH_NAME, command=BIND), id="bind-for-no-such-name"),
        pytest.param(socks4_request(NO_SUCH_NAME), id="no-such-name"),
    ],
)
def test_socks4_refusals(front: Chainsocks, request_: bytes) -> None:
    with connect(front.address) as sock:
        sock.sendall(request_)
        answer = read_to_end(sock)
        assert len(answer) == 8
        assert answer[:2] == b"\x00\x5b"


def test_ipv6_destination(front: Chainsocks, ipv6: None) -> None:
    with serving(targets.echo, "::1") as target, connected(front.address, target) as sock:
        sock.sendall(b"six")
        assert read(sock, 3) == b"six"
