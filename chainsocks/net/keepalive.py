"""TCP keepalive: a peer that has vanished, as by a power cut, ends its session though it sends no end.

Accepted sockets inherit it from their listener (`keep_alive`). Sockets that were connected here get it once they have
lasted (`Keepalive`), so that it costs short sessions no system call. Peers that vanish while data is on its way to them
are found by looking at the connections that last.
"""

from __future__ import annotations

import math
import socket
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from trio.lowlevel import checkpoint

from chainsocks.net.stream import SocketStream

__all__ = ["LASTING", "Keepalive", "has_vanished", "keep_alive", "open_keepalive"]

LASTING = 30
"""Seconds after which a connection gets keepalive, at the latest after as long again; also between two looks at it."""

PROBES = 5
"""Unanswered probes after which a peer has vanished."""

MAX_SECONDS = 32767
"""The longest time before the first probe that Linux takes."""

UNANSWERED = 6
"""Retransmissions, or probes of a full window, in a row, after which a silent peer has vanished: 13 s at least."""

PATIENCE = 1.5
"""Times the seconds of keepalive that it is silent then. Together with `LASTING` that is some 2 minutes by default."""

STREAMS_BEFORE_YIELD = 100

_TCP_INFO = struct.Struct("=2xBB52xI")  # tcpi_retransmits, tcpi_probes, tcpi_last_ack_recv


def keep_alive(sock: socket.socket, seconds: float) -> None:
    """Probe a peer that has sent nothing for `seconds`, inf for never.

    A vanished peer is found within twice that, or 5 s more. While data is unacknowledged there are no probes; see
    `has_vanished` for that.
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


def has_vanished(sock: socket.socket, seconds: float) -> bool:
    """Whether a peer acknowledges neither data nor probes of a full window, and has sent nothing for `seconds`.

    A peer that is only slow acknowledges them. Linux only (struct tcp_info in linux/tcp.h); elsewhere the kernel's
    retransmissions end the connection, after some 15 minutes.
    """
    if sys.platform != "linux":
        return False
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    retransmits, probes, last_acknowledgement = _TCP_INFO.unpack(info)
    return bool(max(retransmits, probes) >= UNANSWERED and last_acknowledgement >= seconds * 1000)


class Keepalive:
    """Watches connections that last. `seconds`, as for `keep_alive`, may be changed at any time.

    Connections are found by their descriptors. A short one is replaced by the next one with its descriptor, so there
    are never more entries than descriptors.
    """

    __slots__ = ("_added", "_old", "_settling", "_young", "seconds")

    def __init__(self, seconds: float = math.inf) -> None:
        self.seconds = seconds
        self._added = trio.Event()
        self._young: dict[int, SocketStream] = {}
        self._settling: dict[int, SocketStream] = {}
        self._old: list[SocketStream] = []

    def add(self, stream: SocketStream) -> None:
        """Watch a TCP stream if it lasts."""
        if not self._young:
            self._added.set()
        self._young[stream.socket.fileno()] = stream

    async def run(self) -> None:
        """Watch the streams until cancelled."""
        while True:
            if not (self._young or self._settling or self._old):
                self._added = trio.Event()
                await self._added.wait()
            await trio.sleep(LASTING)
            lasting = [*self._settling.values()]
            self._settling, self._young = self._young, {}
            await self._watch(lasting)

    async def _watch(self, lasting: list[SocketStream]) -> None:
        """Set keepalive for `lasting`, which are new, and break off all streams whose peers have vanished."""
        streams, self._old = [*lasting, *self._old], []
        if self.seconds == math.inf:
            return
        for count, stream in enumerate(streams, 1):
            if stream.socket.fileno() >= 0:
                try:
                    if count <= len(lasting):
                        keep_alive(stream.socket, self.seconds)
                    if has_vanished(stream.socket, PATIENCE * self.seconds):
                        stream.break_off()
                    else:
                        self._old.append(stream)
                except OSError:
                    pass  # reset meanwhile
            if count % STREAMS_BEFORE_YIELD == 0:
                await checkpoint()


@asynccontextmanager
async def open_keepalive(seconds: float) -> AsyncIterator[Keepalive]:
    """Watch connections that last, for as long as the block runs."""
    keepalive = Keepalive(seconds)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keepalive.run)
        yield keepalive
        nursery.cancel_scope.cancel()
