"""The thread that writes the log, so that the server never waits for the reader of its standard error.

1. Logging formats a line and puts it in a queue. That takes no system call, unless the thread has to be woken.
2. The queue is bounded. A part of it is reserved for warnings and errors. Lines that do not fit are dropped and
   counted, and the log reports their number as soon as lines can be written again.
3. The thread writes the first line after a pause at once. Then it lets lines gather for `GATHER` seconds, and writes
   them together: at most `PIPE_BUF` bytes at a time, so that lines of several processes do not mix on a pipe.
4. The flags of the descriptor stay as they are. Other programs share it: O_NONBLOCK would hit all programs of the
   terminal.
5. A line that cannot be written, as on a full disk, is dropped like one that does not fit.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import NamedTuple

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
        self._queue: SimpleQueue[str | None] = SimpleQueue()  # None only wakes the thread
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()
        self._dropped = 0  # counted by `put` only
        self._said = 0  # how many of these the log has reported
        self._failed = 0  # counted by the thread only
        self._is_stuck = False

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a line; drop it when there is no room."""
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001  (as all handlers do)
            self.handleError(record)
            return
        self.put(line, record.levelno)

    def put(self, line: str, level: int) -> None:
        """Queue a finished line; drop it when there is no room."""
        if self._queue.qsize() < (LINES if level >= logging.WARNING else LINES - RESERVED):
            self._queue.put(line)
        else:
            self._dropped += 1
        if self._thread is None:
            self._start()

    def flush(self) -> None:
        """Drain the queue for at most a second; logging calls this at exit."""
        self.drain(1.0)

    def drain(self, seconds: float) -> bool:
        """Write what waits, and end the thread. Return whether that took less than `seconds`; otherwise it goes on.

        If an earlier call took longer, this one waits only if lines have been written since. Logging may go on
        afterwards.
        """
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
            lines = [self._queue.get()]
            lines += [self._queue.get() for _ in range(self._queue.qsize())]
            dropped = self._dropped  # dropped after the lines of this batch
            entries = [self._count(self._failed)] if self._failed else []
            entries += [_Entry(line) for line in lines if line is not None]
            if dropped > self._said:
                entries.append(self._count(dropped - self._said))
            self._said, self._failed = dropped, 0
            self._write_entries(entries)
            self._ending.wait(GATHER)
        self._thread = None

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
        values = {"name": "chainsocks.log", "levelno": logging.WARNING, "levelname": "WARNING"}
        record = logging.makeLogRecord({**values, "msg": "%d lines of the log were dropped", "args": (lines,)})
        return _Entry(self.format(record), lines)


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
