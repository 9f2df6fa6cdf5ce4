"""Streams and listeners that wait through a `Poller`: one registration per socket instead of one per wait.

A short read has emptied a TCP socket (epoll(7), question 9), so the next read waits without trying first.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

import outcome
import trio
from anyio import ClosedResourceError
from trio.lowlevel import Abort, current_task, wait_task_rescheduled

from chainsocks.net.poller import END_EVENTS, MORE_EVENTS, READ, READ_EVENTS, WRITE_EVENTS, Poller
from chainsocks.net.stream import SocketStream

__all__ = ["PolledListener", "PolledStream", "StreamWatcher"]


class StreamWatcher(Protocol):
    """What has the events of streams that were handed over to it."""

    def on_stream_event(self, stream: PolledStream, events: int) -> None:
        """Do what `chainsocks.net.poller.Watcher.on_event` does, for one of the streams."""


class _Waits:
    """The watcher of a stream that tasks use: they wait for its events, and something may be told of the peer's end."""

    __slots__ = ("end_events", "on_end", "reader", "writer")

    def __init__(self) -> None:
        self.end_events = 0
        self.on_end: Callable[[int], None] | None = None
        self.reader: trio.lowlevel.Task | None = None
        self.writer: trio.lowlevel.Task | None = None

    def on_stream_event(self, stream: PolledStream, events: int) -> None:
        """Wake those that wait."""
        if events & READ_EVENTS:
            stream.note_events(events)
            if events & END_EVENTS:
                self.end_events = events
                if self.on_end:
                    self.on_end(events)
            if self.reader:
                stream.poller.wake(self.reader)
                self.reader = None
            else:
                stream.poller.let_tasks_run()  # the stream's task does something else: it must not wait for the poller
        if self.writer and events & WRITE_EVENTS:
            stream.poller.wake(self.writer)
            self.writer = None

    def abort_read(self, _: object) -> Abort:
        """Have the reader wait no more, which is cancelled."""
        self.reader = None
        return Abort.SUCCEEDED

    def abort_write(self, _: object) -> Abort:
        """Have the writer wait no more, which is cancelled."""
        self.writer = None
        return Abort.SUCCEEDED


class _State(Enum):
    NEW = auto()
    WATCHED = auto()
    """It is registered at the poller."""
    CLOSED = auto()


_NEW, _WATCHED, _CLOSED = _State  # a global is 30 times as quick as an enum attribute


