"""What the far end has seen, in memory that both processes look at: reading it costs no system call and no message."""

from __future__ import annotations

import mmap
import os
from enum import IntEnum
from typing import Self

__all__ = ["Counters", "Kind", "What"]


class Kind(IntEnum):
    """What a listener of the far end does with its connections."""

    ECHO = 0
    SINK = 1
    SOURCE = 2
    BOTH = 3


class What(IntEnum):
    """What is counted for each kind."""

    ACCEPTED = 0
    """Connections that have come."""
    CLOSED = 1
    """Connections that are gone."""
    RECEIVED = 2
    """Bytes that have arrived."""
    SENT = 3
    """Bytes that the kernel has taken; they may still be on their way."""


SIZE = len(Kind) * len(What) * 8


class Counters:
    """A number for each `Kind` and `What`; one process writes, another may read at any time.

    *Closing*: `fd` belongs to this object, and is closed with the memory.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._memory = mmap.mmap(fd, SIZE)
        self._numbers = memoryview(self._memory).cast("Q")

    @classmethod
    def create(cls) -> Self:
        """Make counters that stand at nought."""
        fd = os.memfd_create("chainsocks-bench")
        os.truncate(fd, SIZE)
        return cls(fd)

    def add(self, kind: Kind, what: What, amount: int) -> None:
        """Count."""
        self._numbers[kind * len(What) + what] += amount

    def read(self, kind: Kind, what: What) -> int:
        """Return what has been counted so far."""
        return self._numbers[kind * len(What) + what]

    def close(self) -> None:
        """Give the memory back."""
        self._numbers.release()
        self._memory.close()
        os.close(self.fd)
