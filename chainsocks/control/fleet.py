"""What the control socket sees of a server: all its workers together, whether that is one process or several."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from chainsocks.control.messages import Draining, Hop, Reloaded, Request, Session, Status

__all__ = ["Fleet", "SendSessions", "WorkerMetrics"]

SendSessions = Callable[[Sequence[Session]], Awaitable[None]]
"""Takes some of the sessions."""

WorkerMetrics = Mapping[str, Any]
"""What one worker has counted, as JSON."""


class Fleet(Protocol):
    """All workers of a server."""

    async def status(self) -> Status:
        """Return how the server is."""

    async def sessions(self, send: SendSessions) -> None:
        """Send the sessions that run, some at a time; those that begin or end meanwhile may be missing."""

    async def hops(self) -> Sequence[Hop]:
        """Return all hops of the configuration."""

    async def metrics(self) -> Sequence[WorkerMetrics]:
        """Return what each worker has counted since its start."""

    async def kill(self, which: Request) -> int:
        """End the sessions that a `kill` names, and return how many that were."""

    async def rest(self, hop: str) -> int:
        """Have requests avoid a hop until `wake`, and return how many hops have that name.

        Where a chain has no other hop for its place, requests use it all the same: no chain gets shorter.
        """

    async def wake(self, hop: str) -> int:
        """End what `rest` has begun, and the backoff of a hop; return how many hops have that name."""

    async def reload(self) -> Reloaded:
        """Read the configuration anew, and apply it if it has no problems."""

    async def drain(self, delay: float) -> Draining:
        """Have the server stop after `delay` seconds of accepting; return at once."""
