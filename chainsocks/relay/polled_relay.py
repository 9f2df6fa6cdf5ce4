"""The relay between two streams that have a poller: callbacks move the bytes, and a task sleeps, or there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import trio
from anyio import ClosedResourceError
from anyio.abc import ByteStream
from trio.lowlevel import Abort, current_task, wait_task_rescheduled

from chainsocks.net.polled import PolledStream
from chainsocks.net.poller import MORE_EVENTS, READ_EVENTS, WRITE_EVENTS
from chainsocks.observe.record import Traffic
from chainsocks.relay.flow import Flow, copy_little, pass_end_on
from chainsocks.relay.idle import Scope
from chainsocks.relay.pump import FINISHED, SINK_BROKEN, End
from chainsocks.relay.relay import PumpedRelay, Relay

__all__ = ["Owner", "PolledRelay", "relay_between"]


def relay_between(
    client: ByteStream, upstream: ByteStream, traffic: Traffic, *, idle: float, half_close: float
) -> Relay[Any]:
    """Return a relay of the kind that the streams allow."""
    if isinstance(client, PolledStream) and isinstance(upstream, PolledStream):
        return PolledRelay(client, upstream, traffic, idle=idle, half_close=half_close)
    return PumpedRelay(client, upstream, traffic, idle=idle, half_close=half_close)


class Owner(Protocol):
    """What has a relay without a task: the idle timer moves its deadline."""

    deadline: float

    def relay_over(self) -> None:
        """Both directions have ended, or one has broken: call `PolledRelay.stop`."""


class PolledRelay(Relay[PolledStream]):
    """See the module."""

    __slots__ = ("_error", "_flow_down", "_flow_up", "_waiting")

    _copies_little = True
    """Whether what comes may be passed on at once."""

    def __init__(
        self, client: PolledStream, upstream: PolledStream, traffic: Traffic, *, idle: float, half_close: float
    ) -> None:
        super().__init__(client, upstream, traffic, idle=idle, half_close=half_close)
        self._now = client.poller.now
        self._flow_up: Flow | None = None
        self._flow_down: Flow | None = None
        self._error: Exception | None = None
        self._waiting: Owner | trio.lowlevel.Task | None = None
        """What waits for the end, until the relay reports that."""

    async def run(self, scope: Scope, early_up: bytes = b"", early_down: bytes = b"") -> None:
        """See `Relay.run`."""
        self._begin(scope)
        self._start(early_up, early_down)
        try:
            if not self._is_over:
                self._waiting = current_task()
                await wait_task_rescheduled(self._abort)
        finally:
            error = self.stop()
            self.client.take_back()
            self.upstream.take_back()
        if error:
            raise error
        if self.client.closed or self.upstream.closed:
            raise ClosedResourceError

    def start(self, owner: Owner, early_up: bytes) -> None:
        """Pass bytes as `run` does, but without a task.

        The relay calls `owner.relay_over` once, at the end; `owner` may call `stop` before.
        """
        self._begin(owner)
        self._start(early_up, b"")
        self._waiting = owner
        self._report_if_over()

    def stop(self) -> Exception | None:
        """End what `start` began; return what went wrong at this end, if anything. The streams stay open, as for `run`.

        They are still handed over: the caller takes them back, or closes them.
        """
        for flow in (self._flow_up, self._flow_down):
            if flow:
                flow.stop()
        self._flow_up = self._flow_down = self._waiting = None
        self._reset_incomplete()
        return self._error

    def on_stream_event(self, stream: PolledStream, events: int) -> None:
        """Move bytes; for the streams."""
        if stream is self.client:
            if events & READ_EVENTS and self._up_end is None:
                if self._flow_up is None and self._copies_little:
                    self._pass_up(events)
                else:
                    self._up().source_event(events)
            if events & WRITE_EVENTS and self._flow_down:
                self._flow_down.sink_event()
        else:
            if events & READ_EVENTS and self._down_end is None:
                if self._flow_down is None and self._copies_little:
                    self._pass_down(events)
                else:
                    self._down().source_event(events)
            if events & WRITE_EVENTS and self._flow_up:
                self._flow_up.sink_event()
        if self._flow_up or self._flow_down:
            self._drop_idle_flows()

    def _pass_up(self, events: int) -> None:
        """Pass on what the client has sent, or its end, without a flow if it is little: that takes a third less."""
        try:
            left = copy_little(self.client, self.upstream)
            if isinstance(left, int):
                self.client.poller.passed_on += 1
                self._moved_up(left)
                if events & MORE_EVENTS or not self.client.short_read_is_all:  # there may be more, or the end
                    self._up().source_event(events)
            elif isinstance(left, End):
                closes = self.closes_at_once and self._down_end is FINISHED
                self._flow_up_ended(left if closes or left is not FINISHED else pass_end_on(self.upstream))
            else:
                self._up().go_on(left)
        except Exception as error:  # noqa: BLE001  (the flow has it)
            self._up().fail(error)

    def _pass_down(self, events: int) -> None:
        """Do the same the other way."""
        try:
            left = copy_little(self.upstream, self.client)
            if isinstance(left, int):
                self.client.poller.passed_on += 1
                self._moved_down(left)
                if events & MORE_EVENTS or not self.upstream.short_read_is_all:
                    self._down().source_event(events)
            elif isinstance(left, End):
                closes = self.closes_at_once and self._up_end is FINISHED
                self._flow_down_ended(left if closes or left is not FINISHED else pass_end_on(self.client))
            else:
                self._down().go_on(left)
        except Exception as error:  # noqa: BLE001
            self._down().fail(error)

    def _start(self, early_up: bytes, early_down: bytes) -> None:
        self.client.hand_over(self)
        self.upstream.hand_over(self)
        # A flow that would only wait for its source is not made.
        if early_up or not self.client.dry:
            self._up().start(early_up)
        if early_down or not self.upstream.dry:
            self._down().start(early_down)
        self._drop_idle_flows()

    def _abort(self, _: object) -> Abort:
        self._waiting = None
        return Abort.SUCCEEDED

    def _make_flow(
        self, source: PolledStream, sink: PolledStream, moved: Callable[[int], None], ended: Callable[[End], None]
    ) -> Flow:
        return Flow(source, sink, moved, ended)

    def _up(self) -> Flow:
        """Return the flow from the client to its upstream. One that only waits for its source is made anew."""
        flow = self._flow_up
        if flow is None:
            flow = self._flow_up = self._make_flow(self.client, self.upstream, self._moved_up, self._flow_up_ended)
            flow.sink_closes = self.closes_at_once and self._down_end is FINISHED
        return flow

    def _down(self) -> Flow:
        """Return the flow from the upstream to the client."""
        flow = self._flow_down
        if flow is None:
            flow = self._flow_down = self._make_flow(
                self.upstream, self.client, self._moved_down, self._flow_down_ended
            )
            flow.sink_closes = self.closes_at_once and self._up_end is FINISHED
        return flow

    def _drop_idle_flows(self) -> None:
        """Drop flows that have nothing to remember: most connections are idle most of the time."""
        if self._flow_up and self._flow_up.is_idle:
            self._flow_up = None
        if self._flow_down and self._flow_down.is_idle:
            self._flow_down = None

    def _flow_up_ended(self, end: End) -> None:
        self._note_error(self._flow_up)
        self._up_ended(end)
        if end is SINK_BROKEN and self._down_end is None:
            self._down().drain()
        if self._flow_down:
            self._flow_down.sink_closes = self.closes_at_once and end is FINISHED
        self._report_if_over()

    def _flow_down_ended(self, end: End) -> None:
        self._note_error(self._flow_down)
        self._down_ended(end)
        if end is SINK_BROKEN and self._up_end is None:
            self._up().drain()
        if self._flow_up:
            self._flow_up.sink_closes = self.closes_at_once and end is FINISHED
        self._report_if_over()

    def _note_error(self, flow: Flow | None) -> None:
        if flow and flow.error:
            self._error = flow.error

    def _report_if_over(self) -> None:
        waiting = self._waiting
        if waiting is None or not self._is_over:
            return
        self._waiting = None
        if type(waiting) is trio.lowlevel.Task:  # `isinstance` is slow with its metaclass
            self.client.poller.wake(waiting)
        else:
            waiting.relay_over()
