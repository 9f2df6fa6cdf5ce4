"""Bulk that costs its sender and its receiver next to nothing: the relay between them is what has to work.

1. What is sent lies in memory once, and sendfile hands the kernel that memory: nothing is copied.
2. What is received is discarded where it is (``MSG_TRUNC``): nothing is copied either.
3. Who receives is not woken for every segment: the sender pays for waking, and on one machine that is most of the cost.
"""

from __future__ import annotations

import mmap
import os
import socket

__all__ = ["CHUNK", "Flow"]

CHUNK = 1 << 20
"""Bytes that are sent at once; then another connection has its turn."""

ROOM = 1 << 24
"""Bytes that are discarded at once: more than any receive buffer holds."""

WORTH_WAKING = 1 << 18
"""Bytes that have to be there before a socket is said to be readable."""


class Flow:
    """Memory to send from, and memory that is said to receive and is never touched."""

    def __init__(self) -> None:
        self._source = os.memfd_create("chainsocks-bench")
        os.write(self._source, os.urandom(4096) * (CHUNK // 4096))
        self._room = mmap.mmap(-1, ROOM)

    def receive_in_bulk(self, sock: socket.socket) -> None:
        """Have `sock` be readable only when there is much to discard, or its end.

        Less than that stays there unnoticed: whoever counts has to `discard` now and then, readable or not.
        """
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, WORTH_WAKING)

    def send(self, sock: socket.socket) -> int:
        """Send as much as goes, up to a chunk; return how much that was, 0 for nothing now.

        Raises:
            OSError: the connection is broken.
        """
        try:
            return os.sendfile(sock.fileno(), self._source, 0, CHUNK)
        except BlockingIOError:
            return 0

    def discard(self, sock: socket.socket) -> int | None:
        """Discard all that has arrived; return how much that was, None for nothing now, 0 for the end.

        Raises:
            OSError: the connection is broken.
        """
        try:
            return sock.recv_into(self._room, 0, socket.MSG_TRUNC)
        except BlockingIOError:
            return None

    def close(self) -> None:
        """Give the memory back."""
        os.close(self._source)
        self._room.close()
