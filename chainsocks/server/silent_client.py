"""What a session has as its client where there is no connection: questions of DNS, and flows of datagrams.

Nothing comes from it but its end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import trio
from anyio import BrokenResourceError, EndOfStream
from anyio.abc import ByteStream, SocketAttribute

from chainsocks.protocol.address import SockAddr

__all__ = ["SilentClient"]


class SilentClient(ByteStream):
    """`ends` are the client's address and ours; `closed` is called once, as the session ends."""

    def __init__(self, closed: Callable[[], None], ends: tuple[SockAddr, SockAddr]) -> None:
        self._closed: Callable[[], None] | None = closed
        self._ends = ends
        self._end = trio.Event()
        self._is_broken = False

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Wait until the client has left, or nothing more is sent to it."""
        await self._end.wait()
        if self._is_broken:
            raise BrokenResourceError
        raise EndOfStream

    async def send(self, item: bytes) -> None:
        """Send what a reply is; there are replies without a byte only."""
        if item:
            raise RuntimeError("this client takes no bytes")

    async def send_eof(self) -> None:
        """Nothing more is sent."""
        self._end.set()

    def break_off(self) -> None:
        """Have the client be one that has left."""
        self._is_broken = True
        self._end.set()

    async def aclose(self) -> None:
        """End it."""
        if self._closed:
            self._closed()
            self._closed = None

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """Both ends, by anyio's keys."""
        client, here = self._ends
        return {SocketAttribute.remote_address: lambda: client, SocketAttribute.local_address: lambda: here}
