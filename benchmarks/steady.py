"""A load that does not wait for anybody: short sessions begin at a steady rate, however those before them fare.

1. A session connects, has a word echoed, and closes. Its time runs from when it was due, so that a load that is late
   itself shows, and hides nothing.
2. Whatever becomes of a session is written down and is nobody else's end.
3. Something may be done in between, at moments that are told before; what takes time there delays the load.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chainsocks.errors import DialError
from chainsocks.tools.bench.echo import exchange
from chainsocks.tools.bench.loop import Loop, Task
from chainsocks.tools.bench.target import Target
from chainsocks.tools.bench.way import BenchError, Route, Way

__all__ = ["Deed", "Session", "run_steadily"]

WORD = b"a few bytes"


@dataclass(slots=True)
class Session:
    """One of them, in seconds on the monotonic clock; what has not come to pass is NaN."""

    due: float
    opened: float = math.nan
    """When its request was granted."""
    ended: float = math.nan
    """When its word was back, or it had failed."""
    client: str = ""
    """Its own address, as a server's log has it, once it was granted."""
    error: str = ""

    @property
    def seconds(self) -> float:
        """How long it took, for whoever wanted it."""
        return self.ended - self.due


@dataclass(frozen=True, slots=True)
class Deed:
    """Something to do, so many seconds after the beginning."""

    after: float
    do: Callable[[], None]


def run_steadily(
    way: Way, target: Target, *, rate: float, until: Callable[[float], bool], deeds: Sequence[Deed] = ()
) -> list[Session]:
    """Begin `rate` sessions a second through `way`, until `until` says so of the time; see all of them end."""
    route, sessions = Route(way, target.echo), list[Session]()
    waiting = sorted(deeds, key=lambda deed: deed.after)
    with Loop() as loop:
        began = time.monotonic()
        while not until(due := began + len(sessions) / rate):
            while waiting and began + waiting[0].after <= due:
                deed = waiting.pop(0)
                _go_on(loop, began + deed.after)
                deed.do()
            _go_on(loop, due)
            sessions.append(Session(due))
            loop.start(_talk(sessions[-1], route, loop))
        loop.run(math.inf)  # the route bounds each of them
    return sessions


def _go_on(loop: Loop, until: float) -> None:
    loop.run(until)
    time.sleep(max(0.0, until - time.monotonic()))  # a loop with nothing to do has returned before


def _talk(session: Session, route: Route, loop: Loop) -> Task:
    try:
        sock, _ = yield from route.open(loop)
        try:
            session.opened = time.monotonic()
            host, port = sock.getsockname()[:2]
            session.client = f"{host}:{port}"
            yield from exchange(sock, WORD, route, loop)
        finally:
            loop.close(sock)
    except (DialError, BenchError) as error:
        session.error = str(error)
    session.ended = time.monotonic()
