"""A loop for thousands of sessions that wait for sockets, as small as it can be: a load must not be the bottleneck.

A task is a generator. It attaches a socket, and each bare ``yield`` waits for that socket's next event; it must be
ready for one that comes early, as edge-triggered events do. What a task raises comes out of `Loop.run`.

Each task has one time limit, for what it does now (`Loop.allow`). When it is over, `Expired` is raised where the task
waits. Looking for those is done a few times a second, not for each event.
"""

from __future__ import annotations

import math
import select
import socket
import time
from collections.abc import Callable, Generator
from types import TracebackType
from typing import Self, TypeVar

__all__ = ["IN", "NEXT_IN", "NEXT_OUT", "OUT", "Expired", "Loop", "Task"]

# Where there is no epoll there is no bench, and the command line is loaded all the same.
IN: int = getattr(select, "EPOLLIN", 0)
OUT: int = getattr(select, "EPOLLOUT", 0)
"""As long as something can be read, or written."""
_EDGE: int = getattr(select, "EPOLLET", 0)
NEXT_IN, NEXT_OUT = IN | _EDGE, OUT | _EDGE
"""Once, whenever something more has arrived, or room has become free: one system call less for each wait."""

T = TypeVar("T")

Task = Generator[None, int, None]

PACE = 0.1
"""Seconds between two looks for limits that are over."""


class Expired(Exception):
    """What a task does now has taken longer than its limit."""


class _Running:
    """A task, and until when it has time."""

    __slots__ = ("due", "task")

    def __init__(self, task: Task) -> None:
        self.task = task
        self.due = math.inf


class Loop:
    """Runs tasks. As a context manager it closes, at the end, every socket that is still attached."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._waiting: dict[int, tuple[_Running, socket.socket]] = {}
        self._running: set[_Running] = set()
        self._current: _Running | None = None
        self._next_look = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for running in self._running:
            running.task.close()
        for _, sock in self._waiting.values():
            sock.close()
        self._epoll.close()

    def start(self, task: Task) -> None:
        """Run a task up to its first wait, and further in `run`."""
        running = _Running(task)
        self._running.add(running)
        self._resume(running, next, task)

    def run(self, until: float, stop: Callable[[], bool] = lambda: False) -> None:
        """Run the tasks until all have ended, `stop` says so, or it is `until` on the monotonic clock."""
        while self._running and not stop():
            now = time.monotonic()
            if now >= until:
                return
            if now >= self._next_look:
                self._look_for_expired(now)
            for fd, events in self._epoll.poll(max(0.0, min(until, self._next_look) - now)):
                waiting = self._waiting.get(fd)
                if waiting:
                    self._resume(waiting[0], waiting[0].task.send, events)

    # For tasks:

    def attach(self, sock: socket.socket, events: int) -> None:
        """Wait for `events` on `sock` from now on."""
        self._waiting[sock.fileno()] = self._now_running, sock
        self._epoll.register(sock, events)

    def expect(self, sock: socket.socket, events: int) -> None:
        """Wait for other events on an attached socket."""
        self._epoll.modify(sock, events)

    def release(self, sock: socket.socket) -> None:
        """Wait for nothing on an attached socket, and leave it open."""
        self._epoll.unregister(sock)
        del self._waiting[sock.fileno()]

    def close(self, sock: socket.socket) -> None:
        """Close a socket, attached or not."""
        self._waiting.pop(sock.fileno(), None)
        sock.close()

    def allow(self, seconds: float) -> None:
        """Give the task that runs so many seconds for what comes now."""
        self._now_running.due = time.monotonic() + seconds

    @property
    def _now_running(self) -> _Running:
        if self._current is None:
            raise RuntimeError("no task is running")
        return self._current

    def _resume(self, running: _Running, go: Callable[[T], object], value: T) -> None:
        self._current = running
        try:
            go(value)
        except StopIteration:
            self._running.discard(running)

    def _look_for_expired(self, now: float) -> None:
        self._next_look = now + PACE
        for running in [running for running in self._running if running.due <= now]:
            running.due = math.inf
            self._resume(running, running.task.throw, Expired())
