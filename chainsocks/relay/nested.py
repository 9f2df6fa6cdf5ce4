"""The way of datagrams through a chain: all of them go to the first hop, wrapped once for each hop behind it.

1. There is one address that datagrams are sent to, and that they are taken from: the first hop's relay.
2. What comes back has to have come through all relays of the chain (`chainsocks.protocol.datagram.Nesting`).
3. The way ends as soon as one of the TCP connections ends that the hops' associations live by.
4. A name goes to the last hop as it is, unless that hop is to be given addresses only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import trio
from anyio.abc import ByteStream

from chainsocks.protocol.address import Address, AddressType
from chainsocks.protocol.datagram import PLAIN, Nesting, decode_header, encode_header, header_size
from chainsocks.protocol.errors import ProtocolError
from chainsocks.relay.datagrams import Datagrams, Deliver, Ready, Tally, read_away
from chainsocks.relay.lookups import Lookups, StartSoon

__all__ = ["NestedPath"]


class NestedPath:
    """A `chainsocks.relay.datagrams.DatagramPath`.

    Datagrams go by `socket` to the first hop's `relay`; `streams` are the connections that the associations live by,
    under the names of their hops. All these stay the caller's. With `lookups`, names are looked up here.
    """

    def __init__(
        self,
        socket: Datagrams,
        relay: Address,
        nesting: Nesting,
        streams: Mapping[str, ByteStream],
        tally: Tally,
        lookups: Lookups | None = None,
    ) -> None:
        self._socket = socket
        self._relay = (relay.host, relay.port)
        self._nesting = nesting
        self._streams = streams
        self._tally = tally
        self._lookups = lookups
        self._end = ""
        self._deliver: Deliver
        self._start_soon: StartSoon

    def send(self, datagram: bytes, header: int) -> None:
        """Send the datagram to the first hop, if need be once its name has been looked up."""
        if self._lookups and datagram[len(PLAIN)] == AddressType.DOMAINNAME:
            self._look_up(self._lookups, datagram, header)
        elif self._socket.send(self._nesting.wrap(datagram), self._relay):
            self._tally.traffic.up += len(datagram) - header
        else:
            self._tally.drops.unsent += 1

    async def run(self, deliver: Deliver, ready: Ready) -> str:
        """Pass on what comes back through the chain, until one of the hops ends its association."""
        self._deliver = deliver
        async with trio.open_nursery() as nursery:
            self._start_soon = nursery.start_soon
            ready()
            nursery.start_soon(self._socket.run, self._received)
            for name, stream in self._streams.items():
                nursery.start_soon(self._watch, name, stream, nursery)
        return self._end

    async def _watch(self, name: str, stream: ByteStream, nursery: trio.Nursery) -> None:
        in_order = await read_away(stream)
        self._end = f"hop {name} {'ended' if in_order else 'reset'} its association"
        nursery.cancel_scope.cancel()

    def _look_up(self, lookups: Lookups, datagram: bytes, header: int) -> None:
        try:
            name = decode_header(datagram).address
        except ProtocolError:
            self._tally.drops.malformed += 1
            return

        def found(address: Address, waiting: Sequence[bytes]) -> None:
            front = encode_header(address)
            for each in waiting:
                self.send(front + each[header:], len(front))

        lookups.wait(name, datagram, found, self._start_soon)

    def _received(self, datagram: bytes, source: tuple[str, int]) -> None:
        drops = self._tally.drops
        if source != self._relay:
            drops.strangers += 1
            return
        try:
            inner = self._nesting.unwrap(datagram)
            if inner is None:
                drops.strangers += 1
                return
            size = header_size(inner)
        except ProtocolError:
            drops.malformed += 1
            return
        if inner.startswith(PLAIN):
            self._deliver(inner, len(inner) - size)
        else:
            drops.fragments += 1
