"""Watch a client while its request is dialled, so that a request without a client ends.

1. A reset ends the dial at once.
2. A client that finishes its side with data behind its request has half-closed: nothing changes.
3. A client that finishes its side with no data behind its request may have left. No further attempt starts, and the
   attempt under way has at most `GRACE` seconds more.

Two servers that are each other's hop pass a request around in a ring. The ring dies with its first client, because each
abandoned dial resets its upstream, which is the next session's client.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import trio
from anyio import BrokenResourceError, EndOfStream
from anyio.abc import ByteStream

from chainsocks.chain.trip import Abandonment, RequestAbandoned
from chainsocks.errors import DialError, RequestRefused
from chainsocks.net.polled import PolledStream
from chainsocks.net.poller import RESET_EVENT
from chainsocks.network import Network
from chainsocks.protocol.handshake import ServerHandshake

__all__ = ["EARLY", "GRACE", "ClientWatch", "has_left", "until_client_leaves"]

EARLY = 64 * 1024
"""Bytes that are read from a client ahead of its upstream; more waits in its socket."""

GRACE = 5
"""Seconds that a dial goes on for a client that has finished its side without a byte behind its request."""

ResultT = TypeVar("ResultT")


class ClientWatch:
    """Watches `client`, whose request `handshake` holds. `abandoned` tells the dial that the client has left."""

    __slots__ = ("_client", "_grace", "_handshake", "_network", "abandoned", "was_reset")

    def __init__(self, client: ByteStream, handshake: ServerHandshake, network: Network) -> None:
        self._client = client
        self._handshake = handshake
        self._network = network
        self._grace: float = GRACE
        self.abandoned = Abandonment()
        self.was_reset = False
        """Whether the client has reset its connection, so that it can read no answer."""

    async def during(self, operation: Awaitable[ResultT], grace: float = GRACE) -> ResultT:
        """Run `operation` with the client watched; it has `grace` seconds more once the client has left.

        Raises:
            DialError, RequestRefused, RequestAbandoned: as `operation` does.
        """
        self._grace = grace
        client = self._client
        if not isinstance(client, PolledStream):
            return await self._during_reads(operation)
        client.watch_end(partial(self._note_end, client))
        try:
            return await operation
        finally:
            client.watch_end(None)

    def _note_end(self, client: PolledStream, events: int) -> None:
        """Note that the client has left, if that is what `events` mean."""
        if has_left(client, events, self._handshake.trailing_data):
            self._note_left(reset=bool(client.was_reset))

    def _note_left(self, *, reset: bool) -> None:
        self.was_reset = reset
        self.abandoned.declare(self._network.now() + (0 if reset else self._grace))

    async def _during_reads(self, operation: Awaitable[ResultT]) -> ResultT:
        """Watch a stream that has no events of its own: read what the client sends early into the handshake."""
        results: list[ResultT] = []
        failure: DialError | RequestRefused | RequestAbandoned | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read_early)
            try:
                results.append(await operation)
            except (DialError, RequestRefused, RequestAbandoned) as error:  # a nursery would make a group of it
                failure = error
            nursery.cancel_scope.cancel()
        if failure:
            raise failure
        return results[0]

    async def _read_early(self) -> None:
        try:
            while len(self._handshake.trailing_data) < EARLY:
                self._handshake.receive_data(await self._client.receive())
        except BrokenResourceError:
            self._note_left(reset=True)
        except EndOfStream:
            if not self._handshake.trailing_data:
                self._note_left(reset=False)


@contextmanager
def until_client_leaves(client: ByteStream, handshake: ServerHandshake) -> Iterator[None]:
    """Cancel the block when the client leaves, if its stream has events that tell."""
    with trio.CancelScope() as scope:
        if not isinstance(client, PolledStream):
            yield
            return

        def note_end(events: int) -> None:
            if has_left(client, events, handshake.trailing_data):
                scope.cancel()

        client.watch_end(note_end)
        try:
            yield
        finally:
            client.watch_end(None)


def has_left(client: PolledStream, events: int, early_data: bytes) -> bool:
    """Whether an end is more than a half-close behind data, which stays in the socket or is `early_data`.

    `client.was_reset` then says whether it is a reset.
    """
    if events & RESET_EVENT:
        client.was_reset = True
        return True
    try:
        has_data = bool(client.socket.recv(1, socket.MSG_PEEK))
    except OSError as error:  # a reset behind those events, which the kernel reports once
        client.note_broken(error)
        return True
    return not (has_data or early_data)
