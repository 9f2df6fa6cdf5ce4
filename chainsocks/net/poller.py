"""A second event loop inside trio: one edge-triggered epoll for all sockets of a process.

What it is
    trio has an event loop, and this is another one below it. One task, `Poller.run`, waits in trio until our epoll has
    events. Then it tells each event to a watcher: either one that wakes a waiting task (`chainsocks.net.polled`), or
    one that moves bytes between two sockets right away, without any task (`chainsocks.relay.flow`).

Why
    trio's ``wait_readable`` registers a socket anew for each wait and reschedules a task for each event: some 12 us,
    about what it costs to receive a message and send it on. A server that does little else pays that several times per
    session. And trio runs the tasks that are ready in random order and in one batch, so a session of a few bytes waits
    until each bulk transfer has copied its share. Here a socket is registered once. trio's tasks keep what they are
    good at: a session is still one task, with cancellation, deadlines and a nursery that owns it.

    Measured with `chainsocks bench` on two busy cores, medians of 3 to 9 rounds, and system calls counted by strace:

    ====================================================  ===========  ==============
    one worker                                            this poller  wait_readable
    ====================================================  ===========  ==============
    CPU of a short session, us                                219          298
    epoll_ctl and recv calls of a short session             2.5 + 6.0    7.7 + 9.5
    echo of one byte beside 8 bulk streams, p50, ms          0.06-0.4        31
    CPU of bulk on 8 streams, s/GiB (0.68 without splice)    0.25         0.83
    ====================================================  ===========  ==============

How it stays fair
    1. A callback tries first, and waits for an edge only after the kernel has said that there is nothing more to do.
    2. Bulk work goes to the end of a queue in bounded steps. New events come before the next step, and so do the tasks
       that they have woken.
    3. A callback does a bounded amount of work, and does not raise. One that found no memory to wake its task is called
       again.

What it may delay
    While callbacks have all the work, the poller waits for the next event itself (`LINGER`): at best an echo takes 37
    us instead of 46, and where other programs have the cores it makes no difference. It waits after the last step of
    bulk work as well, for a source that is dry for a moment: a GiB on 1 stream takes 420 turns through trio instead of
    680, and on 8 streams 380 instead of 760. On quiet cores that is 8 to 13 % of the CPU of bulk with one worker, and
    nothing with two. trio's timers, signals and threads have their turn after `STEPS_BEFORE_YIELD` steps of bulk work,
    or after `MAX_LINGER` and one last wait: 1 to 3 ms late. Eight steps and 2 ms were tried as well: on SIGTERM a
    server took 48 ms to end its streams instead of 23.

How it waits for a quick answer
    A virtual core that sleeps takes some 30 us to wake. While messages go back and forth more quickly than that, as
    between programs of one machine, the poller does not sleep between them. It asks for events again and again, for
    `SPIN` at most, and yields its core each time. One late answer ends that, so peers across a network hardly ever
    cause it. Any event but a message ends it too: a server with many short sessions has no time to sleep anyway. On two
    quiet cores an echo takes 44 us instead of 112, and 52 us of CPU instead of 62, since sleeping and waking cost more
    than asking. On a single core, which both ends share, it takes 35 us instead of 41. Asking after bulk steps as well
    took 1.3 times the CPU of bulk.

Alternatives
    - Tasks with bare sockets, and no poller: the last column above. It remains as the path for systems without epoll.
    - A handshake with a hop as a coroutine that a callback resumes, while its task sleeps once for all answers: five
      reschedules less for three hops, and 0.99 to 1.01 times the CPU. With many clients trio handles most of them in
      the same turn anyway.
    - After a task was woken, two checkpoints and a look at the sockets instead of a wait in trio: a session through
      three hops took 0.98 times the CPU in the medians of 7 rounds, and 0.83 to 1.11 times in single ones.
    - Callbacks for the whole session, without a task: that is the lane, which stands on this poller
      (`chainsocks.server.lane`).
    - Bulk spliced by one or two threads, each with an epoll and duplicates of the sockets, since splice(2) releases the
      GIL. Beside this poller, in interleaved rounds on two busy cores, 1 and 8 streams took 0.88 to 0.96 times the CPU
      per GiB. Bytes per second were 1.0 to 1.16 times as many by medians, and 0.94 to 1.11 times by the ratios to a Go
      server in the same rounds: no dependable gain. The p99 of an echo beside was the same. BBR paced all of these,
      which is over for bulk on this machine (`chainsocks.net.pacing`); since then the load is busy all the time. The
      experiment had no idle timer and did not look for the end of a stream, which is part of its gain. A complete one
      would need a lock wherever a relay is stopped, for its thread may be inside of its pipe.
    - Compiling the 22 modules of a session as they are (Cython) gained nothing: calls and attributes ate the gain.
    - trio's guest mode moves trio's own wait to a thread, at the price of a thread switch per tick. Not measured.
"""

