"""Readiness by one edge-triggered epoll for all sockets of a process, served by one task in somebody's nursery.

trio's own ``wait_readable`` talks to the kernel before and after each wait. Here a socket is registered once for its
whole life, and its events go to a callback: one that wakes the task that waits, or one that moves bytes right away.

1. Callbacks try first and wait for an edge only after the kernel said that there is nothing more to do.
2. Bulk work goes to the back of a queue, one bounded step at a time. New events come before the next step, and the
   tasks that they wake before any further step: a transfer at full speed does not keep a small session waiting.
3. While callbacks have all the work, the poller waits for the next event itself, for a moment.
4. A callback does not raise, and does not do unbounded work.
"""

from __future__ import annotations

import os
import select
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import perf_counter

import trio
from trio.lowlevel import checkpoint, wait_readable

from chainsocks.net.pipes import Pipes

__all__ = ["AVAILABLE", "END_EVENTS", "MORE_EVENTS", "READ_EVENTS", "WRITE_EVENTS", "Poller", "open_poller"]

AVAILABLE = hasattr(select, "epoll")
"""Whether this system has epoll."""

_IN, _PRI, _OUT, _ERR, _HUP, _RDHUP, _ET = (
    getattr(select, f"EPOLL{name}", 0) for name in ("IN", "PRI", "OUT", "ERR", "HUP", "RDHUP", "ET")
)
END_EVENTS = _RDHUP | _HUP | _ERR
"""The other side has finished, or the connection is broken: there is an end to be read."""
READ_EVENTS = _IN | _PRI | END_EVENTS
MORE_EVENTS = _PRI | END_EVENTS
"""A read that was not filled may have left something: the end, or what stands behind urgent data."""
WRITE_EVENTS = _OUT | _HUP | _ERR
_READ = _IN | _PRI | _RDHUP | _ET
_READ_AND_WRITE = _READ | _OUT

STEPS_BEFORE_YIELD = 4
"""Steps of bulk work after which trio's other tasks get their turn, even if no event woke one."""

LINGER = 0.001
"""Seconds to wait for the next event right here, after one that only a callback wanted: an echo comes back sooner than
trio could have asked for it, and half of its latency was the way to trio and back. epoll counts in milliseconds."""

MOST_LINGERING = 0.001
"""Seconds after which no further waiting begins. With the last of it, and the steps of bulk work before, trio's timers,
signals and threads have their turn some 3 ms late at most."""


class Poller:
    """See the module; made by `open_poller`."""

    def __init__(self) -> None:
        self.pipes = Pipes()
        """For whoever splices between the sockets watched here."""
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[int], None]] = {}
        self._queue: deque[Callable[[], None]] = deque()
        self._woke = False
        self._asleep = False
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._bell, _IN | _ET)

    def register(self, fd: int, callback: Callable[[int], None]) -> None:
        """Call `callback` with the events of `fd` from now on; what there is to read already is one of them."""
        self._callbacks[fd] = callback
        self._epoll.register(fd, _READ)

    def redirect(self, fd: int, callback: Callable[[int], None]) -> None:
        """Let another callback have the events of a registered `fd`."""
        self._callbacks[fd] = callback

    def want_to_write(self, fd: int) -> None:
        """Tell of `WRITE_EVENTS` too, from now on; if `fd` can be written already, one comes at once."""
        self._epoll.modify(fd, _READ_AND_WRITE)

    def forget(self, fd: int) -> None:
        """Tell no more; to be called before `fd` is closed, which ends its registration."""
        self._callbacks.pop(fd, None)

    def unregister(self, fd: int) -> None:
        """Tell no more of an `fd` that lives on, maybe in another process, as a shared listener does."""
        self.forget(fd)
        self._epoll.unregister(fd)

    def enqueue(self, step: Callable[[], None]) -> None:
        """Run one step of bulk work when its turn comes."""
        self._queue.append(step)
        if self._asleep:
            os.eventfd_write(self._bell, 1)

    def wake(self, task: trio.lowlevel.Task) -> None:
        """Reschedule a task, and let it run before any further bulk work."""
        self._woke = True
        trio.lowlevel.reschedule(task)

    async def run(self) -> None:
        """Serve all registered sockets until cancelled."""
        descriptor = self._epoll.fileno()
        while True:
            if self._queue:
                await checkpoint()
                if self._woke:  # trio runs a batch in any order: only the next one is sure to be after theirs
                    await checkpoint()
            else:
                self._asleep = True
                await wait_readable(descriptor)
                self._asleep = False
            self._turn()

    def close(self) -> None:
        """Close the epoll and the pipes; `run` has ended by then, and so has everybody who had something watched."""
        self._epoll.close()
        os.close(self._bell)
        self.pipes.close()

    def _turn(self) -> None:
        """Answer all events, and those that follow closely, and do bulk work, until a task wants to run."""
        poll, callbacks, queue = self._epoll.poll, self._callbacks, self._queue
        self._woke = False
        steps = STEPS_BEFORE_YIELD
        linger = 0.0
        until = perf_counter() + MOST_LINGERING
        while True:
            events = poll(linger)
            for fd, event in events:
                callback = callbacks.get(fd)
                if callback:
                    callback(event)
            if self._woke:
                return
            if queue:
                if not steps:
                    return
                steps -= 1
                linger = 0.0
                queue.popleft()()
            elif not events or perf_counter() > until:
                return
            else:
                linger = LINGER


@asynccontextmanager
async def open_poller() -> AsyncIterator[Poller | None]:
    """Have a poller that runs for as long as the block does; None where the system has no epoll."""
    if not AVAILABLE:
        yield None
        return
    poller = Poller()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(poller.run)
            yield poller
            nursery.cancel_scope.cancel()
    finally:
        poller.close()
