"""The thread that writes the log: nothing waits for it, and what it drops is counted."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from chainsocks.observe.log_repeats import FIRST
from chainsocks.observe.log_writer import LINES, PIPE_BUF, RESERVED, LogWriter

PATIENCE = 20.0


class Pipe:
    """A pipe that is standard error; nothing reads it but the test."""

    def __init__(self) -> None:
        self.reading, writing = os.pipe()
        self.stream = os.fdopen(writing, "w", encoding="ascii")

    def fill(self) -> None:
        """Fill it, so that the next write blocks."""
        number = self.stream.fileno()
        os.set_blocking(number, False)
        try:
            while True:
                os.write(number, b"." * (PIPE_BUF - 1) + b"\n")
        except BlockingIOError:
            os.set_blocking(number, True)

    def read_until(self, pattern: str) -> list[str]:
        """Read lines until one has `pattern`; return all but those of `fill`."""
        data = b""
        while not re.search(pattern.encode() + b".*\n", data):
            data += os.read(self.reading, 65536)
        return [line for line in data.decode().splitlines() if not line.startswith("....")]

    def close(self) -> None:
        """Close both ends."""
        os.close(self.reading)
        self.stream.close()


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipe]:
    pipe = Pipe()
    monkeypatch.setattr(sys, "stderr", pipe.stream)
    yield pipe
    pipe.close()


@pytest.fixture
def writer(pipe: Pipe) -> Iterator[LogWriter]:
    writer = LogWriter()
    writer.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    yield writer
    thread = writer._thread
    writer._ending.set()  # drain() would clear it when a busy machine lets the thread wait
    writer._queue.put(None)
    os.set_blocking(pipe.reading, False)
    while thread is not None and thread.is_alive():
        with suppress(BlockingIOError):
            os.read(pipe.reading, 65536)
        thread.join(0.01)


def say(writer: LogWriter, text: str, level: int = logging.INFO) -> None:
    writer.handle(logging.LogRecord("test", level, "", 0, "%s", (text,), None))


def test_lines_come_in_their_order(writer: LogWriter, pipe: Pipe) -> None:
    texts = [f"INFO {number}" for number in range(1000)]
    for text in texts:
        say(writer, text.removeprefix("INFO "))
    assert pipe.read_until("999") == texts


def test_a_full_pipe_stops_nothing(writer: LogWriter, pipe: Pipe) -> None:
    """The reserve takes warnings; everything that was dropped is counted, and said behind the lines before it."""
    pipe.fill()
    say(writer, "first")
    while not writer._queue.empty():
        pass
    room = LINES - RESERVED
    for number in range(room + 7):
        say(writer, f"line {number}")
    for number in range(RESERVED + 5):
        say(writer, f"warning {number}", logging.WARNING)
    assert not writer.drain(0.01)
    lines = pipe.read_until("dropped")
    assert lines[:2] == ["INFO first", "INFO line 0"]
    assert lines[room:] == [
        f"INFO line {room - 1}",
        *(f"WARNING warning {number}" for number in range(RESERVED)),
        "WARNING 12 lines of the log were dropped",
    ]
    say(writer, "afterwards")
    assert pipe.read_until("afterwards") == ["INFO afterwards"]


def test_a_second_drain_does_not_wait_for_a_reader_that_the_first_has_not_met(
    writer: LogWriter, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float | None] = []
    join = threading.Thread.join

    def spy(thread: threading.Thread, timeout: float | None = None) -> None:
        waited.append(timeout)
        join(thread, 0 if timeout else timeout)

    pipe.fill()
    say(writer, "stuck")
    monkeypatch.setattr(threading.Thread, "join", spy)
    assert not writer.drain(0.1)
    writer.flush()
    pipe.read_until("stuck")
    monkeypatch.undo()
    assert waited == [0.1, 0]


def test_drain_ends_the_thread_and_the_next_line_starts_another(writer: LogWriter, pipe: Pipe) -> None:
    others = {*threading.enumerate()}  # other tests may have left some
    for text in ("one", "two"):
        say(writer, text)
        assert [thread.name for thread in {*threading.enumerate()} - others] == ["log"]
        assert writer.drain(PATIENCE)
        assert not {*threading.enumerate()} - others
        assert pipe.read_until(text) == [f"INFO {text}"]


def test_the_flags_of_the_descriptor_stay(writer: LogWriter, pipe: Pipe) -> None:
    number = pipe.stream.fileno()
    before = fcntl.fcntl(number, fcntl.F_GETFL)
    say(writer, "text")
    pipe.read_until("text")
    assert fcntl.fcntl(number, fcntl.F_GETFL) == before


def test_a_descriptor_that_another_program_has_made_non_blocking(writer: LogWriter, pipe: Pipe) -> None:
    pipe.fill()
    os.set_blocking(pipe.stream.fileno(), False)
    texts = ["x" * 3 * PIPE_BUF, "y", "end"]
    for text in texts:
        say(writer, text)
    assert pipe.read_until("end") == [f"INFO {text}" for text in texts]


def test_the_thread_takes_no_signal(writer: LogWriter, pipe: Pipe) -> None:
    """A signal that it took would not interrupt the main thread, and would end a parent that waits for it."""
    before, others = signal.pthread_sigmask(signal.SIG_BLOCK, []), {*threading.enumerate()}
    say(writer, "text")
    pipe.read_until("text")
    [thread] = {*threading.enumerate()} - others
    with open(f"/proc/self/task/{thread.native_id}/status", encoding="ascii") as status:  # noqa: PTH123
        [blocked] = [int(line.split()[1], 16) for line in status if line.startswith("SigBlk")]
    assert all(blocked >> (number - 1) & 1 for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD))
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


def test_lines_that_wait_are_written_together_and_whole(
    writer: LogWriter, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces: list[bytes] = []
    write = os.write

    def spy(number: int, data: bytes) -> int:
        pieces.append(data)
        return write(number, data)

    pipe.fill()
    say(writer, "stuck")
    while not writer._queue.empty():
        pass
    monkeypatch.setattr(os, "write", spy)
    for number in range(100):
        say(writer, f"{number:0200}")
    pipe.read_until("0099")
    monkeypatch.undo()
    assert len(pieces) < 10
    assert all(piece.endswith(b"\n") and len(piece) <= PIPE_BUF for piece in pieces)


def test_a_disk_that_is_full_for_a_while(writer: LogWriter, pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was cut off stays, what was lost is counted, and the next line is a line of its own."""
    write = os.write
    room = [4]

    def spy(number: int, data: bytes) -> int:
        if room[0] == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        data, room[0] = data[: room[0]], 0
        return write(number, data)

    monkeypatch.setattr(os, "write", spy)
    say(writer, "lost")
    assert writer.drain(PATIENCE)
    say(writer, "lost")
    say(writer, "lost")
    assert writer.drain(PATIENCE)
    monkeypatch.undo()
    say(writer, "kept")
    assert pipe.read_until("kept") == ["INFO", "WARNING 3 lines of the log were dropped", "INFO kept"]


