"""Trouble that is nobody's fault: peers and hops that die, descriptors that run out, a server that has to stop."""

from __future__ import annotations

import queue
import resource
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest

from tests.e2e.programs import PATIENCE, SocketAddress
from tests.e2e.servers import Chainsocks, chainsocks
from tests.e2e.targets import send_until_stuck, serving
from tests.e2e.wire import (
    GREETING,
    ask_socks5,
    connect,
    connected,
    read,
    read_socks5_reply,
    read_to_end,
    reset,
    socks5_request,
)

FILES = 64
"""File descriptors that a server may have."""

CLIENTS = 100

AT_ONCE = 4
"""Connections that share a fate: in which order a server learns of it is up to chance."""


@contextmanager
def chain_of(length: int) -> Iterator[tuple[list[Chainsocks], Chainsocks]]:
    """Hops of our own, and the front server before them. They do not wait long for sessions that are stuck."""
    with ExitStack() as stack:
        hops = [stack.enter_context(chainsocks(grace=0.1)) for _ in range(length)]
        with chainsocks(*(hop.url for hop in hops)) as front:
            yield hops, front


def how_it_ends(sock: socket.socket) -> str:
    """Read to the end, and tell how that looked."""
    try:
        read_to_end(sock)
    except ConnectionResetError:
        return "a reset"
    return "a regular end"


BOTH_WAYS = pytest.mark.parametrize("both_ways", [False, True], ids=["one-way", "both-ways"])
"""Whether the side that stays has something to send as well: then a server may learn of the reset as it sends."""


@BOTH_WAYS
def test_a_client_that_breaks_off(front: Chainsocks, *, both_ways: bool) -> None:
    """Half an upload does not look like a whole one."""
    stuck: queue.Queue[None] = queue.Queue()
    ends: queue.Queue[str] = queue.Queue()

    def send_then_listen(sock: socket.socket) -> None:
        if both_ways:
            send_until_stuck(sock, 5)
        stuck.put(None)
        ends.put(how_it_ends(sock))

    with serving(send_then_listen) as target, ExitStack() as stack:
        socks = [stack.enter_context(connected(front.address, target)) for _ in range(AT_ONCE)]
        for sock in socks:
            sock.sendall(b"half of it")
        for _ in socks:
            stuck.get(timeout=PATIENCE)
        clients = [sock.getsockname() for sock in socks]
        for sock in socks:
            reset(sock)
        assert [ends.get(timeout=PATIENCE) for _ in socks] == ["a reset"] * AT_ONCE
        for client in clients:
            assert 'outcome="reset by the client"' in front.session(client)


@BOTH_WAYS
def test_a_target_that_breaks_off(front: Chainsocks, *, both_ways: bool) -> None:
    """Half a download does not look like a whole one."""
    stuck = threading.Event()

    def send_then_break_off(sock: socket.socket) -> None:
        sock.sendall(b"half of it")
        assert stuck.wait(PATIENCE)
        reset(sock)

    with serving(send_then_break_off) as target, ExitStack() as stack, ThreadPoolExecutor(AT_ONCE) as pool:
        socks = [stack.enter_context(connected(front.address, target)) for _ in range(AT_ONCE)]
        if both_ways:
            list(pool.map(lambda sock: send_until_stuck(sock, 5), socks))
        stuck.set()
        assert [how_it_ends(sock) for sock in socks] == ["a reset"] * AT_ONCE
        for sock in socks:
            assert 'outcome="reset by upstream"' in front.session(sock.getsockname())


@pytest.mark.parametrize(("length", "victim"), [(1, 0), (2, 1), (3, 1)], ids=["first", "last", "middle"])
def test_a_hop_is_killed(echo: SocketAddress, length: int, victim: int) -> None:
    """With data on its way, the client sees a reset, and the next one hears who is missing."""
    over = threading.Event()

    def read_nothing(sock: socket.socket) -> None:
        sock.sendall(b"half of it")
        over.wait(PATIENCE)

    with chain_of(length) as (hops, front), serving(read_nothing) as target:
        with connected(front.address, target) as sock:
            client = sock.getsockname()
            assert read(sock, 10) == b"half of it"
            send_until_stuck(sock, 5)
            hops[victim].process.send_signal(signal.SIGKILL)
            assert how_it_ends(sock) == "a reset"
        assert hops[victim].ended() == -signal.SIGKILL  # and not before has its listener gone
        over.set()
        assert 'outcome="reset by upstream"' in front.session(client)
        with connect(front.address) as sock:
            client = sock.getsockname()
            assert ask_socks5(sock, echo) == 1
        session = front.session(client)
        dead = hops[victim].listeners[0]
        if victim == 0:
            assert f"hop hop1 (1 of 1) at {dead}, TCP connect: connection refused" in session
        else:
            who = f"hop hop{victim} ({victim} of {length}) at {hops[victim - 1].listeners[0]}, request: "
            assert f"{who}it could not reach hop{victim + 1} at {dead}" in session


