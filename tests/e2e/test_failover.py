"""A hop of a group that is killed under load: no client notices, and when it is there again it is used again."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from tests.background import wait_until
from tests.e2e.programs import SocketAddress, free_address
from tests.e2e.servers import Chainsocks, chainsocks
from tests.e2e.wire import connected, read

CLIENTS = 4
"""At a time, one session after the other each."""

PACE = 0.02
"""Seconds between two of them: what the servers say of each has to be read, too."""

WORD = b"is anybody there?"

QUICK_REST = "[health]\nrest = 0.1\nlongest_rest = 0.2"


class Load:
    """Clients that have short sessions until they are told to stop. What goes wrong is raised where `failures` is."""

    def __init__(self, front: SocketAddress, echo: SocketAddress) -> None:
        self._front, self._echo = front, echo
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self.served = 0
        self.cut = 0
        """Sessions that were cut: only one that had been granted is, and its reply may be lost with it."""

    def run(self) -> None:
        """Have sessions; a request that is refused fails the test."""
        while not self._stopping.wait(PACE):
            try:
                with connected(self._front, self._echo) as sock:
                    sock.sendall(WORD)
                    answer = read(sock, len(WORD))
                    assert answer in (WORD, b"")  # a hop that is killed with nothing unread ends its streams
            except (ConnectionResetError, BrokenPipeError):
                answer = b""
            with self._lock:
                if answer:
                    self.served += 1
                else:
                    self.cut += 1

    def stop(self) -> None:
        self._stopping.set()

    def go_on(self, sessions: int) -> None:
        """Wait until so many more have been served."""
        wanted = self.served + sessions
        wait_until(lambda: self.served >= wanted or self._stopping.is_set())
        assert not self._stopping.is_set(), "a client has met something that it should not have noticed"


@contextmanager
def load(front: SocketAddress, echo: SocketAddress) -> Iterator[Load]:
    """Keep clients busy; at the end, all of them have been served until then."""
    clients = Load(front, echo)
    with ThreadPoolExecutor(CLIENTS) as pool:
        tasks: list[Future[None]] = [pool.submit(clients.run) for _ in range(CLIENTS)]
        for task in tasks:
            task.add_done_callback(lambda _: clients.stop())  # the first one that fails ends all
        try:
            yield clients
        finally:
            clients.stop()
    for task in tasks:
        task.result()


def kill(hop: Chainsocks) -> None:
    hop.process.send_signal(signal.SIGKILL)
    hop.ended()


def is_used(front: Chainsocks, name: str) -> Callable[[], bool]:
    """Return a question: whether any session has gone through a hop since now."""
    seen = len(front.lines)
    return lambda: any(f" hops={name} reply=00 " in line for line in front.lines[seen:])


def test_no_client_notices_that_a_hop_is_killed_and_it_is_used_again(echo: SocketAddress) -> None:
    listen = ["{}:{}".format(*free_address())]
    with chainsocks(listen=listen) as first, chainsocks() as second:
        with chainsocks(first.url, second.url, group=QUICK_REST) as front, load(front.address, echo) as clients:
            clients.go_on(20)
            kill(first)
            front.wait_for(r" WARNING hop hop1 in backoff for ")
            clients.go_on(20)
            with chainsocks(listen=listen) as again:
                assert again.listeners == listen
                front.wait_for(r" INFO hop hop1 is back$")
                wait_until(is_used(front, "hop1"))
                clients.go_on(20)
                clients.stop()
        assert clients.cut <= CLIENTS, "those that were in the middle of it when the hop died, and nobody later"
        replies = {match[1] for line in front.lines if (match := re.search(r" id=.* reply=(\S+) ", line))}
        assert replies == {"00"}
