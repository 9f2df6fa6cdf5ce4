"""The far end of a measurement, a program of its own: it echoes, it discards, it sends, as cheaply as the kernel can.

1. What it discards is never copied (``MSG_TRUNC``), what it sends comes from memory that is never copied (sendfile).
2. One epoll loop, no thread: thousands of idle connections cost nothing, a short one a few system calls.
3. It counts what really arrives, in `Counters` that its parent reads.

The echo is a process beside the other three, so that an echo never waits for a chunk of somebody's bulk.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from chainsocks.config.listeners import Listener
from chainsocks.net.listeners import open_listeners
from chainsocks.protocol.address import Address
from chainsocks.tools.bench.child import open_child, say_ready
from chainsocks.tools.bench.counters import Counters, Kind, What
from chainsocks.tools.bench.descriptors import raise_limit
from chainsocks.tools.bench.flow import Flow
from chainsocks.tools.bench.loop import IN, OUT

__all__ = ["LOOPBACK", "Target", "main", "open_target"]

MODULE = "chainsocks.tools.bench.target"
"""This one; as a program it has another name."""

LOOPBACK = "127.0.0.1"

MESSAGE = 1 << 16
"""Bytes that are echoed at once."""

PACE = 0.05
"""Seconds between two looks at what has arrived and was not worth waking for: the counters are so old at most."""

GONE: int = getattr(select, "EPOLLRDHUP", 0)
"""The peer has finished, at least with sending."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where it listens; all of it ends with `open_target`."""

    echo: Address
    sink: Address
    source: Address
    both: Address
    pids: tuple[int, ...]
    counters: Counters

    @property
    def open_connections(self) -> int:
        """How many there are."""
        read = self.counters.read
        return sum(read(kind, What.ACCEPTED) - read(kind, What.CLOSED) for kind in Kind)

    def wait_until_quiet(self, patience: float = 2.0) -> bool:
        """Wait, if need be, until the last connection is gone, so that nothing of it is counted as something else."""
        deadline = time.monotonic() + patience
        while self.open_connections:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        return True


@contextmanager
def open_target(host: str = LOOPBACK) -> Iterator[Target]:
    """Run the far end on `host`, an IP address of this machine, until the end of the block.

    Raises:
        ChildError: it does not start.
    """
    with ExitStack() as stack:
        counters = Counters.create()
        stack.callback(counters.close)
        ports: dict[Kind, int] = {}
        pids = []
        for kinds in ((Kind.ECHO,), (Kind.SINK, Kind.SOURCE, Kind.BOTH)):
            names = [kind.name for kind in kinds]
            child = stack.enter_context(open_child(MODULE, str(counters.fd), host, *names, descriptors=(counters.fd,)))
            ports.update(zip(kinds, map(int, child.words), strict=True))
            pids.append(child.pid)
        addresses = {kind.name.lower(): Address(host, port) for kind, port in ports.items()}
        yield Target(**addresses, pids=tuple(pids), counters=counters)


class _Connection:
    """One connection. `serve` returns the events to wait for, or None when it is over."""

    __slots__ = ("_server", "sock")

    first: int

    def __init__(self, sock: socket.socket, server: _Server) -> None:
        self.sock = sock
        self._server = server

    def serve(self, events: int) -> int | None:
        """Do what can be done now."""
        raise NotImplementedError


class _Echo(_Connection):
    __slots__ = ("_owed",)

    first = IN

    def __init__(self, sock: socket.socket, server: _Server) -> None:
        super().__init__(sock, server)
        self._owed = b""

    def serve(self, events: int) -> int | None:
        counters = self._server.counters
        if not self._owed:
            self._owed = self.sock.recv(MESSAGE)
            if not self._owed:
                return None
            counters.add(Kind.ECHO, What.RECEIVED, len(self._owed))
        try:
            sent = self.sock.send(self._owed)
        except BlockingIOError:
            return OUT
        counters.add(Kind.ECHO, What.SENT, sent)
        self._owed = self._owed[sent:]
        return OUT if self._owed else IN


