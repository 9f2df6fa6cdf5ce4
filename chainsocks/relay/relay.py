"""A relay: one pump each way, and one cancel scope for the silence of both.

1. The end of one direction is passed on and the other goes on, for as long as `half_close` allows silence.
2. A broken source ends the relay at once. A broken sink ends its direction only: what its peer had still said is
   delivered first.
3. One scope, re-armed coarsely: at most an eighth of the limit late and never early, and no scope for each chunk.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import trio
from anyio.abc import ByteStream

from chainsocks.relay.pump import End, pump

__all__ = ["Outcome", "Traffic", "relay"]


class Outcome(StrEnum):
    """How a relay ended, in words for the log."""

    FINISHED = "finished"
    IDLE = "idle for too long"
    HALF_CLOSED = "one side finished, the other stayed silent for too long"
    CLIENT_BROKEN = "reset by the client"
    UPSTREAM_BROKEN = "reset by upstream"


@dataclass(slots=True)
class Traffic:
    """Bytes passed on so far, readable while the relay runs."""

    up: int = 0
    """From the client to the upstream."""
    down: int = 0
    """From the upstream to the client."""


async def relay(
    client: ByteStream,
    upstream: ByteStream,
    traffic: Traffic,
    *,
    early_up: bytes = b"",
    early_down: bytes = b"",
    idle: float,
    half_close: float,
) -> Outcome:
    """Pass bytes both ways until both sides have finished, one breaks, or silence lasts too long.

    `early_up` and `early_down` came ahead of the streams and go out first. `idle` and `half_close` are seconds.

    *Closing*: the streams stay the caller's. After any other outcome than `Outcome.FINISHED`, somebody may miss data:
    the caller should not let its closing look like a regular end.
    """
    silence = _Silence(idle)
    broken: list[Outcome] = []

    def moved_up(size: int) -> None:
        traffic.up += size
        silence.broken()

    def moved_down(size: int) -> None:
        traffic.down += size
        silence.broken()

    async def go_up() -> None:
        end = await pump(client, upstream, early_up, moved_up)
        conclude(end, Outcome.CLIENT_BROKEN, Outcome.UPSTREAM_BROKEN)

    def conclude(end: End, source: Outcome, sink: Outcome) -> None:
        if end is End.SOURCE_BROKEN:
            broken.append(source)
            silence.scope.cancel()
        elif end is End.SINK_BROKEN:
            broken.append(sink)
        silence.limit_to(half_close)

    with silence.scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(go_up)
            end = await pump(upstream, client, early_down, moved_down)
            conclude(end, Outcome.UPSTREAM_BROKEN, Outcome.CLIENT_BROKEN)
    if broken:
        return broken[0]
    if silence.scope.cancelled_caught:
        return Outcome.HALF_CLOSED if silence.limited else Outcome.IDLE
    return Outcome.FINISHED


class _Silence:
    """How long nothing may move."""

    __slots__ = ("_limit", "_rearm_at", "limited", "scope")

    def __init__(self, limit: float) -> None:
        self.scope = trio.CancelScope()
        self.limited = False
        self._limit = limit
        self._arm(trio.current_time())

    def broken(self) -> None:
        """Something moved: the silence starts anew."""
        now = trio.current_time()
        if now >= self._rearm_at:
            self._arm(now)

    def limit_to(self, limit: float) -> None:
        """Allow less from now on: one side has finished."""
        self.limited = True
        self._limit = min(limit, self._limit)
        self._arm(trio.current_time())

    def _arm(self, now: float) -> None:
        # Setting a deadline costs ten times a look at the clock, so it is done once in an eighth of the limit, and
        # set an eighth too far so that it is never early.
        self.scope.deadline = now + self._limit * 9 / 8
        self._rearm_at = now + self._limit / 8
