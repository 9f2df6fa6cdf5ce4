"""A datagram path that only permitted destinations can be reached by."""

from __future__ import annotations

from collections.abc import Callable

from chainsocks.protocol.address import Address
from chainsocks.protocol.datagram import decode_header, encode_header
from chainsocks.protocol.errors import ProtocolError
from chainsocks.relay.datagrams import DatagramPath, Deliver, Drops, Ready

__all__ = ["FilteredPath"]

REMEMBERED = 1024
"""Destinations whose verdicts are remembered; at one more, all are forgotten."""

FORBIDDEN = b""


class FilteredPath:
    """A `chainsocks.relay.datagrams.DatagramPath` in front of another one.

    `judge` returns the address to send to instead of a destination (mostly the same), or None to drop the datagram.
    Its answers are remembered for a bounded number of destinations.
    """

    def __init__(self, path: DatagramPath, judge: Callable[[Address], Address | None], drops: Drops) -> None:
        self._path = path
        self._judge = judge
        self._drops = drops
        self._verdicts: dict[bytes, bytes] = {}

    def send(self, datagram: bytes, header: int) -> None:
        """Pass a datagram on, if its destination may be reached."""
        asked = datagram[:header]
        verdict = self._verdicts.get(asked)
        if verdict is None:
            try:
                destination = decode_header(asked).address
            except ProtocolError:
                self._drops.malformed += 1
                return
            if len(self._verdicts) >= REMEMBERED:
                self._verdicts.clear()
            told = self._judge(destination)
            verdict = FORBIDDEN if told is None else asked if told == destination else encode_header(told)
            self._verdicts[asked] = verdict
        if verdict == FORBIDDEN:
            self._drops.forbidden += 1
        elif verdict == asked:
            self._path.send(datagram, header)
        else:
            self._path.send(verdict + datagram[header:], len(verdict))

    async def run(self, deliver: Deliver, ready: Ready) -> str:
        """Pass on the replies, unfiltered."""
        return await self._path.run(deliver, ready)
