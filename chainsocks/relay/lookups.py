"""Look up the names that datagrams are for, while the other datagrams go on.

1. A datagram waits for its name's address, and nobody waits for that datagram.
2. Bounded: so many names at once, so many datagrams for each; those beyond are dropped.
3. What was found is remembered, and the oldest of it forgotten when it becomes too much.
4. Every look-up ends by itself (`resolve`); then what waited for it is dropped as well.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import trio

from chainsocks.protocol.address import Address, canonical
from chainsocks.relay.datagrams import Drops

__all__ = ["Lookups", "Resolve", "StartSoon"]

NAMES = 8
"""Names looked up at once for one association: each takes a thread."""

WAITING = 16
"""Datagrams that wait for one name."""

REMEMBERED = 256
"""Names that are remembered with their addresses, for as long as the association lives."""

Resolve = Callable[[Address], Awaitable[Sequence[Address]]]
StartSoon = Callable[..., None]
"""A nursery's ``start_soon``."""

Found = Callable[[Address, Sequence[bytes]], None]


class Lookups:
    """The look-ups of one association. `found` is called with an address, and with the datagrams that waited for it."""

    def __init__(self, resolve: Resolve, limit: float, drops: Drops) -> None:
        self._resolve = resolve
        self._limit = limit
        self._drops = drops
        self._waiting: dict[Address, list[bytes]] = {}
        self._known: dict[Address, Address] = {}

    def wait(self, name: Address, datagram: bytes, found: Found, start_soon: StartSoon) -> None:
        """Let a datagram wait for the address of its name; the look-up is a task, started by `start_soon`."""
        if known := self._known.get(name):
            found(known, (datagram,))
            return
        waiting = self._waiting.get(name)
        if waiting is None and len(self._waiting) < NAMES:
            waiting = self._waiting[name] = []
            start_soon(self._look_up, name, found)
        if waiting is None or len(waiting) >= WAITING:
            self._drops.overflow += 1
        else:
            waiting.append(datagram)

    async def _look_up(self, name: Address, found: Found) -> None:
        addresses: Sequence[Address] = ()
        with trio.move_on_after(self._limit):
            try:
                addresses = await self._resolve(name)
            except OSError:
                pass  # there is none
        waiting = self._waiting.pop(name)
        if addresses:
            if len(self._known) >= REMEMBERED:
                del self._known[next(iter(self._known))]
            known = self._known[name] = canonical(addresses[0])
            found(known, waiting)
        else:
            self._drops.nameless += len(waiting)
