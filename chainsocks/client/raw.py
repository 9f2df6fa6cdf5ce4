"""A network of bare sockets on anyio, for dials whose end is a socket and no stream.

The streams of anyio read ahead under asyncio. A `RawStream` receives what it is asked for, so its socket can be handed
over with nothing missing.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

import anyio
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream
from anyio.abc import ByteStream, SocketAttribute

from chainsocks.client.network import AnyioNetwork
from chainsocks.egress import Egress
from chainsocks.network import reset_on_close
from chainsocks.protocol.address import Address, SockAddr, UnixAddress
from chainsocks.sockets import family_of, leave_by, tcp_socket, unix_socket

__all__ = ["RawNetwork", "RawStream"]


class RawStream(ByteStream):
    """An anyio ``ByteStream`` on a non-blocking stream socket, under any event loop. The stream owns the socket.

    *Raises*: as ``anyio.abc.ByteStream`` says.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock

    async def connect(self, address: SockAddr) -> None:
        """Connect a socket that is not connected yet.

        Raises:
            OSError: with the ``errno`` of the kernel. A socket that has connected to itself has been refused.
        """
        error = self.socket.connect_ex(address)
        if error in (errno.EINPROGRESS, errno.EWOULDBLOCK):
            await anyio.wait_writable(self.socket)
            error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
        if self.socket.getsockname() == self.socket.getpeername():
            # Nothing listened there, and the kernel's choice of a local port fell on that of the destination.
            reset_on_close(self)
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return what has arrived, up to `max_bytes` bytes; wait until there is something."""
        while True:
            try:
                data = self.socket.recv(max_bytes)
            except BlockingIOError:
                await anyio.wait_readable(self.socket)
            except OSError as error:
                raise self._broken(error) from error
            else:
                if data:
                    return data
                raise EndOfStream

    async def send(self, item: bytes) -> None:
        """Pass all of `item` to the kernel; wait while its buffer is full."""
        with memoryview(item) as rest:
            sent = 0
            while sent < len(item):
                try:
                    sent += self.socket.send(rest[sent:])
                except BlockingIOError:
                    await anyio.wait_writable(self.socket)
                except OSError as error:
                    raise self._broken(error) from error

    async def send_eof(self) -> None:
        """Close the sending direction; the other one stays open."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise self._broken(error) from error

    async def aclose(self) -> None:
        """Close the socket, unless it was detached. Tasks that wait on it get ``ClosedResourceError``."""
        if self.socket.fileno() >= 0:
            anyio.notify_closing(self.socket)
            self.socket.close()

    def detach(self) -> socket.socket:
        """Return the socket, non-blocking, which is the caller's to close from now on; the stream is closed."""
        former = self.socket
        sock = socket.socket(former.family, former.type, former.proto, fileno=former.detach())
        sock.settimeout(0)
        return sock

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """The socket, its family and its two addresses, by anyio's keys."""
        return {
            SocketAttribute.raw_socket: lambda: self.socket,
            SocketAttribute.family: lambda: self.socket.family,
            SocketAttribute.local_address: self.socket.getsockname,
            SocketAttribute.remote_address: self.socket.getpeername,
        }

    def _broken(self, error: OSError) -> BrokenResourceError | ClosedResourceError:
        return ClosedResourceError() if self.socket.fileno() < 0 else BrokenResourceError(str(error))


def _open_unix(path: str) -> RawStream:
    sock = unix_socket()
    try:
        sock.connect(path)  # at once, or not at all: unix(7)
    except BaseException:
        sock.close()
        raise
    return RawStream(sock)


class RawNetwork(AnyioNetwork):
    """A `chainsocks.network.Network` whose connections are of `RawStream`."""

    async def open_tcp(self, address: Address, egress: Egress | None = None) -> ByteStream:
        """Connect to an IP address or a unix socket."""
        if isinstance(address, UnixAddress):
            return _open_unix(address.path)
        if egress is None and self.source:
            egress = Egress((self.source,))
        sock = tcp_socket(family_of(address))
        try:
            if egress:
                leave_by(sock, egress, address)
            stream = RawStream(sock)
            await stream.connect(address.sockaddr)
        except BaseException:
            sock.close()
            raise
        return stream
