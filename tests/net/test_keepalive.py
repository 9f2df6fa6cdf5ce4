"""Keepalive: the options that connections get, and when."""

from __future__ import annotations

import math
import socket
from dataclasses import dataclass, field

import pytest
import trio
from anyio import BrokenResourceError
from trio.testing import MockClock

from chainsocks.net.keepalive import LASTING, keep_alive, open_keepalive
from chainsocks.net.stream import SocketStream
from tests.net.sockets import LOOPBACK, tcp_pair, unix_pair

OPTIONS = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)


def probes(sock: socket.socket) -> bool:
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))


@pytest.mark.parametrize("seconds", [0.5, 1, 2, 7, 60, 3600, 1e9])
def test_a_vanished_peer_is_found_within_twice_the_time(seconds: float) -> None:
    with socket.create_server((LOOPBACK, 0)) as listener:
        keep_alive(listener, seconds)
        with socket.create_connection(listener.getsockname()):
            accepted, _ = listener.accept()
    with accepted:
        assert probes(accepted)
        idle, interval, count = (accepted.getsockopt(socket.IPPROTO_TCP, option) for option in OPTIONS)
        assert idle <= max(seconds, 1)
        assert idle + interval * count <= max(2 * seconds, seconds + 5, 6)


def test_it_can_be_turned_off_again() -> None:
    with socket.create_server((LOOPBACK, 0)) as listener:
        keep_alive(listener, 60)
        keep_alive(listener, math.inf)
        assert not probes(listener)


def test_unix_sockets_are_left_alone() -> None:
    one, other = unix_pair()
    with one, other:
        keep_alive(one, 60)
        assert not probes(one)


async def test_only_a_connection_that_lasts_gets_it(autojump_clock: MockClock) -> None:
    near, far = tcp_pair()
    async with open_keepalive(60) as keepalive, SocketStream(near) as stream, SocketStream(far):
        await trio.sleep(1)
        keepalive.add(stream)
        await trio.sleep(LASTING)
        assert not probes(near)
        await trio.sleep(LASTING + 1)
        assert probes(near)


@dataclass
class Session:
    """Has connections."""

    began: float
    streams: list[SocketStream]


@dataclass
class Sessions:
    """What runs at the moment."""

    sessions: list[Session] = field(default_factory=list)


async def test_connections_of_a_source_are_watched_without_being_added(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Sessions()
    near, far = tcp_pair()
    async with open_keepalive(60) as keepalive, SocketStream(near) as first, SocketStream(far) as second:
        keepalive.sources += [Sessions(), source]
        await trio.sleep(1000)
        source.sessions.append(Session(trio.current_time(), [first]))
        keepalive.notice()
        await trio.sleep(LASTING - 5)
        source.sessions.append(Session(trio.current_time(), [second]))
        assert not probes(near)
        await trio.sleep(10)
        assert probes(near)
        assert not probes(far)
        keep_alive(near, math.inf)
        await trio.sleep(LASTING)
        assert probes(far)
        assert not probes(near)  # it is set once
        monkeypatch.setattr("chainsocks.net.keepalive.has_vanished", lambda sock, seconds: sock is near)
        with pytest.raises(BrokenResourceError):
            await first.receive()
        source.sessions.clear()
    assert not keepalive._old


async def test_connections_that_end_leave_nothing_behind(autojump_clock: MockClock) -> None:
    async with open_keepalive(60) as keepalive:
        for _ in range(10):
            near, far = tcp_pair()
            async with SocketStream(near) as stream, SocketStream(far):
                keepalive.add(stream)
        assert len(keepalive._young) == 1  # all had the same descriptor
        await trio.sleep(2 * LASTING + 1)
        assert not keepalive._young
        assert not keepalive._settling
        assert not keepalive._old


async def test_a_peer_that_is_only_slow_is_kept(autojump_clock: MockClock) -> None:
    near, far = tcp_pair(buffers=4096)
    async with open_keepalive(0.001) as keepalive, SocketStream(near) as stream, SocketStream(far):
        keepalive.add(stream)
        while stream.send_nowait(bytes(4096)):
            pass
        await trio.sleep(10 * LASTING)
        assert keepalive._old == [stream]


async def test_a_stream_whose_peer_has_vanished_is_broken_off(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    near, far = tcp_pair()
    async with open_keepalive(60) as keepalive, SocketStream(near) as stream, SocketStream(far):
        keepalive.add(stream)
        await trio.sleep(3 * LASTING)
        monkeypatch.setattr("chainsocks.net.keepalive.has_vanished", lambda sock, seconds: seconds == 90)
        with pytest.raises(BrokenResourceError):
            await stream.receive()
        await trio.sleep(LASTING)
        assert not keepalive._old


async def test_without_it_nothing_is_set(autojump_clock: MockClock) -> None:
    near, far = tcp_pair()
    async with open_keepalive(math.inf) as keepalive, SocketStream(near) as stream, SocketStream(far):
        keepalive.add(stream)
        await trio.sleep(2 * LASTING + 1)
        assert not probes(near)
