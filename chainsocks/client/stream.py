"""The stream of `connect_tcp`: bytes to and from the destination, and the way that they go."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from typing import Any

import anyio
from anyio import BrokenResourceError, ClosedResourceError
from anyio.abc import ByteStream
from anyio.streams.tls import TLSAttribute

from chainsocks.config.chains import Route
from chainsocks.config.hops import Hop
from chainsocks.net.tls import TlsStream
from chainsocks.protocol.address import Address

__all__ = ["ChainStream"]


class ChainStream(ByteStream):
    """An anyio ``ByteStream`` to the destination, through all hops of `route`.

    Its extra attributes are those of the socket (``anyio.abc.SocketAttribute``), and with TLS to the destination those
    of ``anyio.streams.tls.TLSAttribute`` as well.

    *Closing*: `aclose` closes the connection; with TLS it sends a close_notify first, for which it has `farewell`
    seconds. It waits for nothing from the peer.
    """

    def __init__(self, stream: ByteStream, route: Route, bound: Address, farewell: float) -> None:
        self._stream = stream
        self._farewell = farewell
        self._is_closed = False
        self.route = route
        """The way through the chain; as text ``paris -> osaka``."""
        self.bound = bound
        """BND.ADDR of the last hop: where it connects from, as it says. Directly, the local address."""

    @property
    def hops(self) -> tuple[Hop, ...]:
        """The hops that the bytes go through, the first one first; groups are replaced by the member that was taken."""
        return self.route.hops

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return what has arrived, up to `max_bytes` bytes; wait until there is something.

        Raises:
            EndOfStream: the destination has finished.
            BrokenResourceError: the connection broke.
            ClosedResourceError: the stream was closed.
        """
        return await self._stream.receive(max_bytes)

    async def send(self, item: bytes) -> None:
        """Send `item`, all of it.

        Raises:
            BrokenResourceError, ClosedResourceError: as `receive`.
        """
        await self._stream.send(item)

    async def send_eof(self) -> None:
        """Finish sending; the other direction stays open."""
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """Close the connection."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            if isinstance(self._stream, TlsStream):
                with anyio.move_on_after(self._farewell):
                    await self._stream.send_eof()
        except (BrokenResourceError, ClosedResourceError):
            pass  # the peer is gone
        finally:
            await self._stream.aclose()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """Those of the socket, and of TLS."""
        inner = self._stream.extra_attributes
        if not isinstance(self._stream, TlsStream):
            return inner
        tls: ssl.SSLObject = self._stream.ssl_object
        return {
            **inner,
            TLSAttribute.alpn_protocol: tls.selected_alpn_protocol,
            TLSAttribute.cipher: tls.cipher,
            TLSAttribute.peer_certificate: tls.getpeercert,
            TLSAttribute.peer_certificate_binary: lambda: tls.getpeercert(binary_form=True),
            TLSAttribute.server_side: lambda: False,
            TLSAttribute.ssl_object: lambda: tls,
            TLSAttribute.standard_compatible: lambda: True,
            TLSAttribute.tls_version: tls.version,
        }
