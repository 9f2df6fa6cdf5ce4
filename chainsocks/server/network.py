"""The network as the server sees it: trio's clock, scopes that are cheap to move, streams that share a poller."""

from __future__ import annotations

import trio

from chainsocks.chain.source import own_address
from chainsocks.net.inbound import InboundListener, listen
from chainsocks.net.poller import Poller
from chainsocks.net.reverse import name_of
from chainsocks.net.stream import SocketStream
from chainsocks.net.tcp import open_tcp, resolve
from chainsocks.net.udp import ANY_PORT, UDPSocket, open_udp
from chainsocks.protocol.address import Address
from chainsocks.server.alarms import Alarms, AlarmScope

__all__ = ["TrioNetwork"]


class TrioNetwork:
    """A `chainsocks.session.service.SessionNetwork` on trio."""

    def __init__(self, poller: Poller | None, alarms: Alarms) -> None:
        self._poller = poller
        self._alarms = alarms

    async def open_tcp(self, address: Address, source: Address | None = None) -> SocketStream:
        """Connect to an IP address; see `chainsocks.net.tcp.open_tcp`."""
        return await open_tcp(address, self._poller, source)

    def open_udp(self, host: str, ports: range = ANY_PORT) -> UDPSocket:
        """Open a UDP socket; see `chainsocks.net.udp.open_udp`."""
        return open_udp(host, self._poller, ports)

    async def resolve(self, address: Address) -> list[Address]:
        """Look a name up; see `chainsocks.net.tcp.resolve`."""
        return await resolve(address)

    async def name_of(self, address: Address) -> str:
        """Look up the name of an address; see `chainsocks.net.reverse.name_of`."""
        return await name_of(address)

    async def listen(self, address: Address) -> InboundListener:
        """Listen on an IP address of ours; see `chainsocks.net.inbound.listen`."""
        return await listen(address, self._poller)

    def own_address(self, peer: Address) -> Address:
        """Return our address on the way to a peer; see `chainsocks.chain.source.own_address`."""
        return own_address(peer)

    def open_scope(self, deadline: float) -> AlarmScope:
        """Make a cancel scope."""
        return self._alarms.open_scope(deadline)

    def now(self) -> float:
        """Return trio's time."""
        return trio.current_time()
