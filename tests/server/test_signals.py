"""Signals: what each of them means, and when."""

from __future__ import annotations

import errno
import logging
import os
import signal
from collections.abc import Iterator

import pytest

from chainsocks.server import signals
from chainsocks.server.signals import Meaning, Meanings, has_terminal
from chainsocks.signals import SIGNALS, STOP

Log = pytest.LogCaptureFixture


@pytest.fixture(autouse=True)
def _default_signals() -> Iterator[None]:
    """The tests may run under nohup(1)."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether there is a controlling terminal: the last item."""
    state = [True]
    monkeypatch.setattr(signals, "has_terminal", lambda: state[-1])
    return state


MEANINGS = {signal.SIGHUP: Meaning.RELOAD, signal.SIGUSR1: Meaning.SHOW} | dict.fromkeys(STOP, Meaning.STOP)
DEADLY_ON_PURPOSE = {
    *(signal.SIGKILL, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV, signal.SIGSYS),
    *(signal.SIGTRAP, signal.SIGXCPU),
}
"""What a bug, or a limit of the system, ends a process with."""

STOPS_FOR_THE_TERMINAL = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
IGNORED_ANYWAY = {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH, signal.SIGPIPE, signal.SIGXFSZ}
"""By the kernel, or by Python."""


@pytest.mark.parametrize("number", sorted(SIGNALS), ids=lambda number: number.name)
def test_what_they_mean(number: signal.Signals, terminal: list[bool], caplog: Log) -> None:
    meaning = MEANINGS.get(number, Meaning.NOTHING)
    assert Meanings().of(number) is meaning
    lines = [(record.levelno, record.getMessage()) for record in caplog.records]
    ignored = [(logging.WARNING, f"{number.name} is ignored: it has no meaning here")]
    assert lines == (ignored if meaning is Meaning.NOTHING else [])


def test_no_signal_is_forgotten() -> None:
    others = DEADLY_ON_PURPOSE | STOPS_FOR_THE_TERMINAL | IGNORED_ANYWAY
    assert {number for number in signal.Signals if number < signal.SIGRTMIN} == SIGNALS | others


@pytest.mark.parametrize(
    ("before", "after", "meaning"),
    [(True, False, Meaning.STOP), (True, True, Meaning.RELOAD), (False, False, Meaning.RELOAD)],
)
def test_a_hang_up_stops_a_server_whose_terminal_is_gone(
    terminal: list[bool], caplog: Log, meaning: Meaning, *, before: bool, after: bool
) -> None:
    terminal.append(before)
    meanings = Meanings()
    terminal.append(after)
    assert meanings.of(signal.SIGHUP) is meaning
    assert caplog.records == []


def test_under_nohup_the_hang_up_of_a_terminal_means_nothing_and_a_later_one_reloads(
    terminal: list[bool], caplog: Log
) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        meanings = Meanings()
    finally:
        signal.signal(signal.SIGHUP, before)
    assert meanings.of(signal.SIGHUP) is Meaning.RELOAD
    terminal.append(False)
    assert [meanings.of(signal.SIGHUP) for _ in range(2)] == [Meaning.NOTHING, Meaning.RELOAD]
    assert caplog.records == []


def test_what_the_starter_ignores_is_ignored_without_a_line(terminal: list[bool], caplog: Log) -> None:
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    assert Meanings().of(signal.SIGUSR2) is Meaning.NOTHING
    assert caplog.records == []


@pytest.mark.parametrize(("number", "there"), [(errno.ENXIO, False), (errno.ENOENT, False), (errno.EMFILE, True)])
def test_no_descriptor_left_is_no_hang_up(monkeypatch: pytest.MonkeyPatch, number: int, *, there: bool) -> None:
    def fail(path: str, flags: int) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", fail)
    assert has_terminal() == there
