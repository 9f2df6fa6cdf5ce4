"""Bulk: bytes that arrive in a time, on some streams at once, through a way.

1. A byte counts when it has arrived: upwards at the far end, which tells; downwards with us. What a relay has taken
   and not delivered is not counted.
2. The time begins when all streams are open and have flowed for a while, and ends while they all still flow.
3. CPU time is that of the very same time.
"""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

from chainsocks.protocol.address import Address
from chainsocks.tools.bench.accounting import cpu_seconds
from chainsocks.tools.bench.counters import Kind, What
from chainsocks.tools.bench.flow import Flow
from chainsocks.tools.bench.loop import IN, OUT, Loop, Task
from chainsocks.tools.bench.target import Target
from chainsocks.tools.bench.way import BenchError, Route, Way

__all__ = ["Bulk", "Direction", "Streams", "far_end", "measure_bulk"]

Direction = Literal["up", "down", "both"]
"""Up: from us to the far end. Both: up and down on the same streams at once."""

LONGEST_WARM_UP = 0.3


@dataclass(frozen=True, slots=True)
class Bulk:
    """What has arrived, in how many seconds, and what that cost."""

    up: int
    down: int
    seconds: float
    cpu: float | None = None
    """CPU seconds of the processes that were watched; None when none was."""
    load_cpu: float = 0
    """CPU seconds of the load itself, on the side that had more of it; near `seconds` it is what set the pace."""

    @property
    def bytes(self) -> int:
        """Both directions together."""
        return self.up + self.down


class Streams:
    """Streams that send, receive or do both as fast as they can, for as long as the loop runs."""

    def __init__(self, loop: Loop, flow: Flow, route: Route, count: int, direction: Direction) -> None:
        self._received = 0
        self._sockets: list[socket.socket] = []
        self._loop = loop
        self._flow = flow
        self._name = route.way.name
        self._missing = count
        for _ in range(count):
            loop.start(self._stream(route, direction))
        loop.run(math.inf, lambda: not self._missing)  # each stream is bounded while it opens

    @property
    def received(self) -> int:
        """Bytes that have arrived here until now.

        Raises:
            BenchError: a stream is broken.
        """
        try:
            self._received += sum(self._flow.discard(sock) or 0 for sock in self._sockets)
        except OSError as error:
            raise self._broken(error) from None
        return self._received

    def run(self, seconds: float, stop: Callable[[], bool] = lambda: False) -> None:
        """Let them flow for so long, or until `stop` says so."""
        self._loop.run(time.monotonic() + seconds, stop)

    def _stream(self, route: Route, direction: Direction) -> Task:
        loop, flow = self._loop, self._flow
        sock, trailing = yield from route.open(loop)
        loop.allow(math.inf)
        self._missing -= 1
        self._received += len(trailing)
        sends, receives = direction != "down", direction != "up"
        if receives:
            flow.receive_in_bulk(sock)
            self._sockets.append(sock)
        # Upwards nothing is ever said to us: what can be read is the end.
        loop.expect(sock, (OUT if sends else 0) | IN)
        try:
            while True:
                events = yield
                if events & ~OUT:
                    if not receives:
                        raise BenchError(f"{self._name}: a stream was closed from the other side")
                    size = flow.discard(sock)
                    if size == 0:
                        raise BenchError(f"{self._name}: a stream came to an end, which it does not have")
                    self._received += size or 0
                if events & OUT:
                    flow.send(sock)
        except OSError as error:
            raise self._broken(error) from None

    def _broken(self, error: OSError) -> BenchError:
        return BenchError(f"{self._name}: a stream broke: {error.strerror or error}")


def measure_bulk(
    way: Way,
    target: Target,
    *,
    streams: int,
    direction: Direction,
    seconds: float,
    pids: Collection[int] = (),
) -> Bulk:
    """Let `streams` flow through `way` for `seconds`, and say how much arrived, and what that cost `pids`.

    Raises:
        DialError: a stream could not be opened.
        BenchError: a stream broke, or nothing arrived.
    """
    target.wait_until_quiet()
    before = _arrived_there(target, direction)
    flow = Flow()
    try:
        with Loop() as loop:
            route = Route(way, far_end(target, direction))
            load = Streams(loop, flow, route, streams, direction)
            load.run(min(LONGEST_WARM_UP, seconds / 4))
            load.run(
                route.patience,
                lambda: (
                    (direction == "down" or _arrived_there(target, direction) > before)
                    and (direction == "up" or load.received > 0)
                ),
            )
            bulk = _measure(load, target, direction, seconds, pids)
    finally:
        flow.close()
    if not bulk.bytes:
        raise BenchError(f"{way.name}: {streams} open stream(s), and not a byte arrived within {bulk.seconds:.2f} s")
    return bulk


def _arrived_there(target: Target, direction: Direction) -> int:
    return target.counters.read(Kind.BOTH if direction == "both" else Kind.SINK, What.RECEIVED)


def _measure(load: Streams, target: Target, direction: Direction, seconds: float, pids: Collection[int]) -> Bulk:
    def cpu() -> tuple[float, float, float]:
        return cpu_seconds(pids) if pids else 0.0, time.process_time(), cpu_seconds(target.pids)

    def read() -> tuple[float, int, int]:
        return time.monotonic(), _arrived_there(target, direction), load.received

    cpu_before = cpu()
    began, up_before, down_before = read()
    load.run(seconds)
    ended, up_after, down_after = read()
    used, ours, theirs = (after - before for before, after in zip(cpu_before, cpu(), strict=True))
    return Bulk(
        up_after - up_before, down_after - down_before, ended - began, used if pids else None, max(ours, theirs)
    )


def far_end(target: Target, direction: Direction) -> Address:
    """Return who does the other half of a direction."""
    return {"up": target.sink, "down": target.source, "both": target.both}[direction]
