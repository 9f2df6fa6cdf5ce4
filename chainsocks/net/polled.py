"""The lean stream on a socket that a `Poller` watches: one registration instead of one for each wait."""

from __future__ import annotations

import socket
from collections.abc import Callable

import outcome
import trio
from anyio import ClosedResourceError
from trio.lowlevel import Abort, current_task, wait_task_rescheduled

from chainsocks.net.poller import READ_EVENTS, WRITE_EVENTS, Poller
from chainsocks.net.stream import SocketStream

__all__ = ["PolledStream"]


class PolledStream(SocketStream):
    """A `SocketStream` whose waits go through a `Poller`."""

    __slots__ = ("_callback", "_reader", "_writer", "_writes", "fd", "poller", "short_read_is_all")

    def __init__(self, sock: socket.socket, poller: Poller) -> None:
        super().__init__(sock)
        self.fd = sock.fileno()
        self.poller = poller
        self.short_read_is_all = sock.family is not socket.AF_UNIX
        """Whether a read that was not filled left nothing (epoll(7)); on unix sockets it may stop at a message."""
        self._writes = False
        self._callback: Callable[[int], None] | None = None
        self._reader: trio.lowlevel.Task | None = None
        self._writer: trio.lowlevel.Task | None = None
        poller.register(self.fd, self._wake)

    def hand_over(self, callback: Callable[[int], None]) -> None:
        """Give the events to a callback, until `take_back`. No task may wait on the stream meanwhile.

        Should somebody close the stream nevertheless, the callback is told of an end once more.
        """
        self._callback = callback
        self.poller.redirect(self.fd, callback)

    def take_back(self) -> None:
        """Let the events wake tasks again."""
        self._callback = None
        if not self.closed:
            self.poller.redirect(self.fd, self._wake)

    @property
    def closed(self) -> bool:
        """Whether `aclose` has been called."""
        return self.socket.fileno() < 0

    def want_to_write(self) -> None:
        """See to it that there is an event once the socket can be written."""
        if not self._writes:
            self._writes = True
            self.poller.want_to_write(self.fd)

    async def aclose(self) -> None:
        """Close the socket, and wake whoever waits on it with ``ClosedResourceError``."""
        if self.closed:
            return
        self.poller.forget(self.fd)
        self.socket.close()
        if self._callback:
            self._callback(READ_EVENTS | WRITE_EVENTS)
        for task in (self._reader, self._writer):
            if task:
                trio.lowlevel.reschedule(task, outcome.Error(ClosedResourceError()))
        self._reader = self._writer = None

    def _wake(self, events: int) -> None:
        if self._reader and events & READ_EVENTS:
            self.poller.wake(self._reader)
            self._reader = None
        if self._writer and events & WRITE_EVENTS:
            self.poller.wake(self._writer)
            self._writer = None

    async def _readable(self) -> None:
        def abort(_: object) -> Abort:
            self._reader = None
            return Abort.SUCCEEDED

        self._reader = current_task()
        await wait_task_rescheduled(abort)

    async def _writable(self) -> None:
        def abort(_: object) -> Abort:
            self._writer = None
            return Abort.SUCCEEDED

        self._writer = current_task()
        self.want_to_write()
        await wait_task_rescheduled(abort)
