"""One direction of a relay between two polled sockets, moved by callbacks: copied while small, spliced when bulk.

1. At most one chunk is in flight, in a pipe or in memory. So a slow sink stops the source.
2. A read that fills its buffer makes the flow a bulk flow; two small reads in a row end that.
3. A bulk flow works in bounded steps, and each step queues behind those of the other flows.
4. A flow holds a pipe only while it moves bytes. Without a pipe, or without splice, bytes are copied.
5. Only recv(2) shows the end of a stream, or that it has no bytes now. splice(2) returns 0 or EAGAIN also at the mark
   of urgent data and for lack of memory. It also keeps a reset to itself (`SocketStream.note_short_splice`).
6. A callback does not raise. An unexpected error is kept in `Flow.error` and ends the flow.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from enum import Enum, auto
from typing import NamedTuple

from chainsocks.net.pacing import stop_pacing
from chainsocks.net.pipes import PIPE_SIZE, Pipe
from chainsocks.net.polled import PolledStream
from chainsocks.net.poller import MORE_EVENTS
from chainsocks.relay.pump import CHUNK, FAILED, FINISHED, SINK_BROKEN, SOURCE_BROKEN, End

__all__ = ["Flow", "Left", "State", "copy_little", "pass_end_on"]

SPLICE_AVAILABLE = hasattr(os, "splice")
"""Whether this system has splice(2). Tests set it to False to run what other systems run."""

STEP = PIPE_SIZE
"""Bytes that a bulk flow moves before the next flow has its turn: some 200 microseconds."""

SMALL = CHUNK // 4
"""Bytes; a read below this is cheaper to copy than to splice."""

_CANNOT_SPLICE = {errno.EINVAL, errno.ENOMEM, errno.ENOBUFS}
"""Errors of splice(2) that are not about the connection: the socket is of another kind, or the kernel has no memory."""

_FLAGS = getattr(os, "SPLICE_F_MOVE", 0) | getattr(os, "SPLICE_F_NONBLOCK", 0)


class Left(NamedTuple):
    """What `copy_little` leaves to a flow."""

    moved: int
    """Bytes that the sink has taken."""
    rest: bytes | memoryview
    """What was read and the sink has not taken."""


def copy_little(source: PolledStream, sink: PolledStream) -> int | Left | End:
    """Copy what one read has, if that is little and the sink takes it; return its size, or what is left for a flow.

    Where the direction ends, return how; `End.FINISHED` is still to be passed on. It may raise what a flow would keep
    as its `error`.
    """
    try:
        data = source.socket.recv(CHUNK)
    except BlockingIOError:
        return 0
    except OSError:
        return SOURCE_BROKEN
    size = len(data)
    if size == CHUNK:
        return Left(0, data)
    if not size:
        return SOURCE_BROKEN if source.ended_by_reset() else FINISHED
    if sink.may_delay:
        sink.before_send()
    try:
        sent = sink.socket.send(data)
    except BlockingIOError:
        sent = 0
    except OSError as error:
        sink.note_broken(error)
        return SINK_BROKEN
    return size if sent == size else Left(sent, memoryview(data)[sent:])


def pass_end_on(sink: PolledStream) -> End:
    """Tell a sink that its source has finished; return how the direction ends by that."""
    try:
        sink.socket.shutdown(socket.SHUT_WR)
    except OSError as error:
        sink.note_broken(error)
        return SINK_BROKEN
    return FINISHED


class State(Enum):
    """What a flow waits for."""

    READING = auto()
    """Its source."""
    WRITING = auto()
    """Its sink."""
    QUEUED = auto()
    """The other bulk flows."""
    PAUSED = auto()
    """Its part of a limited bandwidth (`chainsocks.relay.throttled`)."""
    STOPPED = auto()


class Flow:
    """See the module. `moved` is called with each number of bytes that the sink took, and `ended` once.

    The owner passes the streams' events to `source_event` and `sink_event`, and calls `stop` at the end.
    """

    __slots__ = (
        "_bulk",
        "_ended",
        "_is_last",
        "_moved",
        "_pipe",
        "_pipes",
        "_rest",
        "_sink",
        "_small_reads",
        "_source",
        "_splices",
        "_state",
        "error",
        "sink_closes",
    )

    chunk = CHUNK
    """Bytes to read at once; a read of so many makes it a bulk flow."""
    step = STEP
    """Bytes to move in a step of a bulk flow."""

    def __init__(
        self,
        source: PolledStream,
        sink: PolledStream,
        moved: Callable[[int], None],
        ended: Callable[[End], None],
    ) -> None:
        self._source = source
        self._sink = sink
        self._rest: bytes | memoryview = b""
        self._pipes = source.poller.pipes
        self._pipe: Pipe | None = None
        self._moved = moved
        self._ended = ended
        self._state = State.READING
        self._bulk = False
        self._small_reads = 0
        self._is_last = False
        self.error: Exception | None = None
        """Why the flow failed, after `End.FAILED`."""
        self._splices = SPLICE_AVAILABLE
        self.sink_closes = False
        """Whether the owner closes the sink as soon as this flow has finished: the end need not be passed on before."""

    def start(self, early_data: bytes) -> None:
        """Send the early data, and move as much as the sockets allow. Without that, the flow waits for its source."""
        self._rest = early_data
        try:
            if self._rest or self._is_last or not self._source.dry:
                self._copy(until_dry=self._is_last or not self._source.dry)
            else:
                self._state = State.READING
        except Exception as error:  # noqa: BLE001  (`error` has it)
            self.fail(error)

    def go_on(self, left: Left) -> None:
        """Go on where `copy_little` has stopped."""
        try:
            if left.moved:
                self._moved(left.moved)
            self._rest = left.rest
            self._copy(until_dry=False)
        except Exception as error:  # noqa: BLE001
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """End because of an error that is not the connections'."""
        self.error = error
        self._finish(FAILED)

    def stop(self) -> None:
        """Ignore all later events, and release the pipe."""
        self._state = State.STOPPED
        self._release_pipe()

    @property
    def is_idle(self) -> bool:
        """Whether it only waits for its source, and has nothing to remember."""
        return self._state is State.READING and not (self._bulk or self._is_last)

    def drain(self) -> None:
        """Move what the source has sent already, and end as soon as it has no more: its connection is lost.

        Not for unix sockets: one that takes no more may still send.
        """
        if self._source.socket.family in (socket.AF_INET, socket.AF_INET6):
            self._is_last = True
            if self._state is State.READING:
                self._queue()

    def source_event(self, events: int) -> None:
        """Continue: the source may be readable."""
        try:
            if self._state is State.READING:
                if self._bulk:
                    self._queue()
                else:
                    self._copy(until_dry=bool(events & MORE_EVENTS) or not self._source.short_read_is_all)
        except Exception as error:  # noqa: BLE001
            self.fail(error)

    def sink_event(self) -> None:
        """Continue: the sink may be writable."""
        try:
            if self._state is State.WRITING:
                if self._bulk:
                    self._queue()
                else:
                    self._copy(until_dry=True)
        except Exception as error:  # noqa: BLE001
            self.fail(error)

    def _queue(self) -> None:
        self._state = State.QUEUED
        self._source.poller.enqueue(self._step)

    def _step(self) -> None:
        if self._state is not State.QUEUED:
            return
        try:
            if self._pipe is None and self._splices and not self._rest:
                self._pipe = self._pipes.acquire()
            if self._pipe is None:
                self._copy(until_dry=True)
            else:
                self._splice(self._pipe)
        except Exception as error:  # noqa: BLE001
            self.fail(error)

    def _copy(self, *, until_dry: bool) -> None:
        """Receive and send until the source would block, or, without `until_dry`, until a short read (epoll(7), Q9)."""
        receive, send, chunk = self._source.socket.recv, self._sink.socket.send, self.chunk
        data = self._rest
        while True:
            if data:
                if self._sink.may_delay:
                    self._sink.before_send()
                try:
                    sent = send(data)
                except BlockingIOError:
                    sent = 0
                except OSError as error:
                    self._sink.note_broken(error)
                    self._finish(SINK_BROKEN)
                    return
                if sent:
                    self._moved(sent)
                size = len(data)
                if sent < size:
                    self._rest = memoryview(data)[sent:]
                    self._wait_for_sink()
                    return
                self._rest = b""
                if size == chunk:
                    self._bulk = True
                    stop_pacing(self._sink.socket)
                    self._queue()
                    return
                if not until_dry:
                    break
            try:
                data = receive(chunk)
            except BlockingIOError:
                break
            except OSError:
                self._finish(SOURCE_BROKEN)
                return
            if not data:
                self._finish(SOURCE_BROKEN if self._source.ended_by_reset() else FINISHED)
                return
        self._state = State.READING
        if self._is_last:
            self._finish(SOURCE_BROKEN)

    def _splice(self, pipe: Pipe) -> None:
        """Move about `step` bytes through the pipe."""
        source, sink = self._source.socket.fileno(), self._sink.socket.fileno()
        if self._sink.may_delay:
            self._sink.before_send()
        left = step = self.step
        while left > 0:
            if not pipe.held:
                try:
                    pipe.held = os.splice(source, pipe.writer, step, flags=_FLAGS)
                except BlockingIOError:
                    pass  # as for 0 bytes: recv shows what it means
                except OSError as error:
                    if error.errno in _CANNOT_SPLICE:
                        self._fall_back_to_copying(pipe)
                    else:
                        self._finish(SOURCE_BROKEN)
                    return
                if not pipe.held:
                    self._release_pipe()
                    self._copy(until_dry=True)
                    return
                self._small_reads = self._small_reads + 1 if pipe.held < SMALL else 0
            try:
                sent = os.splice(pipe.reader, sink, pipe.held, flags=_FLAGS)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                if error.errno in _CANNOT_SPLICE:
                    self._fall_back_to_copying(pipe)
                else:
                    self._sink.note_broken(error)
                    self._finish(SINK_BROKEN)
                return
            if not sent:
                self._wait_for_sink()
                return
            pipe.held -= sent
            if pipe.held:
                self._sink.note_short_splice()
            self._moved(sent)
            left -= sent
            if self._small_reads > 1 and not pipe.held:
                self._bulk = False
                self._small_reads = 0
                self._release_pipe()
                self._copy(until_dry=True)
                return
        self._queue()

    def _fall_back_to_copying(self, pipe: Pipe) -> None:
        """Copy from now on: splice does not work for these sockets. The pipe's bytes come first."""
        self._splices = False
        if pipe.held:
            self._rest = os.read(pipe.reader, pipe.held)
            pipe.held -= len(self._rest)
        self._release_pipe()
        self._copy(until_dry=True)

    def _wait_for_sink(self) -> None:
        self._state = State.WRITING
        self._sink.watch_writes()

    def _release_pipe(self) -> None:
        if self._pipe:
            self._pipes.release(self._pipe)
            self._pipe = None

    def _finish(self, end: End) -> None:
        self.stop()
        if end is FINISHED and not self.sink_closes:
            end = pass_end_on(self._sink)
        self._ended(end)
