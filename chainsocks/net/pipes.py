"""Enlarged kernel pipes for splice, shared by all relays of a process and bounded in number."""

from __future__ import annotations

import fcntl
import os

__all__ = ["PIPE_SIZE", "Pipe", "Pipes"]

PIPE_SIZE = 1024 * 1024
"""Bytes a pipe may hold: what Linux grants to anybody (/proc/sys/fs/pipe-max-size)."""

MOST = 64
"""Pipes open at once. A direction has one only while it holds bytes or moves them, so this many suffice for far more
relays, and the descriptors that they take stay few beside those of the sessions."""

KEPT = 16
"""Pipes kept open for the next transfer."""


class Pipe:
    """A non-blocking pipe; `reader` and `writer` are its descriptors, `held` is how many bytes are in it."""

    __slots__ = ("held", "reader", "writer")

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.held = 0
        try:
            fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        except OSError:
            pass  # over this user's share of pipe memory (pipe-user-pages-soft): a small pipe works as well

    def close(self) -> None:
        """Close both ends, and lose what is held."""
        os.close(self.reader)
        os.close(self.writer)


class Pipes:
    """A pool of empty pipes."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._open = 0
        self._free: list[Pipe] = []

    def acquire(self) -> Pipe | None:
        """Return an empty pipe; None when there are as many as may be, or no descriptors for one."""
        if self._free:
            return self._free.pop()
        if self._open >= self._most:
            return None
        try:
            pipe = Pipe()
        except OSError:
            return None
        self._open += 1
        return pipe

    def release(self, pipe: Pipe) -> None:
        """Take a pipe back: an empty one is used again, one that holds bytes is closed."""
        if pipe.held or len(self._free) >= KEPT:
            pipe.close()
            self._open -= 1
        else:
            self._free.append(pipe)

    def close(self) -> None:
        """Close the pipes that nobody uses."""
        for pipe in self._free:
            pipe.close()
        self._open -= len(self._free)
        self._free.clear()
