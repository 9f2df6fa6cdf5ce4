"""The idle timer of a relay: it moves the deadline of the relay's cancel scope while bytes move.

The deadline is not moved for each chunk, but after an eighth of the limit at the earliest. So an idle relay ends up to
an eighth of the limit late, and never early.
"""

from __future__ import annotations

from typing import Protocol

import trio

__all__ = ["IdleTimer", "Scope"]


class Scope(Protocol):
    """The part of a cancel scope that a relay uses."""

    deadline: float


class IdleTimer:
    """See the module. `limit` is in seconds and starts now."""

    __slots__ = ("_limit", "_rearm_at", "_scope")

    def __init__(self, scope: Scope, limit: float) -> None:
        self._scope = scope
        self._limit = limit
        self._arm(trio.current_time())

    def touch(self) -> None:
        """Restart the timer."""
        now = trio.current_time()
        if now >= self._rearm_at:
            self._arm(now)

    def limit_to(self, limit: float) -> None:
        """Restart the timer with a lower limit; a higher one changes nothing."""
        self._limit = min(limit, self._limit)
        self._arm(trio.current_time())

    def _arm(self, now: float) -> None:
        # Moving a deadline is expensive, so it happens once per eighth of the limit. The deadline is an eighth too late
        # to make up for that.
        self._scope.deadline = now + self._limit * 9 / 8
        self._rearm_at = now + self._limit / 8
