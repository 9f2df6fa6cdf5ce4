"""SIGHUP, SIGUSR1 and SIGUSR2: what they mean, and when."""

from __future__ import annotations

import errno
import logging
import os
import signal
from collections.abc import Iterator

import pytest

from chainsocks.server import other_signals
from chainsocks.server.other_signals import OTHER_SIGNALS, OtherSignals

Log = pytest.LogCaptureFixture


@pytest.fixture(autouse=True)
def _default_signals() -> Iterator[None]:
    """The tests may run under nohup(1)."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in OTHER_SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether there is a controlling terminal: the last item."""
    state = [True]
    monkeypatch.setattr(other_signals, "has_terminal", lambda: state[-1])
    return state


@pytest.mark.parametrize("number", sorted(OTHER_SIGNALS), ids=lambda number: number.name)
def test_they_are_ignored_with_a_line(number: signal.Signals, terminal: list[bool], caplog: Log) -> None:
    assert not OtherSignals().stops(number)
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(f"{number.name} is ignored: ")
    assert ("reload" in record.getMessage()) == (number == signal.SIGHUP)


@pytest.mark.parametrize(
    ("before", "after", "number", "stops"),
    [
        (True, False, signal.SIGHUP, True),
        (True, True, signal.SIGHUP, False),
        (False, False, signal.SIGHUP, False),
        (True, False, signal.SIGUSR1, False),
    ],
)
def test_a_hang_up_stops_a_server_whose_terminal_is_gone(
    terminal: list[bool], caplog: Log, number: signal.Signals, *, before: bool, after: bool, stops: bool
) -> None:
    terminal.append(before)
    others = OtherSignals()
    terminal.append(after)
    assert others.stops(number) == stops
    assert len(caplog.records) == (not stops)


def test_under_nohup_a_hang_up_means_nothing(terminal: list[bool], caplog: Log) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        others = OtherSignals()
    finally:
        signal.signal(signal.SIGHUP, before)
    terminal.append(False)
    assert not others.stops(signal.SIGHUP)
    assert caplog.records == []


@pytest.mark.parametrize(("number", "there"), [(errno.ENXIO, False), (errno.ENOENT, False), (errno.EMFILE, True)])
def test_no_descriptor_left_is_no_hang_up(monkeypatch: pytest.MonkeyPatch, number: int, *, there: bool) -> None:
    def fail(path: str, flags: int) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", fail)
    assert other_signals.has_terminal() == there