def test_a_program_without_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    writer = LogWriter()
    say(writer, "text")
    assert writer.drain(PATIENCE)


def test_characters_that_the_encoding_lacks(writer: LogWriter, pipe: Pipe) -> None:
    say(writer, "caf\u00e9 \udce9")
    assert pipe.read_until("caf") == [r"INFO caf\xe9 \udce9"]


def test_no_thread_to_be_had_for_a_while(writer: LogWriter, pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        say(writer, "one")
    say(writer, "two")
    assert pipe.read_until("two") == ["INFO one", "INFO two"]


def test_a_forked_process_starts_anew(writer: LogWriter, pipe: Pipe) -> None:
    pipe.fill()
    say(writer, "of the parent")
    pid = os.fork()
    if pid == 0:
        writer.forget()
        say(writer, "of the child")
        writer.drain(PATIENCE)
        os._exit(0)
    lines = pipe.read_until("of the child")
    os.waitpid(pid, 0)
    assert writer.drain(PATIENCE)
    say(writer, "end")
    lines += pipe.read_until("end")
    assert sorted(lines) == ["INFO end", "INFO of the child", "INFO of the parent"]


def test_the_summary_of_repeated_lines_comes_by_itself(
    writer: LogWriter, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread waits for it, though no other line comes."""
    monkeypatch.setattr("chainsocks.observe.log_repeats.INTERVAL", 0.2)
    for number in range(FIRST + 3):
        writer.handle(logging.LogRecord("test", logging.WARNING, "", 0, "number %d", (number,), None))
    lines = pipe.read_until("more")
    assert lines[:FIRST] == [f"WARNING number {number}" for number in range(FIRST)]
    assert lines[FIRST:] == [f"WARNING and 3 more like this in 0 s: number {FIRST - 1}"]


def test_a_summary_that_cannot_be_written_counts_for_all_its_lines(
    writer: LogWriter, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(FIRST + 4):
        writer.handle(logging.LogRecord("test", logging.WARNING, "", 0, "number %d", (number,), None))
    pipe.read_until(str(FIRST - 1))

    def fail(number: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fail)
        assert writer.drain(PATIENCE)
    say(writer, "kept")
    assert pipe.read_until("kept") == ["WARNING 4 lines of the log were dropped", "INFO kept"]