from __future__ import annotations

import os
import select
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Protocol

import trio
from trio.lowlevel import checkpoint, enable_ki_protection, wait_readable

from chainsocks.net.pipes import Pipes

__all__ = [
    "AVAILABLE",
    "END_EVENTS",
    "MORE_EVENTS",
    "READ",
    "READ_AND_WRITE",
    "READ_EVENTS",
    "RESET_EVENT",
    "WRITE_EVENTS",
    "Poller",
    "Watcher",
    "open_poller",
]

AVAILABLE = hasattr(select, "epoll")
"""Whether this system has epoll. Tests set it to False to run what other systems run."""

_IN, _PRI, _OUT, _ERR, _HUP, _RDHUP, _ET = (
    getattr(select, f"EPOLL{name}", 0) for name in ("IN", "PRI", "OUT", "ERR", "HUP", "RDHUP", "ET")
)
END_EVENTS = _RDHUP | _HUP | _ERR
"""The peer has closed its direction, or the connection is broken: the next reads reach an end."""
RESET_EVENT = _ERR
"""The connection is broken, as by a reset; data that came before may still be in the socket."""
READ_EVENTS = _IN | _PRI | END_EVENTS
MORE_EVENTS = _PRI | END_EVENTS
"""After one of these, a short read may have left something behind: the end, or bytes after urgent data."""
WRITE_EVENTS = _OUT | _HUP | _ERR
READ = _IN | _PRI | _RDHUP | _ET
"""What to register a socket for that is read."""
READ_AND_WRITE = READ | _OUT
"""What to register a socket for that has to be writable first, such as one that connects."""

STEPS_BEFORE_YIELD = 4
"""Steps of bulk work after which trio's other tasks get their turn, even if no event has woken one."""

LINGER = 0.001
"""Seconds to wait for the next event before going back to trio, after an event or the last step of bulk work, if no
task was woken. The answer to a small message often comes sooner than that, and so does more bulk. epoll counts in
milliseconds."""

MAX_LINGER = 0.001
"""Seconds after which no further wait begins. With the last wait and the steps of bulk work before it, trio's timers,
signals and threads are delayed by some 3 ms at most."""

SPIN = 0.00006
"""Seconds in which an answer is quick. For so long, the poller asks for the next one again and again."""

ANSWERS_BEFORE_SPIN = 8
"""Quick answers in a row after which the poller asks for the next one instead of sleeping; a late one ends that."""


class Watcher(Protocol):
    """What has the events of a descriptor."""

    def on_event(self, events: int) -> None:
        """Do a bounded amount of work for events that have come: a bit mask, which the constants of this module test.

        Raises:
            MemoryError, OSError: the events are to come again. Nothing else is raised.
        """


