"""The path of datagrams through a chain: all go to the first hop's relay, wrapped once for each hop behind it.

1. Datagrams are sent to one address, the first hop's relay, and replies come through all relays of the chain
   (`chainsocks.datagrams.Tunnel`).
2. The path ends as soon as one hop's association ends, which its TCP connection tells.
3. Names are resolved by the last hop, unless that hop is configured to get addresses only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import trio
from anyio.abc import ByteStream

from chainsocks.datagrams import Candidates, Drop, DropDatagram, Recent, Tunnel, wait_for_end
from chainsocks.network import DatagramSocket
from chainsocks.observe.tally import Tally
from chainsocks.protocol.address import Address, AddressType
from chainsocks.protocol.datagram import PLAIN, decode_header, encode_header
from chainsocks.protocol.errors import ProtocolError
from chainsocks.relay.datagrams import Deliver, Ready
from chainsocks.relay.lookups import Lookups, StartSoon

__all__ = ["NestedPath"]

_TYPE = len(PLAIN)
_NAME = _TYPE + 2
"""Where the type of a datagram's destination is, and where a name begins, behind its length."""

_BRACKET = ord("[")

REMEMBERED = 1024
"""Addresses of names that are kept at least, so that their replies count."""


class _Candidate(NamedTuple):
    candidates: Candidates
    address: Address


class NestedPath:
    """A `chainsocks.relay.datagrams.DatagramPath`.

    Datagrams leave by `socket` and go through `tunnel`. `streams` are the TCP connections of the associations, by the
    names of their hops. With `lookups`, names are resolved locally.

    *Closing*: socket and streams stay the caller's to close.
    """

    def __init__(
        self,
        socket: DatagramSocket,
        tunnel: Tunnel,
        streams: Mapping[str, ByteStream],
        tally: Tally,
        lookups: Lookups | None = None,
    ) -> None:
        self._socket = socket
        self._tunnel = tunnel
        self._streams = streams
        self._tally = tally
        self._lookups = lookups
        self._named = Recent[bytes, _Candidate](REMEMBERED)  # by the headers of their replies
        self._end = ""
        self._deliver: Deliver
        self._start_soon: StartSoon

    def send(self, datagram: bytes, header: int) -> None:
        """Send a datagram to the first hop, at once or after its name was resolved."""
        if datagram[_TYPE] == AddressType.DOMAINNAME and (self._lookups or datagram[_NAME] == _BRACKET):
            self._send_named(datagram, header)
        else:
            self._send(datagram, header)

    async def run(self, deliver: Deliver, ready: Ready) -> str:
        """Pass on the replies until a hop ends its association."""
        self._deliver = deliver
        async with trio.open_nursery() as nursery:
            self._start_soon = nursery.start_soon
            ready()
            nursery.start_soon(self._socket.run, self._on_datagram)
            for name, stream in self._streams.items():
                nursery.start_soon(self._watch, name, stream, nursery)
        return self._end

    async def _watch(self, name: str, stream: ByteStream, nursery: trio.Nursery) -> None:
        in_order = await wait_for_end(stream)
        self._end = f"hop {name} {'ended' if in_order else 'reset'} its association"
        nursery.cancel_scope.cancel()

    def _send_named(self, datagram: bytes, header: int) -> None:
        """Send a datagram whose destination is a name to resolve, or may be an IPv6 address in brackets."""
        try:
            destination = decode_header(datagram).address
        except ProtocolError:
            self._tally.drops[Drop.MALFORMED] += 1
            return

        def send_all(candidates: Candidates, waiting: Sequence[bytes]) -> None:
            for each in waiting:
                address = next(candidates.in_turn(trio.current_time()))
                front = encode_header(address)
                self._named[front] = _Candidate(candidates, address)
                self._send(front + each[header:], len(front))

        if self._lookups and destination.type is AddressType.DOMAINNAME:
            self._lookups.wait(destination, datagram, send_all, self._start_soon)
        else:
            front = encode_header(destination)
            self._send(front + datagram[header:], len(front))

    def _send(self, datagram: bytes, header: int) -> None:
        if self._socket.send(self._tunnel.wrap(datagram), self._tunnel.to):
            self._tally.traffic.up += len(datagram) - header
            self._tally.up += 1
        else:
            self._tally.drops[Drop.UNSENT] += 1

    def _on_datagram(self, datagram: bytes, source: tuple[str, int]) -> None:
        try:
            inner, header = self._tunnel.unwrap(datagram, source)
        except DropDatagram as drop:
            self._tally.drops[drop.reason] += 1
        else:
            if self._lookups and (replied := self._named.peek(inner[:header])):
                replied.candidates.note_reply(replied.address)
            self._deliver(inner, len(inner) - header)
