"""Cancel scopes whose deadline is cheap to move, for sessions that move theirs at every step.

trio keeps the deadline of each scope in a heap of its own, and moving one costs as much as receiving a message. Nearly
every deadline is moved further before it comes, so here a scope is looked at again when its first one has come, and
only then: one task, one heap, and a number to change.

1. A deadline is as exact as trio's.
2. What ended before its deadline is forgotten in time: the heap never holds much more than what is alive.
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

__all__ = ["AlarmScope", "Alarms", "open_alarms"]

TIDY_ABOVE = 1000
"""Entries of blocks that have been left, which may stay until their time has come."""


class Alarms:
    """See the module; made by `open_alarms`."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, AlarmScope]] = []
        self._order = count()  # of two at the same time, the first one set goes first
        self._alive = 0
        self._nap = trio.CancelScope()

    def open_scope(self, deadline: float) -> AlarmScope:
        """Make a cancel scope for one ``with`` block."""
        return AlarmScope(self, deadline)

    def set(self, when: float, scope: AlarmScope) -> None:
        """Look at `scope` when that time has come."""
        heappush(self._heap, (when, next(self._order), scope))
        if when < self._nap.deadline:
            self._nap.deadline = when

    def note_begin(self) -> None:
        """Hear that a block was entered."""
        self._alive += 1

    def note_end(self) -> None:
        """Hear that it was left."""
        self._alive -= 1
        if len(self._heap) > 2 * self._alive + TIDY_ABOVE:
            self._heap = [entry for entry in self._heap if not entry[2].ended]
            heapify(self._heap)

    @property
    def _next(self) -> float:
        return self._heap[0][0] if self._heap else math.inf

    async def run(self) -> None:
        """Cancel what is over its deadline, until cancelled."""
        while True:
            with trio.CancelScope(deadline=self._next) as self._nap:
                await trio.sleep_forever()
            now = trio.current_time()
            while self._heap and self._heap[0][0] <= now:
                when, _, scope = heappop(self._heap)
                scope.look(when, now)


class AlarmScope:
    """A trio cancel scope with a cheap deadline: seconds on trio's clock, to be set at any time."""

    __slots__ = ("_alarms", "_deadline", "_next_look", "_scope", "ended")

    def __init__(self, alarms: Alarms, deadline: float) -> None:
        self._alarms = alarms
        self._scope = trio.CancelScope()
        self._next_look = math.inf
        self.ended = False
        """Whether its block has been left."""
        self.deadline = deadline

    @property
    def deadline(self) -> float:
        """When the block will be cancelled; ``inf`` for never."""
        return self._deadline

    @deadline.setter
    def deadline(self, when: float) -> None:
        self._deadline = when
        if when < self._next_look:
            self._next_look = when
            self._alarms.set(when, self)

    @property
    def cancelled_caught(self) -> bool:
        """Whether the block was cut short."""
        return self._scope.cancelled_caught

    def look(self, when: float, now: float) -> None:
        """Cancel the block if its deadline has come; otherwise have it looked at again by then."""
        if self.ended or when != self._next_look:
            return
        self._next_look = math.inf
        if self._deadline <= now:
            self._scope.cancel()
        else:
            self.deadline = self._deadline

    def __enter__(self) -> Self:
        self._alarms.note_begin()
        self._scope.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self.ended = True
        self._alarms.note_end()
        return self._scope.__exit__(kind, error, trace)


@asynccontextmanager
async def open_alarms() -> AsyncIterator[Alarms]:
    """Have alarms that go off for as long as the block runs."""
    alarms = Alarms()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(alarms.run)
        yield alarms
        nursery.cancel_scope.cancel()
