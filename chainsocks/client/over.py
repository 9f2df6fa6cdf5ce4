"""A network whose one connection is there already: the stream that a caller gives as ``over=``."""

from __future__ import annotations

from anyio.abc import ByteStream

from chainsocks.client.network import AnyioNetwork
from chainsocks.egress import Egress
from chainsocks.protocol.address import UNSPECIFIED, Address

__all__ = ["Over"]


class Over(AnyioNetwork):
    """Hands `stream` out in place of the first TCP connection. What it leads to is known, and not looked up."""

    def __init__(self, stream: ByteStream) -> None:
        super().__init__()
        self._stream: ByteStream | None = stream

    async def open_tcp(self, address: Address, egress: Egress | None = None) -> ByteStream:
        """Return the stream."""
        if self._stream is None:
            raise OSError(f"the stream of over= is in use, and there is no other way to {address}")
        stream, self._stream = self._stream, None
        return stream

    async def resolve(self, address: Address, client: str = "") -> list[Address]:
        """Resolve a name on this machine, except for the end of the stream, which is the first that a dial asks for."""
        return [UNSPECIFIED] if self._stream else await super().resolve(address, client)
