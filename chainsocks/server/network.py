"""The network as the server sees it: trio's clock and scopes, and streams that wait through one poller."""

from __future__ import annotations

import trio

from chainsocks.net.poller import Poller
from chainsocks.net.stream import SocketStream
from chainsocks.net.tcp import open_tcp, resolve
from chainsocks.protocol.address import Address

__all__ = ["TrioNetwork"]


class TrioNetwork:
    """A `chainsocks.chain.dial.Network` on trio."""

    def __init__(self, poller: Poller | None) -> None:
        self._poller = poller

    async def open_tcp(self, address: Address) -> SocketStream:
        """Connect to an IP address; see `chainsocks.net.tcp.open_tcp`."""
        return await open_tcp(address, self._poller)

    async def resolve(self, address: Address) -> list[Address]:
        """Look a name up; see `chainsocks.net.tcp.resolve`."""
        return await resolve(address)

    def open_scope(self, deadline: float) -> trio.CancelScope:
        """Make a cancel scope."""
        return trio.CancelScope(deadline=deadline)

    def now(self) -> float:
        """Return trio's time."""
        return trio.current_time()
