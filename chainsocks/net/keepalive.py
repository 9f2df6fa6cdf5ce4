"""TCP keepalive: a peer that has vanished, as by a power cut, ends its session though it sends no end.

Accepted sockets inherit it from their listener (`keep_alive`). Sockets that were connected here get it once they have
lasted (`Keepalive`), so that it costs short sessions no system call.
"""

from __future__ import annotations

import math
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from trio.lowlevel import checkpoint

from chainsocks.net.stream import SocketStream

__all__ = ["LASTING", "Keepalive", "keep_alive", "open_keepalive"]

LASTING = 30
"""Seconds: a connection that has lasted this long gets keepalive, at the latest after as long again."""

PROBES = 5
"""Unanswered probes after which a peer has vanished."""

MAX_SECONDS = 32767
"""The longest time before the first probe that Linux takes."""

STREAMS_BEFORE_YIELD = 100


def keep_alive(sock: socket.socket, seconds: float) -> None:
    """Probe a peer that has sent nothing for `seconds`, inf for never.

    A vanished peer is found within twice that, or 5 s more. While data is unacknowledged there are no probes, and the
    kernel's retransmissions find it (tcp(7), tcp_retries2).
    """
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return  # the peer is on this machine
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, seconds < math.inf)
    if seconds == math.inf:
        return
    wait = min(max(1, int(seconds)), MAX_SECONDS)
    # Not every system has all of these, and macOS calls the first one TCP_KEEPALIVE.
    for names, value in (
        (("TCP_KEEPIDLE", "TCP_KEEPALIVE"), wait),
        (("TCP_KEEPINTVL",), max(1, wait // (PROBES + 1))),
        (("TCP_KEEPCNT",), PROBES),
    ):
        option = next((getattr(socket, name) for name in names if hasattr(socket, name)), None)
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


class Keepalive:
    """Sets keepalive for connections that last. `seconds`, as for `keep_alive`, may be changed at any time.

    Connections are found by their descriptors. A short one is replaced by the next one with its descriptor, so there
    are never more entries than descriptors.
    """

    __slots__ = ("_added", "_lasting", "_young", "seconds")

    def __init__(self, seconds: float = math.inf) -> None:
        self.seconds = seconds
        self._young: dict[int, SocketStream] = {}
        self._added = trio.Event()
        self._lasting: dict[int, SocketStream] = {}

    def add(self, stream: SocketStream) -> None:
        """Have `stream` get keepalive if it lasts."""
        if not self._young:
            self._added.set()
        self._young[stream.socket.fileno()] = stream

    async def run(self) -> None:
        """Set keepalive until cancelled."""
        while True:
            if not self._young and not self._lasting:
                self._added = trio.Event()
                await self._added.wait()
            await trio.sleep(LASTING)
            lasting = [*self._lasting.values()]
            self._lasting, self._young = self._young, {}
            for count, stream in enumerate(lasting, 1):
                try:
                    if stream.socket.fileno() >= 0:
                        keep_alive(stream.socket, self.seconds)
                except OSError:
                    pass  # reset meanwhile
                if count % STREAMS_BEFORE_YIELD == 0:
                    await checkpoint()


@asynccontextmanager
async def open_keepalive(seconds: float) -> AsyncIterator[Keepalive]:
    """Set keepalive for connections that last, for as long as the block runs."""
    keepalive = Keepalive(seconds)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keepalive.run)
        yield keepalive
        nursery.cancel_scope.cancel()
