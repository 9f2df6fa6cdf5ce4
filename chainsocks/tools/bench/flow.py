"""Bulk that costs its sender and its receiver next to nothing, so that the relay between them sets the pace.

1. The bytes to send are in memory once, and sendfile hands the kernel that memory: nothing is copied.
2. Received bytes are discarded in the kernel (``MSG_TRUNC``): nothing is copied either.
3. A receiver is not woken for every segment (``SO_RCVLOWAT``): on one machine the sender pays for most of a wake-up.
"""

from __future__ import annotations

import math
import mmap
import os
import socket
from collections.abc import Callable, Generator

from chainsocks.tools.bench.loop import IN, OUT, Expired, Loop

__all__ = ["CHUNK", "WORTH_WAKING", "Flow"]

CHUNK = 1 << 20
"""Bytes to send at once, before another connection has its turn."""

ROOM = 1 << 24
"""Bytes to discard at once: more than any receive buffer holds."""

WORTH_WAKING = 1 << 18
"""Bytes that make a socket readable."""

Count = Callable[[int], object]
"""Takes a number of bytes."""


class Flow:
    """Memory to send from, and memory that is said to receive and is never touched."""

    def __init__(self) -> None:
        self._source = os.memfd_create("chainsocks-bench")
        os.write(self._source, os.urandom(4096) * (CHUNK // 4096))
        self._room = mmap.mmap(-1, ROOM)

    def stream(
        self, sock: socket.socket, loop: Loop, *, sent: Count | None, received: Count | None, every: float = math.inf
    ) -> Generator[None, int, None]:
        """Send, receive or both at full speed, in a task; return at the end of the peer's stream.

        `sent` and `received` take the bytes of each call; None leaves that direction out. Every `every` seconds, bytes
        are counted that are too few for an event. `sock` is attached, and is not closed here.

        Raises:
            OSError: the connection broke.
        """
        if received:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, WORTH_WAKING)
        loop.expect(sock, (OUT if sent else 0) | IN)
        while True:
            loop.allow(every)
            try:
                events = yield
            except Expired:
                events = IN
            if events & ~OUT:
                size = self.discard(sock)
                if size == 0:
                    return
                if received:
                    received(size or 0)
            if events & OUT and sent:
                sent(self.send(sock))

    def send(self, sock: socket.socket) -> int:
        """Send up to a chunk without waiting; return how many bytes the kernel took.

        Raises:
            OSError: the connection broke.
        """
        try:
            return os.sendfile(sock.fileno(), self._source, 0, CHUNK)
        except BlockingIOError:
            return 0

    def discard(self, sock: socket.socket) -> int | None:
        """Discard what has arrived; return how many bytes, None for nothing yet, 0 for the end.

        Raises:
            OSError: the connection broke.
        """
        try:
            return sock.recv_into(self._room, 0, socket.MSG_TRUNC)
        except BlockingIOError:
            return None

    def close(self) -> None:
        """Free the memory."""
        os.close(self._source)
        self._room.close()
