"""Idle sessions: open, with one byte each way behind them, and now silent."""

from __future__ import annotations

import math
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from chainsocks.tools.bench.descriptors import free_descriptors, raise_limit
from chainsocks.tools.bench.echo import exchange
from chainsocks.tools.bench.loop import Loop, Task
from chainsocks.tools.bench.target import Target
from chainsocks.tools.bench.way import Route, Way

__all__ = ["Idle", "open_idle"]

AT_ONCE = 32
"""Sessions that are opened at a time: no backlog is too short for them."""


@dataclass(frozen=True, slots=True)
class Idle:
    """How many sessions are open; fewer than were `wanted` where there are not enough file descriptors."""

    count: int
    wanted: int


@contextmanager
def open_idle(way: Way, target: Target, count: int) -> Iterator[Idle]:
    """Hold `count` idle sessions through `way` until the end of the block.

    Raises:
        DialError: one could not be opened.
        BenchError: one does not work.
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
            loop.run(math.inf)  # the route bounds each
        yield Idle(len(sockets), count)
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
