"""Bulk: streams at full speed through a way, measured here or flowing beside another measurement.

1. A byte counts when it has arrived: upwards the far end counts it, downwards this process does. What a relay has taken
   and not delivered does not count.
2. The time begins when all streams are open and have flowed for a while, and ends while they all still flow.
3. Load beside a measurement is a program of its own (`open_flood`), so that it does not delay the measurement.
"""

from __future__ import annotations

import math
import pickle
import socket
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from chainsocks.errors import ChainsocksError
from chainsocks.protocol.address import Address
from chainsocks.tools.bench.accounting import Cost, Meter
from chainsocks.tools.bench.child import Child, end_with_parent, open_child, say_ready
from chainsocks.tools.bench.flow import Flow
from chainsocks.tools.bench.loop import Loop, Task
from chainsocks.tools.bench.target import Kind, Target, What
from chainsocks.tools.bench.way import BenchError, Route, Way, warm_up

__all__ = ["Bulk", "Direction", "Streams", "far_end", "main", "measure_bulk", "open_flood"]

MODULE = "chainsocks.tools.bench.bulk"
"""This module; as a program it has another name."""

Direction = Literal["up", "down", "both"]
"""Up: from here to the far end. Both: up and down on the same streams at once."""

FAILED = "failed:"


@dataclass(frozen=True, slots=True)
class Bulk:
    """Bytes that have arrived, and the cost."""

    up: int
    down: int
    cost: Cost

    @property
    def bytes(self) -> int:
        """Both directions together."""
        return self.up + self.down


class Streams:
    """Streams that send, receive or do both as fast as they can, for as long as the loop runs."""

    def __init__(self, loop: Loop, flow: Flow, route: Route, count: int, direction: Direction) -> None:
        self._received = 0
        self._receiving: list[socket.socket] = []
        self._loop = loop
        self._flow = flow
        self._name = route.way.name
        self._missing = count
        for _ in range(count):
            loop.start(self._stream(route, direction))
        loop.run(math.inf, lambda: not self._missing)  # each stream has its limits while it opens

    @property
    def received(self) -> int:
        """Bytes that have arrived here until now.

        Raises:
            BenchError: a stream broke.
        """
        try:
            self._received += sum(self._flow.discard(sock) or 0 for sock in self._receiving)
        except OSError as error:
            raise self._broken(error) from None
        return self._received

    def _stream(self, route: Route, direction: Direction) -> Task:
        sock, trailing = yield from route.open(self._loop)
        self._missing -= 1
        self._received += len(trailing)
        sent, received = _ignore if direction != "down" else None, self._count if direction != "up" else None
        if received:
            self._receiving.append(sock)
        try:
            yield from self._flow.stream(sock, self._loop, sent=sent, received=received)
        except OSError as error:
            raise self._broken(error) from None
        raise BenchError(f"{self._name}: a stream was closed from the other side")

    def _count(self, size: int) -> None:
        self._received += size

    def _broken(self, error: OSError) -> BenchError:
        return BenchError(f"{self._name}: a stream broke: {error.strerror or error}")


def _ignore(_: int) -> None:
    """Count nothing: bytes that were sent have not arrived."""


def measure_bulk(
    way: Way,
    target: Target,
    *,
    streams: int,
    direction: Direction,
    seconds: float,
    pids: Collection[int] = (),
) -> Bulk:
    """Let `streams` flow through `way` for `seconds`; return how much arrived, and the cost to the processes `pids`.

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
            loop.run(time.monotonic() + warm_up(seconds))
            _wait_for_bytes(loop, route, load, target, direction, (before, 0))
            meter, started = Meter(pids, target.pids), (_arrived_there(target, direction), load.received)
            loop.run(meter.began + seconds)
            _wait_for_bytes(loop, route, load, target, direction, started)  # a byte at least, on a slow way
            up, down = _arrived_there(target, direction) - started[0], load.received - started[1]
            bulk = Bulk(up, down, meter.stop())
    finally:
        flow.close()
    if not bulk.bytes:
        spent = bulk.cost.seconds
        raise BenchError(f"{way.name}: {streams} open stream(s), and not a byte arrived within {spent:.2f} s")
    return bulk


def _wait_for_bytes(
    loop: Loop, route: Route, load: Streams, target: Target, direction: Direction, before: tuple[int, int]
) -> None:
    """Let bulk flow until more bytes than `before` have arrived, up and down, or the route's patience is over."""
    up, down = before
    loop.run(
        time.monotonic() + route.patience,
        lambda: (
            (direction == "down" or _arrived_there(target, direction) > up)
            and (direction == "up" or load.received > down)
        ),
    )


def _arrived_there(target: Target, direction: Direction) -> int:
    return target.counters.read(Kind.BOTH if direction == "both" else Kind.SINK, What.RECEIVED)


def far_end(target: Target, direction: Direction) -> Address:
    """Return the address that does the other half of a direction."""
    return {"up": target.sink, "down": target.source, "both": target.both}[direction]


@contextmanager
def open_flood(way: Way, target: Target, *, streams: int, direction: Direction) -> Iterator[Child]:
    """Let `streams` flow through `way`, from another process, until the end of the block.

    Raises:
        BenchError: a stream could not be opened, or broke.
    """
    # A line on a pipe, not an argument: every user of this machine can read arguments, and a way has passwords.
    order = pickle.dumps((way, far_end(target, direction), streams, direction)).hex().encode()
    with open_child(MODULE, message=order) as child:
        first, *words = child.words
        if first == FAILED:
            raise BenchError(" ".join(words))
        yield child
        if child.ended:
            raise BenchError(f"{way.name}: a stream broke beside the measurement")


def main() -> None:
    """Let streams flow as the first line of standard input says, until standard input ends."""
    way, destination, count, direction = pickle.loads(bytes.fromhex(sys.stdin.readline()))  # noqa: S301  (our parent's)
    with Loop() as loop:
        try:
            Streams(loop, Flow(), Route(way, destination), count, direction)
            say_ready("flowing")
            loop.start(end_with_parent(loop))
            loop.run(math.inf)
        except ChainsocksError as error:
            say_ready(FAILED, error)


if __name__ == "__main__":
    main()
