"""A relay of datagrams between a client and a path: the destinations themselves, or the first hop of a chain.

1. Both ends are pinned. The client's datagrams come from the IP address of its TCP connection and from one port: the
   one declared for that address, or that of the first datagram. Replies are accepted only from addresses the client
   has sent to.
2. Other datagrams are dropped and counted: those of strangers, fragments (RFC 1928 section 7 allows that), and those
   that no buffer has room for.
3. The relay ends with the client's TCP connection, or with its path. What the client sends on that connection is
   ignored.
4. Datagrams in either direction restart the idle timer; those of strangers do not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import trio
from anyio.abc import ByteStream

from chainsocks.datagrams import Drop, DropDatagram, split, wait_for_end
from chainsocks.network import DatagramSocket
from chainsocks.observe.outcomes import OutcomeKind
from chainsocks.observe.tally import Tally
from chainsocks.protocol.datagram import clear_reserved
from chainsocks.relay.idle import Scope, restart, touch
from chainsocks.relay.relay import Outcome

__all__ = ["DatagramPath", "DatagramRelay", "Deliver", "Ready"]


Deliver = Callable[[bytes, int], None]
"""Passes a datagram with its header to the client; the number is the size of the payload."""


Ready = Callable[[], None]
"""Reports that `DatagramPath.send` may be called from now on."""


class DatagramPath(Protocol):
    """Where the datagrams of a client go, and where replies come from."""

    def send(self, datagram: bytes, header: int) -> None:
        """Pass on a datagram of the client. Its first `header` bytes are the header."""

    async def run(self, deliver: Deliver, ready: Ready) -> str:
        """Pass replies to `deliver` until cancelled, or until the path breaks; then return the reason, for the log.

        *Closing*: closes what `send` has opened.
        """


class DatagramRelay:
    """The relay of one client's UDP association.

    `control` is the client's TCP connection, `host` its IP address, and `port` the port that it has declared for its
    datagrams, or 0. It sends them to `socket`; they leave by `path`. `idle` is in seconds.
    """

    __slots__ = ("_client", "_control", "_end", "_host", "_idle", "_path", "_scope", "_socket", "_tally", "kind")

    def __init__(
        self,
        control: ByteStream,
        socket: DatagramSocket,
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
        self.kind = OutcomeKind.IDLE
        """What the outcome is, for programs."""

    @property
    def outcome(self) -> str:
        """How the relay ended, and what it dropped. A relay that was cancelled counts as idle for too long."""
        drops = str(self._tally.drops)
        return f"{self._end}; dropped: {drops}" if drops else self._end

    async def run(self, scope: Scope) -> None:
        """Pass datagrams both ways until the association ends; `outcome` then says why.

        The idle timer cancels `scope`, which must surround this call.
        """
        self._scope = scope
        restart(scope, self._idle, trio.current_time())
        async with trio.open_nursery() as nursery:

            async def run_path(task_status: trio.TaskStatus[None]) -> None:
                self._end = await self._path.run(self._deliver, task_status.started)
                self.kind = OutcomeKind.HOP_ENDED
                nursery.cancel_scope.cancel()

            await nursery.start(run_path)
            nursery.start_soon(self._socket.run, self._on_datagram)
            in_order = await wait_for_end(self._control)
            end = Outcome.FINISHED if in_order else Outcome.CLIENT_BROKEN
            self._end, self.kind = end, end.kind
            nursery.cancel_scope.cancel()

    def _on_datagram(self, datagram: bytes, source: tuple[str, int]) -> None:
        """Pass a datagram of the client to the path."""
        drops = self._tally.drops
        if source != self._client:
            if self._client or source[0] != self._host:
                drops[Drop.STRANGER] += 1
                return
            self._client = source
        touch(self._scope, self._idle, trio.current_time())
        try:
            header = split(datagram)
        except DropDatagram as drop:
            drops[drop.reason] += 1
        else:
            self._path.send(clear_reserved(datagram), header)

    def _deliver(self, datagram: bytes, payload: int) -> None:
        """Pass a reply to the client."""
        if self._client and self._socket.send(datagram, self._client):
            self._tally.traffic.down += payload
            self._tally.down += 1
            touch(self._scope, self._idle, trio.current_time())
        else:
            self._tally.drops[Drop.UNSENT] += 1
