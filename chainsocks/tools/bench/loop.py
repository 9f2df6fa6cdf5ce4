"""The event loop of the load and of the far end: tasks that wait for sockets, at as little cost as possible.

A task is a generator. It attaches a socket, and each bare ``yield`` waits for the next event of that socket and gives
its `select.epoll` bits. Edge-triggered events may come early, so a task must be ready for a socket that has nothing.
What a task raises comes out of `Loop.run`.

Each task has one limit, for what it does now (`Loop.allow`). When the limit is over, `Expired` is raised where the task
waits. The loop looks for expired limits every `PACE` seconds, not at every event.
"""

from __future__ import annotations

import math
import select
import socket
import time
from collections.abc import Callable, Generator
from types import TracebackType
from typing import Self, TextIO, TypeVar

__all__ = ["IN", "NEXT_IN", "NEXT_OUT", "OUT", "PACE", "Expired", "Loop", "Task"]

# Where there is no epoll there is no bench, but the command line is loaded all the same.
IN: int = getattr(select, "EPOLLIN", 0)
OUT: int = getattr(select, "EPOLLOUT", 0)
"""Level-triggered: as long as the socket is readable, or writable."""
_EDGE: int = getattr(select, "EPOLLET", 0)
NEXT_IN, NEXT_OUT = IN | _EDGE, OUT | _EDGE
"""Edge-triggered: once for each arrival, or for room that became free. Saves a system call for each wait."""

T = TypeVar("T")

Task = Generator[None, int, None]

PACE = 0.05
"""Seconds between two looks for expired limits."""


class Expired(Exception):
    """The limit of a task is over."""


class _Running:
    """A task and its limit, on the monotonic clock."""

    __slots__ = ("due", "task")

    def __init__(self, task: Task) -> None:
        self.task = task
        self.due = math.inf


class Loop:
    """Runs tasks. As a context manager it closes, at the end, every socket that is still attached."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._waiting: dict[int, tuple[_Running, socket.socket | TextIO]] = {}
        self._running: set[_Running] = set()
        self._limited: set[_Running] = set()
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
        """Run a task up to its first wait, and further in `run`. Another task may do this as well."""
        running, starter = _Running(task), self._current
        self._running.add(running)
        self._resume(running, next, task)
        self._current = starter

    def run(self, until: float, stop: Callable[[], bool] = lambda: False) -> None:
        """Run the tasks until all have ended, `stop` returns true, or it is `until` on the monotonic clock."""
        while self._running and not stop():
            now = time.monotonic()
            if now >= until:
                return
            wake = until
            if self._limited:
                if now >= self._next_look:
                    self._look_for_expired(now)
                wake = min(until, self._next_look)
            for fd, events in self._epoll.poll(None if wake == math.inf else max(0.0, wake - now)):
                waiting = self._waiting.get(fd)
                if waiting:
                    self._resume(waiting[0], waiting[0].task.send, events)

    # For tasks:

    def attach(self, sock: socket.socket | TextIO, events: int) -> None:
        """Wait for `events` on `sock` from now on."""
        self._waiting[sock.fileno()] = self._now_running, sock
        self._epoll.register(sock, events)

    def expect(self, sock: socket.socket, events: int) -> None:
        """Wait for other events on an attached socket."""
        self._epoll.modify(sock, events)

    def release(self, sock: socket.socket) -> None:
        """Wait for nothing on an attached socket any more, and leave it open."""
        self._epoll.unregister(sock)
        del self._waiting[sock.fileno()]

    def close(self, sock: socket.socket) -> None:
        """Close a socket, attached or not."""
        self._waiting.pop(sock.fileno(), None)
        sock.close()

    def allow(self, seconds: float) -> None:
        """Set the limit of the running task, in seconds from now; ``inf`` removes it."""
        running = self._now_running
        running.due = time.monotonic() + seconds
        (self._limited.discard if seconds == math.inf else self._limited.add)(running)

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
            self._limited.discard(running)

    def _look_for_expired(self, now: float) -> None:
        self._next_look = now + PACE
        for running in [running for running in self._limited if running.due <= now]:
            self._limited.discard(running)
            self._resume(running, running.task.throw, Expired())
