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
from anyio import ClosedResourceError
from anyio.abc import ByteStream

from chainsocks.net.polled import PolledStream
from chainsocks.net.poller import READ_EVENTS, WRITE_EVENTS
from chainsocks.net.stream import reset_on_close
from chainsocks.relay.flow import Flow
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

    *Closing*: the streams stay the caller's. A stream that was not given everything and its end, also when the relay is
    cancelled, will be reset by its closing, so that nobody takes a part for the whole.
    """
    both = _BothWays(traffic, idle, half_close)
    try:
        with both.silence.scope:
            if isinstance(client, PolledStream) and isinstance(upstream, PolledStream):
                await _run_flows(both, client, upstream, early_up, early_down)
            else:
                await _run_pumps(both, client, upstream, early_up, early_down)
    finally:
        if not both.up_complete:
            reset_on_close(upstream)
        if not both.down_complete:
            reset_on_close(client)
    return both.outcome


class _BothWays:
    """What the two directions have in common."""

    __slots__ = ("_broken", "_half_close", "_traffic", "_unfinished", "down_complete", "silence", "up_complete")

    def __init__(self, traffic: Traffic, idle: float, half_close: float) -> None:
        self.silence = _Silence(idle)
        self.up_complete = self.down_complete = False
        self._traffic = traffic
        self._half_close = half_close
        self._unfinished = 2
        self._broken: Outcome | None = None

    @property
    def over(self) -> bool:
        """Whether there is nothing left to wait for."""
        return self._unfinished <= 0

    @property
    def outcome(self) -> Outcome:
        """How it ended; a relay that is not over was ended by its silence."""
        if self._broken:
            return self._broken
        if self.over:
            return Outcome.FINISHED
        return Outcome.HALF_CLOSED if self._unfinished == 1 else Outcome.IDLE

    def moved_up(self, size: int) -> None:
        self._traffic.up += size
        self.silence.broken()

    def moved_down(self, size: int) -> None:
        self._traffic.down += size
        self.silence.broken()

    def up_ended(self, end: End) -> None:
        self.up_complete = end is End.FINISHED
        self._ended(end, Outcome.CLIENT_BROKEN, Outcome.UPSTREAM_BROKEN)

    def down_ended(self, end: End) -> None:
        self.down_complete = end is End.FINISHED
        self._ended(end, Outcome.UPSTREAM_BROKEN, Outcome.CLIENT_BROKEN)

    def _ended(self, end: End, source: Outcome, sink: Outcome) -> None:
        self._unfinished -= 1
        if end is End.SOURCE_BROKEN:
            self._unfinished = 0
            self._broken = self._broken or source
        elif end is End.SINK_BROKEN:
            self._broken = self._broken or sink
        if not self.over:
            self.silence.limit_to(self._half_close)


async def _run_pumps(
    both: _BothWays, client: ByteStream, upstream: ByteStream, early_up: bytes, early_down: bytes
) -> None:
    """Move bytes over streams of any kind, by a task for each direction."""

    async def go_up() -> None:
        both.up_ended(await pump(client, upstream, early_up, both.moved_up))
        if both.over:
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(go_up)
        both.down_ended(await pump(upstream, client, early_down, both.moved_down))
        if both.over:
            nursery.cancel_scope.cancel()


async def _run_flows(
    both: _BothWays, client: PolledStream, upstream: PolledStream, early_up: bytes, early_down: bytes
) -> None:
    """Move bytes between polled sockets, by callbacks; this task sleeps until they are through."""
    task = trio.lowlevel.current_task()
    asleep = False

    def abort(_: object) -> trio.lowlevel.Abort:
        nonlocal asleep
        asleep = False
        return trio.lowlevel.Abort.SUCCEEDED

    def wake_when_over() -> None:
        nonlocal asleep
        if asleep and both.over:
            asleep = False
            client.poller.wake(task)

    def up_ended(end: End) -> None:
        both.up_ended(end)
        wake_when_over()

    def down_ended(end: End) -> None:
        both.down_ended(end)
        wake_when_over()

    up = Flow(client, upstream, early_up, both.moved_up, up_ended)
    down = Flow(upstream, client, early_down, both.moved_down, down_ended)

    def client_event(events: int) -> None:
        if events & READ_EVENTS:
            up.source_event(events)
        if events & WRITE_EVENTS:
            down.sink_event()

    def upstream_event(events: int) -> None:
        if events & READ_EVENTS:
            down.source_event(events)
        if events & WRITE_EVENTS:
            up.sink_event()

    client.hand_over(client_event)
    upstream.hand_over(upstream_event)
    try:
        up.start()
        down.start()
        if not both.over:
            asleep = True
            await trio.lowlevel.wait_task_rescheduled(abort)
    finally:
        up.stop()
        down.stop()
        client.take_back()
        upstream.take_back()
    if client.closed or upstream.closed:
        raise ClosedResourceError


class _Silence:
    """How long nothing may move."""

    __slots__ = ("_limit", "_rearm_at", "scope")

    def __init__(self, limit: float) -> None:
        self.scope = trio.CancelScope()
        self._limit = limit
        self._arm(trio.current_time())

    def broken(self) -> None:
        """Something moved: the silence starts anew."""
        now = trio.current_time()
        if now >= self._rearm_at:
            self._arm(now)

    def limit_to(self, limit: float) -> None:
        """Allow less from now on: one side has finished."""
        self._limit = min(limit, self._limit)
        self._arm(trio.current_time())

    def _arm(self, now: float) -> None:
        # Setting a deadline costs ten times a look at the clock, so it is done once in an eighth of the limit, and
        # set an eighth too far so that it is never early.
        self.scope.deadline = now + self._limit * 9 / 8
        self._rearm_at = now + self._limit / 8
