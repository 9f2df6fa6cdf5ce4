"""`open_trio_stream`: a connection through a chain by trio's own interfaces."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio
from anyio import BrokenResourceError, BusyResourceError, ClosedResourceError, EndOfStream

from chainsocks.client.arguments import TlsLike
from chainsocks.client.stream import ChainStream
from chainsocks.client.tcp import connect_tcp
from chainsocks.config.chains import DIRECT, Chain, Route
from chainsocks.config.hops import Hop
from chainsocks.config.models import Timeouts
from chainsocks.protocol.address import Address, HostLike, PortLike

__all__ = ["TrioStream", "open_trio_stream"]

CHUNK = 64 * 1024
"""Bytes that are received at most where the caller names no limit."""


async def open_trio_stream(
    host: HostLike,
    port: PortLike,
    *,
    chain: Chain = DIRECT,
    timeout: float | None = None,
    timeouts: Timeouts | None = None,
    tls: TlsLike | None = None,
    server_hostname: str | None = None,
    local_host: HostLike | None = None,
    isolation: str | None = None,
) -> TrioStream:
    """Connect to `host` and `port` through `chain`, under trio, and return a stream of trio's kind.

    The arguments, and what is raised, are those of `connect_tcp`.

    *Closing*: the stream is the caller's to close. Nothing is left open when this raises, or is cancelled.
    """
    return TrioStream(
        await connect_tcp(
            host,
            port,
            chain=chain,
            timeout=timeout,
            timeouts=timeouts,
            tls=tls,
            server_hostname=server_hostname,
            local_host=local_host,
            isolation=isolation,
        )
    )


class TrioStream(trio.abc.HalfCloseableStream):
    """A ``trio.abc.HalfCloseableStream`` around a `ChainStream`, which it owns.

    *Raises*: as trio's streams do.
    """

    def __init__(self, stream: ChainStream) -> None:
        self._stream = stream

    @property
    def route(self) -> Route:
        """See `ChainStream`."""
        return self._stream.route

    @property
    def hops(self) -> tuple[Hop, ...]:
        """See `ChainStream`."""
        return self._stream.hops

    @property
    def bound(self) -> Address:
        """See `ChainStream`."""
        return self._stream.bound

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`."""
        with _trios_errors():
            await self._stream.send(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        """Return at once: a send that has to wait, waits."""
        await trio.lowlevel.checkpoint()

    async def send_eof(self) -> None:
        """Finish sending; the other direction stays open."""
        with _trios_errors():
            await self._stream.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return what has arrived, up to `max_bytes`; nothing at the end."""
        if max_bytes is not None and max_bytes < 1:
            raise ValueError("max_bytes must be >= 1")
        with _trios_errors():
            try:
                return await self._stream.receive(max_bytes or CHUNK)
            except EndOfStream:
                return b""

    async def aclose(self) -> None:
        """Close the connection."""
        await self._stream.aclose()


@contextmanager
def _trios_errors() -> Iterator[None]:
    try:
        yield
    except BrokenResourceError as error:
        raise trio.BrokenResourceError(*error.args) from error
    except ClosedResourceError as error:
        raise trio.ClosedResourceError(*error.args) from error
    except BusyResourceError as error:
        raise trio.BusyResourceError(*error.args) from error
