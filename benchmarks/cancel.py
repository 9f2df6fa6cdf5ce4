"""How long sessions at full speed go on after their server was told to end.

The streams are read as fast as they come, so that the end of each is seen when it is there. What the kernel still holds
of them is part of the time.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from chainsocks.tools.bench.flow import Flow
from chainsocks.tools.bench.loop import Loop, Task
from chainsocks.tools.bench.target import Target
from chainsocks.tools.bench.way import BenchError, Route, Way

__all__ = ["measure_cancel"]

LIMIT = 3.0
"""Seconds after which a server is not going to end its sessions."""


def measure_cancel(way: Way, target: Target, *, streams: int, seconds: float, cancel: Callable[[], None]) -> float:
    """Let bulk come down for `seconds`, call `cancel`, and return the seconds from then to the end of the last stream.

    Raises:
        DialError: a stream could not be opened.
        BenchError: a stream ended before, or not in time.
    """
    route, flow, flowing = Route(way, target.source), Flow(), 0

    def stream(loop: Loop) -> Task:
        nonlocal flowing
        sock, _ = yield from route.open(loop)
        flowing += 1
        try:
            yield from flow.stream(sock, loop, sent=None, received=lambda size: None)
        except OSError:
            pass  # a reset is an end as well
        loop.close(sock)
        flowing -= 1

    try:
        with Loop() as loop:
            for _ in range(streams):
                loop.start(stream(loop))
            loop.run(time.monotonic() + route.patience, lambda: flowing == streams)
            loop.run(time.monotonic() + seconds)
            if flowing < streams:
                raise BenchError(f"{way.name}: {streams - flowing} of {streams} streams ended by themselves")
            began = time.monotonic()
            cancel()
            loop.run(began + LIMIT)
            ended = time.monotonic()
    finally:
        flow.close()
    if flowing:
        raise BenchError(f"{way.name}: {flowing} of {streams} streams still flow {LIMIT:g} s after it was told to end")
    return ended - began
