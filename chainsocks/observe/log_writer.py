"""The thread that writes the log, so that the server never waits for the reader of its standard error.

1. Logging formats a line and puts it in a queue. That takes no system call, unless the thread has to be woken.
2. The queue is bounded. A part of it is reserved for warnings and errors. Lines that do not fit are dropped and
   counted, and the log reports their number as soon as lines can be written again.
3. The thread writes the first line after a pause at once. Then it lets lines gather for `GATHER` seconds, and writes
   them together: at most `PIPE_BUF` bytes at a time, so that lines of several processes do not mix on a pipe.
4. The flags of the descriptor stay as they are. Other programs share it: O_NONBLOCK would hit all programs of the
   terminal.
5. A line that cannot be written, as on a full disk, is dropped like one that does not fit.
6. Warnings and errors that repeat each other are limited (`chainsocks.observe.log_repeats`). Not limited are those with
   the template "%s": they belong to a list, as the problems of a configuration do, and have nothing in common.
"""

from __future__ import annotations

import logging
import math
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import NamedTuple

from chainsocks.observe.log_repeats import Repeats

__all__ = ["GATHER", "LINES", "RESERVED", "LogWriter"]

LINES = 4096
"""Lines that wait at most."""

RESERVED = LINES // 4
"""Of these, lines for warnings and errors only."""

GATHER = 0.05
"""Seconds in which lines gather after a write."""

PIPE_BUF: int = getattr(select, "PIPE_BUF", 512)
"""Bytes that a pipe takes in one piece; 512 is the least that POSIX allows."""


class _Entry(NamedTuple):
    line: str
    stands_for: int = 1
    """How many lines are lost if this one is."""


class LogWriter(logging.Handler):
    """A logging handler that writes to the standard error of the time it is made, by a thread of its own.

    The thread starts with the first line, and ends with `drain`. `forget` is for a process that has been forked.
    """

    def __init__(self) -> None:
        super().__init__()
        self._write = _writer_of_standard_error()
        self.forget()

    def forget(self) -> None:
        """Drop the queue and the thread in a forked process: both belong to the parent."""
        self._queue: SimpleQueue[str | _Entry | None] = SimpleQueue()  # None only wakes the thread
        self._repeats, self._repeats_lock = Repeats(), threading.Lock()
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()
        self._dropped = 0  # counted by `put` only
        self._said = 0  # how many of these the log has reported
        self._failed = 0  # counted by the thread only
        self._is_stuck = False

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a line; drop it when there is no room, and count it when there were many like it."""
        kind = _kind_of(record)
        if kind and not self.admits(kind, record.levelno, record.name):
            return
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001  (as all handlers do)
            self.handleError(record)
            return
        if kind:
            self.note(kind, record.message)
        self.put(line, record.levelno)

    def put(self, line: str, level: int, stands_for: int = 1) -> None:
        """Queue a finished line; drop it when there is no room."""
        if self._queue.qsize() < (LINES if level >= logging.WARNING else LINES - RESERVED):
            self._queue.put(line if stands_for == 1 else _Entry(line, stands_for))
        else:
            self._dropped += stands_for
        if self._thread is None:
            self._start()

    def admits(self, kind: Hashable, level: int, name: str) -> bool:
        """Whether to write a line of that kind, of the logger called `name`; otherwise it is counted."""
        with self._repeats_lock:
            left_out = self._repeats.count(kind, level, name, time.monotonic())
        if left_out == 1:
            self._queue.put(None)  # the thread may not wait longer than until the summary is due
        return not left_out

    def note(self, kind: Hashable, text: str) -> None:
        """Keep the text of a line that was written, as the example of its kind."""
        with self._repeats_lock:
            self._repeats.note(kind, text)

    def flush(self) -> None:
        """Drain the queue for at most a second; logging calls this at exit."""
        self.drain(1.0)

    def drain(self, seconds: float) -> bool:
        """Write what waits, and end the thread. Return whether that took less than `seconds`; otherwise it goes on.

        If an earlier call took longer, this one waits only if lines have been written since. Logging may go on
        afterwards.
        """
        self._summarise(early=True)
        if self._thread is None and not self._queue.empty():
            self._start()
        thread = self._thread
        if thread is None:
            return self._queue.empty()
        self._ending.set()
        self._queue.put(None)
        thread.join(0 if self._is_stuck else seconds)
        self._ending.clear()
        self._is_stuck = thread.is_alive()
        return not self._is_stuck

    def _start(self) -> None:
        """Start the thread. It handles no signal, so that each one interrupts what the main thread waits for."""
        thread = threading.Thread(target=self._run, name="log", daemon=True)
        with _all_signals_blocked():
            self._thread = thread
            try:
                thread.start()
            except RuntimeError:  # no thread is available; the next line tries again
                self._thread = None

    def _run(self) -> None:
        while not (self._ending.is_set() and self._queue.empty()):
            lines = [self._next()]
            lines += [self._queue.get() for _ in range(self._queue.qsize())]
            dropped = self._dropped  # dropped after the lines of this batch
            entries = [self._count(self._failed)] if self._failed else []
            entries += [line if isinstance(line, _Entry) else _Entry(line) for line in lines if line is not None]
            if dropped > self._said:
                entries.append(self._count(dropped - self._said))
            self._said, self._failed = dropped, 0
            self._write_entries(entries)
            self._ending.wait(GATHER)
        self._thread = None

    def _next(self) -> str | _Entry | None:
        """Wait for a line. The summaries of left out lines are queued when they are due."""
        while True:
            with self._repeats_lock:
                due = self._repeats.due
            seconds = None if math.isinf(due) else due - time.monotonic()
            if seconds is not None and seconds <= 0:
                self._summarise()
                continue
            with suppress(Empty):
                return self._queue.get(timeout=seconds)

    def _summarise(self, *, early: bool = False) -> None:
        """Queue the summaries that are due, or `early` all of them."""
        with self._repeats_lock:
            summaries = self._repeats.take(time.monotonic(), early=early)
        for each in summaries:
            fields = {"event": "repeated", "more": each.more, "seconds": round(each.seconds, 3), "like": each.like}
            self.put(self._format(each.level, each.name, str(each), fields), each.level, each.more)

    def _write_entries(self, entries: list[_Entry]) -> None:
        """Write entries, several at a time; count what cannot be written."""
        done = 0
        try:
            for size, data in _pieces(entries):
                self._write(data)
                self._is_stuck = False
                done += size
        except (OSError, ValueError):  # ValueError: the stream is closed
            self._failed = sum(entry.stands_for for entry in entries[done:])

    def _count(self, lines: int) -> _Entry:
        """Return the line that reports dropped lines."""
        text, fields = f"{lines} lines of the log were dropped", {"event": "dropped", "lines": lines}
        return _Entry(self._format(logging.WARNING, "chainsocks.log", text, fields), lines)

    def _format(self, level: int, name: str, message: str, fields: dict[str, object]) -> str:
        """Format a line of the writer's own. `fields` is what it tells programs."""
        values = {"name": name, "levelno": level, "levelname": logging.getLevelName(level)}
        return self.format(logging.makeLogRecord({**values, "msg": message, "fields": fields}))


