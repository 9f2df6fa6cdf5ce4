"""A relay of datagrams: a client, the way beyond, and one deadline for the silence of both.

1. Both ends are pinned. The client's datagrams come from the IP address of its TCP connection, and from one port: the
   one it has declared, or that of its first datagram. What comes from beyond comes from whom it was asked of.
2. What does not fit is dropped and counted: strangers, fragments (RFC 1928 section 7 lets us), and what has no room.
3. It ends with the client's TCP connection, or with what carries the way. What the client says there is not looked at.
4. A stranger's datagram does not break the silence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Protocol

import trio
from anyio import BrokenResourceError, EndOfStream
from anyio.abc import ByteStream

from chainsocks.net.udp import Received
from chainsocks.protocol.address import Address
from chainsocks.protocol.datagram import PLAIN, header_size
from chainsocks.protocol.errors import ProtocolError
from chainsocks.relay.idle import IdleTimer, Scope
from chainsocks.relay.relay import Outcome, Traffic

__all__ = ["DatagramPath", "DatagramRelay", "Datagrams", "Deliver", "Drops", "Ready", "Tally", "read_away"]


class Datagrams(Protocol):
    """A UDP socket, as `chainsocks.net.udp.UDPSocket` is one."""

    address: Address

    def send(self, data: bytes, to: tuple[str, int]) -> bool:
        """Send one datagram; False when it could not leave."""

    async def run(self, received: Received) -> None:
        """Hand on all that arrives, until cancelled."""

    def close(self) -> None:
        """Close the socket."""


@dataclass(slots=True)
class Drops:
    """How many datagrams were dropped, by reason; ``str`` names those that there were."""

    strangers: int = field(default=0, metadata={"words": "from strangers"})
    fragments: int = field(default=0, metadata={"words": "in fragments"})
    malformed: int = 0
    nameless: int = field(default=0, metadata={"words": "to names without an address"})
    overflow: int = field(default=0, metadata={"words": "too many at once"})
    unsent: int = field(default=0, metadata={"words": "not taken by the network"})
    forbidden: int = field(default=0, metadata={"words": "not allowed to go there"})

    def __str__(self) -> str:
        counts = ((getattr(self, reason.name), reason.metadata.get("words", reason.name)) for reason in fields(self))
        return ", ".join(f"{count} {words}" for count, words in counts if count)


@dataclass(slots=True)
class Tally:
    """What became of the datagrams: bytes of payload passed on, and drops."""

    traffic: Traffic
    drops: Drops = field(default_factory=Drops)


Deliver = Callable[[bytes, int], None]
"""Gives the client a datagram: with its header, and the size of the payload."""


Ready = Callable[[], None]
"""Says that a way can be sent to from now on."""


class DatagramPath(Protocol):
    """What lies beyond the relay: the destinations, or the first of the hops."""

    def send(self, datagram: bytes, header: int) -> None:
        """Pass on a datagram of the client, whose header has that many bytes."""

    async def run(self, deliver: Deliver, ready: Ready) -> str:
        """Pass on what comes back, until cancelled; or return why there is no way any more.

        *Closing*: what was opened for it on the way is closed when this ends.
        """


class DatagramRelay:
    """A client that has asked for a UDP association.

    `control` is its TCP connection, `host` the IP address that this comes from, and `port` the one that it has declared
    for its datagrams, or 0. They come to `socket`, and leave by `way`. `idle` is in seconds.
    """

    __slots__ = ("_client", "_control", "_end", "_host", "_idle", "_idle_timer", "_path", "_socket", "_tally")

    def __init__(
        self,
        control: ByteStream,
        socket: Datagrams,
        path: DatagramPath,
        tally: Tally,
        *,
        host: str,
        port: int,
        idle: float,
    ) -> None:
        self._control = control
        self._socket = socket
        self._path = path
        self._tally = tally
        self._host = host
        self._client = (host, port) if port else None
        self._idle = idle
        self._end: str = Outcome.IDLE

    @property
    def outcome(self) -> str:
        """How it ended, and what was dropped; one that was cut short was ended by its silence."""
        drops = str(self._tally.drops)
        return f"{self._end}; dropped: {drops}" if drops else self._end

    async def run(self, scope: Scope) -> None:
        """Pass datagrams both ways until the association is over; `outcome` then says why.

        Silence that lasts too long cancels `scope`, which surrounds this.
        """
        self._idle_timer = IdleTimer(scope, self._idle)
        async with trio.open_nursery() as nursery:

            async def go_beyond(task_status: trio.TaskStatus[None]) -> None:
                self._end = await self._path.run(self._deliver, task_status.started)
                nursery.cancel_scope.cancel()

            await nursery.start(go_beyond)
            nursery.start_soon(self._socket.run, self._received)
            in_order = await read_away(self._control)
            self._end = Outcome.FINISHED if in_order else Outcome.CLIENT_BROKEN
            nursery.cancel_scope.cancel()

    def _received(self, datagram: bytes, source: tuple[str, int]) -> None:
        """Pass on what came to the client's side."""
        drops = self._tally.drops
        if source != self._client:
            if self._client or source[0] != self._host:
                drops.strangers += 1
                return
            self._client = source
        self._idle_timer.touch()
        try:
            size = header_size(datagram)
        except ProtocolError:
            drops.malformed += 1
            return
        if datagram.startswith(PLAIN):
            self._path.send(datagram, size)
        elif datagram.startswith(PLAIN[:-1]):
            drops.fragments += 1
        else:
            drops.malformed += 1

    def _deliver(self, datagram: bytes, payload: int) -> None:
        """Pass on what came from beyond."""
        if self._client and self._socket.send(datagram, self._client):
            self._tally.traffic.down += payload
            self._idle_timer.touch()
        else:
            self._tally.drops.unsent += 1


async def read_away(stream: ByteStream) -> bool:
    """Wait for the end of a stream that only stands for an association; False when it was broken."""
    try:
        while True:
            await stream.receive()
    except EndOfStream:
        return True
    except BrokenResourceError:
        return False
