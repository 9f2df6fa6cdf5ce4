"""The direct way of datagrams: from sockets of ours to the destinations that the client names, IPv4 and IPv6.

1. Only who was sent something may answer, from the very address and port that it went to.
2. A name is looked up once, and then remembered with its address (`chainsocks.relay.lookups`).
3. What is remembered is bounded: destinations that were not sent anything for long are forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import trio

from chainsocks.protocol.address import Address, AddressType, canonical
from chainsocks.protocol.datagram import decode_header, encode_header
from chainsocks.protocol.errors import ProtocolError
from chainsocks.relay.datagrams import Datagrams, Deliver, Ready, Tally
from chainsocks.relay.lookups import Lookups, Resolve, StartSoon

__all__ = ["DirectPath", "OpenUDP"]

REMEMBERED = 1024
"""Destinations that are surely remembered; twice as many may be."""

OpenUDP = Callable[[str], Datagrams]
"""Open a socket bound to an IP address of this machine, on any port, or raise `OSError`."""

_ANY = {AddressType.IPV4: "0.0.0.0", AddressType.IPV6: "::"}


@dataclass(frozen=True, slots=True)
class _Route:
    """How to reach a destination, and the header that its answers get."""

    socket: Datagrams
    to: tuple[str, int]
    header: bytes


@dataclass(slots=True)
class _Memory:
    """Destinations by the header that the client gives them, and by where their answers come from."""

    routes: dict[bytes, _Route] = field(default_factory=dict)
    sources: dict[tuple[str, int], bytes] = field(default_factory=dict)


class DirectPath:
    """A `chainsocks.relay.datagrams.DatagramPath`."""

    def __init__(self, open_udp: OpenUDP, resolve: Resolve, resolve_limit: float, tally: Tally) -> None:
        self._open = open_udp
        self._lookups = Lookups(resolve, resolve_limit, tally.drops)
        self._tally = tally
        self._new, self._old = _Memory(), _Memory()
        self._sockets: dict[AddressType, Datagrams] = {}
        self._start_soon: StartSoon
        self._deliver: Deliver

    def send(self, datagram: bytes, header: int) -> None:
        """Send the payload to the destination, if need be once its name has been looked up."""
        route = self._new.routes.get(datagram[:header]) or self._find(datagram, header)
        if route:
            self._send(route, datagram, header)

    async def run(self, deliver: Deliver, ready: Ready) -> str:
        """Pass on the answers, until cancelled."""
        self._deliver = deliver
        try:
            async with trio.open_nursery() as nursery:
                self._start_soon = nursery.start_soon
                ready()
                await trio.sleep_forever()
        finally:
            for socket in self._sockets.values():
                socket.close()

    def _find(self, datagram: bytes, header: int) -> _Route | None:
        """Return the route of a datagram that is for no recent destination; None when it has to wait for one."""
        if route := self._old.routes.get(datagram[:header]):
            return self._remember(datagram[:header], route)
        try:
            address = canonical(decode_header(datagram).address)
        except ProtocolError:
            self._tally.drops.malformed += 1
            return None
        if address.type is not AddressType.DOMAINNAME:
            return self._open_route(datagram[:header], address)

        def found(destination: Address, waiting: Sequence[bytes]) -> None:
            route = self._open_route(datagram[:header], destination)
            for each in waiting:
                if route:
                    self._send(route, each, header)

        self._lookups.wait(address, datagram, found, self._start_soon)
        return None

    def _open_route(self, header: bytes, address: Address) -> _Route | None:
        """Make the route to an IP address; None when there is no socket for it."""
        socket = self._sockets.get(address.type)
        if socket is None:
            try:
                socket = self._sockets[address.type] = self._open(_ANY[address.type])
            except OSError:
                self._tally.drops.unsent += 1
                return None
            self._start_soon(socket.run, self._received)
        return self._remember(header, _Route(socket, (address.host, address.port), encode_header(address)))

    def _remember(self, header: bytes, route: _Route) -> _Route:
        if len(self._new.routes) >= REMEMBERED:
            self._old, self._new = self._new, _Memory()
        self._new.routes[header] = route
        self._new.sources[route.to] = route.header
        return route

    def _send(self, route: _Route, datagram: bytes, header: int) -> None:
        if route.socket.send(datagram[header:], route.to):
            self._tally.traffic.up += len(datagram) - header
        else:
            self._tally.drops.unsent += 1

    def _received(self, payload: bytes, source: tuple[str, int]) -> None:
        header = self._new.sources.get(source) or self._old.sources.get(source)
        if header:
            self._deliver(header + payload, len(payload))
        else:
            self._tally.drops.strangers += 1