class _Sink(_Connection):
    __slots__ = ()

    first = IN

    def serve(self, events: int) -> int | None:
        size = self._server.flow.discard(self.sock)
        if size == 0:
            return None
        self._server.counters.add(Kind.SINK, What.RECEIVED, size or 0)
        return IN


class _Source(_Connection):
    __slots__ = ()

    first = OUT | GONE

    def serve(self, events: int) -> int | None:
        if events & GONE:
            return None
        self._server.counters.add(Kind.SOURCE, What.SENT, self._server.flow.send(self.sock))
        return OUT | GONE


class _Both(_Connection):
    __slots__ = ()

    first = IN | OUT

    def serve(self, events: int) -> int | None:
        flow, counters = self._server.flow, self._server.counters
        if events & IN:
            size = flow.discard(self.sock)
            if size == 0:
                return None
            counters.add(Kind.BOTH, What.RECEIVED, size or 0)
        if events & OUT:
            counters.add(Kind.BOTH, What.SENT, flow.send(self.sock))
        return IN | OUT


CONNECTIONS: Mapping[Kind, type[_Connection]] = {
    Kind.ECHO: _Echo,
    Kind.SINK: _Sink,
    Kind.SOURCE: _Source,
    Kind.BOTH: _Both,
}


class _Server:
    """The loop, and all connections."""

    def __init__(self, counters: Counters, flow: Flow) -> None:
        self.counters = counters
        self.flow = flow
        self._epoll = select.epoll()
        self._listeners: dict[int, tuple[Kind, socket.socket]] = {}
        self._connections: dict[int, tuple[Kind, _Connection, int]] = {}
        self._sinks: set[int] = set()

    def listen(self, kind: Kind, listener: socket.socket) -> None:
        self._listeners[listener.fileno()] = kind, listener
        self._epoll.register(listener, IN)

    def run(self, lifeline: int) -> None:
        """Serve until `lifeline` comes to its end."""
        self._epoll.register(lifeline, IN)
        next_look = 0.0
        while True:
            if self._sinks and time.monotonic() >= next_look:
                next_look = time.monotonic() + PACE
                for fd in tuple(self._sinks):
                    self._serve(fd, IN)
            for fd, events in self._epoll.poll(PACE if self._sinks else None):
                if fd in self._connections:
                    self._serve(fd, events)
                elif fd in self._listeners:
                    self._accept(*self._listeners[fd])
                elif fd == lifeline and not os.read(lifeline, 4096):
                    return

    def _accept(self, kind: Kind, listener: socket.socket) -> None:
        make = CONNECTIONS[kind]
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:  # nobody is left, or somebody is gone already
                return
            sock.settimeout(0)
            self.counters.add(kind, What.ACCEPTED, 1)
            self._connections[sock.fileno()] = kind, make(sock, self), make.first
            self._epoll.register(sock, make.first)
            if kind in (Kind.SINK, Kind.BOTH):
                self.flow.receive_in_bulk(sock)
                self._sinks.add(sock.fileno())

    def _serve(self, fd: int, events: int) -> None:
        kind, connection, waits_for = self._connections[fd]
        try:
            wanted = connection.serve(events)
        except BlockingIOError:
            return
        except OSError:  # reset, by a peer that had enough
            wanted = None
        if wanted is None:
            del self._connections[fd]
            self._sinks.discard(fd)
            connection.sock.close()
            self.counters.add(kind, What.CLOSED, 1)
        elif wanted != waits_for:
            self._connections[fd] = kind, connection, wanted
            self._epoll.modify(fd, wanted)


def main(fd: str, host: str, *kinds: str) -> None:
    """Serve `kinds` on `host`, say their ports, and end when standard input does; count into the memory at `fd`."""
    raise_limit()
    server = _Server(Counters(int(fd)), Flow())
    with open_listeners([Listener(Address(host, 0))] * len(kinds)) as opened:
        for kind, each in zip(kinds, opened, strict=True):
            server.listen(Kind[kind], each.sock)
        say_ready(*(each.sock.getsockname()[1] for each in opened))
        server.run(sys.stdin.fileno())


if __name__ == "__main__":
    main(*sys.argv[1:])
