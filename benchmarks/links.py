"""A row of links with latency, on loopback, in a process of their own: TCP relays that delay bytes, and only that.

A link takes connections at its own address and carries them to its target. What is sent into it comes out `delay`
seconds later, in either direction, in the portions that it was sent in; there is no other limit.

On loopback a connect takes no time, and nothing can make it: the kernel does it before anybody is asked. On a real link
it takes a round trip, and two things wait for it. So both are held back here for a round trip from the connect on:

1. What is sent on the new connection: it leaves as if it had been sent when the connect was through.
2. What is said, meanwhile, on the link before: it leads to the hop that connects, and a hop says that a connect is
   through when it is. There is one connection at a time through a row, which is how the two are known to belong
   together.

Timers are those of `select`, which are precise to some 0.1 ms; those of `epoll` are rounded up to whole milliseconds.
"""

from __future__ import annotations

import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count, pairwise

from chainsocks.protocol.address import Address, parse_address

__all__ = ["open_links"]

CHUNK = 65536
NOWHERE = "-"
"""For a target: the link's far end is the destination, which takes everything and says nothing."""


@dataclass(slots=True)
class _Link:
    """One link: where it is entered, where it leads to, and until when a connect over it is under way."""

    listener: socket.socket
    target: Address | None
    connecting_until: float = 0.0
    following: _Link | None = None


@dataclass(slots=True)
class _Direction:
    """One way of a connection: from a socket to the other one, which there may not be."""

    source: socket.socket
    sink: socket.socket | None
    not_before: Callable[[], float]
    """Until when what is said is held back."""


@dataclass(slots=True)
class _Row:
    """All links, and what is under way on them."""

    delay: float
    links: list[_Link]
    directions: dict[socket.socket, _Direction] = field(default_factory=dict)
    due: list[tuple[float, int, _Direction, bytes]] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=count)

    def run(self) -> None:
        """Carry bytes until standard input ends."""
        listeners = {link.listener: link for link in self.links}
        while True:
            wait = max(0.0, self.due[0][0] - time.monotonic()) if self.due else None
            ready, _, _ = select.select([sys.stdin, *listeners, *self.directions], [], [], wait)
            now = time.monotonic()
            while self.due and self.due[0][0] <= now:
                _, _, direction, data = heappop(self.due)
                self._deliver(direction, data)
            # Connects first: what a hop says next may be that one of them is through.
            for source in sorted(ready, key=lambda source: source not in listeners):
                if source is sys.stdin:
                    return
                if source in listeners:
                    self._open(listeners[source], now)
                elif source in self.directions:
                    self._take(self.directions[source], now)

    def _open(self, link: _Link, now: float) -> None:
        near, _ = link.listener.accept()
        far = socket.create_connection((link.target.host, link.target.port)) if link.target else None
        established = link.connecting_until = now + 2 * self.delay
        following = link.following
        self.directions[near] = _Direction(near, far, lambda: established)
        if far:
            self.directions[far] = _Direction(far, near, lambda: following.connecting_until if following else 0.0)
        for sock in filter(None, (near, far)):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _take(self, direction: _Direction, now: float) -> None:
        try:
            data = direction.source.recv(CHUNK)
        except ConnectionResetError:
            data = b""
        if not data:
            del self.directions[direction.source]
        heappush(self.due, (max(now, direction.not_before()) + self.delay, next(self.numbers), direction, data))

    def _deliver(self, direction: _Direction, data: bytes) -> None:
        """Have bytes, or the end, come out at the other side; a socket that nobody reads from any more is closed."""
        if sink := direction.sink:
            try:
                if data:
                    sink.sendall(data)
                else:
                    sink.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # whoever it was for is gone, which he is told by himself
        if not data and sink not in self.directions:
            for sock in filter(None, (direction.source, sink)):
                sock.close()


@contextmanager
def open_links(delay: float, targets: Sequence[Address | None], hosts: Sequence[str]) -> Iterator[tuple[Address, ...]]:
    """Run a row of links to `targets`, in the order in which a connection passes them; return where each is entered.

    A target of None is the destination: it takes everything and says nothing. `hosts` are addresses of ours, one for
    each link. `delay` is that of one way, in seconds.
    """
    ends = [str(target) if target else NOWHERE for target in targets]
    command = [sys.executable, "-m", "benchmarks.links", str(delay), *ends, *hosts]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield tuple(map(parse_address, process.stdout.readline().split()))
        finally:
            process.kill()


def main(delay: str, *ends_and_hosts: str) -> None:
    """Run the links, and print where they are."""
    half = len(ends_and_hosts) // 2
    links = [
        _Link(socket.create_server((host, 0)), None if end == NOWHERE else parse_address(end))
        for end, host in zip(ends_and_hosts[:half], ends_and_hosts[half:], strict=True)
    ]
    for link, following in pairwise(links):
        link.following = following
    places = (link.listener.getsockname() for link in links)
    sys.stdout.write(" ".join(f"{host}:{port}" for host, port in places) + "\n")
    sys.stdout.flush()
    _Row(float(delay), links).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
