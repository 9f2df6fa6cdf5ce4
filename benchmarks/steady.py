"""A load of short sessions that begin at a steady rate, however long earlier ones take.

1. A session connects, has a word echoed, and closes. Its time runs from when it was due, so that delays of the load
   itself show as well.
2. The outcome of each session is recorded, and a failure ends no other session.
3. Actions can be planned at moments in between; the time that they take delays the load.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from chainsocks.errors import DialError
from chainsocks.tools.bench.echo import exchange
from chainsocks.tools.bench.loop import Loop, Task
from chainsocks.tools.bench.way import BenchError, Route

__all__ = ["Action", "Session", "run_steadily"]

WORD = b"a few bytes"


@dataclass(slots=True)
class Session:
    """A session, in seconds on the monotonic clock; a moment that never came is NaN."""

    due: float
    opened: float = math.nan
    """When the request was granted."""
    ended: float = math.nan
    """When the word was back, or the session had failed."""
    client: str = ""
    """Its local address, as in the server's log; empty until the request was granted."""
    error: str = ""

    @property
    def seconds(self) -> float:
        """The time from when it was due to its end."""
        return self.ended - self.due


@dataclass(frozen=True, slots=True)
class Action:
    """Something to do, so many seconds after the beginning."""

    after: float
    do: Callable[[], None]


def run_steadily(
    routes: Iterator[Route], *, rate: float, until: Callable[[float], bool], actions: Sequence[Action] = ()
) -> list[Session]:
    """Begin `rate` sessions a second until `until(now)` is true; return all when all have ended.

    Each session takes the next of `routes`, to an echo.
    """
    sessions = list[Session]()
    waiting = sorted(actions, key=lambda action: action.after)
    with Loop() as loop:
        began = time.monotonic()
        while not until(due := began + len(sessions) / rate):
            while waiting and began + waiting[0].after <= due:
                action = waiting.pop(0)
                _run_until(loop, began + action.after)
                action.do()
            _run_until(loop, due)
            sessions.append(Session(due))
            loop.start(_talk(sessions[-1], next(routes), loop))
        loop.run(math.inf)  # the route limits each session
    return sessions


def _run_until(loop: Loop, until: float) -> None:
    loop.run(until)
    time.sleep(max(0.0, until - time.monotonic()))  # a loop without tasks returns at once


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
