"""The idle timer of a relay: it moves the deadline of the relay's cancel scope while bytes move.

The deadline is not moved for each chunk, but after an eighth of the limit at the earliest. So an idle relay ends up to
an eighth of the limit late, and never early.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["Scope", "restart", "touch"]


class Scope(Protocol):
    """The part of a cancel scope that a relay uses."""

    deadline: float


def restart(scope: Scope, limit: float, now: float) -> None:
    """Start the timer, or start it anew; `limit` is in seconds from `now`, which is on trio's clock."""
    # Moving a deadline is expensive, so `touch` does it once per eighth of the limit. The deadline is an eighth too
    # late to make up for that.
    scope.deadline = now + limit * 9 / 8


def touch(scope: Scope, limit: float, now: float) -> None:
    """Restart the timer of a scope with the same limit as before, if its time is an eighth of that old."""
    if now >= scope.deadline - limit:
        restart(scope, limit, now)
