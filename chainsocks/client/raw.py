"""A network of bare sockets on anyio, for dials whose end is a socket and no stream.

The streams of anyio read ahead under asyncio. A `RawStream` receives what it is asked for, so its socket can be handed
over with nothing missing.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable

from anyio import wait_writable
from anyio.abc import ByteStream

from chainsocks.client.network import AnyioNetwork
from chainsocks.egress import Egress
from chainsocks.net.stream import SocketStream
from chainsocks.protocol.address import Address, SockAddr, UnixAddress
from chainsocks.sockets import family_of, leave_by, tcp_socket, unix_socket

__all__ = ["RawNetwork", "RawStream"]


class RawStream(SocketStream):
    """A `SocketStream` whose socket can be handed over, and that connects on every system."""

    __slots__ = ()

    async def connect(self, address: SockAddr, note: Callable[[SockAddr], None] | None = None) -> None:
        """Connect a socket that is not connected yet; call `note` with its local name before it is.

        Raises:
            OSError: with the ``errno`` of the kernel. A socket that has connected to itself has been refused.
        """
        error = self.socket.connect_ex(address)
        if note:
            note(self.socket.getsockname())
        if error in (errno.EINPROGRESS, errno.EWOULDBLOCK):
            await wait_writable(self.socket)
            error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
        self.note_connected(address)

    def detach(self) -> socket.socket:
        """Return the socket, non-blocking, which is the caller's to close from now on; the stream is closed."""
        former = self.socket
        sock = socket.socket(former.family, former.type, former.proto, fileno=former.detach())
        sock.settimeout(0)
        return sock


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
