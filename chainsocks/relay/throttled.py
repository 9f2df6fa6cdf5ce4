"""Relays whose bandwidth is limited (`chainsocks.limits.bandwidth`).

A direction that may not read leaves its bytes with the kernel, and goes on in its turn. What it has read it may send.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anyio.abc import ByteStream

from chainsocks.datagrams import Drop
from chainsocks.limits.bandwidth import Share
from chainsocks.net.polled import PolledStream
from chainsocks.observe.record import Traffic
from chainsocks.observe.tally import Drops
from chainsocks.relay.datagrams import DatagramPath, Deliver, Ready
from chainsocks.relay.flow import Flow, State
from chainsocks.relay.idle import Scope
from chainsocks.relay.polled_relay import PolledRelay
from chainsocks.relay.pump import CHUNK, End
from chainsocks.relay.relay import PumpedRelay, Relay

__all__ = ["ThrottledFlow", "ThrottledPath", "ThrottledRelay", "throttled_relay_between"]


def throttled_relay_between(
    client: ByteStream, upstream: ByteStream, traffic: Traffic, share: Share, *, idle: float, half_close: float
) -> Relay[Any]:
    """Return a relay of the kind that the streams allow. It closes `share` when it has ended."""
    if isinstance(client, PolledStream) and isinstance(upstream, PolledStream):
        return ThrottledRelay(client, upstream, traffic, share, idle=idle, half_close=half_close)
    return _ThrottledPumps(client, upstream, traffic, share, idle=idle, half_close=half_close)


class ThrottledFlow(Flow):
    """A flow that reads in its turn only."""

    __slots__ = ("_share", "chunk", "step")

    def __init__(
        self,
        source: PolledStream,
        sink: PolledStream,
        moved: Callable[[int], None],
        ended: Callable[[End], None],
        share: Share,
    ) -> None:
        super().__init__(source, sink, moved, ended)
        self._share = share
        self._fit_turn()

    def source_event(self, events: int) -> None:
        """See `Flow.source_event`."""
        if self._state is State.READING and not self._bulk and not self._share.may_move:
            self._pause()
        else:
            super().source_event(events)

    def resume(self) -> None:
        """Have a turn; see `chainsocks.limits.bandwidth.Waiter`."""
        if self._state is not State.PAUSED:
            return
        self._fit_turn()
        self._state = State.QUEUED
        if self._bulk:
            super()._step()
        else:
            try:
                self._copy(until_dry=True)
            except Exception as error:  # noqa: BLE001  (as in `Flow`)
                self.fail(error)

    def stop(self) -> None:
        """See `Flow.stop`."""
        if self._state is State.PAUSED:
            self._share.forget(self)
        super().stop()

    def _step(self) -> None:
        holds = self._rest or (self._pipe and self._pipe.held)
        if self._state is State.QUEUED and not holds and not self._share.may_move:
            self._pause()
        else:
            super()._step()

    def _fit_turn(self) -> None:
        """Move no more at once than a turn has, which a reload may change."""
        self.step = self._share.turn
        self.chunk = min(CHUNK, self.step)

    def _pause(self) -> None:
        self._state = State.PAUSED
        self._release_pipe()
        self._share.wait(self)


class ThrottledRelay(PolledRelay):
    """A `PolledRelay` with a share of the bandwidth, which it closes."""

    __slots__ = ("_share",)

    _copies_little = False

    def __init__(
        self,
        client: PolledStream,
        upstream: PolledStream,
        traffic: Traffic,
        share: Share,
        *,
        idle: float,
        half_close: float,
    ) -> None:
        super().__init__(client, upstream, traffic, idle=idle, half_close=half_close)
        self._share = share

    def stop(self) -> Exception | None:
        """See `PolledRelay.stop`."""
        self._share.close()
        return super().stop()

    def _make_flow(
        self, source: PolledStream, sink: PolledStream, moved: Callable[[int], None], ended: Callable[[End], None]
    ) -> Flow:
        return ThrottledFlow(source, sink, moved, ended, self._share)

    def _moved_up(self, size: int) -> None:
        self._share.spend(size)
        super()._moved_up(size)

    def _moved_down(self, size: int) -> None:
        self._share.spend(size)
        super()._moved_down(size)


class _ThrottledPumps(PumpedRelay):
    """A `PumpedRelay` with a share of the bandwidth, which it closes."""

    __slots__ = ("_share",)

    def __init__(
        self,
        client: ByteStream,
        upstream: ByteStream,
        traffic: Traffic,
        share: Share,
        *,
        idle: float,
        half_close: float,
    ) -> None:
        super().__init__(client, upstream, traffic, idle=idle, half_close=half_close)
        self._share = share

    async def turn(self) -> None:
        """See `PumpedRelay.turn`."""
        await self._share.wait_for_turn()

    async def run(self, scope: Scope, early_up: bytes = b"", early_down: bytes = b"") -> None:
        """See `Relay.run`."""
        try:
            await super().run(scope, early_up, early_down)
        finally:
            self._share.close()

    def _moved_up(self, size: int) -> None:
        self._share.spend(size)
        super()._moved_up(size)

    def _moved_down(self, size: int) -> None:
        self._share.spend(size)
        super()._moved_down(size)


class ThrottledPath:
    """A `chainsocks.relay.datagrams.DatagramPath` with a share of the bandwidth, which the caller closes.

    A datagram that there is nothing left for is dropped, and the association waits for a turn. What it has in its turn
    is for its next datagrams.
    """

    def __init__(self, path: DatagramPath, share: Share, drops: Drops) -> None:
        self._path = path
        self._share = share
        self._drops = drops
        self._left = 0

    def send(self, datagram: bytes, header: int) -> None:
        """Pass on a datagram of the client, if its payload may be moved."""
        if self._may_move(len(datagram) - header):
            self._path.send(datagram, header)

    async def run(self, deliver: Deliver, ready: Ready) -> str:
        """Pass on the replies that may be moved; see `DatagramPath.run`."""

        def deliver_some(datagram: bytes, payload: int) -> None:
            if self._may_move(payload):
                deliver(datagram, payload)

        try:
            return await self._path.run(deliver_some, ready)
        finally:
            self._share.forget(self)

    def resume(self) -> None:
        """Have a turn; see `chainsocks.limits.bandwidth.Waiter`."""
        self._left = self._share.turn
        self._share.spend(self._left)

    def _may_move(self, size: int) -> bool:
        share = self._share
        if self._left > 0:
            self._left -= size
        elif share.may_move:
            share.spend(size)
        else:
            share.wait(self)
            self._drops[Drop.LIMITED] += 1
            return False
        return True
