"""The pool of pipes: bounded, clean, and no trouble when there are none to be had."""

from __future__ import annotations

import errno
import fcntl
import os

import pytest

from chainsocks.net.pipes import MAX_IDLE, PIPE_SIZE, Pipe, Pipes


def test_a_pipe_is_enlarged_and_does_not_block() -> None:
    pipe = Pipe()
    assert fcntl.fcntl(pipe.writer, fcntl.F_GETPIPE_SZ) == PIPE_SIZE
    with pytest.raises(BlockingIOError):
        os.read(pipe.reader, 1)
    pipe.close()


def test_a_pipe_that_may_not_be_enlarged_serves_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EPERM, "over the soft limit")

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    pipe = Pipe()
    os.write(pipe.writer, b"x")
    assert os.read(pipe.reader, 1) == b"x"
    pipe.close()


def test_an_empty_pipe_is_used_again() -> None:
    pool = Pipes()
    pipe = pool.acquire()
    assert pipe
    pool.release(pipe)
    assert pool.acquire() is pipe
    pool.release(pipe)
    pool.close()


def test_a_pipe_that_holds_bytes_is_closed_and_its_place_is_free() -> None:
    pool = Pipes(max_open=1)
    pipe = pool.acquire()
    assert pipe
    pipe.held = 3
    pool.release(pipe)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(pipe.reader)
    other = pool.acquire()
    assert other
    assert other.held == 0
    pool.release(other)
    pool.close()


def test_there_are_so_many_and_no_more() -> None:
    pool = Pipes(max_open=3)
    taken = [pool.acquire() for _ in range(4)]
    assert [pipe is None for pipe in taken] == [False, False, False, True]
    for pipe in taken:
        if pipe:
            pool.release(pipe)
    pool.close()


def test_only_some_are_kept() -> None:
    pool = Pipes()
    taken = [pool.acquire() for _ in range(MAX_IDLE + 2)]
    readers = [pipe.reader for pipe in taken if pipe]
    for pipe in taken:
        assert pipe
        pool.release(pipe)
    closed = 0
    for reader in readers:
        try:
            os.fstat(reader)
        except OSError:
            closed += 1
    assert closed == 2
    pool.close()


def test_without_descriptors_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> tuple[int, int]:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("chainsocks.net.pipes.os.pipe2", refuse)
    assert Pipes().acquire() is None
