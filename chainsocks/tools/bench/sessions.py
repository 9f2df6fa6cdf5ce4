"""Sessions per second: connect, handshake, one byte each way, close; and again.

1. A session counts when its byte has come back. A proxy that fails now and then is told of in `failed`; one that fails
   more than once in a hundred sessions is an error.
2. The time begins when sessions have come and gone for a while, and ends while they still do, so that the closing of
   sessions is part of it as much as their opening.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass

from chainsocks.errors import DialError
from chainsocks.tools.bench.accounting import cpu_seconds
from chainsocks.tools.bench.echo import exchange
from chainsocks.tools.bench.loop import Loop, Task
from chainsocks.tools.bench.target import Target
from chainsocks.tools.bench.way import BenchError, Route, Way

__all__ = ["Sessions", "measure_sessions"]

LONGEST_WARM_UP = 0.3
BYTE = b"x"


@dataclass(frozen=True, slots=True)
class Sessions:
    """How many there were, in how many seconds, and what that cost."""

    count: int
    seconds: float
    failed: int = 0
    cpu: float | None = None
    """CPU seconds of the processes that were watched; None when none was."""
    load_cpu: float = 0
    """CPU seconds of the load itself, on the side that had more of it; near `seconds` it is what set the pace."""


class _Tally:
    def __init__(self) -> None:
        self.count = self.failed = 0


def measure_sessions(
    way: Way, target: Target, *, concurrency: int, seconds: float, pids: Collection[int] = ()
) -> Sessions:
    """Open and close sessions through `way` for `seconds`, `concurrency` at a time; say what that cost `pids`.

    Raises:
        DialError: sessions cannot be opened.
        BenchError: they can, and do not work.
    """
    target.wait_until_quiet()
    route, tally = Route(way, target.echo), _Tally()
    with Loop() as loop:
        for _ in range(concurrency):
            loop.start(_again_and_again(route, loop, tally))
        loop.run(time.monotonic() + route.patience, lambda: tally.count > 0)
        loop.run(time.monotonic() + min(LONGEST_WARM_UP, seconds / 4))
        cpu_before = _cpu(pids, target)
        began, count, failed = time.monotonic(), tally.count, tally.failed
        loop.run(began + seconds)
        ended, count, failed = time.monotonic(), tally.count - count, tally.failed - failed
        used, ours, theirs = (after - before for before, after in zip(cpu_before, _cpu(pids, target), strict=True))
    if not count:
        raise BenchError(f"{way.name}: not one session came to its end within {ended - began:.2f} s")
    return Sessions(count, ended - began, failed, used if pids else None, max(ours, theirs))


def _again_and_again(route: Route, loop: Loop, tally: _Tally) -> Task:
    while True:
        try:
            sock, _ = yield from route.open(loop)
            try:
                yield from exchange(sock, BYTE, route, loop)
            finally:
                loop.close(sock)
        except (DialError, BenchError):
            tally.failed += 1
            if tally.failed > tally.count / 100:
                raise
        else:
            tally.count += 1


def _cpu(pids: Collection[int], target: Target) -> tuple[float, float, float]:
    return cpu_seconds(pids) if pids else 0.0, time.process_time(), cpu_seconds(target.pids)
