"""A row of links with latency, on loopback, in a process of their own: TCP relays that delay bytes, and do no more.

A link accepts connections at its own address and relays them to its target. Bytes come out `delay` seconds after they
went in, in either direction, in the same portions; there is no other limit.

On loopback the kernel makes a connect at once, and nothing can delay it. On a real link a connect takes a round trip,
and two things wait for it. So a link delays both for a round trip from the connect on:

1. The bytes on the new connection: they leave as if they had been sent when the connect was done.
2. The bytes that come back, meanwhile, on the connection over the previous link: it leads to the hop that connects, and
   a hop reports a connect when that is done. Of several connections there, it is the one that brought the hop its last
   bytes: they were the request.

The timers of `select` are precise to some 0.1 ms; those of `epoll` are rounded up to whole milliseconds.
"""

from __future__ import annotations

import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count, pairwise

from chainsocks.protocol.address import Address, parse_address

__all__ = ["open_links"]

CHUNK = 65536
NOWHERE = "-"
"""As a target: the link leads to the destination, which takes everything and sends nothing."""


@dataclass(slots=True)
class _Link:
    """One link: its listener, its target, and the link before it."""

    listener: socket.socket
    target: Address | None
    previous: _Link | None = None
    last: _Direction | None = None
    """The way back on the connection that has brought the target its last bytes."""


@dataclass(slots=True)
class _Direction:
    """One direction of a connection: from a socket to the other one, if there is another."""

    source: socket.socket
    sink: socket.socket | None
    link: _Link
    not_before: float
    """Until when bytes are held back."""
    back: _Direction | None = None
    """The other direction, of the one towards the target."""


@dataclass(slots=True)
class _Row:
    """All links, and the bytes under way on them."""

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
            # Connects first: the next bytes of a hop may report that one of them is done.
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
        established = now + 2 * self.delay
        self.directions[near] = _Direction(near, far, link, established)
        if far:
            self.directions[far] = self.directions[near].back = _Direction(far, near, link, 0.0)
        if link.previous and link.previous.last:
            link.previous.last.not_before = established
        for sock in filter(None, (near, far)):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _take(self, direction: _Direction, now: float) -> None:
        try:
            data = direction.source.recv(CHUNK)
        except ConnectionResetError:
            data = b""
        if not data:
            del self.directions[direction.source]
        heappush(self.due, (max(now, direction.not_before) + self.delay, next(self.numbers), direction, data))

    def _deliver(self, direction: _Direction, data: bytes) -> None:
        """Send bytes, or the end, on the other side; close a connection that has ended on both sides."""
        if direction.back:
            direction.link.last = direction.back
        if sink := direction.sink:
            try:
                if data:
                    sink.sendall(data)
                else:
                    sink.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # the receiver is gone; its own side ends by itself
        if not data and sink not in self.directions:
            for sock in filter(None, (direction.source, sink)):
                sock.close()


@contextmanager
def open_links(delay: float, targets: Sequence[Address | None], hosts: Sequence[str]) -> Iterator[tuple[Address, ...]]:
    """Run a row of links to `targets`, in the order in which a connection passes them; return the address of each.

    A target of None is the destination: it takes everything and sends nothing. `hosts` are local addresses, one for
    each link. `delay` is that of one direction, in seconds.
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
    """Run the links, and print their addresses."""
    half = len(ends_and_hosts) // 2
    links = [
        _Link(socket.create_server((host, 0)), None if end == NOWHERE else parse_address(end))
        for end, host in zip(ends_and_hosts[:half], ends_and_hosts[half:], strict=True)
    ]
    for link, next_link in pairwise(links):
        next_link.previous = link
    places = (link.listener.getsockname() for link in links)
    sys.stdout.write(" ".join(f"{host}:{port}" for host, port in places) + "\n")
    sys.stdout.flush()
    _Row(float(delay), links).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
