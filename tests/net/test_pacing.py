"""TCP's pacing: whose connections are not paced, and from when on."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest
import trio
from anyio.abc import SocketAttribute

from chainsocks.net.pacing import is_local, stop_pacing
from chainsocks.net.poller import Poller
from chainsocks.protocol.address import SockAddr
from chainsocks.relay.pump import CHUNK
from tests.net.sockets import LOOPBACK, LOOPBACK6, needs_ipv6, read_exactly, tcp_pair, unix_pair
from tests.relay.ways import flow, noise, polled_line

CONGESTION = getattr(socket, "TCP_CONGESTION", 0)


def choose(sock: socket.socket, name: str) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, CONGESTION, name.encode())


def chosen(sock: socket.socket) -> str:
    return sock.getsockopt(socket.IPPROTO_TCP, CONGESTION, 16).rstrip(b"\0").decode()


def has_bbr() -> bool:
    with socket.socket() as sock, suppress(OSError, TypeError):
        choose(sock, "bbr")
        return chosen(sock) == "bbr"
    return False


needs_bbr = pytest.mark.skipif(not has_bbr(), reason="this kernel has no BBR, or does not let this user choose it")


@pytest.fixture(params=[LOOPBACK, pytest.param(LOOPBACK6, marks=needs_ipv6)])
def sock(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    near, far = tcp_pair(request.param)
    with near, far:
        yield near


@needs_bbr
@pytest.mark.parametrize(
    ("before", "local", "replacement", "after"),
    [
        pytest.param("bbr", True, "reno", "reno", id="on this machine"),
        pytest.param("bbr", False, "reno", "bbr", id="on the way to others"),
        pytest.param("reno", True, "bbr", "reno", id="it does not pace"),
        pytest.param("bbr", True, "no such thing", "bbr", id="the system allows no other one"),
    ],
)
def test_what_is_replaced(
    sock: socket.socket, monkeypatch: pytest.MonkeyPatch, before: str, replacement: str, after: str, *, local: bool
) -> None:
    if not local:
        monkeypatch.setattr("chainsocks.net.pacing.is_local", lambda *_: False)
    monkeypatch.setattr("chainsocks.net.pacing._UNPACED", replacement.encode())
    choose(sock, before)
    stop_pacing(sock)
    assert chosen(sock) == after


def test_sockets_that_know_nothing_of_it_are_left_alone(sock: socket.socket) -> None:
    for unix in unix_pair():
        with unix:
            stop_pacing(unix)
    sock.close()
    stop_pacing(sock)


@pytest.mark.parametrize(
    ("name", "peer", "local"),
    [
        (("127.0.0.1", 1080), ("127.0.0.1", 40000), True),
        (("127.0.0.1", 1080), ("127.9.9.9", 40000), True),
        (("::1", 1080, 0, 0), ("::1", 40000, 0, 0), True),
        (("::ffff:127.0.0.1", 1080, 0, 0), ("::ffff:127.0.0.2", 40000, 0, 0), True),
        (("192.0.2.1", 1080), ("192.0.2.1", 40000), True),
        (("192.0.2.1", 1080), ("192.0.2.2", 40000), False),
        (("2001:db8::1", 1080, 0, 0), ("2001:db8::2", 40000, 0, 0), False),
        (("192.0.2.1", 127), ("12.7.0.1", 127), False),
    ],
)
def test_what_is_on_this_machine(name: SockAddr, peer: SockAddr, *, local: bool) -> None:
    assert is_local(name, peer) is local


@needs_bbr
async def test_only_bulk_is_not_paced(poller: Poller, nursery: trio.Nursery) -> None:
    with polled_line(poller) as source, polled_line(poller) as sink:
        sock: socket.socket = sink.near.extra(SocketAttribute.raw_socket)
        choose(sock, "bbr")
        nursery.start_soon(flow, source.near, sink.near, b"", lambda _: None)
        await source.far.send(b"little")
        await read_exactly(sink.far, 6)
        assert chosen(sock) == "bbr"
        nursery.start_soon(source.far.send, noise(2 * CHUNK))
        await read_exactly(sink.far, 2 * CHUNK)
        assert chosen(sock) == "reno"