class PolledStream(SocketStream):
    """A `SocketStream` that waits through a `Poller`. It is registered there when it first has to wait."""

    __slots__ = (
        "_state",
        "_watcher",
        "poller",
    )

    def __init__(
        self, sock: socket.socket, poller: Poller, *, short_read_is_all: bool = False, may_delay: bool = False
    ) -> None:
        super().__init__(sock)
        self.poller = poller
        self.short_read_is_all = short_read_is_all
        """True for TCP, until an end was reported: that event comes only once. Never for unix sockets, where a read may
        stop between two messages."""
        self.may_delay = 2 if may_delay else 0
        self._state = _NEW
        self._watcher: StreamWatcher | None = None  # `_Waits`, or what the stream was handed over to

    @property
    def closed(self) -> bool:
        """Whether the stream has been closed, or soon will be."""
        return self._state is _CLOSED

    def hand_over(self, watcher: StreamWatcher, mask: int = READ) -> None:
        """Tell the events to `watcher` until `take_back`. No task may wait on the stream meanwhile.

        A stream that was not registered before is registered for `mask`. If the stream is closed meanwhile, `watcher`
        gets one last event, an end.
        """
        self._watcher = watcher
        if self._state is not _WATCHED:
            self._register(mask)
            self.dry = True

    def take_back(self, events: int = 0) -> None:
        """Let events wake the waiting tasks again, after `hand_over`. `events` are those that came meanwhile."""
        self._watcher = None
        self.dry = False
        if events and not self.closed:
            self._waits().on_stream_event(self, events)

    def note_events(self, events: int) -> None:
        """Note what events that reached a watcher say of the next reads."""
        if events & READ_EVENTS:
            self.dry = False
            if events & MORE_EVENTS:
                self.short_read_is_all = False

    def watch_end(self, on_end: Callable[[int], None] | None) -> None:
        """Call `on_end` with the events that end the peer's side, at once if they have come; None stops that."""
        waits = self._waits()
        waits.on_end = on_end
        if on_end:
            self._register()
            if waits.end_events:
                on_end(waits.end_events)

    def watch_writes(self) -> None:
        """Have an event reported once the socket is writable, or at once if it is.

        That holds for each call: splice(2) can refuse to write for lack of memory, and no edge reports the end of that.
        """
        self._register()
        self.poller.watch_writes(self.socket.fileno())

    def close_soon(self) -> None:
        """Close the socket after the events at hand (`Poller.close_soon`). No task may use the stream."""
        self._state = _CLOSED
        self._watcher = None
        self.poller.close_soon(self.socket)

    async def aclose(self) -> None:
        """Close the socket. Tasks that wait on it get ``ClosedResourceError``."""
        if self._state is _CLOSED:
            return
        self._state = _CLOSED
        self.poller.forget(self.socket.fileno())
        self.socket.close()
        watcher = self._watcher
        if not isinstance(watcher, _Waits):
            if watcher:
                watcher.on_stream_event(self, READ_EVENTS | WRITE_EVENTS)
            return
        self._watcher = None
        for task in (watcher.reader, watcher.writer):
            if task:
                trio.lowlevel.reschedule(task, outcome.Error(ClosedResourceError()))

    def on_event(self, events: int) -> None:
        """Pass events on to the watcher; for the poller."""
        watcher = self._watcher
        if watcher is None:
            watcher = self._waits()
        watcher.on_stream_event(self, events)

    def _waits(self) -> _Waits:
        """Return the waits of tasks, whose stream this is."""
        waits = self._watcher
        if not isinstance(waits, _Waits):
            waits = self._watcher = _Waits()
        return waits

    def _register(self, mask: int = READ) -> None:
        if self._state is _WATCHED:
            return
        if self._state is _CLOSED:
            raise ClosedResourceError
        self._state = _WATCHED
        self.poller.register(self.socket.fileno(), self, mask)

    async def _readable(self) -> None:
        if self._state is not _WATCHED:
            self._register()
        waits = self._watcher
        if not isinstance(waits, _Waits):
            waits = self._waits()
        waits.reader = current_task()
        await wait_task_rescheduled(waits.abort_read)

    async def _writable(self) -> None:
        self.watch_writes()
        waits = self._waits()
        waits.writer = current_task()
        await wait_task_rescheduled(waits.abort_write)


class PolledListener:
    """Wait for connections to a listening socket through a `Poller`.

    With `accept`, each event calls that, and wakes `wait` only if it returns seconds to pause: then the task that waits
    accepts the next connections. Without it, each event wakes `wait`.

    *Closing*: the caller closes the socket, after `stop`.
    """

    def __init__(self, sock: socket.socket, poller: Poller, accept: Callable[[], float | None] | None = None) -> None:
        self._fd = sock.fileno()
        self._poller = poller
        self._accept = accept
        self._pause: float | None = None
        self._waiting: trio.lowlevel.Task | None = None
        poller.register(self._fd, self)

    async def wait(self) -> float | None:
        """Wait for the next connection, or for a pause, after an accept that found none; return the pause."""
        self._pause = None
        self._waiting = current_task()
        await wait_task_rescheduled(self._abort_wait)
        return self._pause

    def stop(self) -> None:
        """Stop watching the socket."""
        self._poller.unregister(self._fd)

    def on_event(self, _: int) -> None:
        """Accept, or wake `wait`; for the poller."""
        if self._waiting is None:
            return  # the task accepts, or pauses before that
        if self._accept:
            self._pause = self._accept()
            if self._pause is None:
                return
        self._poller.wake(self._waiting)
        self._waiting = None

    def _abort_wait(self, _: object) -> Abort:
        self._waiting = None
        return Abort.SUCCEEDED
