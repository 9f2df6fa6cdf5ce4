"""How deadlines are kept: cancel scopes whose deadline costs one assignment to move.

Every step of a session has a deadline: handshake, dial, reply, idle timeout. trio could keep them all, with one cancel
scope for each step, and this server began that way: three scopes for a session, each with a deadline to set. Today a
session runs under one scope, whose deadline is moved at each step.

Moving a deadline is not free in trio either. trio keeps all deadlines in one heap, which its event loop looks at in
every turn; so a changed deadline is a new heap entry, at once. But nearly every deadline of a proxy is moved further
before it comes: a step ends long before its limit, and the next one sets a later deadline. `DeadlineScope` makes use of
that:

- It is a trio scope without a deadline, a number, and one entry in the heap of `Deadlines`.
- Moving the deadline further changes the number and nothing else. When the time of the entry comes, `Deadlines` reads
  the number. It cancels the scope if that time has come too; otherwise it makes an entry for the later time.
- Moving the deadline nearer adds an entry. The entry that it replaces is ignored when its time comes.
- One task serves the heap. It sleeps under one trio deadline, that of the first entry.

In microseconds, the best of five tight loops on CPython 3.11, with 10,000 other open scopes or with none:

=============================  =====  ====
..                             trio   here
=============================  =====  ====
open and close a scope           3.2
the same, with a deadline        4.1   4.3
move the deadline                1.3  0.07
=============================  =====  ====

One scope for each session instead of three, with this module and a listener that waits through the poller, took the
user time of a session from 262 us to 180 us.

Alternatives: one trio scope whose deadline is moved would cost a session of four steps some 5 us more, and leave an
entry in trio's heap for each move. Checking only every now and then whether enough time has passed is what the relay
does, which would otherwise move its deadline with every chunk: it is late by up to an eighth of the idle timeout, and
that is too coarse for the step of a dial.

Accuracy:

- No scope is cancelled before its deadline.
- A scope is cancelled one turn of the event loop later than trio would cancel its own. A turn lasts as long as the
  tasks in it; the poller adds 3 ms at most (`chainsocks.net.poller`).
- Scopes with the same deadline are cancelled in the order in which their entries were made.

Memory: a scope that was closed before its deadline leaves an entry behind. These are removed together once they
outnumber the open scopes by `MAX_STALE`.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from heapq import heapify, heappop, heappush
from itertools import count
from types import TracebackType
from typing import Self

import trio

__all__ = ["Deadline", "DeadlineScope", "Deadlines", "open_deadlines"]

MAX_STALE = 1000
"""Entries of closed deadlines that may stay in the heap beside as many again as there are open ones."""


class Deadlines:
    """The heap of all deadlines, and the task that serves it; made by `open_deadlines`."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Deadline]] = []
        self._order = count()  # keeps entries with the same time in order, and deadlines from being compared
        self._open = 0
        self._sleep = trio.CancelScope()
        self.now = trio.lowlevel.current_clock().current_time
        """Returns the time on trio's clock, a third as expensive as `trio.current_time`."""

    def open_scope(self, deadline: float) -> DeadlineScope:
        """Make a cancel scope for one ``with`` block; `deadline` is in seconds on trio's clock."""
        return DeadlineScope(self, deadline)

    def schedule(self, when: float, entry: Deadline) -> None:
        """Call ``entry.check`` at `when`."""
        heappush(self._heap, (when, next(self._order), entry))
        if when < self._sleep.deadline:
            self._sleep.deadline = when

    def opened(self) -> None:
        """Count a deadline that is kept from now on."""
        self._open += 1

    def closed(self) -> None:
        """Count a deadline that is not kept any more, and remove stale entries if there are many."""
        self._open -= 1
        if len(self._heap) > 2 * self._open + MAX_STALE:
            self._heap = [entry for entry in self._heap if not entry[2].closed]
            heapify(self._heap)

    async def run(self) -> None:
        """Check each deadline when its time has come, until cancelled."""
        while True:
            first = self._heap[0][0] if self._heap else math.inf
            with trio.CancelScope(deadline=first) as self._sleep:
                await trio.sleep_forever()
            now = trio.current_time()
            while self._heap and self._heap[0][0] <= now:
                when, _, entry = heappop(self._heap)
                entry.check(when, now)


class Deadline:
    """A time that is cheap to move, and `expire`, which is called once it has come; see the module."""

    __slots__ = ("_deadline", "_deadlines", "_next_check", "closed")

    def __init__(self, deadlines: Deadlines, deadline: float) -> None:
        self._deadlines = deadlines
        self._next_check = math.inf
        self.closed = False
        """Whether the deadline is not kept any more."""
        self.deadline = deadline

    @property
    def deadline(self) -> float:
        """The time, in seconds on trio's clock; ``inf`` for never. It may be set at any time."""
        return self._deadline

    @deadline.setter
    def deadline(self, when: float) -> None:
        self._deadline = when
        if when < self._next_check:
            self._next_check = when
            self._deadlines.schedule(when, self)

    def check(self, when: float, now: float) -> None:
        """Call `expire` if the deadline has come; otherwise schedule the next check. `when` is the entry's time."""
        if self.closed or when != self._next_check:
            return  # `when` differs in an entry that one with a nearer deadline has replaced
        self._next_check = math.inf
        if self._deadline <= now:
            self.expire()
        else:
            self.deadline = self._deadline

    def expire(self) -> None:
        """Do what has to be done at the deadline. It must not raise."""
        raise NotImplementedError


class DeadlineScope(Deadline):
    """A trio cancel scope whose deadline is cheap to move; see the module. Made by `Deadlines.open_scope`.

    It is kept while the block runs.
    """

    __slots__ = ("_scope",)

    def __init__(self, deadlines: Deadlines, deadline: float) -> None:
        self._scope = trio.CancelScope()
        super().__init__(deadlines, deadline)

    @property
    def cancelled_caught(self) -> bool:
        """Whether the block ended because of its deadline."""
        return self._scope.cancelled_caught

    def expire(self) -> None:
        """Cancel the block."""
        self._scope.cancel()

    def cancel(self) -> None:
        """Cancel the block before its deadline."""
        self._scope.cancel()

    def __enter__(self) -> Self:
        self._deadlines.opened()
        self._scope.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self.closed = True
        self._deadlines.closed()
        return self._scope.__exit__(kind, error, trace)


@asynccontextmanager
async def open_deadlines() -> AsyncIterator[Deadlines]:
    """Keep deadlines for as long as the block runs; scopes may be opened in it."""
    deadlines = Deadlines()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deadlines.run)
        yield deadlines
        nursery.cancel_scope.cancel()
