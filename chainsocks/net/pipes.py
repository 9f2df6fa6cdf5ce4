"""Kernel pipes for splice: enlarged, pooled, and bounded in number. All relays of a process share one pool."""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec

__all__ = ["PIPE_SIZE", "Pipe", "Pipes"]

_fcntl = import_module("fcntl") if find_spec("fcntl") else None  # Windows has none, and no splice either

PIPE_SIZE = 1024 * 1024
"""Capacity of a pipe in bytes: the most that Linux grants without privileges (/proc/sys/fs/pipe-max-size)."""

MAX_OPEN = 64
"""Pipes open at once. A direction holds one only while it moves bytes, so these suffice for far more relays, and their
descriptors stay few compared with those of the sessions."""

MAX_IDLE = 16
"""Unused pipes that stay open for the next transfer."""


class Pipe:
    """A non-blocking pipe: `reader` and `writer` are its descriptors, `held` is the number of bytes in it."""

    __slots__ = ("held", "reader", "writer")

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.held = 0
        if _fcntl:
            try:
                _fcntl.fcntl(self.writer, _fcntl.F_SETPIPE_SZ, PIPE_SIZE)
            except OSError:
                pass  # this user has used up its pipe memory (pipe-user-pages-soft); a small pipe works as well

    def close(self) -> None:
        """Close both ends; the bytes in the pipe are lost."""
        os.close(self.reader)
        os.close(self.writer)


class Pipes:
    """A pool of empty pipes."""

    def __init__(self, max_open: int = MAX_OPEN) -> None:
        self._max_open = max_open
        self._open = 0
        self._free: list[Pipe] = []

    def acquire(self) -> Pipe | None:
        """Return an empty pipe, or None if too many are open or no descriptor is left."""
        if self._free:
            return self._free.pop()
        if self._open >= self._max_open:
            return None
        try:
            pipe = Pipe()
        except OSError:
            return None
        self._open += 1
        return pipe

    def release(self, pipe: Pipe) -> None:
        """Return a pipe to the pool. An empty one is reused; one that holds bytes is closed."""
        if pipe.held or len(self._free) >= MAX_IDLE:
            pipe.close()
            self._open -= 1
        else:
            self._free.append(pipe)

    def close(self) -> None:
        """Close the unused pipes."""
        for pipe in self._free:
            pipe.close()
        self._open -= len(self._free)
        self._free.clear()
