"""What lies below every walk: connects, look-ups, the clock, and the scopes of the async library that runs."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from anyio.abc import ByteStream

from chainsocks.protocol.address import Address

__all__ = ["CancelScope", "Network"]


class Network(Protocol):
    """What lies below the dial: trio's in the server, anyio's in the client library, one in memory in tests."""

    async def open_tcp(self, address: Address) -> ByteStream:
        """Connect to an IP address, or raise `OSError`."""

    async def resolve(self, address: Address) -> list[Address]:
        """Look a name up locally and return its addresses, best first, or raise `socket.gaierror`."""

    def open_scope(self, deadline: float) -> CancelScope:
        """Make a cancel scope of the async library that runs."""

    def now(self) -> float:
        """Return the time on that library's clock."""


class CancelScope(Protocol):
    """What trio's and anyio's cancel scopes have in common."""

    deadline: float

    @property
    def cancelled_caught(self) -> bool:
        """Whether the block was cut short."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None: ...
