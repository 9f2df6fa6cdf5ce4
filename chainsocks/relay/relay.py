"""A relay of bytes between a client and its upstream: one pump or flow in each direction, and one idle timer for both.

1. When one direction ends, the end is passed on and the other direction goes on, with `half_close` as its idle timeout.
2. A broken source ends the relay at once. A broken sink ends its direction only, so that what its peer has sent before
   still arrives; then the relay ends.
3. There is one cancel scope for the whole relay, the caller's; the idle timer moves its deadline.

`chainsocks.relay.polled_relay` has the one for streams with a poller, and `relay_between`, which chooses.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Generic, TypeVar

import trio
from anyio.abc import ByteStream

from chainsocks.network import reset_on_close
from chainsocks.observe.outcomes import OutcomeKind
from chainsocks.observe.record import Traffic
from chainsocks.relay.idle import Scope, restart, touch
from chainsocks.relay.pump import FAILED, FINISHED, SINK_BROKEN, SOURCE_BROKEN, End, pump

__all__ = ["Outcome", "PumpedRelay", "Relay"]

StreamT = TypeVar("StreamT", bound=ByteStream)


class Outcome(StrEnum):
    """How a relay ended, for the log."""

    FINISHED = "finished"
    IDLE = "idle for too long"
    HALF_CLOSED = "one side finished, the other stayed silent for too long"
    CLIENT_BROKEN = "reset by the client"
    UPSTREAM_BROKEN = "reset by upstream"

    @property
    def kind(self) -> OutcomeKind:
        """The same for programs."""
        return _KINDS[self]


_KINDS = {
    Outcome.FINISHED: OutcomeKind.FINISHED,
    Outcome.IDLE: OutcomeKind.IDLE,
    Outcome.HALF_CLOSED: OutcomeKind.HALF_CLOSED,
    Outcome.CLIENT_BROKEN: OutcomeKind.CLIENT_RESET,
    Outcome.UPSTREAM_BROKEN: OutcomeKind.UPSTREAM_RESET,
}


_LAST = (SOURCE_BROKEN, FAILED)
"""Ends of a direction that end the other one as well."""


class Relay(ABC, Generic[StreamT]):
    """The relay between one client and its upstream. Its bytes are counted in `traffic`.

    `idle` and `half_close` are in seconds.

    *Closing*: the caller closes the streams. Closing a stream that did not get all bytes and the end resets it, so that
    its peer cannot mistake a part for the whole. That includes relays that were cancelled.
    """

    __slots__ = (
        "_broken",
        "_down_end",
        "_half_close",
        "_idle",
        "_is_over",
        "_now",
        "_scope",
        "_traffic",
        "_up_end",
        "client",
        "closes_at_once",
        "upstream",
    )

    def __init__(self, client: StreamT, upstream: StreamT, traffic: Traffic, *, idle: float, half_close: float) -> None:
        self.client = client
        self.upstream = upstream
        self._traffic = traffic
        self._idle = idle
        self._half_close = half_close
        self._now: Callable[[], float] = trio.current_time
        self._up_end: End | None = None
        self._down_end: End | None = None
        self._broken: Outcome | None = None
        self._is_over = False
        """Whether both directions have ended, or the relay is broken."""
        self.closes_at_once = False
        """Whether the caller closes both streams as soon as both directions have ended: that passes the last end on."""

    @abstractmethod
    async def run(self, scope: Scope, early_up: bytes = b"", early_down: bytes = b"") -> None:
        """Pass bytes both ways until both directions have ended, or one breaks; `outcome` then says how it ended.

        `early_up` and `early_down` have been received already, and are sent first. The idle timer cancels `scope`,
        which must surround this call.

        Raises:
            Exception: what went wrong at this end, such as `MemoryError`.
        """

    @property
    def outcome(self) -> Outcome:
        """How the relay ended. One that was cancelled counts as idle for too long."""
        if self._broken:
            return self._broken
        if self._is_over:
            return Outcome.FINISHED
        return Outcome.IDLE if self._up_end is self._down_end else Outcome.HALF_CLOSED

    def _judge(self) -> bool:
        """Return whether it is over, now that another direction has ended."""
        up, down = self._up_end, self._down_end
        return (up is not None and down is not None) or up in _LAST or down in _LAST

    def hurry(self) -> None:
        """End a relay that runs as soon as its client has finished, and all that it has sent is passed on."""
        self._half_close = 0
        if self._up_end:
            restart(self._scope, 0, self._now())

    def _begin(self, scope: Scope) -> None:
        """Start the idle timer."""
        self._scope = scope
        restart(scope, self._idle, self._now())

    def _moved_up(self, size: int) -> None:
        self._traffic.up += size
        touch(self._scope, self._idle, self._now())

    def _moved_down(self, size: int) -> None:
        self._traffic.down += size
        touch(self._scope, self._idle, self._now())

    def _up_ended(self, end: End) -> None:
        self._up_end = end
        if end is not FINISHED:
            self._note_broken(end, Outcome.CLIENT_BROKEN, Outcome.UPSTREAM_BROKEN)
        self._note_end()

    def _down_ended(self, end: End) -> None:
        self._down_end = end
        if end is not FINISHED:
            self._note_broken(end, Outcome.UPSTREAM_BROKEN, Outcome.CLIENT_BROKEN)
        self._note_end()

    def _note_broken(self, end: End, source: Outcome, sink: Outcome) -> None:
        if end is SOURCE_BROKEN:
            self._broken = self._broken or source
        elif end is SINK_BROKEN:
            self._broken = self._broken or sink

    def _note_end(self) -> None:
        """Note whether the relay is over; start the idle timer anew where one direction goes on alone."""
        self._is_over = self._judge()
        if not self._is_over:
            self._idle = min(self._half_close, self._idle)
            restart(self._scope, self._idle, self._now())

    def _reset_incomplete(self) -> None:
        """Have a stream reset on close that did not get all bytes and the end."""
        if self._up_end is not FINISHED:
            reset_on_close(self.upstream)
        if self._down_end is not FINISHED:
            reset_on_close(self.client)


class PumpedRelay(Relay[ByteStream]):
    """A relay between streams of any kind, by one task for each direction."""

    __slots__ = ()

    turn: Callable[[], Awaitable[None]] | None = None
    """Waits until a chunk may be read; for a subclass."""

    async def run(self, scope: Scope, early_up: bytes = b"", early_down: bytes = b"") -> None:
        """See `Relay.run`."""

        async def go_up() -> None:
            self._up_ended(await pump(self.client, self.upstream, early_up, self._moved_up, self.turn))
            if self._is_over:
                nursery.cancel_scope.cancel()

        self._begin(scope)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(go_up)
                self._down_ended(await pump(self.upstream, self.client, early_down, self._moved_down, self.turn))
                if self._is_over:
                    nursery.cancel_scope.cancel()
        finally:
            self._reset_incomplete()
