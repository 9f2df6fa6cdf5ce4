"""How long nothing may move in a relay, as the deadline of the cancel scope around it.

The deadline is re-armed coarsely: at most an eighth of the limit late and never early, and not for each chunk.
"""

from __future__ import annotations

from typing import Protocol

import trio

__all__ = ["Scope", "Silence"]


class Scope(Protocol):
    """What a relay needs of the cancel scope that it runs in."""

    deadline: float


class Silence:
    """See the module; the limit is in seconds, and runs from now."""

    __slots__ = ("_limit", "_rearm_at", "_scope")

    def __init__(self, scope: Scope, limit: float) -> None:
        self._scope = scope
        self._limit = limit
        self._arm(trio.current_time())

    def broken(self) -> None:
        """Let it start anew: something moved."""
        now = trio.current_time()
        if now >= self._rearm_at:
            self._arm(now)

    def limit_to(self, limit: float) -> None:
        """Allow less from now on."""
        self._limit = min(limit, self._limit)
        self._arm(trio.current_time())

    def _arm(self, now: float) -> None:
        # A deadline may be dear to move, so it is done once in an eighth of the limit, and set an eighth too far so
        # that it is never early.
        self._scope.deadline = now + self._limit * 9 / 8
        self._rearm_at = now + self._limit / 8
