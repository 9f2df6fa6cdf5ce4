"""The far end of a measurement, two programs of its own: they echo, discard and send, as cheaply as the kernel can.

1. Discarded bytes are never copied, and sent bytes come from memory that is never copied (`Flow`).
2. One loop and no thread: thousands of idle connections cost nothing, a short one costs a few system calls.
3. What arrives is counted in `Counters`, which the parent process reads from shared memory.

The echo is a process beside the other kinds, so that an echo never waits for a chunk of bulk.
"""

from __future__ import annotations

import math
import mmap
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import Self

from chainsocks.config.listeners import Listener
from chainsocks.net.listeners import open_listeners
from chainsocks.protocol.address import Address
from chainsocks.server.file_limit import raise_limit
from chainsocks.tools.bench.child import end_with_parent, open_child, say_ready
from chainsocks.tools.bench.flow import Flow
from chainsocks.tools.bench.loop import IN, OUT, PACE, Loop, Task

__all__ = ["LOOPBACK", "Counters", "Kind", "Target", "What", "main", "open_target"]

MODULE = "chainsocks.tools.bench.target"
"""This module; as a program it has another name."""

LOOPBACK = "127.0.0.1"

MESSAGE = 1 << 16
"""Bytes to echo at once."""


class Kind(IntEnum):
    """What a listener of the far end does with its connections."""

    ECHO = 0
    SINK = 1
    SOURCE = 2
    BOTH = 3


class What(IntEnum):
    """What is counted for each kind."""

    ACCEPTED = 0
    """Connections that were opened."""
    CLOSED = 1
    """Connections that were closed."""
    RECEIVED = 2
    """Bytes that have arrived."""
    SENT = 3
    """Bytes that the kernel has taken; they may still be on their way."""


SIZE = len(Kind) * len(What) * 8


class Counters:
    """A number for each `Kind` and `What` in shared memory: one process adds, another may read at any time.

    *Closing*: the descriptor `fd` belongs to this object, and is closed with the memory.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._memory = mmap.mmap(fd, SIZE)
        self._numbers = memoryview(self._memory).cast("Q")

    @classmethod
    def create(cls) -> Self:
        """Create counters that are all 0."""
        fd = os.memfd_create("chainsocks-bench")
        os.truncate(fd, SIZE)
        return cls(fd)

    def add(self, kind: Kind, what: What, amount: int) -> None:
        """Add to a counter."""
        self._numbers[kind * len(What) + what] += amount

    def read(self, kind: Kind, what: What) -> int:
        """Return a counter."""
        return self._numbers[kind * len(What) + what]

    def close(self) -> None:
        """Free the memory."""
        self._numbers.release()
        self._memory.close()
        os.close(self.fd)


@dataclass(frozen=True, slots=True)
class Target:
    """The addresses and processes of the far end; they end with `open_target`."""

    echo: Address
    sink: Address
    source: Address
    both: Address
    pids: tuple[int, ...]
    counters: Counters

    @property
    def open_connections(self) -> int:
        """The number of connections that are open now."""
        read = self.counters.read
        return sum(read(kind, What.ACCEPTED) - read(kind, What.CLOSED) for kind in Kind)

    def wait_until_quiet(self, patience: float = 2.0) -> bool:
        """Wait until no connection is open, so that a later count has nothing of an earlier load; false if too long."""
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


@dataclass(frozen=True, slots=True)
class _Server:
    """What all connections of one program share."""

    loop: Loop
    counters: Counters
    flow: Flow

    def listen(self, kind: Kind, listener: socket.socket) -> Task:
        self.loop.attach(listener, IN)
        while True:
            yield
            try:
                while True:
                    sock, _ = listener.accept()
                    sock.settimeout(0)
                    self.loop.start(self._serve(kind, sock))
            except OSError:  # no connection waits any more, or the next one was aborted
                pass

    def _serve(self, kind: Kind, sock: socket.socket) -> Task:
        count = partial(self.counters.add, kind)
        count(What.ACCEPTED, 1)
        self.loop.attach(sock, IN)
        try:
            if kind is Kind.ECHO:
                yield from self._echo(sock)
            else:
                yield from self.flow.stream(
                    sock,
                    self.loop,
                    sent=None if kind is Kind.SINK else partial(count, What.SENT),
                    received=None if kind is Kind.SOURCE else partial(count, What.RECEIVED),
                    every=PACE,
                )
        except OSError:
            pass  # the peer reset the connection
        self.loop.close(sock)
        count(What.CLOSED, 1)

    def _echo(self, sock: socket.socket) -> Task:
        count = self.counters.add
        while True:
            yield
            try:
                data = sock.recv(MESSAGE)
            except BlockingIOError:
                continue
            if not data:
                return
            count(Kind.ECHO, What.RECEIVED, len(data))
            while data:
                try:
                    sent = sock.send(data)
                except BlockingIOError:
                    self.loop.expect(sock, OUT)
                    yield
                    self.loop.expect(sock, IN)
                    continue
                count(Kind.ECHO, What.SENT, sent)
                data = data[sent:]


def main(fd: str, host: str, *kinds: str) -> None:
    """Serve `kinds` on `host`, say their ports, and end when standard input does; count into the memory at `fd`."""
    raise_limit()
    with Loop() as loop, open_listeners([Listener(Address(host, 0))] * len(kinds)) as opened:
        server = _Server(loop, Counters(int(fd)), Flow())
        for kind, listener in zip(kinds, opened, strict=True):
            loop.start(server.listen(Kind[kind], listener.sock))
        loop.start(end_with_parent(loop))
        say_ready(*(listener.sock.getsockname()[1] for listener in opened))
        loop.run(math.inf)


if __name__ == "__main__":
    main(*sys.argv[1:])
