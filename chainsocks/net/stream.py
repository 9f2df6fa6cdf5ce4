"""A byte stream straight on a non-blocking socket.

It tries first and waits only when the kernel says so, which saves a trip through trio's scheduler for each call. The
price: a call that finds its data ready is not a checkpoint. Loops over these calls yield by themselves now and then.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Any

import trio
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream
from anyio.abc import ByteStream, SocketAttribute
from trio.lowlevel import notify_closing, wait_readable, wait_writable

__all__ = ["SocketStream", "reset_on_close"]

_NO_RESET = {errno.EPIPE, errno.ENOTCONN}
"""Errors that leave open how the peer's own direction ended: it may have finished in order before it was gone."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, for 0 seconds


class SocketStream(ByteStream):
    """An anyio ``ByteStream`` on a non-blocking stream socket, which it owns from now on.

    *Closing*: `aclose` never blocks and never waits for the peer. What was sent is still delivered by the kernel.

    *Raises*: as ``anyio.abc.ByteStream`` says: ``EndOfStream``, ``BrokenResourceError`` for a reset connection,
    ``ClosedResourceError`` after `aclose`.
    """

    __slots__ = ("socket", "was_reset")

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.was_reset = False
        """Whether a failed send has told of a reset. The kernel tells it once: a receive would see a regular end."""

    async def connect(self, address: tuple[str, int]) -> None:
        """Connect a socket that is not connected yet.

        Raises:
            OSError: with its ``errno``, as the kernel says it.
        """
        error = self.socket.connect_ex(address)
        if error == errno.EINPROGRESS:
            # A neighbour may have answered already. Asking again tells, and later tells how it went (connect(2)).
            while (error := self.socket.connect_ex(address)) == errno.EALREADY:
                await self._writable()
        if error not in (0, errno.EISCONN):
            raise OSError(error, os.strerror(error))

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return what has arrived, up to `max_bytes`, as soon as there is something."""
        while True:
            try:
                data = self.socket.recv(max_bytes)
            except BlockingIOError:
                await self._readable()
            except OSError as error:
                raise self._broken(error) from error
            else:
                if data:
                    return data
                if self.was_reset:
                    raise BrokenResourceError("the connection was reset")
                raise EndOfStream

    async def send(self, item: bytes) -> None:
        """Hand all of `item` to the kernel, waiting while the peer is slow."""
        sent = self.send_nowait(item)
        if sent == len(item):
            return
        with memoryview(item) as rest:
            while sent < len(item):
                await self._writable()
                sent += self.send_nowait(rest[sent:])

    def send_nowait(self, item: bytes | memoryview) -> int:
        """Hand to the kernel what it takes of `item` at once, and return how many bytes that were.

        Raises:
            BrokenResourceError, ClosedResourceError: as `send` does.
        """
        try:
            return self.socket.send(item)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise self._broken(error) from error

    async def send_eof(self) -> None:
        """Finish our direction; the other one stays open."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise self._broken(error) from error

    async def aclose(self) -> None:
        """Close the socket, and wake whoever waits on it with ``ClosedResourceError``."""
        if self.socket.fileno() >= 0:
            notify_closing(self.socket)
            self.socket.close()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """The socket, its family and its two addresses, under anyio's names."""
        return {
            SocketAttribute.raw_socket: lambda: self.socket,
            SocketAttribute.family: lambda: self.socket.family,
            SocketAttribute.local_address: self.socket.getsockname,
            SocketAttribute.remote_address: self.socket.getpeername,
        }

    def note_broken(self, error: OSError) -> None:
        """Remember what a failed call on the socket has told."""
        if error.errno not in _NO_RESET:
            self.was_reset = True

    def _broken(self, error: OSError) -> BrokenResourceError | ClosedResourceError:
        if self.socket.fileno() < 0:
            return ClosedResourceError()
        self.note_broken(error)
        return BrokenResourceError(str(error))

    async def _readable(self) -> None:
        try:
            await wait_readable(self.socket)
        except trio.ClosedResourceError:
            raise ClosedResourceError from None

    async def _writable(self) -> None:
        try:
            await wait_writable(self.socket)
        except trio.ClosedResourceError:
            raise ClosedResourceError from None


def reset_on_close(stream: ByteStream) -> None:
    """Let closing reset the connection, so that the peer cannot take a broken stream for a finished one.

    That holds for a stream over another one too, as long as there is a socket at the bottom.
    """
    sock = stream.extra(SocketAttribute.raw_socket, None)
    if sock is not None:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        except OSError:
            pass  # closed already, or a kind of socket that knows no reset
