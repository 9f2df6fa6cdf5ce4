"""The network of a server: trio's clock, deadlines that are cheap to move, streams that share a poller."""

from __future__ import annotations

import trio

from chainsocks import sockets
from chainsocks.net.inbound import InboundListener, listen
from chainsocks.net.keepalive import Keepalive
from chainsocks.net.names import name_of, resolve
from chainsocks.net.poller import Poller
from chainsocks.net.stream import SocketStream
from chainsocks.net.tcp import open_tcp
from chainsocks.net.udp import UDPSocket, open_udp
from chainsocks.protocol.address import Address
from chainsocks.server.deadlines import Deadlines, DeadlineScope
from chainsocks.sockets import ANY_PORT

__all__ = ["TrioNetwork"]


class TrioNetwork:
    """A `chainsocks.network.Network` on trio."""

    def __init__(self, poller: Poller | None, deadlines: Deadlines, keepalive: Keepalive | None = None) -> None:
        self._poller = poller
        self._keepalive = keepalive or Keepalive()
        self._deadlines = deadlines

    async def open_tcp(self, address: Address, source: Address | None = None) -> SocketStream:
        """Connect to an IP address; see `chainsocks.net.tcp.open_tcp`."""
        stream = await open_tcp(address, self._poller, source)
        self._keepalive.add(stream)
        return stream

    def open_udp(self, host: str, ports: range = ANY_PORT) -> UDPSocket:
        """Open a UDP socket; see `chainsocks.net.udp.open_udp`."""
        return open_udp(host, self._poller, ports)

    async def resolve(self, address: Address) -> list[Address]:
        """Resolve a name; see `chainsocks.net.names.resolve`."""
        return await resolve(address)

    async def name_of(self, address: Address) -> str:
        """Look up the name of an address; see `chainsocks.net.names.name_of`."""
        return await name_of(address)

    async def listen(self, address: Address) -> InboundListener:
        """Listen on a local IP address; see `chainsocks.net.inbound.listen`."""
        listener = await listen(address, self._poller)
        try:
            listener.keep_alive(self._keepalive.seconds)
        except BaseException:
            await listener.aclose()
            raise
        return listener

    def local_address(self, peer: Address) -> Address:
        """Return the local address that reaches `peer`; see `chainsocks.sockets.local_address`."""
        return sockets.local_address(peer)

    def open_scope(self, deadline: float) -> DeadlineScope:
        """Make a cancel scope; see `chainsocks.server.deadlines`."""
        return self._deadlines.open_scope(deadline)

    def now(self) -> float:
        """Return trio's time."""
        return trio.current_time()