@contextmanager
def few_files() -> Iterator[Chainsocks]:
    """A server that may not open many files, and has not served anybody so far."""
    with chainsocks() as server:
        assert server.listeners
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (FILES, FILES))
        yield server


def works(server: Chainsocks, echo: SocketAddress) -> None:
    """The next client is served."""
    with connected(server.address, echo) as sock:
        sock.sendall(b"still there?")
        assert read(sock, 12) == b"still there?"


def connect_many(stack: ExitStack, server: Chainsocks) -> list[socket.socket]:
    return [stack.enter_context(connect(server.address)) for _ in range(CLIENTS)]


EXHAUSTED = "cannot accept: Too many open files"


def test_more_clients_than_file_descriptors(echo: SocketAddress) -> None:
    with few_files() as server:
        for round_ in range(1, 4):
            with ExitStack() as stack:
                connect_many(stack, server)
                server.wait_for(EXHAUSTED, times=round_)
            works(server, echo)


@pytest.mark.parametrize(
    ("host", "code", "complaint"),
    [("127.0.0.1", 1, "TCP connect: too many open files"), ("localhost", 4, "name lookup: no address for localhost")],
    ids=["address", "name"],
)
def test_a_request_without_a_file_descriptor_for_it(echo: SocketAddress, host: str, code: int, complaint: str) -> None:
    """It is refused, even if it is the very first, and may be made again when others have left."""
    with few_files() as server:
        with ExitStack() as stack:
            clients = connect_many(stack, server)
            server.wait_for(EXHAUSTED)
            assert ask_socks5(clients[0], (host, echo[1])) == code
            client = clients[0].getsockname()
            clients[0].close()
            assert complaint in server.session(client)
        works(server, echo)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_more_requests_than_file_descriptors(echo: SocketAddress, host: str) -> None:
    """Some have a way out, some are told that there is none, and some wait until others have left."""
    codes: list[int] = []

    def ask(_: int) -> None:
        with connect(server.address) as sock:
            sock.sendall(GREETING + socks5_request((host, echo[1])))
            assert read(sock, 2) == b"\x05\x00"
            code = read_socks5_reply(sock)[0]
            if code == 0:
                sock.sendall(b"data")
                assert read(sock, 4) == b"data"
            codes.append(code)

    with few_files() as server:
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(ask, range(3 * CLIENTS)))
        assert len(codes) == 3 * CLIENTS
        assert 0 in codes
        assert set(codes) <= {0, 1, 4}
        works(server, (host, echo[1]))


def refuses(server: Chainsocks) -> bool:
    """Whether it comes to refuse new connections."""
    for _ in range(10_000):
        try:
            connect(server.address).close()
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:
            continue  # the very last one
    return False


def test_a_server_that_has_to_stop(echo: SocketAddress) -> None:
    """New clients are refused, an open session may go on for `grace` seconds, and is cut off then."""
    with chainsocks(grace=0.3) as server, connected(server.address, echo) as sock:
        client = sock.getsockname()
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("SIGTERM: no new connections, up to 0.3 s for the open ones")
        assert refuses(server)
        sock.sendall(b"still there?")
        assert read(sock, 12) == b"still there?"
        assert how_it_ends(sock) == "a reset"
        assert 'outcome="cut off: the server is stopping"' in server.session(client)
        assert server.ended() == 0


def test_a_server_that_has_to_stop_now(echo: SocketAddress) -> None:
    with chainsocks(grace=60) as server, connected(server.address, echo) as sock:
        client = sock.getsockname()
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("SIGTERM: ")
        server.process.send_signal(signal.SIGTERM)
        assert how_it_ends(sock) == "a reset"
        assert 'outcome="cut off: the server is stopping"' in server.session(client)
        assert server.ended() == 0
