"""The lean stream on a socket that a `Poller` watches: one registration instead of one for each wait.

A read that was not filled leaves a TCP socket dry (epoll(7)), so the next one waits without asking the kernel first.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

import outcome
import trio
from anyio import ClosedResourceError
from trio.lowlevel import Abort, current_task, wait_task_rescheduled

from chainsocks.net.poller import MORE_EVENTS, READ_EVENTS, WRITE_EVENTS, Poller
from chainsocks.net.stream import SocketStream

__all__ = ["PolledListener", "PolledStream"]


class PolledStream(SocketStream):
    """A `SocketStream` whose waits go through a `Poller`, which hears of it when it first has to wait."""

    __slots__ = (
        "_callback",
        "_reader",
        "_watched",
        "_writer",
        "_writes",
        "closed",
        "dry",
        "fd",
        "poller",
        "short_read_is_all",
    )

    def __init__(self, sock: socket.socket, poller: Poller, *, short_read_is_all: bool = False) -> None:
        super().__init__(sock)
        self.fd = sock.fileno()
        self.poller = poller
        self.short_read_is_all = short_read_is_all
        """Whether a read that was not filled left nothing: so it is with TCP, not with unix sockets, where it may stop
        at a message, and not once there was news of an end, which comes only once."""
        self.dry = False
        """Whether there is nothing to read before the next event; there is one at once if something is there."""
        self.closed = False
        """Whether `aclose` has been called."""
        self._watched = False
        self._writes = False
        self._callback: Callable[[int], None] | None = None
        self._reader: trio.lowlevel.Task | None = None
        self._writer: trio.lowlevel.Task | None = None

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return what has arrived, up to `max_bytes`, as soon as there is something."""
        if self.dry:
            await self._readable()
        data = await super().receive(max_bytes)
        self.dry = self.short_read_is_all and len(data) < max_bytes
        return data

    def hand_over(self, callback: Callable[[int], None]) -> None:
        """Give the events to a callback, until `take_back`. No task may wait on the stream meanwhile.

        Should somebody close the stream nevertheless, the callback is told of an end once more.
        """
        if self._watched:
            self.poller.redirect(self.fd, callback)
        else:
            self._watch(callback)
            self.dry = True
        self._callback = callback

    def take_back(self) -> None:
        """Let the events wake tasks again."""
        self._callback = None
        self.dry = False
        if not self.closed:
            self.poller.redirect(self.fd, self._wake)

    def want_to_write(self) -> None:
        """See to it that there is an event once the socket can be written."""
        if not self._writes:
            self._writes = True
            self._watch(self._callback or self._wake)
            self.poller.want_to_write(self.fd)

    async def aclose(self) -> None:
        """Close the socket, and wake whoever waits on it with ``ClosedResourceError``."""
        if self.closed:
            return
        self.closed = True
        self.poller.forget(self.fd)
        self.socket.close()
        if self._callback:
            self._callback(READ_EVENTS | WRITE_EVENTS)
        for task in (self._reader, self._writer):
            if task:
                trio.lowlevel.reschedule(task, outcome.Error(ClosedResourceError()))
        self._reader = self._writer = None

    def _watch(self, callback: Callable[[int], None]) -> None:
        if self.closed:
            raise ClosedResourceError
        if not self._watched:
            self._watched = True
            self.poller.register(self.fd, callback)

    def _wake(self, events: int) -> None:
        if events & READ_EVENTS:
            self.dry = False
            if events & MORE_EVENTS:
                self.short_read_is_all = False
            if self._reader:
                self.poller.wake(self._reader)
                self._reader = None
        if self._writer and events & WRITE_EVENTS:
            self.poller.wake(self._writer)
            self._writer = None

    async def _readable(self) -> None:
        self._watch(self._wake)
        self._reader = current_task()
        await wait_task_rescheduled(self._stop_reading)

    async def _writable(self) -> None:
        self._writer = current_task()
        self.want_to_write()
        await wait_task_rescheduled(self._stop_writing)

    def _stop_reading(self, _: object) -> Abort:
        self._reader = None
        return Abort.SUCCEEDED

    def _stop_writing(self, _: object) -> Abort:
        self._writer = None
        return Abort.SUCCEEDED


class PolledListener:
    """A listening socket that a `Poller` watches; whoever opened it closes it, after `stop`."""

    def __init__(self, sock: socket.socket, poller: Poller) -> None:
        self._fd = sock.fileno()
        self._poller = poller
        self._waiting: trio.lowlevel.Task | None = None
        poller.register(self._fd, self._wake)

    async def wait(self) -> None:
        """Wait for the next connection, after an accept that found none."""
        self._waiting = current_task()
        await wait_task_rescheduled(self._stop_waiting)

    def stop(self) -> None:
        """Watch it no more."""
        self._poller.unregister(self._fd)

    def _wake(self, _: int) -> None:
        if self._waiting:
            self._poller.wake(self._waiting)
            self._waiting = None

    def _stop_waiting(self, _: object) -> Abort:
        self._waiting = None
        return Abort.SUCCEEDED
