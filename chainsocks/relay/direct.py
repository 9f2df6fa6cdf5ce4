"""The path of datagrams without hops: from sockets of this machine to their destinations, over IPv4 and IPv6.

1. Replies are accepted only from an address and port that the client has sent to, unless the chain's `udp_filter` says
   otherwise.
2. A name is resolved once; its addresses are remembered (`chainsocks.relay.lookups`). Datagrams for it use the first
   one that replies (`chainsocks.datagrams.Candidates`).
3. The memory of destinations is bounded: the ones that were used last are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import trio

from chainsocks.config.choices import UdpFilter
from chainsocks.datagrams import Candidates, Drop, Recent
from chainsocks.network import DatagramSocket
from chainsocks.observe.tally import Tally
from chainsocks.protocol.address import Address, AddressType, SockAddr, canonical, with_scope
from chainsocks.protocol.datagram import decode_header, encode_header
from chainsocks.protocol.errors import ProtocolError
from chainsocks.relay.datagrams import Deliver, Ready
from chainsocks.relay.lookups import Lookups, Resolve, StartSoon

__all__ = ["Allowed", "DirectPath", "OpenUDP"]

REMEMBERED = 1024
"""Destinations that are kept at least."""

OpenUDP = Callable[[str], DatagramSocket]
"""Opens a socket bound to an IP address of this machine, on any port; raises `OSError`."""

Allowed = Callable[[Address, Address], bool]
"""Returns whether datagrams for a destination may go to an IP address of it."""

_ANY = {AddressType.IPV4: "0.0.0.0", AddressType.IPV6: "::"}


@dataclass(frozen=True, slots=True)
class _Route:
    """How to reach an IP address, and the header of its replies."""

    socket: DatagramSocket
    address: Address
    to: SockAddr
    header: bytes
    candidates: Candidates | None
    """The addresses of the name that it was found by, if it was."""


@dataclass(frozen=True, slots=True)
class _Name:
    """The addresses of a name, and the routes to those that were used."""

    name: Address
    candidates: Candidates
    routes: dict[Address, _Route | None] = field(default_factory=dict)


class DirectPath:
    """A `chainsocks.relay.datagrams.DatagramPath`. A lookup may take `resolve_limit` seconds.

    `allowed` decides about the IP address of each destination; without it all are allowed.
    """

    def __init__(
        self,
        open_udp: OpenUDP,
        resolve: Resolve,
        resolve_limit: float,
        tally: Tally,
        allowed: Allowed | None = None,
        scope: int = 0,
        filter_: UdpFilter = UdpFilter.ADDRESS_AND_PORT,
    ) -> None:
        self._filter = filter_
        self._hosts = Recent[str, bool](REMEMBERED) if filter_ is UdpFilter.ADDRESS else None
        self._allowed = allowed
        self._open = open_udp
        self._lookups = Lookups(resolve, resolve_limit, tally.drops)
        self._scope = scope
        self._tally = tally
        self._routes = Recent[bytes, _Route | _Name](REMEMBERED)  # by the header that the client writes
        self._contacted = Recent[tuple[str, int], _Route](REMEMBERED)  # by where replies come from
        self._sockets: dict[AddressType, DatagramSocket] = {}
        self._start_soon: StartSoon
        self._deliver: Deliver

    def send(self, datagram: bytes, header: int) -> None:
        """Send the payload to its destination, at once or after the name was resolved."""
        route = self._routes.get(datagram[:header]) or self._new_route(datagram, header)
        if isinstance(route, _Route):
            if not self._sent(route, datagram, header):
                self._tally.drops[Drop.UNSENT] += 1
        elif route:
            self._send_to_name(route, datagram, header)

    async def run(self, deliver: Deliver, ready: Ready) -> str:
        """Pass on the replies, until cancelled."""
        self._deliver = deliver
        try:
            async with trio.open_nursery() as nursery:
                self._start_soon = nursery.start_soon
                ready()
                await trio.sleep_forever()
        finally:
            for socket in self._sockets.values():
                socket.close()

    def _new_route(self, datagram: bytes, header: int) -> _Route | None:
        """Return the route to a destination that is not remembered; None if there is none, or not yet."""
        try:
            address = with_scope(canonical(decode_header(datagram).address), self._scope)
        except ProtocolError:
            self._tally.drops[Drop.MALFORMED] += 1
            return None
        if address.type is not AddressType.DOMAINNAME:
            if not self._may_reach(address, address):
                self._tally.drops[Drop.FORBIDDEN] += 1
                return None
            route = self._open_route(address)
            if route:
                self._routes[datagram[:header]] = route
            else:
                self._tally.drops[Drop.UNSENT] += 1
            return route

        def send_all(candidates: Candidates, waiting: Sequence[bytes]) -> None:
            name = self._routes[datagram[:header]] = _Name(address, candidates)
            for each in waiting:
                self._send_to_name(name, each, header)

        self._lookups.wait(address, datagram, send_all, self._start_soon)
        return None

    def _may_reach(self, destination: Address, address: Address) -> bool:
        """Whether datagrams for `destination` may go to `address`, which is one of its addresses."""
        return self._allowed is None or self._allowed(destination, address)

    def _open_route(self, address: Address, candidates: Candidates | None = None) -> _Route | None:
        """Make the route to an IP address; None if there is no socket for it."""
        socket = self._sockets.get(address.type)
        if socket is None:
            try:
                socket = self._sockets[address.type] = self._open(_ANY[address.type])
            except OSError:
                return None
            self._start_soon(socket.run, self._on_datagram)
        return _Route(socket, address, address.sockaddr, encode_header(address), candidates)

    def _send_to_name(self, name: _Name, datagram: bytes, header: int) -> None:
        """Send to the address of the name that has replied, or to one of the others."""
        problem = Drop.UNSENT
        for address in name.candidates.in_turn(trio.current_time()):
            route = name.routes.get(address)
            if route is None:
                if not self._may_reach(name.name, address):
                    problem = Drop.FORBIDDEN
                    continue
                route = name.routes[address] = self._open_route(address, name.candidates)
            if route and self._sent(route, datagram, header):
                return
        self._tally.drops[problem] += 1

    def _sent(self, route: _Route, datagram: bytes, header: int) -> bool:
        """Send; return whether the kernel has taken it."""
        self._contacted[route.address.host, route.address.port] = route
        if self._hosts is not None:
            self._hosts[route.address.host] = True
        sent = route.socket.send(datagram[header:], route.to)
        if sent:
            self._tally.traffic.up += len(datagram) - header
            self._tally.up += 1
        return sent

    def _on_datagram(self, payload: bytes, source: tuple[str, int]) -> None:
        route = self._contacted.peek(source)
        if route is None:
            self._on_stranger(payload, source)
            return
        if route.candidates:
            route.candidates.note_reply(route.address)
        self._deliver(route.header + payload, len(payload))

    def _on_stranger(self, payload: bytes, source: tuple[str, int]) -> None:
        """Deliver a datagram from where none was sent to, if the filter lets it in."""
        if self._filter is UdpFilter.ANY or (self._hosts is not None and self._hosts.peek(source[0])):
            origin = canonical(Address(source[0].partition("%")[0], source[1]))
            self._deliver(encode_header(origin) + payload, len(payload))
        else:
            self._tally.drops[Drop.STRANGER] += 1
