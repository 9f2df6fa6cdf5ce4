"""The network as a session sees it that has looked its destination up already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from anyio.abc import ByteStream

from chainsocks.chain.bind import BindNetwork, Listener
from chainsocks.chain.network import CancelScope
from chainsocks.chain.resolve import ResolveNetwork
from chainsocks.protocol.address import Address

__all__ = ["PassageNetwork", "PinnedNetwork"]


class PassageNetwork(BindNetwork, ResolveNetwork, Protocol):
    """What lies below a request."""


class PinnedNetwork:
    """A `PassageNetwork` on which one name has the addresses that the rules have seen, and no more.

    A second look-up might find another one: whoever owns the name decides that, and could get around a rule by it.
    """

    def __init__(self, network: PassageNetwork, name: Address, addresses: Sequence[Address]) -> None:
        self._network = network
        self._host = name.host
        self._addresses = addresses

    async def open_tcp(self, address: Address) -> ByteStream:
        """Connect to an IP address."""
        return await self._network.open_tcp(address)

    async def resolve(self, address: Address) -> list[Address]:
        """Return what is known of the name; look any other one up."""
        if address.host == self._host:
            return [Address(known.host, address.port) for known in self._addresses]
        return await self._network.resolve(address)

    async def name_of(self, address: Address) -> str:
        """Look up the name of an IP address."""
        return await self._network.name_of(address)

    async def listen(self, address: Address) -> Listener:
        """Listen on an IP address of ours."""
        return await self._network.listen(address)

    def own_address(self, peer: Address) -> Address:
        """Return our address on the route to an IP address."""
        return self._network.own_address(peer)

    def open_scope(self, deadline: float) -> CancelScope:
        """Make a cancel scope."""
        return self._network.open_scope(deadline)

    def now(self) -> float:
        """Return the time."""
        return self._network.now()
