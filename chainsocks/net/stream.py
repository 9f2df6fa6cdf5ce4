"""A byte stream directly on a non-blocking socket.

It tries first, and waits only if the call would block: that saves one trip through the scheduler per call. In return, a
call that succeeds at once is not a checkpoint, so loops over these calls have to yield now and then. It waits through
anyio, so it runs under asyncio as well.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

from anyio import (
    BrokenResourceError,
    ClosedResourceError,
    EndOfStream,
    notify_closing,
    wait_readable,
    wait_writable,
)
from anyio.abc import ByteStream, SocketAttribute

from chainsocks.network import reset_on_close
from chainsocks.protocol.address import SockAddr

__all__ = ["SocketStream"]

_TCP_INQ = 36
"""A Linux socket option, and the type of its control message, that the socket module does not name (tcp(7))."""

_NO_RESET = {errno.EPIPE, errno.ENOTCONN}
"""Errors that do not tell whether the peer closed or reset its side."""


class SocketStream(ByteStream):
    """An anyio ``ByteStream`` on a non-blocking stream socket. The stream owns the socket.

    *Closing*: `aclose` never blocks and never waits for the peer. The kernel still delivers what was sent.

    *Raises*: as ``anyio.abc.ByteStream`` says: ``EndOfStream``, ``BrokenResourceError`` for a reset connection,
    ``ClosedResourceError`` after `aclose`.
    """

    __slots__ = ("dry", "local_name", "may_delay", "short_read_is_all", "socket", "was_reset")

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.local_name: SockAddr | None = None
        """The local address and port, once `connect` has returned."""
        self.was_reset: bool | None = False
        """Whether a send has failed with a reset; None if a splice may have. The kernel reports a reset once: the next
        receive finds an end, and `ended_by_reset` tells what kind of end it is."""
        # These are for `chainsocks.net.polled.PolledStream`: an override for each call would cost a frame for each.
        self.short_read_is_all = False
        """Whether a short read has emptied the socket."""
        self.dry = False
        """Whether there is nothing to read before the next event."""
        self.may_delay = 0
        """Which of the next sends needs TCP_NODELAY, so that `before_send` has to be called; 0 once it is set."""

    def avoid_delay(self) -> None:
        """Have the kernel send small messages at once (TCP_NODELAY).

        A relay forwards whole chunks, so waiting to merge small ones (Nagle, RFC 896) only adds latency.
        """
        try:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            pass  # closed, or reset: the next call tells

    def before_send(self) -> None:
        """Set TCP_NODELAY before the second send.

        The kernel delays a message only while an earlier one is unacknowledged, so the first one is sent at once. A
        session that sends one message saves the system call.
        """
        self.may_delay -= 1
        if not self.may_delay:
            self.avoid_delay()

    async def connect(self, address: SockAddr, note: Callable[[SockAddr], None] | None = None) -> None:
        """Connect a socket that is not connected yet; call `note` with its local name before it is.

        Raises:
            OSError: with the ``errno`` of the kernel. A socket that has connected to itself has been refused.
        """
        error = self.socket.connect_ex(address)
        if note:
            note(self.socket.getsockname())
        if error == errno.EINPROGRESS:
            # A host nearby may have answered already. A second call tells, and returns the result later (connect(2)).
            while (error := self.socket.connect_ex(address)) == errno.EALREADY:
                await self._writable()
        if error not in (0, errno.EISCONN):
            raise OSError(error, os.strerror(error))
        self.note_connected(address)

    def note_connected(self, address: SockAddr) -> SockAddr:
        """Note and return the local name of a socket that has connected to `address`.

        Raises:
            OSError: with the ``errno`` of the kernel. A socket that has connected to itself has been refused.
        """
        name: SockAddr = self.socket.getsockname()
        self.local_name = name
        if name[1] == address[1] and name == self.socket.getpeername():
            # Nothing listened there, and the kernel's choice of a local port fell on that of the destination.
            reset_on_close(self)
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        return name

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return what has arrived, up to `max_bytes` bytes; wait until there is something."""
        if self.dry:
            await self._readable()
        while True:
            try:
                data = self.socket.recv(max_bytes)
            except BlockingIOError:
                await self._readable()
            except OSError as error:
                raise self._broken(error) from error
            else:
                if data:
                    if self.short_read_is_all:
                        self.dry = len(data) < max_bytes
                    return data
                if self.ended_by_reset():
                    raise BrokenResourceError("the connection was reset")
                raise EndOfStream

    async def peek(self, max_bytes: int) -> bytes:
        """Return what has arrived, up to `max_bytes` bytes, and leave it there; wait until there is something.

        Return nothing where `receive` would raise ``EndOfStream``.
        """
        if self.dry:
            await self._readable()
        while True:
            try:
                return self.socket.recv(max_bytes, socket.MSG_PEEK)
            except BlockingIOError:
                await self._readable()
            except OSError as error:
                raise self._broken(error) from error

    async def send(self, item: bytes) -> None:
        """Pass all of `item` to the kernel; wait while its buffer is full."""
        sent = self.send_nowait(item)
        if sent == len(item):
            return
        with memoryview(item) as rest:
            while sent < len(item):
                await self._writable()
                sent += self.send_nowait(rest[sent:])

    def send_nowait(self, item: bytes | memoryview) -> int:
        """Pass to the kernel as much of `item` as it accepts at once; return the number of bytes.

        Raises:
            BrokenResourceError, ClosedResourceError: as `send` does.
        """
        if self.may_delay:
            self.before_send()
        try:
            return self.socket.send(item)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise self._broken(error) from error

    async def send_eof(self) -> None:
        """Close the sending direction; the other one stays open."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise self._broken(error) from error

    def break_off(self) -> None:
        """End the connection as if the peer had reset it.

        Raises:
            OSError: it has ended already.
        """
        self.was_reset = True
        self.socket.shutdown(socket.SHUT_RDWR)

    async def aclose(self) -> None:
        """Close the socket. Tasks that wait on it get ``ClosedResourceError``."""
        if self.socket.fileno() >= 0:
            notify_closing(self.socket)
            self.socket.close()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """The socket, its family and its two addresses, by anyio's keys."""
        return {
            SocketAttribute.raw_socket: lambda: self.socket,
            SocketAttribute.family: lambda: self.socket.family,
            SocketAttribute.local_address: lambda: self.local_name or self.socket.getsockname(),
            SocketAttribute.remote_address: self.socket.getpeername,
        }

    def note_short_splice(self) -> None:
        """Note that a splice into the socket has written less than it could.

        splice(2) writes 16 pages at a time. If a reset comes between two writes, the kernel reports it to the second
        one, and splice returns the size of the first.
        """
        if not self.was_reset:
            self.was_reset = None

    def ended_by_reset(self) -> bool:
        """Whether the end that a receive has found, an empty read, is a reset that the kernel has reported already."""
        if self.was_reset is None:
            self.was_reset = not _has_finished(self.socket)
        return self.was_reset

    def note_broken(self, error: OSError) -> None:
        """Note whether a failed call on the socket means a reset."""
        if error.errno not in _NO_RESET:
            self.was_reset = True

    def _broken(self, error: OSError) -> BrokenResourceError | ClosedResourceError:
        if self.socket.fileno() < 0:
            return ClosedResourceError()
        self.note_broken(error)
        return BrokenResourceError(str(error))

    async def _readable(self) -> None:
        await wait_readable(self.socket)

    async def _writable(self) -> None:
        await wait_writable(self.socket)


def _has_finished(sock: socket.socket) -> bool:
    """Whether the peer of a TCP socket, which has nothing more to read, has closed its side regularly.

    For such a socket, TCP_INQ reports one byte that is left to read, and after a reset none (Linux 4.18).
    """
    try:
        sock.setsockopt(socket.IPPROTO_TCP, _TCP_INQ, 1)
        _, messages, _, _ = sock.recvmsg(1, socket.CMSG_SPACE(4))
    except OSError:
        return True  # no TCP socket, or an older kernel
    return all(any(left) for level, kind, left in messages if (level, kind) == (socket.IPPROTO_TCP, _TCP_INQ))