def _kind_of(record: logging.LogRecord) -> Hashable:
    """Return what makes lines alike: logger, level, template and, where it is given, ``subject``; None for no limit."""
    if record.levelno < logging.WARNING or record.msg == "%s":
        return None
    return record.name, record.levelno, str(record.msg), record.__dict__.get("subject")


def _pieces(entries: list[_Entry]) -> Iterator[tuple[int, str]]:
    """Join entries to pieces of at most `PIPE_BUF` bytes, or one longer entry. Yield each with its number of entries.

    Bytes are estimated: a text with characters outside ASCII counts four per character.
    """
    size = count = 0
    piece: list[str] = []
    for entry in entries:
        length = (len(entry.line) if entry.line.isascii() else 4 * len(entry.line)) + 1
        if piece and size + length > PIPE_BUF:
            yield count, "".join(piece)
            size = count = 0
            piece.clear()
        piece += (entry.line, "\n")
        size += length
        count += 1
    if piece:
        yield count, "".join(piece)


def _writer_of_standard_error() -> Callable[[str], object]:
    """Return a function that writes a text to standard error, or raises OSError or ValueError."""
    stream = sys.stderr
    if stream is None:  # the program was started with it closed
        return len
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):  # a stream in memory

        def write(text: str) -> None:
            stream.write(text)
            stream.flush()

        return write
    return _Descriptor(descriptor, stream.encoding).write


class _Descriptor:
    """Writes to a descriptor, without a buffer."""

    def __init__(self, number: int, encoding: str) -> None:
        self._number = number
        self._encoding = encoding
        self._is_cut = False

    def write(self, text: str) -> None:
        """Write all of `text`, after a line break if an error has cut off the last line.

        Raises:
            OSError: the text, or a part of it, was not written.
        """
        left = ("\n" + text if self._is_cut else text).encode(self._encoding, "backslashreplace")
        while left:
            try:
                count = os.write(self._number, left)
            except BlockingIOError:  # another program has made it non-blocking
                select.select([], [self._number], [])
            else:
                left = left[count:]
                self._is_cut = bool(left)


@contextmanager
def _all_signals_blocked() -> Iterator[None]:
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
