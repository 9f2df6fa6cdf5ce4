"""A relay of bytes between a client and its upstream: one flow or pump in each direction, and one idle timer for both.

1. When one direction ends, the end is passed on and the other direction goes on, with `half_close` as its idle timeout.
2. A broken source ends the relay at once. A broken sink ends its direction only, so that what its peer has sent before
   still arrives; then the relay ends.
3. There is one cancel scope for the whole relay, the caller's; the idle timer moves its deadline.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import trio
from anyio import ClosedResourceError
from anyio.abc import ByteStream
from trio.lowlevel import Abort, current_task, wait_task_rescheduled

from chainsocks.net.polled import PolledStream
from chainsocks.net.poller import READ_EVENTS, WRITE_EVENTS
from chainsocks.network import reset_on_close
from chainsocks.observe.outcomes import OutcomeKind
from chainsocks.observe.record import Traffic
from chainsocks.relay.flow import Flow
from chainsocks.relay.idle import IdleTimer, Scope
from chainsocks.relay.pump import End, pump

__all__ = ["Outcome", "Relay"]


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


def _nothing() -> None:
    """Do nothing."""


class Relay:
    """The relay between one client and its upstream.

    `early_up` and `early_down` are bytes that have been received already and are sent first. `idle` and `half_close`
    are in seconds.
    """

    __slots__ = (
        "_broken",
        "_client",
        "_down_complete",
        "_down_over",
        "_early_down",
        "_early_up",
        "_error",
        "_flow_down",
        "_flow_up",
        "_half_close",
        "_idle",
        "_idle_timer",
        "_is_started",
        "_on_over",
        "_streams",
        "_task",
        "_traffic",
        "_unfinished",
        "_up_complete",
        "_up_over",
        "_upstream",
        "closes_at_once",
    )

    def __init__(
        self,
        client: ByteStream,
        upstream: ByteStream,
        traffic: Traffic,
        *,
        early_up: bytes = b"",
        early_down: bytes = b"",
        idle: float,
        half_close: float,
    ) -> None:
        self._client = client
        self._upstream = upstream
        self._traffic = traffic
        self._early_up = early_up
        self._early_down = early_down
        self._idle = idle
        self._half_close = half_close
        self._unfinished = 2
        self._up_complete = self._down_complete = False
        self._broken: Outcome | None = None
        self._flow_up: Flow | None = None
        self._flow_down: Flow | None = None
        self._up_over = self._down_over = False
        self._error: Exception | None = None
        self._task: trio.lowlevel.Task | None = None
        self.closes_at_once = False
        """Whether the caller closes both streams as soon as both directions have ended: that passes the last end on."""

    async def run(self, scope: Scope) -> None:
        """Pass bytes both ways until both directions have ended, or one breaks; `outcome` then says how it ended.

        The idle timer cancels `scope`, which must surround this call.

        *Closing*: the caller closes the streams. Closing a stream that did not get all bytes and the end resets it, so
        that its peer cannot mistake a part for the whole. That includes relays that were cancelled.

        Raises:
            Exception: what went wrong at this end, such as `MemoryError`.
        """
        client, upstream = self._client, self._upstream
        if not (isinstance(client, PolledStream) and isinstance(upstream, PolledStream)):
            await self._run_pumps(scope)
            return
        self.start(scope, client, upstream, self._wake)
        try:
            if self._is_started:  # and not over already
                self._task = current_task()
                await wait_task_rescheduled(self._abort)
        finally:
            error = self.stop()
            client.take_back()
            upstream.take_back()
        if error:
            raise error
        if client.closed or upstream.closed:
            raise ClosedResourceError

    def start(self, scope: Scope, client: PolledStream, upstream: PolledStream, on_over: Callable[[], None]) -> None:
        """Pass bytes by callbacks, without a task, between the two streams that are given again here.

        The idle timer moves the deadline of `scope`. `on_over` is called once, when both directions have ended or one
        has broken; the caller calls `stop` then, and may call it before.
        """
        self._idle_timer = IdleTimer(scope, self._idle)
        self._on_over = on_over
        self._is_started = False
        self._streams = client, upstream
        client.hand_over(self._client_event)
        upstream.hand_over(self._upstream_event)
        up, down = self._up(), self._down()
        up.start(self._early_up)
        down.start(self._early_down)
        self._early_up = self._early_down = b""
        self._is_started = True
        self._drop_idle_flows()
        self._report_if_over()

    def stop(self) -> Exception | None:
        """End what `start` began; return what went wrong at this end, if anything. The streams stay open, as for `run`.

        They are still handed over: the caller takes them back, or closes them.
        """
        for flow in (self._flow_up, self._flow_down):
            if flow:
                flow.stop()
        self._flow_up = self._flow_down = None
        self._on_over = _nothing
        self._reset_incomplete()
        return self._error

    def _reset_incomplete(self) -> None:
        """Have a stream reset on close that did not get all bytes and the end."""
        if not self._up_complete:
            reset_on_close(self._upstream)
        if not self._down_complete:
            reset_on_close(self._client)

    @property
    def outcome(self) -> Outcome:
        """How the relay ended. One that was cancelled counts as idle for too long."""
        if self._broken:
            return self._broken
        if self._over:
            return Outcome.FINISHED
        return Outcome.HALF_CLOSED if self._unfinished == 1 else Outcome.IDLE

    @property
    def _over(self) -> bool:
        """Whether both directions have ended, or the relay is broken."""
        return self._unfinished <= 0

    async def _run_pumps(self, scope: Scope) -> None:
        """Move bytes between streams of any kind, by one task per direction."""

        async def go_up() -> None:
            self._up_ended(await pump(self._client, self._upstream, self._early_up, self._moved_up))
            if self._over:
                nursery.cancel_scope.cancel()

        self._idle_timer = IdleTimer(scope, self._idle)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(go_up)
                self._down_ended(await pump(self._upstream, self._client, self._early_down, self._moved_down))
                if self._over:
                    nursery.cancel_scope.cancel()
        finally:
            self._reset_incomplete()

    def _wake(self) -> None:
        """Wake the task that sleeps in `run`; it does not, where the relay was over at once."""
        task, self._task = self._task, None
        if task:
            self._streams[0].poller.wake(task)

    def _abort(self, _: object) -> Abort:
        self._task = None
        return Abort.SUCCEEDED

    def _up(self) -> Flow:
        """Return the flow from the client to its upstream. One that only waits for its source is made anew."""
        flow = self._flow_up
        if flow is None:
            client, upstream = self._streams
            flow = self._flow_up = Flow(client, upstream, self._moved_up, self._flow_up_ended)
            flow.sink_closes = self.closes_at_once and self._down_complete
        return flow

    def _down(self) -> Flow:
        """Return the flow from the upstream to the client."""
        flow = self._flow_down
        if flow is None:
            client, upstream = self._streams
            flow = self._flow_down = Flow(upstream, client, self._moved_down, self._flow_down_ended)
            flow.sink_closes = self.closes_at_once and self._up_complete
        return flow

    def _client_event(self, events: int) -> None:
        if events & READ_EVENTS and not self._up_over:
            self._up().source_event(events)
        if events & WRITE_EVENTS and self._flow_down:
            self._flow_down.sink_event()
        self._drop_idle_flows()

    def _upstream_event(self, events: int) -> None:
        if events & READ_EVENTS and not self._down_over:
            self._down().source_event(events)
        if events & WRITE_EVENTS and self._flow_up:
            self._flow_up.sink_event()
        self._drop_idle_flows()

    def _drop_idle_flows(self) -> None:
        """Drop flows that have nothing to remember: most connections are idle most of the time."""
        if self._flow_up and self._flow_up.is_idle:
            self._flow_up = None
        if self._flow_down and self._flow_down.is_idle:
            self._flow_down = None

    def _flow_up_ended(self, end: End) -> None:
        self._up_over = True
        self._note_error(self._flow_up)
        self._up_ended(end)
        if end is End.SINK_BROKEN and not self._down_over:
            self._down().drain()
        if self._flow_down:
            self._flow_down.sink_closes = self.closes_at_once and self._up_complete
        self._report_if_over()

    def _flow_down_ended(self, end: End) -> None:
        self._down_over = True
        self._note_error(self._flow_down)
        self._down_ended(end)
        if end is End.SINK_BROKEN and not self._up_over:
            self._up().drain()
        if self._flow_up:
            self._flow_up.sink_closes = self.closes_at_once and self._down_complete
        self._report_if_over()

    def _note_error(self, flow: Flow | None) -> None:
        if flow and flow.error:
            self._error = flow.error

    def _report_if_over(self) -> None:
        if self._unfinished <= 0 and self._is_started:
            self._is_started = False
            self._on_over()

    def _moved_up(self, size: int) -> None:
        self._traffic.up += size
        self._idle_timer.touch()

    def _moved_down(self, size: int) -> None:
        self._traffic.down += size
        self._idle_timer.touch()

    def _up_ended(self, end: End) -> None:
        self._up_complete = end is End.FINISHED
        self._ended(end, Outcome.CLIENT_BROKEN, Outcome.UPSTREAM_BROKEN)

    def _down_ended(self, end: End) -> None:
        self._down_complete = end is End.FINISHED
        self._ended(end, Outcome.UPSTREAM_BROKEN, Outcome.CLIENT_BROKEN)

    def _ended(self, end: End, source: Outcome, sink: Outcome) -> None:
        self._unfinished -= 1
        if end is End.FAILED:
            self._unfinished = 0
        elif end is End.SOURCE_BROKEN:
            self._unfinished = 0
            self._broken = self._broken or source
        elif end is End.SINK_BROKEN:
            self._broken = self._broken or sink
        if self._unfinished > 0:
            self._idle_timer.limit_to(self._half_close)
