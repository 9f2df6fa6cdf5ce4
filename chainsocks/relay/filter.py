"""A datagram path that only permitted destinations can be reached by."""

from __future__ import annotations

from collections.abc import Callable

from chainsocks.datagrams import Drop, Recent
from chainsocks.observe.tally import Drops
from chainsocks.protocol.address import Address
from chainsocks.protocol.datagram import decode_header, encode_header
from chainsocks.protocol.errors import ProtocolError
from chainsocks.relay.datagrams import DatagramPath, Deliver, Ready

__all__ = ["FilteredPath"]

REMEMBERED = 1024
"""Destinations whose permission is kept at least."""

_FORBIDDEN = b""


class FilteredPath:
    """A `chainsocks.relay.datagrams.DatagramPath` in front of another one.

    `judge` returns the address to send to instead of a destination (mostly the same), or None to drop the datagram.
    Its answers are remembered for a bounded number of destinations.
    """

    def __init__(self, path: DatagramPath, judge: Callable[[Address], Address | None], drops: Drops) -> None:
        self._path = path
        self._judge = judge
        self._drops = drops
        self._permitted = Recent[bytes, bytes](REMEMBERED)

    def send(self, datagram: bytes, header: int) -> None:
        """Pass a datagram on, if its destination may be reached."""
        written = datagram[:header]
        permitted = self._permitted.get(written)
        if permitted is None:
            try:
                destination = decode_header(written).address
            except ProtocolError:
                self._drops[Drop.MALFORMED] += 1
                return
            address = self._judge(destination)
            permitted = _FORBIDDEN if address is None else written if address == destination else encode_header(address)
            self._permitted[written] = permitted
        if permitted == _FORBIDDEN:
            self._drops[Drop.FORBIDDEN] += 1
        elif permitted == written:
            self._path.send(datagram, header)
        else:
            self._path.send(permitted + datagram[header:], len(permitted))

    async def run(self, deliver: Deliver, ready: Ready) -> str:
        """Pass on the replies, unfiltered."""
        return await self._path.run(deliver, ready)
