"""Sockets through chains whose bytes are encrypted for a hop: relayed by the thread, with their ends."""

from __future__ import annotations

import socket
import threading
from functools import partial

import pytest

import chainsocks
from chainsocks.bridge.sockets import Delivery, open_socket, socket_pair
from tests.background import PATIENCE, wait_until
from tests.bridge.conftest import World
from tests.client.running import run


def test_a_pair() -> None:
    near, far = socket_pair()
    with near, far:
        assert (near.getpeername(), near.gettimeout()) == (far.getsockname(), None)
        assert far.gettimeout() == 0
        near.sendall(b"hello")
        far.settimeout(PATIENCE)
        assert far.recv(10) == b"hello"


def test_a_stranger_gets_no_end_of_a_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    strangers = []
    connect = socket.create_connection

    def connect_second(address: tuple[str, int]) -> socket.socket:
        strangers.append(connect(address))
        return connect(address)

    monkeypatch.setattr(socket, "create_connection", connect_second)
    near, far = socket_pair()
    with near, far, strangers[0] as stranger:
        near.sendall(b"ours")
        far.settimeout(PATIENCE)
        assert far.recv(10) == b"ours"
        stranger.settimeout(PATIENCE)
        assert stranger.recv(10) == b""


def dialled(world: World, *, relayed: bool) -> socket.socket:
    chain = world.secured if relayed else world.plain
    return chainsocks.sync.connect(world.echo.host, world.echo.port, chain=chain, timeout=PATIENCE)


@pytest.mark.parametrize("relayed", [False, True])
def test_a_lot_of_bytes_and_both_ends(world: World, relayed: bool) -> None:  # noqa: FBT001
    data = b"abc" * 1_000_000
    with dialled(world, relayed=relayed) as sock:

        def send() -> None:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        heard = bytearray()
        while more := sock.recv(65536):
            heard += more
        sender.join()
    assert bytes(heard) == b"220 hello\r\n" + data.upper()


def test_it_is_a_socket_of_tcp(world: World) -> None:
    with dialled(world, relayed=True) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert sock.family is socket.AF_INET


def test_an_end_without_the_end_of_tls_is_a_reset(world: World) -> None:
    """What was received may be a part of what was sent."""
    with dialled(world, relayed=True) as sock:
        assert sock.recv(100) == b"220 hello\r\n"
        world.front.opened[-1].break_off()
        with pytest.raises(ConnectionResetError):
            sock.recv(100)


def test_a_reset_here_is_a_reset_far_away(world: World) -> None:
    with dialled(world, relayed=True) as sock:
        assert sock.recv(100) == b"220 hello\r\n"
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    wait_until(lambda: world.front.opened[-1].socket.fileno() < 0)


def test_one_that_is_not_wanted_any_more_is_closed(world: World) -> None:
    for chain in (world.plain, world.secured):
        opening = partial(open_socket, world.echo.host, world.echo.port, chain, None, None, None, None)
        late = Delivery(opening)
        late.future.result()
        sock = late.take()
        late.refuse()
        assert sock.fileno() < 0
        early = Delivery(opening)
        early.refuse()
        with pytest.raises(RuntimeError, match="before it was opened"):
            early.take()


def test_one_that_comes_after_it_was_refused_is_closed() -> None:
    go_on, (near, far) = threading.Event(), socket_pair()

    async def opening() -> socket.socket:
        go_on.wait(PATIENCE)  # what cannot be cancelled
        return near

    delivery = Delivery(opening)
    delivery.refuse()
    go_on.set()
    with far:
        wait_until(lambda: near.fileno() < 0)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_it_can_be_called_where_a_loop_runs(world: World, backend: str) -> None:
    async def go() -> bytes:
        with dialled(world, relayed=False) as sock:
            return sock.recv(100)

    assert run(backend, go) == b"220 hello\r\n"
