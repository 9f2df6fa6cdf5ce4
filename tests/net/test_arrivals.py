"""Datagrams with both of their ends, on loopback, whose addresses are all ours."""

from __future__ import annotations

import socket

import pytest

from chainsocks.net.arrivals import receive_arrival, send_answer, tell_arrival
from chainsocks.protocol.address import Address
from tests.net.sockets import LOOPBACK, LOOPBACK6, needs_ipv6


@pytest.mark.parametrize(
    ("family", "everywhere", "asked"),
    [
        (socket.AF_INET, "0.0.0.0", LOOPBACK),
        (socket.AF_INET, "0.0.0.0", "127.0.0.5"),
        pytest.param(socket.AF_INET6, "::", LOOPBACK6, marks=needs_ipv6),
    ],
)
def test_an_answer_leaves_from_the_address_that_was_asked(family: int, everywhere: str, asked: str) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as server, socket.socket(family, socket.SOCK_DGRAM) as client:
        server.bind((everywhere, 0))
        tell_arrival(server)
        port = server.getsockname()[1]
        client.bind((LOOPBACK6 if family == socket.AF_INET6 else LOOPBACK, 0))
        client.sendto(b"question", (asked, port))
        arrival = receive_arrival(server)
        assert (arrival.data, arrival.here) == (b"question", Address(asked, port))
        assert arrival.client.sockaddr == client.getsockname()[:2]
        assert send_answer(server, b"answer", arrival)
        data, source = client.recvfrom(100)
        assert (data, source[:2]) == (b"answer", (asked, port))


def test_what_the_kernel_does_not_take_is_lost() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as server, socket.socket(type=socket.SOCK_DGRAM) as client:
        server.bind((LOOPBACK, 0))
        tell_arrival(server)
        client.sendto(b"question", server.getsockname())
        arrival = receive_arrival(server)
        assert not send_answer(server, bytes(70_000), arrival)
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            receive_arrival(server)
    assert not send_answer(server, b"late", arrival)
