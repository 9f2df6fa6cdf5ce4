"""Sessions: short ones as often as they go, and idle ones as many as were asked for.

1. A short session is a connect, the handshakes, one byte each way, and a close. It counts when its byte has come back.
   More than one failure in a hundred sessions is an error; fewer are reported.
2. The time begins when sessions have come and gone for a while and ends while they still do, so that closing sessions
   is measured as much as opening them.
3. An idle session has carried one byte each way before. Its memory is what a server has grown by, and what a server
   loads once belongs to no session: some sessions come and go first.
"""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from chainsocks.errors import DialError
from chainsocks.server.file_limit import raise_limit
from chainsocks.tools.bench.accounting import Cost, Meter, free_descriptors, resident_bytes
from chainsocks.tools.bench.echo import exchange
from chainsocks.tools.bench.loop import Loop, Task
from chainsocks.tools.bench.target import Target
from chainsocks.tools.bench.way import BenchError, Route, Way, warm_up

__all__ = ["TRIAL", "Idle", "Sessions", "measure_idle", "measure_sessions", "open_idle"]

CONCURRENCY = 16
"""Short sessions at a time."""

AT_ONCE = 32
"""Idle sessions that are opened at a time: no backlog is too short for them."""

TRIAL = 20
"""Idle sessions before those that are measured."""


@dataclass(frozen=True, slots=True)
class Sessions:
    """How many short sessions succeeded and failed, and the cost."""

    count: int
    failed: int
    cost: Cost


@dataclass(frozen=True, slots=True)
class Idle:
    """How many idle sessions were open, fewer than `wanted` for lack of file descriptors, and the memory of all."""

    count: int
    wanted: int
    bytes: int


class _Tally:
    def __init__(self) -> None:
        self.count = self.failed = 0


def measure_sessions(
    way: Way, target: Target, *, seconds: float, pids: Collection[int] = (), concurrency: int = CONCURRENCY
) -> Sessions:
    """Open and close sessions through `way` for `seconds`; return how many, and the cost to the processes `pids`.

    Raises:
        DialError: sessions cannot be opened.
        BenchError: sessions can be opened, and do not work.
    """
    target.wait_until_quiet()
    route, tally = Route(way, target.echo), _Tally()
    with Loop() as loop:
        for _ in range(concurrency):
            loop.start(_repeat(route, loop, tally))
        loop.run(time.monotonic() + route.patience, lambda: tally.count > 0)
        loop.run(time.monotonic() + warm_up(seconds))
        meter, count, failed = Meter(pids, target.pids), tally.count, tally.failed
        loop.run(meter.began + seconds)
        loop.run(time.monotonic() + route.patience, lambda: tally.count > count)  # one at least, on a slow way
        sessions = Sessions(tally.count - count, tally.failed - failed, meter.stop())
    if not sessions.count:
        raise BenchError(f"{way.name}: not one session came to its end within {sessions.cost.seconds:.2f} s")
    return sessions


def _repeat(route: Route, loop: Loop, tally: _Tally) -> Task:
    while True:
        try:
            sock, _ = yield from route.open(loop)
            try:
                yield from exchange(sock, b"x", route, loop)
            finally:
                loop.close(sock)
        except (DialError, BenchError):
            tally.failed += 1
            if tally.failed > tally.count / 100:
                raise
        else:
            tally.count += 1


def measure_idle(way: Way, target: Target, *, count: int, pids: Collection[int]) -> Idle:
    """Measure how much memory the processes `pids` take for `count` idle sessions through `way`.

    Raises:
        DialError: a session could not be opened.
        BenchError: a session does not work.
    """
    with open_idle(way, target, TRIAL):
        pass
    target.wait_until_quiet()
    before = resident_bytes(pids)
    with open_idle(way, target, count) as opened:
        return Idle(opened, count, resident_bytes(pids) - before)


@contextmanager
def open_idle(way: Way, target: Target, count: int) -> Iterator[int]:
    """Hold `count` idle sessions, or as many as file descriptors permit, until the end of the block; yield how many.

    Raises:
        DialError: a session could not be opened.
        BenchError: a session does not work.
    """
    raise_limit()
    possible = min(count, free_descriptors())
    route = Route(way, target.echo)
    sockets: list[socket.socket] = []
    try:
        with Loop() as loop:
            missing = iter(range(possible))
            for _ in range(min(AT_ONCE, possible)):
                loop.start(_open_some(route, loop, missing, sockets))
            loop.run(math.inf)  # the route limits each session
        yield len(sockets)
    finally:
        for sock in sockets:
            sock.close()


def _open_some(route: Route, loop: Loop, missing: Iterator[int], sockets: list[socket.socket]) -> Task:
    for _ in missing:
        sock, _trailing = yield from route.open(loop)
        try:
            yield from exchange(sock, b"x", route, loop)
        except BaseException:
            loop.close(sock)
            raise
        loop.release(sock)
        sockets.append(sock)
