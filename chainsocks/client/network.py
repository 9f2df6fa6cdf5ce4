"""The network on anyio, under trio and asyncio: connects, lookups, listeners, UDP sockets, scopes and the clock."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from typing import cast

import anyio
import anyio.lowlevel
from anyio.abc import ByteStream, SocketAttribute, SocketListener, SocketStream

import chainsocks.sockets as sockets
from chainsocks.chain.attempts import Choices
from chainsocks.chain.dialer import Dialer
from chainsocks.chain.health import Health
from chainsocks.client.arguments import checked_timeouts
from chainsocks.config.models import Timeouts
from chainsocks.egress import Egress
from chainsocks.network import OnDatagram, Rest, reset_on_close
from chainsocks.protocol.address import Address, SockAddr, UnixAddress, address_of

__all__ = ["AnyioNetwork", "make_dialer"]


class _Learnt(threading.local):
    """What the event loops of a thread have learnt of the hops of their chains. It is not made for several threads."""

    def __init__(self) -> None:
        self.choices = Choices(Health(time.monotonic))


_LEARNT = _Learnt()

BACKLOG = 16
"""Connections that may wait in the backlog of a BIND's port, besides the peer's."""

LARGEST = 65536
"""Bytes: more than any datagram has."""


def make_dialer(timeouts: Timeouts | None, network: AnyioNetwork | None = None) -> Dialer:
    """Return a dialer with these limits, the server's own by default."""
    return Dialer(network or AnyioNetwork(), checked_timeouts(timeouts), _LEARNT.choices, receives_exactly=True)


class _Listener:
    """A `chainsocks.network.PortListener` on one of anyio's listeners."""

    def __init__(self, listener: SocketListener) -> None:
        self._listener = listener

    @property
    def address(self) -> Address:
        return address_of(cast(tuple[str, int], self._listener.extra(SocketAttribute.local_address)))

    async def accept(self) -> tuple[ByteStream, Address]:
        stream = await self._listener.accept()
        return stream, address_of(cast(tuple[str, int], stream.extra(SocketAttribute.remote_address)))

    async def aclose(self) -> None:
        await self._listener.aclose()


class _Datagrams:
    """A `chainsocks.network.DatagramSocket` on a socket of the standard library."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.address = address_of(sock.getsockname())

    def send(self, data: bytes, to: SockAddr) -> bool:
        try:
            self._socket.sendto(data, to)
        except OSError:  # no room, no route: a datagram may be lost
            return False
        return True

    async def run(self, on_datagram: OnDatagram) -> None:
        while True:
            try:
                data, name = self._socket.recvfrom(LARGEST)
            except BlockingIOError:
                await anyio.wait_readable(self._socket)
                continue
            on_datagram(data, (name[0], name[1]))
            await anyio.lowlevel.checkpoint()

    def close(self) -> None:
        anyio.notify_closing(self._socket)
        self._socket.close()


async def _open_by(egress: Egress, address: Address) -> ByteStream:
    """Connect to an IP address as `egress` says."""
    sock = sockets.tcp_socket(sockets.family_of(address))
    try:
        sockets.leave_by(sock, egress, address)
        error = sock.connect_ex(address.sockaddr)
        if error in (errno.EINPROGRESS, errno.EWOULDBLOCK):
            await anyio.wait_writable(sock)
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
        return await SocketStream.from_socket(sock)
    except BaseException:
        sock.close()
        raise


class AnyioNetwork:
    """A `chainsocks.network.Network` on anyio. Its connections leave from `source`, where a step names no other."""

    def __init__(self, source: Address | None = None) -> None:
        self.source = source

    async def open_tcp(self, address: Address, egress: Egress | None = None) -> ByteStream:
        """Connect to an IP address or a unix socket."""
        if isinstance(address, UnixAddress):
            return await anyio.connect_unix(address.path)
        if egress is None and self.source:
            egress = Egress((self.source,))
        if egress:
            stream: ByteStream = await _open_by(egress, address)
        else:
            stream = await anyio.connect_tcp(address.zoned, address.port)
        if stream.extra(SocketAttribute.local_address) == stream.extra(SocketAttribute.remote_address):
            # Nothing listened there, and the kernel's choice of a local port fell on that of the destination.
            reset_on_close(stream)
            await anyio.aclose_forcefully(stream)
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        return stream

    async def resolve(self, address: Address, client: str = "") -> list[Address]:
        """Resolve a name on this machine; the addresses are in the resolver's order."""
        found = await anyio.getaddrinfo(address.packed, address.port, type=socket.SOCK_STREAM)
        return [address_of((str(sockaddr[0]), address.port, *sockaddr[2:])) for *_, sockaddr in found]

    def rest_of(self, address: Address) -> Rest | None:
        """Return None: all addresses are there at once."""

    def forget(self, address: Address) -> None:
        """Do nothing: no addresses are remembered."""

    async def name_of(self, address: Address, client: str = "") -> str:
        """Resolve an IP address to a name on this machine."""
        name, _ = await anyio.getnameinfo((address.host, 0), socket.NI_NAMEREQD)
        return name

    async def listen(self, address: Address, egress: Egress | None = None) -> _Listener:
        """Listen on a local IP address."""
        opened = await anyio.create_tcp_listener(local_host=address.zoned, local_port=address.port, backlog=BACKLOG)
        [listener] = opened.listeners
        return _Listener(cast(SocketListener, listener))

    def open_udp(self, host: str, ports: range = range(1), egress: Egress | None = None) -> _Datagrams:
        """Open a UDP socket bound to a local IP address and a free one of `ports`."""
        return _Datagrams(sockets.udp_socket(host, ports, egress))

    def local_address(self, peer: Address, egress: Egress | None = None) -> Address:
        """Return the local address that reaches `peer`."""
        return sockets.local_address(peer, egress)

    def open_scope(self, deadline: float) -> anyio.CancelScope:
        """Make a cancel scope."""
        return anyio.CancelScope(deadline=deadline)

    def now(self) -> float:
        """Return the time on the running event loop's clock."""
        return anyio.current_time()
