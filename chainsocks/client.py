"""The client library: TCP connections through a chain, under trio and under asyncio.

The chain is walked by the same `chainsocks.chain.dial.dial` that the server runs; only the connect and the look-up
below it are anyio's.
"""

from __future__ import annotations

import socket

import anyio
from anyio.abc import ByteStream
from anyio.streams.buffered import BufferedByteStream

from chainsocks.chain.dial import dial
from chainsocks.config.hops import DIRECT, Chain
from chainsocks.config.models import Timeouts
from chainsocks.protocol.address import Address

__all__ = ["connect_tcp"]


async def connect_tcp(host: str, port: int, *, chain: Chain = DIRECT, timeouts: Timeouts | None = None) -> ByteStream:
    """Connect to `host` and `port` through `chain`, and return the stream.

    A name goes to the last hop as it is. `timeouts` are the server's own by default, see
    `chainsocks.config.models.Timeouts`.

    *Closing*: the stream is the caller's to close. Nothing is left open when this raises, or is cancelled.

    Raises:
        DialError: one of its subclasses; it names the hop, the step, the time spent and the limit.
        ValueError: `host` or `port` cannot be part of a SOCKS request.
    """
    way = await dial(chain, Address(host, port), timeouts or Timeouts(), _Network())
    if not way.trailing_data:
        return way.stream
    stream = BufferedByteStream(way.stream)
    stream.feed_data(way.trailing_data)
    return stream


class _Network:
    """The network as anyio sees it."""

    async def open_tcp(self, address: Address) -> ByteStream:
        return await anyio.connect_tcp(address.host, address.port)

    async def resolve(self, address: Address) -> list[Address]:
        found = await anyio.getaddrinfo(address.packed, address.port, type=socket.SOCK_STREAM)
        return [Address(str(sockaddr[0]), address.port) for *_, sockaddr in found]

    def open_scope(self, deadline: float) -> anyio.CancelScope:
        return anyio.CancelScope(deadline=deadline)

    def now(self) -> float:
        return anyio.current_time()