class Poller:
    """See the module; `open_poller` makes it."""

    def __init__(self) -> None:
        self.pipes = Pipes()
        """Pipes to splice between the sockets watched here."""
        self.now = trio.lowlevel.current_clock().current_time
        """Returns the time on trio's clock, a third as expensive as `trio.current_time`."""
        self._epoll = select.epoll()
        self._queue: deque[Callable[[], None]] = deque()
        self._closing: list[socket.socket] = []
        self._is_working = False
        self.passed_on = 0
        """Messages that watchers have passed on at once from one socket to another, which counts them here."""
        self._quick_answers = 0
        """Times in a row that the next event came within `SPIN` after messages were passed on."""
        self._is_busy = False
        """Whether events kept coming until it was trio's turn: there are most likely more of them."""
        self._task_woken = False
        self._waiting = False
        self._wakeup = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wakeup, _IN | _ET)
        self._watchers: list[Watcher | None] = [None] * (self._wakeup + 1)  # by descriptor: those are small numbers

    def register(self, fd: int, watcher: Watcher, mask: int = READ) -> None:
        """Tell `watcher` the events of `fd` from now on; if it is readable already, one comes at once.

        With `READ_AND_WRITE` as the `mask`, `WRITE_EVENTS` are reported too.
        """
        watchers = self._watchers
        while fd >= len(watchers):
            watchers.append(None)
        watchers[fd] = watcher
        self._epoll.register(fd, mask)

    def watch_writes(self, fd: int) -> None:
        """Report `WRITE_EVENTS` of `fd` too from now on; if it is writable already, one comes at once."""
        self._epoll.modify(fd, READ_AND_WRITE)

    def forget(self, fd: int) -> None:
        """Drop the watcher of `fd`; call it before closing `fd`, which ends its registration with the kernel."""
        if 0 <= fd < len(self._watchers):
            self._watchers[fd] = None

    def unregister(self, fd: int) -> None:
        """End the registration of an `fd` that stays open, maybe in another process, as a shared listener does."""
        self.forget(fd)
        self._epoll.unregister(fd)

    def close_soon(self, sock: socket.socket) -> None:
        """Drop the watcher of a socket, and close it: for watchers, once the events at hand are handled.

        A descriptor that is closed may be used again at once, and an event of the closed socket that is still at hand
        would reach the watcher of the new one.
        """
        self.forget(sock.fileno())
        if self._is_working:
            self._closing.append(sock)
        else:
            sock.close()

    def let_tasks_run(self) -> None:
        """Go back to trio after the events at hand: a callback has started a task."""
        self._task_woken = True

    def enqueue(self, step: Callable[[], None]) -> None:
        """Run one step of bulk work when its turn comes. It must be bounded, and must not raise."""
        self._queue.append(step)
        if self._waiting:
            os.eventfd_write(self._wakeup, 1)

    def wake(self, task: trio.lowlevel.Task) -> None:
        """Reschedule a task, so that it runs before any further bulk work."""
        self._task_woken = True
        trio.lowlevel.reschedule(task)

    @enable_ki_protection
    async def run(self) -> None:
        """Serve all registered sockets until cancelled. Ctrl-C is not raised in a callback, but in the main task."""
        descriptor = self._epoll.fileno()
        while True:
            if self._queue:
                await checkpoint()
                if self._task_woken:  # trio runs a batch in random order; only the next batch is surely after theirs
                    await checkpoint()
            elif self._is_busy:
                await checkpoint()  # less than half the price of a wait in trio
            else:
                self._waiting = True
                await wait_readable(descriptor)
                self._waiting = False
            self._is_working = True
            self._work()
            self._is_working = False

    def close(self) -> None:
        """Close the epoll and the pipes. `run` must have ended, and all watched sockets must be forgotten or closed."""
        self._epoll.close()
        os.close(self._wakeup)
        self.pipes.close()

    def _work(self) -> None:
        """Handle events and bulk work until a task is to run, or trio's turn is due."""
        poll, watchers, queue, closing = self._epoll.poll, self._watchers, self._queue, self._closing
        close = socket.SocketType.close  # the method of C that a socket's own one calls, by two frames
        self._task_woken = self._is_busy = False
        steps = STEPS_BEFORE_YIELD
        until = perf_counter() + MAX_LINGER
        events = poll(0.0)  # a turn does not begin with a wait: trio may have other tasks to run
        while True:
            passed_on = self.passed_on
            for fd, event in events:
                watcher = watchers[fd]
                if watcher:
                    try:
                        watcher.on_event(event)
                    except (MemoryError, OSError):
                        self._epoll.modify(fd, READ_AND_WRITE)  # the event comes again
            if closing:
                for sock in closing:
                    close(sock)
                closing.clear()
            if self._task_woken:
                return
            if queue:
                if not steps:
                    return
                steps -= 1
                queue.popleft()()
                events = poll(0.0 if queue or self._task_woken or perf_counter() > until else LINGER)
            elif not events:
                return
            elif perf_counter() > until:
                self._is_busy = True
                return
            elif self.passed_on - passed_on == len(events):
                events = self._wait_for_answer()
            else:
                self._quick_answers = 0
                events = poll(LINGER)

    def _wait_for_answer(self) -> list[tuple[int, int]]:
        """Return the next events, after ones that only brought messages, which were passed on: at most `LINGER` later.

        While answers come quickly, this asks for them and does not sleep.
        """
        poll, now = self._epoll.poll, perf_counter
        until = now() + SPIN
        events: list[tuple[int, int]] = []
        if self._quick_answers >= ANSWERS_BEFORE_SPIN:
            while not events and now() < until:
                os.sched_yield()  # what answers may need this core
                events = poll(0.0)
        events = events or poll(LINGER)
        self._quick_answers = self._quick_answers + 1 if now() < until else 0
        return events


@asynccontextmanager
async def open_poller() -> AsyncIterator[Poller | None]:
    """Run a poller for the duration of the block; yield None on systems without epoll.

    *Closing*: the poller is closed at the end of the block.
    """
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
