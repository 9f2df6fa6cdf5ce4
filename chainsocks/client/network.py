"""The network as anyio sees it, under trio and asyncio: connects, look-ups, listeners, scopes and the time."""

from __future__ import annotations

import socket
import time
from typing import cast

import anyio
from anyio.abc import ByteStream, SocketAttribute, SocketListener

from chainsocks.chain.dial import Choices
from chainsocks.chain.health import Health
from chainsocks.protocol.address import Address, address_of
from chainsocks.sockets import local_address

__all__ = ["CHOICES", "AnyioNetwork"]

CHOICES = Choices(Health(time.monotonic))
"""What this process has learnt of the hops of its chains, whichever loop runs."""

BACKLOG = 16
"""Strangers that may be waiting while the one who is expected knocks."""


class _Listener:
    """One of anyio's listeners, as a BIND wants it."""

    def __init__(self, listener: SocketListener) -> None:
        self._listener = listener

    @property
    def address(self) -> Address:
        return address_of(cast(tuple[str, int], self._listener.extra(SocketAttribute.local_address)))

    async def accept(self) -> tuple[ByteStream, Address]:
        stream = await self._listener.accept()
        return stream, address_of(cast(tuple[str, int], stream.extra(SocketAttribute.remote_address)))

    async def aclose(self) -> None:
        await self._listener.aclose()


class AnyioNetwork:
    """A `chainsocks.chain.bind.BindNetwork` on anyio."""

    async def open_tcp(self, address: Address) -> ByteStream:
        """Connect to an IP address."""
        return await anyio.connect_tcp(address.host, address.port)

    async def resolve(self, address: Address) -> list[Address]:
        """Look a name up, in the order that the resolver gives."""
        found = await anyio.getaddrinfo(address.packed, address.port, type=socket.SOCK_STREAM)
        return [Address(str(sockaddr[0]), address.port) for *_, sockaddr in found]

    async def name_of(self, address: Address) -> str:
        """Look up the name of an IP address."""
        name, _ = await anyio.getnameinfo((address.host, 0), socket.NI_NAMEREQD)
        return name

    async def listen(self, address: Address) -> _Listener:
        """Listen on an IP address of ours."""
        opened = await anyio.create_tcp_listener(local_host=address.host, local_port=address.port, backlog=BACKLOG)
        [listener] = opened.listeners
        return _Listener(cast(SocketListener, listener))

    def own_address(self, peer: Address) -> Address:
        """Return our address on the route to a peer."""
        return local_address(peer)

    def open_scope(self, deadline: float) -> anyio.CancelScope:
        """Make a cancel scope."""
        return anyio.CancelScope(deadline=deadline)

    def now(self) -> float:
        """Return the time of whichever clock runs."""
        return anyio.current_time()
