"""The network of a server: trio's clock, deadlines that are cheap to move, streams that share a poller."""

from __future__ import annotations

import chainsocks.sockets as sockets
from chainsocks.egress import Egress
from chainsocks.net.inbound import InboundListener, listen
from chainsocks.net.keepalive import Keepalive
from chainsocks.net.outgoing import Outgoing
from chainsocks.net.poller import Poller
from chainsocks.net.stream import SocketStream
from chainsocks.net.tcp import open_tcp
from chainsocks.net.udp import UDPSocket, open_udp
from chainsocks.network import Rest
from chainsocks.protocol.address import Address, UnixAddress
from chainsocks.server.deadlines import Deadlines, DeadlineScope
from chainsocks.server.resolver import Resolver
from chainsocks.sockets import ANY_PORT

__all__ = ["TrioNetwork"]


class TrioNetwork:
    """A `chainsocks.network.Network` on trio."""

    def __init__(self, poller: Poller | None, deadlines: Deadlines, keepalive: Keepalive | None = None) -> None:
        self._poller = poller
        self._keepalive = keepalive or Keepalive()
        self._deadlines = deadlines
        self.now = deadlines.now
        """Returns trio's time. It has no frame of its own: each step of a dial asks for it."""
        self.resolver = Resolver()
        self.outgoing: Outgoing | None = None
        """Notes connections and UDP sockets; None where that is not needed."""

    async def open_tcp(self, address: Address, egress: Egress | None = None) -> SocketStream:
        """Connect to an IP address or a unix socket; see `chainsocks.net.tcp.open_tcp`."""
        stream = await open_tcp(address, self._poller, egress, self.outgoing)
        if not isinstance(address, UnixAddress):
            self._keepalive.add(stream)
        return stream

    def open_udp(self, host: str, ports: range = ANY_PORT, egress: Egress | None = None) -> UDPSocket:
        """Open a UDP socket; see `chainsocks.net.udp.open_udp`."""
        opened = open_udp(host, self._poller, ports, egress)
        if self.outgoing:
            opened.on_close = self.outgoing.note_udp(opened.address.port)
        return opened

    async def resolve(self, address: Address, client: str = "") -> list[Address]:
        """Resolve a name; see `chainsocks.server.resolver`."""
        return await self.resolver.resolve(address, client)

    def rest_of(self, address: Address) -> Rest | None:
        """Return what waits for the other addresses of a name; see `chainsocks.server.resolver`."""
        return self.resolver.rest_of(address)

    def forget(self, address: Address) -> None:
        """Look a name up again next time."""
        self.resolver.forget(address)

    async def name_of(self, address: Address, client: str = "") -> str:
        """Look up the name of an address; see `chainsocks.server.resolver`."""
        return await self.resolver.name_of(address, client)

    async def listen(self, address: Address, egress: Egress | None = None) -> InboundListener:
        """Listen on a local IP address; see `chainsocks.net.inbound.listen`."""
        listener = await listen(address, self._poller, egress)
        try:
            listener.keep_alive(self._keepalive.seconds)
        except BaseException:
            await listener.aclose()
            raise
        return listener

    def local_address(self, peer: Address, egress: Egress | None = None) -> Address:
        """Return the local address that reaches `peer`; see `chainsocks.sockets.local_address`."""
        return sockets.local_address(peer, egress)

    def open_scope(self, deadline: float) -> DeadlineScope:
        """Make a cancel scope; see `chainsocks.server.deadlines`."""
        return self._deadlines.open_scope(deadline)
