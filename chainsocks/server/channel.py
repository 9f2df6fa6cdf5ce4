"""Channels between the processes of one server: messages in order, and sockets with them.

Both ends are the same program, forked from one process, which trust each other as threads do. So a message is a pickled
value, and it arrives whole or not at all. One that is longer than a datagram goes through memory that both map
(memfd_create(2)), as configurations do: no end ever waits for the other one to read.
"""

from __future__ import annotations

import copyreg
import io
import os
import pickle
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import trio

__all__ = ["MOST_SOCKETS", "Channel", "Received", "open_channel"]

MOST_SOCKETS = 250
"""Sockets that one message may carry; Linux allows 253 descriptors (SCM_MAX_FD)."""

LONGEST = 16 * 1024
"""Bytes of a message in one datagram."""


@dataclass(frozen=True, slots=True)
class _InMemory:
    """Stands for a message in the memory whose descriptor comes with it."""

    size: int
    memory: int = -1
    """The descriptor, at the receiver."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message, and the sockets that came with it; the receiver closes them."""

    message: object
    sockets: Sequence[socket.socket] = field(default=())


def _read_only(mapping: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    return MappingProxyType(mapping)


class _Pickler(pickle.Pickler):
    """Pickles configurations, which have read-only mappings in them."""

    dispatch_table = copyreg.dispatch_table | {MappingProxyType: lambda mapping: (_read_only, (dict(mapping),))}


class Channel:
    """One end of a channel. It never blocks."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.setblocking(False)  # noqa: FBT003

    def send(self, message: object, sockets: Sequence[socket.socket] = ()) -> None:
        """Send a message, with up to `MOST_SOCKETS` sockets, which the sender closes.

        Raises:
            OSError: the other end is gone, or does not read.
        """
        buffer = io.BytesIO()
        _Pickler(buffer, pickle.HIGHEST_PROTOCOL).dump(message)
        data, descriptors = buffer.getvalue(), [sock.fileno() for sock in sockets]
        with ExitStack() as stack:
            if len(data) > LONGEST:
                memory = os.memfd_create("message")
                stack.callback(os.close, memory)
                with os.fdopen(memory, "wb", closefd=False) as file:
                    file.write(data)
                descriptors.append(memory)
                data = pickle.dumps(_InMemory(len(data)))
            socket.send_fds(self.sock, [data], descriptors)

    def receive(self) -> Received | None:
        """Return the next message; None if there is none yet.

        Raises:
            EOFError: the other end is gone.
        """
        received = self._receive()
        return _load(received) if received else None

    def _receive(self) -> Received | None:
        """Return the next message, or what stands for it."""
        try:
            data, descriptors, *_ = socket.recv_fds(self.sock, 2 * LONGEST, MOST_SOCKETS + 1)
        except BlockingIOError:
            return None
        except ConnectionError:
            raise EOFError from None
        if not data:
            raise EOFError
        message: Any = pickle.loads(data)  # noqa: S301  (from a process of this server)
        if isinstance(message, _InMemory):
            message = _InMemory(message.size, descriptors.pop())
        return Received(message, tuple(socket.socket(fileno=each) for each in descriptors))

    async def next(self) -> Received:
        """Wait for the next message. A long one is read in a thread: a configuration may take a while.

        Raises:
            EOFError: the other end is gone.
        """
        while True:
            await trio.lowlevel.wait_readable(self.sock)
            if received := self._receive():
                if isinstance(received.message, _InMemory):
                    return await trio.to_thread.run_sync(_load, received)
                return received

    def close(self) -> None:
        """Close this end."""
        self.sock.close()


def _load(received: Received) -> Received:
    """Read a message that is in memory; return any other as it is."""
    message = received.message
    if not isinstance(message, _InMemory):
        return received
    with os.fdopen(message.memory, "rb") as file:
        file.seek(0)
        return Received(pickle.load(file), received.sockets)  # noqa: S301  (from a process of this server)


def open_channel() -> tuple[Channel, Channel]:
    """Make the two ends of a channel. The system is one that has workers (`chainsocks.net.sharing.can_share`)."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Channel(one), Channel(other)
