"""A way of datagrams that not every destination may be reached by."""

from __future__ import annotations

from collections.abc import Callable

from chainsocks.protocol.address import Address
from chainsocks.protocol.datagram import decode_header, encode_header
from chainsocks.protocol.errors import ProtocolError
from chainsocks.relay.datagrams import Deliver, Drops, Ready, Way

__all__ = ["GuardedWay"]

REMEMBERED = 1024
"""Destinations whose verdicts are remembered; then all are forgotten."""

FORBIDDEN = b""


class GuardedWay:
    """A `chainsocks.relay.datagrams.Way` before another one: `judge` says what a destination is to be written as.

    None from it drops the datagram; it is asked once for each destination, and again when that has been forgotten.
    """

    def __init__(self, way: Way, judge: Callable[[Address], Address | None], drops: Drops) -> None:
        self._way = way
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
            self._way.send(datagram, header)
        else:
            self._way.send(verdict + datagram[header:], len(verdict))

    async def run(self, deliver: Deliver, ready: Ready) -> str:
        """Pass on what comes back; nobody is judged on the way home."""
        return await self._way.run(deliver, ready)
