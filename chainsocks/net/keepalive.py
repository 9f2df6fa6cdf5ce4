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
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from typing import Protocol

import trio
from trio.lowlevel import checkpoint

from chainsocks.net.stream import SocketStream

__all__ = ["LASTING", "Keepalive", "Lasting", "Source", "has_vanished", "keep_alive", "open_keepalive"]

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


class Lasting(Protocol):
    """Something that has connections, and may last."""

    @property
    def began(self) -> float:
        """When it began, on trio's clock."""

    @property
    def streams(self) -> Iterable[SocketStream]:
        """Its TCP connections that are open."""


class Source(Protocol):
    """What has many of these; `Keepalive.notice` is called when it has none and gets one."""

    @property
    def sessions(self) -> Collection[Lasting]:
        """Those that there are now."""


class Keepalive:
    """Watches connections that last. `seconds`, as for `keep_alive`, may be changed at any time.

    Connections that are added are found by their descriptors. A short one is replaced by the next one with its
    descriptor, so there are never more entries than descriptors.
    """

    __slots__ = ("_added", "_lasted_since", "_old", "_settling", "_young", "seconds", "sources")

    def __init__(self, seconds: float = math.inf) -> None:
        self.seconds = seconds
        self.sources: list[Source] = []
        """Those whose connections are watched without being added."""
        self._added = trio.Event()
        self._young: dict[int, SocketStream] = {}
        self._settling: dict[int, SocketStream] = {}
        self._old: list[SocketStream] = []
        self._lasted_since = -math.inf
        """What has begun until then, among the sources, has keepalive."""

    def add(self, stream: SocketStream) -> None:
        """Watch a TCP stream if it lasts."""
        if not self._young:
            self._added.set()
        self._young[stream.socket.fileno()] = stream

    def notice(self) -> None:
        """Watch the sources: one of them had nothing until now."""
        self._added.set()

    async def run(self) -> None:
        """Watch the streams until cancelled."""
        while True:
            if not (self._young or self._settling or self._old or any(source.sessions for source in self.sources)):
                self._added = trio.Event()
                await self._added.wait()
            await trio.sleep(LASTING)
            lasting = [*self._settling.values()]
            self._settling, self._young = self._young, {}
            old, self._old = self._old, []
            if self.seconds == math.inf:
                continue
            await self._watch_sources(trio.current_time() - LASTING)
            for count, stream in enumerate((*lasting, *old), 1):
                if self._look_at(stream, is_new=count <= len(lasting)):
                    self._old.append(stream)
                if count % STREAMS_BEFORE_YIELD == 0:
                    await checkpoint()

    async def _watch_sources(self, until: float) -> None:
        """Look at what has begun before `until`."""
        since, self._lasted_since = self._lasted_since, until
        for source in [*self.sources]:
            for count, each in enumerate([*source.sessions], 1):
                if each.began <= until:
                    for stream in each.streams:
                        self._look_at(stream, is_new=each.began > since)
                if count % STREAMS_BEFORE_YIELD == 0:
                    await checkpoint()

    def _look_at(self, stream: SocketStream, *, is_new: bool) -> bool:
        """Set keepalive for a new stream, and break off one whose peer has vanished; return whether it goes on."""
        if stream.socket.fileno() < 0:
            return False
        try:
            if is_new:
                keep_alive(stream.socket, self.seconds)
            if not has_vanished(stream.socket, PATIENCE * self.seconds):
                return True
            stream.break_off()
        except OSError:
            pass  # reset meanwhile
        return False


@asynccontextmanager
async def open_keepalive(seconds: float) -> AsyncIterator[Keepalive]:
    """Watch connections that last, for as long as the block runs."""
    keepalive = Keepalive(seconds)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keepalive.run)
        yield keepalive
        nursery.cancel_scope.cancel()
