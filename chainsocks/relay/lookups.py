"""Name lookups for datagrams.

1. A datagram for a name waits for its addresses; other datagrams do not wait for it.
2. The number of lookups is bounded, and so is the number of datagrams that wait for one; the rest are dropped.
3. Addresses are remembered for as long as the association lives, for a bounded number of names.
4. Each lookup has a deadline. If it fails, the datagrams that wait for it are dropped.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import trio

from chainsocks.datagrams import Candidates, Drop, Recent
from chainsocks.observe.tally import Drops
from chainsocks.protocol.address import Address

__all__ = ["Lookups", "Resolve", "StartSoon"]

NAMES = 8
"""Concurrent lookups of one association; each needs a thread."""

WAITING = 16
"""Datagrams that may wait for one name."""

REMEMBERED = 256
"""Names whose addresses are kept at least."""

Resolve = Callable[[Address], Awaitable[Sequence[Address]]]
StartSoon = Callable[..., None]
"""A nursery's ``start_soon``."""

Found = Callable[[Candidates, Sequence[bytes]], None]
"""Gets the addresses of a name, and the datagrams that have waited for them."""


class Lookups:
    """The lookups of one association. Each may take `limit` seconds."""

    def __init__(self, resolve: Resolve, limit: float, drops: Drops) -> None:
        self._resolve = resolve
        self._limit = limit
        self._drops = drops
        self._waiting: dict[Address, list[bytes]] = {}
        self._known = Recent[Address, Candidates](REMEMBERED)

    def wait(self, name: Address, datagram: bytes, found: Found, start_soon: StartSoon) -> None:
        """Have `found` called once the addresses of `name` are known; a lookup is a task, started by `start_soon`."""
        if known := self._known.get(name):
            found(known, (datagram,))
            return
        waiting = self._waiting.get(name)
        if waiting is None and len(self._waiting) < NAMES:
            waiting = self._waiting[name] = []
            start_soon(self._look_up, name, found)
        if waiting is None or len(waiting) >= WAITING:
            self._drops[Drop.OVERFLOW] += 1
        else:
            waiting.append(datagram)

    async def _look_up(self, name: Address, found: Found) -> None:
        addresses: Sequence[Address] = ()
        with trio.move_on_after(self._limit):
            try:
                addresses = await self._resolve(name)
            except OSError:
                pass  # the name has no address
        waiting = self._waiting.pop(name)
        if addresses:
            known = self._known[name] = Candidates(addresses)
            found(known, waiting)
        else:
            self._drops[Drop.NO_ADDRESS] += len(waiting)
