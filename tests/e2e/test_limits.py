"""Limits of several workers: they count together, and a worker that dies counts no more."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.background import wait_until
from tests.e2e.programs import PATIENCE, SocketAddress
from tests.e2e.servers import Chainsocks, chainsocks
from tests.e2e.wire import ask_socks5

HOST = "127.0.0.1"


@contextmanager
def limited(*limits: str, workers: int = 3) -> Iterator[Chainsocks]:
    lines = ["[control]", 'socket = "off"', "[limits]", *limits]
    with chainsocks(workers=workers, tables=lines) as server:
        server.wait_for(r" has started$", times=workers)
        yield server


def session(server: Chainsocks, destination: SocketAddress, stack: ExitStack) -> tuple[int, socket.socket]:
    """Ask for a session from the one address; return the reply's code and the client."""
    sock = stack.enter_context(socket.create_connection(server.address[:2], PATIENCE, (HOST, 0)))
    return ask_socks5(sock, destination), sock


def test_workers_count_the_sessions_of_a_client_together(echo: SocketAddress) -> None:
    with limited("sessions_per_client = 12") as server, ExitStack() as stack:
        granted = [session(server, echo, stack) for _ in range(12)]
        assert {code for code, _ in granted} == {0}
        with ExitStack() as others:
            assert {session(server, echo, others)[0] for _ in range(9)} == {2}
        server.wait_for(r"outcome=.sessions_per_client \(12\) is reached", times=9)
        served = set(re.findall(r"worker (\d): .* outcome=.sessions_per_client \(12\) is reached", server.said))
        assert len(served) > 1, "refused by more than one worker"

        died = re.search(r" worker 1 \(pid (\d+)\) has started$", server.said, re.MULTILINE)
        assert died
        os.kill(int(died[1]), signal.SIGKILL)
        server.wait_for(r" worker 4 \(pid \d+\) has started$")
        lost = sum(is_cut(sock) for _, sock in granted)
        codes = [session(server, echo, stack)[0] for _ in range(lost + 1)]
        assert codes == [0] * lost + [2]


def is_cut(sock: socket.socket) -> bool:
    try:
        sock.sendall(b"?")
        return sock.recv(1) == b""
    except ConnectionError:
        return True


def test_a_session_that_ends_in_one_worker_makes_room_in_all(echo: SocketAddress) -> None:
    with limited("sessions_per_client = 1") as server:
        for _ in range(12):
            with ExitStack() as stack:

                def is_granted(stack: ExitStack = stack) -> bool:
                    return session(server, echo, stack)[0] == 0

                wait_until(is_granted)


@pytest.mark.parametrize("key", ["bandwidth", "bandwidth_per_user"])
def test_workers_share_the_bandwidth(echo: SocketAddress, key: str) -> None:
    """What one leaves, the others may have: so a lone session has all of it, and many have no more together."""
    with limited(f"{key} = 2_000_000", workers=2) as server, ExitStack() as stack:
        (_, alone), *others = [session(server, echo, stack) for _ in range(9)]
        assert 1_200_000 < rate_of([alone]) < 3_000_000
        assert 1_200_000 < rate_of([alone, *(sock for _, sock in others)]) < 3_000_000


def rate_of(socks: list[socket.socket]) -> float:
    """Return the bytes a second that echoed sessions move both ways, in the second half of three seconds."""
    moved = [0] * len(socks)
    ends = threading.Event()

    def pour(sock: socket.socket) -> None:
        while not ends.is_set():
            sock.sendall(bytes(10_000))

    def drain(number: int, sock: socket.socket) -> None:
        while not ends.is_set():
            moved[number] += len(sock.recv(65536))

    threads = [threading.Thread(target=pour, args=(sock,), daemon=True) for sock in socks]
    threads += [threading.Thread(target=drain, args=each, daemon=True) for each in enumerate(socks)]
    for thread in threads:
        thread.start()
    time.sleep(1.5)
    before, began = sum(moved), time.monotonic()
    time.sleep(1.5)
    rate = 2 * (sum(moved) - before) / (time.monotonic() - began)
    ends.set()
    for thread in threads:
        thread.join(PATIENCE)
    return rate
