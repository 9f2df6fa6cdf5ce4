"""The path of datagrams without hops: from sockets of this machine to their destinations, over IPv4 and IPv6.

1. Replies are accepted only from an address and port that the client has sent to.
2. A name is resolved once; its address is remembered (`chainsocks.relay.lookups`).
3. The memory of destinations is bounded: the ones that were used last are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import trio

from chainsocks.datagrams import Drop, Recent
from chainsocks.network import DatagramSocket
from chainsocks.protocol.address import Address, AddressType, canonical
from chainsocks.protocol.datagram import decode_header, encode_header
from chainsocks.protocol.errors import ProtocolError
from chainsocks.relay.datagrams import Deliver, Ready, Tally
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
    """How to reach a destination, and the header of its replies."""

    socket: DatagramSocket
    to: tuple[str, int]
    header: bytes


class DirectPath:
    """A `chainsocks.relay.datagrams.DatagramPath`. A look-up may take `resolve_limit` seconds.

    `allowed` judges the IP address of each destination; without it all are allowed.
    """

    def __init__(
        self, open_udp: OpenUDP, resolve: Resolve, resolve_limit: float, tally: Tally, allowed: Allowed | None = None
    ) -> None:
        self._allowed = allowed
        self._open = open_udp
        self._lookups = Lookups(resolve, resolve_limit, tally.drops)
        self._tally = tally
        self._routes = Recent[bytes, _Route](REMEMBERED)  # by the header that the client writes
        self._contacted = Recent[tuple[str, int], bytes](REMEMBERED)  # the headers of replies, by where they come from
        self._sockets: dict[AddressType, DatagramSocket] = {}
        self._start_soon: StartSoon
        self._deliver: Deliver

    def send(self, datagram: bytes, header: int) -> None:
        """Send the payload to its destination, at once or after the name was resolved."""
        route = self._routes.get(datagram[:header]) or self._new_route(datagram, header)
        if route:
            self._send(route, datagram, header)

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
            address = canonical(decode_header(datagram).address)
        except ProtocolError:
            self._tally.drops[Drop.MALFORMED] += 1
            return None
        if address.type is not AddressType.DOMAINNAME:
            return self._open_route(datagram[:header], address, address)

        def send_all(found: Address, waiting: Sequence[bytes]) -> None:
            route = self._open_route(datagram[:header], address, found)
            for each in waiting:
                if route:
                    self._send(route, each, header)

        self._lookups.wait(address, datagram, send_all, self._start_soon)
        return None

    def _open_route(self, header: bytes, destination: Address, address: Address) -> _Route | None:
        """Make the route to an IP address of `destination`, and remember it; None if there is none."""
        if self._allowed and not self._allowed(destination, address):
            self._tally.drops[Drop.FORBIDDEN] += 1
            return None
        socket = self._sockets.get(address.type)
        if socket is None:
            try:
                socket = self._sockets[address.type] = self._open(_ANY[address.type])
            except OSError:
                self._tally.drops[Drop.UNSENT] += 1
                return None
            self._start_soon(socket.run, self._on_datagram)
        route = self._routes[header] = _Route(socket, (address.host, address.port), encode_header(address))
        return route

    def _send(self, route: _Route, datagram: bytes, header: int) -> None:
        self._contacted[route.to] = route.header
        if route.socket.send(datagram[header:], route.to):
            self._tally.traffic.up += len(datagram) - header
        else:
            self._tally.drops[Drop.UNSENT] += 1

    def _on_datagram(self, payload: bytes, source: tuple[str, int]) -> None:
        header = self._contacted.peek(source)
        if header:
            self._deliver(header + payload, len(payload))
        else:
            self._tally.drops[Drop.STRANGER] += 1
